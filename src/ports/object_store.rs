//! Where archives are kept: create, look, read, list. Nothing here overwrites, and nothing deletes.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use sha2::Digest;

use crate::domain::digest::{Md5, Sha256};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::lock::Lock;
use crate::domain::message::Message;
use crate::domain::object_key::{KeyPrefix, ObjectKey};
use crate::domain::text::{ForeignText, Line};

/// The size of the largest object, in bytes: what one put may carry with every store.
pub const LARGEST_OBJECT: u64 = 5 << 30;

/// So long a store may say nothing while something is asked of it: then it counts as silent, and is held up.
pub const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// What is put: bytes in memory (log entries) or a file (exports), with the digests taken before.
#[derive(Debug, Clone)]
pub enum Content {
    /// A few kilobytes.
    Bytes(Bytes),
    /// A finished file that nobody writes to any more.
    File {
        /// Where it is.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
        /// Of its bytes.
        sha256: Sha256,
        /// Of its bytes.
        md5: Md5,
    },
}

/// How a create-only put ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object is new, and ours.
    Created {
        /// Where the bucket keeps versions.
        version_id: Option<ForeignText>,
    },
    /// The key was taken; what stands there was not touched.
    AlreadyExists,
}

/// What a store says of an object without sending it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its size as the store says; 0 where a store sends an object without saying how large it is.
    pub bytes: u64,
    /// Its ETag, where that has the form of an MD5. Some stores have ETags of this form that are no MD5 of the bytes.
    pub md5: Option<Md5>,
    /// Where the bucket keeps versions.
    pub version_id: Option<ForeignText>,
    /// What keeps it from being deleted, as the store says; `None` where the store has no notion of locks (a folder).
    pub lock: Option<Lock>,
}

/// An object on its way to us.
pub struct ObjectBody {
    /// What the store says of it.
    pub meta: ObjectMeta,
    /// Its bytes, as they come.
    pub bytes: BoxStream<'static, Result<Bytes, StoreError>>,
}

impl fmt::Debug for ObjectBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectBody").field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// How a store keeps a second put from taking a key that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateOnly {
    /// `If-None-Match: *`: the store itself refuses.
    IfNoneMatch,
    /// `x-obs-forbid-overwrite: true`: the store itself refuses (OBS dialect).
    ObsForbidOverwrite,
    /// The file system refuses (a link to a name that exists).
    FileSystem,
    /// The store refuses nothing: we look first and put then, and lean on the lease for the rest.
    HeadThenPut,
}

/// How much is read back before an object counts as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Readback {
    /// Every byte, hashed.
    #[default]
    Full,
    /// Size and ETag.
    Metadata,
}

/// One place for archives.
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// Finds out that the store is there, takes our credentials, lets us put and get, and how it refuses to
    /// overwrite, with real puts on [`ObjectKey::probe`]. Called before anything else is stored, until it succeeds.
    ///
    /// # Errors
    /// When the store cannot be used.
    async fn prove(&self) -> Result<CreateOnly, StoreError>;

    /// Stores `content` under `key`, with `lock`, unless the key is taken. Safe to repeat: if an answer was lost, the repetition
    /// says [`PutOutcome::AlreadyExists`], and the caller looks at what is there.
    ///
    /// Stores ignore what they do not know: that the put went through does not mean that the lock holds. What
    /// [`Self::head`] says does.
    ///
    /// # Errors
    /// When it is not known to be stored.
    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        content: &Content,
        lock: &Lock,
    ) -> Result<PutOutcome, StoreError>;

    /// What stands under `key`; `None` where nothing does.
    ///
    /// # Errors
    /// When the store did not say.
    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError>;

    /// The bytes under `key`; `None` where nothing is.
    ///
    /// # Errors
    /// When the store did not send them.
    async fn get(&self, key: &ObjectKey) -> Result<Option<ObjectBody>, StoreError>;

    /// The SHA-256 of every byte under `key`; `None` where nothing is. Adds to `read` what it has read, as it goes. Reading ends
    /// with the first piece that goes beyond `expected` bytes: the object is another one by then.
    ///
    /// # Errors
    /// When the store did not send them all.
    async fn hash(
        &self,
        key: &ObjectKey,
        expected: u64,
        read: &Arc<AtomicU64>,
    ) -> Result<Option<Sha256>, StoreError> {
        let Some(mut body) = self.get(key).await? else { return Ok(None) };
        let (mut hasher, mut bytes) = (sha2::Sha256::new(), 0);
        while bytes <= expected
            && let Some(chunk) = body.bytes.next().await
        {
            let chunk = chunk?;
            hasher.update(&chunk);
            bytes += chunk.len() as u64;
            read.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        Ok(Some(Sha256::finish(hasher)))
    }

    /// Sends a cheap request for the sake of its answer's `Date`, which goes to the store's
    /// [`AnswerWatch`](super::clock::AnswerWatch). A store without a clock of its own (a folder) does nothing. Says why no
    /// answer came, where none did.
    async fn tell_time(&self) -> Option<Failure> {
        None
    }

    /// Ways of refusing to overwrite that [`Self::prove`] went past because the store failed at them, each with the reason.
    fn passed_over(&self) -> Vec<Line> {
        Vec::new()
    }

    /// Whether the ETags of this store are the MD5 of an object's bytes, as [`Self::prove`] has seen it; `None` where that is
    /// not known or the store has no ETags.
    fn has_md5_etags(&self) -> Option<bool> {
        None
    }

    /// Every key that begins with `prefix` and sorts after `after`, in byte order.
    fn list(
        &self,
        prefix: &KeyPrefix,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectKey, StoreError>>;
}

/// A store did not do what it was asked. [`Failure`] says what is done about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct StoreError(pub Failure);

impl From<StoreError> for Failure {
    fn from(StoreError(failure): StoreError) -> Self {
        failure
    }
}

impl StoreError {
    /// An error that holds up all streams of the store.
    pub fn of_store(kind: FailureKind, message: impl Into<Message>) -> Self {
        Self(Failure::new(kind, Scope::Store, message))
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> FailureKind {
        self.0.kind
    }
}
