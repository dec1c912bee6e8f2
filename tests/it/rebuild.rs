//! The ledger anew from the log alone: as the lost one was, without a put and without a pull.

use std::fs;

use connvault::adapters::signature::SigningKey;
use connvault::domain::log_entry::{EntryBody, Lost};
use connvault_sim::{Endpoint, Fault, Record, Rule};
use jiff::SignedDuration;
use serde_json::Value;

use crate::support::buckets::InProcess;
use crate::support::planted::{LAST, but_for_the_last_window, of_the_last_window, plant, replace};
use crate::support::s3s::Dialect;
use crate::support::vault::{Place, Vault, WINDOWS, days_ago, signing_key, text};

/// The ledger's files, gone.
fn lose(vault: &Vault) {
    fs::remove_dir_all(vault.state_dir()).unwrap();
}

/// What `status --json` says, but for when it says it and when parked windows were last tried, which stands in no log.
async fn status(vault: &Vault) -> Value {
    let output = vault.connvault(&["status", "--json"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut status: Value = serde_json::from_slice(&output.stdout).unwrap();
    status.as_object_mut().unwrap().remove("now").unwrap();
    // Runs stand in no log.
    status.as_object_mut().unwrap().remove("daemon").unwrap();
    for window in status["windows"].as_array_mut().unwrap().iter_mut().filter(|w| w["verdict"] == "parked") {
        window.as_object_mut().unwrap().remove("next").unwrap();
        window["failure"].as_object_mut().unwrap().remove("at").unwrap();
    }
    status
}

/// Has the source refuse the window that starts so many days ago, for good.
fn refuse(vault: &Vault, days: i64) {
    let asked = days_ago(days) - SignedDuration::from_mins(1);
    let start = asked.strftime("%Y-%m-%dT%H:%MZ").to_string();
    let rule = Rule::new(Fault::status(400)).on(Endpoint::Export);
    vault.sim.faults().add(rule.for_start_time(start));
}

/// A status without the advice in the messages of failures.
fn causes(mut status: Value) -> Value {
    for window in status["windows"].as_array_mut().unwrap() {
        if let Some(message) = window.pointer_mut("/failure/message") {
            *message = message.as_str().unwrap().split("; ").next().unwrap().into();
        }
    }
    status
}

fn word_count(status: &Value, word: &str) -> u64 {
    status["streams"][0][word].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_ledger_is_the_lost_one_and_nothing_is_pulled_or_put_again() {
    let home = InProcess::start(Dialect::Aws).await;
    let mut vault = Vault::with(|_| Place::Bucket(Box::new(home.settings())), |sim| sim).await;
    // Long enough for windows that the provider has forgotten; and the last one waits for late records.
    vault.start = days_ago(33);
    vault.configure("revisit = [\"26h\", \"50h\"]");
    let config = fs::read_to_string(vault.path("config.toml")).unwrap();
    fs::write(vault.path("config.toml"), config.replace("settle = \"0s\"", "settle = \"1d\"")).unwrap();
    refuse(&vault, 4);
    refuse(&vault, 9);
    vault.connvault(&["once"]).await;
    // A record that came late: one window is revised. The others are pulled again, and have not changed.
    vault.sim.records().push(Record::at(days_ago(3) + SignedDuration::from_hours(12), 991));
    let from = days_ago(8).to_string();
    let output = vault.connvault(&["backfill", "logins", "--from", &from, "--redo", "all"]).await;
    assert!(text(&output.stdout).contains("1 revised"), "{}", text(&output.stdout));
    let before = status(&vault).await;
    for (word, least) in [("parked", 2), ("lost", 3), ("waiting", 1), ("archived", 20)] {
        assert!(word_count(&before, word) >= least, "{word}: {before:#}");
    }
    let kinds: Vec<_> = vault.audit().await.entries.iter().map(|entry| entry.entry().body.clone()).collect();
    assert!(kinds.iter().any(|body| matches!(body, EntryBody::Archived(a) if a.supersedes.is_some())));

    lose(&vault);
    let (writes, requests) = (home.server.writes(), vault.sim.requests().len());
    let output = vault.connvault(&["rebuild"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(" 2 parked; head "), "{}", text(&output.stdout));
    assert_eq!(home.server.writes(), writes);
    // The log has the causes of failures, and no advice.
    let before = causes(before);
    assert_eq!(status(&vault).await, before);
    // All that is due has been done: nothing is pulled, and but for the create-only probe nothing is put.
    let output = vault.connvault(&["once"]).await;
    assert!(text(&output.stdout).contains("0 windows archived"), "{}", text(&output.stdout));
    assert_eq!(vault.sim.requests().len(), requests);
    let put: Vec<_> = home.server.writes().split_off(writes.len());
    assert!(put.iter().all(|(_, path)| path.ends_with("/.connvault/create-only-probe")), "{put:?}");
    assert_eq!(status(&vault).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_window_has_one_entry_while_the_reason_stays_the_same() {
    let vault = Vault::in_directory().await;
    refuse(&vault, 2);
    for tried in 0..3 {
        vault.connvault(&["once"]).await;
        let audit = vault.audit().await;
        let parked = audit.entries.iter().filter_map(|entry| match &entry.entry().body {
            EntryBody::Parked(parked) => Some(parked.clone()),
            _ => None,
        });
        let parked: Vec<_> = parked.collect();
        assert_eq!(parked.len(), 1, "{parked:?}");
        assert!(parked.iter().all(|parked| parked.window.start() == days_ago(2)));
        assert!(parked.iter().all(|parked| parked.failure.needs_operator() && !parked.reason.is_empty()));
        // A ledger that knows nothing but the log says it no second time either.
        if tried == 1 {
            lose(&vault);
            assert!(vault.connvault(&["rebuild"]).await.status.success());
        }
        assert!(vault.connvault(&["retry"]).await.status.success());
    }
    let tries = vault.sim.requests().len();
    vault.connvault(&["once"]).await;
    assert!(vault.sim.requests().len() > tries, "it is tried all the same");
    let verified = vault.connvault(&["verify", "--json"]).await;
    assert!(verified.status.success(), "{}", text(&verified.stdout));
    let report: Value = serde_json::from_slice(&verified.stdout).unwrap();
    let notes = report["streams"][0]["notes"].as_array().unwrap();
    assert!(notes.iter().any(|note| note["kind"] == "windows_parked"), "{notes:?}");
    // When it is mended, the archive has it, and that is the last word.
    vault.sim.faults().clear();
    assert!(vault.connvault(&["retry"]).await.status.success());
    vault.once().await;
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_does_not_verify_is_refused_by_name_and_the_old_ledger_stays() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    let before = status(&vault).await;
    let entry = vault.path("archive/logins/log/000000000003.json");
    let whole = fs::read_to_string(&entry).unwrap();
    replace(&entry, whole.replace("\"rows\": ", "\"rows\": 1"));
    let output = vault.connvault(&["rebuild"]).await;
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    for word in ["entry 3 was changed", "the ledger is as it was", "--accept-unverified"] {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
    assert_eq!(status(&vault).await, before);
    assert!(!vault.state_dir().join("ledger.rebuilt.sqlite3").exists());
    let output = vault.connvault(&["rebuild", "--json"]).await;
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &document["rebuilt"]), (Some(3), &Value::Bool(false)));
    assert_eq!(document["streams"][0]["findings"][0]["seq"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_gone_on_with_where_that_is_asked_for() {
    let vault = Vault::in_directory().await;
    vault
        .connvault(&[
            "backfill",
            "logins",
            "--from",
            &vault.start.to_string(),
            "--to",
            &days_ago(1).to_string(),
        ])
        .await;
    let entries = vault.audit().await.entries.len();
    // The first no longer reads, another says something else, a third is gone.
    for (seq, damage) in [(1, "{"), (3, "\"rows\": 1")] {
        let entry = vault.path(&format!("archive/logins/log/{seq:012}.json"));
        let whole = fs::read_to_string(&entry).unwrap();
        replace(&entry, if seq == 1 { damage.to_owned() } else { whole.replace("\"rows\": ", damage) });
    }
    fs::remove_file(vault.path("archive/logins/log/000000000004.json")).unwrap();
    lose(&vault);
    assert_eq!(vault.connvault(&["rebuild"]).await.status.code(), Some(3));
    let output = vault.connvault(&["rebuild", "--accept-unverified"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("entry 4 is missing"), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains(&format!("head {entries}:")), "{}", text(&output.stdout));
    // The daemon goes on after the last entry, with what the log no longer says and with what is new.
    let output = vault.connvault(&["once"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(vault.path(&format!("archive/logins/log/{:012}.json", entries + 2)).exists());
    assert_eq!(vault.connvault(&["verify"]).await.status.code(), Some(3), "the damage stays to be seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lacks_what_the_old_ledger_knows_is_refused() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    let head = vault.audit().await.entries.len();
    let gone = |name: &str| name.starts_with(&format!("{head:012}."));
    for file in fs::read_dir(vault.path("archive/logins/log")).unwrap().map(Result::unwrap) {
        if gone(&file.file_name().into_string().unwrap()) {
            fs::remove_file(file.path()).unwrap();
        }
    }
    let output = vault.connvault(&["rebuild"]).await;
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(&format!("entry {head} ")), "{}", text(&output.stdout));
    // A ledger that is no database says nothing, so there is nothing to hold the log against.
    for suffix in ["-wal", "-shm"] {
        _ = fs::remove_file(vault.state_dir().join(format!("ledger.sqlite3{suffix}")));
    }
    fs::write(vault.state_dir().join("ledger.sqlite3"), "this is no database").unwrap();
    assert_eq!(vault.connvault(&["status"]).await.status.code(), Some(1));
    let output = vault.connvault(&["rebuild"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(vault.connvault(&["status"]).await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn losses_that_are_not_believed_are_not_counted() {
    let vault = but_for_the_last_window().await;
    let key = SigningKey::parse(&signing_key().into()).unwrap();
    plant(&vault, LAST - 1, 3, Some(&key), |entry| {
        of_the_last_window(entry);
        let (window, reason) = (entry.body.window().unwrap(), "by a clock that was ahead".into());
        entry.body = EntryBody::Lost(Lost { window, reason, last_attempt: None });
        entry.recorded_at += SignedDuration::from_hours(24 * 400);
    });
    lose(&vault);
    let output = vault.connvault(&["rebuild", "--json"]).await;
    assert!(output.status.success(), "{}", text(&output.stdout));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let stream = &report["streams"][0];
    assert_eq!((&stream["archived"], &stream["lost"]), (&(WINDOWS - 1).into(), &0.into()), "{stream:#}");
    vault.once().await;
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_ledger_is_made_anew_while_a_daemon_runs() {
    let vault = Vault::in_directory().await;
    let mut daemon = vault.daemon();
    vault.until_archived(&mut daemon).await;
    let output = vault.connvault(&["rebuild"]).await;
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("stop it first"), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_never_begun_is_no_reason_to_refuse() {
    let vault = Vault::in_directory().await;
    fs::create_dir_all(vault.path("archive/.connvault")).unwrap();
    let output = vault.connvault(&["rebuild"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("no log in the store yet"), "{}", text(&output.stdout));
    vault.once().await;
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_ledger_is_made_anew_by_the_next_start_and_a_log_that_does_not_verify_holds_its_stream() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    let (before, pulled) = (status(&vault).await, vault.sim.request_count(Endpoint::Export));
    let path = vault.state_dir().join("ledger.sqlite3");
    let mut damaged = fs::read(&path).unwrap();
    damaged[4096..].fill(0xAA);
    let kept = || {
        let names = fs::read_dir(vault.state_dir()).unwrap().map(|file| file.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().starts_with("ledger.sqlite3.corrupt-")).count()
    };
    // A log that does not verify: nothing of it is taken over, and its stream is on hold.
    let entry = vault.path(&format!("archive/logins/log/{:012}.json", 3));
    let whole = fs::read_to_string(&entry).unwrap();
    replace(&entry, whole.replace("sha256", "sha257"));
    fs::write(&path, &damaged).unwrap();
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    for words in
        ["the new ledger knows nothing of this stream yet", "held up until an operator looks: log entry"]
    {
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    }
    assert_eq!(kept(), 1, "the damaged one");
    replace(&entry, whole);
    fs::write(&path, &damaged).unwrap();
    let output = vault.once().await;
    assert!(text(&output.stderr).contains("the ledger was made anew"), "{}", text(&output.stderr));
    assert_eq!(status(&vault).await, before);
    assert_eq!(vault.sim.request_count(Endpoint::Export), pulled, "nothing is pulled again");
    assert_eq!(vault.audit().await.entries.len(), WINDOWS + 1, "and nothing is written");
}
