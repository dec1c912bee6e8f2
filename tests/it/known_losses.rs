//! Losses that are known: recorded once, acknowledged by a person, and no reason for silence.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::process::Output;
use std::time::Duration;

use connvault::domain::failure::FailureKind;
use connvault::domain::verdict::Verdict;
use connvault_sim::{Endpoint, Fault, Rule, Simulator};
use jiff::SignedDuration;
use serde_json::Value;

use crate::support::clock::TestClock;
use crate::support::inside::{begin, reconcile, verdicts};
use crate::support::place::Place;
use crate::support::vault::{Running, Vault, WINDOWS, days_ago, text};
use crate::support::world::{World, said};

/// Windows that expire in a source that keeps records for three days, as the configuration says.
const LOST: usize = 3;

const SHORT: &str = "stall_timeout = \"5s\"\nhorizon = \"3d\"\npast_horizon = \"lose\"\n";

/// A vault whose first windows the log records as lost; the others are archived.
async fn with_losses() -> Vault {
    let vault = Vault::in_directory().await;
    vault.configure_with(SHORT, "");
    vault.connvault(&["once"]).await;
    vault
}

fn window(days: i64) -> String {
    let name = |days| days_ago(days).strftime("%Y%m%dT%H%M%SZ").to_string();
    format!("{}_{}", name(days), name(days - 1))
}

async fn acknowledge(vault: &Vault, more: &[&str]) -> Output {
    let mut arguments = vec!["acknowledge", "logins"];
    arguments.extend(more);
    vault.connvault(&arguments).await
}

const BY: [&str; 4] = ["--by", "Ada L.", "--reason", "provider outage, ticket 7"];

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output.stderr)))
}

