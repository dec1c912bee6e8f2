//! Archives in a folder that nobody configured: a directory store, a copied bucket, or one stream's folder by itself.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{DirectoryStore, OWN_FOLDER};
use crate::domain::name::StreamName;

/// How many folders a bucket's prefix may have.
const DEPTH: usize = 8;
/// How many entries are asked whose log it is.
const ASKED: usize = 9;
/// As large as no entry is.
const ENTRY_LIMIT: u64 = 1 << 20;

/// A folder holds no archive.
#[derive(Debug, thiserror::Error)]
pub enum NoArchive {
    /// It cannot be looked into.
    #[error("cannot look into {path}: {error}", path = .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// No stream's folder lies in it.
    #[error(
        "there is no archive in {path}: name a stream's folder (the one with log/ and data/ in it), or one above it",
        path = .0.display()
    )]
    Nothing(PathBuf),
    /// A stream's folder from which nobody can tell whose it is.
    #[error(
        "{path} holds a log or data, and nobody can tell of which stream: no entry in it says so, and its own name is no stream's; give it back its name",
        path = .0.display()
    )]
    Nameless(PathBuf),
}

/// Every stream whose folder is `folder` or lies below it, by name. Nothing is written, ever.
///
/// A folder that is named itself may have any name, as copies have: its log says whose it is. Below that, a folder has
/// its stream's name, so that two streams' folders that changed places are found out.
///
/// # Errors
/// When there is none.
pub fn streams_in(folder: &Path) -> Result<Vec<(StreamName, DirectoryStore)>, NoArchive> {
    let unreadable = |error| NoArchive::Unreadable { path: folder.to_owned(), error };
    std::fs::read_dir(folder).map_err(unreadable)?;
    let mut found = Vec::new();
    if is_stream(folder) {
        let name = name_in_log(folder).or_else(|| name_of(folder));
        found.push((name.ok_or_else(|| NoArchive::Nameless(folder.to_owned()))?, folder.to_owned()));
    } else {
        walk(folder, DEPTH, &mut found)?;
    }
    found.sort();
    if found.is_empty() {
        return Err(NoArchive::Nothing(folder.to_owned()));
    }
    let open = |(name, path): (StreamName, PathBuf)| {
        let store = DirectoryStore::of_stream(path, &name);
        (name, store)
    };
    Ok(found.into_iter().map(open).collect())
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<(StreamName, PathBuf)>) -> Result<(), NoArchive> {
    let unreadable = |error| NoArchive::Unreadable { path: folder.to_owned(), error };
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        if !entry.file_type().map_err(unreadable)?.is_dir() || entry.file_name() == OWN_FOLDER {
            continue;
        }
        if is_stream(&path) {
            // Passed over, it would be a stream that nobody misses.
            let name = name_of(&path).or_else(|| name_in_log(&path));
            found.push((name.ok_or_else(|| NoArchive::Nameless(path.clone()))?, path));
        } else if depth > 0 {
            walk(&path, depth - 1, found)?;
        }
    }
    Ok(())
}

/// Also of a stream whose log is gone as a whole: its data, by the years in it, shows that there was one.
fn is_stream(folder: &Path) -> bool {
    let is_year = |name: &str| name.len() == 4 && name.bytes().all(|b| b.is_ascii_digit());
    let years = std::fs::read_dir(folder.join("data")).into_iter().flatten().flatten();
    folder.join("log").is_dir()
        || years.into_iter().any(|year| year.file_name().to_str().is_some_and(is_year))
}

fn name_of(folder: &Path) -> Option<StreamName> {
    let whole = std::fs::canonicalize(folder).ok()?;
    whole.file_name()?.to_str()?.parse().ok()
}

/// The stream that most of the first entries say that they are of: one of them may have been changed, and the others are not
/// to blame for it.
fn name_in_log(folder: &Path) -> Option<StreamName> {
    let files = std::fs::read_dir(folder.join("log")).ok()?.flatten().map(|file| file.path());
    let mut entries: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    entries.sort();
    let names: Vec<_> = entries.iter().filter_map(|path| name_in(path)).take(ASKED).collect();
    let votes = |name: &StreamName| names.iter().filter(|other| *other == name).count();
    // Of names that are said as often, a later entry's counts.
    names.iter().max_by_key(|name| votes(name)).cloned()
}

fn name_in(entry: &Path) -> Option<StreamName> {
    #[derive(Deserialize)]
    struct StreamOnly {
        stream: StreamName,
    }
    std::fs::symlink_metadata(entry).ok().filter(|m| m.is_file() && m.len() <= ENTRY_LIMIT)?;
    let says: StreamOnly = serde_json::from_slice(&std::fs::read(entry).ok()?).ok()?;
    Some(says.stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_of_the_stream_that_most_of_its_entries_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("log")).unwrap();
        for (n, name) in ["mogins", "logins", "logins"].into_iter().enumerate() {
            let entry = folder.path().join(format!("log/{:012}.json", n + 1));
            std::fs::write(entry, format!("{{\"stream\": \"{name}\"}}")).unwrap();
        }
        assert_eq!(name_in_log(folder.path()).unwrap().as_str(), "logins");
    }
}
