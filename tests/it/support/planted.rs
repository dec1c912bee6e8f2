//! Logs that somebody else has put something into, and what the program does about it.

use std::fs;
use std::path::{Path, PathBuf};

use connvault::adapters::signature::SigningKey;
use connvault::domain::digest::Sha256;
use connvault::domain::log_entry::{EntryBody, Head, LogEntry, SealedEntry, after};
use connvault::domain::object_key::{Seq, log_key, signature_key};
use jiff::SignedDuration;
use serde_json::Value;

use super::vault::{Vault, WINDOWS, days_ago, text};

/// The number of the last entry of a whole vault's log.
pub const LAST: u64 = WINDOWS as u64 + 1;

/// A vault whose last window is not archived yet.
pub async fn but_for_the_last_window() -> Vault {
    let vault = Vault::in_directory().await;
    backfill(&vault).await;
    vault
}

/// Archives all windows but the last one.
pub async fn backfill(vault: &Vault) {
    let (from, to) = (vault.start.to_string(), days_ago(1).to_string());
    let output = vault.connvault(&["backfill", "logins", "--from", &from, "--to", &to]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
}

pub fn log(vault: &Vault, name: &str) -> PathBuf {
    vault.path(&format!("archive/logins/log/{name}"))
}

pub fn entry_path(vault: &Vault, seq: u64) -> PathBuf {
    log(vault, &format!("{seq:012}.json"))
}

pub fn read(vault: &Vault, seq: u64) -> LogEntry {
    serde_json::from_slice(&fs::read(entry_path(vault, seq)).unwrap()).unwrap()
}

pub fn entries(vault: &Vault) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(log(vault, ""))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Other bytes in the place of a file that nobody may write to.
pub fn replace(path: &Path, bytes: impl AsRef<[u8]>) {
    if path.exists() {
        fs::remove_file(path).unwrap();
    }
    fs::write(path, bytes).unwrap();
}

/// Plants an entry after `seq`: a copy of entry `like`, changed; signed by `key` where there is one.
pub fn plant(
    vault: &Vault,
    seq: u64,
    like: u64,
    key: Option<&SigningKey>,
    change: impl FnOnce(&mut LogEntry),
) {
    let before = fs::read(entry_path(vault, seq)).unwrap();
    let mut entry = read(vault, like);
    let head = Head { seq: Seq::new(seq).unwrap(), hash: Sha256::of(&before) };
    (entry.seq, entry.previous) = after(Some(head));
    entry.recorded_at = read(vault, seq).recorded_at;
    entry.writer.key_fingerprint = key.map(SigningKey::fingerprint);
    change(&mut entry);
    let sealed = SealedEntry::seal(entry);
    let seq = sealed.entry().seq;
    if let Some(key) = key {
        let signature = signature_key(&"logins".parse().unwrap(), seq, &sealed.hash());
        fs::write(vault.path(&format!("archive/{signature}")), key.sign(sealed.bytes())).unwrap();
    }
    let path = log_key(&"logins".parse().unwrap(), seq);
    fs::write(vault.path(&format!("archive/{path}")), sealed.bytes()).unwrap();
}

/// Makes a planted entry one that says that the last window is archived.
pub fn of_the_last_window(entry: &mut LogEntry) {
    let EntryBody::Archived(archived) = &mut entry.body else { panic!("{entry:?}") };
    let day = SignedDuration::from_hours(24);
    let window = connvault::domain::window::Window::new(days_ago(1), days_ago(1) + day).unwrap();
    archived.window = window;
    let (revision, format) = (archived.revision, archived.object.format);
    archived.object.key = connvault::domain::object_key::DataKey::new(window, revision, format);
}

pub fn key(seed: u8) -> SigningKey {
    let pair = ssh_key::private::Ed25519Keypair::from_seed(&[seed; 32]);
    let pem = ssh_key::PrivateKey::from(pair).to_openssh(ssh_key::LineEnding::LF).unwrap().to_string();
    SigningKey::parse(&pem.into()).unwrap()
}

pub fn pem(seed: u8) -> String {
    let pair = ssh_key::private::Ed25519Keypair::from_seed(&[seed; 32]);
    ssh_key::PrivateKey::from(pair).to_openssh(ssh_key::LineEnding::LF).unwrap().to_string()
}

/// Changes the configuration's text.
pub fn configure(vault: &Vault, change: impl FnOnce(String) -> String) {
    let path = vault.path("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, change(text)).unwrap();
}

/// A second stream beside `logins`, of the same source and store.
pub fn add_stream(vault: &Vault) {
    let start = vault.start;
    configure(vault, |text| {
        text + &format!(
            "[streams.others]\nsource = \"hq\"\nstore = \"archive\"\nwindow = \"1d\"\ntimezone = \"UTC\"\n\
             start = \"{start}\"\nsettle = \"0s\"\n"
        )
    });
}

pub fn without_signing(vault: &Vault) {
    let key = vault.path("signing-key");
    configure(vault, |text| text.replace(&format!("[signing]\nkey_file = \"{}\"\n", key.display()), ""));
}

/// The stream `logins` is on hold with a message that contains `words`: `once` begins, goes on with other streams, and
/// ends with 1; `gaps` with 3; `status` says it; nothing is written to the stream's folder.
pub async fn assert_on_hold(vault: &Vault, words: &[&str]) {
    let before = entries(vault);
    let output = vault.connvault(&["once"]).await;
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(text(&output.stderr).matches("held up until an operator looks").count(), 1, "{said}");
    assert_eq!(entries(vault), before, "something was written: {said}");
    let gaps = vault.connvault(&["gaps"]).await;
    assert_eq!(gaps.status.code(), Some(3), "{}", text(&gaps.stderr));
    let status = vault.connvault(&["status", "--json"]).await;
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let hold = status["holds"].as_array().unwrap().iter().find(|hold| hold["resource"]["name"] == "logins");
    let message = hold.unwrap_or_else(|| panic!("{status:#}"))["failure"]["message"].as_str().unwrap();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

/// What `verify` says of the stream, with its exit code.
pub async fn verified(vault: &Vault) -> (Option<i32>, Value) {
    let output = vault.connvault(&["verify", "--json"]).await;
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    (output.status.code(), report["streams"][0].clone())
}

/// The keys that `verify` says are no part of the log, by why.
pub fn foreign(stream: &Value, because: &str) -> Vec<String> {
    let notes = stream["notes"].as_array().unwrap().iter();
    let of_kind = notes.filter(|note| note["kind"] == "foreign" && note["because"] == because);
    of_kind.map(|note| note["key"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
}
