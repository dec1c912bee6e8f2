//! The command line: what each command prints where, and what it ends with.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use connvault_sim::Fault;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::vault::{Vault, WINDOWS, days_ago, text};

/// Every command that prints a result and only looks.
const LOOKS: [&[&str]; 6] = [
    &["plan"],
    &["status"],
    &["gaps"],
    &["retry"],
    &["config"],
    &["backfill", "logins", "--from", "START", "--dry-run"],
];

/// A command's words, with the vault's first day in them.
fn words<'w>(command: &[&'w str], start: &'w str) -> Vec<&'w str> {
    command.iter().map(|word| if *word == "START" { start } else { *word }).collect()
}

/// The window that began so many days ago.
fn window(days: i64) -> String {
    let form = |days| days_ago(days).strftime("%Y%m%dT%H%M%SZ").to_string();
    format!("{}_{}", form(days), form(days - 1))
}

/// The program with nothing of this process's environment.
fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_connvault")).env_clear().args(arguments).output().unwrap()
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn with_json_standard_output_is_one_document_and_nothing_else() {
    let vault = Vault::in_directory().await;
    let start = vault.start.to_string();
    let mut commands = LOOKS.to_vec();
    commands.extend([&["once"][..], &["backfill", "logins", "--from", "START"]]);
    for round in ["before", "after"] {
        for command in &commands {
            let mut command = words(command, &start);
            command.push("--json");
            let output = vault.connvault(&command).await;
            let document: Result<serde_json::Value, _> = serde_json::from_slice(&output.stdout);
            assert!(document.is_ok(), "{round}: {command:?}: {output:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_only_look_change_nothing_and_ask_nobody() {
    let vault = Vault::in_directory().await;
    let start = vault.start.to_string();
    let before = files(vault.dir.path());
    for command in LOOKS {
        let output = vault.connvault(&words(command, &start)).await;
        let wanted = if command[0] == "gaps" { 3 } else { 0 };
        assert_eq!(output.status.code(), Some(wanted), "{command:?}: {output:?}");
        assert!(!output.stdout.is_empty(), "{command:?}");
    }
    assert_eq!(files(vault.dir.path()), before);
    assert!(vault.sim.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn gaps_are_shown_with_exit_code_3_and_their_absence_with_silence() {
    let vault = Vault::in_directory().await;
    let gaps = vault.connvault(&["gaps"]).await;
    assert_eq!(gaps.status.code(), Some(3));
    let shown = text(&gaps.stdout)
        .lines()
        .filter(|line| line.starts_with("logins") || line.starts_with(" logins"))
        .count();
    assert_eq!(shown, WINDOWS, "{}", text(&gaps.stdout));
    vault.once().await;
    let gaps = vault.connvault(&["gaps"]).await;
    assert_eq!((gaps.status.code(), gaps.stdout, gaps.stderr), (Some(0), Vec::new(), Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_up_many_windows_is_told_once_with_the_command_that_helps() {
    let vault = Vault::in_directory().await;
    vault.secret("source-sk", "another-secret-key-than-the-right-one");
    vault.connvault(&["once"]).await;
    for command in ["status", "gaps"] {
        let told = text(&vault.connvault(&[command]).await.stdout);
        assert_eq!(told.matches("APIGW.0301").count(), 1, "{told}");
        assert_eq!(told.matches("is held up, see above").count(), WINDOWS, "{told}");
        assert!(told.contains("when mended: connvault retry"), "{told}");
    }
    let retried = text(&vault.connvault(&["retry", "logins"]).await.stdout);
    assert!(retried.starts_with(&format!("{WINDOWS} windows are due again")), "{retried}");
    let again = text(&vault.connvault(&["retry", "logins"]).await.stdout);
    assert!(again.starts_with("0 windows"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_archives_the_stretch_that_it_names_and_no_more() {
    let vault = Vault::in_directory().await;
    let (from, to) = (vault.start.to_string(), days_ago(i64::try_from(WINDOWS).unwrap() - 2).to_string());
    let backfill = vault.connvault(&["backfill", "logins", "--from", &from, "--to", &to]).await;
    assert_eq!(backfill.status.code(), Some(0), "{backfill:?}");
    assert!(text(&backfill.stdout).starts_with("2 windows archived, 0 in the log already"), "{backfill:?}");
    assert_eq!(vault.audit().await.windows.len(), 2);
    assert_eq!(vault.connvault(&["gaps"]).await.status.code(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_on_the_command_line_ends_with_2_and_says_what_was_meant() {
    let vault = Vault::in_directory().await;
    let window = window(2);
    let skewed = window.replacen("T000000Z_", "T010000Z_", 1);
    let mistakes: [(&[&str], &str); 12] = [
        (&["statu"], "'status'"),
        (&["once", "--jsn"], "'--json'"),
        (&["retry", "login"], "did you mean logins?"),
        (&["retry", "vpn"], "it has: logins"),
        (&["retry", "Logins!"], "is not a name"),
        (&["retry", "logins", "2026-11-22"], "20261122T000000Z_20261123T000000Z"),
        (&["retry", "logins", &skewed], &window),
        (&["backfill", "login", "--from", "2026-11-01"], "did you mean logins?"),
        (&["backfill", "logins", "--from", "yesterday"], "2026-11-01T00:00:00Z"),
        (&["backfill", "logins", "--from", "2020-01-01"], "move streams.logins.start back"),
        (&["backfill", "logins", "--from", "2026-11-02", "--to", "2026-11-01"], "is not before"),
        (&["--log", "logins=nonsense=1", "status"], "--log"),
    ];
    for (arguments, meant) in mistakes {
        let output = vault.connvault(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains(meant), "{arguments:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_names_every_command_and_every_exit_code() {
    let help = program(&["--help"]);
    assert!(help.status.success() && help.stderr.is_empty());
    let help = text(&help.stdout);
    let commands =
        ["run", "once", "plan", "status", "gaps", "backfill", "retry", "config", "completions", "man"];
    for word in commands {
        assert!(help.lines().any(|line| line.trim_start().starts_with(word)), "{word}: {help}");
        let own = program(&[word, "--help"]);
        assert!(own.status.success() && text(&own.stdout).contains("--config"), "{word}");
    }
    for code in ["0 done", "1 failed", "2 usage", "3 gaps", "4 another instance", "75 temporary"] {
        assert!(help.contains(code), "{code}: {help}");
    }
    assert!(text(&program(&["man"]).stdout).contains(".TH connvault 1"));
    assert!(text(&program(&["completions", "bash"]).stdout).contains("backfill"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_no_failure() {
    let vault = Vault::in_directory().await;
    let commands: [(&[&str], i32); 4] =
        [(&["status"], 0), (&["once"], 0), (&["once", "--log", "trace"], 0), (&["retry", "login"], 2)];
    for (arguments, wanted) in commands {
        let mut command = vault.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Both pipes lose their reader before a word is said.
        drop((child.stdout.take(), child.stderr.take()));
        let ended = tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
        assert_eq!(ended.code(), Some(wanted), "{arguments:?}");
    }
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_cannot_be_written_is_a_failure() {
    let vault = Vault::in_directory().await;
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut child = vault.command(&["status"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(said.contains("standard output: No space left"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_finishes_what_is_in_flight_and_says_what_is_left() {
    let vault = Vault::in_directory().await;
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    std::fs::write(
        vault.path("config.toml"),
        config.replace("[sources.hq]", "concurrency = 1\n[sources.hq]"),
    )
    .unwrap();
    vault.sim.faults().always(Fault::DelayFirstByte(Duration::from_secs(1)));
    let child = vault.command(&["once"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    vault.until(|| vault.sim.request_count(connvault_sim::Endpoint::Export) > 0).await;
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    let said = text(&output.stdout);
    assert!(
        said.starts_with("1 window archived, 0 in the log already, then stopped: run it again"),
        "{said}"
    );
    vault.sim.faults().clear();
    vault.once().await;
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
}
