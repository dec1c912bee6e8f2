//! One answer, however it is asked: by root with any credentials directory or none, and by a user who may read nothing of the
//! daemon's, through its page.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use connvault::domain::window::Window;
use connvault_sim::{Endpoint, Fault, Rule};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::vault::{Running, Vault, WINDOWS, text};

/// `nobody`, by the custom of every Linux.
const NOBODY: u32 = 65534;

const LOOKS: [&str; 3] = ["status", "gaps", "plan"];

/// A vault whose keys are named by `${CREDENTIALS_DIRECTORY}`, as the README has it, and lie in `credentials`.
async fn vault() -> Vault {
    let vault = Vault::in_directory().await;
    let credentials = vault.path("credentials");
    fs::create_dir(&credentials).unwrap();
    let config = fs::read_to_string(vault.path("config.toml")).unwrap();
    let mut named = config;
    for name in ["source-ak", "source-sk", "signing-key"] {
        fs::rename(vault.path(name), credentials.join(name)).unwrap();
        let own = vault.path(name).display().to_string();
        named = named.replace(&own, &format!("${{CREDENTIALS_DIRECTORY}}/{name}"));
    }
    fs::write(vault.path("config.toml"), named).unwrap();
    vault
}

/// Copies the keys elsewhere, as systemd does for each run.
fn handed_over(vault: &Vault, name: &str) -> std::path::PathBuf {
    let folder = vault.path(name);
    fs::create_dir(&folder).unwrap();
    for file in fs::read_dir(vault.path("credentials")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    folder
}

fn command(vault: &Vault, arguments: &[&str], credentials: Option<&Path>) -> Command {
    let mut command = vault.command(arguments);
    match credentials {
        Some(folder) => command.env("CREDENTIALS_DIRECTORY", folder),
        None => command.env_remove("CREDENTIALS_DIRECTORY"),
    };
    command
}

async fn finish(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn run(vault: &Vault, arguments: &[&str], credentials: Option<&Path>) -> Output {
    finish(command(vault, arguments, credentials)).await
}

/// As a user who owns nothing; `None`, and said, where this process may not become one.
async fn as_nobody(vault: &Vault, arguments: &[&str]) -> Option<Output> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can run a command as another user");
        return None;
    }
    // The configuration is for everybody, as the README installs it; the state directory is not.
    fs::set_permissions(vault.dir.path(), Permissions::from_mode(0o755)).unwrap();
    let mut command = command(vault, arguments, None);
    command.uid(NOBODY).gid(NOBODY);
    Some(finish(command).await)
}

/// What a command says but for when it was asked.
fn answer(output: &Output) -> (Option<i32>, Value) {
    let mut document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    without_now(&mut document);
    (output.status.code(), document)
}

fn without_now(document: &mut Value) {
    match document {
        Value::Object(object) => {
            object.remove("now");
            object.values_mut().for_each(without_now);
        }
        Value::Array(values) => values.iter_mut().for_each(without_now),
        _ => {}
    }
}

