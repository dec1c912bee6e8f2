//! How much room there is on a disk, and how much of it bytes from elsewhere may take.
//!
//! A file that somebody else sent may be any size, and may unpack to a thousand times its own. So each file of that kind has a
//! [`Room`]: the free space less a reserve, which is for the ledger and for small exports. What counts is the bytes that were
//! written, never a length that was announced.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::message::Message;

/// The reserve is a tenth of the disk, and at most this many bytes.
const LARGEST_RESERVE: u64 = 64 << 20;
/// A file of at most this many bytes is written whatever is free: where it does not fit, nothing does.
const SMALL: u64 = 1 << 20;

/// The space on a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What this user may still write.
    pub free: u64,
    /// All there is.
    pub total: u64,
}

impl Space {
    /// What is kept free of bytes from elsewhere.
    fn reserve(self) -> u64 {
        (self.total / 10).min(LARGEST_RESERVE)
    }

    /// What is not reserved.
    fn rest(self) -> u64 {
        self.free.saturating_sub(self.reserve())
    }
}

/// The space on the disk of `path`.
///
/// # Errors
/// What the system says.
pub fn space(path: &Path) -> io::Result<Space> {
    let disk = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Ok(Space { free: bytes(disk.f_bavail), total: bytes(disk.f_blocks) })
}

/// Bytes that this user may still write below `path`.
///
/// # Errors
/// What the system says.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    space(path).map(|space| space.free)
}

/// Whether the disk of `path` is mounted read-only, for any user.
///
/// # Errors
/// What the system says.
pub fn is_read_only(path: &Path) -> io::Result<bool> {
    Ok(rustix::fs::statvfs(path)?.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// The room for one file of bytes from elsewhere.
#[derive(Debug)]
pub struct Room {
    dir: PathBuf,
    /// When the file was begun; `None` where the system does not say: writing will tell.
    at_first: Option<Space>,
    /// The most that the file may take.
    limit: u64,
    taken: u64,
    /// The disk is looked at again when this much is taken.
    look_at: u64,
}

impl Room {
    /// For a file that is fetched into the folder `dir`: all that is not reserved.
    pub fn to_fetch(dir: &Path) -> Self {
        Self::new(dir, space(dir).ok(), 1)
    }

    /// For a file that another one is unpacked to, in the folder `dir`: half of what is not reserved. What unpacks to more is the
    /// cause of a full disk itself.
    pub fn to_unpack(dir: &Path) -> Self {
        Self::new(dir, space(dir).ok(), 2)
    }

    fn new(dir: &Path, at_first: Option<Space>, parts: u64) -> Self {
        let limit = at_first.map_or(u64::MAX, |space| (space.rest() / parts).max(SMALL));
        Self { dir: dir.to_owned(), at_first, limit, taken: 0, look_at: SMALL + 1 }
    }

    /// The most that the file may take, in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Takes so many bytes, which are about to be written.
    ///
    /// # Errors
    /// A [`NoRoom`] where they would be too many.
    pub fn take(&mut self, bytes: u64) -> io::Result<()> {
        self.take_of(bytes, |dir| space(dir).ok())
    }

    fn take_of(&mut self, bytes: u64, look: impl FnOnce(&Path) -> Option<Space>) -> io::Result<()> {
        let needed = self.taken.saturating_add(bytes);
        let Some(at_first) = self.at_first else { return Ok(()) };
        if needed > self.limit {
            return Err(self.no_room(needed, at_first, at_first.rest() > SMALL));
        }
        if needed >= self.look_at {
            self.look_at = needed.saturating_add(SMALL);
            if let Some(now) = look(&self.dir).filter(|now| now.rest() < bytes) {
                // Others write to the disk as well: the one that has taken most of it is the cause.
                return Err(self.no_room(
                    needed,
                    now,
                    needed > at_first.rest() / 2 && at_first.rest() > SMALL,
                ));
            }
        }
        self.taken = needed;
        Ok(())
    }

    fn no_room(&self, needed: u64, space: Space, is_cause: bool) -> io::Error {
        let (free, reserve) = (space.free, space.reserve());
        io::Error::other(NoRoom { dir: self.dir.clone(), needed, free, reserve, is_cause })
    }
}

/// A file needs more room than a disk has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoRoom {
    dir: PathBuf,
    needed: u64,
    free: u64,
    reserve: u64,
    /// Whether the file itself takes up the disk, and not others beside it.
    pub is_cause: bool,
}

impl NoRoom {
    /// The one that `error` stands for, if it does.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// The failure of the window whose file it is: an operator is needed where the file itself is too large for the disk.
    pub fn failure(&self) -> Failure {
        let kind = if self.is_cause { FailureKind::Rejected } else { FailureKind::Transient };
        let advice = "free some space there, or give the stream a shorter window";
        Failure::new(kind, Scope::Window, Message::new(self.to_string()).advise(advice))
    }
}

impl std::error::Error for NoRoom {}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [needed, free, reserve] = [self.needed, self.free, self.reserve].map(Bytes);
        write!(
            f,
            "a file needs more than {needed} of the disk of {}, which has {free} free and keeps {reserve} in reserve",
            self.dir.display()
        )
    }
}

