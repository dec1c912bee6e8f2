//! An archive checked as a stranger would check it: from the files alone, by what docs/archive-format.md says of
//! them. Nothing of the daemon is used here.

use std::fs;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use ssh_key::{HashAlg, PublicKey, SshSig};

use super::Error;

/// What is read of a log entry.
#[derive(Deserialize)]
struct Entry {
    seq: u64,
    previous: String,
    writer: Writer,
    kind: String,
    window: Option<Window>,
    object: Option<Object>,
}

#[derive(Deserialize)]
struct Writer {
    key_fingerprint: Option<String>,
}

#[derive(Deserialize, PartialEq)]
struct Window {
    start: String,
    end: String,
}

#[derive(Deserialize)]
struct Object {
    key: String,
    bytes: u64,
    sha256: String,
    rows: u64,
}

/// An archive in which everything agrees.
pub struct Checked {
    objects: Vec<Object>,
    entries: u64,
    /// The SHA-256 of the last entry.
    last: String,
}

/// Reads the log in the stream's `folder` from its first entry to its last, each signed by the key in the file
/// `signers`, and every object that it names.
pub fn archive(folder: &Path, signers: &Path) -> Result<Checked, Error> {
    let signer = signer(signers)?;
    let mut checked = Checked { objects: Vec::new(), entries: 0, last: String::new() };
    let mut previous = "0".repeat(64);
    let mut end = None;
    loop {
        let seq = checked.entries + 1;
        let path = folder.join(entry_key(seq));
        if !path.try_exists()? {
            break;
        }
        let bytes = fs::read(&path)?;
        let entry: Entry = serde_json::from_slice(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
        let expected_kind = if seq == 1 { "stream" } else { "archived" };
        if (entry.seq, entry.kind.as_str()) != (seq, expected_kind) || entry.previous != previous {
            return Err(format!("{} does not belong where it stands", path.display()).into());
        }
        previous = sha256(&bytes);
        check_signature(&path, &bytes, &previous, &entry, &signer)?;
        checked.entries = seq;
        let (Some(window), Some(object)) = (entry.window, entry.object) else {
            continue;
        };
        if end.is_some_and(|end| end != window.start) {
            return Err(format!("a gap before {}", window.start).into());
        }
        end = Some(window.end);
        check_object(folder, &object)?;
        checked.objects.push(object);
    }
    let files = fs::read_dir(folder.join("log"))?.count() as u64;
    // Each entry is a file, and its signature another.
    if files != 2 * checked.entries {
        return Err(
            format!("{files} files in the log, of which {} hang together", 2 * checked.entries).into()
        );
    }
    checked.last = previous;
    Ok(checked)
}

fn entry_key(seq: u64) -> String {
    format!("log/{seq:012}.json")
}

/// The one key in a file of allowed signers: what follows its holder's name.
fn signer(file: &Path) -> Result<PublicKey, Error> {
    let text = fs::read_to_string(file)?;
    let (_, key) = text.trim_end().split_once(' ').ok_or("allowed_signers holds no key")?;
    Ok(PublicKey::from_openssh(key)?)
}

fn check_signature(
    path: &Path,
    bytes: &[u8],
    hash: &str,
    entry: &Entry,
    signer: &PublicKey,
) -> Result<(), Error> {
    let path = path.with_extension(format!("{}.sig", &hash[..16]));
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let signature = SshSig::from_pem(fs::read(&path).map_err(|e| failed(&e))?).map_err(|e| failed(&e))?;
    signer.verify("connvault-log", bytes, &signature).map_err(|e| failed(&e))?;
    let fingerprint = signer.fingerprint(HashAlg::Sha256).to_string();
    if entry.writer.key_fingerprint.as_ref() != Some(&fingerprint) {
        return Err(failed(&"its entry names another key").into());
    }
    Ok(())
}

fn check_object(folder: &Path, object: &Object) -> Result<(), Error> {
    let path = folder.join(&object.key);
    let bytes = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    if (bytes.len() as u64, sha256(&bytes)) == (object.bytes, object.sha256.clone()) {
        Ok(())
    } else {
        Err(format!("{} is not what the log says", path.display()).into())
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

impl Checked {
    /// Rows in all objects.
    pub fn rows(&self) -> u64 {
        self.objects.iter().map(|object| object.rows).sum()
    }

    /// Whether there are so many windows, and at least as many rows as the provider has records: the windows' margins
    /// make that some records at midnight stand in two.
    pub fn compare(&self, windows: usize, records: u64) -> Result<(), Error> {
        if self.objects.len() != windows {
            return Err(format!("{} windows are archived, not {windows}", self.objects.len()).into());
        }
        if self.rows() < records {
            return Err(format!("{} rows are archived, and there are {records} records", self.rows()).into());
        }
        Ok(())
    }

    /// One line a window.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_header([
            "object",
            "rows",
            "bytes",
            "SHA-256 in the log",
            "on disk",
        ]);
        for column in [1, 2] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for object in &self.objects {
            let (rows, bytes) = (object.rows.to_string(), object.bytes.to_string());
            table.add_row([object.key.as_str(), &rows, &bytes, &object.sha256, "the same"]);
        }
        let lines = table.to_string();
        lines.lines().map(|line| format!("{}\n", line.trim())).collect()
    }

    /// The key of the last object.
    pub fn last_object(&self) -> &str {
        self.objects.last().map_or("", |object| &object.key)
    }

    /// The head of the log, as an auditor would write it down.
    pub fn head(&self) -> String {
        format!("{}:{}", self.entries, self.last)
    }

    /// The key of the last entry.
    pub fn last_entry(&self) -> String {
        entry_key(self.entries)
    }
}
