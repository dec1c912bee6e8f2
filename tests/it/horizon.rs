//! Past the provider's horizon: what can still be had is had and marked, the rest is attested as lost.

use connvault::app::observer::Ending;
use connvault::app::selection::{Redo, Selection, Stretch};
use connvault::domain::window::Window;
use connvault::ports::clock::Clock;
use connvault_sim::{Endpoint, Fate, Fault, RetryAfter, Rule, Simulator, Withdrawal};
use jiff::{SignedDuration, Timestamp};

use crate::support::clock::TestClock;
use crate::support::inside::{Ran, begin, reconcile, reconcile_selected};
use crate::support::place::Place;
use crate::support::world::World;

const NOW: &str = "2026-11-23T02:00:05Z";
const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);
const STREAMS: usize = 10;
const DAYS: u32 = 40;

/// Ten daily streams whose daemon was down for forty days, over a source that forgets after thirty.
async fn forty_days_down(source: &str) -> (World, TestClock) {
    let clock = TestClock::at(NOW);
    let sim = Simulator::builder().horizon(MONTH.unsigned_abs());
    let mut world = World::built(Place::directory(), &clock, DAYS, sim).await;
    world.settings.streams = (0..STREAMS).map(|i| format!("s{i}")).collect();
    world.settings.source = source.to_owned();
    (world, clock)
}

async fn once(world: &World, clock: &TestClock) -> Ran {
    let session = begin(&world.config(), clock).await.unwrap();
    let ran = reconcile(&session, clock, 1, clock.now()).await;
    session.end().await;
    ran
}

