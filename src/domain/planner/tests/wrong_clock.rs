//! What a clock that was ahead has written into log and ledger delays nothing once the clock is right.

use super::*;

const NOW: &str = "2026-11-20T12:00:00Z";

fn year() -> SignedDuration {
    SignedDuration::from_hours(365 * 24)
}

/// The verdict on the first window of November, which has `state`.
fn verdict(state: WindowState) -> Verdict {
    let rules = rules("logins", "2026-11-01T00:00:00Z");
    let window = rules.completed(at(NOW)).next().unwrap();
    let mut snapshot = Snapshot::default();
    with(&mut snapshot, &rules, window, state);
    judge(&rules, window, &snapshot, at(NOW))
}

#[test]
fn a_loss_is_believed_that_was_recorded_after_its_window_and_not_later_than_now() {
    let lost = |since| verdict(WindowState::Lost { seq: Seq::FIRST, since });
    let end = at("2026-11-02T00:00:00Z");
    let second = SignedDuration::from_secs(1);
    for (since, believed) in [
        (end - second, false),
        (end, true),
        (at(NOW), true),
        (at(NOW) + SignedDuration::from_mins(5), true),
        (at(NOW) + SignedDuration::from_mins(6), false),
        (at(NOW) + year(), false),
    ] {
        let verdict = lost(since);
        assert_eq!(verdict.word() == "lost", believed, "{since}");
        assert_eq!(verdict.due() == Some(DueReason::LossNotBelieved), !believed, "{since}");
    }
}

#[test]
fn a_window_that_has_expired_all_the_same_is_to_be_recorded_as_lost_once_more() {
    let rules = rules("logins", "2026-10-01T00:00:00Z");
    let window = rules.completed(at(NOW)).next().unwrap();
    let mut snapshot = Snapshot::default();
    with(&mut snapshot, &rules, window, WindowState::Lost { seq: Seq::FIRST, since: at(NOW) + year() });
    assert!(matches!(judge(&rules, window, &snapshot, at(NOW)), Verdict::Lost { seq: None, .. }));
}

#[test]
fn no_pause_outlasts_the_clock_that_set_it() {
    let note = |at| note(FailureKind::Transient, at);
    let (hour, ten) = (SignedDuration::from_hours(1), SignedDuration::from_hours(10));
    let open = |failed_at: Timestamp, retry_at, leased_until| WindowState::Open {
        failures: 3,
        corrupt: 0,
        retry_at,
        last_failure: Some(note(failed_at)),
        leased_until,
    };
    let parked = |since| WindowState::Parked {
        since,
        failure: note(since),
        fingerprint: Some(fingerprint("now")),
        seq: Seq::new(7),
    };
    let now = at(NOW);
    for ahead in [ten, year()] {
        let then = now + ahead;
        for state in [open(then, Some(then + hour), None), open(now, None, Some(now + year())), parked(then)]
        {
            assert!(verdict(state.clone()).due().is_some(), "{state:?}");
        }
    }
    for state in [open(now, Some(now + hour), None), open(now, None, Some(now + hour)), parked(now)] {
        assert_eq!(verdict(state.clone()).due(), None, "{state:?}");
    }
}

#[test]
fn no_hold_outlasts_the_clock_that_set_it() {
    let rules = rules("logins", "2026-11-01T00:00:00Z");
    let now = at(NOW);
    let hour = SignedDuration::from_hours(1);
    let held = |since: Timestamp, until| {
        let mut snapshot = Snapshot::default();
        let (failure, fingerprint) = (note(FailureKind::Throttled, since), fingerprint("now"));
        let hold = Hold { until, since, failures: 1, failure, fingerprint };
        snapshot.holds.insert(Resource::Source(rules.source.clone()), hold);
        rules.held_by(&snapshot, now).is_some()
    };
    assert!(held(now, now + hour));
    assert!(!held(now, now + year()), "no pause is so long");
    for ahead in [hour * 10, year()] {
        assert!(!held(now + ahead, now + ahead + hour), "its failure is still to come");
    }
}

#[test]
fn a_loss_waits_until_the_window_has_expired_by_the_confirmed_time_too() {
    let rules = rules("logins", "2026-10-20T00:00:00Z");
    // The first window expires at 23:59 of the eighteenth.
    let now = at("2026-11-19T00:03:00Z");
    let early = |confirmed| {
        let mut plan = plan(std::slice::from_ref(&rules), &Snapshot::default(), now);
        plan.lose_nothing_after(at(confirmed), now);
        let losses = plan.actions.iter().filter(|action| action.task == Task::AttestLost).count();
        (losses, plan.next_wake)
    };
    assert_eq!(early("2026-11-19T00:02:00Z").0, 1);
    assert_eq!(early("2026-11-18T23:57:00Z"), (0, Some(at("2026-11-19T00:05:00Z"))));
}
