//! The machine's clock is wrong: nothing is lost by it, nothing is written by it, and with the clock right again all goes on.

use std::path::PathBuf;

use connvault::domain::failure::FailureKind;
use connvault::domain::log_entry::{EntryBody, Lost, SealedEntry, after};
use connvault::domain::object_key::{Seq, log_key};
use connvault::domain::snapshot::{FailureNote, Fingerprint, Hold, Resource};
use connvault::domain::window::Window;
use connvault::ports::clock::Clock;
use connvault_sim::{Endpoint, Fault, Rule};
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::support::clock::TestClock;
use crate::support::inside::{Ran, begin, only_begin, reconcile, verdicts};
use crate::support::place::Place;
use crate::support::world::{World, said};

const NOW: &str = "2026-11-23T02:00:05Z";
const DAY: SignedDuration = SignedDuration::from_hours(24);
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// In seconds.
const A_DAY: i64 = 86_400;

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// Five windows by the right clock, which the source goes by; and the clock that the daemon goes by.
async fn two_clocks(source: &str) -> (World, TestClock) {
    let mut world = World::at(Place::directory(), &TestClock::at(NOW), 5).await;
    world.settings.source = source.to_owned();
    (world, TestClock::at(NOW))
}

async fn once(world: &World, clock: &TestClock) -> Ran {
    let session = begin(&world.config(), clock).await.unwrap();
    let ran = reconcile(&session, clock, 2, clock.now() + SignedDuration::from_secs(1)).await;
    session.end().await;
    ran
}

