//! What the spool knows of an export: written last, believed only when the bytes agree.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::download::Digests;
use super::files::{self, Kind};
use super::{Slot, SpoolError};
use crate::domain::digest::{ContentDigest, Md5, Sha256};
use crate::domain::export::Format;
use crate::domain::log_entry::{Definition, ExportFacts};
use crate::domain::name::StreamName;
use crate::domain::window::Window;

/// What is known of an export besides its bytes: how it was pulled, and what was found in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolFacts {
    /// How it was pulled.
    pub export: ExportFacts,
    /// What it was asked for under: [`definition_digest`].
    pub definition: Sha256,
    /// What the bytes are.
    pub format: Format,
    /// Records in it; header rows do not count. Absent where the bytes could not be read.
    pub rows: Option<u64>,
    /// Of its rows. Absent where the bytes could not be read.
    pub content_digest: Option<ContentDigest>,
}

/// An export that waits to be archived. Nobody writes to its file any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpooledExport {
    /// Where its bytes are.
    pub path: PathBuf,
    /// How many.
    pub bytes: u64,
    /// Of the bytes.
    pub sha256: Sha256,
    /// Of the bytes.
    pub md5: Md5,
    /// What else is known.
    pub facts: SpoolFacts,
}

/// The facts file. Its shape may change with any version: what does not read is pulled again.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FactsFile {
    stream: StreamName,
    window: Window,
    bytes: u64,
    sha256: Sha256,
    md5: Md5,
    facts: SpoolFacts,
}

/// The digest of what decides which records a window's export holds: project and filters. A stream's `start`, which
/// may move, and the cut of its windows, which the window itself says, are left out.
pub fn definition_digest(definition: &Definition) -> Sha256 {
    let Definition { region, project_id, filters, .. } = definition;
    let language = filters.language.as_str();
    let texts = [region, project_id, &filters.user_name, &filters.computer_name, &filters.terminal_type];
    // Each text with its length, so that no two lists of texts read alike.
    let text: String = texts.iter().map(|text| format!("{}:{text},", text.len())).collect();
    Sha256::of(format!("{text}{language}").as_bytes())
}

/// Writes the facts of `export`, durably: whole or not at all.
pub(super) fn write(slot: &Slot, export: &SpooledExport) -> Result<(), SpoolError> {
    let file = FactsFile {
        stream: slot.stream.clone(),
        window: slot.window,
        bytes: export.bytes,
        sha256: export.sha256,
        md5: export.md5,
        facts: export.facts.clone(),
    };
    let (new, path) = (slot.path(Kind::NewFacts), slot.path(Kind::Facts));
    let write = || {
        let text = serde_json::to_vec_pretty(&file).map_err(io::Error::other)?;
        let mut out = files::create_private(&new)?;
        out.write_all(&text)?;
        out.sync_all()?;
        fs::rename(&new, &path)?;
        files::sync_dir(&slot.dir())
    };
    write().map_err(|error| slot.error("write", &path, &error))
}

/// The window's export, if there is one that agrees with its facts to the last bit.
pub(super) fn read(slot: &Slot) -> Result<Option<SpooledExport>, SpoolError> {
    let facts_path = slot.path(Kind::Facts);
    let unreadable = |path: &Path, error| slot.error("read", path, &error);
    let Some(text) = if_there(fs::read(&facts_path)).map_err(|error| unreadable(&facts_path, error))? else {
        return Ok(None);
    };
    let Ok(file) = serde_json::from_slice::<FactsFile>(&text) else {
        return Ok(None);
    };
    if file.stream != slot.stream || file.window != slot.window {
        return Ok(None);
    }
    let path = slot.path(Kind::Export);
    let digests = digests_of(&path, file.bytes);
    let Some((bytes, sha256, md5)) = digests.map_err(|error| unreadable(&path, error))? else {
        return Ok(None);
    };
    let agrees = bytes == file.bytes && sha256 == file.sha256 && md5 == file.md5;
    Ok(agrees.then_some(SpooledExport { path, bytes, sha256, md5, facts: file.facts }))
}

/// The digests of a file; `None` where it is gone or has not `expected` bytes.
fn digests_of(path: &Path, expected: u64) -> io::Result<Option<(u64, Sha256, Md5)>> {
    let Some(mut file) = if_there(File::open(path))? else {
        return Ok(None);
    };
    if file.metadata()?.len() != expected {
        return Ok(None);
    }
    let mut digests = Digests::default();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Some(digests.finish())),
            Ok(read) => digests.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
