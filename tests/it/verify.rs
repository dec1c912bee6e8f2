//! `verify` by the real program: every damage is named, and an archive that is whole passes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use connvault::domain::digest::Sha256;
use connvault::domain::log_entry::SealedEntry;
use serde_json::Value;

use crate::support::vault::{Vault, WINDOWS, allowed_signers, text};

/// A vault's archive, to be damaged. The log has an entry more than there are windows.
struct Case {
    vault: Vault,
}

const ENTRIES: usize = WINDOWS + 1;

impl Case {
    async fn new() -> Self {
        let vault = Vault::in_directory().await;
        vault.once().await;
        fs::write(vault.path("allowed"), allowed_signers()).unwrap();
        Self { vault }
    }

    fn folder(&self) -> PathBuf {
        self.vault.path("archive/logins")
    }

    fn entry(&self, seq: usize) -> PathBuf {
        self.folder().join(format!("log/{seq:012}.json"))
    }

    fn hash(&self, seq: usize) -> String {
        Sha256::of(&fs::read(self.entry(seq)).unwrap()).to_string()
    }

    fn signature(&self, seq: usize) -> PathBuf {
        self.entry(seq).with_extension(format!("{}.sig", &self.hash(seq)[..16]))
    }

    fn read(&self, seq: usize) -> Value {
        serde_json::from_slice(&fs::read(self.entry(seq)).unwrap()).unwrap()
    }

    /// The key of the object that entry `seq` names.
    fn key(&self, seq: usize) -> String {
        self.read(seq)["object"]["key"].as_str().unwrap().to_owned()
    }

    /// Runs the program with no environment and no configuration.
    fn verify(&self, arguments: &[&str]) -> Output {
        let mut command = program(&self.vault.path("archive"));
        command.arg("--allowed-signers").arg(self.vault.path("allowed"));
        command.args(arguments).output().unwrap()
    }

