//! What the plan promises, held against an oracle that was written without it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::domain::backoff::PARKED_RETRY;
use crate::domain::calendar::{Calendar, zones};
use crate::domain::content::Content;
use crate::domain::count::CountVerdict;
use crate::domain::export::PastHorizon;
use crate::domain::failure::FailureKind;
use crate::domain::object_key::{Revision, Seq};
use crate::domain::snapshot::{AcknowledgeRequest, FailureNote, Fingerprint, Hold, Resource, WindowState};
use crate::domain::verdict::{Answers, Fingerprints};
use crate::domain::window_length::WindowLength;

mod places;
mod revisits;
mod suspects;
mod turns;
mod wrong_clock;

pub(crate) fn fingerprint(text: &str) -> Fingerprint {
    Fingerprint(text.to_owned())
}

pub(crate) fn rules(name: &str, start: &str) -> StreamRules {
    StreamRules {
        name: name.parse().unwrap(),
        source: "hq".parse().unwrap(),
        store: "archive".parse().unwrap(),
        calendar: Calendar::new(zones().get("UTC").unwrap(), WindowLength::Day),
        start: start.parse().unwrap(),
        settle: SignedDuration::from_hours(2),
        margin: SignedDuration::from_mins(1),
        revisit: Vec::new(),
        horizon: SignedDuration::from_hours(30 * 24),
        past_horizon: PastHorizon::Try,
        answers_past_horizon: Answers::UntilNoted("gone"),
        deadline: SignedDuration::from_hours(12),
        // Few tests are about windows that had expired before their stream was opened.
        accept_lost_before: Some(at("2100-01-01T00:00:00Z")),
        fingerprints: Fingerprints {
            stream: fingerprint("now"),
            source: fingerprint("now"),
            store: fingerprint("now"),
        },
    }
}

