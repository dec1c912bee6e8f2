//! One put into a directory. The order of its steps, and why it is safe, stands in the parent module.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::io::Errno;
use sha2::Digest;
use tempfile::NamedTempFile;

use super::{CHUNK, OBJECT_MODE, TEMP_FOLDER, Work};
use crate::adapters::local_content;
use crate::domain::digest::Sha256;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::message::Message;
use crate::domain::object_key::ObjectKey;
use crate::ports::object_store::{Content, PutOutcome, StoreError};

/// What is written is synced after so many bytes: whoever waits sees a slow disk get on, down to 273 KiB a second.
const SYNCED: u64 = 16 << 20;

impl Work<'_> {
    /// Puts `content` under `key` unless the key is taken.
    pub(super) fn put_blocking(&self, key: &ObjectKey, content: &Content) -> Result<PutOutcome, StoreError> {
        let target = self.store.path(key);
        // Spares the copy; that nobody else takes the name meanwhile is the link's business.
        if self.look(&target)?.is_some() {
            self.sync_up_from(&target)?;
            return Ok(PutOutcome::AlreadyExists);
        }
        let copy = self.temporary()?;
        match content {
            Content::Bytes(bytes) => self.step("write", &target, || copy.as_file().write_all(bytes))?,
            Content::File { path, bytes, sha256, .. } => {
                let found = self.copy_hashing(path, copy.as_file(), &target)?;
                if found != (*bytes, *sha256) {
                    let how = format!(
                        "its SHA-256 is {} over {} bytes, not {sha256} over {bytes}",
                        found.1, found.0
                    );
                    return Err(local_content::changed(path, &how));
                }
            }
        }
        self.step("sync", copy.path(), || copy.as_file().sync_all())?;
        self.make_parents(&target)?;
        let outcome = self.link(copy.path(), &target)?;
        self.sync_up_from(&target)?;
        // Its name goes when it is dropped.
        self.steps.begin("remove", copy.path());
        Ok(outcome)
    }

    /// A new file in the temporary folder, locked as long as we live, unlinked when dropped.
    pub(super) fn temporary(&self) -> Result<NamedTempFile, StoreError> {
        let folder = self.store.root.join(TEMP_FOLDER);
        let prefix = format!("{}-", std::process::id());
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).permissions(Permissions::from_mode(OBJECT_MODE));
        loop {
            let file = self.step("make a file in", &folder, || builder.tempfile_in(&folder))?;
            self.hand_over(file.as_file(), file.path());
            self.steps.begin("lock", file.path());
            if let Err(error) = file.as_file().lock() {
                // Nobody can then lock it to find out whether we live, either: it stays if we die.
                tracing::debug!(%error, "a temporary file cannot be locked");
                return Ok(file);
            }
            // Another process may have swept it between its making and its lock.
            let names = self.step("look at", &folder, || file.as_file().metadata())?;
            if names.nlink() > 0 {
                return Ok(file);
            }
        }
    }

    /// Copies a local file, and says how much it was and its digest. Errors in reading are this machine's or the
    /// window's, errors in writing the store's.
    fn copy_hashing(&self, from: &Path, mut to: &File, target: &Path) -> Result<(u64, Sha256), StoreError> {
        self.steps.begin_here("read", from);
        let mut source = File::open(from).map_err(|error| local_content::unreadable(from, &error))?;
        let (mut buffer, mut hasher, mut bytes, mut unsynced) = (vec![0; CHUNK], sha2::Sha256::new(), 0, 0);
        loop {
            self.steps.begin_here("read", from);
            let read = match source.read(&mut buffer) {
                Ok(0) => return Ok((bytes, Sha256::finish(hasher))),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(local_content::unreadable(from, &error)),
            };
            self.step("write", target, || to.write_all(&buffer[..read]))?;
            hasher.update(&buffer[..read]);
            bytes += read as u64;
            unsynced += read as u64;
            if unsynced >= SYNCED {
                self.step("sync", target, || to.sync_data())?;
                unsynced = 0;
            }
        }
    }

    /// Makes the folders of a key, below the root, which has to be there.
    fn make_parents(&self, target: &Path) -> Result<(), StoreError> {
        let Some(parent) = target.parent() else {
            return Ok(());
        };
        self.make_below_root(parent)
    }

    /// The step that decides: one name, once.
    pub(super) fn link(&self, copy: &Path, target: &Path) -> Result<PutOutcome, StoreError> {
        self.steps.begin("link", target);
        match std::fs::hard_link(copy, target) {
            Ok(()) => Ok(PutOutcome::Created { version_id: None }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if self.look(target)?.is_some() {
                    return Ok(PutOutcome::AlreadyExists);
                }
                let cause = format!("{} is taken by something that is no file", target.display());
                let message = Message::new(cause).advise("move it away");
                Err(StoreError(Failure::new(FailureKind::Rejected, Scope::Window, message)))
            }
            Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => {
                let root = self.store.root.display();
                let message = format!("the file system of {root} makes no hard links ({error}): use another");
                Err(StoreError::of_store(FailureKind::Rejected, message))
            }
            Err(error) => Err(self.store.error("link", target, &error)),
        }
    }

    /// Makes a name durable: its folder and every folder above it, up to the root.
    fn sync_up_from(&self, target: &Path) -> Result<(), StoreError> {
        let folders = target.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.store.root));
        for folder in folders {
            self.sync_directory(folder)?;
        }
        Ok(())
    }
}
