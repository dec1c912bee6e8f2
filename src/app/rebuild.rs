//! The ledger anew, from the logs in the stores alone.
//!
//! Why this is safe:
//! - No daemon runs meanwhile: the state directory is locked.
//! - Nothing is put into a store, and no source is asked for anything. Not even the create-only probe is put.
//! - The logs are verified before anything is believed, and a log that does not verify is refused. Where the old ledger
//!   can still be read, the last entry that it knows must be in the log: a store that was cut back, emptied or mistaken for
//!   another is found out here. What is merely not there yet (windows that are due) is no reason to refuse.
//! - What stands beyond the end of a log and is no part of it ([`crate::domain::beyond_gap`]) is not taken over, and takes no
//!   numbers away.
//! - A damaged entry of a log that is gone on with all the same (`--accept-unverified`) keeps its place: the next entry names
//!   the hash of its bytes as they lie there, so that the chain holds from then on.
//! - The new ledger is made beside the old one and takes its place when it is whole. Until then the old one is as it was.
//!
//! What only the old ledger knew is gone with it: pauses after failures, what is held up, and the list of attempts. Pulls
//! that found nothing new stand in no log either: those that were due before the log's last entry count as made, since
//! the daemon that wrote it was at work until then. Windows whose export had waited before it was recorded are left out: a
//! pull that was due meanwhile may not have been made.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::sync::Arc;

use futures_util::TryStreamExt;
use jiff::{SignedDuration, Timestamp};

use crate::adapters::sqlite_ledger::SqliteLedger;
use crate::adapters::state_dir::StateDir;
use crate::config::Config;
use crate::domain::audit::{ExpectedHead, Finding};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::log_entry::{Definition, EntryBody, Head, LogEntry, SealedEntry};
use crate::domain::name::StreamName;
use crate::domain::object_key::{LogObject, ObjectKey, Seq, log_prefix, read_log_key, signature_key};
use crate::domain::snapshot::{Snapshot, WindowState, is_loss_believed};
use crate::domain::verdict::StreamRules;
use crate::domain::window::Window;
use crate::ports::ledger::Ledger;

use super::compose::{self, Injected};
use super::failure_policy::{of_ledger, of_store};
use super::log_reader::{LogReader, READ_LIMIT, Reading};
use super::log_walk::belief::LogSoFar;
use super::log_walk::{Walk, say_passed_over};
use super::projects;
use super::signing::{self, Signing};
use super::start_error::StartError;
use super::verify::{self, Level, Meter, Target, targets};

/// Entries read at the same time.
const READ_AHEAD: usize = 32;
/// Entries taken over in one transaction.
const BATCH: usize = 200;

/// Whether a log that does not verify is gone on with all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It is refused.
    Verified,
    /// What of it can be read is taken over.
    Unverified,
}

/// What came of one stream.
#[derive(Debug)]
pub struct Rebuilt {
    /// Which.
    pub stream: StreamName,
    /// What is wrong with its log.
    pub findings: Vec<Finding>,
    /// What the ledger knows of it now; `None` where nothing was taken over.
    pub known: Option<Known>,
}

/// What a ledger knows of a stream, in numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    /// The last entry that was taken over; `None` where the store holds no log.
    pub head: Option<Head>,
    /// Windows that are archived.
    pub archived: u64,
    /// Windows that are attested as lost.
    pub lost: u64,
    /// Windows that are parked.
    pub parked: u64,
}

/// Makes the ledger of `config` anew; where a log is refused, of all streams nothing is touched.
///
/// # Errors
/// When a daemon runs, a store does not let itself be read, or the state directory cannot be written to.
pub async fn rebuild(
    config: &Config,
    injected: &Injected,
    trust: Trust,
    meter: &Meter,
) -> Result<Vec<Rebuilt>, StartError> {
    let state_dir = StateDir::lock(&config.daemon.state_dir)?;
    remake(&state_dir, config, injected, trust, meter, None).await
}