fn started(day: &str) -> Timestamp {
    day.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_forty_days_down_what_can_be_had_is_archived_and_the_rest_attested_in_one_run() {
    let (world, clock) = forty_days_down("").await;
    let ran = once(&world, &clock).await;
    assert_eq!((ran.tally.archived, ran.tally.lost, ran.tally.failed), (300, 100, 0));
    let newest = |window: &Window| window.start() == started(world.windows.last().unwrap());
    let among_the_first = ran.endings.iter().take(20).filter(|(window, _)| newest(window)).count();
    assert_eq!(among_the_first, STREAMS);
    assert!(ran.endings.iter().rev().take(100).all(|(_, ending)| !matches!(ending, Ending::Failed(_))));

    let limit = started(NOW) - MONTH;
    let objects = world.place.objects().await;
    for stream in &world.settings.streams {
        let archive = crate::support::archive::Archive::of(&objects, stream);
        for entry in archive.of_kind("archived") {
            let asked = started(entry["export"]["requested"]["start"].as_str().unwrap());
            // Of the day on which the horizon falls some records were there still: its entry says that others may lack.
            assert_eq!(entry["export"]["past_horizon"] == true, asked <= limit, "{entry}");
        }
        let reasons: Vec<_> =
            archive.of_kind("lost").iter().map(|entry| entry["reason"].to_string()).collect();
        assert_eq!(reasons.len(), 10);
        assert!(reasons.iter().all(|reason| reason.contains("no records of it (any more)")), "{reasons:?}");
    }
    let again = once(&world, &clock).await;
    assert!(again.endings.is_empty(), "{:?}", again.endings);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_to_lose_them_no_request_is_made_for_windows_past_the_horizon() {
    let (world, clock) = forty_days_down("past_horizon = \"lose\"\n").await;
    let ran = once(&world, &clock).await;
    assert_eq!((ran.tally.archived, ran.tally.lost, ran.tally.failed), (290, 110, 0));
    assert_eq!(world.sim.request_count(Endpoint::Export), 290);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_v3_export_is_not_asked_for_what_it_never_answers() {
    let (mut world, clock) = forty_days_down("").await;
    world.settings.streams.truncate(1);
    world.sim.withdraw_v2(Withdrawal::Gone);
    let ran = once(&world, &clock).await;
    assert_eq!((ran.tally.archived, ran.tally.lost, ran.tally.failed), (29, 11, 0));
    assert_eq!(world.sim.tasks().created(), 29);
    // One request learnt that v2 is gone.
    assert_eq!(world.sim.request_count(Endpoint::Export), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_away_for_a_day_keeps_the_log_from_nothing_any_more() {
    let (mut world, clock) = forty_days_down("").await;
    world.settings.streams.truncate(1);
    // The newest window is all that can be had, and cannot: the rest has expired.
    world.settings.start = started(&world.windows[0]);
    world.sim.faults().always(Fault::status(401));
    let session = begin(&world.config(), &clock).await.unwrap();
    let soon = started(NOW) + SignedDuration::from_hours(1);
    assert_eq!(reconcile(&session, &clock, 1, soon).await.tally.lost, 0, "it may come back");
    let later = started(NOW) + SignedDuration::from_hours(26);
    let ran = reconcile(&session, &clock, 1, later).await;
    assert!(ran.tally.lost >= 11, "{}", ran.tally.lost);
    session.end().await;
    let archive = world.archive_of("s0").await;
    let reason = archive.of_kind("lost")[0]["reason"].to_string();
    assert!(reason.contains("asked once more") && reason.contains("401"), "{reason}");
}

/// One stream whose thirtieth day is cut by the horizon, and whose v2 export meets `fault` there so many times.
async fn the_last_chance_meets(fault: Fault, times: Option<u64>, until: SignedDuration) -> (Ran, World) {
    let (mut world, clock) = forty_days_down("").await;
    world.settings.streams.truncate(1);
    let cut = started(&world.windows[10]) - SignedDuration::from_mins(1);
    let rule =
        Rule::new(fault).on(Endpoint::Export).for_start_time(cut.strftime("%Y-%m-%dT%H:%MZ").to_string());
    world.sim.faults().add(match times {
        Some(times) => rule.times(times),
        None => rule,
    });
    let session = begin(&world.config(), &clock).await.unwrap();
    let ran = reconcile(&session, &clock, 1, started(NOW) + until).await;
    session.end().await;
    (ran, world)
}

const FIVE_MINUTES: SignedDuration = SignedDuration::from_mins(5);

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_past_the_horizon_is_not_taken_for_one() {
    for fault in [Fault::DropConnection, Fault::status(500), Fault::HtmlBody] {
        let (ran, _) = the_last_chance_meets(fault, Some(3), FIVE_MINUTES).await;
        assert_eq!((ran.tally.archived, ran.tally.lost, ran.tally.failed), (30, 10, 3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_held_up_the_source_is_no_try_of_a_window_past_the_horizon() {
    let (mut world, clock) = forty_days_down("").await;
    world.settings.streams.truncate(1);
    let cut = started(&world.windows[10]) - SignedDuration::from_mins(1);
    let start = cut.strftime("%Y-%m-%dT%H:%MZ").to_string();
    let of_cut = |fault| Rule::new(fault).on(Endpoint::Export).with_parameter("start_time", start.as_str());
    let pause = Some(RetryAfter::Seconds(61 * 60));
    world.sim.faults().add(of_cut(Fault::Throttle { retry_after: pause }).times(1));
    world.sim.faults().add(of_cut(Fault::status(502)).times(3));
    let session = begin(&world.config(), &clock).await.unwrap();
    let ran = reconcile(&session, &clock, 1, started(NOW) + SignedDuration::from_hours(2)).await;
    session.end().await;
    assert_eq!((ran.tally.archived, ran.tally.lost, ran.tally.failed), (30, 10, 4));
}

/// One window, whose export task was made in time, and whose file could not be fetched before it expired: each request to
/// `away` failed.
async fn a_task_in_time(away: Endpoint, prepare: impl FnOnce(&Simulator)) -> (World, TestClock) {
    let clock = TestClock::at(NOW);
    let days = SignedDuration::from_hours(48);
    let polls = if away == Endpoint::ListTasks { 2 } else { 0 };
    let sim = Simulator::builder().horizon(days.unsigned_abs()).task_polls(polls);
    let mut world = World::built(Place::directory(), &clock, 1, sim).await;
    world.settings.source = "api = \"v3\"\nhorizon = \"48h\"\n".to_owned();
    prepare(&world.sim);
    world.sim.faults().add(Rule::new(Fault::status(502)).on(away));
    let session = begin(&world.config(), &clock).await.unwrap();
    let ran = reconcile(&session, &clock, 1, started(NOW)).await;
    session.end().await;
    assert_eq!((ran.tally.archived, world.sim.tasks().created()), (0, 1));
    world.sim.faults().clear();
    clock.reach(started("2026-11-23T23:59:30Z"));
    world.sim.clear_requests();
    (world, clock)
}

async fn gone_on(world: &World, clock: &TestClock, selection: Selection) -> Ran {
    let session = begin(&world.config(), clock).await.unwrap();
    let until = clock.now() + SignedDuration::from_mins(1);
    let ran = reconcile_selected(&session, clock, 1, until, selection).await;
    session.end().await;
    assert_eq!((world.sim.tasks().created(), world.sim.tasks().all()), (1, Vec::new()), "{:?}", ran.endings);
    // Neither the window itself nor how many records there are by now.
    let asked = |endpoint| world.sim.request_count(endpoint);
    assert_eq!((asked(Endpoint::Export), asked(Endpoint::Query)), (0, 0));
    ran
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_made_in_time_is_gone_on_with_after_its_window_expired() {
    // Whatever is chosen since, and whoever asks for it.
    let (v3, auto, lose) = ("api = \"v3\"\n", "api = \"auto\"\n", "past_horizon = \"lose\"\n");
    let redo = || {
        let stretch = Stretch::new("logins".parse().unwrap(), Timestamp::MIN, Timestamp::MAX, Redo::Failed);
        Selection::Stretch(stretch)
    };
    for (source, selection) in
        [(v3, Selection::All), (auto, Selection::All), (lose, Selection::All), (auto, redo())]
    {
        let (mut world, clock) = a_task_in_time(Endpoint::Download, |_| {}).await;
        world.settings.source = format!("horizon = \"48h\"\n{source}");
        // What says nothing of the file is no answer, and costs no task that cannot be had again.
        for fault in [Fault::HtmlBody, Fault::status(409), Fault::DropConnection] {
            world.sim.faults().add(Rule::new(fault).on(Endpoint::Download).times(1));
        }
        let ran = gone_on(&world, &clock, selection).await;
        assert_eq!((ran.tally.archived, ran.tally.lost, ran.tally.failed), (1, 0, 3), "{:?}", ran.endings);
        let archive = world.archive().await;
        let export = &archive.of_kind("archived")[0]["export"];
        assert_eq!((&export["api"], &export["past_horizon"]), (&"v3".into(), &serde_json::Value::Null));
        assert!(export["uncounted"].to_string().contains("asked for in time"), "{export}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_export_proves_that_there_was_nothing_where_it_was_made_in_time_and_only_then() {
    let none = || Rule::new(Fault::OmitRecords { records: u64::MAX }).on(Endpoint::CreateTask);
    for (away, archived) in [(Endpoint::Download, 1), (Endpoint::ListTasks, 0)] {
        let (world, clock) = a_task_in_time(away, |sim| sim.faults().add(none())).await;
        let ran = gone_on(&world, &clock, Selection::All).await;
        assert_eq!((ran.tally.archived, ran.tally.lost), (archived, 1 - archived), "{:?}", ran.endings);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_was_asked_for_in_time_and_made_later_may_lack_records_and_says_so() {
    let (world, clock) = a_task_in_time(Endpoint::ListTasks, |_| {}).await;
    let ran = gone_on(&world, &clock, Selection::All).await;
    // It is old, and still being made when it is looked at: that is no end of it.
    assert_eq!((ran.tally.archived, ran.tally.lost, ran.tally.failed), (1, 0, 1), "{:?}", ran.endings);
    assert_eq!(world.archive().await.of_kind("archived")[0]["export"]["past_horizon"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_lacks_a_task_for_once_loses_no_window() {
    let (world, clock) = a_task_in_time(Endpoint::Download, |_| {}).await;
    world.sim.tasks().unlist(2);
    let ran = gone_on(&world, &clock, Selection::All).await;
    assert_eq!((ran.tally.archived, ran.tally.lost, ran.tally.failed), (1, 0, 2), "{:?}", ran.endings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_made_in_time_and_comes_to_nothing_is_asked_for_no_more() {
    let expires = |sim: &Simulator| sim.tasks().fate(Fate::ExpiresOnDownload);
    let (world, clock) = a_task_in_time(Endpoint::Download, expires).await;
    let ran = gone_on(&world, &clock, Selection::All).await;
    assert_eq!((ran.tally.archived, ran.tally.lost), (0, 1), "{:?}", ran.endings);
    let reason = world.archive().await.of_kind("lost")[0]["reason"].to_string();
    assert!(reason.contains("came to nothing"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_whenever_it_is_asked_is_away_for_a_day_to_runs_that_come_each_night_as_well() {
    let (mut world, clock) = forty_days_down("").await;
    world.settings.streams.truncate(1);
    world.sim.faults().always(Fault::status(401));
    let mut lost = Vec::new();
    for night in 0..4 {
        clock.reach(started(NOW) + SignedDuration::from_hours(24 * night));
        lost.push(once(&world, &clock).await.tally.lost);
    }
    assert_eq!(lost[..2], [0, 0], "it may come back");
    assert!(lost.iter().sum::<u64>() >= 10, "{lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn last_night_keeps_its_turn_while_older_windows_fail() {
    let (mut world, clock) = forty_days_down("").await;
    world.settings.streams.truncate(1);
    world.settings.start = started(&world.windows[20]);
    let last = started(world.windows.last().unwrap());
    // Every failure makes another plan, which begins with the most urgent window.
    let newest = (last - SignedDuration::from_mins(1)).strftime("%Y-%m-%dT%H:%MZ").to_string();
    let others = world.windows[20..39].iter().map(|start| started(start) - SignedDuration::from_mins(1));
    for start in others {
        let start = start.strftime("%Y-%m-%dT%H:%MZ").to_string();
        assert_ne!(start, newest);
        world.sim.faults().add(Rule::new(Fault::status(500)).on(Endpoint::Export).for_start_time(start));
    }
    let session = begin(&world.config(), &clock).await.unwrap();
    let ran = reconcile(&session, &clock, 1, started(NOW)).await;
    session.end().await;
    let turn = ran.endings.iter().position(|(window, _)| window.start() == last);
    assert_eq!(turn, Some(1), "{:?}", ran.endings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_out_of_order_for_an_hour_loses_nothing() {
    let hour = SignedDuration::from_mins(59);
    let (ran, _) = the_last_chance_meets(Fault::status(502), None, hour).await;
    assert_eq!((ran.tally.archived, ran.tally.lost), (29, 10));
    assert!(ran.tally.failed > 3, "{}", ran.tally.failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_past_the_horizon_that_is_not_answered_for_longer_is_attested() {
    let (ran, world) = the_last_chance_meets(Fault::status(500), None, SignedDuration::from_hours(2)).await;
    assert_eq!((ran.tally.archived, ran.tally.lost), (29, 11));
    let archive = world.archive_of("s0").await;
    let lost = archive.of_kind("lost");
    assert!(lost.iter().any(|entry| entry["reason"].to_string().contains("500")), "{lost:?}");
}
