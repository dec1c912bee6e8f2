//! The identity service asks to be left alone, and sources whose projects it knows.

use std::path::PathBuf;
use std::sync::Arc;

use connvault::app::projects::{Looked, find};
use connvault::app::session::Session;
use connvault::domain::failure::FailureKind;
use connvault::domain::name::SourceName;
use connvault::domain::snapshot::{FailureNote, Fingerprint, Hold, Resource};
use connvault::ports::clock::Clock;
use connvault_sim::{Builder, Endpoint, Fault, RetryAfter, Rule, Simulator};
use jiff::SignedDuration;

use super::{clock, later_today};
use crate::support::clock::TestClock;
use crate::support::inside::{begin, reconcile};
use crate::support::place::Place;
use crate::support::world::World;

async fn world(clock: &TestClock, sim: Builder) -> World {
    let mut world = World::built(Place::directory(), clock, 2, sim).await;
    world.settings.source = format!("iam_endpoint = \"{}\"\n", world.sim.endpoint());
    world
}

/// The world's configuration, changed by `change`.
fn configured(world: &World, change: impl FnOnce(String) -> String) -> PathBuf {
    let config = world.config();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, change(text)).unwrap();
    config
}

#[tokio::test]
async fn a_pause_that_the_identity_service_asks_for_is_kept_by_every_source_that_asks_it() {
    for (code, retry_after) in [(503, RetryAfter::Seconds(120)), (429, RetryAfter::HttpDate(120))] {
        let clock = clock();
        let world = world(&clock, Simulator::builder().iam_user("acme", "vault", "correct horse")).await;
        let password = world.state_dir().with_file_name("source-secret");
        std::fs::write(&password, "correct horse").unwrap();
        let config = configured(&world, |text| {
            let (before, rest) = text.split_once("kind = \"aksk\"").unwrap();
            let (_, rest) = rest.split_once("[stores.archive]").unwrap();
            let token = format!(
                "kind = \"token\"\ndomain = \"acme\"\nuser = \"vault\"\npassword_file = \"{}\"\n",
                password.display()
            );
            let (daemon, hq) = before.split_once("[sources.hq]").unwrap();
            let (hq, branch) = (format!("[sources.hq]{hq}{token}"), format!("[sources.branch]{hq}{token}"));
            let branch = branch.replace("sources.hq", "sources.branch");
            let (_, stream) = rest.split_once("[streams.logins]").unwrap();
            let stream = stream.replace("\"hq\"", "\"branch\"");
            format!("{daemon}{hq}{branch}[stores.archive]{rest}[streams.branch]{stream}")
        });
        let fault = Fault::Status { code, error_code: "IAM.1".to_owned(), retry_after: Some(retry_after) };
        world.sim.faults().add(Rule::new(fault).on(Endpoint::IamTokens).times(1));
        let session = begin(&config, &clock).await.unwrap();
        assert_eq!(reconcile(&session, &clock, 4, later_today()).await.tally.archived, 4);
        session.end().await;
        let requests = world.sim.requests();
        let asked = requests.iter().filter(|request| request.endpoint == Endpoint::IamTokens);
        let asked: Vec<_> = asked.map(|request| request.time).collect();
        // A date has whole seconds only.
        assert!(asked[1].duration_since(asked[0]) >= SignedDuration::from_secs(119), "{asked:?}");
        assert_eq!(asked.len(), 3, "once more, and for the other source: {asked:?}");
    }
}

/// A session whose only source is not known yet.
async fn unknown(clock: &TestClock) -> (World, Session, SourceName) {
    let world = world(clock, Simulator::builder().region("ap-southeast-3")).await;
    let id = format!("project_id = \"{}\"\n", world.sim.project_id());
    let session = begin(&configured(&world, |text| text.replace(&id, "")), clock).await.unwrap();
    (world, session, "hq".parse().unwrap())
}

async fn hold_up(session: &Session, source: &SourceName, fingerprint: &Fingerprint) -> Resource {
    let now = session.services.clock.now();
    let hold = Hold {
        until: now + SignedDuration::from_mins(10),
        since: now,
        failures: 1,
        failure: FailureNote { kind: FailureKind::Throttled, message: "a pause".into(), at: now },
        fingerprint: fingerprint.clone(),
    };
    let resource = Resource::Source(source.clone());
    session.services.ledger.hold(&resource, &hold).await.unwrap();
    resource
}

#[tokio::test]
async fn a_project_is_looked_up_once_and_no_pause_of_the_source_itself_ends_by_it() {
    let clock = clock();
    let (world, session, hq) = unknown(&clock).await;
    let services = &session.services;
    let held = hold_up(&session, &hq, &Fingerprint("with its project".to_owned())).await;
    assert!(matches!(find(services, &hq).await.unwrap(), Looked::Found(lifted) if lifted.is_empty()));
    assert!(services.ledger.snapshot().await.unwrap().holds.contains_key(&held));
    let known = services.roster.source(&hq).unwrap();
    assert!(matches!(find(services, &hq).await.unwrap(), Looked::NotAsked));
    assert_eq!(world.sim.request_count(Endpoint::IamProjects), 1);
    services.roster.take_up(&hq, &world.sim.project_id().parse().unwrap()).unwrap();
    assert!(Arc::ptr_eq(&known, &services.roster.source(&hq).unwrap()), "its pace and its pauses go on");
    session.end().await;
}

#[tokio::test]
async fn a_source_that_is_held_up_by_now_is_not_looked_up_and_what_held_it_up_ends_when_it_is_found() {
    let clock = clock();
    let (world, session, hq) = unknown(&clock).await;
    let services = &session.services;
    let held = hold_up(&session, &hq, &services.roster.rules()[0].fingerprints.source).await;
    assert!(matches!(find(services, &hq).await.unwrap(), Looked::NotAsked));
    assert_eq!(world.sim.request_count(Endpoint::IamProjects), 0);
    clock.reach(clock.now() + SignedDuration::from_mins(10));
    assert!(matches!(find(services, &hq).await.unwrap(), Looked::Found(lifted) if lifted == [held]));
    assert!(services.ledger.snapshot().await.unwrap().holds.is_empty());
    session.end().await;
}
