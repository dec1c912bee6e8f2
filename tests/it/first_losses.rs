//! Losses from the beginning: windows that the provider no longer had when their stream was opened are said by `check` and by
//! the first start, and recorded only where the configuration accepts that.

use connvault_sim::{Endpoint, Simulator};
use jiff::SignedDuration;
use serde_json::Value;

use crate::check::{checked, failures, row};
use crate::support::archive::Archive;
use crate::support::clock::TestClock;
use crate::support::inside::{Ran, begin, reconcile};
use crate::support::place::Place;
use crate::support::vault::{ACCEPTED, Vault, WINDOWS, days_ago, text};
use crate::support::world::World;
use connvault::domain::log_entry::EntryBody;
use connvault::ports::clock::Clock;

const SHORT: &str = "stall_timeout = \"5s\"\nhorizon = \"3d\"\n";
/// Windows of a vault that are older than what the source promises to keep …
const EXPIRED: usize = 3;
/// … and those of them of which it has nothing any more: the newest still has its last hours.
const LOST: usize = 2;

/// A vault whose first windows are lost before it is opened, with `accepted` in the stream's section.
async fn with_a_start_that_is_too_early(accepted: &str) -> Vault {
    with_source(SHORT, accepted).await
}

/// As [`with_a_start_that_is_too_early`], with these lines in the source's section.
async fn with_source(source: &str, accepted: &str) -> Vault {
    let keeps = SignedDuration::from_hours(3 * 24).unsigned_abs();
    let vault = Vault::with(
        |dir| crate::support::vault::Place::Directory(dir.join("archive")),
        |sim| sim.horizon(keeps),
    )
    .await;
    vault.configure_with(source, "");
    accept(&vault, accepted);
    vault
}