pub(crate) fn note(kind: FailureKind, at: Timestamp) -> FailureNote {
    FailureNote { kind, message: "it failed".into(), at }
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn archived() -> WindowState {
    pulled(at("2026-10-12T00:00:00Z"))
}

/// Archived, and last pulled then.
pub(crate) fn pulled(last_pulled_at: Timestamp) -> WindowState {
    WindowState::Archived {
        count: CountVerdict::Uncounted,
        content: Content::default(),
        seq: Seq::FIRST.next(),
        revision: Revision::FIRST,
        last_pulled_at,
        failures: 0,
        corrupt: 0,
        retry_at: None,
        leased_until: None,
    }
}

pub(crate) fn with(snapshot: &mut Snapshot, rules: &StreamRules, window: Window, state: WindowState) {
    snapshot.windows.entry(rules.name.clone()).or_default().insert(window, state);
}

fn days(plan: &Plan) -> Vec<String> {
    plan.actions.iter().map(|a| format!("{} {}", a.stream, a.window.start().strftime("%m-%d"))).collect()
}

#[test]
fn nothing_is_planned_before_it_has_settled_and_the_plan_says_when_to_look_again() {
    let rules = rules("logins", "2026-11-01T00:00:00Z");
    let just_before = plan(std::slice::from_ref(&rules), &Snapshot::default(), at("2026-11-02T01:59:59Z"));
    assert_eq!(just_before.actions, []);
    assert_eq!(just_before.next_wake, Some(at("2026-11-02T02:00:00Z")));
    let then = plan(std::slice::from_ref(&rules), &Snapshot::default(), at("2026-11-02T02:00:00Z"));
    assert_eq!(days(&then), ["logins 11-01"]);
    assert_eq!(then.next_wake, Some(at("2026-11-03T02:00:00Z")));
}

#[test]
fn a_stream_that_starts_in_the_future_waits_for_its_first_window() {
    let rules = rules("logins", "2026-12-01T00:00:00Z");
    let early = plan(&[rules], &Snapshot::default(), at("2026-11-02T00:00:00Z"));
    assert_eq!((early.actions, early.next_wake), (vec![], Some(at("2026-12-02T02:00:00Z"))));
}

#[test]
fn what_has_expired_is_attested_once_and_never_pulled() {
    let rules = rules("logins", "2026-10-01T00:00:00Z");
    let now = at("2026-10-31T00:00:00Z");
    let mut snapshot = Snapshot::default();
    let first = plan(std::slice::from_ref(&rules), &snapshot, now);
    let lost: Vec<_> = first.actions.iter().filter(|a| a.task == Task::AttestLost).collect();
    assert_eq!(lost.len(), 1, "the margin makes it expire a minute before thirty days have passed");
    let state = WindowState::Lost { seq: Seq::FIRST.next(), since: now };
    with(&mut snapshot, &rules, lost[0].window, state);
    let second = plan(&[rules], &snapshot, now);
    assert!(second.actions.iter().all(|a| a.task != Task::AttestLost));
}

#[test]
fn an_acknowledgement_is_written_for_the_entry_that_it_was_asked_for_whatever_the_source_does() {
    let rules = rules("logins", "2026-10-01T00:00:00Z");
    let now = at("2026-10-31T00:00:00Z");
    let window = rules.completed(now).next().unwrap();
    let planned = |lost: u64, asked: u64, held: Option<Resource>| {
        let mut snapshot = Snapshot::default();
        let [lost, entry] = [lost, asked].map(|seq| Seq::new(seq).unwrap());
        with(&mut snapshot, &rules, window, WindowState::Lost { seq: lost, since: now });
        let request = AcknowledgeRequest { entry, by: "Ada".into(), reason: "an outage".into() };
        snapshot.to_acknowledge.entry(rules.name.clone()).or_default().insert(window, request);
        if let Some(resource) = held {
            let failure = note(FailureKind::Auth, now);
            let until = at("2026-10-31T01:00:00Z");
            let fingerprint = fingerprint("now");
            snapshot.holds.insert(resource, Hold { until, since: now, failures: 1, failure, fingerprint });
        }
        let plan = plan(std::slice::from_ref(&rules), &snapshot, now);
        plan.actions.iter().any(|action| action.task == Task::Acknowledge && action.window == window)
    };
    assert!(planned(7, 7, None));
    assert!(planned(7, 7, Some(Resource::Source(rules.source.clone()))), "no source is needed");
    assert!(!planned(7, 7, Some(Resource::Store(rules.store.clone()))));
    assert!(!planned(7, 7, Some(Resource::Stream(rules.name.clone()))));
    assert!(!planned(8, 7, None), "another entry says that it is lost");
}

#[test]
fn that_a_window_is_parked_is_attested_once_and_not_while_the_stream_is_held_up() {
    let rules = rules("logins", "2026-11-01T00:00:00Z");
    let now = at("2026-11-02T03:00:00Z");
    let window = rules.completed(now).next().unwrap();
    let since = at("2026-11-02T02:00:00Z");
    let parked = |seq| WindowState::Parked {
        since,
        failure: note(FailureKind::Rejected, since),
        fingerprint: Some(fingerprint("now")),
        seq,
    };
    let mut snapshot = Snapshot::default();
    with(&mut snapshot, &rules, window, parked(None));
    let unsaid = plan(std::slice::from_ref(&rules), &snapshot, now);
    assert_eq!(unsaid.actions.iter().map(|a| a.task).collect::<Vec<_>>(), [Task::AttestParked]);
    let hold = Hold {
        until: at("2026-11-02T04:00:00Z"),
        since,
        failures: 1,
        failure: note(FailureKind::Transient, since),
        fingerprint: fingerprint("now"),
    };
    snapshot.holds.insert(Resource::Stream(rules.name.clone()), hold);
    let held = plan(std::slice::from_ref(&rules), &snapshot, now);
    assert_eq!((held.actions, held.next_wake), (vec![], Some(at("2026-11-02T04:00:00Z"))));
    snapshot.holds.clear();
    with(&mut snapshot, &rules, window, parked(Seq::new(2)));
    let said = plan(&[rules], &snapshot, now);
    assert_eq!((said.actions, said.next_wake), (vec![], Some(at("2026-11-03T02:00:00Z"))));
}

#[test]
fn a_parked_window_comes_back_when_the_config_changed_and_after_a_day() {
    let mut rules = rules("logins", "2026-11-01T00:00:00Z");
    let window = rules.completed(at("2026-11-02T00:00:00Z")).next().unwrap();
    let since = at("2026-11-02T02:00:00Z");
    let mut snapshot = Snapshot::default();
    let failure = note(FailureKind::Rejected, since);
    let state =
        WindowState::Parked { since, failure, fingerprint: Some(fingerprint("now")), seq: Seq::new(7) };
    with(&mut snapshot, &rules, window, state);
    let soon = at("2026-11-02T03:00:00Z");
    let parked = plan(std::slice::from_ref(&rules), &snapshot, soon);
    assert_eq!((parked.actions, parked.next_wake), (vec![], Some(at("2026-11-03T02:00:00Z"))));
    let day_later = plan(std::slice::from_ref(&rules), &snapshot, at("2026-11-03T02:00:00Z"));
    assert_eq!(day_later.actions[0].task, Task::Archive { reason: DueReason::ParkedLongEnough });
    rules.fingerprints.stream = fingerprint("changed");
    let changed = plan(&[rules], &snapshot, soon);
    assert_eq!(changed.actions[0].task, Task::Archive { reason: DueReason::ConfigChanged });
}

#[test]
fn a_hold_on_what_it_shares_keeps_a_window_waiting_until_it_ends_or_the_key_changes() {
    let mut rules = rules("logins", "2026-11-01T00:00:00Z");
    let now = at("2026-11-02T03:00:00Z");
    let until = at("2026-11-02T04:00:00Z");
    let mut snapshot = Snapshot::default();
    let hold = |kind| Hold {
        until,
        since: now,
        failures: 1,
        failure: note(kind, now),
        fingerprint: fingerprint("now"),
    };
    snapshot.holds.insert(Resource::Source(rules.source.clone()), hold(FailureKind::Auth));
    let held = plan(std::slice::from_ref(&rules), &snapshot, now);
    assert_eq!((held.actions, held.next_wake), (vec![], Some(until)));
    let window = rules.completed(now).next().unwrap();
    assert_eq!(judge(&rules, window, &snapshot, now).word(), "parked");
    snapshot.holds.insert(Resource::Source(rules.source.clone()), hold(FailureKind::Throttled));
    assert_eq!(judge(&rules, window, &snapshot, now).word(), "waiting");
    rules.fingerprints.source = fingerprint("another key");
    assert_eq!(plan(&[rules], &snapshot, now).actions.len(), 1);
}

#[test]
fn a_parked_window_is_tried_again_before_it_expires_however_little_time_is_left() {
    let rules = rules("logins", "2026-11-01T00:00:00Z");
    let window = rules.completed(at("2026-11-02T00:00:00Z")).next().unwrap();
    let again = |since: &str| rules.parked_until(window, at(since)).duration_since(at(since)).as_mins();
    // It expires at 23:59 of the thirtieth.
    assert_eq!(again("2026-11-02T02:00:00Z"), 24 * 60);
    assert_eq!(again("2026-11-30T11:59:00Z"), 6 * 60);
    assert_eq!(again("2026-11-30T22:59:00Z"), 30);
    assert_eq!(again("2026-11-30T23:49:00Z"), 15, "and not more often than what fails by itself");
}

/// A state, and whether a window in it that is over, settled and not expired is to be pulled at `now`.
fn any_state(now: Timestamp) -> impl Strategy<Value = (Option<WindowState>, bool)> {
    let hour = SignedDuration::from_hours(1);
    let failure = note(FailureKind::Transient, now - hour);
    let open = move |retry_at, leased_until| WindowState::Open {
        failures: 1,
        corrupt: 0,
        retry_at,
        last_failure: Some(failure.clone()),
        leased_until,
    };
    let parked = move |since, print: &str| WindowState::Parked {
        since,
        failure: note(FailureKind::Rejected, since),
        fingerprint: Some(fingerprint(print)),
        seq: Seq::new(7),
    };
    let long_ago = now - SignedDuration::try_from(PARKED_RETRY).unwrap();
    prop::sample::select(vec![
        (None, true),
        (Some(archived()), false),
        (Some(WindowState::Lost { seq: Seq::FIRST, since: now }), false),
        (Some(open(Some(now + hour), None)), false),
        (Some(open(Some(now - hour), None)), true),
        (Some(open(None, Some(now + hour))), false),
        (Some(open(None, Some(now - hour))), true),
        (Some(parked(now - hour, "now")), false),
        (Some(parked(now - hour, "before")), true),
        (Some(parked(long_ago, "now")), true),
    ])
}

proptest! {
    #[test]
    fn every_due_window_is_planned_exactly_once_and_no_other(
        states in prop::collection::vec(any_state(at("2026-11-20T05:00:00Z")), 60),
        starts in prop::collection::vec(0..40i64, 1..4),
        shift in 0..86_400i64,
    ) {
        let first = at("2026-10-11T00:00:00Z");
        let hour = SignedDuration::from_hours(1);
        let now = at("2026-11-20T05:00:00Z");
        let mut streams = Vec::new();
        let mut snapshot = Snapshot::default();
        let mut expected = BTreeSet::new();
        for (i, start) in starts.iter().enumerate() {
            let mut rules = rules(&format!("s{i}"), "2026-10-11T00:00:00Z");
            rules.start = first + hour * (24 * i32::try_from(*start).unwrap());
            rules.settle = SignedDuration::from_secs(shift);
            for day in *start..60 {
                let begin = first + hour * (24 * i32::try_from(day).unwrap());
                let window = Window::new(begin, begin + hour * 24).unwrap();
                let (state, pulled) = states[usize::try_from(day).unwrap()].clone();
                let settled = window.end() + rules.settle <= now;
                let expired = window.start() - SignedDuration::from_mins(1) + hour * (30 * 24) <= now;
                let running = matches!(&state, Some(WindowState::Open { leased_until: Some(u), .. }) if *u > now);
                let done = matches!(state, Some(WindowState::Archived { .. } | WindowState::Lost { .. }));
                // An expired window that pauses has its last word later.
                let pausing = matches!(&state, Some(WindowState::Open { retry_at: Some(at), .. }) if *at > now);
                if settled && !done && !running && ((expired && !pausing) || pulled) {
                    expected.insert((rules.name.clone(), window, expired));
                }
                if let Some(state) = state {
                    with(&mut snapshot, &rules, window, state);
                }
            }
            // Promised while they could be had: what was lost before is told elsewhere.
            snapshot.openings.entry(rules.name.clone()).or_default().insert(rules.start, Timestamp::UNIX_EPOCH);
            streams.push(rules);
        }
        let planned = plan(&streams, &snapshot, now);
        let lost = |a: &Action| a.task == Task::AttestLost;
        let actions: Vec<_> = planned.actions.iter().map(|a| (a.stream.clone(), a.window, lost(a))).collect();
        let set: BTreeSet<_> = actions.iter().cloned().collect();
        prop_assert_eq!(set.len(), actions.len(), "a window is planned twice");
        prop_assert_eq!(set, expected);
        prop_assert!(planned.next_wake.is_none_or(|wake| wake > now), "it would wake at once, for ever");
    }
}

#[test]
fn a_window_is_pulled_no_sooner_than_what_is_asked_for_is_over() {
    let due = |settle, margin| {
        let mut rules = rules("logins", "2026-11-01T00:00:00Z");
        (rules.settle, rules.margin) = (SignedDuration::from_secs(settle), SignedDuration::from_secs(margin));
        let window = rules.completed(at("2026-11-02T00:00:00Z")).next().unwrap();
        rules.due_at(window).to_string()
    };
    assert_eq!(due(7200, 60), "2026-11-02T02:00:00Z");
    assert_eq!(due(0, 60), "2026-11-02T00:02:00Z", "and a minute for the clocks");
    assert_eq!(due(0, 0), "2026-11-02T00:01:00Z");
    assert_eq!(due(600, 3600), "2026-11-02T01:01:00Z");
}
