//! File work of the spool: names, permissions, syncing. All of it blocks.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::adapters::disk::NoRoom;
use crate::domain::window::Window;

/// What a file of a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes as they come.
    Part,
    /// All bytes.
    Export,
    /// What is known of them.
    Facts,
    /// Facts that are being written.
    NewFacts,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Part, Self::Export, Self::Facts, Self::NewFacts];

    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Part => "part",
            Self::Export => "export",
            Self::Facts => "json",
            Self::NewFacts => "json.new",
        }
    }
}

/// The window that a file belongs to; `None` for files that the spool does not make.
pub(super) fn window_of(path: &Path) -> Option<Window> {
    let (window, extension) = path.file_name()?.to_str()?.split_once('.')?;
    let ours = Kind::ALL.iter().any(|kind| kind.extension() == extension);
    window.parse().ok().filter(|_| ours)
}

/// What is in a folder; nothing where `dir` is no folder or is gone.
pub(super) fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// Makes a folder (and those above it) for this user alone, and its name durable.
pub(super) fn make_private_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_dir)
}

/// A new, empty file for this user alone.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// One line: what could not be done, why, and what to do. `root` is the spool's folder.
pub(super) fn explain(doing: &str, path: &Path, root: &Path, error: &io::Error) -> String {
    if let Some(no_room) = NoRoom::of(error) {
        return format!("cannot {doing} {}: {no_room}", path.display());
    }
    let root = root.display();
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!("free some space under {root}"),
        io::ErrorKind::PermissionDenied => format!("give the daemon's user the folder {root}"),
        io::ErrorKind::ReadOnlyFilesystem => format!("mount the file system of {root} for writing"),
        _ => format!("check the disk under {root}"),
    };
    format!("cannot {doing} {}: {error}; {advice}", path.display())
}
