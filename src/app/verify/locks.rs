//! Locks held against what the log says of them: of objects, of entries and of signatures.
//!
//! An entry says which lock it was put under, with its object and its signature. Retention that is over by now may be gone;
//! before that, no store shows less of it than was asked for unless somebody shortened it. A legal hold is there to be
//! taken off one day, so that it was is told and not wrong.

use std::sync::atomic::Ordering;

use futures_util::TryStreamExt;
use jiff::Timestamp;

use super::objects::heads;
use super::{Meter, Target, Unread};
use crate::domain::audit::{Finding, LockedEntry, Note};
use crate::domain::lock::Lock;
use crate::domain::object_key::{ObjectKey, Seq, log_key, signature_key};
use crate::ports::object_store::{ObjectMeta, StoreError};

/// What is found out about locks, object by object.
pub(super) struct Locks {
    now: Timestamp,
    pub findings: Vec<Finding>,
    /// Objects of a store that has no notion of locks, such as a copy.
    untold: u64,
    lifted: u64,
    first_lifted: Option<ObjectKey>,
}

impl Locks {
    pub fn at(now: Timestamp) -> Self {
        Self { now, findings: Vec::new(), untold: 0, lifted: 0, first_lifted: None }
    }

    /// Holds what the store says of `key` against the lock that entry `seq` says it was put under.
    pub fn compare(&mut self, key: ObjectKey, seq: Seq, asked: &Lock, meta: &ObjectMeta) {
        let due = asked.due_at(self.now);
        if due.is_none() {
            return;
        }
        let Some(found) = meta.lock else {
            self.untold += 1;
            return;
        };
        let held = Lock { legal_hold: true, ..found };
        if !held.covers(&due) {
            let key = key.to_string();
            self.findings.push(Finding::LockWeaker { key, seq, found, expected: due });
        } else if !found.covers(&due) {
            self.lifted += 1;
            self.first_lifted.get_or_insert(key);
        }
    }

    pub fn notes(&self) -> Vec<Note> {
        let untold = (self.untold > 0).then_some(Note::LocksNotChecked { objects: self.untold });
        let lifted = self.first_lifted.as_ref();
        let lifted = lifted.map(|first| Note::HoldsLifted { objects: self.lifted, first: first.to_string() });
        untold.into_iter().chain(lifted).collect()
    }
}

/// Asks the store about each of `entries`, and about its signature.
pub(super) async fn look(
    target: &Target,
    entries: &[LockedEntry],
    meter: &Meter,
    locks: &mut Locks,
) -> Result<Vec<Unread>, StoreError> {
    let keys = entries.iter().flat_map(|entry| {
        let signature = entry.signed.then(|| signature_key(&target.stream, entry.seq, &entry.hash));
        let of_entry = move |key| (key, entry.seq, entry.lock);
        [Some(log_key(&target.stream, entry.seq)), signature].into_iter().flatten().map(of_entry)
    });
    let keys: Vec<_> = keys.filter(|(_, _, lock)| !lock.due_at(locks.now).is_none()).collect();
    let done = meter.begin(format!("{}: locks of the log", target.stream), keys.len() as u64);
    let mut heads = heads(target, keys, |(key, ..)| key.clone());
    let mut unread = Vec::new();
    while let Some(((key, seq, lock), head)) = heads.try_next().await? {
        match head {
            Ok(Some(meta)) => locks.compare(key, seq, &lock, &meta),
            // That it is not there is told where the log is read.
            Ok(None) => {}
            Err(error) => Unread::add(&mut unread, key, error)?,
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(unread)
}
