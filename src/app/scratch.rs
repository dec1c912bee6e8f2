//! The scratch folder: files that are of use only while one piece of work goes on. It is emptied at every start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use crate::adapters::disk::{NoRoom, Room};
use crate::adapters::inspect::{Delta, InspectError, Inspection, Inspector, Reader};
use crate::domain::failure::{Failure, FailureKind, Scope};

/// The folder, and the word to stop for work in it that would take long.
#[derive(Debug, Clone)]
pub struct Scratch {
    dir: Arc<Path>,
    stop: CancellationToken,
    inspector: Arc<dyn Inspector>,
}

impl Scratch {
    /// An empty folder at `dir`.
    ///
    /// # Errors
    /// When it cannot be emptied or made.
    pub fn open(dir: PathBuf, stop: CancellationToken) -> Result<Self, Failure> {
        let make = || {
            if dir.try_exists()? {
                std::fs::remove_dir_all(&dir)?;
            }
            std::fs::create_dir(&dir)
        };
        make().map_err(|e| local(&dir, &e))?;
        Ok(Self { dir: dir.into(), stop, inspector: Arc::new(Reader) })
    }

    /// The same folder, with files that `inspector` looks into.
    #[must_use]
    pub fn looking_with(self, inspector: Arc<dyn Inspector>) -> Self {
        Self { inspector, ..self }
    }

    /// A new empty file that goes when it is dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn file(&self) -> Result<NamedTempFile, Failure> {
        NamedTempFile::new_in(&self.dir).map_err(|error| local(&self.dir, &error))
    }

    /// The size of the largest foreign file that is kept in the folder, in bytes: it leaves half of what is free to others.
    pub fn room(&self) -> u64 {
        self.room_of_a_file().limit()
    }

    /// The room for one foreign file in the folder.
    pub(super) fn room_of_a_file(&self) -> Room {
        Room::to_unpack(&self.dir)
    }

    /// The failure for what this machine would not do with a file in the folder.
    pub(super) fn failed(&self, path: &Path, error: &std::io::Error) -> Failure {
        local(path, error)
    }

    /// Looks into a file: what is wrong with the file is the inner error, what is wrong here the outer.
    ///
    /// # Errors
    /// When it cannot be read, or the daemon stops meanwhile.
    pub async fn inspect(&self, path: &Path) -> Result<Result<Inspection, InspectError>, Failure> {
        let (path, inspector) = (path.to_owned(), Arc::clone(&self.inspector));
        self.look(move |dir, stop| inspector.inspect(&path, dir, stop)).await
    }

    /// Compares the rows of two files: what is wrong with one of them is the inner error, what is wrong here the outer.
    ///
    /// # Errors
    /// When one cannot be read, or the daemon stops meanwhile.
    pub async fn delta(&self, older: &Path, newer: &Path) -> Result<Result<Delta, InspectError>, Failure> {
        let (older, newer) = (older.to_owned(), newer.to_owned());
        let inspector = Arc::clone(&self.inspector);
        self.look(move |dir, stop| inspector.delta(&older, &newer, dir, stop)).await
    }

    /// Looks into files on a thread that may block, until it is told to stop. A panic there is the failure of the files that were
    /// looked into: of nothing else.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Path, &dyn Fn() -> bool) -> Result<T, InspectError> + Send + 'static,
    ) -> Result<Result<T, InspectError>, Failure> {
        let (dir, stop) = (Arc::clone(&self.dir), self.stop.clone());
        let outcome = tokio::task::spawn_blocking(move || look(&dir, &|| stop.is_cancelled())).await;
        let outcome = outcome.unwrap_or_else(|ended| {
            if !ended.is_panic() {
                return Err(InspectError::Stopped);
            }
            tracing::error!(
                "the reader panicked on a file: please report the lines before this one as a bug"
            );
            Err(InspectError::Panicked)
        });
        match outcome {
            Err(InspectError::Stopped) => Err(Failure::new(
                FailureKind::Transient,
                Scope::Window,
                "the daemon stops while it looks into a file",
            )),
            // Others take the disk at the moment: nothing is said of this file.
            Err(InspectError::NoRoom(no_room)) if !no_room.is_cause => Err(no_room.failure()),
            Err(error) if error.kind() == FailureKind::Local => {
                Err(Failure::new(FailureKind::Local, Scope::Daemon, error.to_string()))
            }
            outcome => Ok(outcome),
        }
    }
}

fn local(path: &Path, error: &std::io::Error) -> Failure {
    if let Some(no_room) = NoRoom::of(error) {
        return no_room.failure();
    }
    let message = format!("{}: {error}; free some space there, or see to its permissions", path.display());
    Failure::new(FailureKind::Local, Scope::Daemon, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rows_are_compared_until_the_daemon_stops() {
        let folder = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let scratch = Scratch::open(folder.path().join("scratch"), stop.clone()).unwrap();
        let [older, newer, page] = ["older", "newer", "page"].map(|name| folder.path().join(name));
        std::fs::write(&older, "Transaction ID,End\nt1,\nt2,5\n").unwrap();
        std::fs::write(&newer, "Transaction ID,End\nt1,4\nt3,5\nt4,6\n").unwrap();
        std::fs::write(&page, "<html></html>").unwrap();
        let found = scratch.delta(&older, &newer).await.unwrap().unwrap();
        assert_eq!(found, Delta { added: 2, removed: 1, changed: 1 });
        assert_eq!(scratch.delta(&older, &page).await.unwrap().unwrap_err().kind(), FailureKind::Corrupt);
        let gone = scratch.delta(&older, &folder.path().join("gone")).await.unwrap_err();
        assert_eq!((gone.kind, gone.scope), (FailureKind::Local, Scope::Daemon));
        stop.cancel();
        let stopped = scratch.delta(&older, &newer).await.unwrap_err();
        assert_eq!((stopped.kind, stopped.scope), (FailureKind::Transient, Scope::Window));
    }
}
