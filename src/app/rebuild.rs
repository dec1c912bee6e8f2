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

mod taking;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::adapters::sqlite_ledger::SqliteLedger;
use crate::adapters::state_dir::StateDir;
use crate::config::Config;
use crate::domain::audit::{ExpectedHead, Finding};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::log_entry::{Definition, Head};
use crate::domain::name::StreamName;
use crate::domain::snapshot::{Snapshot, WindowState, is_loss_believed};
use crate::domain::verdict::StreamRules;
use crate::ports::ledger::Ledger;

use self::taking::Taking;
use super::compose::{self, Injected};
use super::log_reader::LogReader;
use super::projects;
use super::signing;
use super::start_error::StartError;
use super::verify::{self, Level, Meter, Target, targets};

/// Whether a log that does not verify is gone on with all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It is refused, and with it all others.
    Verified,
    /// It is left out, and the others are taken over. So is one whose store does not answer.
    EachVerified,
    /// What of it can be read is taken over.
    Unverified,
}

/// A stream whose log was not taken over, by [`Trust::EachVerified`].
pub(super) struct LeftOut {
    /// The stream that the new ledger knows nothing of.
    pub(super) stream: StreamName,
    /// What is wrong with its log, or with the store.
    pub(super) why: String,
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
    remake(&state_dir, config, injected, trust, meter, None).await.map(|(rebuilt, _)| rebuilt)
}

/// As [`rebuild`], in a state directory that is locked; which streams came of it, and which were left out. The old ledger is removed, or stays beside the new one under a name that
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
) -> Result<(Vec<Rebuilt>, Vec<LeftOut>), StartError> {
    let failed = |failure: &Failure| StartError::from_failure("ledger", failure);
    SqliteLedger::check_own(&state_dir.ledger()).await?;
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
    let mut left_out = Vec::new();
    for target in targets {
        let asked = verify::Asked {
            level: Level::Log,
            from: None,
            to: None,
            sample: None,
            expected_head: old_head(state_dir, &target.stream).await.map(ExpectedHead::from),
            now: injected.clock.now(),
            signers: signers.clone(),
        };
        let (findings, head) = match verified(&target, &asked, may_be_unsigned, meter).await {
            Ok(verified) => verified,
            Err(failure) if trust == Trust::EachVerified => {
                left_out.push(LeftOut { stream: target.stream, why: failure.message.to_string() });
                continue;
            }
            Err(failure) => return Err(StartError::from_failure(target.stream.as_str(), &failure)),
        };
        if let Some(finding) = findings.first().filter(|_| trust == Trust::EachVerified) {
            left_out.push(LeftOut { stream: target.stream, why: finding.to_string() });
            continue;
        }
        rebuilt.push(Rebuilt { stream: target.stream.clone(), findings, known: None });
        ends.push((target, head));
    }
    if trust == Trust::Verified && rebuilt.iter().any(|stream| !stream.findings.is_empty()) {
        return Ok((rebuilt, left_out));
    }
    let beside = state_dir.new_ledger().map_err(|error| failed(&of_disk(&error)))?;
    let ledger = SqliteLedger::open(&beside).await?;
    let rules = compose::rules(config);
    for (stream, (target, head)) in rebuilt.iter_mut().zip(&ends) {
        let of_stream = |failure: Failure| StartError::from_failure(target.stream.as_str(), &failure);
        // The configuration is checked: it has the rules and the definition of each of its streams.
        let Some(rules) = rules.iter().find(|rules| rules.name == target.stream) else { continue };
        let Some(definition) = compose::definition_of(config, &target.stream) else { continue };
        let now = injected.clock.now();
        let mut taking = Taking::new(target, &ledger, &definition, (signing.as_ref(), now));
        match taking.restore(trust, *head, rules).await {
            // What was taken over by then is true: the daemon reads on from there.
            Err(failure) if trust == Trust::EachVerified && failure.scope != Scope::Daemon => {
                left_out.push(LeftOut { stream: target.stream.clone(), why: failure.message.to_string() });
            }
            taken => taken.map_err(of_stream)?,
        }
        let known = known(&ledger, &target.stream, taking.log.head, now).await;
        stream.known = Some(known.map_err(of_stream)?);
    }
    let fingerprints = rules.iter().flat_map(StreamRules::recorded).collect();
    ledger.record_fingerprints(&fingerprints).await?;
    ledger.close().await;
    state_dir.replace_ledger(kept_as).map_err(|error| failed(&of_disk(&error)))?;
    Ok((rebuilt, left_out))
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

/// What the ledger knows of a stream at `now`. Losses that are not believed are none: their windows are due.
async fn known(
    ledger: &dyn Ledger,
    stream: &StreamName,
    head: Option<Head>,
    now: Timestamp,
) -> Result<Known, Failure> {
    let snapshot = ledger.snapshot().await?;
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

fn of_disk(error: &std::io::Error) -> Failure {
    Failure::new(FailureKind::Local, Scope::Daemon, format!("the new ledger cannot be written: {error}"))
}
