//! Export tasks that cannot be deleted at once: each is left for as long as it takes, and delays no other.

use std::time::Duration;

use connvault::adapters::system_clock::SystemClock;
use connvault::app::observer::Event;
use connvault::app::reconcile::Until;
use connvault::ports::checkpoint::Step;
use connvault::ports::clock::Clock;
use connvault_sim::{Endpoint, Fault, RetryAfter, Rule};

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
async fn a_run_ends_though_a_task_cannot_be_deleted_yet_and_a_later_one_deletes_it() {
    let vault = with_tasks_left().await;
    let before = deletions(&vault);
    // All of them together, and then the first by itself.
    vault.sim.faults().add(Rule::new(Fault::status(400)).on(Endpoint::DeleteTasks).times(2));
    let output = vault.once().await;
    let (log, said) = (text(&output.stderr), text(&output.stdout));
    assert!(vault.sim.faults().is_spent());
    // All, and each of them by itself.
    assert_eq!(deletions(&vault) - before, 1 + WINDOWS);
    assert_eq!(vault.sim.tasks().all().len(), 1, "it is not waited for: {log}");
    assert_eq!(log.matches("upkeep of the source is left for later").count(), 1, "{log}");
    assert!(said.contains("1 export task left in the export centre: the next run deletes"), "{said}");
    let output = vault.once().await;
    assert_eq!(vault.sim.tasks().all(), [], "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("export centre"), "{}", text(&output.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_though_the_deletion_of_a_task_is_not_answered() {
    let vault = by_tasks("first_byte_timeout = \"10m\"\n").await;
    vault
        .sim
        .faults()
        .add(Rule::new(Fault::DelayFirstByte(Duration::from_secs(600))).on(Endpoint::DeleteTasks));
    let output = tokio::time::timeout(Duration::from_secs(100), vault.once()).await;
    let said = text(&output.expect("it waits for the answer").stdout);
    assert!(said.contains(&format!("{WINDOWS} export tasks left in the export centre")), "{said}");
    vault.sim.faults().clear();
    everything_is_archived_and_nothing_left(&vault, "once more").await;
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
    let before = deletions(&vault);
    let is_tidy = |event: &Event| matches!(event, Event::Idle { .. }) && deletions(&vault) - before == 2;
    let events = inside::events(&session, Until::Stopped, is_tidy).await;
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
    // The first sign of life comes while the first look goes on, which is given up.
    let events = inside::events(&session, Until::NothingDue, |event| matches!(event, Event::Alive)).await;
    assert!(!events.is_empty());
    assert_eq!(deletions(&vault), before);
    session.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revisit_has_a_task_of_its_own_though_that_of_the_first_export_still_stands() {
    let vault = with_tasks_left().await;
    let from = vault.start.to_string();
    let output = vault.connvault(&["backfill", "logins", "--from", &from, "--redo", "all"]).await;
    let (said, log) = (text(&output.stdout), text(&output.stderr));
    assert!(said.contains(&format!("{WINDOWS} windows pulled again: 0 revised")), "{said}{log}");
    assert!(!log.contains("export task of an earlier run found"), "{log}");
    assert_eq!(vault.sim.tasks().created(), 2 * WINDOWS as u64);
}
