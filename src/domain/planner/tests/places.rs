//! For whom there is a place: no source and no store holds all of them.

use std::time::Duration;

use super::*;

pub(super) const NOW: &str = "2026-11-08T03:00:00Z";

pub(super) fn of_source(name: &str, source: &str) -> StreamRules {
    StreamRules { source: source.parse().unwrap(), ..rules(name, "2026-11-01T00:00:00Z") }
}

pub(super) fn places(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

/// A stream of this name, between this source and this store.
fn between(name: &str, source: &str, store: &str) -> StreamRules {
    StreamRules { store: store.parse().unwrap(), ..of_source(name, source) }
}

pub(super) fn sharers(streams: &[StreamRules]) -> Sharers {
    Sharers::of(streams, &BTreeMap::new(), at(NOW))
}

fn pair(source: &str, store: &str) -> Pair {
    Pair { source: source.parse().unwrap(), store: store.parse().unwrap() }
}

/// A window in work, begun just now.
pub(super) fn working(source: &str, store: &str) -> (InWork, Duration) {
    let window = InWork {
        stream: source.parse().unwrap(),
        window: rules("a", "2026-11-01T00:00:00Z").completed(at(NOW)).next().unwrap(),
        pair: pair(source, store),
        asks_source: true,
        is_alone: false,
        tries: BTreeSet::new(),
    };
    (window, Duration::ZERO)
}

/// Begins all that can be begun at once, and says the days of what was.
pub(super) fn fill(
    turns: &mut Turns,
    queue: &mut VecDeque<Action>,
    (number, sharers): (usize, &Sharers),
    in_work: &mut Vec<(InWork, Duration)>,
) -> Vec<String> {
    let mut begun = Plan::default();
    let held = |in_work: &[(InWork, Duration)]| in_work.to_vec();
    loop {
        let now = held(in_work);
        let now = now.iter().map(|(window, held)| (window, *held));
        let Some(action) = turns.next(queue, &Places::new(places(number), sharers, now)) else { break };
        in_work.push((InWork::of(&action, sharers), Duration::ZERO));
        begun.actions.push(action);
    }
    days(&begun)
}

/// All that is due, with nothing archived.
pub(super) fn due(streams: &[StreamRules]) -> VecDeque<Action> {
    plan(streams, &Snapshot::default(), at(NOW)).actions.into()
}

/// How many windows of each pair are begun, where none of them ends.
fn begun_by(streams: &[StreamRules], number: usize) -> BTreeMap<Pair, usize> {
    let mut in_work = Vec::new();
    fill(&mut Turns::default(), &mut due(streams), (number, &sharers(streams)), &mut in_work);
    let mut by_pair = BTreeMap::new();
    in_work.iter().for_each(|(window, _)| *by_pair.entry(window.pair.clone()).or_default() += 1);
    by_pair
}

#[test]
fn of_several_sources_and_of_several_stores_none_holds_all_places() {
    let one = [of_source("a", "hq"), of_source("b", "hq")];
    for other in [between("c", "branch", "archive"), between("c", "hq", "copy")] {
        let queue = due(&one);
        for (number, alone, beside_others) in [(4, 4, 3), (2, 2, 1), (1, 1, 1)] {
            let begun = |streams: &[StreamRules]| {
                let places = (number, &sharers(streams));
                fill(&mut Turns::default(), &mut queue.clone(), places, &mut Vec::new()).len()
            };
            let several = [one[0].clone(), one[1].clone(), other.clone()];
            assert_eq!((begun(&one), begun(&several)), (alone, beside_others), "{number} places");
        }
    }
}

#[test]
fn the_place_that_one_source_may_not_hold_goes_to_the_first_window_of_another() {
    let streams = [of_source("a", "hq"), of_source("c", "branch")];
    let mut in_work = vec![working("hq", "archive"); 3];
    let begun = fill(&mut Turns::default(), &mut due(&streams), (4, &sharers(&streams)), &mut in_work);
    assert_eq!(begun, ["c 11-01"]);
}

#[test]
fn two_sources_that_drip_leave_a_place_to_the_third_whenever_that_is_due() {
    let streams = [of_source("a", "hq"), of_source("b", "branch"), of_source("c", "lab")];
    for number in 3..=8 {
        let mut in_work = Vec::new();
        let mut turns = Turns::default();
        // The third has nothing to do yet.
        fill(&mut turns, &mut due(&streams[..2]), (number, &sharers(&streams)), &mut in_work);
        assert_eq!(in_work.len(), number - 1, "no more than one place is kept for it");
        for (_, held) in &mut in_work {
            *held = Duration::from_secs(3600);
        }
        let begun = fill(&mut turns, &mut due(&streams), (number, &sharers(&streams)), &mut in_work);
        assert!(begun.len() == 1 && begun[0].starts_with("c "), "{number} places: {begun:?}");
    }
}

#[test]
fn with_as_many_places_as_pairs_that_have_windows_due_each_of_them_begins() {
    let streams = [
        between("a", "hq", "archive"),
        between("b", "hq", "copy"),
        between("c", "branch", "archive"),
        between("d", "lab", "copy"),
    ];
    for number in 4..=8 {
        let begun = begun_by(&streams, number);
        assert_eq!((begun.len(), begun.values().sum::<usize>()), (4, number), "{begun:?}");
    }
    // While the others have nothing due, one place is kept for all of them together.
    for first in &streams {
        let mut in_work = Vec::new();
        let mut turns = Turns::default();
        fill(&mut turns, &mut due(std::slice::from_ref(first)), (4, &sharers(&streams)), &mut in_work);
        assert_eq!(in_work.len(), 3);
        assert_eq!(fill(&mut turns, &mut due(&streams), (4, &sharers(&streams)), &mut in_work).len(), 1);
    }
}

#[test]
fn with_fewer_places_than_sources_what_is_slow_leaves_one_to_the_others() {
    let streams = ["a", "b", "c", "d"].map(|name| of_source(name, name));
    let (sharers, mut turns) = (sharers(&streams), Turns::default());
    let mut in_work = vec![working("a", "archive"), working("b", "archive")];
    in_work[0].1 = Duration::from_secs(61);
    assert_eq!(fill(&mut turns, &mut due(&streams[1..2]), (3, &sharers), &mut in_work), [""; 0]);
    assert_eq!(fill(&mut turns, &mut due(&streams[2..3]), (3, &sharers), &mut in_work), ["c 11-01"]);
    // All three turn out to be slow. When one is done, its place is for whoever is not.
    for _ in 0..3 {
        let (window, _) = in_work.remove(0);
        turns.ended(&window, Duration::from_secs(600), true);
        in_work.iter_mut().for_each(|(_, held)| *held = Duration::from_secs(600));
        let slow: Vec<_> = streams[..3].to_vec();
        let begun = fill(&mut turns, &mut due(&slow), (3, &sharers), &mut in_work);
        assert_eq!(begun, [""; 0], "two slow ones hold two of three places");
        let begun = fill(&mut turns, &mut due(&streams), (3, &sharers), &mut in_work.clone());
        assert!(begun.len() == 1 && begun[0].starts_with("d "), "{begun:?}");
        in_work.push(working(window.pair.source.as_str(), "archive"));
    }
    // One that is fast again counts as such.
    let mut in_work: Vec<_> = ["b", "c"].map(|name| working(name, "archive")).into();
    assert_eq!(fill(&mut turns, &mut due(&streams[..1]), (3, &sharers), &mut in_work), [""; 0]);
    turns.ended(&working("a", "archive").0, Duration::from_secs(3), false);
    assert_eq!(fill(&mut turns, &mut due(&streams[..1]), (3, &sharers), &mut in_work).len(), 1);
}

#[test]
fn where_all_are_slow_no_place_is_left_empty() {
    let streams = ["a", "b", "c", "d"].map(|name| of_source(name, name));
    let mut turns = Turns::default();
    for name in ["a", "b", "c", "d"] {
        turns.ended(&working(name, "archive").0, Duration::from_secs(600), false);
    }
    let begun = fill(&mut turns, &mut due(&streams), (3, &sharers(&streams)), &mut Vec::new());
    assert_eq!(begun.len(), 3);
}

fn hold(until: &str) -> Hold {
    let failure = note(FailureKind::Transient, at("2026-11-08T02:00:00Z"));
    let (since, fingerprint) = (failure.at, fingerprint("now"));
    Hold { until: at(until), since, failures: 3, failure, fingerprint }
}

#[test]
fn one_window_tries_what_failed_and_the_others_begin_when_it_has_worked() {
    let streams = [between("a", "hq", "archive"), between("b", "branch", "copy")];
    for resource in [Resource::Source(streams[0].source.clone()), Resource::Store(streams[0].store.clone())] {
        let holds = BTreeMap::from([(resource.clone(), hold("2026-11-08T02:59:00Z"))]);
        let on_trial = Sharers::of(&streams, &holds, at(NOW));
        assert_eq!(on_trial.on_trial, BTreeSet::from([resource]));
        let (mut turns, mut in_work) = (Turns::default(), Vec::new());
        // What began before the failure says nothing, and is no try.
        in_work.push(working("hq", "archive"));
        let mut queue = due(&streams[..1]);
        assert_eq!(fill(&mut turns, &mut queue, (8, &on_trial), &mut in_work), ["a 11-01"]);
        assert_eq!(fill(&mut turns, &mut due(&streams[1..]), (8, &on_trial), &mut in_work).len(), 6);
        in_work.truncate(2);
        assert_eq!(fill(&mut turns, &mut queue, (8, &on_trial), &mut in_work), [""; 0]);
        // It has worked: the hold is gone.
        in_work.truncate(1);
        assert_eq!(fill(&mut turns, &mut queue, (8, &sharers(&streams)), &mut in_work).len(), 6);
    }
}

#[test]
fn a_try_that_waits_for_its_source_does_not_keep_another_source_from_trying_the_store() {
    let streams = [of_source("a", "hq"), of_source("b", "branch"), of_source("c", "lab")];
    let holds = BTreeMap::from([(Resource::Store("archive".parse().unwrap()), hold("2026-11-08T02:59:00Z"))]);
    let sharers = Sharers::of(&streams, &holds, at(NOW));
    let (mut turns, mut in_work) = (Turns::default(), Vec::new());
    let mut begin = |in_work: &mut _| fill(&mut turns, &mut due(&streams), (8, &sharers), in_work);
    assert_eq!(begin(&mut in_work).len(), 1);
    assert_eq!(begin(&mut in_work), [""; 0]);
    in_work[0].1 = Duration::from_secs(61);
    assert_eq!(begin(&mut in_work).len(), 1);
    assert!(in_work[0].0.pair != in_work[1].0.pair, "{in_work:?}");
    assert_eq!(begin(&mut in_work), [""; 0]);
}

#[test]
fn on_trial_is_what_a_hold_under_these_settings_stood_for_and_runs_out() {
    let streams = [of_source("a", "hq")];
    let on_trial = |hold| {
        let holds = BTreeMap::from([(Resource::Source(streams[0].source.clone()), hold)]);
        !Sharers::of(&streams, &holds, at(NOW)).on_trial.is_empty()
    };
    assert!(on_trial(hold(NOW)));
    assert!(!on_trial(hold("2026-11-08T03:00:01Z")), "nothing begins at all");
    let fingerprint = fingerprint("before");
    assert!(!on_trial(Hold { fingerprint, ..hold(NOW) }), "other keys, another source");
    let ahead = at("2027-11-08T02:00:00Z");
    assert!(!on_trial(Hold { since: ahead, ..hold(NOW) }), "a clock that was ahead set it");
}

#[test]
fn each_try_is_another_windows_so_that_one_bad_window_proves_nothing_of_its_source() {
    let streams = [of_source("a", "hq"), of_source("c", "branch")];
    let holds = BTreeMap::from([(Resource::Source("hq".parse().unwrap()), hold("2026-11-08T02:59:00Z"))]);
    let on_trial = Sharers::of(&streams, &holds, at(NOW));
    let mut turns = Turns::default();
    // Each fails, and is as due as before. The first of them is why there is a hold.
    let mut fails =
        |sharers| fill(&mut turns, &mut due(&streams[..1]), (1, sharers), &mut Vec::new()).concat();
    let none_on_trial = sharers(&streams);
    let mut failed = vec![fails(&none_on_trial)];
    failed.extend((0..7).map(|_| fails(&on_trial)));
    assert_eq!(failed[..7].iter().collect::<BTreeSet<_>>().len(), 7, "{failed:?}");
    assert_eq!(failed[7], failed[0]);
}

#[test]
fn a_store_is_tried_by_no_more_windows_than_there_are_places_or_two_as_each_of_them_is_pulled() {
    let streams = [of_source("a", "hq")];
    let store = Resource::Store("archive".parse().unwrap());
    let source = Resource::Source("hq".parse().unwrap());
    for (number, held) in
        [(1, vec![&store]), (2, vec![&store]), (4, vec![&store]), (4, vec![&store, &source])]
    {
        let holds = held.into_iter().map(|it| (it.clone(), hold("2026-11-08T02:59:00Z"))).collect();
        let (all_well, on_trial) = (sharers(&streams), Sharers::of(&streams, &holds, at(NOW)));
        let mut turns = Turns::default();
        let mut fails = |sharers| {
            let mut in_work = Vec::new();
            fill(&mut turns, &mut due(&streams), (number, sharers), &mut in_work);
            in_work.into_iter().map(|(window, _)| window.window).collect::<Vec<_>>()
        };
        let mut failed: BTreeSet<_> = fails(&all_well).into_iter().collect();
        let tries: Vec<_> = (0..12).map(|_| fails(&on_trial)).collect();
        assert!(tries.iter().all(|windows| windows.len() == 1), "{tries:?}");
        failed.extend(tries.concat());
        assert_eq!(failed.len(), number.max(2));
        assert!(tries[11] != tries[10], "they take turns");
    }
}

#[test]
fn with_one_place_sources_take_turns() {
    let streams = [of_source("a", "hq"), of_source("b", "hq"), of_source("c", "branch")];
    let (mut turns, mut queue, sharers) = (Turns::default(), due(&streams), sharers(&streams));
    let one = Places::new(places(1), &sharers, []);
    let order: Vec<_> =
        std::iter::from_fn(|| turns.next(&mut queue, &one)).map(|action| action.source.to_string()).collect();
    assert_eq!(order.len(), 21);
    assert!(order[..14].chunks(2).all(|pair| pair[0] != pair[1]), "{order:?}");
}

#[test]
fn with_one_place_the_stores_of_one_source_take_turns() {
    let streams = [between("a", "hq", "archive"), between("b", "hq", "copy"), of_source("c", "branch")];
    let (mut turns, mut queue, sharers) = (Turns::default(), due(&streams), sharers(&streams));
    let one = Places::new(places(1), &sharers, []);
    let order: Vec<_> =
        std::iter::from_fn(|| turns.next(&mut queue, &one)).map(|action| action.stream.to_string()).collect();
    for four in order[..12].chunks(4) {
        let often = ["a", "b", "c"].map(|name| four.iter().filter(|stream| *stream == name).count());
        assert_eq!(often, [1, 1, 2], "{order:?}");
    }
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
    let hq = working("hq", "archive");
    let begun = fill(&mut Turns::default(), &mut queue, (2, &sharers(&streams)), &mut vec![hq]);
    assert_eq!(begun, ["a 11-01"]);
}

/// What happens to the windows in work: one begins, one ends, all grow older.
#[derive(Debug, Clone, Copy)]
enum Event {
    Begin,
    End(usize),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Begin),
        2 => any::<usize>().prop_map(Event::End),
        1 => (1..200u64).prop_map(Event::Wait),
    ]
}

