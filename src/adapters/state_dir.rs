//! The state directory, and the lock that keeps a second daemon out of it.
//!
//! The lock is on a file that stays: the kernel gives it back when the process ends, however it ends.

use std::fs::{File, Metadata, Permissions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Access;
use rustix::io::Errno;

use super::end_mark::EndMark;

/// A state directory that is ours alone, for as long as this lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Another process has it.
    #[error(
        "another connvault uses the state directory {}: stop it first, or give this one a state_dir of its own",
        .0.display()
    )]
    InUse(PathBuf),
    /// It is the daemon's, and this is root: what root makes there the daemon could not use afterwards.
    #[error(
        "the state directory {} belongs to user {owner}, and this runs as root, whose files that user could not use; \
         run it as that user: setpriv --reuid {owner} --regid {group} --clear-groups connvault … (where systemd made \
         the user, DynamicUser=: by systemd-run, as the README says)",
        path.display()
    )]
    OfAnotherUser {
        /// The state directory, as the configuration names it.
        path: PathBuf,
        /// Its owner's user id.
        owner: u32,
        /// Its group's id.
        group: u32,
    },
    /// Others may look into it or change it, and it is not ours to close.
    #[error(
        "the state directory {} is open to others (mode {mode:04o}) and belongs to user {owner}: run as that user: chmod {:04o} {}",
        path.display(), mode & CLOSED, path.display()
    )]
    Open {
        /// The state directory, as the configuration names it.
        path: PathBuf,
        /// The permission bits of the directory, such as 0o755.
        mode: u32,
        /// Its owner's user id.
        owner: u32,
    },
    /// Others may use it, and files of others are in it.
    #[error(
        "the state directory {} is open to others (mode {mode:04o}) and holds files of others: name a directory of connvault's own \
         in daemon.state_dir, or, where it is one, run: chmod {:04o} {}",
        path.display(), mode & CLOSED, path.display()
    )]
    Shared {
        /// The state directory, as the configuration names it.
        path: PathBuf,
        /// The permission bits of the directory, such as 0o755.
        mode: u32,
    },
    /// It is not there, or not ours.
    #[error("cannot use the state directory {}: {error}; {}", path.display(), remedy(error))]
    Unusable {
        /// The state directory, as the configuration names it.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
}

/// What a start finds at the place of its state directory, and can go on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing: it makes the directory.
    Nothing,
    /// A directory that is closed to others.
    Closed,
    /// A directory of its own that is open to others: it closes it.
    Open {
        /// Its permission bits.
        mode: u32,
    },
}

/// The permissions that a state directory may have: all for its owner, and looking for its group.
const CLOSED: u32 = 0o750;

/// What to do about it, by what the system says.
fn remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        _ if rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::NOLCK) => {
            "there are no locks on this file system: keep the state directory on a local disk"
        }
        ErrorKind::PermissionDenied => "give it to the user that this runs as (systemd: StateDirectory=)",
        ErrorKind::ReadOnlyFilesystem => "mount it for writing (systemd: StateDirectory=)",
        ErrorKind::NotADirectory => "name a directory in daemon.state_dir",
        ErrorKind::StorageFull => "free some space on its disk",
        _ => "make it, and give it to the user that this runs as (systemd: StateDirectory=)",
    }
}

/// How often a lock that somebody has is tried again before it counts as taken for good.
const TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