async fn gaps(vault: &Vault, more: &[&str]) -> (i32, Vec<Value>) {
    let output = vault.connvault(&[&["gaps", "--json"], more].concat()).await;
    (output.status.code().unwrap(), json(&output).as_array().unwrap().clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_window_is_a_gap_until_a_person_takes_note_of_it() {
    let vault = with_losses().await;
    let (code, found) = gaps(&vault, &[]).await;
    assert_eq!((code, found.len()), (3, LOST));
    let first = window(WINDOWS as i64);
    let output = acknowledge(&vault, &[&[first.as_str()], &BY[..]].concat()).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("acknowledged by log entry"), "{}", text(&output.stdout));
    assert_eq!(gaps(&vault, &[]).await.0, 3);
    assert_eq!(gaps(&vault, &[]).await.1.len(), LOST - 1);

    let from = vault.start.to_string();
    let output = acknowledge(&vault, &[&["--json", "--from", from.as_str()], &BY[..]].concat()).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = json(&output);
    assert_eq!(said["acknowledged"].as_array().unwrap().len(), LOST - 1, "{said}");
    assert_eq!(
        (said["already"].as_array().unwrap().len(), said["waiting"].as_array().unwrap().len()),
        (1, 0)
    );
    let silent = vault.connvault(&["gaps"]).await;
    assert_eq!((silent.status.code(), silent.stdout, silent.stderr), (Some(0), Vec::new(), Vec::new()));
    // A second time changes nothing.
    let entries = vault.audit().await.entries.len();
    assert_eq!(acknowledge(&vault, &[&[first.as_str()], &BY[..]].concat()).await.status.code(), Some(0));
    assert_eq!(vault.audit().await.entries.len(), entries);

    shown_everywhere(&vault).await;
    // The log alone restores it.
    std::fs::remove_dir_all(vault.state_dir()).unwrap();
    assert!(vault.connvault(&["rebuild"]).await.status.success());
    shown_everywhere(&vault).await;
}

/// Who took note of all losses is shown by every command, and none of them calls that an error.
async fn shown_everywhere(vault: &Vault) {
    let (code, known) = gaps(vault, &["--all"]).await;
    assert_eq!((code, known.len()), (0, LOST));
    assert!(known.iter().all(|gap| gap["verdict"] == "lost" && gap["late"] == false), "{known:?}");
    let known = &known[0]["acknowledged"];
    assert_eq!((&known["by"], &known["reason"]), (&BY[1].into(), &BY[3].into()));
    let status = text(&vault.connvault(&["status"]).await.stdout);
    assert!(status.contains("of 3 lost or unread, 3 acknowledged") && status.contains("Ada L."), "{status}");
    assert!(text(&vault.connvault(&["gaps", "--all"]).await.stdout).contains("ticket 7"));
    let status = json(&vault.connvault(&["status", "--json"]).await);
    let numbers = &status["streams"][0];
    assert_eq!(
        ["lost", "acknowledged", "late"].map(|word| numbers[word].as_u64()),
        [Some(3), Some(3), Some(0)]
    );
    let verified = vault.connvault(&["verify"]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stdout));
    let shown = text(&verified.stdout);
    assert!(
        shown.contains("lost by the provider") && shown.contains("by Ada L.: provider outage"),
        "{shown}"
    );
    let report = json(&vault.connvault(&["verify", "--json"]).await);
    let stream = &report["streams"][0];
    assert_eq!((&stream["lost"], &stream["acknowledged"]), (&3.into(), &3.into()));
    let notes = stream["notes"].as_array().unwrap();
    let known: Vec<_> = notes.iter().filter(|note| note["kind"] == "acknowledged").collect();
    assert_eq!(known.len(), LOST, "{notes:?}");
    assert!(known.iter().all(|note| note["by"] == BY[1] && note["at"].is_string() && note["entry"].is_u64()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_recorded_loss_is_refused_before_anything_is_written() {
    let vault = with_losses().await;
    let entries = vault.audit().await.entries.len();
    let (lost, archived) = (window(WINDOWS as i64), window(1));
    for (bad, word) in
        [(archived.as_str(), "is archived"), ("20010101T000000Z_20010102T000000Z", "has no window")]
    {
        let output = acknowledge(&vault, &[&[lost.as_str(), bad], &BY[..]].concat()).await;
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
        assert!(text(&output.stderr).contains(word), "{}", text(&output.stderr));
    }
    for bad in ["", "two\nlines", "esc \u{1b}[2J", "right \u{202e}to left"] {
        let output = acknowledge(&vault, &[lost.as_str(), "--by", bad, "--reason", "x"]).await;
        assert_eq!(output.status.code(), Some(2), "{bad:?}");
    }
    assert_eq!(acknowledge(&vault, &BY).await.status.code(), Some(2), "no window is named");
    let mut unknown = vault.command(&["acknowledge", "logs", &lost]);
    let unknown = unknown.args(BY).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    assert_eq!(vault.audit().await.entries.len(), entries);
    assert_eq!(gaps(&vault, &[]).await.1.len(), LOST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_writes_what_it_is_asked_to_acknowledge() {
    let vault = with_losses().await;
    let inode = std::fs::metadata(vault.state_dir().join("lock")).unwrap().ino();
    let mut daemon = vault.daemon();
    // Before the daemon has its lock the command would write the entries itself, and keep the daemon out.
    let is_held = || std::fs::read_to_string("/proc/locks").unwrap().contains(&format!(":{inode} "));
    vault.until(is_held).await;
    let from = vault.start.to_string();
    let output = acknowledge(&vault, &[&["--from", from.as_str()], &BY[..]].concat()).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(daemon.try_wait().unwrap().is_none());
    assert_eq!(gaps(&vault, &[]).await.0, 0);
    let signed = vault.connvault(&["verify"]).await;
    assert_eq!(signed.status.code(), Some(0), "{}", text(&signed.stdout));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_archived_after_all_needs_no_acknowledgement() {
    let vault = with_losses().await;
    let lost = window(WINDOWS as i64);
    assert_eq!(acknowledge(&vault, &[&[lost.as_str()], &BY[..]].concat()).await.status.code(), Some(0));
    vault.configure("");
    let (from, to) = (days_ago(WINDOWS as i64).to_string(), days_ago(WINDOWS as i64 - 1).to_string());
    let output =
        vault.connvault(&["backfill", "logins", "--from", &from, "--to", &to, "--redo", "failed"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let status = json(&vault.connvault(&["status", "--json"]).await);
    assert_eq!(status["streams"][0]["acknowledged"], 0, "{status}");
    let report = json(&vault.connvault(&["verify", "--json"]).await);
    assert_eq!(
        (&report["ok"], &report["streams"][0]["acknowledged"]),
        (&true.into(), &Value::Null),
        "{report}"
    );
}

/// Expects a heartbeat of a daemon that starts now.
async fn a_heartbeat_comes(vault: &Vault) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    vault.secret("heartbeat", &format!("http://{}/ping", listener.local_addr().unwrap()));
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let alerts = format!("[alerts]\nheartbeat_url_file = \"{}\"\n", vault.path("heartbeat").display());
    std::fs::write(vault.path("config.toml"), config + &alerts).unwrap();
    let daemon: Running = vault.daemon();
    let beat = tokio::task::spawn_blocking(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut start = [0; 10];
        socket.read_exact(&mut start).unwrap();
        socket.write_all(b"HTTP/1.1 204 Thanks\r\nConnection: close\r\n\r\n").unwrap();
        start
    });
    let beat = tokio::time::timeout(Duration::from_secs(100), beat).await.expect("a heartbeat").unwrap();
    assert_eq!(&beat, b"POST /ping");
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_losses_do_not_silence_the_heartbeat() {
    let vault = with_losses().await;
    assert_eq!(gaps(&vault, &[]).await.0, 3);
    a_heartbeat_comes(&vault).await;
}

/// A vault whose first window is archived unread, and that window.
async fn with_an_unread_window() -> (Vault, String) {
    let vault = Vault::in_directory().await;
    let file = format!("{}/tests/fixtures/odd-files/x32-zip-of-csv.xlsx", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read(file).unwrap();
    let asked = vault.start - SignedDuration::from_mins(1);
    let rule = Rule::new(Fault::Body(file.into())).on(Endpoint::Export);
    vault.sim.faults().add(rule.for_start_time(asked.strftime("%Y-%m-%dT%H:%MZ").to_string()));
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(1), "a window needs an operator: {}", text(&output.stderr));
    (vault, window(WINDOWS as i64))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unread_window_is_a_gap_until_a_person_takes_note_of_it() {
    let (vault, unread) = with_an_unread_window().await;
    let (code, found) = gaps(&vault, &[]).await;
    assert_eq!((code, found.len(), &found[0]["content"]), (3, 1, &"unread".into()), "{found:?}");
    let output = acknowledge(&vault, &[&[unread.as_str()], &BY[..]].concat()).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    // What the log says, a lost ledger learns from it.
    for run in ["as it is", "rebuilt"] {
        if run == "rebuilt" {
            std::fs::remove_dir_all(vault.state_dir()).unwrap();
            assert!(vault.connvault(&["rebuild"]).await.status.success());
        }
        assert_eq!(gaps(&vault, &[]).await.0, 0, "{run}");
        let (_, known) = gaps(&vault, &["--all"]).await;
        assert_eq!((&known[0]["late"], &known[0]["acknowledged"]["by"]), (&false.into(), &BY[1].into()));
        let verified = vault.connvault(&["verify", "--level", "bytes"]).await;
        assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stdout));
        let shown = text(&verified.stdout);
        assert!(shown.contains("archived unread") && shown.contains("by Ada L.: provider outage"), "{shown}");
        let report = json(&vault.connvault(&["verify", "--json"]).await);
        let stream = &report["streams"][0];
        let notes: Vec<_> = stream["notes"].as_array().unwrap().iter().map(|note| &note["kind"]).collect();
        assert!(
            notes.contains(&&"archived_unread".into()) && notes.contains(&&"acknowledged".into()),
            "{notes:?}"
        );
        assert_eq!(stream["acknowledged"], 1, "{stream}");
    }
    a_heartbeat_comes(&vault).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_acknowledged_now_is_written_by_a_later_run() {
    let (vault, unread) = with_an_unread_window().await;
    let archive = vault.path("archive");
    let away = vault.path("away");
    std::fs::rename(&archive, &away).unwrap();
    let output = acknowledge(&vault, &[&[unread.as_str()], &BY[..]].concat()).await;
    assert_eq!(output.status.code(), Some(75), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).contains("the request stays"), "{}", text(&output.stdout));
    assert_eq!(gaps(&vault, &[]).await.0, 3);
    if archive.exists() {
        std::fs::remove_dir_all(&archive).unwrap();
    }
    std::fs::rename(&away, &archive).unwrap();
    assert!(vault.connvault(&["retry"]).await.status.success());
    let before = vault.audit().await.entries.len();
    vault.connvault(&["once"]).await;
    assert_eq!(gaps(&vault, &[]).await.0, 0);
    assert_eq!(vault.audit().await.entries.len(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_wrong_clock_nothing_is_acknowledged_and_the_clock_is_said() {
    let world = World::now(Place::directory(), 2).await;
    world.sim.faults().add(Rule::new(Fault::status(500)).on(Endpoint::Export));
    let window = format!("{}_{}", name_of(&world.windows[0]), name_of(&world.windows[1]));
    let acknowledge = [&["acknowledge", "logins", window.as_str()], &BY[..]].concat();
    world.connvault(&["once"]).await;
    let entries = world.archive().await.entries.len();
    for seconds in [-365 * 86_400, 35 * 86_400] {
        let output = world.connvault_ahead(seconds, &acknowledge).await;
        assert_eq!(output.status.code(), Some(75), "{seconds}: {}", said(&output));
        assert!(said(&output).contains("the clock of this machine is"), "{}", said(&output));
        assert!(said(&output).contains("nothing was acknowledged"), "{}", said(&output));
    }
    assert_eq!(world.archive().await.entries.len(), entries);
    // By the right clock it is told what the window is.
    let output = world.connvault(&acknowledge).await;
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("is waiting"), "{}", said(&output));
}

/// An instant as windows' names have it.
fn name_of(instant: &str) -> String {
    instant.replace(['-', ':'], "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_fails_each_day_for_the_same_reason_has_one_entry_and_each_other_reason_one_more() {
    let clock = TestClock::at("2026-11-23T02:00:05Z");
    let world = World::built(Place::directory(), &clock, 3, Simulator::builder()).await;
    let asked: jiff::Timestamp = world.windows[1].parse().unwrap();
    let asked = (asked - SignedDuration::from_mins(1)).strftime("%Y-%m-%dT%H:%MZ").to_string();
    let rule = |fault| Rule::new(fault).on(Endpoint::Export).for_start_time(asked.clone());
    world.sim.faults().add(rule(Fault::status(400)));
    let session = begin(&world.config(), &clock).await.unwrap();
    let mut parked = Vec::new();
    for (days, fault) in [(5, None), (10, Some(Fault::JsonErrorBody)), (15, None)] {
        if let Some(fault) = fault {
            world.sim.faults().clear();
            world.sim.faults().add(rule(fault));
        }
        let before = world.sim.request_count(Endpoint::Export);
        let until = "2026-11-23T02:00:05Z".parse::<jiff::Timestamp>().unwrap();
        reconcile(&session, &clock, 1, until + SignedDuration::from_hours(24) * days).await;
        assert!(world.sim.request_count(Endpoint::Export) >= before + 5, "it is tried each day");
        parked =
            world.archive_of("logins").await.of_kind("parked").iter().map(|e| e["failure"].clone()).collect();
        let wanted = if days == 5 { vec!["rejected"] } else { vec!["rejected", "corrupt"] };
        assert_eq!(parked, wanted, "after {days} days");
    }
    let snapshot = session.services.ledger.snapshot().await.unwrap();
    let stream = "logins".parse().unwrap();
    let states = snapshot.windows[&stream].values();
    let parked_now: Vec<_> = states
        .filter_map(|state| match state {
            connvault::domain::snapshot::WindowState::Parked { since, failure, seq, .. } => {
                Some((*since, failure.at, seq.is_some()))
            }
            _ => None,
        })
        .collect();
    let [(since, last, said)] = parked_now[..] else { panic!("{parked_now:?} {parked:?}") };
    assert!(said && last.duration_since(since) > SignedDuration::from_hours(24 * 5), "{since} {last}");
    session.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_whose_reasons_take_turns_has_one_entry_for_each_and_one_a_day_at_most() {
    let clock = TestClock::at("2026-11-23T02:00:05Z");
    let world = World::built(Place::directory(), &clock, 3, Simulator::builder()).await;
    let asked: jiff::Timestamp = world.windows[1].parse().unwrap();
    let asked = (asked - SignedDuration::from_mins(1)).strftime("%Y-%m-%dT%H:%MZ").to_string();
    let rule = |fault| Rule::new(fault).on(Endpoint::Export).for_start_time(asked.clone());
    let session = begin(&world.config(), &clock).await.unwrap();
    let parked = async || -> Vec<_> {
        world.archive_of("logins").await.of_kind("parked").iter().map(|e| e["failure"].clone()).collect()
    };
    let mut until = "2026-11-23T02:00:05Z".parse::<jiff::Timestamp>().unwrap();
    let mut meets = async |fault: Fault, hours: i64| {
        world.sim.faults().clear();
        world.sim.faults().add(rule(fault));
        session.services.ledger.retry(None, None).await.unwrap();
        until += SignedDuration::from_hours(hours);
        reconcile(&session, &clock, 1, until).await;
    };
    meets(Fault::status(400), 1).await;
    assert_eq!(parked().await, ["rejected"]);
    // Another reason in the same day: the ledger has it at once, and the log a day later.
    meets(Fault::JsonErrorBody, 2).await;
    assert_eq!(parked().await, ["rejected"]);
    let judged = verdicts(&session).await;
    let parked_now = judged.iter().find_map(|judged| match &judged.verdict {
        Verdict::Parked { failure, seq, .. } => Some((failure.kind, seq.is_some())),
        _ => None,
    });
    assert_eq!(parked_now, Some((FailureKind::Corrupt, true)), "{judged:?}");
    for day in 1..9 {
        meets(if day % 2 == 0 { Fault::status(400) } else { Fault::JsonErrorBody }, 24).await;
    }
    assert_eq!(parked().await, ["rejected", "corrupt"]);
    // A ledger that is made from the log knows both reasons.
    session.end().await;
    world.lose_state();
    let session = begin(&world.config(), &clock).await.unwrap();
    world.sim.faults().clear();
    world.sim.faults().add(rule(Fault::status(400)));
    reconcile(&session, &clock, 1, until + SignedDuration::from_hours(50)).await;
    assert_eq!(parked().await, ["rejected", "corrupt"]);
    session.end().await;
}