/// As [`rebuild`], in a state directory that is locked. The old ledger is removed, or stays beside the new one under a name that
/// ends with `kept_as`.
///
/// # Errors
/// As [`rebuild`].
pub(super) async fn remake(
    state_dir: &StateDir,
    config: &Config,
    injected: &Injected,
    trust: Trust,
    meter: &Meter,
    kept_as: Option<&str>,
) -> Result<Vec<Rebuilt>, StartError> {
    // As the daemon does: without a file of allowed signers its own key's signatures count.
    let signing = signing::signing(config, injected.clock.now())?;
    let signers = signing.as_ref().map(|signing| Arc::new(signing.signers().clone()));
    let may_be_unsigned = signing.as_ref().is_none_or(|signing| !signing.has_file());
    let targets = targets::of_config(config)?;
    let definitions = definitions(&targets).await;
    let mut config = projects::known(config, |stream| definitions.get(stream));
    if trust == Trust::Unverified {
        // What a log does not say of itself any more must come from elsewhere.
        config.sources.retain(|name, _| config.streams.values().any(|stream| stream.source == *name));
        let resolved = projects::resolved(&config, injected, &Snapshot::default()).await;
        if let Some(failure) = resolved.unknown.values().next() {
            return Err(StartError::from_failure("nothing is taken over", failure));
        }
        config = resolved.config;
    }
    let config = &config;
    let (mut rebuilt, mut ends) = (Vec::new(), Vec::new());
    for target in &targets {
        let asked = verify::Asked {
            level: Level::Log,
            from: None,
            to: None,
            sample: None,
            expected_head: old_head(state_dir, &target.stream).await.map(ExpectedHead::from),
            now: injected.clock.now(),
            signers: signers.clone(),
        };
        let verified = verified(target, &asked, may_be_unsigned, meter).await;
        let (findings, head) =
            verified.map_err(|failure| StartError::from_failure(target.stream.as_str(), &failure))?;
        rebuilt.push(Rebuilt { stream: target.stream.clone(), findings, known: None });
        ends.push(head);
    }
    if trust == Trust::Verified && rebuilt.iter().any(|stream| !stream.findings.is_empty()) {
        return Ok(rebuilt);
    }
    let failed = |failure: &Failure| StartError::from_failure("ledger", failure);
    let beside = state_dir.new_ledger().map_err(|error| failed(&of_disk(&error)))?;
    let ledger = SqliteLedger::open(&beside).await.map_err(|e| failed(&of_ledger(e)))?;
    let rules = compose::rules(config);
    for ((stream, target), head) in rebuilt.iter_mut().zip(&targets).zip(ends) {
        let of_stream = |failure: Failure| StartError::from_failure(target.stream.as_str(), &failure);
        // The configuration is checked: it has the rules and the definition of each of its streams.
        let Some(rules) = rules.iter().find(|rules| rules.name == target.stream) else { continue };
        let Some(definition) = compose::definition_of(config, &target.stream) else { continue };
        let now = injected.clock.now();
        let mut taking = Taking::new(target, &ledger, &definition, (signing.as_ref(), now));
        taking.restore(trust, head, rules).await.map_err(of_stream)?;
        let known = known(&ledger, &target.stream, taking.log.head, now).await;
        stream.known = Some(known.map_err(of_stream)?);
    }
    let fingerprints = rules.iter().flat_map(StreamRules::recorded).collect();
    ledger.record_fingerprints(&fingerprints).await.map_err(|e| failed(&of_ledger(e)))?;
    ledger.close().await;
    state_dir.replace_ledger(kept_as).map_err(|error| failed(&of_disk(&error)))?;
    Ok(rebuilt)
}

/// What logs say of themselves that their streams are, as far as they can be read.
async fn definitions(targets: &[Target]) -> BTreeMap<StreamName, Definition> {
    let mut definitions = BTreeMap::new();
    for target in targets {
        let reader = LogReader::new(target.stream.clone(), Arc::clone(&target.store));
        if let Ok(Some(definition)) = reader.opened_as().await {
            definitions.insert(target.stream.clone(), definition);
        }
    }
    definitions
}

/// The last entry that the old ledger knows, if there is one that can be read.
async fn old_head(state_dir: &StateDir, stream: &StreamName) -> Option<Head> {
    let old = SqliteLedger::open_beside(&state_dir.ledger()).await.ok()??;
    let known = old.stream(stream).await;
    old.close().await;
    Some(known.ok()??.head)
}

/// What is wrong with the log itself, and the last entry that is part of it.
async fn verified(
    target: &Target,
    asked: &verify::Asked,
    may_be_unsigned: bool,
    meter: &Meter,
) -> Result<(Vec<Finding>, Option<Head>), Failure> {
    let report = verify::verify(target, asked, meter).await?;
    // Nothing at all is a stream that was never begun, or whose store has been emptied: either way there is nothing to
    // take over. And windows without a verdict are what the daemon is there for.
    // That the configuration says something else is no damage of the log: the daemon's start says it, of that stream.
    let of_log = |finding: &Finding| {
        !matches!(
            finding,
            Finding::NoEntries
                | Finding::NotSigned
                | Finding::NotAsConfigured { .. }
                | Finding::WindowsWithoutVerdict { .. }
        ) || (matches!(finding, Finding::NotSigned) && report.head.is_some() && !may_be_unsigned)
    };
    let findings = report.findings.iter().filter(|finding| of_log(finding)).cloned().collect();
    Ok((findings, report.head))
}