impl StateDir {
    /// Makes the directory if its parent is there, and locks it.
    ///
    /// # Errors
    /// When another process has it, it is another user's and this is root, or it cannot be used.
    pub fn lock(path: &Path) -> Result<Self, StateDirError> {
        let unusable = |error| StateDirError::Unusable { path: path.to_owned(), error };
        match Self::judge(path, rustix::process::geteuid().as_raw(), &may_write)? {
            Found::Nothing => std::fs::DirBuilder::new().mode(0o700).create(path).map_err(unusable)?,
            Found::Closed => {}
            Found::Open { mode } => close(path, mode).map_err(unusable)?,
        }
        let lock = File::options().create(true).truncate(false).write(true).open(path.join(LOCK));
        let lock = lock.map_err(unusable)?;
        let mut tries = TRIES;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { path: path.to_owned(), _lock: lock }),
                // It may be somebody who only looks: see `is_held`.
                Err(TryLockError::WouldBlock) if tries > 0 => std::thread::sleep(BETWEEN_TRIES),
                Err(TryLockError::WouldBlock) => return Err(StateDirError::InUse(path.to_owned())),
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
            tries -= 1;
        }
    }

    /// What a start by `user` would find at `path`, or why it would not start. It changes nothing. `may_write` says whether
    /// that user may change a file, or make files in a directory.
    ///
    /// # Errors
    /// As those of [`Self::lock`], save that another process may have the directory.
    pub fn judge(
        path: &Path,
        user: u32,
        may_write: &dyn Fn(&Path) -> std::io::Result<()>,
    ) -> Result<Found, StateDirError> {
        let unusable = |error| StateDirError::Unusable { path: path.to_owned(), error };
        if !path.try_exists().map_err(unusable)? {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new("."));
            std::fs::metadata(parent).map_err(unusable)?;
            may_write(parent).map_err(unusable)?;
            return Ok(Found::Nothing);
        }
        let metadata = std::fs::metadata(path).map_err(unusable)?;
        let (owner, group) = (metadata.uid(), metadata.gid());
        if user == 0 && owner != 0 {
            return Err(StateDirError::OfAnotherUser { path: path.to_owned(), owner, group });
        }
        if !metadata.is_dir() {
            return Err(unusable(Errno::NOTDIR.into()));
        }
        let found = openness(path, user, &metadata)?;
        may_write(path).map_err(unusable)?;
        let lock = path.join(LOCK);
        if lock.try_exists().map_err(unusable)? {
            may_write(&lock).map_err(unusable)?;
        }
        Ok(found)
    }

    /// Whether a process has the directory at `path`. Whoever asks has a share in the lock for an instant.
    pub fn is_held(path: &Path) -> bool {
        let Ok(lock) = File::open(path.join(LOCK)) else { return false };
        matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// What an end is announced by where the ledger cannot take it down.
    pub fn end_mark(&self) -> EndMark {
        EndMark::at(self.path.join("unannounced"))
    }

    /// Where exports lie until they are archived.
    pub fn spool(&self) -> PathBuf {
        self.path.join("spool")
    }

    /// Where files lie for a moment.
    pub fn scratch(&self) -> PathBuf {
        self.path.join("scratch")
    }

    /// The file in which a ledger is made that is to take the place of the one that is there. What an earlier try left of
    /// it is removed.
    ///
    /// # Errors
    /// When that cannot be removed.
    pub fn new_ledger(&self) -> std::io::Result<PathBuf> {
        let path = self.path.join(NEW_LEDGER);
        remove_database(&path)?;
        Ok(path)
    }

    /// Puts the new ledger, which must be closed, into the place of the old one.
    ///
    /// The old one goes first, file by file, its write-ahead log after it: SQLite would play the log of one database into
    /// another that stands under its name, and throws it away where there is none. A crash in between leaves no ledger,
    /// which is none the worse: one is made from the log at the next start. The old one is removed, or stays beside the new one
    /// under a name that ends with `kept_as`.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn replace_ledger(&self, kept_as: Option<&str>) -> std::io::Result<()> {
        match kept_as {
            None => remove_database(&self.ledger())?,
            Some(name) => set_aside(&self.ledger(), name)?,
        }
        std::fs::rename(self.path.join(NEW_LEDGER), self.ledger())?;
        File::open(&self.path)?.sync_all()
    }

    /// The ledger's file.
    pub fn ledger(&self) -> PathBuf {
        ledger_path(&self.path)
    }
}

/// Whether this process may change what stands at `path`.
pub fn may_write(path: &Path) -> std::io::Result<()> {
    let rights = match path.is_dir() {
        true => Access::WRITE_OK | Access::EXEC_OK,
        false => Access::WRITE_OK,
    };
    Ok(rustix::fs::access(path, rights)?)
}

/// Whether others may do anything in the directory that only its owner should: whoever can write there decides what the
/// daemon believes.
fn openness(path: &Path, user: u32, metadata: &Metadata) -> Result<Found, StateDirError> {
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o777 & !CLOSED == 0 {
        return Ok(Found::Closed);
    }
    if metadata.uid() != user {
        return Err(StateDirError::Open { path: path.to_owned(), mode, owner: metadata.uid() });
    }
    let is_own = is_of_its_own(path, mode);
    match is_own.map_err(|error| StateDirError::Unusable { path: path.to_owned(), error })? {
        true => Ok(Found::Open { mode }),
        false => Err(StateDirError::Shared { path: path.to_owned(), mode }),
    }
}

