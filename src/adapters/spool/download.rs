//! From the first byte to a committed export.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use md5::Digest;

use super::facts::{self, SpoolFacts, SpooledExport};
use super::files::{self, Kind};
use super::{Slot, SpoolError, blocking};
use crate::adapters::disk::Room;
use crate::domain::digest::{Md5, Sha256};
use crate::ports::record_source::{ByteSink, SinkFailure};

/// How many bytes are gathered before they go to disk.
const BATCH: usize = 1 << 20;

/// Both digests and the count of bytes, taken while they flow.
#[derive(Debug, Default)]
pub(super) struct Digests {
    sha256: sha2::Sha256,
    md5: md5::Md5,
    bytes: u64,
}

impl Digests {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.md5.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    pub(super) fn finish(self) -> (u64, Sha256, Md5) {
        (self.bytes, Sha256::finish(self.sha256), Md5::from(<[u8; 16]>::from(self.md5.finalize())))
    }
}

/// A `.part` file that goes when this is dropped. Once it has been renamed, there is none to go.
#[derive(Debug)]
struct PartFile(Slot);

impl PartFile {
    fn path(&self) -> PathBuf {
        self.0.path(Kind::Part)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // What is left in spite of this goes when the window is begun again, or swept.
        let _ = files::remove_if_there(&self.path());
    }
}

/// The file on the blocking pool's side.
#[derive(Debug)]
struct Output {
    file: File,
    digests: Digests,
    /// Bytes that wait to be hashed and written.
    gathered: Vec<u8>,
    room: Room,
}

impl Output {
    fn flush(&mut self) -> io::Result<()> {
        self.room.take(self.gathered.len() as u64)?;
        self.digests.update(&self.gathered);
        self.file.write_all(&self.gathered)?;
        self.gathered.clear();
        Ok(())
    }
}

/// Takes an export's bytes; dropped before [`SpoolWriter::finish_bytes`], it takes them with it.
#[derive(Debug)]
pub struct SpoolWriter {
    part: PartFile,
    /// Absent while it is on the blocking pool, and for good once a write failed or was cancelled.
    output: Option<Output>,
}

impl SpoolWriter {
    pub(super) fn create(slot: Slot) -> Result<Self, SpoolError> {
        let path = slot.path(Kind::Part);
        let file = files::create_private(&path).map_err(|error| slot.error("make", &path, &error))?;
        let room = Room::to_fetch(&slot.root);
        let output = Output { file, digests: Digests::default(), gathered: Vec::new(), room };
        Ok(Self { part: PartFile(slot), output: Some(output) })
    }

    /// Hashes and writes what was gathered.
    async fn flush(&mut self) -> io::Result<()> {
        let mut output = self.output.take().ok_or_else(broken)?;
        let flush = move || output.flush().map(|()| output);
        self.output = Some(tokio::task::spawn_blocking(flush).await.map_err(|_| broken())??);
        Ok(())
    }

    /// Makes all bytes durable. The window has no export yet: [`Downloaded::commit`] makes it one.
    ///
    /// # Errors
    /// When they cannot be written, or an earlier write failed.
    pub async fn finish_bytes(mut self) -> Result<Downloaded, SpoolError> {
        let flushed = self.flush().await;
        let Self { part, output } = self;
        let (slot, path) = (part.0.clone(), part.path());
        blocking(move || {
            flushed.map_err(|error| slot.error("write", &path, &error))?;
            let output = output.ok_or_else(|| slot.error("write", &path, &broken()))?;
            output.file.sync_all().map_err(|error| slot.error("sync", &path, &error))?;
            let (bytes, sha256, md5) = output.digests.finish();
            Ok(Downloaded { part, path, bytes, sha256, md5 })
        })
        .await
    }
}

fn broken() -> io::Error {
    io::Error::other("an earlier write failed or was cut short")
}

#[async_trait]
impl ByteSink for SpoolWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), io::Error> {
        let explain = |slot: &Slot, error: io::Error| {
            let SpoolError(failure) = slot.error("write", &slot.path(Kind::Part), &error);
            io::Error::new(error.kind(), SinkFailure(failure))
        };
        let output = self.output.as_mut().ok_or_else(|| explain(&self.part.0, broken()))?;
        output.gathered.extend_from_slice(&bytes);
        if output.gathered.len() < BATCH {
            return Ok(());
        }
        self.flush().await.map_err(|error| explain(&self.part.0, error))
    }
}

