//! The day on which v2 is withdrawn, and what v3 takes otherwise than v2.

use std::time::Duration;

use connvault::domain::export::ExportApi;
use connvault::ports::clock::Clock;
use connvault_sim::{Endpoint, Fault, Rule, Simulator, Withdrawal};
use jiff::SignedDuration;

use crate::export_tasks::{everything_is_archived_and_nothing_left, exports};
use crate::support::clock::TestClock;
use crate::support::inside::{begin, reconcile};
use crate::support::place::Place;
use crate::support::vault::{Vault, text};
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

#[tokio::test(flavor = "multi_thread")]
async fn v2_is_withdrawn_in_the_middle_of_a_backfill_and_v3_takes_over_with_one_notice() {
    let mut world = World::now(Place::directory(), 8).await;
    world.settings.window = "6h".to_owned();
    world.settings.start += SignedDuration::from_hours(12);
    world.sim.withdraw_v2_after(11, Withdrawal::NotFound);
    let start = world.settings.start.to_string();
    let end = (world.settings.start + SignedDuration::from_hours(30 * 6)).to_string();
    let stretch = ["backfill", "logins", "--from", &start, "--to", &end];
    let output = world.connvault(&stretch).await;
    assert!(output.status.success(), "{}", said(&output));
    let archive = world.archive().await;
    assert_eq!(archive.archived().len(), 30);
    let by = |api: &str| archive.of_kind("archived").iter().filter(|e| e["export"]["api"] == api).count();
    assert_eq!((by("v2"), by("v3")), (11, 19));
    assert_eq!(world.sim.tasks().all(), []);
    let notices = |output: &std::process::Output| said(output).matches("withdrawn the v2 export").count();
    assert_eq!(notices(&output), 1, "{}", said(&output));
    let status = said(&world.connvault(&["status"]).await);
    assert!(status.contains("the provider withdrew the v2 export: v3 is used since"), "{status}");
    // For good: nobody asks again whether v2 is there.
    let asked = world.sim.request_count(Endpoint::Export);
    let redo = world.connvault(&[&stretch[..], &["--redo", "all"]].concat()).await;
    assert!(redo.status.success(), "{}", said(&redo));
    assert_eq!((world.sim.request_count(Endpoint::Export), notices(&redo)), (asked, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn however_the_gateway_says_that_v2_is_gone_it_is_understood() {
    use Withdrawal::{Gone, NoSuchApi, NotAllowed, Proxy404, ServiceNotFound};
    let ways = [NoSuchApi, NotAllowed, Gone, Proxy404, ServiceNotFound];
    for how in ways {
        let vault = Vault::in_directory().await;
        vault.sim.withdraw_v2(how);
        vault.once().await;
        everything_is_archived_and_nothing_left(&vault, &format!("{how:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_project_is_not_taken_for_a_withdrawal() {
    let vault = Vault::in_directory().await;
    vault.sim.withdraw_v2(Withdrawal::NotFound);
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let wrong = config.replace(vault.sim.project_id(), "ffffffffffffffffffffffffffffffff");
    std::fs::write(vault.path("config.toml"), wrong).unwrap();
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(1));
    let log = text(&output.stderr);
    assert!(log.contains("knows no project") && !log.contains("withdrawn the v2"), "{log}");
    assert_eq!(vault.sim.request_count(Endpoint::CreateTask), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_query_learns_of_the_withdrawal_by_an_export_that_works() {
    let vault = Vault::in_directory().await;
    vault.sim.faults().add(Rule::new(Fault::status(403)).on(Endpoint::Query));
    vault.sim.withdraw_v2(Withdrawal::Gone);
    let output = vault.once().await;
    everything_is_archived_and_nothing_left(&vault, "once").await;
    assert_eq!(text(&output.stderr).matches("withdrawn the v2 export").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_v2_that_is_not_found_by_the_service_itself_is_kept_where_it_is_chosen() {
    let vault = Vault::in_directory().await;
    vault.configure_with("api = \"v2\"\n", "");
    vault.sim.withdraw_v2(Withdrawal::ServiceNotFound);
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("api = \"auto\""), "{}", text(&output.stderr));
    assert_eq!(vault.sim.tasks().created(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_for_a_withdrawal_is_undone_by_choosing_v2_where_it_answers() {
    let vault = Vault::in_directory().await;
    vault.sim.faults().add(Rule::new(Fault::status(404)).on(Endpoint::Export).times(1));
    let by = async |vault: &Vault, api: ExportApi| {
        exports(&vault.audit().await).iter().filter(|export| export.api == api).count()
    };
    let day = |n: i64| (vault.start + SignedDuration::from_hours(24 * n)).to_string();
    let pull = async |from: i64, to: i64| {
        let output = vault.connvault(&["backfill", "logins", "--from", &day(from), "--to", &day(to)]).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    assert!(pull(0, 1).await.contains("withdrawn the v2 export"));
    pull(1, 2).await;
    assert_eq!(by(&vault, ExportApi::V3).await, 2);
    vault.configure_with("api = \"v2\"\n", "");
    assert!(pull(2, 3).await.contains("there after all"));
    vault.configure_with("", "");
    assert!(!pull(3, 4).await.contains("v2 export"));
    assert_eq!((by(&vault, ExportApi::V2).await, by(&vault, ExportApi::V3).await), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_knows_nothing_of_records_is_no_withdrawal() {
    let vault = Vault::in_directory().await;
    let nothing = Fault::Status { code: 404, error_code: "APIGW.0101".into(), retry_after: None };
    vault.sim.faults().always(nothing);
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(!text(&output.stderr).contains("withdrawn the v2"));
    assert!(text(&output.stderr).contains("check region and endpoint"));
    assert_eq!(vault.sim.request_count(Endpoint::CreateTask), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_v2_is_used_status_says_that_it_is_deprecated() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    let status = text(&vault.connvault(&["status"]).await.stdout);
    assert!(status.contains("deprecated"), "{status}");
    let json: serde_json::Value =
        serde_json::from_slice(&vault.connvault(&["status", "--json"]).await.stdout).unwrap();
    assert_eq!(json["sources"][0]["in_use"], "v2");
    assert_eq!(json["sources"][0]["api"], "auto");
}
