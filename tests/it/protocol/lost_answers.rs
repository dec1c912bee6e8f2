//! The store does what it is asked, or not, and nobody hears of it.

use connvault::domain::failure::FailureKind;
use connvault::ports::object_store::ObjectStore as _;
use connvault_sim::Endpoint;

use super::{clock, later_today};
use crate::support::faulty_store::{Call, When};
use crate::support::inside::{begin, reconcile, verdicts, with_faults};
use crate::support::place::Place;
use crate::support::world::World;

const DAYS: u32 = 3;

/// Puts fail as `faults` says (which, how many, when); in the end all is archived, once, from one pull each.
async fn puts_fail(faults: &[(usize, usize, When)]) {
    let clock = clock();
    let world = World::at(Place::directory(), &clock, DAYS).await;
    let session = begin(&world.config(), &clock).await.unwrap();
    let store = with_faults(&session);
    for (nth, times, when) in faults {
        store.fail(Call::Put, *nth, *times, *when, FailureKind::Transient);
    }
    let ran = reconcile(&session, &clock, 1, later_today()).await;
    assert!(ran.tally.failed > 0, "{faults:?}: nothing failed");
    world.archive().await.assert_complete(&world.windows);
    assert_eq!(world.sim.request_count(Endpoint::Export), u64::from(DAYS), "{faults:?}: pulled again");
    assert_eq!(world.spooled(), Vec::<std::path::PathBuf>::new(), "{faults:?}");
    let open: Vec<_> = verdicts(&session).await;
    assert!(open.iter().all(|judged| judged.verdict.word() == "archived"), "{open:?}");
    session.end().await;
}

#[tokio::test]
async fn a_lost_answer_to_a_data_put_leaves_one_object() {
    puts_fail(&[(1, 1, When::After)]).await;
}

#[tokio::test]
async fn a_lost_answer_to_an_entry_put_leaves_one_entry() {
    puts_fail(&[(2, 1, When::After)]).await;
}

#[tokio::test]
async fn lost_answers_to_every_put_for_a_while_leave_one_object_and_one_entry_each() {
    puts_fail(&[(1, 4, When::After)]).await;
}

#[tokio::test]
async fn an_export_waits_in_the_spool_while_the_store_is_down_and_is_not_pulled_again() {
    puts_fail(&[(1, 6, When::Before)]).await;
    puts_fail(&[(2, 3, When::Before), (5, 2, When::After)]).await;
}

#[tokio::test]
async fn an_object_that_is_not_given_back_is_not_in_the_log_until_it_is() {
    let clock = clock();
    let world = World::at(Place::directory(), &clock, 1).await;
    let session = begin(&world.config(), &clock).await.unwrap();
    let store = with_faults(&session);
    // The first get is of the log's head, the second reads the data object back.
    store.fail(Call::Get, 2, 1, When::Before, FailureKind::Transient);
    let ran = reconcile(&session, &clock, 1, later_today()).await;
    assert_eq!(ran.tally.failed, 1);
    // The object, and its entry: it was found to be ours, and not put again.
    assert_eq!(store.calls(Call::Put), 2);
    world.archive().await.assert_complete(&world.windows);
    session.end().await;
}

#[tokio::test]
async fn a_daemon_whose_store_is_down_pulls_no_more_than_is_in_flight() {
    let clock = clock();
    let world = World::at(Place::directory(), &clock, 10).await;
    let session = begin(&world.config(), &clock).await.unwrap();
    let store = with_faults(&session);
    store.fail(Call::Put, 1, usize::MAX, When::Before, FailureKind::Transient);
    let soon = super::NOW.parse::<jiff::Timestamp>().unwrap() + jiff::SignedDuration::from_mins(30);
    let ran = reconcile(&session, &clock, 2, soon).await;
    assert_eq!(ran.tally.archived, 0);
    let pulled = world.sim.request_count(Endpoint::Export);
    assert!(pulled <= 4, "{pulled} exports pulled for a store that takes none");
    let _still_there = store.prove().await.unwrap();
    session.end().await;
}
