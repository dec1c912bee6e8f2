//! Every way to be let in: keys that change under the daemon, keys of the machine's agency, tokens; and a project that is
//! found by its region.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use connvault::adapters::s3_store::{S3Store, StoreKeys};
use connvault::adapters::system_clock::SystemClock;
use connvault::domain::failure::{FailureKind, Scope};
use connvault::ports::clock::Clock;
use connvault::ports::object_store::ObjectStore;
use connvault_sim::{Builder, Endpoint, Fault, Key, Metadata, Rule, Simulator};
use jiff::SignedDuration;
use secrecy::ExposeSecret;

use crate::support::buckets::InProcess;
use crate::support::s3s::Dialect;
use crate::support::vault::{ACCESS_KEY, Place, Vault, WINDOWS, text};

/// A vault whose source has these credentials, and whose project is left out where `project` says so.
async fn with(adjust: impl FnOnce(Builder) -> Builder, credentials: &str, project: bool) -> Vault {
    let vault = Vault::with(|dir| Place::Directory(dir.join("archive")), adjust).await;
    let (dir, sim) = (vault.dir.path().display().to_string(), vault.sim.endpoint());
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let (before, rest) = config.split_once("[sources.hq.credentials]\n").unwrap();
    let (_, after) = rest.split_once("[signing]").unwrap();
    let credentials = credentials.replace("{dir}", &dir).replace("{sim}", &sim);
    let mut text = format!(
        "{before}iam_endpoint = \"{sim}\"\n[sources.hq.credentials]\n{credentials}\n[signing]{after}"
    );
    if !project {
        text = text.replace(&format!("project_id = \"{}\"\n", vault.sim.project_id()), "");
    }
    std::fs::write(vault.path("config.toml"), text).unwrap();
    vault.secret("password", "correct horse\n");
    vault
}

const AGENCY: &str = "kind = \"ecs-agency\"\nmetadata_endpoint = \"{sim}\"\n";
const TOKEN: &str =
    "kind = \"token\"\ndomain = \"acme\"\nuser = \"vault\"\npassword_file = \"{dir}/password\"\n";
const KEYS: &str =
    "kind = \"aksk\"\naccess_key_file = \"{dir}/source-ak\"\nsecret_key_file = \"{dir}/source-sk\"\n";

fn user(sim: Builder) -> Builder {
    sim.iam_user("acme", "vault", "correct horse")
}

