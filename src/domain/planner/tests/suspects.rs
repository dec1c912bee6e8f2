//! Windows whose attempts end with the process: they go last and alone, and stop nobody for long.

use std::time::Duration;

use super::places::{NOW, due, fill, of_source, places, sharers, working};
use super::*;

fn crash(snapshot: &mut Snapshot, rules: &StreamRules, start: &str, times: u32) -> Window {
    let start = at(start);
    let window = rules.completed(at(NOW)).find(|window| window.start() == start).unwrap();
    snapshot.crashes.entry(rules.name.clone()).or_default().insert(window, times);
    window
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
    let (mut turns, mut in_work, sharers) = (Turns::default(), Vec::new(), sharers(&streams));
    for _ in 0..6 {
        assert_eq!(fill(&mut turns, &mut queue, (2, &sharers), &mut in_work).len(), 2);
        in_work.clear();
    }
    // One usual window is still in work: the suspects wait for its end.
    in_work.push(working("lab", "archive"));
    assert_eq!(fill(&mut turns, &mut queue, (2, &sharers), &mut in_work), [""; 0]);
    for suspect in ["a 11-02", "c 11-07"] {
        in_work.clear();
        assert_eq!(fill(&mut turns, &mut queue, (2, &sharers), &mut in_work), [suspect]);
    }
}

#[test]
fn for_the_first_minute_of_a_suspect_nothing_begins_beside_it_and_then_the_others_go_on() {
    let streams = [of_source("a", "hq"), of_source("c", "branch")];
    let mut in_work = vec![working("hq", "archive")];
    in_work[0].0.is_alone = true;
    let begin = |in_work: &mut _| {
        fill(&mut Turns::default(), &mut due(&streams), (4, &sharers(&streams)), in_work).len()
    };
    assert_eq!(begin(&mut in_work), 0);
    in_work[0].1 = Duration::from_secs(61);
    assert_eq!(begin(&mut in_work), 3, "it may wait for hours");
}

#[test]
fn a_suspect_has_its_turn_though_others_are_always_due_and_one_of_them_goes_on_for_ever() {
    let streams = [of_source("a", "hq"), of_source("c", "branch")];
    let mut snapshot = Snapshot::default();
    crash(&mut snapshot, &streams[0], "2026-11-02T00:00:00Z", 2);
    let (mut turns, sharers) = (Turns::default(), sharers(&streams));
    let mut for_ever = working("branch", "archive");
    for_ever.1 = Duration::from_secs(3600);
    let mut let_by = 0;
    loop {
        // Each round plans anew, and what has begun is done at once.
        let mut queue: VecDeque<_> = plan(&streams, &snapshot, at(NOW)).actions.into();
        let in_work = [(&for_ever.0, for_ever.1)];
        let action = turns.next(&mut queue, &Places::new(places(4), &sharers, in_work)).unwrap();
        if action.turn == Turn::Alone {
            break;
        }
        let_by += 1;
        assert!(let_by <= 50, "it waits for ever");
    }
    assert_eq!(let_by, 50);
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
