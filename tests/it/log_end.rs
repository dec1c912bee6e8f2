//! Where a log ends, by the real program: the daemon, `verify` and `rebuild` come to the same end whatever names somebody
//! plants beyond it, and entries that are taken away are missed all the same.

use std::fs;

use connvault::domain::digest::Sha256;
use connvault::domain::log_entry::{EntryBody, LogEntry};
use connvault::domain::object_key::{Seq, signature_key_of};
use serde_json::Value;

use crate::support::planted::{
    LAST, assert_on_hold, backfill, but_for_the_last_window, entries, entry_path, foreign, key, log,
    of_the_last_window, plant, read, verified, without_signing,
};
use crate::support::vault::{Vault, WINDOWS, text};

fn at(seq: u64) -> impl FnOnce(&mut LogEntry) {
    move |entry| entry.seq = Seq::new(seq).unwrap()
}

/// A copy of entry `from`, with its signature, in the place of entry `to`.
fn copy(vault: &Vault, from: u64, to: u64) {
    for name in entries(vault).iter().filter(|name| name.starts_with(&format!("{from:012}."))) {
        fs::copy(
            log(vault, name),
            log(vault, &name.replacen(&format!("{from:012}"), &format!("{to:012}"), 1)),
        )
        .unwrap();
    }
}

/// Everything that somebody who may put, and has no key that counts, can put beyond the end of a signed log.
fn plant_beyond(vault: &Vault) {
    let last = LAST - 1;
    fs::write(log(vault, "000000000099.json"), "{").unwrap();
    copy(vault, 3, 120);
    // Unsigned, and following one another.
    plant(vault, last, 3, None, |entry| (at(300)(entry), of_the_last_window(entry)).1);
    plant(vault, 300, 3, None, |_| {});
    plant(vault, last, 3, Some(&key(7)), at(400));
    fs::write(log(vault, "000999999999.json"), "{").unwrap();
    fs::write(log(vault, "999999999999.json"), "{").unwrap();
}

