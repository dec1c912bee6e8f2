//! Archives that were made to deceive whoever checks them, and stores that do not show everything.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use connvault::adapters::directory_store::DirectoryStore;
use connvault::adapters::signature::SigningKey;
use connvault::app::verify::{Asked, Level, Meter, Target, verify};
use connvault::domain::audit::Finding;
use connvault::domain::failure::FailureKind;
use connvault::domain::log_entry::{EntryBody, LogEntry, Lost, SealedEntry, after};
use connvault::domain::object_key::{Seq, log_key, signature_key};
use jiff::SignedDuration;

use crate::support::faulty_store::{Call, FaultyStore, When};
use crate::support::vault::{Vault, allowed_signers, days_ago, signing_key, text};

struct Copy {
    vault: Vault,
}

impl Copy {
    async fn new() -> Self {
        let vault = Vault::in_directory().await;
        vault.once().await;
        fs::write(vault.path("allowed"), allowed_signers()).unwrap();
        Self { vault }
    }

    fn archive(&self, name: &str) -> PathBuf {
        self.vault.path("archive").join(name)
    }

    fn verify(&self, more: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_connvault"));
        command.env_clear().args(["verify", "--dir"]).arg(self.archive(""));
        command.arg("--allowed-signers").arg(self.vault.path("allowed")).args(more).output().unwrap()
    }

    /// Writes the whole log anew, each entry changed by `change` and signed.
    async fn rewrite(&self, change: impl Fn(&mut LogEntry)) {
        let entries = self.vault.audit().await.entries;
        fs::remove_dir_all(self.archive("logins/log")).unwrap();
        fs::create_dir(self.archive("logins/log")).unwrap();
        let mut head = None;
        for sealed in entries {
            let mut entry = sealed.entry().clone();
            change(&mut entry);
            (entry.seq, entry.previous) = after(head);
            let sealed = SealedEntry::seal(entry);
            head = Some(sealed.head());
            self.put(&sealed, &SigningKey::parse(&signing_key().into()).unwrap());
        }
    }

    /// Puts an entry behind the last one, signed by the vault's key.
    async fn append(&self, change: impl FnOnce(&mut LogEntry)) {
        self.append_signed(&SigningKey::parse(&signing_key().into()).unwrap(), change).await;
    }

    async fn append_signed(&self, key: &SigningKey, change: impl FnOnce(&mut LogEntry)) {
        let audit = self.vault.audit().await;
        let last = audit.entries.last().unwrap();
        let mut entry = last.entry().clone();
        (entry.seq, entry.previous) = (last.entry().seq.next(), last.hash());
        entry.body = EntryBody::Lost(Lost {
            window: last.entry().body.window().unwrap(),
            reason: "forged".into(),
            last_attempt: None,
        });
        entry.writer.key_fingerprint = Some(key.fingerprint());
        change(&mut entry);
        self.put(&SealedEntry::seal(entry), key);
    }

