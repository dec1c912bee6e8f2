//! The identity service asks to be left alone.

use std::path::PathBuf;

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