/// A number of bytes, for a person.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes @ ..SMALL => write!(f, "{bytes} bytes"),
            bytes => write!(f, "{} MiB", bytes >> 20),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn disk(free: u64) -> Space {
        Space { free: free * MIB, total: 200 * MIB }
    }

    fn room(free: u64, parts: u64) -> Room {
        Room::new(Path::new("/spool"), Some(disk(free)), parts)
    }

    /// Takes a mebibyte at a time while the disk has so much free; says how many could be taken and what was said then.
    fn fill(room: &mut Room, free: impl Fn(u64) -> u64) -> (u64, NoRoom) {
        for taken in 0.. {
            if let Err(error) = room.take_of(MIB, |_| Some(disk(free(taken)))) {
                return (taken, NoRoom::of(&error).unwrap().clone());
            }
        }
        unreachable!("a disk of 200 MiB is never full")
    }

    #[test]
    fn one_file_takes_what_is_free_less_a_reserve_and_what_it_unpacks_to_half_of_that() {
        for (parts, most) in [(1, 160), (2, 80)] {
            let (taken, refused) = fill(&mut room(180, parts), |taken| 180 - taken);
            assert_eq!((taken, refused.is_cause), (most, true));
            let needed = format!("more than {} MiB of the disk of /spool", most + 1);
            let said = refused.to_string();
            assert!(said.contains(&needed) && said.contains("180 MiB free and keeps 20 MiB"), "{said}");
            assert_eq!(
                (refused.failure().kind, refused.failure().scope),
                (FailureKind::Rejected, Scope::Window)
            );
        }
    }

    #[test]
    fn where_others_take_the_disk_a_file_is_refused_for_now() {
        let (taken, refused) = fill(&mut room(180, 1), |taken| 180 - taken * 10);
        assert_eq!((taken, refused.is_cause), (16, false));
        assert_eq!(refused.failure().kind, FailureKind::Transient);
        assert!(refused.to_string().contains("20 MiB free"), "{refused}");
    }

    #[test]
    fn a_small_file_is_written_whatever_is_free() {
        let (taken, refused) = fill(&mut room(2, 1), |_| 2);
        assert_eq!((taken, refused.is_cause), (1, false), "the disk was full before");
        let mut unknown = Room::new(Path::new("/spool"), None, 1);
        assert!(unknown.take(u64::MAX).is_ok(), "writing will tell");
    }

    #[test]
    fn the_reserve_of_a_large_disk_is_not_a_tenth_of_it() {
        assert_eq!(Space { free: 0, total: 1 << 40 }.reserve(), 64 * MIB);
        assert!(space(Path::new("/")).unwrap().total >= space(Path::new("/")).unwrap().free);
    }
}