/// Takes that from others.
fn close(path: &Path, mode: u32) -> std::io::Result<()> {
    let closed = format!("{:04o}", mode & CLOSED);
    tracing::warn!(state_dir = %path.display(), mode = %format!("{mode:04o}"), closed, "the state directory was open to others and is closed");
    std::fs::set_permissions(path, Permissions::from_mode(mode & CLOSED))
}

/// Whether nothing but connvault has used the directory: it is empty, or holds the lock of an earlier run. A mistyped path may
/// name a directory that the machine needs as it is, such as /tmp.
fn is_of_its_own(path: &Path, mode: u32) -> std::io::Result<bool> {
    const STICKY: u32 = 0o1000;
    let is_empty = std::fs::read_dir(path)?.next().is_none();
    Ok(mode & STICKY == 0 && (is_empty || path.join(LOCK).try_exists()?))
}

const LOCK: &str = "lock";
const NEW_LEDGER: &str = "ledger.rebuilt.sqlite3";

/// Renames a database with the files that SQLite keeps beside it, so that it stays one.
fn set_aside(path: &Path, name: &str) -> std::io::Result<()> {
    for suffix in SUFFIXES {
        let [mut from, mut to] = [path.as_os_str().to_owned(), path.as_os_str().to_owned()];
        from.push(suffix);
        to.push(format!(".{name}{suffix}"));
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// A database's file, and those that SQLite keeps beside it.
const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

/// Removes a database with the files that SQLite keeps beside it.
fn remove_database(path: &Path) -> std::io::Result<()> {
    for suffix in SUFFIXES {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The ledger's file in the state directory at `path`.
pub fn ledger_path(path: &Path) -> PathBuf {
    path.join("ledger.sqlite3")
}

/// Whether this user may not read and write the ledger in the state directory at `path`, as every command must that looks
/// into it: the database keeps its log beside it.
pub fn is_closed_to_us(path: &Path) -> bool {
    let access = rustix::fs::access(ledger_path(path), Access::READ_OK | Access::WRITE_OK);
    matches!(access, Err(Errno::ACCESS | Errno::PERM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_kept_out_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let first = StateDir::lock(&path).unwrap();
        assert!(matches!(StateDir::lock(&path), Err(StateDirError::InUse(_))));
        drop(first);
        StateDir::lock(&path).unwrap();
    }

    #[test]
    fn a_file_system_without_locks_is_called_that() {
        let error = StateDirError::Unusable { path: "/state".into(), error: rustix::io::Errno::NOLCK.into() };
        assert!(error.to_string().contains("no locks on this file system"), "{error}");
    }

    #[test]
    fn a_directory_that_is_open_to_others_is_closed_and_one_that_its_group_may_read_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        std::fs::create_dir(&path).unwrap();
        for (before, after) in
            [(0o755, 0o750), (0o777, 0o750), (0o770, 0o750), (0o750, 0o750), (0o700, 0o700)]
        {
            std::fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
            drop(StateDir::lock(&path).unwrap());
            let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, after, "{before:o}");
        }
        let error = StateDirError::Open { path: path.clone(), mode: 0o777, owner: 7 }.to_string();
        assert!(error.contains("user 7") && error.contains("chmod 0750 /"), "{error}");
    }

    #[test]
    fn a_directory_that_others_use_as_well_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |mode: u32| {
            std::fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
            let error = StateDir::lock(dir.path()).unwrap_err().to_string();
            let left = std::fs::metadata(dir.path()).unwrap().permissions().mode() & 0o7777;
            assert_eq!(left, mode);
            assert!(error.contains("name a directory of connvault's own"), "{error}");
        };
        refused(0o1777);
        std::fs::write(dir.path().join("somebody's"), "").unwrap();
        refused(0o755);
    }

    #[test]
    fn whether_it_is_held_can_be_asked_without_taking_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        assert!(!StateDir::is_held(&path));
        let held = StateDir::lock(&path).unwrap();
        assert!(StateDir::is_held(&path));
        drop(held);
        assert!(!StateDir::is_held(&path));
    }

    #[test]
    fn a_directory_without_a_parent_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let error = StateDir::lock(&dir.path().join("no/such")).unwrap_err();
        assert!(error.to_string().contains("no/such"), "{error}");
    }
}
