//! The one reader of a log: following, `rebuild` and `verify` read entries and signatures through [`LogReader`].
//!
//! Why this is safe:
//! - One limit ([`READ_LIMIT`]) holds for the bytes that arrive. A promised length is never believed: no more than the
//!   limit is held in memory, whatever the store sends.
//! - One answer of a store is a claim. A reading counts as agreed when its bytes fit the MD5 that the store names, when
//!   they have the hash that the ledger knows, or when a second reading has the same bytes. Callers ask for an agreed
//!   reading ([`LogReader::agreed`]) wherever a first reading does not fit, before they call it damage, and for the newest
//!   entry always.
//! - An object that is not found is asked for a few times within seconds: some stores show an object late.
//! - A store whose ETags look like MD5s and are none costs a second reading, and is believed after that.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use parking_lot::Mutex;

use crate::domain::digest::{Md5, Sha256};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::lock::Lock;
use crate::domain::log_entry::{Definition, EntryBody, SealedEntry};
use crate::domain::name::StreamName;
use crate::domain::object_key::{ObjectKey, Seq, log_key};
use crate::ports::object_store::{LARGEST_OBJECT, ObjectStore, StoreError};

/// The most bytes that are read of an entry or a signature. Entries are written up to 64 KiB.
pub const READ_LIMIT: usize = 1 << 20;

/// The pauses between readings of one object: five readings within three seconds.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(10),
    Duration::from_millis(290),
    Duration::from_millis(700),
    Duration::from_millis(1500),
];

/// Reads the log of one stream.
pub struct LogReader {
    stream: StreamName,
    store: Arc<dyn ObjectStore>,
    /// Whether ETags that look like MD5s were right so far.
    etags_are_md5: AtomicBool,
    /// What was read with care beyond a gap, and is no part of the log.
    passed_over: Mutex<BTreeSet<(Seq, Sha256)>>,
}

/// One answer of the store for one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    bytes: Vec<u8>,
    lock: Lock,
    agreed: bool,
    /// Whether the store named an MD5 of so many bytes, and these have another.
    other_md5: bool,
}

impl Reading {
    /// The bytes that arrived; one more than [`READ_LIMIT`] where more came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The SHA-256 of [`Self::bytes`]; meaningless where [`Self::is_too_large`].
    pub fn hash(&self) -> Sha256 {
        Sha256::of(&self.bytes)
    }

    /// Whether more than [`READ_LIMIT`] bytes came: no entry and no signature is so large.
    pub fn is_too_large(&self) -> bool {
        self.bytes.len() > READ_LIMIT
    }

    /// The lock that the store named with the bytes.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Whether two things agree on the bytes.
    pub fn is_agreed(&self) -> bool {
        self.agreed
    }

    /// Notes that something else vouches for the bytes: a signature, or a hash that is known.
    pub fn agree(&mut self) {
        self.agreed = true;
    }
}

impl LogReader {
    /// A reader of the log of `stream` in `store`.
    pub fn new(stream: StreamName, store: Arc<dyn ObjectStore>) -> Self {
        Self { stream, store, etags_are_md5: AtomicBool::new(true), passed_over: Mutex::default() }
    }

    /// The stream whose log it is.
    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// The store that the log lies in.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Whether the bytes with `hash` at `place` were passed over before.
    pub fn is_passed_over(&self, place: Seq, hash: Sha256) -> bool {
        self.passed_over.lock().contains(&(place, hash))
    }

    /// Takes note that the bytes with `hash` at `place` are no part of the log, so that they are said once and not read with
    /// care each time. Whether that is new.
    pub fn pass_over(&self, place: Seq, hash: Sha256) -> bool {
        self.passed_over.lock().insert((place, hash))
    }

