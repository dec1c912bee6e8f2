//! A directory as an [`ObjectStore`]: a disk or a share instead of a bucket.
//!
//! A put goes: copy into a new file below `.connvault/tmp`, hashing on the way → the hash must be the one that was
//! taken when the file was pulled → fsync the copy → link(2) it to its name, which fails where the name is taken →
//! fsync every directory from the name up to the root → unlink the temporary name. So a name never stands for half
//! an object, and two writers never share one. All directories are synced every time, and also when the name was
//! taken: who made them, or the name, may have died before syncing, and "it is there" is about to be relied on.
//!
//! `.connvault/tmp` is made by [`prove`](ObjectStore::prove) alone. Where it is missing later, this is not the
//! directory that was proven (most likely its disk is not mounted), and nothing is put.
//!
//! A full, read-only or failing disk is this *store's* trouble: it holds up the streams of this store only
//! (`Transient`: it goes on by itself once there is room), whereas `Local` would hold up the whole daemon.
//!
//! Symbolic links below the root are no objects: they are neither listed nor read.

mod copied;
mod put;
mod walk;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use sha2::Digest;
use tokio_util::io::ReaderStream;

use crate::domain::digest::Sha256;
use crate::domain::failure::FailureKind;
use crate::domain::lock::Lock;
use crate::domain::name::StreamName;
use crate::domain::object_key::{KeyPrefix, ObjectKey};
use crate::ports::object_store::{
    Content, CreateOnly, ObjectBody, ObjectMeta, ObjectStore, PutOutcome, StoreError,
};

pub use copied::{NoArchive, streams_in};

/// What is ours in the root and no part of any stream.
const OWN_FOLDER: &str = ".connvault";
const TEMP_FOLDER: &str = ".connvault/tmp";

/// What is read at a time, and held in memory.
const CHUNK: usize = 256 * 1024;
/// What is read at a time where nothing is done but hashing: large enough that disks read ahead.
const HASH_CHUNK: usize = 1024 * 1024;

/// Whoever may look into the directory may read an object, and nobody writes to it (the process's umask goes off).
const OBJECT_MODE: u32 = 0o444;

/// A directory.
#[derive(Debug, Clone)]
pub struct DirectoryStore {
    root: PathBuf,
    /// What every key begins with that the root stands for: nothing, or one stream's folder.
    within: String,
}

