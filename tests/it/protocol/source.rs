//! The source fails, throttles, forgets, and reads its bounds as it likes.

use std::process::Command;

use connvault::app::observer::Ending;
use connvault::domain::failure::FailureKind;
use connvault::domain::verdict::Verdict;
use connvault_sim::{Bounds, Endpoint, Fault, Format, Record, Records, RetryAfter, Rule, Simulator};
use jiff::{SignedDuration, Timestamp};

use super::{clock, day, later_today, start_time};
use crate::support::inside::{begin, reconcile, verdicts};
use crate::support::place::Place;
use crate::support::world::World;

#[tokio::test]
async fn a_window_whose_export_is_none_three_times_is_parked_and_holds_up_no_other() {
    let clock = clock();
    let world = World::at(Place::directory(), &clock, 5).await;
    let bad = world.windows[1].clone();
    for fault in [Fault::HtmlBody, Fault::JsonErrorBody, Fault::EmptyBody] {
        let rule = Rule::new(fault).on(Endpoint::Export).for_start_time(start_time(&bad));
        world.sim.faults().add(rule.times(1));
    }
    let session = begin(&world.config(), &clock).await.unwrap();
    let ran = reconcile(&session, &clock, 2, later_today()).await;
    assert_eq!((ran.tally.archived, ran.tally.failed), (4, 3));
    let judged = verdicts(&session).await;
    let parked: Vec<_> = judged.iter().filter(|judged| judged.verdict.word() == "parked").collect();
    assert_eq!(parked.len(), 1, "{judged:?}");
    assert_eq!(parked[0].window, day(&bad));
    let Verdict::Parked { failure, held_by: None, .. } = &parked[0].verdict else { panic!("{parked:?}") };
    assert_eq!(failure.kind, FailureKind::Corrupt);
    assert_eq!(world.spooled(), Vec::<std::path::PathBuf>::new());

    let retried = session.services.ledger.retry(None, Some(day(&bad))).await.unwrap();
    assert_eq!(retried, 1);
    assert_eq!(reconcile(&session, &clock, 2, later_today()).await.tally.archived, 1);
    world.archive().await.assert_complete(&world.windows);
    session.end().await;
}

#[tokio::test]
async fn a_parked_window_is_tried_again_after_a_day() {
    let clock = clock();
    let world = World::at(Place::directory(), &clock, 1).await;
    let rule =
        Rule::new(Fault::status(400)).on(Endpoint::Export).for_start_time(start_time(&world.windows[0]));
    world.sim.faults().add(rule.times(1));
    let session = begin(&world.config(), &clock).await.unwrap();
    let ran = reconcile(&session, &clock, 1, later_today()).await;
    assert_eq!((ran.tally.archived, ran.tally.failed), (0, 1));
    let ran = reconcile(&session, &clock, 1, later_today() + SignedDuration::from_hours(24)).await;
    // The parked one, and the one that was over meanwhile.
    assert_eq!((ran.tally.archived, ran.tally.failed), (2, 0));
    session.end().await;
}

#[tokio::test]
async fn a_source_that_fails_for_a_while_costs_nothing_but_time() {
    let clock = clock();
    let world = World::at(Place::directory(), &clock, 3).await;
    let faults = world.sim.faults();
    faults.next(3, Fault::status(503));
    faults.next(1, Fault::DropConnection);
    faults.next(1, Fault::TruncateAfter { bytes: 100 });
    faults.next(1, Fault::ResetAfter { bytes: 100 });
    faults.next(1, Fault::TruncateCleanly { bytes: 1000 });
    let session = begin(&world.config(), &clock).await.unwrap();
    let ran = reconcile(&session, &clock, 1, later_today()).await;
    assert_eq!(ran.tally.archived, 3);
    assert!(ran.tally.failed >= 5, "{:?}", ran.tally);
    assert!(world.sim.faults().is_spent());
    world.archive().await.assert_complete(&world.windows);
    session.end().await;
}