/// An export whose bytes are on disk and not committed, for inspection. Dropped, it takes them with it.
#[derive(Debug)]
pub struct Downloaded {
    part: PartFile,
    path: PathBuf,
    bytes: u64,
    sha256: Sha256,
    md5: Md5,
}

impl Downloaded {
    /// Where the bytes are, until [`Downloaded::commit`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Of the bytes.
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// Of the bytes.
    pub fn md5(&self) -> Md5 {
        self.md5
    }

    /// Makes it the window's export: from now on [`super::Spool::find`] finds it, power cut or not.
    ///
    /// # Errors
    /// When files cannot be written; then there is no export.
    pub async fn commit(self, facts: SpoolFacts) -> Result<SpooledExport, SpoolError> {
        blocking(move || {
            let Self { part, path: part_path, bytes, sha256, md5 } = self;
            let slot = &part.0;
            let path = slot.path(Kind::Export);
            let export = SpooledExport { path, bytes, sha256, md5, facts };
            let committed =
                rename_durably(slot, &part_path, &export.path).and_then(|()| facts::write(slot, &export));
            if let Err(error) = committed {
                // Without facts it is no export, and would only take up room.
                let _ = slot.clear();
                return Err(error);
            }
            Ok(export)
        })
        .await
    }
}

fn rename_durably(slot: &Slot, from: &Path, to: &Path) -> Result<(), SpoolError> {
    fs::rename(from, to).map_err(|error| slot.error("rename", from, &error))?;
    let dir = slot.dir();
    files::sync_dir(&dir).map_err(|error| slot.error("sync", &dir, &error))
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use futures_util::FutureExt;

    use super::*;
    use crate::domain::failure::{FailureKind, Scope};

    fn writer(root: &Path) -> SpoolWriter {
        let slot = Slot {
            root: root.into(),
            stream: "logins".parse().unwrap(),
            window: "20261122T000000Z_20261123T000000Z".parse().unwrap(),
        };
        files::make_private_dir(&slot.dir()).unwrap();
        SpoolWriter::create(slot).unwrap()
    }

    /// A writer whose disk is full.
    fn on_a_full_disk(root: &Path) -> SpoolWriter {
        let mut writer = writer(root);
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        writer.output.as_mut().unwrap().file = full;
        writer
    }

    #[tokio::test]
    async fn a_full_disk_says_what_to_do_and_nothing_is_finished_after_it() {
        let root = tempfile::tempdir().unwrap();
        let mut writer = on_a_full_disk(root.path());
        let part = writer.part.path();
        let error = writer.write(Bytes::from(vec![0; 2 * BATCH])).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let advice = format!("free some space under {}", root.path().display());
        assert!(error.to_string().ends_with(&advice), "{error}");
        assert!(writer.write(Bytes::from_static(b"x")).await.is_err());
        let error = writer.finish_bytes().await.unwrap_err();
        assert_eq!((error.0.kind, error.0.scope), (FailureKind::Local, Scope::Daemon));
        assert!(!part.exists());
    }

    #[tokio::test]
    async fn a_disk_found_full_by_the_last_batch_fails_the_finish() {
        let root = tempfile::tempdir().unwrap();
        let mut writer = on_a_full_disk(root.path());
        writer.write(Bytes::from_static(b"less than a batch")).await.unwrap();
        let error = writer.finish_bytes().await.unwrap_err();
        assert!(error.to_string().contains("free some space under"), "{error}");
    }

    #[tokio::test]
    async fn a_write_that_was_cancelled_cannot_be_gone_on_with() {
        let root = tempfile::tempdir().unwrap();
        loop {
            let mut writer = writer(root.path());
            // Polled once: the batch is on the blocking pool, and its outcome is lost with the future.
            if writer.write(Bytes::from(vec![0; 2 * BATCH])).now_or_never().is_none() {
                assert!(writer.finish_bytes().await.is_err());
                break;
            }
        }
    }
}
