//! What keeps this machine from working, as the process itself remembers it.
//!
//! A full disk is the one outage that the ledger may be unable to take down. So whoever is asked (the status page) looks
//! here as well.

use jiff::Timestamp;
use parking_lot::Mutex;

use super::failure_policy::note;
use crate::domain::failure::Failure;
use crate::domain::snapshot::{Fingerprint, Hold, Resource, Snapshot};

/// The machine's failure, until something has worked again.
#[derive(Debug, Default)]
pub struct Machine(Mutex<Option<Hold>>);

impl Machine {
    /// It failed at `now`, for the `failures`-th time in a row, and is left alone until `until`.
    pub fn failed(&self, failure: &Failure, failures: u32, now: Timestamp, until: Timestamp) {
        let mut hold = self.0.lock();
        let since = hold.as_ref().map_or(now, |hold| hold.since);
        let failure = note(failure, now);
        *hold = Some(Hold { until, since, failures, failure, fingerprint: Fingerprint(String::new()) });
    }

    /// Something has worked.
    pub fn works(&self) {
        *self.0.lock() = None;
    }

    /// Whether it failed, and nothing has worked since.
    pub fn is_down(&self) -> bool {
        self.0.lock().is_some()
    }

    /// Adds what the ledger could not be told to what it says.
    pub fn add_to(&self, snapshot: &mut Snapshot) {
        if let Some(hold) = &*self.0.lock() {
            snapshot.holds.entry(Resource::Daemon).or_insert_with(|| hold.clone());
        }
    }
}
