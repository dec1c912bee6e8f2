//! When archived windows are pulled again, and that they delay nothing.

use super::*;

/// The plan of one stream that revisits after three days and fourteen, whose first window has `state`.
fn revisits(state: WindowState, now: &str) -> Plan {
    let mut rules = rules("logins", "2026-11-01T00:00:00Z");
    rules.revisit = vec![SignedDuration::from_hours(3 * 24), SignedDuration::from_hours(14 * 24)];
    let now = at(now);
    let mut snapshot = Snapshot::default();
    for (number, window) in rules.completed(now).enumerate() {
        // The others were pulled at `now`, and wait for no revisit that is due.
        with(&mut snapshot, &rules, window, if number == 0 { state.clone() } else { pulled(now) });
    }
    let first = rules.completed(now).next().unwrap();
    assert_eq!(judge(&rules, first, &snapshot, now).word(), "archived");
    plan(&[rules], &snapshot, now)
}

#[test]
fn an_archived_window_is_pulled_again_at_its_instants_and_after_no_other() {
    let first_pull = at("2026-11-02T02:00:00Z");
    let due = |last_pulled_at, now| {
        let tasks: Vec<_> = revisits(pulled(last_pulled_at), now).actions.iter().map(|a| a.task).collect();
        assert!(tasks.iter().all(|task| *task == Task::Revisit { reason: DueReason::Revisit }), "{tasks:?}");
        tasks.len()
    };
    assert_eq!(due(first_pull, "2026-11-04T23:59:59Z"), 0);
    assert_eq!(due(first_pull, "2026-11-05T00:00:00Z"), 1);
    assert_eq!(due(first_pull, "2026-11-10T00:00:00Z"), 1, "late is better than never");
    // A pull at the very instant, or after it, is the revisit; one pull is enough for both.
    assert_eq!(due(at("2026-11-05T00:00:00Z"), "2026-11-15T23:59:59Z"), 0);
    assert_eq!(due(at("2026-11-06T00:00:00Z"), "2026-11-16T00:00:00Z"), 1);
    assert_eq!(due(first_pull, "2026-11-16T00:00:00Z"), 1);
    assert_eq!(due(at("2026-11-16T00:00:00Z"), "2026-11-20T00:00:00Z"), 0);
    // A minute before thirty days after its start, the source may answer short.
    assert_eq!(due(first_pull, "2026-11-30T23:58:59Z"), 1);
    assert_eq!(due(first_pull, "2026-11-30T23:59:00Z"), 0);
}

#[test]
fn the_plan_says_when_the_next_revisit_is() {
    let wake = |last_pulled_at, now| revisits(pulled(at(last_pulled_at)), now).next_wake;
    // The window that is open now is due at 02:00 of the day after.
    let now = "2026-11-04T12:00:00Z";
    assert_eq!(wake("2026-11-02T02:00:00Z", now), Some(at("2026-11-05T00:00:00Z")));
    assert_eq!(wake("2026-11-05T00:00:00Z", now), Some(at("2026-11-05T02:00:00Z")));
}

#[test]
fn a_revisit_waits_for_its_pause_and_for_the_one_that_goes_on() {
    let (now, later) = ("2026-11-05T01:00:00Z", at("2026-11-05T01:30:00Z"));
    let state = |retry_at, leased_until| WindowState::Archived {
        count: CountVerdict::Uncounted,
        content: Content::default(),
        seq: Seq::FIRST,
        revision: Revision::FIRST,
        last_pulled_at: at("2026-11-02T02:00:00Z"),
        failures: 1,
        corrupt: 0,
        retry_at,
        leased_until,
    };
    for waiting in [state(Some(later), None), state(None, Some(later))] {
        let plan = revisits(waiting, now);
        assert_eq!((plan.actions.len(), plan.next_wake), (0, Some(later)));
    }
    let over = state(Some(at(now)), Some(at(now)));
    assert_eq!(revisits(over, now).actions.len(), 1);
    let now = "2026-11-30T12:00:00Z";
    let too_late = state(Some(at("2026-11-30T23:59:00Z")), None);
    assert_eq!(
        revisits(too_late, now)
            .actions
            .iter()
            .filter(|a| a.window.start() == at("2026-11-01T00:00:00Z"))
            .count(),
        0
    );
}

#[test]
fn what_a_clock_that_was_ahead_has_written_delays_no_revisit() {
    let now = "2026-11-05T01:00:00Z";
    let year = SignedDuration::from_hours(365 * 24);
    let state = |last_pulled_at, retry_at, leased_until| WindowState::Archived {
        count: CountVerdict::Uncounted,
        content: Content::default(),
        seq: Seq::FIRST,
        revision: Revision::FIRST,
        last_pulled_at,
        failures: 1,
        corrupt: 0,
        retry_at,
        leased_until,
    };
    let (pulled_at, later) = (at("2026-11-02T02:00:00Z"), Some(at(now) + year));
    for state in
        [state(pulled_at, later, None), state(pulled_at, None, later), state(at(now) + year, None, None)]
    {
        assert_eq!(revisits(state.clone(), now).actions.len(), 1, "{state:?}");
    }
}