#[tokio::test]
async fn a_source_that_throttles_is_left_alone_for_as_long_as_it_asks() {
    for retry_after in [RetryAfter::Seconds(120), RetryAfter::HttpDate(120)] {
        let clock = clock();
        let world = World::at(Place::directory(), &clock, 6).await;
        let throttle = Fault::Throttle { retry_after: Some(retry_after) };
        world.sim.faults().add(Rule::new(throttle).skip(2).times(2));
        let session = begin(&world.config(), &clock).await.unwrap();
        let ran = reconcile(&session, &clock, 1, later_today()).await;
        assert_eq!((ran.tally.archived, ran.tally.failed), (6, 2));
        let requests = world.sim.requests();
        for (at, throttled) in requests.iter().enumerate().filter(|(_, request)| request.fault.is_some()) {
            let pause = requests[at + 1].time.duration_since(throttled.time);
            // A date has whole seconds only.
            assert!(pause >= SignedDuration::from_secs(119), "asked again after {pause}");
        }
        // Not the windows' fault: none is charged.
        let snapshot = session.services.ledger.snapshot().await.unwrap();
        assert!(snapshot.holds.is_empty(), "{:?}", snapshot.holds);
        session.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_one_source_asks_for_is_kept_by_all_of_its_streams_and_slows_no_other() {
    const PAUSE: SignedDuration = SignedDuration::from_secs(30);
    let mut world = World::now(Place::directory(), 4).await;
    world.settings.streams = vec!["logins".to_owned(), "more".to_owned()];
    world.settings.concurrency = 6;
    let start = world.settings.start;
    let records = Records::seeded(
        8,
        start - SignedDuration::from_hours(24),
        start + SignedDuration::from_hours(24 * 5),
        20,
    );
    let other = Simulator::builder().records(records).start().await.unwrap();
    let config = world.config();
    let text = std::fs::read_to_string(&config).unwrap();
    let (before, source) = text.split_once("[sources.hq]\n").unwrap();
    let (source, rest) = source.split_once("[stores.archive]").unwrap();
    let branch =
        source.replace("sources.hq", "sources.branch").replace(&world.sim.endpoint(), &other.endpoint());
    let (_, stream) = text.split_once("[streams.logins]\n").unwrap();
    let (stream, _) = stream.split_once("[streams.more]").unwrap();
    let stream = stream.replace("source = \"hq\"", "source = \"branch\"");
    let both = format!(
        "{before}[sources.hq]\n{source}[sources.branch]\n{branch}[stores.archive]{rest}[streams.branch]\n{stream}"
    );
    let config = config.with_file_name("both.toml");
    std::fs::write(&config, both).unwrap();
    let throttle = Fault::Throttle { retry_after: Some(RetryAfter::Seconds(30)) };
    world.sim.faults().add(Rule::new(throttle).skip(3).times(1));

    let mut once = Command::new(env!("CARGO_BIN_EXE_connvault"));
    once.env_clear().args(["once", "--config"]).arg(config);
    let output = tokio::task::spawn_blocking(move || once.output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let requests = world.sim.requests();
    let throttled = requests.iter().find(|request| request.fault.is_some()).unwrap().time;
    let since = |time: Timestamp| time.duration_since(throttled);
    // What was on its way already may still arrive.
    let inside = |time: Timestamp| since(time) > SignedDuration::from_millis(500) && since(time) < PAUSE;
    let of_this: Vec<_> = requests.iter().filter(|request| inside(request.time)).collect();
    assert!(of_this.is_empty(), "{of_this:?}");
    assert!(requests.iter().any(|request| since(request.time) >= PAUSE), "it goes on afterwards");
    let exports = |sim: &Simulator| sim.request_count(Endpoint::Export);
    assert_eq!(exports(&other), 4);
    let last = other.requests().iter().map(|request| since(request.time)).max().unwrap();
    assert!(last < PAUSE, "the other source waited, too: {last}");
}

#[tokio::test]
async fn windows_that_the_source_has_forgotten_are_attested_as_lost_once_and_never_asked_for() {
    let clock = clock();
    let mut world = World::at(Place::directory(), &clock, 35).await;
    world.settings.source = "past_horizon = \"lose\"\n".to_owned();
    let session = begin(&world.config(), &clock).await.unwrap();
    let ran = reconcile(&session, &clock, 4, later_today()).await;
    // A window's start, less the margin, is more than thirty days ago.
    let limit = super::NOW.parse::<Timestamp>().unwrap() - SignedDuration::from_hours(24 * 30);
    let (lost, had): (Vec<_>, Vec<_>) = world
        .windows
        .iter()
        .cloned()
        .partition(|start| start.parse::<Timestamp>().unwrap() - SignedDuration::from_mins(1) <= limit);
    assert_eq!((lost.len(), had.len()), (6, 29));
    assert_eq!((ran.tally.lost, ran.tally.archived), (6, 29));
    let archive = world.archive().await;
    assert_eq!((archive.starts("lost"), archive.archived()), (lost.clone(), had));
    // Some ask for the time alone.
    for request in world.sim.requests().iter().filter(|request| request.endpoint != Endpoint::Unknown) {
        let asked = request.parameter("start_time").unwrap();
        assert!(lost.iter().all(|start| start_time(start) != asked), "{asked} was asked for");
    }
    let ran = reconcile(&session, &clock, 4, later_today()).await;
    assert_eq!(ran.endings, []);
    session.end().await;
    world.lose_state();
    let session = begin(&world.config(), &clock).await.unwrap();
    assert_eq!(reconcile(&session, &clock, 4, later_today()).await.endings, []);
    assert_eq!(world.archive().await, archive);
    session.end().await;
}

#[tokio::test]
async fn an_export_that_was_pulled_in_time_is_archived_though_its_window_has_expired() {
    use crate::support::faulty_store::{Call, When};
    let clock = clock();
    let world = World::at(Place::directory(), &clock, 1).await;
    let session = begin(&world.config(), &clock).await.unwrap();
    let store = crate::support::inside::with_faults(&session);
    store.fail(Call::Put, 1, 1, When::Before, FailureKind::Transient);
    let at_once = super::NOW.parse().unwrap();
    assert_eq!(reconcile(&session, &clock, 1, at_once).await.tally.failed, 1);
    let expired = at_once + SignedDuration::from_hours(24 * 40);
    clock.reach(expired);
    let ran = reconcile(&session, &clock, 1, expired).await;
    let first = ran.endings.iter().find(|(window, _)| *window == day(&world.windows[0]));
    assert!(matches!(first, Some((_, Ending::Archived { .. }))), "{first:?}");
    assert!(world.archive().await.archived().contains(&world.windows[0]));
    session.end().await;
}

/// Records on every boundary: the first and the last second of a window, and the moment it ends.
fn boundary_records(world: &World) -> Vec<(Timestamp, String)> {
    let mut made = Vec::new();
    for (seed, window) in world.windows.iter().enumerate() {
        let start: Timestamp = window.parse().unwrap();
        for (number, seconds) in [0, 59, 86_399].into_iter().enumerate() {
            let at = start + SignedDuration::from_secs(seconds);
            let record = Record::at(at, 100 * seed as u64 + number as u64);
            made.push((at, record.transaction_id.clone()));
            world.sim.records().push(record);
        }
    }
    made
}

#[tokio::test]
async fn no_record_on_a_boundary_is_missed_however_the_source_reads_its_bounds() {
    for bounds in [Bounds::Inclusive, Bounds::Exclusive, Bounds::HalfOpen] {
        let clock = clock();
        let sim = Simulator::builder().bounds(bounds).format(Format::Csv);
        let world = World::built(Place::directory(), &clock, 3, sim).await;
        let made = boundary_records(&world);
        let session = begin(&world.config(), &clock).await.unwrap();
        reconcile(&session, &clock, 2, later_today()).await;
        session.end().await;
        let archive = world.archive().await;
        archive.assert_complete(&world.windows);
        for (at, id) in made {
            let window =
                world.windows.iter().rfind(|start| start.parse::<Timestamp>().unwrap() <= at).unwrap();
            let name = day(window).to_string();
            let (_, csv) = archive.data.iter().find(|(key, _)| key.contains(&name)).unwrap();
            assert!(String::from_utf8_lossy(csv).contains(&id), "{bounds:?}: {at} is missing from {name}");
        }
    }
}

#[tokio::test]
async fn windows_without_records_are_archived_as_they_are() {
    let clock = clock();
    let forgetful = Simulator::builder().horizon(std::time::Duration::ZERO);
    let world = World::built(Place::directory(), &clock, 2, forgetful).await;
    let session = begin(&world.config(), &clock).await.unwrap();
    reconcile(&session, &clock, 2, later_today()).await;
    let archive = world.archive().await;
    archive.assert_complete(&world.windows);
    for entry in archive.of_kind("archived") {
        assert_eq!(entry["object"]["rows"], 0, "{entry}");
    }
    session.end().await;
}