    fn passes(&self, arguments: &[&str]) -> String {
        let output = self.verify(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        text(&output.stdout)
    }

    /// Asserts that these and no other findings are printed, by their beginnings.
    fn finds(&self, arguments: &[&str], wanted: &[String]) {
        let output = self.verify(arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {output:?}");
        let said = text(&output.stdout);
        assert!(said.contains("; head ") && said.contains(" finding"), "{said}");
        let with_json: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        let document: Value = serde_json::from_slice(&self.verify(&with_json).stdout).unwrap();
        assert_eq!(document["ok"], false);
        let found = document["streams"][0]["findings"].as_array().unwrap().clone();
        assert_eq!(found.len(), wanted.len(), "{found:#?}");
        for (found, wanted) in found.iter().zip(wanted) {
            let message = found["message"].as_str().unwrap();
            assert!(message.starts_with(wanted.as_str()), "{message:?} does not begin with {wanted:?}");
            assert!(said.contains(message), "{said}");
        }
    }
}

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_connvault"));
    command.env_clear().args(["verify", "--dir"]).arg(folder);
    command
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    // Objects are stored read-only.
    if path.exists() {
        fs::remove_file(path).unwrap();
    }
    fs::write(path, bytes).unwrap();
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    write(path, bytes);
}

fn no_verdict(case: &Value) -> String {
    let form = |bound: &str| case["window"][bound].as_str().unwrap().replace(['-', ':'], "");
    format!("no entry says what became of window {}_{}", form("start"), form("end"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_archive_passes_at_every_level_and_is_not_touched() {
    let case = Case::new().await;
    let before = listing(case.vault.dir.path());
    for level in ["log", "objects", "bytes"] {
        let said = case.passes(&["--level", level]);
        let head = format!("nothing is wrong; head {ENTRIES}:{}", case.hash(ENTRIES));
        assert!(said.contains(&head), "{said}");
    }
    let document: Value =
        serde_json::from_str(&case.passes(&["--level", "bytes", "--json", "--stream", "logins"])).unwrap();
    assert_eq!(document["ok"], true);
    let stream = &document["streams"][0];
    assert_eq!((&stream["stream"], &stream["entries"]), (&Value::from("logins"), &Value::from(ENTRIES)));
    assert_eq!(stream["windows"], WINDOWS);
    assert_eq!(stream["objects_checked"], WINDOWS);
    assert_eq!(stream["head"]["hash"], case.hash(ENTRIES));
    assert!(stream["bytes_hashed"].as_u64().unwrap() > 1000);
    assert_eq!((&stream["findings"], &stream["notes"]), (&Value::from(vec![0; 0]), &Value::from(vec![0; 0])));
    assert_eq!(listing(case.vault.dir.path()), before);
}

fn listing(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(listing(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streams_folder_by_itself_is_enough_whatever_it_is_called() {
    let case = Case::new().await;
    let copy = case.vault.path("A copy");
    fs::rename(case.folder(), &copy).unwrap();
    let output = program(&copy).args(["--level", "bytes"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = text(&output.stdout);
    assert!(
        said.contains("logins: note: whose signatures the 6 signed entries have was not checked"),
        "{said}"
    );
    assert!(said.contains("logins: 6 entries, 5 windows archived, 5 objects looked at"), "{said}");
    for nothing in [case.vault.path("state"), case.vault.path("not-there")] {
        let output = program(&nothing).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_entries_are_named_one_or_two_of_them() {
    let case = Case::new().await;
    // Which window an entry is about is not fixed: windows are archived side by side.
    let start = case.vault.start.to_string();
    let of_first = |n: &usize| case.read(*n)["window"]["start"] == start.as_str();
    let first = (2..=ENTRIES).find(of_first).unwrap();
    let (entry, bytes) = (case.read(first), fs::read(case.entry(first)).unwrap());
    fs::remove_file(case.entry(first)).unwrap();
    let output = text(&case.verify(&[]).stdout);
    assert!(output.contains(&no_verdict(&entry)), "{output}");
    write(&case.entry(first), bytes);

    fs::remove_file(case.entry(3)).unwrap();
    case.finds(&["--to", &start], &["entry 3 is missing".to_owned()]);
    fs::remove_file(case.entry(4)).unwrap();
    case.finds(&["--to", &start, "--level", "log"], &["entries 3 and 4 are missing".to_owned()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_is_named_wherever_it_is() {
    let case = Case::new().await;
    let (entry, whole) = (case.entry(3), fs::read(case.entry(3)).unwrap());
    // Where it stands differs from entry to entry: sizes and counts before it have not equally many digits.
    let host = |bytes: &[u8]| text(bytes).find("\"host\": \"").unwrap() + 9;
    flip(&entry, host(&whole));
    case.finds(&[], &["entry 3 was changed: its SHA-256 is ".to_owned()]);
    write(&entry, &whole);
    let last = fs::read(case.entry(ENTRIES)).unwrap();
    flip(&case.entry(ENTRIES), host(&last));
    case.finds(&[], &[format!("entry {ENTRIES} was changed: its signature is on other bytes")]);
    write(&case.entry(ENTRIES), last);

    let (signature, signed) = (case.signature(4), fs::read(case.signature(4)).unwrap());
    flip(&signature, signed.len() - 60);
    case.finds(&[], &["the signature of entry 4 (log/000000000004.".to_owned()]);
    let output = program(&case.folder()).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "also without allowed signers: {output:?}");
    fs::remove_file(&signature).unwrap();
    case.finds(&[], &["the signature of entry 4 is missing: log/000000000004.".to_owned()]);
    write(&signature, &signed);

    let key = case.key(5);
    let object = case.folder().join(&key);
    flip(&object, 100);
    assert!(case.passes(&[]).contains("nothing is wrong"), "its size is the same");
    case.finds(&["--level", "bytes"], &[format!("{key} was changed: its SHA-256 is ")]);
    case.finds(&["--level", "bytes", "--sample", "100%"], &[format!("{key} was changed: its SHA-256 is ")]);
    let part = |more: &[&str]| -> Value {
        let asked = [&["--level", "bytes", "--sample", "50%", "--json"], more].concat();
        serde_json::from_slice(&case.verify(&asked).stdout).unwrap()
    };
    let drawn = part(&[]);
    assert_eq!(part(&["--sample-seed", &drawn["sample_seed"].to_string()]), drawn);
    let bytes = fs::read(&object).unwrap();
    write(&object, &bytes[1..]);
    case.finds(&[], &[format!("{key} was changed: it has {} bytes", bytes.len() - 1)]);
    fs::remove_file(&object).unwrap();
    case.finds(&[], &[format!("{key} is missing, which entry 5 says is there")]);
    let day = case.read(5)["window"]["start"].as_str().unwrap().to_owned();
    case.passes(&["--to", &day]);
    case.passes(&["--level", "log"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_changed_places_and_entries_that_were_put_in_are_named() {
    let case = Case::new().await;
    let (third, fourth) = (fs::read(case.entry(3)).unwrap(), fs::read(case.entry(4)).unwrap());
    write(&case.entry(3), &fourth);
    write(&case.entry(4), &third);
    case.finds(
        &[],
        &[
            "entry 4 of stream logins stands in the place of entry 3".to_owned(),
            "entry 3 of stream logins stands in the place of entry 4".to_owned(),
        ],
    );
    write(&case.entry(3), &third);
    write(&case.entry(4), &fourth);

    let last = fs::read(case.entry(ENTRIES)).unwrap();
    let mut forged: connvault::domain::log_entry::LogEntry = serde_json::from_slice(&last).unwrap();
    forged.seq = forged.seq.next();
    forged.previous = Sha256::of(&last);
    let with_key = SealedEntry::seal(forged.clone());
    forged.writer.key_fingerprint = None;
    let without = SealedEntry::seal(forged);
    let n = ENTRIES + 1;
    let twice = format!("entries {ENTRIES} and {n} both are r1 of window ");
    write(&case.entry(n), without.bytes());
    case.finds(&[], &[format!("entry {n} is not signed, though entry {ENTRIES}"), twice.clone()]);
    write(&case.entry(n), with_key.bytes());
    case.finds(&[], &[format!("the signature of entry {n} is missing"), twice]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_by_a_key_that_is_not_allowed_does_not_count() {
    let case = Case::new().await;
    let other = ssh_key::private::Ed25519Keypair::from_seed(&[7; 32]);
    let public = ssh_key::PrivateKey::from(other).public_key().to_openssh().unwrap();
    fs::write(case.vault.path("allowed"), format!("connvault {public}\n")).unwrap();
    let wanted: Vec<_> = (1..=ENTRIES).map(|n| format!("the signature of entry {n} (")).collect();
    case.finds(&[], &wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_end_was_cut_off_is_found_out_by_the_head_that_was_written_down() {
    let case = Case::new().await;
    let head = format!("{ENTRIES}:{}", case.hash(ENTRIES));
    case.passes(&["--expect-head", &head]);
    case.passes(&["--expect-head", &head[..20]]);
    let day = case.read(ENTRIES)["window"]["start"].as_str().unwrap().to_owned();
    fs::remove_file(case.signature(ENTRIES)).unwrap();
    fs::remove_file(case.entry(ENTRIES)).unwrap();
    case.passes(&["--to", &day]);
    case.finds(&["--to", &day, "--expect-head", &head], &[format!("entry {ENTRIES} (")]);
    let other = format!("2:{}", case.hash(3));
    case.finds(&["--to", &day, "--expect-head", &other], &["entry 2 was changed: it had SHA-256".to_owned()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_leaves_is_told_and_is_no_finding() {
    let case = Case::new().await;
    let signature = fs::read(case.signature(3)).unwrap();
    write(&case.folder().join("log/000000000003.0123456789abcdef.sig"), &signature);
    write(&case.folder().join(format!("log/{:012}.0123456789abcdef.sig", ENTRIES + 1)), &signature);
    let key = case.key(3).replace(".r1.", ".r2.");
    fs::copy(case.folder().join(case.key(3)), case.folder().join(&key)).unwrap();
    let said = case.passes(&["--level", "bytes"]);
    assert!(said.contains(&format!("note: there is a signature for an entry {}", ENTRIES + 1)), "{said}");
    assert!(said.contains(&format!("note: logins/{key} is named by no entry")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_configuration_every_store_is_read_without_a_state_directory_and_no_source_is_asked() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    fs::remove_dir_all(vault.state_dir()).unwrap();
    // Whoever only reads archives need not be given the provider's keys, nor the one that signs.
    for secret in ["source-ak", "source-sk", "signing-key"] {
        fs::remove_file(vault.path(secret)).unwrap();
    }
    let requests = vault.sim.requests().len();
    let output = vault.connvault(&["verify", "--level", "bytes"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!vault.state_dir().exists());
    assert_eq!(vault.sim.requests().len(), requests);
    for bad in [
        &["verify", "--sample", "5%"][..],
        &["verify", "--sample", "0%", "--level", "bytes"],
        &["verify", "--stream", "login"],
        &["verify", "--expect-head", "7"],
        &["verify", "--from", "2027-01-01", "--to", "2026-01-01"],
    ] {
        assert_eq!(vault.connvault(bad).await.status.code(), Some(2), "{bad:?}");
    }
    fs::remove_dir_all(vault.path("archive")).unwrap();
    let output = vault.connvault(&["verify"]).await;
    assert_eq!(output.status.code(), Some(75), "{output:?}");
}
