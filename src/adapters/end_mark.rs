//! The announcement of an end that the ledger cannot take down, because the disk is full.
//!
//! A file can be removed from a full disk, but none can be written. So a file is made at a start, and what announces an end
//! removes it. Whatever ends the process without a word (killed, out of memory, a power cut) leaves it.

use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;

/// The file that stands until an end is announced without the ledger.
#[derive(Debug, Clone)]
pub struct EndMark(PathBuf);

impl EndMark {
    /// The file at `path`.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Whether an end was announced, and no run has begun since. Where nobody can tell, none was.
    pub fn is_announced(&self) -> bool {
        matches!(self.0.try_exists(), Ok(false))
    }

    /// A run begins: its end is not announced yet.
    ///
    /// # Errors
    /// When the disk takes no file.
    pub fn begin(&self) -> std::io::Result<()> {
        if self.0.try_exists()? {
            return Ok(());
        }
        File::options().create(true).truncate(false).write(true).open(&self.0)?.sync_all()?;
        self.sync_folder()
    }

    /// Announces the end of this run.
    ///
    /// # Errors
    /// When the directory cannot be written to at all.
    pub fn announce(&self) -> std::io::Result<()> {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => self.sync_folder(),
        }
    }

    fn sync_folder(&self) -> std::io::Result<()> {
        self.0.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_announced_until_the_next_run_begins_and_never_where_nobody_can_tell() {
        let folder = tempfile::tempdir().unwrap();
        let mark = EndMark::at(folder.path().join("mark"));
        for _ in 0..2 {
            mark.begin().unwrap();
            mark.begin().unwrap();
            assert!(!mark.is_announced());
            mark.announce().unwrap();
            mark.announce().unwrap();
            assert!(mark.is_announced());
        }
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(!EndMark::at(folder.path().join("file/mark")).is_announced());
    }
}
