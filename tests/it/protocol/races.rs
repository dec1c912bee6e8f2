//! Two daemons over one store, each with a ledger of its own.

use connvault::app::observer::Ending;
use connvault_sim::{Fault, Rule};

use super::{clock, later_today};
use crate::support::clock::TestClock;
use crate::support::inside::{Ran, begin, reconcile, verdicts};
use crate::support::place::Place;
use crate::support::world::{Settings, World};

/// Both run at the same time until neither has anything to do.
async fn race(world: &World, clock: &TestClock) -> [Ran; 2] {
    let other = Settings { state: "other".to_owned(), ..world.settings.clone() };
    let one = begin(&world.config(), clock).await.unwrap();
    let two = begin(&world.config_of(&other), clock).await.unwrap();
    let ran =
        tokio::join!(reconcile(&one, clock, 4, later_today()), reconcile(&two, clock, 4, later_today()),);
    for session in [one, two] {
        let verdicts = verdicts(&session).await;
        let archived = verdicts.iter().filter(|judged| judged.verdict.word() == "archived").count();
        assert_eq!(archived, world.windows.len(), "{verdicts:?}");
        session.end().await;
    }
    ran.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_daemons_that_race_over_ten_windows_leave_one_object_and_one_entry_each() {
    for _ in 0..3 {
        let clock = clock();
        let world = World::at(Place::directory(), &clock, 10).await;
        let [one, two] = race(&world, &clock).await;
        world.archive().await.assert_complete(&world.windows);
        assert_eq!(one.tally.archived + two.tally.archived, 10);
        assert_eq!((one.tally.failed, two.tally.failed), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_daemons_that_open_a_stream_at_once_open_it_once() {
    for _ in 0..5 {
        let clock = clock();
        let world = World::at(Place::directory(), &clock, 1).await;
        let other = Settings { state: "other".to_owned(), ..world.settings.clone() };
        let (one, two) = (world.config(), world.config_of(&other));
        let (one, two) = tokio::join!(begin(&one, &clock), begin(&two, &clock));
        assert_eq!(world.archive().await.of_kind("stream").len(), 1);
        one.unwrap().end().await;
        two.unwrap().end().await;
    }
}

/// One window, and a source whose first answer comes slowly: the second daemon is done meanwhile.
async fn slow(clock: &TestClock) -> World {
    let world = World::at(Place::directory(), clock, 1).await;
    let slow = Fault::DelayFirstByte(std::time::Duration::from_millis(500));
    world.sim.faults().add(Rule::new(slow).times(1));
    world
}

fn count(ran: &[Ran; 2], what: impl Fn(&Ending) -> bool) -> usize {
    let endings = ran.iter().flat_map(|ran| &ran.endings);
    endings.filter(|(_, ending)| what(ending)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_slower_of_two_daemons_finds_its_window_done_and_leaves_nothing() {
    let clock = clock();
    let world = slow(&clock).await;
    let ran = race(&world, &clock).await;
    world.archive().await.assert_complete(&world.windows);
    assert_eq!(count(&ran, |ending| matches!(ending, Ending::Archived { .. })), 1);
    assert_eq!(count(&ran, |ending| *ending == Ending::AlreadyArchived), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slower_daemon_that_pulled_other_rows_leaves_no_object_that_nobody_names() {
    let clock = clock();
    let world = slow(&clock).await;
    world.sim.faults().next(1, Fault::OmitRecords { records: 1 });
    let ran = race(&world, &clock).await;
    assert!(world.sim.faults().is_spent());
    world.archive().await.assert_complete(&world.windows);
    assert_eq!(count(&ran, |ending| *ending == Ending::AlreadyArchived), 1);
}
