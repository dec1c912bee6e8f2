//! The day on which v2 is withdrawn, and what v3 takes otherwise than v2.

use std::time::Duration;

use connvault::ports::clock::Clock;
use connvault_sim::{Endpoint, Fault, Rule, Simulator, Withdrawal};
use jiff::SignedDuration;

use crate::support::clock::TestClock;
use crate::support::inside::{begin, reconcile};
use crate::support::place::Place;
use crate::support::world::{World, said};

#[tokio::test(flavor = "multi_thread")]
async fn a_v2_answer_that_was_on_its_way_undoes_no_withdrawal() {
    let mut world = World::now(Place::directory(), 6).await;
    world.settings.concurrency = 2;
    world.sim.withdraw_v2_after(1, Withdrawal::NotFound);
    // The only answer of v2 comes when v3 has long taken over.
    world
        .sim
        .faults()
        .add(Rule::new(Fault::DelayFirstByte(Duration::from_secs(3))).on(Endpoint::Export).times(1));
    let output = world.connvault(&["once"]).await;
    assert!(output.status.success(), "{}", said(&output));
    let archive = world.archive().await;
    let by = |api: &str| archive.of_kind("archived").iter().filter(|e| e["export"]["api"] == api).count();
    assert_eq!((by("v2"), by("v3")), (1, 5));
    let log = said(&output);
    assert_eq!(
        (log.matches("withdrawn the v2 export").count(), log.matches("there after all").count()),
        (1, 0),
        "{log}"
    );
    // The one that answered, and the one that learnt that no other will.
    assert_eq!(world.sim.request_count(Endpoint::Export), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_not_over_by_the_providers_clock_is_asked_for_when_it_is() {
    let behind = SignedDuration::from_mins(3);
    for api in ["v2", "v3"] {
        let clock = TestClock::at("2026-11-23T00:02:30Z");
        let mut world = World::apart(Place::directory(), &clock, 1, Simulator::builder(), behind).await;
        world.settings.source = format!("api = \"{api}\"\n");
        let session = begin(&world.config(), &clock).await.unwrap();
        let ran = reconcile(&session, &clock, 1, clock.now() + SignedDuration::from_mins(5)).await;
        session.end().await;
        assert_eq!((ran.tally.archived, ran.tally.failed), (1, 1), "{api}: {:?}", ran.endings);
        assert!(world.archive().await.of_kind("parked").is_empty());
    }
}