/// A log on its way into a ledger.
struct Taking<'t> {
    target: &'t Target,
    ledger: &'t dyn Ledger,
    /// What the stream is where the log does not say.
    definition: &'t Definition,
    /// The daemon's key, and whose signatures count.
    signing: Option<&'t Signing>,
    now: Timestamp,
    /// What was taken over and believed. Its head may be a damaged entry, whose place alone was taken over.
    log: LogSoFar,
    /// Until when the daemon that wrote the log was at work.
    last_written: Timestamp,
    /// Windows whose newest export had waited before it was recorded.
    late: BTreeSet<Window>,
    batch: Vec<SealedEntry>,
}

impl<'t> Taking<'t> {
    fn new(
        target: &'t Target,
        ledger: &'t dyn Ledger,
        definition: &'t Definition,
        (signing, now): (Option<&'t Signing>, Timestamp),
    ) -> Self {
        Self {
            target,
            ledger,
            definition,
            signing,
            now,
            log: LogSoFar::default(),
            last_written: Timestamp::MIN,
            late: BTreeSet::new(),
            batch: Vec::new(),
        }
    }

    /// Takes over the log of the stream, which ends with `head` as it was verified.
    async fn restore(
        &mut self,
        trust: Trust,
        head: Option<Head>,
        rules: &StreamRules,
    ) -> Result<(), Failure> {
        let stream = &self.target.stream;
        let reader = LogReader::new(stream.clone(), Arc::clone(&self.target.store));
        match trust {
            Trust::Verified => self.verified(&reader).await?,
            Trust::Unverified => self.unverified(&reader, head).await?,
        }
        let fingerprint = &rules.fingerprints.stream;
        let told = self.ledger.rebuilt(stream, self.last_written, fingerprint, &self.late).await;
        told.map_err(of_ledger)
    }

    /// Takes over a log that was verified a moment ago.
    async fn verified(&mut self, reader: &LogReader) -> Result<(), Failure> {
        let mut walk = Walk::new(reader, None, None);
        loop {
            match walk.next().await {
                Ok(Some(proven)) => self.entry(proven.entry, Trust::Verified).await?,
                Ok(None) => return self.flush(Trust::Verified).await,
                Err(failure) if failure.kind == FailureKind::Damaged => {
                    return Err(changed(&failure.message));
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Takes over what can be read of a damaged log, which ends with `head`: what stands beyond that is no part of it. The place
    /// of a damaged entry is taken, so that the next entry follows its bytes as they lie there; nothing that it says is
    /// believed.
    async fn unverified(&mut self, reader: &LogReader, head: Option<Head>) -> Result<(), Failure> {
        let stream = &self.target.stream;
        let keys = self.target.store.list(&log_prefix(stream), None).map_err(of_store);
        let entries = keys.try_filter_map(|key| {
            ready(Ok(match read_log_key(stream, &key) {
                LogObject::Entry(seq) if head.is_some_and(|head| seq <= head.seq) => Some((seq, key)),
                LogObject::Entry(seq) => {
                    say_passed_over(stream, seq);
                    None
                }
                LogObject::Signature { .. } | LogObject::Other => None,
            }))
        });
        let read = |(seq, key): (Seq, ObjectKey)| async move {
            let reading = reader.agreed(&key, None, None).await.map_err(of_store)?;
            Ok::<_, Failure>((seq, key, reading))
        };
        let mut found = std::pin::pin!(entries.map_ok(read).try_buffered(READ_AHEAD));
        while let Some((seq, key, reading)) = found.try_next().await? {
            let Some(reading) = reading else { continue };
            let opened = match reading.is_too_large() {
                true => Err(format!("it has more than {READ_LIMIT} bytes")),
                false => SealedEntry::open_unchained(reading.bytes().to_vec(), stream, seq)
                    .map_err(|error| error.to_string()),
            };
            let believed = match opened {
                Ok(entry) => self.is_believed(reader, &entry).await?.map(|()| entry),
                Err(error) => Err(error),
            };
            match believed {
                Ok(entry) => self.entry(entry, Trust::Unverified).await?,
                Err(error) => {
                    tracing::warn!(%stream, %key, "damaged entry: its place is taken, and nothing in it is believed: {error}");
                    self.damaged(reader, seq, &key, &reading).await?;
                }
            }
        }
        self.flush(Trust::Unverified).await
    }

    /// Whether an entry that can be read may be believed, although the log is damaged. Else anybody with the right to put could
    /// settle windows.
    async fn is_believed(
        &self,
        reader: &LogReader,
        sealed: &SealedEntry,
    ) -> Result<Result<(), String>, Failure> {
        let armored = match self.signing {
            Some(_) if self.log.wants_signature(sealed.entry()) => {
                let key = signature_key(&self.target.stream, sealed.entry().seq, &sealed.hash());
                reader.agreed(&key, None, None).await.map_err(of_store)?
            }
            _ => None,
        };
        let armored = armored.as_ref().map(Reading::bytes);
        Ok(self.log.believes(sealed, armored, self.signing).map(|_| ()))
    }

    async fn damaged(
        &mut self,
        reader: &LogReader,
        seq: Seq,
        key: &ObjectKey,
        reading: &Reading,
    ) -> Result<(), Failure> {
        let hash = match reading.is_too_large() {
            true => reader.whole_hash(key).await.map_err(of_store)?,
            false => Some(reading.hash()),
        };
        let Some(hash) = hash else { return Ok(()) };
        self.flush(Trust::Unverified).await?;
        let head = Head { seq, hash };
        let taken = self.ledger.pass_over(&self.target.stream, self.definition, head).await;
        taken.map_err(of_ledger)?;
        self.log.head = Some(head);
        Ok(())
    }

    async fn entry(&mut self, entry: SealedEntry, trust: Trust) -> Result<(), Failure> {
        self.log = self.log.with(&entry);
        self.last_written = written_until(self.last_written, entry.entry().recorded_at, self.now);
        note_late(&mut self.late, entry.entry());
        self.batch.push(entry);
        if self.batch.len() == BATCH { self.flush(trust).await } else { Ok(()) }
    }

    async fn flush(&mut self, trust: Trust) -> Result<(), Failure> {
        take_over(self.ledger, &self.target.stream, self.definition, &mut self.batch, trust).await
    }
}

/// Until when the daemon was at work that wrote a log, with one more entry, of `recorded_at`, as it is `now`. The last entry says
/// so, not the latest date: that may be of a clock that was ahead, and pulls that were due before it would count as made.
fn written_until(before: Timestamp, recorded_at: Timestamp, now: Timestamp) -> Timestamp {
    if recorded_at > now { before } else { recorded_at }
}

/// An export that is recorded later than this after it was made has waited: in the provider's export centre, or in the spool.
const LATE: SignedDuration = SignedDuration::from_hours(1);

/// Takes note of a window whose newest export had waited before it was recorded.
fn note_late(late: &mut BTreeSet<Window>, entry: &LogEntry) {
    let EntryBody::Archived(archived) = &entry.body else { return };
    if entry.recorded_at.duration_since(archived.export.pulled_at) > LATE {
        late.insert(archived.window);
    } else {
        late.remove(&archived.window);
    }
}

async fn take_over(
    ledger: &dyn Ledger,
    stream: &StreamName,
    definition: &Definition,
    batch: &mut Vec<SealedEntry>,
    trust: Trust,
) -> Result<(), Failure> {
    let taken = match trust {
        Trust::Verified => ledger.apply(stream, batch).await,
        Trust::Unverified => ledger.accept(stream, definition, batch).await,
    };
    batch.clear();
    taken.map_err(of_ledger)
}

/// What the ledger knows of a stream at `now`. Losses that are not believed are none: their windows are due.
async fn known(
    ledger: &dyn Ledger,
    stream: &StreamName,
    head: Option<Head>,
    now: Timestamp,
) -> Result<Known, Failure> {
    let snapshot = ledger.snapshot().await.map_err(of_ledger)?;
    let mut known = Known { head, ..Known::default() };
    for (window, state) in snapshot.windows.get(stream).into_iter().flatten() {
        match state {
            WindowState::Archived { .. } => known.archived += 1,
            WindowState::Lost { since, .. } if is_loss_believed(*window, *since, now) => known.lost += 1,
            WindowState::Parked { .. } => known.parked += 1,
            WindowState::Lost { .. } | WindowState::Open { .. } => {}
        }
    }
    Ok(known)
}

fn changed(what: &str) -> Failure {
    let message =
        format!("the log is another one than a moment ago, when it was verified ({what}): run it again");
    Failure::new(FailureKind::Transient, Scope::Stream, message)
}

fn of_disk(error: &std::io::Error) -> Failure {
    Failure::new(FailureKind::Local, Scope::Daemon, format!("the new ledger cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_was_written_until_its_last_entry_whatever_a_clock_said_that_was_ahead() {
        let day = |day: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * day);
        let until =
            |days: &[i64]| days.iter().fold(Timestamp::MIN, |at, d| written_until(at, day(*d), day(9)));
        assert_eq!(until(&[1, 2, 3]), day(3));
        assert_eq!(until(&[1, 8, 3]), day(3));
        assert_eq!(until(&[1, 2, 400]), day(2));
        assert_eq!(until(&[400]), Timestamp::MIN);
    }
}
