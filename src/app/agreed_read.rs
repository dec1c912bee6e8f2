//! Reads an object of a store until two things agree on its bytes.
//!
//! One answer of a store is a claim: a read may arrive damaged or cut off, and a "not there" may be wrong. A read counts
//! as soon as something else agrees with it:
//! - the SHA-256 that is known of the object, from a log entry or from our own export;
//! - else the ETag of the same answer, where it is the MD5 of the bytes that arrived;
//! - else another read with the same SHA-256.
//!
//! A "not there" counts when a second answer, after a pause, repeats it. Where no two answers agree, nothing is said of the
//! object and the failure is transient.
//!
//! Sizes are limited by the bytes that arrive. A length header may promise anything.

use std::io::Write;
use std::time::Duration;

use futures_util::TryStreamExt;
use sha2::Digest;
use tempfile::NamedTempFile;

use crate::domain::digest::{Md5, Sha256};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::lock::Lock;
use crate::domain::message::Message;
use crate::domain::object_key::ObjectKey;
use crate::domain::text::ForeignText;
use crate::ports::object_store::{LARGEST_OBJECT, ObjectStore};

use super::scratch::Scratch;

/// Reads of one object before the store counts as unreliable for now.
const READS: usize = 5;

/// The pause before an object that is "not there" is asked for once more.
pub(super) const ONCE_MORE: &[Duration] = &[Duration::from_millis(100)];

/// The pauses for an object that was put just now: some stores take a moment to show it. Four seconds in all.
pub(super) const AFTER_A_PUT: &[Duration] = &[
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(1200),
    Duration::from_millis(2400),
];

/// How many bytes of an object are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The most that is kept in a scratch file; `None`: nothing. A larger object is hashed and not kept.
    pub(super) keep: Option<u64>,
    /// The most that is read.
    pub(super) read: u64,
}

impl Limits {
    /// For an object whose size is known: nothing is kept, and one byte more is another object.
    pub(super) fn hash_only(bytes: u64) -> Self {
        Self { keep: None, read: bytes }
    }

    /// As [`Self::hash_only`], with the bytes kept in a scratch file.
    pub(super) fn kept(bytes: u64) -> Self {
        Self { keep: Some(bytes), read: bytes }
    }

    /// For an object of unknown size beside an export of `export_bytes`: hashed whole, and kept only where its size may be
    /// that of the same rows in other bytes, and there is `room` for it.
    pub(super) fn beside(export_bytes: u64, room: u64) -> Self {
        /// Below this size the ratio between two forms of the same rows says nothing.
        const SMALL: u64 = 16 << 20;
        /// A spreadsheet is compressed and delimited text is not.
        const RATIO: u64 = 32;
        let keep = export_bytes.saturating_mul(RATIO).clamp(SMALL, LARGEST_OBJECT);
        Self { keep: Some(keep.min(room)), read: LARGEST_OBJECT }
    }
}

/// An object, as two things agree on it.
#[derive(Debug)]
pub(super) enum Agreed {
    /// Two things agree on its bytes.
    Object(AgreedObject),
    /// It has more bytes than the limits allow to read.
    TooLarge,
    /// It is not there.
    Absent,
}

/// An object whose bytes two things agree on.
#[derive(Debug)]
pub(super) struct AgreedObject {
    /// Its bytes, where the limits let them be kept.
    pub(super) file: Option<NamedTempFile>,
    /// Its size in bytes.
    pub(super) bytes: u64,
    /// Of its bytes.
    pub(super) sha256: Sha256,
    /// Of its bytes.
    pub(super) md5: Md5,
    /// The ETag that came with the bytes, where it has the form of an MD5.
    pub(super) etag: Option<Md5>,
    /// The version that was read, where the bucket keeps versions.
    pub(super) version_id: Option<ForeignText>,
    /// The lock that came with the bytes.
    pub(super) lock: Lock,
    /// Whether as many bytes arrived as the answer promised, if it promised any.
    is_whole: bool,
}

/// What one answer says, as far as two answers can agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    Bytes(Sha256),
    TooLarge,
    /// The answer contradicts itself, so no other one agrees with it.
    CutOff,
}