impl DirectoryStore {
    /// The store in `root`, which nobody has looked at yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), within: String::new() }
    }

    /// One stream's folder, whatever it is called where it lies: for reading.
    pub fn of_stream(folder: impl Into<PathBuf>, stream: &StreamName) -> Self {
        Self { root: folder.into(), within: format!("{stream}/") }
    }

    fn path(&self, key: &ObjectKey) -> PathBuf {
        self.located(key.as_str())
    }

    /// Where a key, or a folder of keys, lies.
    fn located(&self, key: &str) -> PathBuf {
        self.root.join(key.strip_prefix(&self.within).unwrap_or(key))
    }

    /// Does `work`, which blocks, elsewhere.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || work(&store)).await.unwrap_or_else(|error| {
            let message = format!("work on the directory store {} broke off: {error}", self.root.display());
            Err(StoreError::of_store(FailureKind::Transient, message))
        })
    }

    /// The error for what the file system would not do.
    fn error(&self, doing: &str, path: &Path, error: &io::Error) -> StoreError {
        let (kind, next) = match error.kind() {
            io::ErrorKind::PermissionDenied => (FailureKind::Auth, "let the daemon's user write there"),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                (FailureKind::Transient, "the store is full: make room in it")
            }
            io::ErrorKind::ReadOnlyFilesystem => (FailureKind::Transient, "mount it for writing"),
            io::ErrorKind::InvalidFilename => {
                (FailureKind::Rejected, "use a file system that takes such names")
            }
            _ => (FailureKind::Transient, "check the disk, and whether it is mounted"),
        };
        let (root, path) = (self.root.display(), path.display());
        StoreError::of_store(
            kind,
            format!("cannot {doing} {path} in the directory store {root}: {error}; {next}"),
        )
    }

    /// What stands at `path`; `None` where no file does.
    fn look(&self, path: &Path) -> Result<Option<ObjectMeta>, StoreError> {
        if self.is_behind_a_link(path) {
            return Ok(None);
        }
        match std::fs::symlink_metadata(path) {
            Ok(meta) if meta.is_file() => {
                Ok(Some(ObjectMeta { bytes: meta.len(), md5: None, version_id: None, lock: None }))
            }
            Ok(_) => Ok(None),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                self.root_is_there()?;
                Ok(None)
            }
            Err(error) => Err(self.error("look at", path, &error)),
        }
    }

    /// Whether a folder on the way from the root to `path` is a link: what lies behind it is not in the store.
    fn is_behind_a_link(&self, path: &Path) -> bool {
        let folders = path.ancestors().skip(1).take_while(|folder| *folder != self.root);
        folders.into_iter().any(Path::is_symlink)
    }

    /// Fails where the root is gone, so that a disk that is not mounted is not taken for an empty store.
    fn root_is_there(&self) -> Result<(), StoreError> {
        let root =
            std::fs::metadata(&self.root).map_err(|error| self.error("look at", &self.root, &error))?;
        if root.is_dir() {
            return Ok(());
        }
        let message = format!("{} is no directory: correct the store's `path`", self.root.display());
        Err(StoreError::of_store(FailureKind::Rejected, message))
    }

    /// Makes the root (not what is above it: that would hide a disk that is not mounted) and our folders in it.
    fn make_folders(&self) -> Result<(), StoreError> {
        for folder in [self.root.clone(), self.root.join(OWN_FOLDER), self.root.join(TEMP_FOLDER)] {
            match std::fs::create_dir(&folder) {
                // Above the root the daemon need not be allowed to look.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder == self.root => continue,
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(self.error("make", &folder, &error));
                }
                _ => {}
            }
            let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
            self.sync_directory(parent.unwrap_or(Path::new(".")))?;
        }
        self.root_is_there()
    }

    fn sync_directory(&self, directory: &Path) -> Result<(), StoreError> {
        let synced = std::fs::File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| self.error("sync", directory, &error))
    }

    /// Removes what dead writers left in the temporary folder.
    ///
    /// Others may put here too, from other machines even, so age or a process id proves nothing. A writer holds a
    /// lock on its file as long as it lives, and the kernel lets go of it when it dies: a file whose lock can be
    /// had is dead. (A living writer that loses its file between making and locking it
    /// makes another.) Where the file system knows no locks, everything stays.
    fn remove_leftovers(&self) -> io::Result<()> {
        for leftover in std::fs::read_dir(self.root.join(TEMP_FOLDER))? {
            let path = leftover?.path();
            let dead = std::fs::File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
            if dead {
                std::fs::remove_file(&path)?;
                tracing::info!(file.path = %path.display(), "a temporary file of a dead writer is removed");
            }
        }
        Ok(())
    }

    fn hash_blocking(
        &self,
        path: &Path,
        expected: u64,
        read: &AtomicU64,
    ) -> Result<Option<Sha256>, StoreError> {
        if self.look(path)?.is_none() {
            return Ok(None);
        }
        let failed = |error| self.error("read", path, &error);
        let mut file = std::fs::File::open(path).map_err(failed)?;
        // A hint that readers of whole files give; where it is not taken, nothing is lost.
        _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
        let (mut buffer, mut hasher, mut total) = (vec![0; HASH_CHUNK], sha2::Sha256::new(), 0);
        loop {
            let bytes = match file.read(&mut buffer) {
                Ok(0) => return Ok(Some(Sha256::finish(hasher))),
                Ok(_) if total > expected => return Ok(Some(Sha256::finish(hasher))),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            hasher.update(&buffer[..bytes]);
            total += bytes as u64;
            read.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    fn prove_blocking(&self) -> Result<CreateOnly, StoreError> {
        self.make_folders()?;
        if let Err(error) = self.remove_leftovers() {
            tracing::warn!(store.path = %self.root.display(), %error, "leftovers cannot be removed");
        }
        let probe = ObjectKey::probe();
        self.put_blocking(&probe, &Content::Bytes(Bytes::from_static(b"connvault\n")))?;
        // Now that the name is surely taken, a second link to it has to be refused.
        match self.link(self.temporary()?.path(), &self.path(&probe))? {
            PutOutcome::AlreadyExists => Ok(CreateOnly::FileSystem),
            PutOutcome::Created { .. } => {
                let message = format!(
                    "the file system of {} lets a link replace a file, so nothing there is create-only: use another",
                    self.root.display()
                );
                Err(StoreError::of_store(FailureKind::Rejected, message))
            }
        }
    }
}

#[async_trait]
impl ObjectStore for DirectoryStore {
    async fn prove(&self) -> Result<CreateOnly, StoreError> {
        self.blocking(Self::prove_blocking).await
    }

    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        content: &Content,
        lock: &Lock,
    ) -> Result<PutOutcome, StoreError> {
        // The configuration refuses it already; whoever asks all the same must not believe that it was done.
        if !lock.is_none() {
            let message =
                format!("the directory store {} locks no objects: use a bucket", self.root.display());
            return Err(StoreError::of_store(FailureKind::Rejected, message));
        }
        let (key, content) = (key.clone(), content.clone());
        self.blocking(move |store| store.put_blocking(&key, &content)).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        let path = self.path(key);
        self.blocking(move |store| store.look(&path)).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<ObjectBody>, StoreError> {
        let path = self.path(key);
        let opened = self.blocking(move |store| {
            let Some(meta) = store.look(&path)? else {
                return Ok(None);
            };
            let file = std::fs::File::open(&path).map_err(|error| store.error("read", &path, &error))?;
            Ok(Some((meta, file)))
        });
        let Some((meta, file)) = opened.await? else {
            return Ok(None);
        };
        let (store, path) = (self.clone(), self.path(key));
        let bytes = ReaderStream::with_capacity(tokio::fs::File::from_std(file), CHUNK)
            .map(move |chunk| chunk.map_err(|error| store.error("read", &path, &error)));
        Ok(Some(ObjectBody { meta, bytes: bytes.boxed() }))
    }

    async fn hash(
        &self,
        key: &ObjectKey,
        expected: u64,
        read: &Arc<AtomicU64>,
    ) -> Result<Option<Sha256>, StoreError> {
        let (path, read) = (self.path(key), Arc::clone(read));
        self.blocking(move |store| store.hash_blocking(&path, expected, &read)).await
    }

    fn list(
        &self,
        prefix: &KeyPrefix,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectKey, StoreError>> {
        walk::keys(self, prefix.as_str().to_owned(), after.map(|key| key.as_str().to_owned()))
    }
}
