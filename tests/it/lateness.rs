//! Lateness: what was due long before a stream was opened is late from its opening on.

use connvault::app::survey::summarize;
use connvault::domain::snapshot::Snapshot;
use connvault::ports::clock::Clock;
use connvault_sim::{Endpoint, Fault, Rule};
use jiff::SignedDuration;

use crate::support::clock::TestClock;
use crate::support::inside::{begin, reconcile};
use crate::support::place::Place;
use crate::support::world::World;

const DAYS: u32 = 20;
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// How many windows are late after a run of its own.
async fn late(world: &World, clock: &TestClock) -> u64 {
    let session = begin(&world.config(), clock).await.unwrap();
    reconcile(&session, clock, 2, clock.now()).await;
    let snapshot = session.services.ledger.snapshot().await.unwrap();
    let summary = summarize(&session.services.roster.rules(), &snapshot, clock.now()).remove(0);
    session.end().await;
    assert!(summary.waiting > 10, "{summary:?}");
    summary.late
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_backlog_is_late_from_the_day_the_stream_was_opened() {
    let clock = TestClock::at("2026-11-23T02:00:05Z");
    let world = World::at(Place::directory(), &clock, DAYS).await;
    let rules = begin(&world.config(), &clock).await.unwrap().services.roster.rules();
    world.lose_state();
    assert_eq!(summarize(&rules, &Snapshot::default(), clock.now())[0].late, 0, "it was not opened yet");
    world.sim.faults().add(Rule::new(Fault::status(500)).on(Endpoint::Export));
    assert_eq!(late(&world, &clock).await, 0, "it was opened just now");
    // Some of it is archived: what is left is late no later for that.
    clock.reach(clock.now() + HOUR * 11);
    world.sim.faults().clear();
    world.sim.faults().add(Rule::new(Fault::status(500)).on(Endpoint::Export).skip(3));
    assert_eq!(late(&world, &clock).await, 0);
    clock.reach(clock.now() + HOUR * 2);
    let all = late(&world, &clock).await;
    assert_eq!(all, u64::from(DAYS) - 3, "the deadline is 12 hours");
    // A ledger that is made from the log says the same.
    world.lose_state();
    assert_eq!(late(&world, &clock).await, all);
    let rebuilt = world.connvault(&["rebuild"]).await;
    assert!(rebuilt.status.success());
    assert_eq!(late(&world, &clock).await, all);
    // A window that ends later is late by its own time.
    clock.reach("2026-11-24T02:00:05Z".parse().unwrap());
    assert_eq!(late(&world, &clock).await, all);
}
