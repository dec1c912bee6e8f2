//! The log is believed only with proof, by the real program: what somebody plants in a bucket holds its stream, is said, and
//! ends no process.

use std::fs;

use connvault::adapters::signature::SigningKey;
use connvault::domain::digest::Sha256;
use connvault::domain::log_entry::EntryBody;
use jiff::SignedDuration;
use serde_json::Value;

use crate::support::buckets::InProcess;
use crate::support::planted::{
    LAST, add_stream, assert_on_hold, backfill, but_for_the_last_window, configure, entries, entry_path, key,
    log, of_the_last_window, pem, plant, read, replace, without_signing,
};
use crate::support::s3s::Dialect;
use crate::support::vault::{Place, Vault, WINDOWS, allowed_signers, days_ago, signing_key, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_entry_without_a_signature_hides_no_window_and_holds_its_stream_alone() {
    let vault = but_for_the_last_window().await;
    plant(&vault, LAST - 1, 3, None, of_the_last_window);
    add_stream(&vault);
    assert_on_hold(&vault, &["000000000006.json", "not signed", "may be forged"]).await;
    assert_eq!(fs::read_dir(vault.path("archive/others/log")).unwrap().count(), 2 * (WINDOWS + 1));
    // The same on a new machine.
    fs::remove_dir_all(vault.state_dir()).unwrap();
    assert_on_hold(&vault, &["000000000006.json", "not signed"]).await;
    // Taken away again, it holds nothing.
    fs::remove_file(entry_path(&vault, LAST)).unwrap();
    vault.once().await;
    assert_eq!(vault.connvault(&["gaps"]).await.status.code(), Some(0));
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_entry_holds_its_stream_though_no_window_is_due_and_a_hold_ends_when_the_log_reads_again() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    plant(&vault, LAST, 3, None, |_| {});
    assert_on_hold(&vault, &["000000000007.json", "not signed"]).await;
    fs::remove_file(entry_path(&vault, LAST + 1)).unwrap();
    vault.once().await;
    assert_eq!(vault.connvault(&["gaps"]).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_of_another_key_or_of_other_bytes_does_not_count() {
    for (seed, words) in [(7, "not among the allowed signers"), (42, "there is no signature on these bytes")]
    {
        let vault = but_for_the_last_window().await;
        fs::write(vault.path("allowed"), allowed_signers()).unwrap();
        let allowed = vault.path("allowed");
        configure(&vault, |text| {
            text.replace(
                "[signing]\n",
                &format!("[signing]\nallowed_signers_file = \"{}\"\n", allowed.display()),
            )
        });
        let other = key(seed);
        plant(&vault, LAST - 1, 3, Some(&other), of_the_last_window);
        if seed == 42 {
            // Signed by the right key, and changed afterwards.
            let path = entry_path(&vault, LAST);
            let changed = fs::read_to_string(&path).unwrap().replace("\"revision\": 1", "\"revision\": 2");
            replace(&path, changed);
        }
        assert_on_hold(&vault, &["000000000006.json", words, &other.fingerprint()]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_stream_entry_ends_no_start_and_changes_no_stream() {
    let vault = but_for_the_last_window().await;
    plant(&vault, LAST - 1, 1, None, |entry| {
        let EntryBody::Stream(opened) = &mut entry.body else { panic!("{entry:?}") };
        opened.definition.project_id = "another".to_owned();
    });
    assert_on_hold(&vault, &["000000000006.json", "not signed"]).await;
    let mut daemon = vault.daemon();
    vault.until_status_shows("000000000006.json", 1).await;
    assert!(daemon.try_wait().unwrap().is_none(), "the daemon has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_an_unsigned_log_a_stream_entry_that_changes_what_is_fixed_holds_its_stream() {
    let vault = Vault::in_directory().await;
    without_signing(&vault);
    backfill(&vault).await;
    plant(&vault, LAST - 1, 1, None, |entry| {
        let EntryBody::Stream(opened) = &mut entry.body else { panic!("{entry:?}") };
        opened.definition.timezone = "Asia/Shanghai".to_owned();
    });
    assert_on_hold(&vault, &["000000000006.json", "Asia/Shanghai", "fixed when a stream is opened"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_at_the_next_place_holds_its_stream_whatever_its_size() {
    for (name, garbage) in [
        ("none", Vec::new()),
        ("text", b"{".to_vec()),
        ("large", vec![b' '; 3 << 20]),
        ("deep", vec![b'['; 100_000]),
    ] {
        let vault = but_for_the_last_window().await;
        replace(&entry_path(&vault, LAST), garbage);
        add_stream(&vault);
        assert_on_hold(&vault, &["000000000006.json"]).await;
        assert_eq!(
            fs::read_dir(vault.path("archive/others/log")).unwrap().count(),
            2 * (WINDOWS + 1),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_read_of_an_entry_than_any_entry_has() {
    let vault = but_for_the_last_window().await;
    // A sparse file of 4 TiB: nobody reads that to its end.
    let file = fs::File::create_new(entry_path(&vault, LAST)).unwrap();
    file.set_len(4 << 40).unwrap();
    drop(file);
    assert_on_hold(&vault, &["000000000006.json", "1048576 bytes"]).await;
    let output = vault.connvault(&["verify", "--level", "log"]).await;
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("entry 6 was changed"), "{}", text(&output.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_began_unsigned_is_signed_from_the_first_start_with_a_key_on() {
    let vault = Vault::in_directory().await;
    let signed = fs::read_to_string(vault.path("config.toml")).unwrap();
    without_signing(&vault);
    backfill(&vault).await;
    fs::write(vault.path("config.toml"), signed).unwrap();
    vault.once().await;
    let last = read(&vault, LAST);
    assert!(last.writer.key_fingerprint.is_some(), "{last:?}");
    // On a new machine the whole log is followed, and what comes unsigned after the signed entry is refused.
    fs::remove_dir_all(vault.state_dir()).unwrap();
    vault.once().await;
    plant(&vault, LAST, 3, None, |_| {});
    assert_on_hold(&vault, &["000000000007.json", "not signed"]).await;
    fs::remove_file(entry_path(&vault, LAST + 1)).unwrap();
    // And a log that was never signed is so from the end of the first start with a key on.
    let vault = Vault::in_directory().await;
    let signed = fs::read_to_string(vault.path("config.toml")).unwrap();
    without_signing(&vault);
    vault.once().await;
    fs::write(vault.path("config.toml"), signed).unwrap();
    vault.once().await;
    plant(&vault, LAST, 3, None, |_| {});
    assert_on_hold(&vault, &["000000000007.json", "not signed"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_signed_tail_was_cut_and_that_goes_on_unsigned_is_refused() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    let names = entries(&vault);
    for name in names.iter().filter(|name| !name.starts_with("000000000001")) {
        fs::remove_file(log(&vault, name)).unwrap();
    }
    // Without its own signature, too, the first entry is one of a signed log.
    fs::remove_file(log(&vault, names.iter().find(|name| name.ends_with(".sig")).unwrap())).unwrap();
    assert_on_hold(&vault, &["000000000006.json", "gone"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_an_earlier_key_needs_that_key_among_the_allowed_signers() {
    let vault = but_for_the_last_window().await;
    let earlier = SigningKey::parse(&signing_key().into()).unwrap();
    vault.secret("signing-key", &pem(9));
    assert_on_hold(&vault, &[&earlier.fingerprint(), "signing.allowed_signers_file"]).await;
    // The same on a new machine.
    fs::remove_dir_all(vault.state_dir()).unwrap();
    assert_on_hold(&vault, &[&earlier.fingerprint(), "signing.allowed_signers_file"]).await;
    let allowed = vault.path("allowed");
    let both = format!("{}connvault {}\n", allowed_signers(), key(9).public_key_line());
    fs::write(&allowed, format!("connvault {}\n", key(9).public_key_line())).unwrap();
    configure(&vault, |text| {
        text.replace("[signing]\n", &format!("[signing]\nallowed_signers_file = \"{}\"\n", allowed.display()))
    });
    assert_on_hold(&vault, &[&earlier.fingerprint(), "signing.allowed_signers_file"]).await;
    fs::write(&allowed, both).unwrap();
    let output = vault.once().await;
    assert_eq!(vault.connvault(&["gaps"]).await.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(read(&vault, LAST).writer.key_fingerprint, Some(key(9).fingerprint()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_without_a_key_does_not_go_on_with_a_signed_log() {
    let vault = but_for_the_last_window().await;
    without_signing(&vault);
    assert_on_hold(&vault, &["is signed", "signing.key_file"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_without_a_key_believes_no_planted_entry_of_a_signed_log() {
    for lost_state in [false, true] {
        let vault = but_for_the_last_window().await;
        let whole = fs::read_to_string(vault.path("config.toml")).unwrap();
        without_signing(&vault);
        if lost_state {
            fs::remove_dir_all(vault.state_dir()).unwrap();
        }
        plant(&vault, LAST - 1, 3, None, of_the_last_window);
        assert_on_hold(&vault, &["signed"]).await;
        configure(&vault, |_| whole);
        fs::remove_file(entry_path(&vault, LAST)).unwrap();
        assert!(vault.connvault(&["retry"]).await.status.success());
        vault.once().await;
        assert_eq!(vault.audit().await.windows.len(), WINDOWS);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_accepts_a_damaged_log_believes_no_planted_entry_of_a_signed_one() {
    let vault = but_for_the_last_window().await;
    plant(&vault, LAST - 1, 3, None, of_the_last_window);
    let output = vault.connvault(&["rebuild", "--accept-unverified"]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    vault.once().await;
    let archived = read(&vault, LAST + 1);
    assert!(matches!(archived.body, EntryBody::Archived(_)), "the window was never exported: {archived:?}");
    assert_eq!(vault.connvault(&["gaps"]).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contradiction_between_configuration_and_log_holds_its_stream_and_check_says_it() {
    let vault = but_for_the_last_window().await;
    let whole = fs::read_to_string(vault.path("config.toml")).unwrap();
    let later = (vault.start + SignedDuration::from_hours(24)).to_string();
    for (from, to, words) in [
        ("timezone = \"UTC\"", "timezone = \"Africa/Abidjan\"", "timezone"),
        ("window = \"1d\"", "window = \"12h\"", "window"),
        (vault.start.to_string().as_str(), later.as_str(), "start may only move back"),
    ] {
        configure(&vault, |_| whole.replace(from, to));
        assert_on_hold(&vault, &["stream logins", words, "give the changed stream a new name"]).await;
        let output = vault.connvault(&["check", "--json"]).await;
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
        assert!(text(&output.stdout).contains(words), "{}", text(&output.stdout));
        let output = vault.connvault(&["verify", "--json"]).await;
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stdout));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["streams"][0]["findings"].as_array().unwrap();
        assert!(findings.iter().any(|finding| finding["kind"] == "not_as_configured"), "{findings:?}");
    }
    configure(&vault, |_| whole);
    vault.once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_always_says_what_the_stream_is() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    let output = vault.connvault(&["verify"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let said = text(&output.stdout);
    for word in ["region sim", vault.sim.project_id(), "windows of 1d", "time zone UTC"] {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
    let output = vault.connvault(&["verify", "--json"]).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["streams"][0]["definition"]["timezone"], "UTC");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_more_or_fewer_than_twelve_digits_are_passed_over() {
    let vault = but_for_the_last_window().await;
    for name in ["1000000000006.json", "0000000000006.json", "00000000006.json", "6.json", "x.json"] {
        fs::write(log(&vault, name), "{").unwrap();
    }
    let output = vault.once().await;
    assert_eq!(vault.connvault(&["gaps"]).await.status.code(), Some(0), "{}", text(&output.stderr));
    let output = vault.connvault(&["verify"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert_eq!(text(&output.stdout).matches("is no part of the log").count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_gone_on_with_after_a_damaged_last_entry_where_that_is_asked_for() {
    let mut text_of_1_8_mb = "{\"format\": 1, \"reason\": \"".to_owned();
    text_of_1_8_mb.push_str(&"x".repeat(1_800_000));
    for garbage in ["{".to_owned(), text_of_1_8_mb + "\"}\n"] {
        let vault = but_for_the_last_window().await;
        replace(&entry_path(&vault, LAST), &garbage);
        assert_on_hold(&vault, &["000000000006.json", "--accept-unverified"]).await;
        assert_eq!(vault.connvault(&["rebuild"]).await.status.code(), Some(3));
        let output = vault.connvault(&["rebuild", "--accept-unverified"]).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        let hash = Sha256::of(garbage.as_bytes());
        assert!(text(&output.stdout).contains(&format!("head 6:{hash}")), "{}", text(&output.stdout));
        for _ in 0..2 {
            let output = vault.once().await;
            assert_eq!(vault.connvault(&["gaps"]).await.status.code(), Some(0), "{}", text(&output.stderr));
        }
        let next = read(&vault, LAST + 1);
        assert_eq!((next.seq.get(), next.previous), (LAST + 1, hash));
        let output = vault.connvault(&["verify", "--json"]).await;
        assert_eq!(output.status.code(), Some(3), "the damage stays to be seen");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["streams"][0]["findings"].as_array().unwrap();
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert_eq!((&findings[0]["kind"], &findings[0]["seq"]), (&"entry_unreadable".into(), &6.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_is_not_made_anew_from_entries_of_a_strangers_key() {
    let vault = but_for_the_last_window().await;
    fs::remove_dir_all(vault.state_dir()).unwrap();
    plant(&vault, LAST - 1, 3, Some(&key(7)), of_the_last_window);
    let output = vault.connvault(&["rebuild"]).await;
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains(&key(7).fingerprint()), "{}", text(&output.stdout));
    // A log that nobody signed yet is no reason to refuse.
    let vault = Vault::in_directory().await;
    let signed = fs::read_to_string(vault.path("config.toml")).unwrap();
    without_signing(&vault);
    vault.once().await;
    fs::write(vault.path("config.toml"), signed).unwrap();
    fs::remove_dir_all(vault.state_dir()).unwrap();
    let output = vault.connvault(&["rebuild"]).await;
    assert!(output.status.success(), "{}", text(&output.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_counts_no_more_cannot_go_on_with_dates_of_its_time() {
    let vault = but_for_the_last_window().await;
    // A key that was in use until ten days ago, and the one that signs now.
    let until = days_ago(10).strftime("%Y%m%dZ").to_string();
    let lines = format!("connvault valid-before=\"{until}\" {}\n", key(7).public_key_line());
    let allowed = vault.path("allowed");
    fs::write(&allowed, lines + &allowed_signers()).unwrap();
    configure(&vault, |text| {
        text.replace("[signing]\n", &format!("[signing]\nallowed_signers_file = \"{}\"\n", allowed.display()))
    });
    plant(&vault, LAST - 1, 3, Some(&key(7)), |entry| {
        of_the_last_window(entry);
        entry.recorded_at = days_ago(11);
    });
    assert_on_hold(&vault, &["000000000006.json", "does not count", &key(7).fingerprint()]).await;
    fs::remove_dir_all(vault.state_dir()).unwrap();
    assert_on_hold(&vault, &["000000000006.json", "does not count", &key(7).fingerprint()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_may_not_be_read_holds_its_stream_and_not_the_others_of_its_store() {
    let server = InProcess::start(Dialect::Forbids("prefix=workspace%2Flogins%2Flog")).await;
    let vault = Vault::with(|_| Place::Bucket(Box::new(server.settings())), |sim| sim).await;
    add_stream(&vault);
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let gaps = vault.connvault(&["gaps", "--json"]).await;
    let gaps: Value = serde_json::from_slice(&gaps.stdout).unwrap();
    let gaps: Vec<_> = gaps.as_array().unwrap().iter().map(|gap| gap["stream"].clone()).collect();
    assert_eq!(gaps, vec![Value::from("logins"); WINDOWS]);
    drop(server);
}
