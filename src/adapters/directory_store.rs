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
//! Nor may a file system that answers nothing hold up more than its own streams: no work is waited for longer than
//! [`LONGEST_SILENCE`] without a step that ends or a byte that moves (`patience.rs`). What was given up may still be gone
//! through with when the file system comes back, and that is harmless, as is a put whose answer was lost: it puts the bytes
//! that were to stand under this key, whole or not at all, and takes no name that another has. Whoever put there meanwhile
//! has found the name free or taken, as with any other writer. It reads its file in the spool by its digest, so one that
//! was replaced there is not taken.
//!
//! What root makes belongs to the root's owner (`owner.rs`): root's `check` goes before a daemon that is no root.
//!
//! Symbolic links below the root are no objects: they are neither listed nor read.

mod copied;
mod owner;
mod patience;
mod put;
mod walk;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use sha2::Digest;

use crate::domain::digest::Sha256;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::lock::Lock;
use crate::domain::message::Message;
use crate::domain::name::StreamName;
use crate::domain::object_key::{KeyPrefix, ObjectKey};
use crate::ports::object_store::{
    Content, CreateOnly, LONGEST_SILENCE, ObjectBody, ObjectMeta, ObjectStore, PutOutcome, StoreError,
};

use self::patience::{NoOutcome, Patience, Step, Steps};
use super::local_content;

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
    /// How long it may be silent.
    patience: Patience,
}

/// A work on the store, which blocks: it says each of its steps before it takes it.
struct Work<'w> {
    store: &'w DirectoryStore,
    steps: &'w Steps,
}

/// An open file. Closing it may take as long as anything else does that is asked of a file system: whoever has no more use
/// for it waits for that on no thread that others need.
struct Opened(Option<std::fs::File>);

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(file) = self.0.take() {
            // Without a thread for it, it is closed here.
            _ = std::thread::Builder::new().name("store".to_owned()).spawn(move || drop(file));
        }
    }
}

impl DirectoryStore {
    /// The store in `root`, which nobody has looked at yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), within: String::new(), patience: Patience::new(LONGEST_SILENCE) }
    }

    /// One stream's folder, whatever it is called where it lies: for reading.
    pub fn of_stream(folder: impl Into<PathBuf>, stream: &StreamName) -> Self {
        Self { within: format!("{stream}/"), ..Self::new(folder) }
    }

    /// The same store, which may be silent for so long.
    #[must_use]
    pub fn silent_for(self, longest: Duration) -> Self {
        Self { patience: Patience::new(longest), ..self }
    }

    fn path(&self, key: &ObjectKey) -> PathBuf {
        self.located(key.as_str())
    }

    /// Where a key, or a folder of keys, lies.
    fn located(&self, key: &str) -> PathBuf {
        self.root.join(key.strip_prefix(&self.within).unwrap_or(key))
    }

    /// Does `work`, which blocks, elsewhere, and waits for as long as it gets on.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Work<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        let first = Step { doing: "look at", path: self.root.clone(), is_local: false };
        let outcome = self.patience.run(first, move |steps| work(&Work { store: &store, steps })).await;
        outcome.unwrap_or_else(|none| Err(self.no_outcome(none)))
    }

    /// The error for a work that came to no end.
    fn no_outcome(&self, none: NoOutcome) -> StoreError {
        let (root, limit) = (self.root.display(), self.patience.limit);
        let cause = match none {
            NoOutcome::Silent(Step { path, is_local: true, .. }) => {
                let error = io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}"));
                return local_content::unreadable(&path, &error);
            }
            NoOutcome::Silent(Step { doing, path, .. }) => {
                let path = path.display();
                format!("cannot {doing} {path} in the directory store {root}: no answer within {limit:?}")
            }
            NoOutcome::NotBegun(Step { doing, path, .. }) => {
                let path = path.display();
                format!(
                    "the directory store {root} is asked nothing: no answer has come to earlier requests, the oldest of \
                     them to {doing} {path}"
                )
            }
            NoOutcome::NoThread(error) => {
                let cause = format!("cannot start a thread for the directory store {root}: {error}");
                let message = Message::new(cause).advise("let the daemon have more tasks (TasksMax)");
                return StoreError(Failure::new(FailureKind::Local, Scope::Daemon, message));
            }
            NoOutcome::BrokeOff => {
                let cause = format!("work on the directory store {root} broke off");
                let message = Message::new(cause).advise("please report this as a bug");
                return StoreError::of_store(FailureKind::Transient, message);
            }
        };
        let advice =
            "see to the disk, or to the server that it is on; it goes on by itself once there is an answer";
        StoreError::of_store(FailureKind::Transient, Message::new(cause).advise(advice))
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
}

