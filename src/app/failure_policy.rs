//! What becomes of a window, and of what it shares with others, after a failure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::backoff::pause;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::snapshot::{FailureNote, Hold, Resource, Snapshot, WindowState};
use crate::domain::verdict::StreamRules;
use crate::domain::window::Window;
use crate::ports::ledger::{Disposition, LedgerError};
use crate::ports::object_store::StoreError;
use crate::ports::record_source::SourceError;

/// So many files that are no exports in a row park a window.
const CORRUPT_LIMIT: u32 = 3;
/// What only a person can mend is looked at again no sooner than this, unless the config changes.
pub(super) const OPERATOR_PAUSE: Duration = Duration::from_secs(5 * 60);

/// What follows from a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consequence {
    /// For the window.
    pub disposition: Disposition,
    /// For what it shares with others.
    pub hold: Option<(Resource, Hold)>,
}

/// What follows from `failure` of `window`, given what the ledger knows.
pub fn consequence(
    rules: &StreamRules,
    window: Window,
    failure: &Failure,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Consequence {
    match shared(rules, failure) {
        Some(resource) => {
            let hold = hold_on(rules, &resource, failure, snapshot, now);
            Consequence { disposition: Disposition::NotCharged, hold: Some((resource, hold)) }
        }
        None => Consequence { disposition: of_window(rules, window, failure, snapshot, now), hold: None },
    }
}

/// What the failure holds up besides the window.
pub fn shared(rules: &StreamRules, failure: &Failure) -> Option<Resource> {
    match (failure.scope, failure.kind) {
        (Scope::Daemon, _) | (_, FailureKind::Local) => Some(Resource::Daemon),
        (Scope::Source, _) => Some(Resource::Source(rules.source.clone())),
        (Scope::Store, _) => Some(Resource::Store(rules.store.clone())),
        (Scope::Stream, _) => Some(Resource::Stream(rules.name.clone())),
        (Scope::Window, _) => None,
    }
}

/// The hold that a failure of something shared places.
pub fn hold_on(
    rules: &StreamRules,
    resource: &Resource,
    failure: &Failure,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Hold {
    let before = snapshot.holds.get(resource);
    // Windows that were in flight together fail together: that is one failure, not several.
    let failures = match before {
        Some(hold) if hold.until > now => hold.failures,
        Some(hold) => hold.failures.saturating_add(1),
        None => 1,
    };
    let mut wait = pause(failures, &resource.to_string()).max(failure.retry_after.unwrap_or_default());
    if failure.kind.needs_operator() {
        wait = wait.max(OPERATOR_PAUSE);
    }
    // A pause that was asked for, or that an operator's attention is worth, is not cut short by the next failure.
    let running =
        before.filter(|hold| hold.fingerprint == *rules.fingerprint_of(resource)).map(|hold| hold.until);
    Hold {
        until: running.map_or(later(now, wait), |until| until.max(later(now, wait))),
        since: before.map_or(now, |hold| hold.since),
        failures,
        failure: note(failure, now),
        fingerprint: rules.fingerprint_of(resource).clone(),
    }
}

fn of_window(
    rules: &StreamRules,
    window: Window,
    failure: &Failure,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Disposition {
    let state = snapshot.windows.get(&rules.name).and_then(|windows| windows.get(&window));
    let (failures, corrupt) = match state {
        Some(WindowState::Open { failures, corrupt, .. }) => (*failures, *corrupt),
        Some(WindowState::Archived { failures, .. }) => (*failures, 0),
        _ => (0, 0),
    };
    let hopeless = failure.kind.needs_operator()
        || (failure.kind == FailureKind::Corrupt && corrupt.saturating_add(1) >= CORRUPT_LIMIT);
    if hopeless {
        return Disposition::Park { fingerprint: rules.fingerprints.stream.clone() };
    }
    let what = format!("{} {window}", rules.name);
    let wait = pause(failures.saturating_add(1), &what).max(failure.retry_after.unwrap_or_default());
    Disposition::Retry { at: later(now, wait) }
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// A failure as the ledger keeps it.
pub fn note(failure: &Failure, at: Timestamp) -> FailureNote {
    FailureNote { kind: failure.kind, message: failure.message.clone(), at }
}

/// A store's error, as a failure.
pub fn of_store(error: StoreError) -> Failure {
    error.0
}

/// A source's error, as a failure.
pub fn of_source(error: SourceError) -> Failure {
    error.0
}

/// A ledger's error, as a failure: the machine's, never a window's.
pub fn of_ledger(error: LedgerError) -> Failure {
    let scope = match error {
        LedgerError::StaleLease { .. } => Scope::Window,
        LedgerError::NotNext { .. } => Scope::Stream,
        LedgerError::Storage(_) | LedgerError::Unusable(_) => Scope::Daemon,
    };
    let kind = match error {
        LedgerError::StaleLease { .. } => FailureKind::Transient,
        // Somebody else moved the head; reading on puts it right.
        LedgerError::NotNext { .. } => FailureKind::Transient,
        LedgerError::Storage(_) => FailureKind::Local,
        LedgerError::Unusable(_) => FailureKind::Damaged,
    };
    Failure::new(kind, scope, error.to_string())
}
