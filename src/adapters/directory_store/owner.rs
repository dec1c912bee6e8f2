//! What root makes in a directory belongs to the directory's owner: the daemon, which runs as that user, is to go on there.
//!
//! Folders are opened one by one and by no link, since their owner could put a link in the place of any of them. A file
//! system without owners keeps what it has: nothing fails for that.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Component, Path};
use std::{fs, io};

use rustix::fs::{Mode, OFlags, open, openat};

use super::Work;
use crate::adapters::user;
use crate::ports::object_store::StoreError;

impl Work<'_> {
    /// Makes the folder `path` and those above it, below the root, which has to be there.
    pub(super) fn make_below_root(&self, path: &Path) -> Result<(), StoreError> {
        let root = &self.store.root;
        let missing = path.ancestors().take_while(|folder| folder != root && !folder.is_dir());
        let missing: Vec<_> = missing.collect();
        for folder in missing.into_iter().rev() {
            match self.step("make", folder, || made(folder)) {
                Ok(true) => self.hand_over_folder(folder),
                Ok(false) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives a folder that was just made to the root's owner.
    pub(super) fn hand_over_folder(&self, folder: &Path) {
        let root = &self.store.root;
        if user::is_root() && folder != root {
            self.steps.begin("give away", folder);
            self.tell(folder, opened(root, folder).and_then(|opened| self.give(&opened)));
        }
    }

    /// Gives a file that was just made to the root's owner.
    pub(super) fn hand_over(&self, file: &File, path: &Path) {
        if user::is_root() {
            self.steps.begin("give away", path);
            self.tell(path, self.give(file));
        }
    }

    fn give(&self, made: &File) -> io::Result<()> {
        let (root, now) = (fs::metadata(&self.store.root)?, made.metadata()?);
        if (root.uid(), root.gid()) == (now.uid(), now.gid()) {
            return Ok(());
        }
        fchown(made, Some(root.uid()), Some(root.gid()))
    }

    fn tell(&self, path: &Path, given: io::Result<()>) {
        if let Err(error) = given {
            tracing::debug!(file.path = %path.display(), %error, "what root made keeps its owner");
        }
    }
}

/// Whether it was made, and not there before.
fn made(folder: &Path) -> io::Result<bool> {
    match fs::create_dir(folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(false),
        Err(error) => Err(error),
    }
}

/// The folder at `path`, below `root`.
fn opened(root: &Path, path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder = open(root, flags, Mode::empty())?;
    let below = path.strip_prefix(root).map_err(io::Error::other)?;
    for part in below.components() {
        let Component::Normal(name) = part else { return Err(io::ErrorKind::InvalidInput.into()) };
        folder = openat(&folder, name, flags | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(folder.into())
}
