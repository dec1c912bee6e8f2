//! The spool: where an export lies from its first byte until it is archived, so that a crash after the download
//! costs no second one.
//!
//! ```text
//! {dir}/{stream}/{window}.part      being written
//! {dir}/{stream}/{window}.export    whole, on disk
//! {dir}/{stream}/{window}.json      its facts: the commit point
//! ```
//! Why the order of steps is safe when the power fails between any two of them:
//! 1. [`Spool::begin`] takes away what an earlier pull left, facts first, so that no facts ever outlive their file.
//! 2. [`SpoolWriter::finish_bytes`] syncs the bytes while they are still called `.part`, a name that is never believed.
//! 3. [`Downloaded::commit`] renames the file, syncs the folder, and only then writes the facts: under another name,
//!    synced, renamed, folder synced. Facts that can be read are thus whole, and older than nothing they speak of.
//! 4. [`Spool::find`] believes facts only when the file agrees in size and SHA-256, read anew: disks and file systems
//!    have broken their promises before. What does not agree is taken away and pulled again, which is always safe.
//!
//! One window has one writer at a time; the window's lease sees to that. A writer or download that is dropped takes
//! its file with it, so that an export that failed does not fill the disk.
//!
//! Bytes are gathered to a megabyte and then hashed and written in one go on the blocking pool: the runtime never
//! waits for disk or digest, a few hundred such trips a second cost nothing, and a writer holds little more memory
//! than that megabyte, however small or large the pieces are that come.

mod download;
mod facts;
mod files;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::download::{Downloaded, SpoolWriter};
pub use self::facts::{SpoolFacts, SpooledExport, definition_digest};
use self::files::Kind;
use crate::adapters::disk::NoRoom;
use crate::domain::digest::Sha256;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::name::StreamName;
use crate::domain::window::Window;

/// The spool did not do its work: this machine's fault, so everything waits. A file that the disk has no room for is the fault of its
/// window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct SpoolError(pub Failure);

impl From<SpoolError> for Failure {
    fn from(SpoolError(failure): SpoolError) -> Self {
        failure
    }
}

impl SpoolError {
    fn new(message: String) -> Self {
        Self(Failure::new(FailureKind::Local, Scope::Daemon, message))
    }
}

/// The folder of exports that are not archived yet.
#[derive(Debug, Clone)]
pub struct Spool {
    dir: Arc<Path>,
}

/// One window's place in the spool.
#[derive(Debug, Clone)]
struct Slot {
    /// The spool's own folder, for messages.
    root: Arc<Path>,
    stream: StreamName,
    window: Window,
}

impl Slot {
    fn dir(&self) -> PathBuf {
        self.root.join(self.stream.as_str())
    }

    fn path(&self, kind: Kind) -> PathBuf {
        self.dir().join(format!("{}.{}", self.window, kind.extension()))
    }

    /// What went wrong, where, and what to do about it.
    fn error(&self, doing: &str, path: &Path, error: &io::Error) -> SpoolError {
        let message = files::explain(doing, path, &self.root, error);
        match NoRoom::of(error) {
            Some(no_room) => SpoolError(Failure { message: message.into(), ..no_room.failure() }),
            None => SpoolError::new(message),
        }
    }

    /// Takes away whatever there is of the window: facts first, so that they never speak of a file that is gone.
    fn clear(&self) -> Result<(), SpoolError> {
        for kind in [Kind::Facts, Kind::NewFacts, Kind::Export, Kind::Part] {
            let path = self.path(kind);
            files::remove_if_there(&path).map_err(|error| self.error("remove", &path, &error))?;
        }
        Ok(())
    }
}

impl Spool {
    /// The spool in `dir`, which is made, for this user alone, if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn open(dir: impl Into<PathBuf>) -> Result<Self, SpoolError> {
        let dir: Arc<Path> = dir.into().into();
        let spool = Self { dir: Arc::clone(&dir) };
        blocking(move || {
            files::make_private_dir(&dir)
                .map_err(|error| SpoolError::new(files::explain("make", &dir, &dir, &error)))
        })
        .await?;
        Ok(spool)
    }

    fn slot(&self, stream: &StreamName, window: Window) -> Slot {
        Slot { root: Arc::clone(&self.dir), stream: stream.clone(), window }
    }

    /// A place for the bytes of a window's export, in place of whatever was there for that window.
    ///
    /// # Errors
    /// When no file can be made.
    pub async fn begin(&self, stream: &StreamName, window: Window) -> Result<SpoolWriter, SpoolError> {
        let slot = self.slot(stream, window);
        blocking(move || {
            let dir = slot.dir();
            files::make_private_dir(&dir).map_err(|error| slot.error("make", &dir, &error))?;
            slot.clear()?;
            files::sync_dir(&dir).map_err(|error| slot.error("sync", &dir, &error))?;
            SpoolWriter::create(slot)
        })
        .await
    }

    /// The window's export as a crash or a pause left it, if it is whole, and was asked for under a definition with
    /// digest `definition` (see [`definition_digest`]). Anything else that is there is taken away.
    ///
    /// # Errors
    /// When the files cannot be read or removed.
    pub async fn find(
        &self,
        stream: &StreamName,
        window: Window,
        definition: Sha256,
    ) -> Result<Option<SpooledExport>, SpoolError> {
        let slot = self.slot(stream, window);
        blocking(move || {
            let found = facts::read(&slot)?.filter(|found| found.facts.definition == definition);
            if found.is_none() {
                slot.clear()?;
            }
            Ok(found)
        })
        .await
    }

    /// Takes away all there is of a window, once it is archived.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn remove(&self, stream: &StreamName, window: Window) -> Result<(), SpoolError> {
        let slot = self.slot(stream, window);
        blocking(move || slot.clear()).await
    }

    /// Takes away the files of every window that `keep` does not want, and folders that are empty; says how many
    /// windows. Files that the spool did not name are left alone.
    ///
    /// # Errors
    /// When the folder cannot be read, or a file cannot be removed.
    pub async fn sweep(
        &self,
        keep: &(dyn Fn(&StreamName, Window) -> bool + Send + Sync),
    ) -> Result<u64, SpoolError> {
        let mut swept = 0;
        for slot in self.slots().await? {
            if !keep(&slot.stream, slot.window) {
                blocking(move || {
                    slot.clear()?;
                    // Fails while something else is in it, which is as well.
                    let _ = std::fs::remove_dir(slot.dir());
                    Ok(())
                })
                .await?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// Every window that has a file, once.
    async fn slots(&self) -> Result<Vec<Slot>, SpoolError> {
        let spool = self.clone();
        blocking(move || {
            let unreadable =
                |path: &Path, error| SpoolError::new(files::explain("list", path, &spool.dir, &error));
            let mut slots = BTreeSet::new();
            for folder in files::list(&spool.dir).map_err(|error| unreadable(&spool.dir, error))? {
                let name = folder.file_name().and_then(OsStr::to_str);
                let Some(stream) = name.and_then(|name| name.parse::<StreamName>().ok()) else {
                    continue;
                };
                let paths = files::list(&folder).map_err(|error| unreadable(&folder, error))?;
                slots.extend(paths.iter().filter_map(|path| Some((stream.clone(), files::window_of(path)?))));
            }
            Ok(slots.into_iter().map(|(stream, window)| spool.slot(&stream, window)).collect())
        })
        .await
    }
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, SpoolError> {
    let interrupted = |_| SpoolError::new("work in the spool was cut short; it is tried again".to_owned());
    tokio::task::spawn_blocking(work).await.map_err(interrupted)?
}