    /// One reading of `key`; `None` where the store finds nothing.
    ///
    /// # Errors
    /// When the store does not send it.
    pub async fn read(&self, key: &ObjectKey) -> Result<Option<Reading>, StoreError> {
        let Some(mut body) = self.store.get(key).await? else { return Ok(None) };
        let mut bytes = Vec::new();
        while let Some(chunk) = body.bytes.next().await {
            let chunk = chunk?;
            let room = (READ_LIMIT + 1).saturating_sub(bytes.len());
            bytes.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            if bytes.len() > READ_LIMIT {
                break;
            }
        }
        let whole = bytes.len() as u64 == body.meta.bytes;
        let fits = body.meta.md5.filter(|_| whole).map(|md5| Md5::of(&bytes) == md5);
        let agreed = self.etags_are_md5.load(Ordering::Relaxed) && fits == Some(true);
        let lock = body.meta.lock.unwrap_or_default();
        Ok(Some(Reading { agreed, lock, bytes, other_md5: fits == Some(false) }))
    }

    /// A reading of `key` on whose bytes two things agree, after the reading `first` where there was one. `known` is the
    /// hash that the object must have, where that is known. `None` where the store finds nothing each time.
    ///
    /// # Errors
    /// When the store does not send it, or sends other bytes each time.
    pub async fn agreed(
        &self,
        key: &ObjectKey,
        first: Option<Reading>,
        known: Option<Sha256>,
    ) -> Result<Option<Reading>, StoreError> {
        let mut seen: Vec<Reading> = Vec::new();
        let mut next = first;
        for pause in PAUSES.iter().map(Some).chain([None]) {
            let reading = match next.take() {
                Some(reading) => Some(reading),
                None => self.read(key).await?,
            };
            if let Some(mut reading) = reading {
                let twice = seen.iter().any(|before| before.bytes == reading.bytes);
                // Where the hash is known, an answer that only agrees with itself is another object's.
                let vouched_for = known.map_or(reading.agreed, |known| known == reading.hash());
                if vouched_for || twice {
                    if reading.other_md5 {
                        self.etags_are_md5.store(false, Ordering::Relaxed);
                    }
                    reading.agree();
                    return Ok(Some(reading));
                }
                seen.push(reading);
            }
            if let Some(pause) = pause {
                tokio::time::sleep(*pause).await;
            }
        }
        if seen.is_empty() {
            return Ok(None);
        }
        let message = format!(
            "{key} reads differently each time ({} readings): the store, or the way to it, changes bytes; it is read again later",
            PAUSES.len() + 1
        );
        Err(StoreError(Failure::new(FailureKind::Transient, Scope::Stream, message)))
    }

    /// What the first entry says that the stream is; `None` where there is no first entry, or it is no such entry.
    ///
    /// # Errors
    /// When the store does not send it.
    pub async fn opened_as(&self) -> Result<Option<Definition>, StoreError> {
        let key = log_key(&self.stream, Seq::FIRST);
        let Some(first) = self.read(&key).await? else { return Ok(None) };
        let Some(reading) = self.agreed(&key, Some(first), None).await? else { return Ok(None) };
        let entry = SealedEntry::open_unchained(reading.bytes().to_vec(), &self.stream, Seq::FIRST);
        Ok(match entry.map(|entry| entry.entry().body.clone()) {
            Ok(EntryBody::Stream(opened)) => Some(opened.definition),
            _ => None,
        })
    }

    /// The SHA-256 of every byte under `key`, which was read with another hash or is too large to be held: two readings
    /// that agree. `None` where nothing is found.
    ///
    /// # Errors
    /// When the store does not send it, or sends other bytes each time.
    pub async fn whole_hash(&self, key: &ObjectKey) -> Result<Option<Sha256>, StoreError> {
        let mut seen = Vec::new();
        for _ in 0..=PAUSES.len() {
            let Some(hash) = self.store.hash(key, LARGEST_OBJECT, &Arc::default()).await? else {
                return Ok(None);
            };
            if seen.contains(&hash) {
                return Ok(Some(hash));
            }
            seen.push(hash);
        }
        let message = format!("{key} reads differently each time; it is read again later");
        Err(StoreError(Failure::new(FailureKind::Transient, Scope::Stream, message)))
    }
}
