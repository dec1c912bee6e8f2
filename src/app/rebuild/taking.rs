//! One log on its way into a new ledger, entry by entry.

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::Arc;

use futures_util::TryStreamExt;
use jiff::{SignedDuration, Timestamp};

use super::Trust;
use crate::app::log_reader::{LogReader, READ_LIMIT, Reading};
use crate::app::log_walk::belief::LogSoFar;
use crate::app::log_walk::{Walk, say_passed_over};
use crate::app::signing::Signing;
use crate::app::verify::Target;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::log_entry::{Definition, EntryBody, Head, LogEntry, SealedEntry};
use crate::domain::name::StreamName;
use crate::domain::object_key::{LogObject, ObjectKey, Seq, log_prefix, read_log_key, signature_key};
use crate::domain::verdict::StreamRules;
use crate::domain::window::Window;
use crate::ports::ledger::Ledger;

/// Entries read at the same time.
const READ_AHEAD: usize = 32;
/// Entries taken over in one transaction.
const BATCH: usize = 200;

/// A log on its way into a ledger.
pub(super) struct Taking<'t> {
    target: &'t Target,
    ledger: &'t dyn Ledger,
    /// What the stream is where the log does not say.
    definition: &'t Definition,
    /// The daemon's key, and whose signatures count.
    signing: Option<&'t Signing>,
    now: Timestamp,
    /// What was taken over and believed. Its head may be a damaged entry, whose place alone was taken over.
    pub(super) log: LogSoFar,
    /// Until when the daemon that wrote the log was at work.
    last_written: Timestamp,
    /// Windows whose newest export had waited before it was recorded.
    late: BTreeSet<Window>,
    batch: Vec<SealedEntry>,
}

impl<'t> Taking<'t> {
    pub(super) fn new(
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
    pub(super) async fn restore(
        &mut self,
        trust: Trust,
        head: Option<Head>,
        rules: &StreamRules,
    ) -> Result<(), Failure> {
        let stream = &self.target.stream;
        let reader = LogReader::new(stream.clone(), Arc::clone(&self.target.store));
        match trust {
            Trust::Verified | Trust::EachVerified => self.verified(&reader).await?,
            Trust::Unverified => self.unverified(&reader, head).await?,
        }
        let fingerprint = &rules.fingerprints.stream;
        let told = self.ledger.rebuilt(stream, self.last_written, fingerprint, &self.late).await;
        told.map_err(Failure::from)
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
        let keys = self.target.store.list(&log_prefix(stream), None).map_err(Failure::from);
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
            let reading = reader.agreed(&key, None, None).await?;
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
                reader.agreed(&key, None, None).await?
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
            true => reader.whole_hash(key).await?,
            false => Some(reading.hash()),
        };
        let Some(hash) = hash else { return Ok(()) };
        self.flush(Trust::Unverified).await?;
        let head = Head { seq, hash };
        let taken = self.ledger.pass_over(&self.target.stream, self.definition, head).await;
        taken?;
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
        Trust::Verified | Trust::EachVerified => ledger.apply(stream, batch).await,
        Trust::Unverified => ledger.accept(stream, definition, batch).await,
    };
    batch.clear();
    taken.map_err(Failure::from)
}

fn changed(what: &str) -> Failure {
    let message =
        format!("the log is another one than a moment ago, when it was verified ({what}): run it again");
    Failure::new(FailureKind::Transient, Scope::Stream, message)
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