/// The object under a key, about to be read.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    /// Where the bytes are kept meanwhile.
    pub(super) scratch: &'a Scratch,
    /// Where the object is.
    pub(super) store: &'a dyn ObjectStore,
    /// Its key.
    pub(super) key: &'a ObjectKey,
    /// How much of it is read.
    pub(super) limits: Limits,
}

impl Reading<'_> {
    /// Reads until two things agree. An object with SHA-256 `known` needs no second read; an object that is not there is asked
    /// for again after each of `pauses`.
    ///
    /// # Errors
    /// When the store fails, its answers do not agree, or the bytes cannot be kept.
    pub(super) async fn agreed(&self, known: Option<Sha256>, pauses: &[Duration]) -> Result<Agreed, Failure> {
        let (mut claims, mut pauses, mut broken_off) = (Vec::new(), pauses.iter(), None);
        while claims.len() < READS {
            let read = match self.once().await? {
                Ok(read) => read,
                Err(failure) => {
                    claims.push(Claim::CutOff);
                    broken_off = Some(failure);
                    continue;
                }
            };
            let (claim, is_agreed) = match &read {
                Agreed::Absent => {
                    let Some(pause) = pauses.next() else { return Ok(Agreed::Absent) };
                    tokio::time::sleep(*pause).await;
                    continue;
                }
                Agreed::TooLarge => (Claim::TooLarge, false),
                Agreed::Object(object) => {
                    // Where the hash is known, an answer that only agrees with itself is another object's.
                    let itself = object.etag == Some(object.md5);
                    let is_known = known.map_or(itself, |known| known == object.sha256);
                    (if object.is_whole { Claim::Bytes(object.sha256) } else { Claim::CutOff }, is_known)
                }
            };
            if is_agreed || (claim != Claim::CutOff && claims.contains(&claim)) {
                if !claims.is_empty() && is_agreed {
                    let reads = claims.len() + 1;
                    tracing::warn!(key = %self.key, reads, "the answers of the store differed; two things agree now");
                }
                return Ok(read);
            }
            claims.push(claim);
        }
        let cause = format!(
            "object {} reads differently each time: the store, or the way to it, damages what it sends",
            self.key
        );
        let message = Message::new(cause).advise("it is read again later");
        Err(broken_off.unwrap_or_else(|| Failure::new(FailureKind::Transient, Scope::Window, message)))
    }

    /// One read, as it came. The inner error is of a body that broke off on its way.
    async fn once(&self) -> Result<Result<Agreed, Failure>, Failure> {
        let Limits { keep, read } = self.limits;
        let Some(mut body) = self.store.get(self.key).await? else {
            return Ok(Ok(Agreed::Absent));
        };
        let meta = body.meta;
        if meta.bytes > read {
            return Ok(Ok(Agreed::TooLarge));
        }
        let fits = |bytes: u64| keep.is_some_and(|keep| bytes <= keep);
        let mut file = if fits(meta.bytes) { Some(self.scratch.file()?) } else { None };
        let mut room = self.scratch.room_of_a_file();
        let (mut bytes, mut sha256, mut md5) = (0, sha2::Sha256::new(), md5::Md5::new());
        loop {
            let chunk = match body.bytes.try_next().await.map_err(Failure::from) {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(failure) if failure.kind == FailureKind::Transient => return Ok(Err(failure)),
                Err(failure) => return Err(failure),
            };
            bytes += chunk.len() as u64;
            if bytes > read {
                return Ok(Ok(Agreed::TooLarge));
            }
            sha256.update(&chunk);
            md5.update(&chunk);
            file = file.filter(|_| fits(bytes));
            if let Some(file) = &mut file {
                let kept = room.take(chunk.len() as u64).and_then(|()| file.write_all(&chunk));
                kept.map_err(|error| self.scratch.failed(file.path(), &error))?;
            }
        }
        Ok(Ok(Agreed::Object(AgreedObject {
            file,
            bytes,
            sha256: Sha256::finish(sha256),
            md5: Md5::from(<[u8; 16]>::from(md5.finalize())),
            etag: meta.md5,
            version_id: meta.version_id,
            lock: meta.lock.unwrap_or_default(),
            is_whole: meta.bytes == 0 || meta.bytes == bytes,
        })))
    }
}

#[cfg(test)]
mod tests;