/// Parks the first window, and leaves the others due.
async fn with_a_parked_window(vault: &Vault) -> Window {
    let to = (vault.start + SignedDuration::from_hours(24)).to_string();
    let from = vault.start.to_string();
    vault.sim.faults().add(Rule::new(Fault::status(400)).on(Endpoint::Export).times(1));
    let credentials = handed_over(vault, "of-the-first-run");
    let output = run(vault, &["backfill", "logins", "--from", &from, "--to", &to], Some(&credentials)).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    Window::new(vault.start, vault.start + SignedDuration::from_hours(24)).unwrap()
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn listen_at(vault: &Vault, listen: &str) {
    let config = fs::read_to_string(vault.path("config.toml")).unwrap();
    let line = config.lines().find(|line| line.starts_with("listen = ")).unwrap().to_owned();
    fs::write(vault.path("config.toml"), config.replace(&line, &format!("listen = \"{listen}\""))).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_the_credentials_lie_a_parked_window_is_parked_and_a_due_one_due() {
    let vault = vault().await;
    let parked = with_a_parked_window(&vault).await;
    let elsewhere = handed_over(&vault, "elsewhere");
    let empty = vault.path("empty");
    fs::create_dir(&empty).unwrap();
    for look in LOOKS {
        let (code, expected) = answer(&run(&vault, &[look, "--json"], Some(&elsewhere)).await);
        for credentials in [Some(vault.path("credentials")), Some(empty.clone()), None] {
            let output = run(&vault, &[look, "--json"], credentials.as_deref()).await;
            assert_eq!(answer(&output), (code, expected.clone()), "{look} {credentials:?}");
        }
        let windows = match look {
            "status" => &expected["windows"],
            "gaps" => &expected,
            _ => &expected["actions"],
        };
        let of = |verdict: &str| {
            let windows = windows.as_array().unwrap().iter();
            windows
                .filter(|window| window["verdict"] == verdict)
                .map(|window| window["window"].clone())
                .collect::<Vec<_>>()
        };
        if look == "plan" {
            let planned: Vec<_> =
                windows.as_array().unwrap().iter().map(|action| &action["window"]).collect();
            // The parked one is only to be recorded as parked, where it is planned at all.
            let archives = windows.as_array().unwrap().iter().filter(|action| action["task"] == "archive");
            assert_eq!(archives.count(), WINDOWS - 1, "{planned:?}");
        } else {
            assert_eq!((of("parked"), of("waiting").len()), (vec![json!(parked)], WINDOWS - 1));
        }
    }
    // Nor does a backfill, whose credentials are other copies, make it due.
    let (from, to) =
        (vault.start + SignedDuration::from_hours(24), vault.start + SignedDuration::from_hours(48));
    let (from, to) = (from.to_string(), to.to_string());
    let output = run(&vault, &["backfill", "logins", "--from", &from, "--to", &to], Some(&elsewhere)).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let (_, gaps) = answer(&run(&vault, &["gaps", "--json"], None).await);
    assert_eq!((&gaps[0]["window"], &gaps[0]["verdict"]), (&json!(parked), &"parked".into()), "{gaps}");
    let retried = run(&vault, &["retry", "--json"], None).await;
    let (_, lifted) = answer(&retried);
    assert_eq!(lifted["lifted"], json!([{ "stream": "logins", "window": parked }]), "{lifted}");
    assert_eq!(lifted["windows"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_another_one_still_makes_what_is_parked_due_at_the_next_start() {
    let vault = vault().await;
    let parked = with_a_parked_window(&vault).await;
    vault.sim.keys().add(connvault_sim::Key::permanent("NEWACCESSKEY", "new-secret"));
    vault.secret("credentials/source-ak", "NEWACCESSKEY");
    vault.secret("credentials/source-sk", "new-secret");
    let (_, gaps) = answer(&run(&vault, &["gaps", "--json"], Some(&vault.path("credentials"))).await);
    assert_eq!(gaps[0]["verdict"], "parked", "no run has seen the other key: {gaps}");
    let output = run(&vault, &["once"], Some(&vault.path("credentials"))).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(vault.audit().await.windows.contains(&parked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_read_nothing_is_told_the_same_by_the_page() {
    let vault = vault().await;
    let parked = with_a_parked_window(&vault).await;
    // The others wait for the source.
    vault.sim.faults().add(Rule::new(Fault::status(401)).on(Endpoint::Export));
    listen_at(&vault, &format!("127.0.0.1:{}", free_port()));
    let credentials = handed_over(&vault, "of-the-daemon");
    let mut daemon = command(&vault, &["run"], Some(&credentials));
    let _daemon = Running(daemon.stderr(std::process::Stdio::null()).spawn().unwrap());
    vault.until_status_shows("held up:", 1).await;
    for look in LOOKS {
        let arguments = [look, "--json"];
        let Some(asked) = as_nobody(&vault, &arguments).await else { return };
        // Between two looks a window may have been tried once more: the same answer comes within a few.
        let mut seen = Vec::new();
        for _ in 0..20 {
            let (from_page, from_ledger) =
                (as_nobody(&vault, &arguments).await.unwrap(), run(&vault, &arguments, None).await);
            seen = vec![answer(&from_page), answer(&from_ledger)];
            if seen[0] == seen[1] {
                break;
            }
        }
        assert_eq!(seen[0], seen[1], "{look}: {}", text(&asked.stderr));
        assert_eq!(asked.status.code(), Some(if look == "gaps" { 3 } else { 0 }), "{}", text(&asked.stderr));
    }
    let shown = text(&as_nobody(&vault, &["gaps"]).await.unwrap().stdout);
    assert!(
        shown.contains(&parked.to_string())
            && shown.contains("parked")
            && shown.contains("source hq is held up"),
        "{shown}"
    );
    let refused = as_nobody(&vault, &["retry"]).await.unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("run it as root (sudo connvault retry"),
        "{}",
        text(&refused.stderr)
    );
    let lifted = text(&run(&vault, &["retry"], None).await.stdout);
    assert!(lifted.starts_with(&format!("{WINDOWS} windows are due again")), "{lifted}");
    assert!(lifted.contains(&format!("  logins {parked}\n")), "{lifted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_due_since_its_time_whoever_asks_and_whenever() {
    let vault = vault().await;
    with_a_parked_window(&vault).await;
    for look in LOOKS {
        let first = answer(&run(&vault, &[look, "--json"], None).await);
        // A second is enough to tell the asker's own time from the window's.
        let began = jiff::Timestamp::from_second(this_second()).unwrap();
        while jiff::Timestamp::from_second(this_second()).unwrap() == began {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(answer(&run(&vault, &[look, "--json"], None).await), first, "{look}");
    }
    let shown = text(&run(&vault, &["status"], None).await.stdout);
    let due = vault.start + SignedDuration::from_hours(48);
    let line = shown.lines().find(|line| line.contains("it is due")).unwrap_or_else(|| panic!("{shown}"));
    assert!(line.contains(&format!("since {:.13}", due.to_string())), "{shown}");
}

fn this_second() -> i64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs().try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_write_the_ledger_is_told_so_by_acknowledge_as_by_retry() {
    let vault = vault().await;
    let parked = with_a_parked_window(&vault).await;
    let window = parked.to_string();
    let asked = ["acknowledge", "logins", &window, "--by", "Ada", "--reason", "an outage"];
    let Some(refused) = as_nobody(&vault, &asked).await else { return };
    let told = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(
        told.contains("run it as root (sudo connvault acknowledge") && told.contains("the daemon's user"),
        "{told}"
    );
    assert_eq!(as_nobody(&vault, &["retry"]).await.unwrap().status.code(), refused.status.code());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_page_nobody_is_told_that_all_is_well() {
    let vault = vault().await;
    with_a_parked_window(&vault).await;
    for (listen, code, said) in [
        ("", 1, "the daemon has no page"),
        ("127.0.0.1:0", 1, "nobody knows at which port"),
        (&format!("127.0.0.1:{}", free_port()), 75, "nobody answers there"),
    ] {
        listen_at(&vault, listen);
        for look in LOOKS {
            let Some(output) = as_nobody(&vault, &[look, "--json"]).await else { return };
            let told = text(&output.stderr);
            assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{look}: {told}");
            assert!(told.contains("may not read the state directory") && told.contains(said), "{told}");
            assert!(told.contains("as root"), "{told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_closed_to_a_user_is_told_with_the_mode_that_opens_it() {
    let vault = vault().await;
    let config = vault.path("config.toml");
    fs::set_permissions(&config, Permissions::from_mode(0o600)).unwrap();
    let Some(output) = as_nobody(&vault, &["gaps"]).await else { return };
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("has mode 0600, owner 0 and group 0"), "{told}");
    assert!(told.contains(&format!("chmod o+r {}", config.display())), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_named_with_what_is_wrong_around_it_before_anything_is_sent() {
    let vault = vault().await;
    let credentials = vault.path("credentials");
    for (content, said) in [
        ("\u{feff}vault-secret-key-of-the-source\n", "begins with a byte order mark"),
        (" vault-secret-key-of-the-source\n", "begins with a blank"),
        ("\"vault-secret-key-of-the-source\"\n", "is in quotes"),
        ("vault-secret-key-of-the-source\nVAULTACCESSKEY\n", "has a second line"),
        ("\u{201c}vault-secret-key-of-the-source\u{201d}\n", "is in quotes"),
        ("vault-secret-key\u{200b}-of-the-source\n", "U+200B"),
        ("HUAWEICLOUD_SDK_SK=vault-secret-key-of-the-source\n", "begins with the name of a variable"),
    ] {
        vault.secret("credentials/source-sk", content);
        for (arguments, code) in [(&["once"][..], 2), (&["check"], 1)] {
            let output = run(&vault, arguments, Some(&credentials)).await;
            let told =
                text(&output.stderr) + &text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(output.status.code(), Some(code), "{told}");
            assert!(!told.contains("vault-secret-key"), "{told}");
            assert!(told.contains("source-sk"), "{told}");
            if arguments == ["once"] {
                assert!(told.contains(said), "{told}");
            }
        }
    }
    assert_eq!(vault.sim.request_count(Endpoint::Export), 0);
    fs::remove_file(credentials.join("signing-key")).unwrap();
    let told = text(&run(&vault, &["once"], Some(&credentials)).await.stderr);
    let drop_in = "[Service] LoadCredential=signing-key:/etc/connvault/credentials/signing-key";
    assert!(told.contains(drop_in) && told.contains("systemctl edit connvault"), "{told}");
    let told = text(&run(&vault, &["once"], None).await.stderr);
    assert!(told.contains("sudo CREDENTIALS_DIRECTORY=/etc/connvault/credentials"), "{told}");
    assert!(!told.contains("absolute path"), "{told}");
}
