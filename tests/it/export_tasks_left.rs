//! Export tasks that cannot be cleared away at once: each is left for as long as it takes, and keeps no other.

use std::time::Duration;

use connvault::adapters::system_clock::SystemClock;
use connvault::app::observer::Event;
use connvault::ports::checkpoint::Step;
use connvault::ports::clock::Clock;
use connvault_sim::{Endpoint, Fault, RetryAfter, Rule};
use jiff::SignedDuration;

use crate::export_tasks::{by_tasks, everything_is_archived_and_nothing_left, one_at_once};
use crate::support::clock::TestClock;
use crate::support::inside;
use crate::support::vault::{Vault, WINDOWS, text};

fn deletions(vault: &Vault) -> usize {
    vault.sim.requests().iter().filter(|request| request.endpoint == Endpoint::DeleteTasks).count()
}

/// A vault whose windows are archived, and whose tasks stand all the same.
async fn with_tasks_left() -> Vault {
    let vault = by_tasks("").await;
    vault.sim.faults().add(Rule::new(Fault::status(400)).on(Endpoint::DeleteTasks));
    vault.once_killed_at(Step::LedgerUpdated, WINDOWS).await;
    vault.sim.faults().clear();
    assert_eq!(vault.sim.tasks().all().len(), WINDOWS);
    vault
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_refused_is_made_again_before_the_run_ends() {
    let vault = with_tasks_left().await;
    // All of them together, and then the first by itself.
    vault.sim.faults().add(Rule::new(Fault::status(400)).on(Endpoint::DeleteTasks).times(2));
    let log = text(&vault.once().await.stderr);
    everything_is_archived_and_nothing_left(&vault, "once").await;
    assert!(vault.sim.faults().is_spent());
    assert_eq!(log.matches("left in the export centre for now").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_never_deleted_keeps_none_that_comes_after_it() {
    let vault = by_tasks("").await;
    one_at_once(&vault);
    vault.once_killed_at(Step::TaskReady, 1).await;
    let first = vault.sim.tasks().all().first().unwrap().id.clone();
    vault.sim.tasks().refuse_to_delete(&first);
    let mut daemon = vault.daemon();
    vault.until_archived(&mut daemon).await;
    let left = || vault.sim.tasks().all().into_iter().map(|task| task.id).collect::<Vec<_>>();
    vault.until(|| left() == [first.clone()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_source_does_not_answer_tasks_are_not_tried_one_by_one() {
    let vault = with_tasks_left().await;
    let before = deletions(&vault);
    let faults = vault.sim.faults();
    faults.add(Rule::new(Fault::status(400)).on(Endpoint::DeleteTasks).times(1));
    faults.add(Rule::new(Fault::status(503)).on(Endpoint::DeleteTasks).times(1));
    vault.once().await;
    everything_is_archived_and_nothing_left(&vault, "once").await;
    assert_eq!(deletions(&vault) - before, 3, "all, one, and later all again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_whose_file_is_not_called_anything_yet_is_waited_for() {
    let vault = by_tasks("").await;
    one_at_once(&vault);
    vault.sim.tasks().name_late();
    vault.once_killed_at(Step::TaskCreated, 2).await;
    vault.once().await;
    everything_is_archived_and_nothing_left(&vault, "once").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_is_asked_for_where_tasks_are_deleted_outlasts_a_restart() {
    let vault = with_tasks_left().await;
    let before = deletions(&vault);
    let pause = Fault::Throttle { retry_after: Some(RetryAfter::Seconds(600)) };
    vault.sim.faults().add(Rule::new(pause).on(Endpoint::DeleteTasks).times(1));
    for _ in 0..2 {
        vault.connvault(&["once"]).await;
        assert_eq!(deletions(&vault) - before, 1);
    }
    assert!(text(&vault.connvault(&["status"]).await.stdout).contains("asks for fewer requests"));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_pause_is_over_it_is_looked_once() {
    let vault = with_tasks_left().await;
    vault.sim.faults().add(Rule::new(Fault::status(503)).on(Endpoint::DeleteTasks).times(1));
    let clock = TestClock::at(&SystemClock.now().to_string());
    let session = inside::begin(&vault.path("config.toml"), &clock).await.unwrap();
    let events = inside::events(&session, |_| false).await;
    let looks = events.iter().filter(|event| matches!(event, Event::Planned { .. })).count();
    assert_eq!(looks, 2, "{events:?}");
    assert_eq!(vault.sim.tasks().all(), []);
    session.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_told_to_stop_begins_to_clear_nothing_away() {
    let vault = with_tasks_left().await;
    let before = deletions(&vault);
    let clock = TestClock::at(&SystemClock.now().to_string());
    let session = inside::begin(&vault.path("config.toml"), &clock).await.unwrap();
    // The first sign of life comes while the first look goes on.
    let events = inside::events(&session, |event| matches!(event, Event::Alive)).await;
    assert!(events.iter().any(|event| matches!(event, Event::Planned { .. })), "{events:?}");
    assert_eq!(deletions(&vault), before);
    session.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_requests_are_cut_off_without_a_gap_between_them_orphans_are_deleted() {
    let vault = by_tasks("first_byte_timeout = \"1s\"\n").await;
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    std::fs::write(vault.path("config.toml"), config.replace("\"1d\"", "\"1h\"")).unwrap();
    // One window, so that it is known what files of ours are called.
    let (start, end) = (vault.start.to_string(), (vault.start + SignedDuration::from_hours(1)).to_string());
    let one = vault.connvault(&["backfill", "logins", "--from", &start, "--to", &end]).await;
    assert!(one.status.success(), "{}", text(&one.stderr));
    let before = deletions(&vault);
    // Each task is made, and its maker has gone before the answer comes: for more windows than can be tried in minutes.
    let late = Fault::DelayFirstByte(Duration::from_secs(2));
    vault.sim.faults().add(Rule::new(late).on(Endpoint::CreateTask));
    let _daemon = vault.daemon();
    let listed = |request: &connvault_sim::LoggedRequest| request.parameter("sort_field").is_some();
    vault.until(|| vault.sim.requests().iter().any(listed)).await;
    vault.until(|| deletions(&vault) > before).await;
}