async fn archived(vault: &Vault) -> String {
    let log = text(&vault.once().await.stderr);
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
    for secret in ["correct horse", "sim-agency-secret", "sim-agency-token", "MIIsim"] {
        assert!(!log.contains(secret), "{log}");
    }
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_agency_come_from_either_generation_of_the_metadata_service_and_once() {
    for generation in [Metadata::WithoutTokens, Metadata::WithTokens] {
        let vault = with(|sim| sim.metadata(generation), AGENCY, true).await;
        archived(&vault).await;
        assert_eq!(vault.sim.security_keys_issued(), 1, "{generation:?}: one flight for all windows");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_agency_are_fetched_anew_before_they_run_out() {
    let short = |sim: Builder| {
        sim.metadata(Metadata::WithTokens).security_key_validity(Duration::from_secs(2)).task_polls(2)
    };
    let vault = with(short, AGENCY, true).await;
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let slow = config.replace("requests_per_second = 1000", "requests_per_second = 5");
    std::fs::write(vault.path("config.toml"), slow).unwrap();
    archived(&vault).await;
    assert!(vault.sim.security_keys_issued() > 1);
    let refused = vault.sim.requests().iter().filter(|request| request.status == Some(401)).count();
    assert_eq!(refused, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_metadata_service_it_is_said_what_lacks() {
    let vault = with(|sim| sim, AGENCY, true).await;
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("give the ECS an agency"), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_once_and_sent_instead_of_a_signature() {
    let vault = with(user, TOKEN, true).await;
    archived(&vault).await;
    assert_eq!(vault.sim.tokens_issued(), 1);
    assert!(vault.sim.requests().iter().all(|request| request.access_key.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_is_replaced_once_for_all_windows() {
    let vault = with(user, TOKEN, true).await;
    let slow = Fault::DelayFirstByte(Duration::from_secs(1));
    vault.sim.faults().add(Rule::new(slow).on(Endpoint::Query).times(WINDOWS as u64));
    let mut daemon = vault.daemon();
    vault.until(|| vault.sim.request_count(Endpoint::Query) >= 2).await;
    vault.sim.revoke_tokens();
    vault.until_archived(&mut daemon).await;
    drop(daemon);
    assert!(vault.sim.requests().iter().any(|request| request.status == Some(401)));
    assert_eq!(vault.sim.tokens_issued(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_run_out_are_renewed_in_good_time() {
    let vault = with(|sim| user(sim).token_validity(Duration::from_secs(2)), TOKEN, true).await;
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let slow = config.replace("requests_per_second = 1000", "requests_per_second = 5");
    std::fs::write(vault.path("config.toml"), slow).unwrap();
    archived(&vault).await;
    assert!(vault.sim.tokens_issued() > 1);
    assert!(vault.sim.requests().iter().all(|request| request.status != Some(401)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_said_and_never_shown() {
    let vault = with(user, TOKEN, true).await;
    vault.secret("password", "battery staple");
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(1));
    let log = text(&output.stderr);
    assert!(log.contains("The username or password is wrong") && !log.contains("battery"), "{log}");
    assert_eq!(vault.sim.request_count(Endpoint::IamTokens), 1, "whoever tries too often is locked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_is_left_out_is_found_by_its_region_once_and_for_all() {
    let agency = |sim: Builder| sim.metadata(Metadata::WithTokens);
    let ways = [
        with(|sim| sim, KEYS, false).await,
        with(user, TOKEN, false).await,
        with(agency, AGENCY, false).await,
    ];
    for vault in ways {
        let log = archived(&vault).await;
        assert!(log.contains("project found by its region"), "{log}");
        assert_eq!(vault.sim.request_count(Endpoint::IamProjects), 1);
        // The stream says which project it is of: nobody is asked again.
        vault.once().await;
        assert_eq!(vault.sim.request_count(Endpoint::IamProjects), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_look_know_the_project_that_the_daemon_has_found() {
    let vault = with(|sim| sim, KEYS, false).await;
    vault.sim.faults().add(Rule::new(Fault::status(400)).on(Endpoint::Export).times(1));
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    // A parked window of another configuration would be due again.
    for command in ["status", "gaps"] {
        let shown = text(&vault.connvault(&[command]).await.stdout);
        assert!(shown.contains("parked"), "{command}: {shown}");
    }
    let plan = text(&vault.connvault(&["plan"]).await.stdout);
    assert!(plan.contains("nothing to do"), "{plan}");
    // Nor does a hold end because somebody looks.
    vault.sim.faults().always(Fault::status(401));
    let retried = text(&vault.connvault(&["retry"]).await.stdout);
    assert!(retried.starts_with("1 window is due again"), "{retried}");
    vault.connvault(&["once"]).await;
    let status = text(&vault.connvault(&["status"]).await.stdout);
    assert!(status.contains("held up:"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_learns_the_project_from_the_log() {
    let vault = with(|sim| sim, KEYS, false).await;
    archived(&vault).await;
    std::fs::remove_dir_all(vault.state_dir()).unwrap();
    let output = vault.connvault(&["rebuild"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    vault.once().await;
    assert_eq!(vault.sim.request_count(Endpoint::IamProjects), 1);
}

/// A second source, whose project is not known yet, in front of the same service.
fn with_a_branch(vault: &Vault) {
    with_an_idle_branch(vault);
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let (_, stream) = config.split_once("[streams.logins]\n").unwrap();
    let (stream, _) = stream.split_once("[sources.branch]").unwrap();
    let stream = stream.replace("source = \"hq\"", "source = \"branch\"");
    std::fs::write(vault.path("config.toml"), format!("{config}[streams.branch]\n{stream}")).unwrap();
}

/// The same without a stream.
fn with_an_idle_branch(vault: &Vault) {
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let (_, source) = config.split_once("[sources.hq]\n").unwrap();
    let (source, _) = source.split_once("[signing]").unwrap();
    let source = source.replace("sources.hq", "sources.branch");
    let source = source.replace(&format!("project_id = \"{}\"\n", vault.sim.project_id()), "");
    std::fs::write(vault.path("config.toml"), format!("{config}\n[sources.branch]\n{source}\n")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_whose_project_cannot_be_found_is_held_up_and_no_other() {
    let vault = with(|sim| sim, KEYS, true).await;
    with_a_branch(&vault);
    vault.sim.faults().add(Rule::new(Fault::status(503)).on(Endpoint::IamProjects));
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(75), "{}", text(&output.stderr));
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
    let log = text(&output.stderr);
    assert!(log.contains("held up") && log.contains("sources.branch.project_id"), "{log}");
    let status = text(&vault.connvault(&["status"]).await.stdout);
    assert!(status.contains("sources.branch.project_id"), "{status}");
    let gaps = vault.connvault(&["gaps"]).await;
    assert_eq!(gaps.status.code(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_goes_on_with_a_source_whose_project_is_found_later() {
    let vault = with(|sim| sim, KEYS, true).await;
    with_a_branch(&vault);
    vault.sim.faults().add(Rule::new(Fault::status(503)).on(Endpoint::IamProjects).times(2));
    let mut daemon = vault.daemon();
    vault.until_archived(&mut daemon).await;
    vault.until(|| vault.sim.request_count(Endpoint::Export) >= 2 * WINDOWS as u64).await;
    assert_eq!(vault.sim.request_count(Endpoint::IamProjects), 3);
    // Whoever was at work meanwhile was not disturbed.
    assert_eq!(vault.sim.request_count(Endpoint::Export), 2 * WINDOWS as u64);
    let status = text(&vault.connvault(&["status"]).await.stdout);
    assert!(!status.contains("held up:"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_found_and_contradicts_its_log_is_held_up_and_no_other() {
    let vault = with(|sim| sim, KEYS, true).await;
    with_a_branch(&vault);
    vault.once().await;
    // Nothing but the log knows any more what the branch was, and it is another one now.
    std::fs::remove_dir_all(vault.state_dir()).unwrap();
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    std::fs::write(vault.path("config.toml"), config + "\n[streams.branch.filters]\nuser_name = \"alice\"\n")
        .unwrap();
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(1));
    let log = text(&output.stderr);
    assert!(log.contains("project found by its region") && log.contains("user_name"), "{log}");
    let status = text(&vault.connvault(&["status"]).await.stdout);
    assert!(status.contains("stream branch"), "{status}");
    let gaps = text(&vault.connvault(&["gaps"]).await.stdout);
    assert!(!gaps.contains("logins"), "{gaps}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_shown_once_though_projects_are_looked_up_with_it_by_several_and_again() {
    let vault = with(user, TOKEN, false).await;
    with_a_branch(&vault);
    vault.secret("password", "battery staple");
    let mut daemon = vault.daemon();
    let refused = "The username or password is wrong";
    vault.until_status_shows(refused, 2).await;
    vault.connvault(&["retry"]).await;
    daemon.wake();
    vault.until_status_shows(refused, 2).await;
    assert_eq!(vault.sim.request_count(Endpoint::IamTokens), 1, "whoever tries too often is locked");
    assert!(daemon.try_wait().unwrap().is_none(), "the service manager would start it again, and again");
    vault.secret("password", "correct horse");
    vault.connvault(&["retry"]).await;
    daemon.wake();
    vault.until_archived(&mut daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_is_refused_keeps_no_other_source_of_its_user_from_its_own() {
    let vault = with(user, TOKEN, true).await;
    with_a_branch(&vault);
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let mistyped = config.replace(vault.sim.project_id(), "00000000000000000000000000000009");
    std::fs::write(vault.path("config.toml"), mistyped).unwrap();
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(vault.sim.request_count(Endpoint::Export), WINDOWS as u64, "{}", text(&output.stderr));
    let status = text(&vault.connvault(&["status"]).await.stdout);
    assert!(status.contains("the login for project 00000000000000000000000000000009"), "{status}");
    assert_eq!(status.matches("held up:").count(), 1, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_that_one_endpoint_refused_is_not_shown_to_another() {
    let vault = with(user, TOKEN, false).await;
    with_a_branch(&vault);
    let elsewhere = user(Simulator::builder()).start().await.unwrap();
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let (hq, branch) = config.split_once("[sources.branch]").unwrap();
    let iam_endpoint = |sim: &Simulator| format!("iam_endpoint = \"{}\"", sim.endpoint());
    let branch = branch.replace(&iam_endpoint(&vault.sim), &iam_endpoint(&elsewhere));
    std::fs::write(vault.path("config.toml"), format!("{hq}[sources.branch]{branch}")).unwrap();
    vault.secret("password", "battery staple");
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let status = text(&vault.connvault(&["status"]).await.stdout);
    assert_eq!(status.matches("The username or password is wrong").count(), 2, "{status}");
    let shown = [&vault.sim, &elsewhere].map(|sim| sim.request_count(Endpoint::IamTokens));
    assert_eq!(shown.iter().sum::<u64>(), 1, "a user is locked everywhere: {shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_service_that_refuses_is_asked_for_its_time_before_the_keys_are_blamed() {
    let ahead = |sim: Builder| sim.clock(|| SystemClock.now() + SignedDuration::from_hours(1));
    let vault = with(ahead, KEYS, false).await;
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(1));
    let log = text(&output.stderr);
    assert!(log.contains("the clock of this machine differs from the provider's by"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_looks_up_no_project_that_no_stream_needs() {
    let vault = with(|sim| sim, KEYS, true).await;
    with_an_idle_branch(&vault);
    archived(&vault).await;
    vault.sim.faults().add(Rule::new(Fault::status(503)).on(Endpoint::IamProjects));
    let output = vault.connvault(&["rebuild", "--accept-unverified"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(vault.sim.request_count(Endpoint::IamProjects), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_without_a_project_is_told_before_anything_is_written() {
    let vault = with(|sim| sim.region("elsewhere"), KEYS, false).await;
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(1));
    let log = text(&output.stderr);
    assert!(
        log.contains("sources.hq.project_id: ") && log.contains("knows no project of region sim"),
        "{log}"
    );
    assert!(!vault.path("archive/logins").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_replaced_and_revoked_during_a_run_costs_no_window_and_no_restart() {
    let vault = Vault::in_directory().await;
    vault.configure_with("requests_per_second = 10\n", "");
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    std::fs::write(vault.path("config.toml"), config.replacen("requests_per_second = 1000\n", "", 1))
        .unwrap();
    let mut daemon = vault.daemon();
    vault.until(|| vault.sim.request_count(Endpoint::Export) >= 2).await;
    // As an operator does it: the new key first, then the files, then the end of the old key.
    vault.sim.keys().add(Key::permanent("NEWACCESSKEY", "new-secret"));
    vault.secret("source-ak", "NEWACCESSKEY");
    vault.secret("source-sk", "new-secret");
    assert!(vault.sim.keys().revoke(ACCESS_KEY));
    vault.until_archived(&mut daemon).await;
    drop(daemon);
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
    let requests = vault.sim.requests();
    assert!(requests.iter().any(|request| request.access_key.as_deref() == Some("NEWACCESSKEY")));
    let status = text(&vault.connvault(&["status"]).await.stdout);
    assert!(!status.contains("parked until") && !status.contains("held up"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_a_store_are_those_that_stand_in_its_files_now() {
    let server = InProcess::start(Dialect::Aws).await;
    let right = server.settings();
    let said = Arc::new(Mutex::new(Err("secret_key_file: no such file".to_owned())));
    let read = Arc::clone(&said);
    let keys = move || read.lock().unwrap().clone();
    let store = S3Store::with_keys(right.clone(), Arc::new(keys)).unwrap();
    let unread = store.prove().await.unwrap_err().0;
    assert_eq!((unread.kind, unread.scope), (FailureKind::Auth, Scope::Store));
    assert!(unread.message.contains("secret_key_file: no such file"), "{}", unread.message);
    let of = |secret: &str| StoreKeys {
        access_key: right.access_key.clone(),
        secret_key: secret.into(),
        security_token: None,
    };
    *said.lock().unwrap() = Ok(of("an old secret"));
    assert_eq!(store.prove().await.unwrap_err().0.kind, FailureKind::Auth);
    *said.lock().unwrap() = Ok(of(right.secret_key.expose_secret()));
    store.prove().await.unwrap();
}