async fn log_entries(world: &World) -> usize {
    let objects = world.place.objects().await;
    objects.keys().filter(|key| key.contains("/log/")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ahead_loses_no_window_and_writes_no_entry() {
    let lose = "past_horizon = \"lose\"\n";
    for source in ["api = \"v3\"\n", lose] {
        for days in [1, 35, 400] {
            let (world, clock) = two_clocks(source).await;
            clock.set(now() + DAY * days);
            let ran = once(&world, &clock).await;
            assert_eq!((ran.tally.lost, ran.tally.archived), (0, 0), "{days} days, {source}");
            assert_eq!(log_entries(&world).await, 0, "{days} days, {source}");
            // Restarted with the clock right.
            clock.set(now());
            let ran = once(&world, &clock).await;
            assert_eq!((ran.tally.archived, ran.tally.lost), (5, 0), "{days} days, {source}");
            world.archive().await.assert_complete(&world.windows);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_entry_is_not_written_a_quarter_of_an_hour_ahead() {
    let (world, clock) = two_clocks("").await;
    for minutes in [15, 6, -6] {
        clock.set(now() + SignedDuration::from_mins(minutes));
        once(&world, &clock).await;
        assert_eq!(log_entries(&world).await, 0, "{minutes}");
    }
    clock.set(now() + SignedDuration::from_mins(4));
    assert_eq!(once(&world, &clock).await.tally.archived, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_while_the_daemon_runs_holds_it_up_until_it_is_right_again() {
    let (world, clock) = two_clocks("past_horizon = \"lose\"\n").await;
    world.sim.faults().add(Rule::new(Fault::status(500)).on(Endpoint::Export));
    let session = begin(&world.config(), &clock).await.unwrap();
    let soon = clock.now() + SignedDuration::from_secs(1);
    assert_eq!(reconcile(&session, &clock, 2, soon).await.tally.archived, 0);
    let entries = log_entries(&world).await;
    for jump in [DAY * 400, -DAY * 365] {
        clock.set(now() + jump);
        let ran = reconcile(&session, &clock, 2, clock.now() + HOUR).await;
        assert_eq!((ran.tally.lost, ran.tally.archived, ran.tally.failed), (0, 0, 0), "{jump}");
        let snapshot = session.services.ledger.snapshot().await.unwrap();
        let hold = snapshot.clock_hold(clock.now()).unwrap_or_else(|| panic!("{:?}", snapshot.holds));
        assert_eq!(hold.failure.kind, FailureKind::Clock);
        assert!(hold.failure.message.contains("127.0.0.1"), "it names the host: {:?}", hold.failure);
        assert!(!session.services.watch.is_believed(), "so there is no heartbeat");
    }
    assert_eq!(log_entries(&world).await, entries);
    world.sim.faults().clear();
    clock.set(now());
    let ran = reconcile(&session, &clock, 2, clock.now() + HOUR / 2).await;
    assert_eq!(ran.tally.archived, 5, "{:?}", ran.endings);
    let snapshot = session.services.ledger.snapshot().await.unwrap();
    assert_eq!(snapshot.clock_hold(clock.now()), None);
    assert!(session.services.watch.is_believed());
    session.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_recorded_while_nobody_says_what_time_it_is() {
    let (world, clock) = two_clocks("past_horizon = \"lose\"\n").await;
    assert_eq!(once(&world, &clock).await.tally.archived, 5);
    let entries = log_entries(&world).await;
    world.sim.faults().always(Fault::DropConnection);
    let session = begin(&world.config(), &clock).await.unwrap();
    // A clock that is ahead, and nobody who contradicts it.
    clock.set(now() + DAY * 35);
    let ran = reconcile(&session, &clock, 2, clock.now() + HOUR).await;
    assert_eq!((ran.tally.lost, ran.tally.archived), (0, 0));
    assert!(!session.services.watch.is_believed());
    session.end().await;
    assert_eq!(log_entries(&world).await, entries);
    // A clock that is behind contradicts what was recorded, whoever answers.
    clock.set(now() - HOUR);
    let session = begin(&world.config(), &clock).await.unwrap();
    reconcile(&session, &clock, 2, clock.now()).await;
    let snapshot = session.services.ledger.snapshot().await.unwrap();
    let hold = snapshot.clock_hold(clock.now()).unwrap();
    assert!(hold.failure.message.contains("behind"), "{:?}", hold.failure);
    session.end().await;
}

/// What an earlier version wrote by a clock that was ahead by so much: losses of these windows.
async fn lose(world: &World, windows: &[Window], recorded_at: Timestamp) {
    let Place::Directory(folder) = &world.place else { panic!("a directory") };
    let stream = "logins".parse().unwrap();
    let path = |seq: Seq| -> PathBuf { folder.path().join(log_key(&stream, seq).as_str()) };
    let mut seq = Seq::FIRST;
    while path(seq.next()).exists() {
        seq = seq.next();
    }
    let read = |seq: Seq| std::fs::read(path(seq)).unwrap();
    let mut last = SealedEntry::open_unchained(read(seq), &stream, seq).unwrap();
    for window in windows {
        let mut entry = last.entry().clone();
        (entry.seq, entry.previous) = after(Some(last.head()));
        entry.recorded_at = recorded_at;
        entry.body = EntryBody::Lost(Lost {
            window: *window,
            reason: "the provider keeps records for 30 days".into(),
            last_attempt: None,
        });
        last = SealedEntry::seal(entry);
        std::fs::write(path(last.entry().seq), last.bytes()).unwrap();
    }
}

fn window(start: Timestamp) -> Window {
    Window::new(start, start + DAY).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn losses_that_a_clock_recorded_which_was_ahead_are_not_believed_and_their_windows_are_archived() {
    for ahead in [DAY * 35, DAY * 400] {
        let (world, clock) = two_clocks("past_horizon = \"lose\"\n").await;
        world.sim.faults().add(Rule::new(Fault::status(500)).on(Endpoint::Export));
        once(&world, &clock).await;
        world.sim.faults().clear();
        // For the past, and for days to come.
        let first: Timestamp = world.windows[0].parse().unwrap();
        let lost: Vec<_> = (0..20).map(|day| window(first + DAY * day)).collect();
        lose(&world, &lost, now() + ahead).await;

        let session = begin(&world.config(), &clock).await.unwrap();
        let judged = verdicts(&session).await;
        assert!(judged.iter().all(|judged| judged.verdict.word() != "lost"), "{judged:?}");
        let ran = reconcile(&session, &clock, 2, clock.now() + HOUR / 2).await;
        assert_eq!((ran.tally.archived, ran.tally.lost), (5, 0), "{:?}", ran.endings);
        session.end().await;

        // A ledger that is made from the log says the same.
        std::fs::remove_dir_all(world.state_dir()).unwrap();
        let again = once(&world, &clock).await;
        assert_eq!((again.tally.archived, again.tally.lost), (0, 0), "{:?}", again.endings);
        assert_eq!(world.archive().await.archived(), world.windows);

        let Place::Directory(folder) = &world.place else { panic!("a directory") };
        let (folder, to) = (folder.path().to_str().unwrap(), "2026-11-23T00:00:00Z");
        let output = world.verify(&["--dir", folder, "--to", to, "--json"]).await;
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let notes = report["streams"][0]["notes"].to_string();
        assert!(notes.contains("losses_not_believed"), "{notes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_that_were_set_while_the_clock_was_ahead_are_over_when_it_is_right() {
    for ahead in [HOUR * 10, DAY * 35, DAY * 400] {
        let (world, clock) = two_clocks("").await;
        world.sim.faults().add(Rule::new(Fault::status(500)).on(Endpoint::Export));
        once(&world, &clock).await;
        world.sim.faults().clear();
        let session = begin(&world.config(), &clock).await.unwrap();
        let at = now() + ahead;
        let failure = FailureNote { kind: FailureKind::Transient, message: "it was away".into(), at };
        let rules = session.services.roster.rules().remove(0);
        for resource in rules.needs() {
            let fingerprint = rules.fingerprint_of(&resource).clone();
            let hold =
                Hold { until: at + HOUR, since: at, failures: 3, failure: failure.clone(), fingerprint };
            session.services.ledger.hold(&resource, &hold).await.unwrap();
        }
        session.end().await;
        // The windows' own pauses are of now, and over in time.
        clock.reach(now() + HOUR / 4);
        let session = only_begin(&world.config(), &clock).await.unwrap();
        assert!(verdicts(&session).await.iter().all(|judged| judged.verdict.due().is_some()));
        session.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_is_said_shown_and_ends_once_with_75() {
    for seconds in [-365 * A_DAY, 35 * A_DAY, 600] {
        for place in [Place::directory(), Place::s3s().await] {
            let world = World::now(place, 3).await;
            let output = world.connvault_ahead(seconds, &["once", "--json"]).await;
            assert_eq!(output.status.code(), Some(75), "{seconds}: {}", said(&output));
            let text = said(&output);
            assert!(text.contains("everything waits for the clock") && text.contains("127.0.0.1"), "{text}");
            assert_eq!(log_entries(&world).await, 0);
            let status = world.connvault_ahead(seconds, &["status"]).await;
            assert!(said(&status).contains("the clock of this machine is"), "{}", said(&status));
            let status = world.connvault_ahead(seconds, &["status", "--json"]).await;
            let status: Value = serde_json::from_slice(&status.stdout).unwrap();
            assert_eq!(status["holds"][0]["resource"]["kind"], "clock", "{status}");
            assert!(status["clock"]["wrong"].is_string(), "{status}");

            let output = world.connvault(&["once"]).await;
            assert!(output.status.success(), "{}", said(&output));
            world.archive().await.assert_complete(&world.windows);
            // Also where it is behind after everything was archived, and nothing is due.
            let output = world.connvault_ahead(-A_DAY, &["once"]).await;
            assert_eq!(output.status.code(), Some(75), "{}", said(&output));
            let output = world.connvault(&["once"]).await;
            assert!(output.status.success(), "{}", said(&output));
            let status = world.connvault(&["status", "--json"]).await;
            let status: Value = serde_json::from_slice(&status.stdout).unwrap();
            assert_eq!(status["holds"], Value::Array(Vec::new()));
            assert!(status["clock"].is_null(), "{status}");
            let verified = world.connvault(&["verify"]).await;
            assert!(verified.status.success(), "{}", said(&verified));
        }
    }
}

fn rfc(at: Timestamp) -> Option<String> {
    DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_a_wrong_clock_is_named_and_holds_nothing_up_but_losses() {
    let place = Place::s3s().await;
    place.dated(|| rfc(connvault::adapters::system_clock::SystemClock.now() - SignedDuration::from_mins(10)));
    let world = World::now(place, 3).await;
    let output = world.connvault(&["once"]).await;
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("differs from the clock of a host"), "{}", said(&output));
    world.archive().await.assert_complete(&world.windows);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_date_are_said_once_and_the_source_confirms_the_clock() {
    let place = Place::s3s().await;
    place.dated(|| None);
    let world = World::now(place, 3).await;
    let output = world.connvault(&["once"]).await;
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(said(&output).matches("does not say when it was written").count(), 1, "{}", said(&output));
    world.archive().await.assert_complete(&world.windows);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_hold_for_the_clock_is_lifted_by_the_first_look() {
    let (world, clock) = two_clocks("").await;
    let session = begin(&world.config(), &clock).await.unwrap();
    let failure = FailureNote { kind: FailureKind::Clock, message: "it is wrong".into(), at: now() };
    let (until, fingerprint) = (now() + HOUR, Fingerprint(String::new()));
    let hold = Hold { until, since: now(), failures: 1, failure, fingerprint };
    session.services.ledger.hold(&Resource::Clock, &hold).await.unwrap();
    let ran = reconcile(&session, &clock, 2, clock.now()).await;
    assert_eq!(ran.tally.archived, 5);
    session.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_that_the_clock_is_behind_what_was_confirmed_or_written() {
    let world = World::now(Place::directory(), 2).await;
    assert!(world.connvault(&["once"]).await.status.success());
    let right = world.connvault(&["plan", "--json"]).await;
    let right: Value = serde_json::from_slice(&right.stdout).unwrap();
    assert!(right["clock"].is_null() && right["actions"].is_array(), "{right}");
    // At first the confirmed time says so, then the log alone.
    for words in ["127.0.0.1", "the last entry of a log was written at"] {
        let output = world.connvault_ahead(-A_DAY, &["plan"]).await;
        assert!(output.status.success(), "{}", said(&output));
        let text = said(&output);
        assert!(text.contains("the clock is not believed: ") && text.contains(words), "{text}");
        let output = world.connvault_ahead(-A_DAY, &["plan", "--json"]).await;
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(plan["clock"]["wrong"].as_str().unwrap().contains(words), "{plan}");
        world.lose_state();
        let rebuilt = world.connvault(&["rebuild"]).await;
        assert!(rebuilt.status.success(), "{}", said(&rebuilt));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_date_its_answers_is_named_where_nothing_can_be_written_for_it() {
    let place = Place::s3s().await;
    place.dated(|| None);
    let world = World::now(place, 2).await;
    // Nobody but the store is left to ask.
    world.sim.faults().always(Fault::DropConnection);
    world.connvault(&["once"]).await;
    let status = said(&world.connvault(&["status"]).await);
    assert!(status.contains("no entry is written"), "{status}");
    assert!(status.contains("answers of 127.0.0.1") && status.contains("bear no Date"), "{status}");
    assert_eq!(log_entries(&world).await, 0);
}
