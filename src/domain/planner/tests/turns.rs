//! In which order it goes: the most urgent and the newest take turns, however short plans last.

use super::*;

#[test]
fn the_most_urgent_goes_first_and_the_newest_of_each_stream_is_let_in() {
    let streams = [rules("a", "2026-11-01T00:00:00Z"), rules("b", "2026-11-05T00:00:00Z")];
    let plan = plan(&streams, &Snapshot::default(), at("2026-11-08T03:00:00Z"));
    let expected = [
        "a 11-01", "a 11-07", "a 11-02", "b 11-07", "a 11-03", "a 11-04", "a 11-05", "b 11-05", "a 11-06",
        "b 11-06",
    ];
    assert_eq!(days(&plan), expected);
}

#[test]
fn forty_days_down_ten_streams_the_newest_of_each_are_among_the_first_twenty() {
    let streams: Vec<_> = (0..10).map(|i| rules(&format!("s{i}"), "2026-10-01T00:00:00Z")).collect();
    let plan = plan(&streams, &Snapshot::default(), at("2026-11-10T03:00:00Z"));
    assert_eq!(plan.actions.len(), 400);
    let newest = plan.actions.iter().take(20).filter(|a| a.window.start() == at("2026-11-09T00:00:00Z"));
    assert_eq!(newest.count(), 10);
    assert!(plan.actions.iter().skip(290).filter(|a| a.task == Task::AttestLost).count() >= 100);
}

/// What is begun, in this order, where each plan has been made anew by the time that its first action is begun, and what
/// is begun either goes on or fails and pauses.
fn begun(streams: &[StreamRules], now: Timestamp, fails: bool) -> Vec<Action> {
    let hour = SignedDuration::from_hours(1);
    let (mut snapshot, mut turns, mut begun) = (Snapshot::default(), Turns::default(), Vec::new());
    let sharers = Sharers::default();
    let places = Places::new(NonZeroUsize::MIN, &sharers, []);
    while let Some(action) = turns.next(&mut plan(streams, &snapshot, now).actions.into(), &places) {
        let state = WindowState::Open {
            failures: u32::from(fails),
            corrupt: 0,
            retry_at: fails.then_some(now + hour),
            last_failure: fails.then(|| note(FailureKind::Transient, now)),
            leased_until: (!fails).then_some(now + hour),
        };
        let rules = streams.iter().find(|rules| rules.name == action.stream).unwrap();
        with(&mut snapshot, rules, action.window, state);
        begun.push(action);
    }
    begun
}

#[test]
fn the_newest_keep_their_turn_where_every_plan_lasts_for_one_window_only() {
    let streams: Vec<_> = (0..10).map(|i| rules(&format!("s{i}"), "2026-10-20T00:00:00Z")).collect();
    let now = at("2026-11-10T03:00:00Z");
    for fails in [false, true] {
        let begun = begun(&streams, now, fails);
        assert_eq!(begun.len(), 210);
        let is_newest = |action: &&Action| action.window.start() == at("2026-11-09T00:00:00Z");
        assert_eq!(begun.iter().take(20).filter(is_newest).count(), 10);
        let others: Vec<_> = begun.iter().filter(|action| !is_newest(action)).collect();
        assert!(others.is_sorted_by_key(|action| action.expires_at), "and the most urgent theirs");
        assert_eq!(begun, plan(&streams, &Snapshot::default(), now).actions, "what the first plan said");
    }
}