impl Work<'_> {
    /// Takes one step, which the file system may refuse.
    fn step<T>(
        &self,
        doing: &'static str,
        path: &Path,
        call: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, StoreError> {
        self.steps.begin(doing, path);
        call().map_err(|error| self.store.error(doing, path, &error))
    }

    /// What stands at `path`; `None` where no file does.
    fn look(&self, path: &Path) -> Result<Option<ObjectMeta>, StoreError> {
        self.steps.begin("look at", path);
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
            Err(error) => Err(self.store.error("look at", path, &error)),
        }
    }

    /// Whether a folder on the way from the root to `path` is a link: what lies behind it is not in the store.
    fn is_behind_a_link(&self, path: &Path) -> bool {
        let folders = path.ancestors().skip(1).take_while(|folder| *folder != self.store.root);
        folders.into_iter().any(Path::is_symlink)
    }

    /// Fails where the root is gone, so that a disk that is not mounted is not taken for an empty store.
    fn root_is_there(&self) -> Result<(), StoreError> {
        let root = &self.store.root;
        if self.step("look at", root, || std::fs::metadata(root))?.is_dir() {
            return Ok(());
        }
        let message = format!("{} is no directory: correct the store's `path`", root.display());
        Err(StoreError::of_store(FailureKind::Rejected, message))
    }

    /// Makes the root (not what is above it: that would hide a disk that is not mounted) and our folders in it.
    fn make_folders(&self) -> Result<(), StoreError> {
        let root = &self.store.root;
        for folder in [root.clone(), root.join(OWN_FOLDER), root.join(TEMP_FOLDER)] {
            self.steps.begin("make", &folder);
            match std::fs::create_dir(&folder) {
                // Above the root the daemon need not be allowed to look.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder == *root => continue,
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(self.store.error("make", &folder, &error));
                }
                Ok(()) => self.hand_over_folder(&folder),
                Err(_) => {}
            }
            let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
            self.sync_directory(parent.unwrap_or(Path::new(".")))?;
        }
        self.root_is_there()
    }

    fn sync_directory(&self, directory: &Path) -> Result<(), StoreError> {
        self.step("sync", directory, || std::fs::File::open(directory)?.sync_all())
    }

    /// Removes what dead writers left in the temporary folder.
    ///
    /// Others may put here too, from other machines even, so age or a process id proves nothing. A writer holds a
    /// lock on its file as long as it lives, and the kernel lets go of it when it dies: a file whose lock can be
    /// had is dead. (A living writer that loses its file between making and locking it
    /// makes another.) Where the file system knows no locks, everything stays.
    fn remove_leftovers(&self) -> io::Result<()> {
        let folder = self.store.root.join(TEMP_FOLDER);
        self.steps.begin("list", &folder);
        for leftover in std::fs::read_dir(folder)? {
            let leftover = leftover?;
            // What is no file is no writer's, and opening it may wait for somebody for ever.
            if !leftover.file_type()?.is_file() {
                continue;
            }
            let path = leftover.path();
            self.steps.begin("look at", &path);
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
        let mut file = self.step("read", path, || std::fs::File::open(path))?;
        // A hint that readers of whole files give; where it is not taken, nothing is lost.
        _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
        let (mut buffer, mut hasher, mut total) = (vec![0; HASH_CHUNK], sha2::Sha256::new(), 0);
        loop {
            let bytes = match file.read(&mut buffer) {
                Ok(0) => return Ok(Some(Sha256::finish(hasher))),
                Ok(_) if total > expected => return Ok(Some(Sha256::finish(hasher))),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.store.error("read", path, &error)),
            };
            self.steps.moved();
            hasher.update(&buffer[..bytes]);
            total += bytes as u64;
            read.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    fn prove_blocking(&self) -> Result<CreateOnly, StoreError> {
        self.make_folders()?;
        if let Err(error) = self.remove_leftovers() {
            tracing::warn!(store.path = %self.store.root.display(), %error, "leftovers cannot be removed");
        }
        let probe = ObjectKey::probe();
        self.put_blocking(&probe, &Content::Bytes(Bytes::from_static(b"connvault\n")))?;
        // Now that the name is surely taken, a second link to it has to be refused.
        match self.link(self.temporary()?.path(), &self.store.path(&probe))? {
            PutOutcome::AlreadyExists => Ok(CreateOnly::FileSystem),
            PutOutcome::Created { .. } => {
                let message = format!(
                    "the file system of {} lets a link replace a file, so nothing there is create-only: use another",
                    self.store.root.display()
                );
                Err(StoreError::of_store(FailureKind::Rejected, message))
            }
        }
    }

    /// The next piece of an open file; `None` at its end, where it is closed.
    fn next_piece(&self, opened: &mut Opened, path: &Path) -> Result<Option<Bytes>, StoreError> {
        let Some(file) = &mut opened.0 else { return Ok(None) };
        let mut piece = Vec::with_capacity(CHUNK);
        self.step("read", path, || file.take(CHUNK as u64).read_to_end(&mut piece))?;
        if piece.is_empty() {
            self.steps.begin("close", path);
            opened.0 = None;
            return Ok(None);
        }
        Ok(Some(Bytes::from(piece)))
    }
}

#[async_trait]
impl ObjectStore for DirectoryStore {
    async fn prove(&self) -> Result<CreateOnly, StoreError> {
        self.blocking(|work| work.prove_blocking()).await
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
        self.blocking(move |work| work.put_blocking(&key, &content)).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        let path = self.path(key);
        self.blocking(move |work| work.look(&path)).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<ObjectBody>, StoreError> {
        let path = self.path(key);
        let opened = self.blocking(move |work| {
            let Some(meta) = work.look(&path)? else {
                return Ok(None);
            };
            Ok(Some((meta, Opened(Some(work.step("read", &path, || std::fs::File::open(&path))?)))))
        });
        let Some((meta, file)) = opened.await? else {
            return Ok(None);
        };
        let coming = (Some(file), self.clone(), self.path(key));
        let bytes = stream::unfold(coming, |(file, store, path)| async move {
            // What broke off once is over.
            let mut file = file?;
            let of = path.clone();
            let read = store.blocking(move |work| Ok((work.next_piece(&mut file, &of)?, file))).await;
            match read {
                Ok((piece, file)) => Some((Ok(piece?), (Some(file), store, path))),
                Err(error) => Some((Err(error), (None, store, path))),
            }
        });
        Ok(Some(ObjectBody { meta, bytes: bytes.boxed() }))
    }

    async fn hash(
        &self,
        key: &ObjectKey,
        expected: u64,
        read: &Arc<AtomicU64>,
    ) -> Result<Option<Sha256>, StoreError> {
        let (path, read) = (self.path(key), Arc::clone(read));
        self.blocking(move |work| work.hash_blocking(&path, expected, &read)).await
    }

    fn list(
        &self,
        prefix: &KeyPrefix,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectKey, StoreError>> {
        walk::keys(self, prefix.as_str().to_owned(), after.map(|key| key.as_str().to_owned()))
    }
}