proptest! {
    #[test]
    fn whatever_began_and_ended_a_pair_without_a_window_may_begin_where_there_are_as_many_places_as_pairs(
        ends in prop::collection::btree_set((0..4usize, 0..3usize), 1..6),
        failed in prop::collection::btree_set(0..7usize, 0..3),
        more in 0..4usize,
        events in prop::collection::vec(event(), 0..40),
    ) {
        let streams: Vec<_> = ends
            .iter()
            .map(|(source, store)| between(&format!("s{source}-{store}"), &format!("source{source}"), &format!("store{store}")))
            .collect();
        let resource = |number: usize| match number {
            0..4 => Resource::Source(format!("source{number}").parse().unwrap()),
            _ => Resource::Store(format!("store{}", number - 4).parse().unwrap()),
        };
        let holds = failed.iter().map(|number| (resource(*number), hold("2026-11-08T02:59:00Z"))).collect();
        let sharers = Sharers::of(&streams, &holds, at(NOW));
        for number in [streams.len() + more, 1 + more] {
            let (mut turns, mut in_work) = (Turns::default(), Vec::<(InWork, Duration)>::new());
            for event in &events {
                match event {
                    Event::Begin => {
                        let now = in_work.clone();
                        let now = now.iter().map(|(window, held)| (window, *held));
                        if let Some(action) = turns.next(&mut due(&streams), &Places::new(places(number), &sharers, now)) {
                            in_work.push((InWork::of(&action, &sharers), Duration::ZERO));
                        }
                    }
                    Event::End(_) if in_work.is_empty() => {}
                    Event::End(at) => {
                        let (window, held) = in_work.remove(at % in_work.len());
                        turns.ended(&window, held, false);
                    }
                    Event::Wait(seconds) => {
                        in_work.iter_mut().for_each(|(_, held)| *held += Duration::from_secs(*seconds));
                    }
                }
                prop_assert!(in_work.len() <= number);
                for rules in &streams {
                    let holds_none = in_work.iter().all(|(window, _)| window.pair != Pair::of_stream(rules));
                    let mut later: Vec<_> = in_work.clone();
                    later.iter_mut().for_each(|(_, held)| *held += Duration::from_secs(61));
                    let mut own = due(std::slice::from_ref(rules));
                    let begun = fill(&mut turns, &mut own, (number, &sharers), &mut later);
                    if in_work.is_empty() || holds_none && number >= streams.len() {
                        prop_assert!(!begun.is_empty(), "{} waits: {in_work:?}", rules.name);
                    }
                }
            }
        }
    }
}
