//! What all windows are worked on with, and what a run owes the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::adapters::end_mark::EndMark;
use crate::adapters::spool::Spool;
use crate::domain::failure::Failure;
use crate::domain::name::SourceName;
use crate::domain::snapshot::{Resource, Snapshot};
use crate::domain::verdict::StreamRules;
use crate::ports::checkpoint::Checkpoint;
use crate::ports::clock::Clock;
use crate::ports::ledger::{AttemptOutcome, Lease, Ledger, LedgerError};

use super::archive::UnprovenPuts;
use super::clock_watch::ClockWatch;
use super::failure_policy::hold_on;
use super::machine::Machine;
use super::open_work::InWork;
use super::proving::Proofs;
use super::roster::Roster;
use super::run_record::RunRecord;
use super::scratch::Scratch;

/// What all windows are worked on with.
pub struct Services {
    /// What this machine knows.
    pub ledger: Arc<dyn Ledger>,
    /// Every stream, and its source.
    pub roster: Roster,
    /// Which stores may be put to.
    pub proofs: Proofs,
    /// What keeps this machine from working.
    pub machine: Machine,
    /// When exports came whole in this run.
    pub exports: LastExports,
    /// The windows in work.
    pub in_work: InWork,
    /// What the ledger is told of this run.
    pub run: RunRecord,
    /// Where exports lie meanwhile.
    pub spool: Spool,
    /// Where files lie for a moment.
    pub scratch: Scratch,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Whether that is believed.
    pub watch: Arc<ClockWatch>,
    /// Told of each step.
    pub checkpoint: Arc<dyn Checkpoint>,
    /// The name of this run of this process.
    pub holder: String,
    /// Set when the daemon is told to stop and its grace is over: work is abandoned at once.
    pub abandon: CancellationToken,
    /// Leases that this run could not give back when it was done with them.
    pub owed: Owed,
    /// What the end of this run is announced by where the ledger cannot take it down.
    pub end_mark: EndMark,
    /// Objects that this run has put and that do not read back.
    pub unproven: UnprovenPuts,
    /// How long ended attempts are kept.
    pub keep_attempts: SignedDuration,
}

impl Services {
    /// Holds up a source or a store for what failed there; where no stream needs it, it holds nothing up.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn hold_up(&self, resource: &Resource, failure: &Failure) -> Result<(), Failure> {
        let rules = self.roster.rules();
        let needs = |rules: &&StreamRules| rules.needs().any(|needed| needed == *resource);
        let Some(rules) = rules.iter().find(needs) else { return Ok(()) };
        let snapshot = self.ledger.snapshot().await?;
        let hold = hold_on(rules, resource, failure, &snapshot, self.clock.now());
        self.ledger.hold(resource, &hold).await.map_err(Failure::from)
    }
}

/// When the last export of each source came whole, in this run.
#[derive(Debug, Default)]
pub struct LastExports(Mutex<BTreeMap<SourceName, Timestamp>>);

impl LastExports {
    /// An export of `source` has come whole.
    pub(super) fn came(&self, source: &SourceName, now: Timestamp) {
        self.0.lock().insert(source.clone(), now);
    }

    /// When the last export of `source` came whole; `None` where none has.
    pub(super) fn last(&self, source: &SourceName) -> Option<Timestamp> {
        self.0.lock().get(source).copied()
    }
}

/// Leases that are still to be given back: the ledger could not take them (a full disk), and nobody works under them.
#[derive(Debug, Default)]
pub struct Owed(Mutex<Vec<Lease>>);

impl Owed {
    /// The lease is not worked under any more, and the ledger does not know.
    pub(super) fn add(&self, lease: &Lease) {
        self.0.lock().push(lease.clone());
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Takes the leases out of what the ledger says.
    pub fn take_from(&self, snapshot: &mut Snapshot) {
        for lease in &*self.0.lock() {
            snapshot.void_lease(&lease.stream, lease.window);
        }
    }

    /// Gives back all that the ledger takes now.
    ///
    /// # Errors
    /// When the ledger still fails; what is left stays owed.
    pub async fn give_back(&self, ledger: &dyn Ledger, now: Timestamp) -> Result<(), Failure> {
        // Each is owed until it is given back: whoever waits for that may be stopped in between.
        let owed = self.0.lock().clone();
        for lease in &owed {
            match ledger.release(lease, AttemptOutcome::Interrupted, now).await {
                Ok(()) | Err(LedgerError::StaleLease { .. }) => self.0.lock().retain(|left| left != lease),
                Err(error) => return Err(Failure::from(error)),
            }
        }
        Ok(())
    }
}