    fn put(&self, sealed: &SealedEntry, key: &SigningKey) {
        let (stream, seq) = ("logins".parse().unwrap(), sealed.entry().seq);
        let signature = signature_key(&stream, seq, &sealed.hash());
        fs::write(self.archive(signature.as_str()), key.sign(sealed.bytes())).unwrap();
        fs::write(self.archive(log_key(&stream, seq).as_str()), sealed.bytes()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_log_is_gone_as_a_whole_is_missed() {
    let copy = Copy::new().await;
    for name in ["others", "Not a name"] {
        let data = copy.archive(name).join("data/2026/11/01");
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("20261101T000000Z_20261102T000000Z.r1.csv"), "a\n").unwrap();
        let output = copy.verify(&[]);
        let said = text(&output.stdout) + &text(&output.stderr);
        let (code, word) = if name == "others" { (3, "holds no entry") } else { (2, "Not a name") };
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(name) && said.contains(word), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_terminal_would_obey_is_only_shown() {
    let copy = Copy::new().await;
    fs::write(copy.archive("logins/log/\u{1b}[2Jx\nlogins: nothing is wrong"), "").unwrap();
    fs::write(
        copy.archive("logins/log/000000000007.json"),
        "{\"format\": 1, \"kind\": \"\\u001b[2J\\u202e\"}",
    )
    .unwrap();
    let output = copy.verify(&[]);
    assert_eq!(output.status.code(), Some(3));
    let said = text(&output.stdout);
    assert!(said.contains("[2Jx"), "{said}");
    assert!(said.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{said:?}");
    assert!(!said.lines().any(|line| line.starts_with("logins: nothing")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_dated_back_is_named_though_it_is_signed() {
    let copy = Copy::new().await;
    assert_eq!(copy.verify(&[]).status.code(), Some(0));
    copy.append(|entry| entry.recorded_at -= SignedDuration::from_hours(24)).await;
    let output = copy.verify(&["--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stdout));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["streams"][0]["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!((&findings[0]["kind"], &findings[0]["seq"]), (&"dated_back".into(), &7.into()));
}

/// The notes of one kind, and the findings, of the archive's one stream.
fn told(output: &Output, note: &str) -> (Vec<serde_json::Value>, Vec<serde_json::Value>) {
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let stream = &report["streams"][0];
    let notes = stream["notes"].as_array().unwrap().iter().filter(|told| told["kind"] == note);
    (notes.cloned().collect(), stream["findings"].as_array().unwrap().clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_a_clock_wrote_which_was_ahead_verifies_with_a_note_and_is_rebuilt_and_gone_on_with() {
    let copy = Copy::new().await;
    // The first entry, and two exports of windows that were over.
    copy.rewrite(|entry| {
        if [1, 3, 4].contains(&entry.seq.get()) {
            entry.recorded_at += SignedDuration::from_hours(24 * 400);
        }
    })
    .await;
    fs::remove_dir_all(copy.vault.state_dir()).unwrap();
    let output = copy.verify(&["--json"]);
    let (ahead, findings) = told(&output, "dated_ahead");
    assert_eq!((output.status.code(), findings), (Some(0), Vec::new()));
    assert_eq!((ahead.len(), &ahead[0]["seqs"]), (1, &vec![1, 3, 4].into()));
    let output = copy.vault.connvault(&["rebuild"]).await;
    assert!(output.status.success(), "{}", text(&output.stdout));
    copy.vault.once().await;
    assert_eq!(copy.vault.audit().await.entries.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_counts_no_more_cannot_go_on_with_dates_of_its_time_for_an_audit_either() {
    let copy = Copy::new().await;
    let pair = ssh_key::private::Ed25519Keypair::from_seed(&[7; 32]);
    let pem = ssh_key::PrivateKey::from(pair).to_openssh(ssh_key::LineEnding::LF).unwrap().to_string();
    let earlier = SigningKey::parse(&pem.into()).unwrap();
    let hour = SignedDuration::from_hours(1);
    let audit = copy.vault.audit().await;
    let last = audit.entries.last().unwrap().entry().recorded_at;
    let until = (last - hour).strftime("%Y%m%d%H%M%SZ").to_string();
    let line = format!("connvault valid-before=\"{until}\" {}\n", earlier.public_key_line());
    fs::write(copy.vault.path("allowed"), line + &allowed_signers()).unwrap();
    // Nor does it show that entries are missing before one that it signs beyond the end.
    copy.append_signed(&earlier, |entry| {
        entry.recorded_at = last - hour * 2;
        entry.seq = Seq::new(400).unwrap();
    })
    .await;
    let output = copy.verify(&["--json"]);
    let (foreign, findings) = told(&output, "foreign");
    assert_eq!((output.status.code(), findings), (Some(0), Vec::new()));
    let because: Vec<_> = foreign.iter().map(|note| note["because"].clone()).collect();
    assert_eq!(because, ["beyond_the_end", "signature"], "{foreign:?}");
    for planted in fs::read_dir(copy.archive("logins/log")).unwrap().map(Result::unwrap) {
        if planted.file_name().to_str().unwrap().starts_with("000000000400.") {
            fs::remove_file(planted.path()).unwrap();
        }
    }
    copy.append_signed(&earlier, |entry| entry.recorded_at = last - hour * 2).await;
    let output = copy.verify(&["--json"]);
    let (_, findings) = told(&output, "");
    assert_eq!(output.status.code(), Some(3));
    let refused = findings.iter().find(|finding| finding["kind"] == "signature_refused");
    assert_eq!(refused.unwrap_or_else(|| panic!("{findings:?}"))["seq"], 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_before_all_time_does_not_keep_the_audit_busy_for_ever() {
    let copy = Copy::new().await;
    let audit = copy.vault.audit().await;
    let EntryBody::Stream(opened) = audit.entries[0].entry().body.clone() else { panic!("it opens") };
    copy.append(|entry| {
        let mut opened = opened;
        opened.definition.start = "-009990-01-01T00:00:00Z".parse().unwrap();
        opened.definition.window = "1m".to_owned();
        entry.body = EntryBody::Stream(opened);
    })
    .await;
    let output = copy.verify(&[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stdout).contains("entry 7 changes the stream's window"), "{}", text(&output.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn data_behind_a_link_is_not_in_the_copy() {
    let copy = Copy::new().await;
    let elsewhere = copy.vault.path("elsewhere");
    fs::rename(copy.archive("logins/data"), &elsewhere).unwrap();
    symlink(&elsewhere, copy.archive("logins/data")).unwrap();
    let output = copy.verify(&["--level", "bytes"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("is missing"), "{}", text(&output.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_keeps_nobody_from_hearing_of_the_rest() {
    let copy = Copy::new().await;
    let audit = copy.vault.audit().await;
    // Two, for any object may be the one that cannot be read.
    let damaged: Vec<_> = audit.objects.keys().take(2).collect();
    for name in &damaged {
        let path = copy.archive("logins").join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[40] ^= 1;
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
    }
    let store = FaultyStore::new(Arc::new(DirectoryStore::new(copy.archive(""))));
    store.fail(Call::Head, 1, 1, When::Before, FailureKind::Rejected);
    let target = Target {
        stream: "logins".parse().unwrap(),
        store: Arc::new(store),
        configured: None,
        tolerance: SignedDuration::from_hours(48),
        readers: 2,
    };
    let asked = Asked {
        level: Level::Bytes,
        from: None,
        to: None,
        sample: None,
        expected_head: None,
        now: days_ago(0),
        signers: None,
    };
    let report = verify(&target, &asked, &Meter::default()).await.unwrap();
    assert_eq!(report.unread.len(), 1, "{:?}", report.unread);
    assert!(report.unread[0].error.to_string().len() > 3);
    assert!(!report.findings.is_empty());
    for finding in &report.findings {
        let Finding::ObjectChanged { key, .. } = finding else { panic!("{:?}", report.findings) };
        assert!(damaged.contains(&&key.to_string()), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_answers_some_reads_wrongly_makes_no_findings_in_a_whole_log() {
    let copy = Copy::new().await;
    let store = FaultyStore::new(Arc::new(DirectoryStore::new(copy.archive(""))));
    store.wrong_reads("/log/", 4, usize::MAX);
    let target = Target {
        stream: "logins".parse().unwrap(),
        store: Arc::new(store.clone()),
        configured: None,
        tolerance: SignedDuration::from_hours(48),
        readers: 2,
    };
    let signers = connvault::adapters::signature::AllowedSigners::parse(&allowed_signers()).unwrap();
    for signers in [Some(Arc::new(signers)), None] {
        let asked = Asked {
            level: Level::Log,
            from: None,
            to: None,
            sample: None,
            expected_head: None,
            now: days_ago(0),
            signers,
        };
        for _ in 0..10 {
            // Five readings that are nearly all wrong say nothing: whoever verifies tries again.
            let report = loop {
                match verify(&target, &asked, &Meter::default()).await {
                    Err(failure) => assert_eq!(failure.kind, FailureKind::Transient, "{failure:?}"),
                    Ok(report) => break report,
                }
            };
            assert_eq!(report.findings, [], "{:?}", report.notes);
            assert_eq!(report.entries, 6);
        }
    }
    assert!(store.lies() > 20, "{}", store.lies());
}
