//! Puts under Object Lock, and the proof that the lock holds.
//!
//! A store that does not know a header ignores it and says 200, so only what it says of the object afterwards proves
//! a lock. Every object of a stream is put through here and its lock checked: data objects, entries, and what lies
//! beside them. The first of them is the stream's first entry, so a store that knows no locks is found out before any
//! record is in it.
//!
//! How a lock that does not hold keeps the stream from being written to, whoever comes next:
//! - at once: the failure holds the stream up, and windows in flight are refused here, before they put anything. Until
//!   a lock has held, they put one after the other, so that no more than one object is ever put in vain;
//! - later, and after a restart: an entry says which lock was asked for. The newest entry is held against that when
//!   it is first read ([`StreamLog::follow`](super::stream_log::StreamLog::follow)), and the log is followed before
//!   anything is written. A data object that no entry names yet is held against what is asked for now before it is
//!   adopted. A signature is stored before its entry, so it may be all that an earlier try has left: one that lies at
//!   the next entry's place without a lock is told instead of another one being put.
//!
//! Nothing is asked of the bucket's own configuration: stores that have locks do not all answer that question, and
//! its answer proves nothing about an object. No probe is put under a lock either: it would stay for years.
//!
//! What was written before a lock was configured says of no lock, so nothing is expected of it. And what was asked
//! for then is expected only as far as the configuration still asks for it: an operator who takes the lock out of the
//! configuration has the stream go on.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::lock::{Lock, LockPolicy};
use crate::domain::name::StoreName;
use crate::domain::object_key::{KeyPrefix, ObjectKey};
use crate::ports::object_store::{Content, ObjectStore, PutOutcome};

/// The pauses between looks at an object that is not shown yet.
const SHOWN_LATE: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1500)];

/// The way to put something into one stream.
pub struct ObjectLocks {
    store: Arc<dyn ObjectStore>,
    name: StoreName,
    policy: LockPolicy,
    trust: Mutex<Trust>,
    /// Held over a put, and the look at its lock, while nothing is known yet.
    proving: tokio::sync::Mutex<()>,
}

/// What is known of the store since the stream was last looked at.
#[derive(Clone)]
enum Trust {
    /// Nothing.
    Unknown,
    /// A lock holds.
    Holds,
    /// A lock was found not to hold.
    Broken(Failure),
}

impl ObjectLocks {
    /// Puts of one stream into `store`, which the configuration calls `name`, under locks as `policy` says.
    pub fn new(store: Arc<dyn ObjectStore>, name: StoreName, policy: LockPolicy) -> Self {
        Self { store, name, policy, trust: Mutex::new(Trust::Unknown), proving: tokio::sync::Mutex::new(()) }
    }

    /// The store itself, to look and to read.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The lock of an object whose retention counts from `from`.
    pub fn lock_from(&self, from: Timestamp, now: Timestamp) -> Lock {
        self.policy.lock_from(from, now)
    }

    /// Puts `content` under `lock`, unless a lock of this stream was found not to hold. Whoever calls this reads the
    /// object back, and has [`Self::check`] look at its lock.
    ///
    /// # Errors
    /// When it is not known to be stored, or nothing may be written.
    pub async fn put(&self, key: &ObjectKey, content: &Content, lock: &Lock) -> Result<PutOutcome, Failure> {
        if lock.is_none() || matches!(self.trust(), Trust::Holds) {
            return self.put_trusting(key, content, lock).await;
        }
        let _one_at_a_time = self.proving.lock().await;
        let outcome = self.put_trusting(key, content, lock).await?;
        if outcome != PutOutcome::AlreadyExists && matches!(self.trust(), Trust::Unknown) {
            self.check(key, lock, &Lock::NONE).await?;
            self.set_trust(Trust::Holds);
        }
        Ok(outcome)
    }

    async fn put_trusting(
        &self,
        key: &ObjectKey,
        content: &Content,
        lock: &Lock,
    ) -> Result<PutOutcome, Failure> {
        if let Trust::Broken(failure) = self.trust() {
            return Err(failure);
        }
        self.store.put_if_absent(key, content, lock).await.map_err(Failure::from)
    }

    /// Whether `key` is under `asked`: as the store `said` when it gave the object, else as it says now (not every
    /// store that has locks says so with a GET).
    ///
    /// # Errors
    /// When the lock does not hold, or the store does not say. After the first of these nothing is put any more.
    pub async fn check(&self, key: &ObjectKey, asked: &Lock, said: &Lock) -> Result<(), Failure> {
        if said.covers(asked) {
            return Ok(());
        }
        let found = self.lock_of(key).await?;
        if found.covers(asked) {
            return Ok(());
        }
        let failure = self.does_not_hold(key, asked, &found);
        self.set_trust(Trust::Broken(failure.clone()));
        Err(failure)
    }

    /// The lock that the store says of `key` now. An object that is not shown yet is asked for a few times: it was put or
    /// read a moment ago.
    async fn lock_of(&self, key: &ObjectKey) -> Result<Lock, Failure> {
        for pause in SHOWN_LATE {
            if let Some(meta) = self.store.head(key).await? {
                return Ok(meta.lock.unwrap_or_default());
            }
            tokio::time::sleep(pause).await;
        }
        let meta = self.store.head(key).await?;
        Ok(meta.and_then(|meta| meta.lock).unwrap_or_default())
    }

    /// Whether what earlier tries left below `prefix` shows that the store takes no locks, while nothing else is known.
    /// Something may be left from before a lock was configured: that, too, waits for whoever can lock it.
    ///
    /// # Errors
    /// When it does, or the store does not say.
    pub async fn check_left(&self, prefix: &KeyPrefix, asked: &Lock) -> Result<(), Failure> {
        if asked.is_none() || !matches!(self.trust(), Trust::Unknown) {
            return Ok(());
        }
        let mut left = self.store.list(prefix, None);
        while let Some(key) = left.try_next().await? {
            let meta = self.store.head(&key).await?;
            // It may be of another window: until when it is locked says nothing, that it is locked does.
            if meta.is_some_and(|meta| meta.lock.unwrap_or_default().is_none()) {
                let failure = self.does_not_hold(&key, asked, &Lock::NONE);
                self.set_trust(Trust::Broken(failure.clone()));
                return Err(failure);
            }
        }
        Ok(())
    }

    /// As [`Self::check`], of an entry that says that it was put under `asked` at some time.
    ///
    /// # Errors
    /// As there.
    pub async fn check_entry(
        &self,
        key: &ObjectKey,
        asked: &Lock,
        said: &Lock,
        now: Timestamp,
    ) -> Result<(), Failure> {
        self.check(key, &self.policy.still_wanted(asked, now), said).await
    }

    /// Lets puts through again: the stream is no longer held up, and its next object will show.
    pub fn trust_again(&self) {
        self.set_trust(Trust::Unknown);
    }

    fn trust(&self) -> Trust {
        self.trust.lock().clone()
    }

    fn set_trust(&self, trust: Trust) {
        *self.trust.lock() = trust;
    }

    fn does_not_hold(&self, key: &ObjectKey, asked: &Lock, found: &Lock) -> Failure {
        let name = &self.name;
        let message = format!(
            "object {key} is to have {asked}, and store {name} shows it with {found}: nothing more is written to this \
             stream; enable Object Lock on the bucket and lock that object, let the keys read locks \
             (s3:GetObjectRetention, s3:GetObjectLegalHold), or remove object_lock and legal_hold from stores.{name}"
        );
        Failure::new(FailureKind::Damaged, Scope::Stream, message)
    }
}