#[test]
fn revisits_come_after_all_else_the_most_urgent_first() {
    let mut revisited = rules("a", "2026-10-08T00:00:00Z");
    revisited.revisit = vec![SignedDuration::from_hours(3 * 24)];
    let fresh = rules("b", "2026-10-08T00:00:00Z");
    let now = at("2026-11-08T03:00:00Z");
    let mut snapshot = Snapshot::default();
    for window in revisited.completed(now).take(29) {
        with(&mut snapshot, &revisited, window, pulled(window.end() + revisited.settle));
    }
    let plan = plan(&[revisited, fresh], &snapshot, now);
    let is_revisit = |a: &&Action| matches!(a.task, Task::Revisit { .. });
    let (last, others): (Vec<_>, Vec<_>) = plan.actions.iter().partition(is_revisit);
    assert_eq!((last.len(), others.len()), (26, 33));
    assert!(plan.actions[33..].iter().collect::<Vec<_>>() == last, "a revisit delays something");
    assert!(last.is_sorted_by_key(|action| action.expires_at));
    assert_eq!(last[0].window.start(), at("2026-10-10T00:00:00Z"), "two days have expired");
}

#[test]
fn a_hold_keeps_revisits_waiting() {
    let mut rules = rules("logins", "2026-11-01T00:00:00Z");
    rules.revisit = vec![SignedDuration::from_hours(3 * 24)];
    let now = at("2026-11-05T01:00:00Z");
    let mut snapshot = Snapshot::default();
    for window in rules.completed(now) {
        with(&mut snapshot, &rules, window, pulled(window.end() + rules.settle));
    }
    assert_eq!(plan(std::slice::from_ref(&rules), &snapshot, now).actions.len(), 1);
    let until = at("2026-11-05T01:10:00Z");
    let failure = note(FailureKind::Throttled, now);
    let hold = Hold { until, since: now, failures: 1, failure, fingerprint: fingerprint("now") };
    snapshot.holds.insert(Resource::Store(rules.store.clone()), hold);
    let held = plan(&[rules], &snapshot, now);
    assert_eq!((held.actions, held.next_wake), (vec![], Some(until)));
}

proptest! {
    #[test]
    fn a_revisit_is_planned_when_an_instant_has_passed_since_the_last_pull_and_only_then(
        after in prop::collection::btree_set(1..700i64, 0..4),
        pulls in prop::collection::vec(prop::option::of(0..800i64), 30),
        hours in 24..900i64,
    ) {
        let hour = |number: i64| SignedDuration::from_hours(number);
        let mut rules = rules("logins", "2026-10-01T00:00:00Z");
        rules.revisit = after.iter().map(|number| hour(*number)).collect();
        let now = rules.start + hour(hours);
        let mut snapshot = Snapshot::default();
        let mut expected = BTreeSet::new();
        for (window, pull) in rules.completed(now).zip(&pulls) {
            let Some(pull) = pull else { continue };
            // Nobody has pulled it later than now.
            let last = (window.end() + hour(*pull)).min(now);
            with(&mut snapshot, &rules, window, pulled(last));
            let passed = after.iter().map(|number| window.end() + hour(*number)).filter(|instant| *instant <= now);
            if passed.max().is_some_and(|instant| instant > last) && now < rules.expires_at(window) {
                expected.insert(window);
            }
        }
        let plan = plan(std::slice::from_ref(&rules), &snapshot, now);
        let (revisits, others): (Vec<_>, Vec<_>) =
            plan.actions.iter().partition(|action| matches!(action.task, Task::Revisit { .. }));
        prop_assert_eq!(revisits.iter().map(|action| action.window).collect::<BTreeSet<_>>(), expected.clone());
        prop_assert_eq!(revisits.len(), expected.len());
        prop_assert!(others.iter().all(|action| !expected.contains(&action.window)));
        prop_assert!(plan.next_wake.is_none_or(|wake| wake > now));
    }
}

#[test]
fn a_revisit_takes_nobodys_turn() {
    let mut revisited = rules("a", "2026-11-01T00:00:00Z");
    revisited.revisit = vec![SignedDuration::from_hours(3 * 24)];
    let now = at("2026-11-08T03:00:00Z");
    let mut snapshot = Snapshot::default();
    for window in revisited.completed(now).take(2) {
        with(&mut snapshot, &revisited, window, pulled(window.end() + revisited.settle));
    }
    let mut queue: VecDeque<_> = plan(&[revisited], &snapshot, now).actions.into();
    let mut turns = Turns::default();
    let sharers = Sharers::default();
    let places = Places::new(NonZeroUsize::MIN, &sharers, []);
    let order: Vec<_> =
        std::iter::from_fn(|| turns.next(&mut queue, &places)).map(|action| action.turn).collect();
    use Turn::{Newest, Spare, Urgent};
    assert_eq!(order, [Urgent, Newest, Urgent, Urgent, Urgent, Spare, Spare]);
}