/// The head that `rebuild` says the log has.
async fn rebuilt(vault: &Vault, arguments: &[&str]) -> u64 {
    let output = vault.connvault(&[&["rebuild", "--json"], arguments].concat()).await;
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["streams"][0]["head"]["seq"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_beyond_the_end_that_show_nothing_are_foreign_to_the_daemon_verify_and_rebuild() {
    let vault = but_for_the_last_window().await;
    plant_beyond(&vault);
    let planted = [99, 120, 300, 301, 400, 999_999_999, 999_999_999_999_u64];
    let planted = planted.map(|seq| format!("{seq:012}.json"));
    for arguments in [&[][..], &["--accept-unverified"]] {
        fs::remove_dir_all(vault.state_dir()).unwrap();
        assert_eq!(rebuilt(&vault, arguments).await, LAST - 1);
    }
    // The daemon goes on where the log ends, and says what it passes over, as far as it looks.
    let said = text(&vault.once().await.stderr);
    let passed_over = said.lines().filter(|line| line.contains("entry passed over"));
    let passed_over: Vec<_> =
        passed_over.filter_map(|line| line.rsplit_once("seq=")).map(|said| said.1).collect();
    assert_eq!(passed_over, ["99", "120", "300", "301", "400", "999999999"], "{said}");
    assert_eq!(vault.connvault(&["gaps"]).await.status.code(), Some(0));
    assert!(matches!(read(&vault, LAST).body, EntryBody::Archived(_)));
    // With an empty ledger, too.
    fs::remove_dir_all(vault.state_dir()).unwrap();
    vault.once().await;
    assert!(!entry_path(&vault, LAST + 1).exists());
    let (code, stream) = verified(&vault).await;
    assert_eq!((code, &stream["head"]["seq"], &stream["entries"]), (Some(0), &LAST.into(), &LAST.into()));
    assert_eq!(foreign(&stream, "beyond_the_end"), planted, "{stream:#}");
    assert_eq!(foreign(&stream, "signature").len(), 2, "{stream:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_beyond_the_end_takes_one_number_once_the_log_comes_to_it() {
    let vault = but_for_the_last_window().await;
    fs::write(entry_path(&vault, LAST + 1), "{").unwrap();
    vault.once().await;
    assert!(entry_path(&vault, LAST).exists());
    assert_on_hold(&vault, &["000000000007.json"]).await;
    assert_eq!(rebuilt(&vault, &["--accept-unverified"]).await, LAST + 1);
    let from = vault.start.to_string();
    let noon = vault.start + jiff::SignedDuration::from_hours(12);
    vault.sim.records().push(connvault_sim::Record::at(noon, 991));
    let output = vault.connvault(&["backfill", "logins", "--from", &from, "--redo", "all"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(read(&vault, LAST + 2).previous, Sha256::of(b"{"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_deleted_in_a_log_is_missed_by_the_daemon_verify_and_rebuild() {
    for is_signed in [true, false] {
        let vault = Vault::in_directory().await;
        if !is_signed {
            without_signing(&vault);
        }
        vault.once().await;
        fs::write(log(&vault, "000000000099.json"), "{").unwrap();
        // What is alone behind the gap shows something by its signature only.
        for missing in 1..=if is_signed { LAST - 1 } else { LAST - 2 } {
            let path = entry_path(&vault, missing);
            let whole = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            let (code, stream) = verified(&vault).await;
            let finding = &stream["findings"][0];
            assert_eq!((code, &finding["kind"]), (Some(3), &"entries_missing".into()), "{stream:#}");
            assert_eq!((&finding["first"], &finding["last"]), (&missing.into(), &missing.into()));
            assert_eq!(foreign(&stream, "beyond_the_end"), ["000000000099.json"]);
            fs::remove_dir_all(vault.state_dir()).unwrap();
            assert_eq!(vault.connvault(&["rebuild"]).await.status.code(), Some(3));
            let shows = missing + if is_signed { 1 } else { 2 };
            assert_on_hold(
                &vault,
                &[&format!("{missing:012}.json"), &format!("entry {shows} stands beyond it")],
            )
            .await;
            fs::write(&path, whole).unwrap();
        }
        vault.once().await;
        assert_eq!(verified(&vault).await.0, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_an_unsigned_log_one_entry_beyond_a_gap_shows_nothing() {
    let vault = Vault::in_directory().await;
    without_signing(&vault);
    backfill(&vault).await;
    plant(&vault, LAST - 1, 3, None, at(300));
    plant(&vault, LAST - 1, 3, None, at(302));
    // By a key that signs nothing here.
    plant(&vault, LAST - 1, 3, Some(&key(7)), at(400));
    vault.once().await;
    let (code, stream) = verified(&vault).await;
    assert_eq!((code, &stream["head"]["seq"]), (Some(0), &LAST.into()), "{stream:#}");
    assert_eq!(foreign(&stream, "beyond_the_end").len(), 3);
    assert_eq!(rebuilt(&vault, &[]).await, LAST);
}

/// The name and the bytes of the signature on entry `seq`.
fn signature(vault: &Vault, seq: u64) -> (String, Vec<u8>) {
    let is_its = |name: &&String| name.starts_with(&format!("{seq:012}.")) && name.ends_with(".sig");
    let name = entries(vault).iter().find(is_its).unwrap().clone();
    let bytes = fs::read(log(vault, &name)).unwrap();
    (name, bytes)
}

/// Puts `bytes` where a signature on an entry in place `seq` would lie.
fn put_signature(vault: &Vault, seq: u64, bytes: &[u8]) -> String {
    let prefix = connvault::domain::object_key::HashPrefix::of(&Sha256::of(seq.to_string().as_bytes()));
    let key = signature_key_of(&"logins".parse().unwrap(), Seq::new(seq).unwrap(), prefix);
    fs::write(vault.path(&format!("archive/{key}")), bytes).unwrap();
    key.as_str().rsplit('/').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_signatures_and_those_of_strangers_do_not_say_that_a_log_went_on() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    let (_, real) = signature(&vault, 3);
    let other_armour = String::from_utf8(real.clone()).unwrap().replace('\n', "\r\n");
    let strangers = key(7).sign(b"anything");
    let put =
        [(LAST + 2, &real[..]), (400, &real), (401, other_armour.as_bytes()), (402, &strangers), (403, b"x")];
    let names: Vec<_> = put.map(|(seq, bytes)| put_signature(&vault, seq, bytes)).into();
    let allowed = vault.path("allowed");
    fs::write(&allowed, crate::support::vault::allowed_signers()).unwrap();
    let allowed = allowed.to_str().unwrap().to_owned();
    for signers in [&[][..], &["--allowed-signers", &allowed]] {
        let output = vault.connvault(&[&["verify", "--json"], signers].concat()).await;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let stream = &report["streams"][0];
        assert_eq!(output.status.code(), Some(0), "{stream:#}");
        assert_eq!(foreign(stream, "signature"), names, "{stream:#}");
    }
    fs::remove_dir_all(vault.state_dir()).unwrap();
    assert_eq!(rebuilt(&vault, &[]).await, LAST);
    vault.once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_are_cut_off_the_end_are_missed_by_their_signatures_among_planted_ones() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    put_signature(&vault, 400, &signature(&vault, 3).1);
    for seq in [LAST - 1, LAST] {
        fs::remove_file(entry_path(&vault, seq)).unwrap();
    }
    fs::remove_dir_all(vault.state_dir()).unwrap();
    let (code, stream) = verified(&vault).await;
    assert_eq!(code, Some(3));
    let finding = &stream["findings"][0];
    let missing = LAST - 1;
    assert_eq!(
        (&finding["kind"], &finding["first"], &finding["last"]),
        (&"tail_missing".into(), &missing.into(), &missing.into()),
        "{stream:#}"
    );
    assert_eq!(vault.connvault(&["rebuild"]).await.status.code(), Some(3));
    // The last signature may be of a crash.
    let (name, _) = signature(&vault, LAST);
    fs::remove_file(log(&vault, &name)).unwrap();
    let (_, stream) = verified(&vault).await;
    let notes = stream["notes"].as_array().unwrap();
    assert!(notes.iter().any(|note| note["kind"] == "signature_without_entry"), "{notes:#?}");
    assert_eq!(vault.connvault(&["rebuild"]).await.status.code(), Some(0));
    // So it is: the log goes on, and the window is archived anew.
    vault.once().await;
    assert_eq!(vault.connvault(&["gaps"]).await.status.code(), Some(0));
    assert_eq!(read(&vault, LAST).seq.get(), LAST);
    assert_eq!(entries(&vault).iter().filter(|name| name.ends_with(".json")).count(), WINDOWS + 1);
}
