//! `check`: everything is tried by itself, failures have their fix beside them, and nothing is left behind.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use connvault::adapters::system_clock::SystemClock;
use connvault::domain::object_key::ObjectKey;
use connvault::ports::clock::Clock;
use connvault_sim::{Builder, Endpoint, Fault, Rule, Withdrawal};
use jiff::SignedDuration;
use serde_json::Value;

use crate::support::buckets::InProcess;
use crate::support::s3s::Dialect;
use crate::support::servers::{Bucket, Server};
use crate::support::vault::{Place, Vault, text};

/// Whoever runs the tests.
pub fn whoami() -> String {
    let output = std::process::Command::new("id").arg("-un").output().unwrap();
    text(&output.stdout).trim().to_owned()
}

/// What `check` says to the user whose files they are.
pub async fn checked(vault: &Vault) -> (Output, Vec<Value>) {
    let output = vault.connvault(&["check", "--json", "--user", &whoami()]).await;
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    assert_eq!(document["ok"], output.status.success());
    (output, document["checks"].as_array().unwrap().clone())
}

pub fn row<'c>(checks: &'c [Value], check: &str) -> &'c Value {
    let found = checks.iter().find(|c| c["check"] == check);
    found.unwrap_or_else(|| panic!("{check} is not among {checks:#?}"))
}

pub fn outcome<'c>(checks: &'c [Value], check: &str) -> &'c str {
    row(checks, check)["outcome"].as_str().unwrap()
}

