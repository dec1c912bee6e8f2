//! What an operator meets when something is wrong: one clear line, the designed exit code, and nothing lost.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use connvault_sim::{Fault, Rule};

use crate::support::buckets::{InProcess, settings};
use crate::support::disk::Tmpfs;
use crate::support::s3s::{ACCESS_KEY, Dialect, SECRET_KEY};
use crate::support::vault::{Place, Running, Vault, WINDOWS, text};

/// The lines of an output that are no routine: the program's own last words, and log lines from WARN up.
fn complaints(output: &Output) -> Vec<String> {
    let grave =
        |line: &&str| line.starts_with("connvault: ") || line.contains(" WARN ") || line.contains("ERROR ");
    text(&output.stderr).lines().filter(grave).map(str::to_owned).collect()
}

/// Asserts the exit code and that there is one complaint, with these words in it.
fn assert_says(output: &Output, code: i32, words: &[&str]) {
    let complaints = complaints(output);
    assert_eq!(output.status.code(), Some(code), "{complaints:#?}");
    assert_eq!(complaints.len(), 1, "{}", text(&output.stderr));
    for word in words {
        assert!(complaints[0].contains(word), "{word:?} is not in {}", complaints[0]);
    }
}

/// Everything is mended: the next run archives all.
async fn assert_nothing_lost(vault: &Vault) {
    vault.once().await;
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
    assert_eq!(vault.connvault(&["gaps"]).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typo_in_a_key_names_the_key_and_the_nearest_one() {
    let vault = Vault::in_directory().await;
    vault.configure("setle = \"1h\"");
    assert_says(&vault.connvault(&["once"]).await, 2, &["config.toml", "streams.logins.setle", "settle"]);
    vault.configure("");
    assert_nothing_lost(&vault).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_later_version_is_refused_with_a_word() {
    let vault = Vault::in_directory().await;
    vault.configure("[alerts]\nwebhook_url_file = \"/etc/connvault/webhook\"");
    assert_says(&vault.connvault(&["once"]).await, 2, &["alerts", "later version"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_not_there_is_named() {
    let vault = Vault::in_directory().await;
    std::fs::remove_file(vault.path("config.toml")).unwrap();
    let words = ["config.toml", "there is no such file", "config.example.toml", "--config"];
    assert_says(&vault.connvault(&["status"]).await, 2, &words);
    let output = vault.connvault(&["check", "--json"]).await;
    assert_eq!(output.status.code(), Some(2));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let check = &document["checks"][0];
    assert!(
        check["detail"].as_str().unwrap().contains(&vault.path("config.toml").display().to_string()),
        "{check}"
    );
    let fix = check["fix"].as_str().unwrap();
    assert!(
        fix.contains("config.example.toml") && fix.contains("--config") && !fix.contains("this line"),
        "{fix}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_programs_database_is_refused_by_every_command_and_left_as_it_is() {
    use sqlx::{ConnectOptions, Connection};
    let vault = Vault::in_directory().await;
    std::fs::create_dir(vault.state_dir()).unwrap();
    std::fs::set_permissions(vault.state_dir(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let path = vault.state_dir().join("ledger.sqlite3");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut other = options.connect().await.unwrap();
    sqlx::raw_sql("CREATE TABLE bookmarks (url TEXT)").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for command in ["status", "plan", "gaps", "retry", "once", "run", "rebuild"] {
        let output = vault.connvault(&[command]).await;
        let words = ["ledger.sqlite3 is not a ledger of connvault", "name another state_dir"];
        assert_says(&output, 1, &words);
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{command} has written to it");
    }
    std::fs::write(&path, b"").unwrap();
    let status = vault.connvault(&["status"]).await;
    assert!(text(&status.stderr).contains("there is no ledger yet"), "{}", text(&status.stderr));
    assert_nothing_lost(&vault).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_others_can_read_is_refused_and_so_is_one_that_is_not_there() {
    let vault = Vault::in_directory().await;
    let mode = |mode| {
        std::fs::set_permissions(vault.path("source-sk"), std::fs::Permissions::from_mode(mode)).unwrap()
    };
    mode(0o644);
    let key = "sources.hq.credentials.secret_key_file";
    assert_says(&vault.connvault(&["once"]).await, 2, &[key, "source-sk", "chmod 600"]);
    mode(0o600);
    std::fs::rename(vault.path("source-sk"), vault.path("elsewhere")).unwrap();
    assert_says(&vault.connvault(&["once"]).await, 2, &[key, "source-sk", "No such file"]);
    std::fs::rename(vault.path("elsewhere"), vault.path("source-sk")).unwrap();
    assert_nothing_lost(&vault).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_said_once_and_not_once_a_window() {
    let vault = Vault::in_directory().await;
    vault.secret("source-sk", "another-secret-key-than-the-right-one");
    let output = vault.connvault(&["once"]).await;
    assert_says(&output, 1, &["source hq", "APIGW.0301"]);
    assert_eq!(text(&output.stdout).lines().count(), 2, "{}", text(&output.stdout));
    assert_eq!(vault.connvault(&["gaps"]).await.status.code(), Some(3));
    // A changed key is tried at once, without `retry`.
    vault.secret("source-sk", crate::support::vault::SECRET_KEY);
    assert_nothing_lost(&vault).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_is_named_and_so_is_a_wrong_key_of_a_store() {
    let server = InProcess::start(Dialect::Aws).await;
    let absent = settings(&server.server.endpoint(), "absent", ACCESS_KEY, SECRET_KEY);
    let vault = Vault::with(|_| Place::Bucket(Box::new(absent)), |sim| sim).await;
    assert_says(&vault.connvault(&["once"]).await, 1, &["store archive", "absent"]);
    server.server.make_bucket("absent").unwrap();
    vault.secret("store-sk", "not-the-secret-key-of-the-store");
    assert_says(&vault.connvault(&["once"]).await, 1, &["store archive", "absent", "key"]);
    vault.secret("store-sk", SECRET_KEY);
    assert_nothing_lost(&vault).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_contradicts_its_log_is_refused_with_what_to_do() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    vault.configure("filters = { user_name = \"somebody\" }");
    let words = [
        "stream logins",
        r#"the config says filters.user_name = "somebody""#,
        r#"the stream was opened with filters.user_name = """#,
        "give the changed stream a new name",
    ];
    assert_says(&vault.connvault(&["once"]).await, 1, &words);
    vault.configure("");
    assert_nothing_lost(&vault).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_never_an_export_is_parked_after_three_pulls_and_holds_up_no_other() {
    let vault = Vault::in_directory().await;
    let bad = (vault.start - jiff::SignedDuration::from_mins(1)).strftime("%Y-%m-%dT%H:%MZ").to_string();
    vault.sim.faults().add(Rule::new(Fault::HtmlBody).for_start_time(&bad));
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(vault.audit().await.windows.len(), WINDOWS - 1);
    assert_eq!(vault.sim.request_count(connvault_sim::Endpoint::Export), WINDOWS as u64 - 1 + 3);
    let gaps = vault.connvault(&["gaps"]).await;
    assert_eq!(gaps.status.code(), Some(3));
    assert!(text(&gaps.stdout).contains("connvault retry logins "), "{}", text(&gaps.stdout));
    vault.sim.faults().clear();
    assert_eq!(
        vault.connvault(&["once"]).await.status.code(),
        Some(1),
        "parked windows wait for an operator"
    );
    assert!(vault.connvault(&["retry", "logins"]).await.status.success());
    assert_nothing_lost(&vault).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_takes_time_is_exit_75_and_what_is_over_is_archived_in_the_same_run() {
    let vault = Vault::in_directory().await;
    vault.sim.faults().next(2, Fault::status(503));
    vault.once().await;
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_one_on_the_same_state_directory_is_kept_out() {
    let vault = Vault::in_directory().await;
    let held = connvault::adapters::state_dir::StateDir::lock(&vault.state_dir()).unwrap();
    assert_says(&vault.connvault(&["once"]).await, 4, &["another connvault", "state"]);
    // Looking is allowed beside a daemon.
    assert!(vault.connvault(&["status"]).await.status.success());
    drop(held);
    assert_nothing_lost(&vault).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, to mount a small disk: run scripts/test"]
async fn a_full_disk_is_one_line_and_loses_nothing() {
    // No export fits beside the ballast.
    let large = |sim: connvault_sim::Builder| sim.bulk_csv_rows(20_000);
    let vault = Vault::with(|dir| Place::Directory(dir.join("archive")), large).await;
    let disk = Tmpfs::mount(vault.state_dir(), "1m");
    // The ledger has its place; an export has none.
    vault.connvault(&["once"]).await;
    std::fs::remove_dir_all(vault.path("archive")).unwrap();
    for file in std::fs::read_dir(vault.state_dir()).unwrap().flatten() {
        if file.file_type().unwrap().is_dir() {
            std::fs::remove_dir_all(file.path()).unwrap();
        } else {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    let free = rustix::fs::statvfs(vault.state_dir().as_path()).unwrap();
    let ballast = usize::try_from(free.f_bavail * free.f_bsize).unwrap().saturating_sub(200 * 1024);
    std::fs::write(vault.state_dir().join("ballast"), vec![1; ballast]).unwrap();
    let output = vault.connvault(&["once"]).await;
    assert_says(&output, 75, &["state", "free some space"]);
    disk.remount("size=64m");
    assert_nothing_lost(&vault).await;
    drop(vault);
    drop(disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_cannot_be_made_is_named() {
    let vault = Vault::in_directory().await;
    std::fs::write(vault.state_dir(), "a file").unwrap();
    assert_says(&vault.connvault(&["once"]).await, 1, &["state directory", "state"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, to give a directory away: run scripts/test"]
async fn root_is_kept_out_of_a_state_directory_that_is_not_its_own() {
    let vault = Vault::in_directory().await;
    std::fs::create_dir(vault.state_dir()).unwrap();
    std::os::unix::fs::chown(vault.state_dir(), Some(65_534), Some(65_534)).unwrap();
    for command in ["once", "run"] {
        assert_says(&vault.connvault(&[command]).await, 1, &["user 65534", "setpriv --reuid 65534"]);
    }
    assert_eq!(std::fs::read_dir(vault.state_dir()).unwrap().count(), 0, "root leaves nothing there");
    std::os::unix::fs::chown(vault.state_dir(), Some(0), Some(0)).unwrap();
    assert_nothing_lost(&vault).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, to mount a small disk: run scripts/test"]
async fn a_daemon_goes_on_by_itself_when_a_full_disk_has_room_again() {
    let large = |sim: connvault_sim::Builder| sim.bulk_csv_rows(20_000);
    let vault = Vault::with(|dir| Place::Directory(dir.join("archive")), large).await;
    let disk = Tmpfs::mount(vault.state_dir(), "1m");
    vault.sim.faults().always(Fault::DelayFirstByte(std::time::Duration::from_secs(1)));
    let log = vault.path("stderr");
    let mut command = vault.daemon_command();
    let mut daemon = Running(command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap());
    // Leases are taken; from here on neither an export nor a word in the ledger fits, not even that they are given back.
    vault.until(|| vault.sim.request_count(connvault_sim::Endpoint::Export) > 0).await;
    let ballast = vault.state_dir().join("ballast");
    _ = std::fs::write(&ballast, vec![1; 1 << 20]);
    vault.until(|| std::fs::read_to_string(&log).unwrap().contains("everything waits")).await;
    vault.sim.faults().clear();
    std::fs::remove_file(&ballast).unwrap();
    disk.remount("size=64m");
    vault.until_archived(&mut daemon).await;
    drop(daemon);
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
    drop(vault);
    drop(disk);
}
