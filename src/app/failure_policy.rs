//! What becomes of a window, and of what it shares with others, after a failure.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::backoff::{LONG_WAIT, LONGEST_ASKED_FOR, pause_after};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::name::StoreName;
use crate::domain::snapshot::{FailureNote, Hold, Resource, Snapshot, WindowState};
use crate::domain::verdict::StreamRules;
use crate::domain::window::Window;
use crate::ports::ledger::{Disposition, Ledger};

/// So many files that are no exports in a row park a window.
const CORRUPT_LIMIT: u32 = 3;
/// What only a person can mend is looked at again no sooner than this, unless the config changes.
pub(super) const OPERATOR_PAUSE: Duration = Duration::from_secs(5 * 60);

/// A failure so long after the end of the last hold is a new one, not the next in a row: nobody knows what worked meanwhile. A
/// `once` that runs each night sees a row.
const IN_A_ROW: SignedDuration = SignedDuration::from_hours(26);

/// What follows from a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consequence {
    /// For the window.
    pub disposition: Disposition,
    /// For what it shares with others.
    pub hold: Option<(Resource, Hold)>,
}

/// What follows from `failure` of `window`, given what the ledger knows, and when the last export of its source came whole.
pub fn consequence(
    (rules, exported_at): (&StreamRules, Option<Timestamp>),
    window: Window,
    failure: &Failure,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Consequence {
    let held = |resource: Resource| {
        let hold = hold_on(rules, &resource, failure, snapshot, now);
        Some((resource, hold))
    };
    match shared(rules, failure) {
        Some(resource) => Consequence { disposition: Disposition::NotCharged, hold: held(resource) },
        None => {
            let is_slow = is_of_a_slow_source((rules, exported_at), window, failure, snapshot, now);
            let hold = if is_slow { held(Resource::Source(rules.source.clone())) } else { None };
            Consequence { disposition: of_window(rules, window, failure, snapshot, now), hold }
        }
    }
}

/// Whether the failure of a window is laid on its source as well: the source was waited for long and in vain, and no other window
/// of it was exported during that wait, nor since this window failed the last time. Where another one was, the window alone is slow.
fn is_of_a_slow_source(
    (rules, exported_at): (&StreamRules, Option<Timestamp>),
    window: Window,
    failure: &Failure,
    snapshot: &Snapshot,
    now: Timestamp,
) -> bool {
    if failure.kind != FailureKind::Transient || failure.waited() < LONG_WAIT {
        return false;
    }
    let state = snapshot.windows.get(&rules.name).and_then(|windows| windows.get(&window));
    let failed_before = match state {
        Some(WindowState::Open { last_failure: Some(failure), .. }) => failure.at,
        _ => Timestamp::MAX,
    };
    let waited = SignedDuration::try_from(failure.waited()).unwrap_or(SignedDuration::MAX);
    let since = now.saturating_sub(waited).unwrap_or(Timestamp::MIN).min(failed_before);
    // An export that is dated later than now was dated by a clock that was ahead.
    !exported_at.is_some_and(|at| (since..=now).contains(&at))
}

/// What the failure holds up besides the window.
pub fn shared(rules: &StreamRules, failure: &Failure) -> Option<Resource> {
    match (failure.scope, failure.kind) {
        (_, FailureKind::Clock) => Some(Resource::Clock),
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
    let in_a_row = |hold: &&Hold| hold.is_credible(now) && now.duration_since(hold.until) < IN_A_ROW;
    let before = snapshot.holds.get(resource).filter(in_a_row);
    // Windows that were in flight together fail together: that is one failure, not several.
    let failures = match before {
        Some(hold) if hold.is_on(now) => hold.failures,
        Some(hold) => hold.failures.saturating_add(1),
        None => 1,
    };
    let mut wait = pause_after(failures, &resource.to_string(), failure.waited()).max(asked_for(failure));
    if failure.kind.needs_operator() {
        wait = wait.max(OPERATOR_PAUSE);
    }
    // A pause that was asked for, or that an operator's attention is worth, is not cut short by the next failure.
    let running = before
        .filter(|hold| hold.is_on(now) && hold.fingerprint == *rules.fingerprint_of(resource))
        .map(|hold| hold.until);
    Hold {
        until: running.map_or(later(now, wait), |until| until.max(later(now, wait))),
        since: before.map_or(now, |hold| hold.since),
        failures,
        failure: note(failure, now),
        fingerprint: rules.fingerprint_of(resource).clone(),
    }
}

/// Places the hold for a log that could not be read or opened: on its store where that failed, else on its stream. Where
/// the logs of other streams were read from that store at the same time, among the stores in `works`, only this log is
/// unreadable, and the others go on.
///
/// # Errors
/// When the ledger fails.
pub async fn hold_log(
    rules: &StreamRules,
    failure: &Failure,
    works: &BTreeSet<StoreName>,
    ledger: &dyn Ledger,
    now: Timestamp,
) -> Result<(), Failure> {
    let resource = match failure.scope {
        Scope::Store if !works.contains(&rules.store) => Resource::Store(rules.store.clone()),
        _ => Resource::Stream(rules.name.clone()),
    };
    let snapshot = ledger.snapshot().await?;
    let hold = hold_on(rules, &resource, failure, &snapshot, now);
    ledger.hold(&resource, &hold).await.map_err(Failure::from)
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
        Some(
            WindowState::Open { failures, corrupt, .. } | WindowState::Archived { failures, corrupt, .. },
        ) => (*failures, *corrupt),
        _ => (0, 0),
    };
    let hopeless = failure.kind.needs_operator()
        || (failure.kind == FailureKind::Corrupt && corrupt.saturating_add(1) >= CORRUPT_LIMIT);
    let is_unread = matches!(state, Some(WindowState::Archived { content, .. }) if content.is_unread());
    if hopeless && is_unread && rules.is_last_day(window, now) {
        return Disposition::Retry { at: rules.parked_until(window, now) };
    }
    if hopeless {
        return Disposition::Park { fingerprint: rules.fingerprints.stream.clone() };
    }
    let what = format!("{} {window}", rules.name);
    let wait = pause_after(failures.saturating_add(1), &what, failure.waited()).max(asked_for(failure));
    Disposition::Retry { at: later(now, wait) }
}

/// How long the other side asked us to stay away, as far as it is obeyed.
fn asked_for(failure: &Failure) -> Duration {
    failure.retry_after.unwrap_or_default().min(LONGEST_ASKED_FOR)
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// A failure as the ledger keeps it.
pub fn note(failure: &Failure, at: Timestamp) -> FailureNote {
    FailureNote { kind: failure.kind, message: failure.message.clone(), at }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::planner::tests::{at, fingerprint, note, pulled, rules, with};

    const NOON: &str = "2026-11-20T12:00:00Z";

    fn corrupt() -> Failure {
        Failure::new(FailureKind::Corrupt, Scope::Window, "a page of HTML")
    }

    #[test]
    fn the_third_file_that_is_no_export_parks_a_window_and_ends_a_revisit_for_a_day() {
        let rules = rules("logins", "2026-11-01T00:00:00Z");
        let window = rules.completed(at(NOON)).next().unwrap();
        let open = |corrupt| WindowState::Open {
            failures: corrupt,
            corrupt,
            retry_at: None,
            last_failure: None,
            leased_until: None,
        };
        let archived = |corrupt| match pulled(at("2026-11-02T02:00:00Z")) {
            WindowState::Archived {
                seq,
                revision,
                count,
                content,
                last_pulled_at,
                retry_at,
                leased_until,
                ..
            } => {
                let failures = corrupt;
                WindowState::Archived {
                    seq,
                    revision,
                    count,
                    content,
                    last_pulled_at,
                    failures,
                    corrupt,
                    retry_at,
                    leased_until,
                }
            }
            other => other,
        };
        for state in [open, archived] as [fn(u32) -> WindowState; 2] {
            for (before, parks) in [(0, false), (1, false), (2, true)] {
                let mut snapshot = Snapshot::default();
                with(&mut snapshot, &rules, window, state(before));
                let follows = consequence((&rules, None), window, &corrupt(), &snapshot, at(NOON));
                assert_eq!(matches!(follows.disposition, Disposition::Park { .. }), parks, "{before}");
            }
        }
    }

    fn dripped() -> Failure {
        let failure = Failure::new(FailureKind::Transient, Scope::Window, "it is too slow");
        failure.after(Duration::from_secs(300))
    }

    /// Where the first window drips at noon, and another one of its source came whole at `exported_at`: for how long the source pauses,
    /// and for how long the window does.
    fn pauses_after_a_drip(
        exported_at: Option<&str>,
        failed_at: Option<&str>,
        failures: u32,
    ) -> (Option<SignedDuration>, SignedDuration) {
        let rules = &rules("logins", "2026-11-01T00:00:00Z");
        let window = rules.completed(at(NOON)).next().unwrap();
        let mut snapshot = Snapshot::default();
        if let Some(failed_at) = failed_at {
            let state = WindowState::Open {
                failures: 1,
                corrupt: 0,
                retry_at: None,
                last_failure: Some(note(FailureKind::Transient, at(failed_at))),
                leased_until: None,
            };
            with(&mut snapshot, rules, window, state);
        }
        if failures > 0 {
            let since = at("2026-11-20T11:00:00Z");
            let hold = Hold {
                until: at("2026-11-20T11:54:00Z"),
                since,
                failures,
                failure: note(FailureKind::Transient, since),
                fingerprint: fingerprint("now"),
            };
            snapshot.holds.insert(Resource::Source(rules.source.clone()), hold);
        }
        let follows = consequence((rules, exported_at.map(at)), window, &dripped(), &snapshot, at(NOON));
        let Disposition::Retry { at: retry_at } = follows.disposition else {
            panic!("{follows:?}");
        };
        (follows.hold.map(|(_, hold)| hold.until.duration_since(at(NOON))), retry_at.duration_since(at(NOON)))
    }

    #[test]
    fn a_source_of_which_nothing_came_while_a_window_dripped_pauses_at_least_as_long_as_that_took() {
        let [minutes, longest] = [5, 15].map(SignedDuration::from_mins);
        let (source, window) = pauses_after_a_drip(None, None, 0);
        assert!(source.is_some_and(|pause| pause >= minutes && pause < longest), "{source:?}");
        assert!(window >= minutes && window < longest, "{window:?}");
        // What came before the window was begun says nothing.
        assert_eq!(pauses_after_a_drip(Some("2026-11-20T11:54:59Z"), None, 0).0, source);
        // It grows while nothing works.
        let later = pauses_after_a_drip(None, None, 4).0;
        assert!(later > source && later <= Some(longest), "{later:?}");
    }

    #[test]
    fn a_window_that_drips_while_others_of_its_source_come_is_slow_by_itself() {
        assert_eq!(pauses_after_a_drip(Some("2026-11-20T11:57:00Z"), None, 0).0, None);
        // With one place nothing comes beside it; what came since it failed the last time counts as well.
        let earlier = Some("2026-11-20T11:30:00Z");
        assert!(pauses_after_a_drip(earlier, Some("2026-11-20T11:40:00Z"), 0).0.is_some());
        assert_eq!(pauses_after_a_drip(earlier, Some("2026-11-20T11:20:00Z"), 0).0, None);
    }

    #[test]
    fn a_transfer_that_broke_off_at_once_is_its_windows_failure_alone() {
        let streams = [rules("logins", "2026-11-01T00:00:00Z")];
        let window = streams[0].completed(at(NOON)).next().unwrap();
        let snapshot = Snapshot::default();
        let reset = dripped().after(Duration::from_secs(1));
        let follows = consequence((&streams[0], None), window, &reset, &snapshot, at(NOON));
        assert_eq!(follows.hold, None);
    }

    #[test]
    fn a_failure_long_after_the_last_hold_is_the_first_one_of_another() {
        let rules = rules("logins", "2026-11-01T00:00:00Z");
        let resource = Resource::Source(rules.source.clone());
        let failure = Failure::new(FailureKind::Transient, Scope::Source, "it is away");
        let since = at("2026-10-01T00:00:00Z");
        let after = |until: &str| {
            let before = Hold {
                until: at(until),
                since,
                failures: 7,
                failure: note(FailureKind::Transient, since),
                fingerprint: fingerprint("now"),
            };
            let mut snapshot = Snapshot::default();
            snapshot.holds.insert(resource.clone(), before);
            let hold = hold_on(&rules, &resource, &failure, &snapshot, at(NOON));
            (hold.since, hold.failures)
        };
        assert_eq!(after("2026-11-19T12:00:00Z"), (since, 8), "the night before");
        assert_eq!(after("2026-11-20T12:01:00Z"), (since, 7), "it was in flight already");
        assert_eq!(
            after("2026-10-02T00:00:00Z"),
            (at(NOON), 1),
            "whatever it was, nobody saw that it went on"
        );
    }
}
