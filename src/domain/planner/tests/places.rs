//! For whom there is a place: no source holds all of them, and what ended the process goes last and alone.

use super::*;

const NOW: &str = "2026-11-08T03:00:00Z";

fn of_source(name: &str, source: &str) -> StreamRules {
    StreamRules { source: source.parse().unwrap(), ..rules(name, "2026-11-01T00:00:00Z") }
}

fn places(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

/// Begins all that can be begun at once, and says the days of what was.
fn fill(
    turns: &mut Turns,
    queue: &mut VecDeque<Action>,
    (number, sources): (usize, usize),
    in_work: &mut Vec<InWork>,
) -> Vec<String> {
    let mut begun = Plan::default();
    while let Some(action) = turns.next(queue, &Places::new(places(number), sources, &*in_work)) {
        in_work.push(InWork::of(&action));
        begun.actions.push(action);
    }
    days(&begun)
}

fn crash(snapshot: &mut Snapshot, rules: &StreamRules, start: &str, times: u32) -> Window {
    let start = at(start);
    let window = rules.completed(at(NOW)).find(|window| window.start() == start).unwrap();
    snapshot.crashes.entry(rules.name.clone()).or_default().insert(window, times);
    window
}

#[test]
fn of_several_sources_none_holds_all_places() {
    let streams = [of_source("a", "hq"), of_source("b", "hq"), of_source("c", "branch")];
    let mut snapshot = Snapshot::default();
    let windows: Vec<_> = streams[2].completed(at(NOW)).collect();
    windows.iter().for_each(|window| with(&mut snapshot, &streams[2], *window, archived()));
    let planned = plan(&streams, &snapshot, at(NOW));
    for (number, alone, beside_others) in [(4, 4, 3), (2, 2, 1), (1, 1, 1)] {
        let begun = |sources| {
            let mut queue = planned.actions.clone().into();
            fill(&mut Turns::default(), &mut queue, (number, sources), &mut Vec::new()).len()
        };
        assert_eq!((begun(1), begun(2)), (alone, beside_others), "{number} places");
    }
}

#[test]
fn the_place_that_one_source_may_not_hold_goes_to_the_first_window_of_another() {
    let streams = [of_source("a", "hq"), of_source("c", "branch")];
    let mut queue = plan(&streams, &Snapshot::default(), at(NOW)).actions.into();
    let hq = InWork { source: Some("hq".parse().unwrap()), is_alone: false };
    let mut in_work = vec![hq.clone(), hq.clone(), hq];
    let begun = fill(&mut Turns::default(), &mut queue, (4, 2), &mut in_work);
    assert_eq!(begun, ["c 11-01"]);
}

#[test]
fn with_one_place_sources_take_turns() {
    let streams = [of_source("a", "hq"), of_source("b", "hq"), of_source("c", "branch")];
    let mut turns = Turns::default();
    let mut queue: VecDeque<_> = plan(&streams, &Snapshot::default(), at(NOW)).actions.into();
    let one = Places::new(places(1), 2, []);
    let order: Vec<_> =
        std::iter::from_fn(|| turns.next(&mut queue, &one)).map(|action| action.source.to_string()).collect();
    assert_eq!(order.len(), 21);
    assert!(order[..14].chunks(2).all(|pair| pair[0] != pair[1]), "{order:?}");
}

#[test]
fn what_is_only_said_in_the_log_takes_no_place_of_its_source() {
    let streams = [of_source("a", "hq"), of_source("c", "branch")];
    let mut snapshot = Snapshot::default();
    let window = streams[0].completed(at(NOW)).next().unwrap();
    let failure = note(FailureKind::Rejected, at("2026-11-08T02:00:00Z"));
    let fingerprint = Some(fingerprint("now"));
    let parked = WindowState::Parked { since: failure.at, failure, fingerprint, seq: None };
    with(&mut snapshot, &streams[0], window, parked);
    let mut queue = plan(&streams[..1], &snapshot, at(NOW)).actions.into();
    let hq = InWork { source: Some("hq".parse().unwrap()), is_alone: false };
    let begun = fill(&mut Turns::default(), &mut queue, (2, 2), &mut vec![hq]);
    assert_eq!(begun, ["a 11-01"]);
}

#[test]
fn a_window_that_ended_the_process_twice_goes_after_all_others_and_alone() {
    let streams = [of_source("a", "hq"), of_source("c", "branch")];
    let mut snapshot = Snapshot::default();
    crash(&mut snapshot, &streams[0], "2026-11-01T00:00:00Z", 1);
    crash(&mut snapshot, &streams[0], "2026-11-02T00:00:00Z", 2);
    crash(&mut snapshot, &streams[1], "2026-11-07T00:00:00Z", 2);
    let planned = plan(&streams, &snapshot, at(NOW));
    assert_eq!(days(&planned)[0], "a 11-01", "one end of the process says nothing");
    assert_eq!(days(&planned)[12..], ["a 11-02", "c 11-07"]);
    let mut queue: VecDeque<_> = planned.actions.into();
    let (mut turns, mut in_work) = (Turns::default(), Vec::new());
    for _ in 0..6 {
        assert_eq!(fill(&mut turns, &mut queue, (2, 2), &mut in_work).len(), 2);
        in_work.clear();
    }
    // One usual window is still in work: the suspects wait for its end.
    in_work.push(InWork { source: None, is_alone: false });
    assert_eq!(fill(&mut turns, &mut queue, (2, 2), &mut in_work), [""; 0]);
    for suspect in ["a 11-02", "c 11-07"] {
        in_work.clear();
        assert_eq!(fill(&mut turns, &mut queue, (2, 2), &mut in_work), [suspect]);
    }
}

#[test]
fn while_a_suspect_goes_on_nothing_begins_beside_it() {
    let streams = [of_source("a", "hq"), of_source("c", "branch")];
    let mut queue = plan(&streams, &Snapshot::default(), at(NOW)).actions.into();
    let mut in_work = vec![InWork { source: Some("hq".parse().unwrap()), is_alone: true }];
    assert_eq!(fill(&mut Turns::default(), &mut queue, (4, 2), &mut in_work), [""; 0]);
}

#[test]
fn an_archived_window_that_ended_the_process_three_times_is_not_revisited_any_more() {
    let rules = StreamRules { revisit: vec![SignedDuration::from_hours(48)], ..of_source("a", "hq") };
    let turn = |crashes| {
        let mut snapshot = Snapshot::default();
        let window = crash(&mut snapshot, &rules, "2026-11-02T00:00:00Z", crashes);
        with(&mut snapshot, &rules, window, pulled(at("2026-11-03T02:00:00Z")));
        let plan = plan(std::slice::from_ref(&rules), &snapshot, at(NOW));
        plan.actions.iter().find(|action| action.window == window).map(|action| action.turn)
    };
    assert_eq!([0, 1, 2, 3].map(turn), [Some(Turn::Spare), Some(Turn::Spare), Some(Turn::Alone), None]);
}