/// Every failure has something to do beside it.
pub fn failures(checks: &[Value]) -> Vec<&str> {
    let failed = checks.iter().filter(|check| check["outcome"] == "failed");
    failed
        .map(|check| {
            assert!(check["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{check}");
            check["check"].as_str().unwrap()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_is_well_each_permission_is_shown_and_nothing_is_left() {
    let vault = Vault::in_directory().await;
    let (output, checks) = checked(&vault).await;
    assert_eq!(output.status.code(), Some(0), "{checks:#?}");
    for check in [
        "file",
        "secret file",
        "time zone",
        "key",
        "state_dir",
        "credentials",
        "query",
        "clock",
        "v2 export of one minute",
        "list of export tasks",
        "v3 export of one minute",
        "download of an export task",
        "deletion of an export task",
        "probe put and read back",
        "create-only",
    ] {
        assert_eq!(outcome(&checks, check), "ok", "{check}");
    }
    assert_eq!(outcome(&checks, "export API"), "note");
    assert!(checks.iter().any(|check| check["detail"].to_string().contains("deprecated")));
    assert_eq!(vault.sim.tasks().created(), 1);
    assert!(vault.sim.tasks().all().is_empty());
    assert!(!vault.state_dir().exists());
    let table = text(&vault.connvault(&["check", "--user", "root"]).await.stdout);
    assert!(table.ends_with("all is well\n"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_mounted_read_only_fails_before_the_first_start() {
    let vault = Vault::in_directory().await;
    let state = vault.state_dir();
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o700)).unwrap();
    // In a mount namespace of its own, in which the state directory is another disk.
    let script = "mount -t tmpfs -o ro,size=2g,mode=700 none \"$1\" || exit 99; shift; exec \"$@\"";
    let check = vault.command(&["check", "--json", "--user", "root"]);
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(&state).arg(check.get_program());
    command.args(check.get_args());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    if output.stdout.is_empty() {
        eprintln!("skipped: only root can mount a disk ({})", text(&output.stderr).trim());
        return;
    }
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = document["checks"].as_array().unwrap();
    assert_eq!((output.status.code(), failures(checks)), (Some(1), vec!["state_dir"]), "{checks:#?}");
    let said = row(checks, "state_dir");
    assert!(said["detail"].as_str().unwrap().ends_with("mounted read-only"), "{said}");
    assert!(said["fix"].as_str().unwrap().contains("mount it writable"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_says_what_it_is_and_keeps_no_more_than_the_probe() {
    let server = InProcess::start(Dialect::Aws).await;
    let settings = server.settings();
    let vault = Vault::with(|_| Place::Bucket(Box::new(settings)), |sim| sim).await;
    let (output, checks) = checked(&vault).await;
    assert_eq!(output.status.code(), Some(0), "{checks:#?}");
    for check in ["versioning", "object lock", "encryption", "create-only"] {
        assert_ne!(outcome(&checks, check), "failed", "{check}");
    }
    assert_eq!(outcome(&checks, "delete"), "note", "its keys may delete: {checks:#?}");
    let store = vault.store();
    let stands = async |key: ObjectKey| store.head(&key).await.unwrap().is_some();
    assert_eq!((stands(ObjectKey::probe()).await, stands(ObjectKey::check()).await), (true, false));
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let locked = config.replace(
        "[streams.logins]",
        "object_lock = { mode = \"compliance\", retain = \"30d\" }\n[streams.logins]",
    );
    std::fs::write(vault.path("config.toml"), locked).unwrap();
    let (_, checks) = checked(&vault).await;
    assert_ne!(outcome(&checks, "object lock"), "ok");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs SeaweedFS: run scripts/test"]
async fn a_bucket_of_a_real_server_says_whether_it_has_versions_and_locks_and_is_left_as_it_was() {
    for locks in [false, true] {
        let bucket = match locks {
            true => Bucket::with_object_lock(Server::SeaweedFs).await,
            false => Bucket::plain(Server::SeaweedFs).await,
        };
        let settings = bucket.settings.clone();
        let vault = Vault::with(|_| Place::Bucket(Box::new(settings)), |sim| sim).await;
        for _ in 0..2 {
            let (output, checks) = checked(&vault).await;
            assert_eq!(output.status.code(), Some(0), "{checks:#?}");
            for check in ["versioning", "object lock"] {
                let found = checks.iter().find(|c| c["check"] == check).unwrap();
                let expected = if locks { ("ok", "enabled") } else { ("note", "off") };
                assert_eq!(found["outcome"], expected.0, "{found}");
                assert!(found["detail"].as_str().unwrap().starts_with(expected.1), "{found}");
            }
            assert_eq!(outcome(&checks, "delete"), "note", "these keys may do everything: {checks:#?}");
        }
        let all = bucket.client.list_object_versions().bucket(&bucket.settings.bucket).send().await.unwrap();
        let keys: Vec<_> = all.versions().iter().filter_map(|version| version.key()).collect();
        assert_eq!((keys.len(), all.delete_markers().len()), (1, 0), "{keys:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_bucket_that_is_not_there_nothing_else_is_said() {
    let server = InProcess::start(Dialect::Aws).await;
    let mut settings = server.settings();
    settings.bucket = "elsewhere".to_owned();
    let vault = Vault::with(|_| Place::Bucket(Box::new(settings)), |sim| sim).await;
    let (output, checks) = checked(&vault).await;
    assert_eq!((output.status.code(), failures(&checks)), (Some(1), vec!["probe put and read back"]));
    assert_eq!(outcome(&checks, "versioning"), "skipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_refused_fails_what_needs_it_and_nothing_else() {
    let vault = Vault::in_directory().await;
    vault.secret("source-sk", "another-secret");
    let (output, checks) = checked(&vault).await;
    assert_eq!(output.status.code(), Some(1));
    let failed = failures(&checks);
    assert!(failed.contains(&"v2 export of one minute"), "{failed:?}");
    assert_eq!(outcome(&checks, "probe put and read back"), "ok");
    assert!(!text(&output.stdout).contains("another-secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_lacks_is_told_by_itself() {
    let vault = Vault::in_directory().await;
    vault.sim.faults().add(Rule::new(Fault::status(403)).on(Endpoint::Query));
    vault.sim.faults().add(Rule::new(Fault::status(403)).on(Endpoint::ListTasks));
    let (output, checks) = checked(&vault).await;
    // Archiving works: windows are not counted, and v3 is not needed yet.
    assert_eq!(output.status.code(), Some(0), "{checks:#?}");
    assert_eq!((outcome(&checks, "query"), outcome(&checks, "list of export tasks")), ("note", "note"));
    assert_eq!(outcome(&checks, "v3 export of one minute"), "skipped");
    vault.configure_with("api = \"v3\"\n", "");
    let (output, checks) = checked(&vault).await;
    assert_eq!((output.status.code(), failures(&checks)), (Some(1), vec!["list of export tasks"]));
    assert_eq!(vault.sim.tasks().created(), 0, "a task that cannot be followed is not made");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_day_that_v2_is_withdrawn_it_is_v3_that_counts() {
    for how in [Withdrawal::Gone, Withdrawal::ServiceNotFound] {
        let vault = Vault::in_directory().await;
        vault.sim.withdraw_v2(how);
        let (output, checks) = checked(&vault).await;
        assert_eq!(output.status.code(), Some(0), "{checks:#?}");
        assert_eq!(outcome(&checks, "v2 export of one minute"), "note");
        vault.sim.faults().add(Rule::new(Fault::status(403)).on(Endpoint::ListTasks));
        let (output, checks) = checked(&vault).await;
        assert_eq!((output.status.code(), failures(&checks)), (Some(1), vec!["list of export tasks"]));
    }
    let vault = Vault::in_directory().await;
    let nothing = Fault::Status { code: 404, error_code: "APIGW.0101".into(), retry_after: None };
    vault.sim.faults().always(nothing);
    let (_, checks) = checked(&vault).await;
    assert!(failures(&checks).contains(&"v2 export of one minute"), "the address is wrong: {checks:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_is_stopped_leaves_no_task_behind() {
    let slow = |sim: Builder| sim.task_polls(1000);
    let vault = Vault::with(|dir| Place::Directory(dir.join("archive")), slow).await;
    let mut check = vault.command(&["check"]);
    let running = check.stdout(std::process::Stdio::piped()).spawn().unwrap();
    vault.until(|| vault.sim.tasks().created() == 1).await;
    let pid = rustix::process::Pid::from_child(&running);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = tokio::task::spawn_blocking(move || running.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(75));
    assert!(text(&output.stdout).ends_with("stopped before everything was tried: run it again\n"));
    assert_eq!(vault.sim.tasks().all(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_maker_was_not_answered_is_spoken_of() {
    let vault = Vault::in_directory().await;
    vault.sim.faults().add(Rule::new(Fault::DropConnection).on(Endpoint::CreateTask));
    let (_, checks) = checked(&vault).await;
    let said = checks.iter().find(|c| c["check"] == "v3 export of one minute").unwrap()["detail"].to_string();
    assert!(said.contains("may have been made all the same"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_is_called_that() {
    let ahead = |minutes| {
        move |sim: Builder| sim.clock(move || SystemClock.now() + SignedDuration::from_mins(minutes))
    };
    for (minutes, expected, code) in [(20, "failed", 1), (10, "note", 0), (0, "ok", 0)] {
        let vault = Vault::with(|dir| Place::Directory(dir.join("archive")), ahead(minutes)).await;
        let (output, checks) = checked(&vault).await;
        assert_eq!((outcome(&checks, "clock"), output.status.code()), (expected, Some(code)), "{minutes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_others_can_read_is_told_with_its_mode_and_the_rest_is_tried() {
    let vault = Vault::in_directory().await;
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(vault.path("signing-key"), open).unwrap();
    let (output, checks) = checked(&vault).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(failures(&checks), ["secret file", "key"]);
    assert!(text(&output.stdout).contains("mode 0644"));
    assert_eq!(outcome(&checks, "v2 export of one minute"), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_wrong_is_a_failed_check_with_every_problem() {
    let vault = Vault::in_directory().await;
    vault.configure_with("horizont = \"30d\"\napi = \"v4\"\n", "");
    let (output, checks) = checked(&vault).await;
    assert_eq!(output.status.code(), Some(2), "the configuration is wrong");
    assert_eq!(failures(&checks), ["file", "file"]);
    assert!(text(&output.stdout).contains("did you mean `horizon`?"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_a_page_of_a_proxy_fails_the_export() {
    let vault = Vault::in_directory().await;
    vault.sim.faults().add(Rule::new(Fault::HtmlBody).on(Endpoint::Export));
    let (output, checks) = checked(&vault).await;
    assert_eq!((output.status.code(), failures(&checks)), (Some(1), vec!["v2 export of one minute"]));
}