fn accept(vault: &Vault, accepted: &str) {
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let without: String = config
        .lines()
        .filter(|line| !line.starts_with("accept_lost_before"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(vault.path("config.toml"), without + accepted).unwrap();
    assert!(config.contains(ACCEPTED) || !accepted.is_empty());
}

async fn gaps(vault: &Vault) -> Vec<Value> {
    let output = vault.connvault(&["gaps", "--json"]).await;
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_before_the_first_start_is_said_by_check_and_by_the_start_and_is_not_recorded() {
    let vault = with_a_start_that_is_too_early("").await;
    let (output, checks) = checked(&vault).await;
    assert_eq!((output.status.code(), failures(&checks)), (Some(1), vec!["start"]), "{checks:#?}");
    let day = days_ago(2).strftime("%Y-%m-%d").to_string();
    let said = row(&checks, "start").to_string();
    assert!(said.contains(&format!("{EXPIRED} windows up to {day} have expired")), "{said}");
    assert!(!said.contains("are lost"), "nobody has asked for them yet: {said}");
    assert!(said.contains(&format!("accept_lost_before = \\\"{day}\\\"")), "{said}");

    let mut asked = Vec::new();
    let runs = [
        ("first", "expired before the stream was opened", EXPIRED),
        ("second", "lost before the stream was opened, and not recorded", LOST),
    ];
    for (run, event, said) in runs {
        let output = vault.connvault(&["once"]).await;
        let log = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{run}: {log}");
        let at_the_start =
            log.lines().find(|line| line.contains(event)).unwrap_or_else(|| panic!("{run}: {log}"));
        assert!(at_the_start.contains(&format!("windows={said}")), "{run}: {log}");
        assert!(!at_the_start.contains("move streams."), "it is opened, and start moves back only: {log}");
        let audit = vault.audit().await;
        assert_eq!((audit.windows.len(), audit.lost.len()), (WINDOWS - LOST, 0), "all that can be had");
        assert!(gaps(&vault).await.iter().all(|gap| gap["verdict"] == "lost" && gap["unaccepted"] == true));
        assert_eq!(gaps(&vault).await.len(), LOST);
        asked.push(vault.sim.request_count(Endpoint::Export));
    }
    // Each was asked for all the same, as a provider may keep records for longer than it says, and is not again.
    assert!(asked[0] >= WINDOWS as u64 && asked[0] == asked[1], "{asked:?}");
    let shown = text(&vault.connvault(&["gaps"]).await.stdout);
    assert!(shown.contains("accept_lost_before in [streams.logins]"), "{shown}");

    accept(&vault, &format!("accept_lost_before = \"{day}\"\n"));
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let audit = vault.audit().await;
    assert_eq!((audit.windows.len(), audit.lost.len()), (WINDOWS - LOST, LOST));
    // What was said of them before stands in no entry: keys are today's, and entries are for good.
    for entry in &audit.entries {
        let EntryBody::Lost(lost) = &entry.entry().body else { continue };
        let last = lost.last_attempt.as_ref().map(|last| last.outcome.to_string()).unwrap_or_default();
        assert!(last.contains("expired at"), "{last}");
        assert!(!format!("{last} {}", lost.reason).contains("accept_lost_before"), "{last}; {}", lost.reason);
    }
    let (_, checks) = checked(&vault).await;
    assert_eq!(failures(&checks), [""; 0], "{checks:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_that_waits_for_acceptance_is_not_planned_and_costs_no_attempt_where_nobody_can_be_asked() {
    for source in ["past_horizon = \"lose\"\n", "api = \"v3\"\n"] {
        let vault = with_source(&format!("{SHORT}{source}"), "").await;
        let output = vault.connvault(&["once", "--json"]).await;
        let log = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(!log.contains("window not archived"), "{source}: {log}");
        let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&outcome["failed_tries"], &outcome["archived"]),
            (&0.into(), &(WINDOWS - EXPIRED).into())
        );
        for look in ["plan", "status", "gaps"] {
            let shown = text(&vault.connvault(&[look]).await.stdout);
            assert!(!shown.contains("attest lost"), "{source} {look}: {shown}");
            assert!(
                shown.contains("wait for accept_lost_before")
                    || shown.contains("waits for accept_lost_before"),
                "{source} {look}: {shown}"
            );
        }
        let plan: Value = serde_json::from_slice(&vault.connvault(&["plan", "--json"]).await.stdout).unwrap();
        assert_eq!(plan["actions"], serde_json::json!([]), "{source}: {plan}");
        assert_eq!(plan["first_losses"][0]["windows"], EXPIRED, "{source}: {plan}");
        let day = days_ago(2).strftime("%Y-%m-%d").to_string();
        accept(&vault, &format!("accept_lost_before = \"{day}\"\n"));
        let output = vault.connvault(&["once"]).await;
        assert_eq!(output.status.code(), Some(0), "{source}: {}", text(&output.stderr));
        let audit = vault.audit().await;
        assert_eq!((audit.windows.len(), audit.lost.len()), (WINDOWS - EXPIRED, EXPIRED), "{source}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_moves_back_is_told_with_what_the_log_says_what_the_config_says_and_what_to_do() {
    let vault = with_source(&format!("{SHORT}past_horizon = \"lose\"\n"), "").await;
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let (old, new) =
        (days_ago(1).strftime("%Y-%m-%d").to_string(), vault.start.strftime("%Y-%m-%d").to_string());
    let opened = config.replace(&format!("start = \"{}\"", vault.start), &format!("start = \"{old}\""));
    assert_ne!(opened, config);
    std::fs::write(vault.path("config.toml"), opened).unwrap();
    assert_eq!(vault.connvault(&["once"]).await.status.code(), Some(0));
    std::fs::write(vault.path("config.toml"), config).unwrap();
    let (output, checks) = checked(&vault).await;
    assert_eq!((output.status.code(), failures(&checks)), (Some(1), vec!["start"]), "{checks:#?}");
    let definition = row(&checks, "definition");
    let said = definition["detail"].as_str().unwrap();
    assert!(said.contains(&format!("the log says start = \"{old}\"")), "{said}");
    assert!(said.contains(&format!("the config says start = \"{new}\"")), "{said}");
    assert!(definition["fix"].as_str().unwrap().contains("never forward again"), "{definition}");
    let fix = row(&checks, "start")["fix"].as_str().unwrap();
    let kept = days_ago(2).strftime("%Y-%m-%d").to_string();
    assert!(fix.contains(&format!("start = \"{kept}\"")) && fix.contains("accept_lost_before"), "{fix}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_after_the_stream_was_opened_needs_no_acceptance() {
    let month = SignedDuration::from_hours(30 * 24);
    let clock = TestClock::at("2026-11-23T02:00:05Z");
    let sim = Simulator::builder().horizon(month.unsigned_abs());
    let mut world = World::built(Place::directory(), &clock, 3, sim).await;
    world.settings.accepts_losses = false;
    let once = async |world: &World| -> Ran {
        let session = begin(&world.config(), &clock).await.unwrap();
        let ran = reconcile(&session, &clock, 1, clock.now()).await;
        session.end().await;
        ran
    };
    assert_eq!(once(&world).await.tally.archived, 3);
    clock.set(clock.now() + SignedDuration::from_hours(35 * 24));
    let ran = once(&world).await;
    // The daemon was down for 35 days: that is a loss to be recorded, and not a mistake in the configuration.
    assert!(ran.tally.lost > 0 && ran.tally.failed == 0, "{:?}", ran.tally);
    // A new machine learns from the log when the stream was opened.
    let recorded = Archive::of(&world.place.objects().await, "logins").of_kind("lost").len();
    world.lose_state();
    clock.set(clock.now() + SignedDuration::from_hours(24));
    let ran = once(&world).await;
    assert!(ran.tally.failed == 0, "{:?}", ran.endings);
    assert!(Archive::of(&world.place.objects().await, "logins").of_kind("lost").len() >= recorded);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_refuses_a_start_in_the_future_and_a_store_that_does_not_have_the_log() {
    let vault = Vault::in_directory().await;
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let future = days_ago(-3);
    let changed = config.replace(&vault.start.to_string(), &future.to_string());
    std::fs::write(vault.path("config.toml"), changed).unwrap();
    let (output, checks) = checked(&vault).await;
    assert_eq!((output.status.code(), failures(&checks)), (Some(1), vec!["start"]));
    let day = future.strftime("%Y-%m-%d").to_string();
    assert!(row(&checks, "start").to_string().contains(&format!("{day} is still to come")), "{checks:#?}");

    std::fs::write(vault.path("config.toml"), &config).unwrap();
    vault.once().await;
    assert_eq!(failures(&checked(&vault).await.1), [""; 0]);
    let elsewhere = config.replace("/archive\"", "/elsewhere\"");
    assert_ne!(elsewhere, config);
    std::fs::write(vault.path("config.toml"), elsewhere).unwrap();
    let (output, checks) = checked(&vault).await;
    assert_eq!((output.status.code(), failures(&checks)), (Some(1), vec!["store"]), "{checks:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_shows_changed_filters_as_the_configuration_spells_them() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    vault.configure("filters = { user_name = \"alice\" }");
    let (output, checks) = checked(&vault).await;
    assert_eq!((output.status.code(), failures(&checks)), (Some(1), vec!["definition"]));
    let said = row(&checks, "definition")["detail"].as_str().unwrap();
    let both = "filters.user_name = \"alice\", but the stream was opened with filters.user_name = \"\"";
    assert!(said.contains(both), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_whether_the_daemons_user_can_read_the_configuration() {
    use std::os::unix::fs::PermissionsExt;
    let vault = Vault::in_directory().await;
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let check = async |user: Option<&str>| {
        let arguments = ["check", "--json"].into_iter().chain(user.iter().flat_map(|user| ["--user", *user]));
        let output = vault.connvault(&arguments.collect::<Vec<_>>()).await;
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let rows = document["checks"].as_array().unwrap().clone();
        let of_user = rows.into_iter().filter(|row| row["check"] == "readable by the daemon");
        (
            output.status.code(),
            of_user.map(|row| row["detail"].to_string() + &row["fix"].to_string()).collect::<String>(),
        )
    };
    assert_eq!(check(Some("root")).await.0, Some(0));
    // A user that systemd has not made up yet, and one that is there.
    let mut users = vec![Some("no-such-user-of-this-machine"), Some("nobody")];
    // Where root does not say which user it is, it is the one that the unit will make up.
    if rustix::process::geteuid().is_root() && connvault::adapters::user::ids("connvault").is_none() {
        users.push(None);
    }
    for user in users {
        mode(vault.dir.path(), 0o700);
        let (code, said) = check(user).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("chmod o+x {}", vault.dir.path().display())), "{said}");
        mode(vault.dir.path(), 0o755);
        mode(&vault.path("config.toml"), 0o640);
        let (_, said) = check(user).await;
        assert!(said.contains(&format!("chmod o+r {}", vault.path("config.toml").display())), "{said}");
        // Keys that are named by their paths are for that user alone.
        assert!(said.contains("chown") && said.contains("LoadCredential="), "{said}");
        assert_eq!(said.contains("name that user with --user"), user.is_none(), "{said}");
        mode(&vault.path("config.toml"), 0o644);
    }
}
