//! Objects held against what the log says of them: by what the store says, then by their bytes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::locks::Locks;
use super::{Meter, Sample, Target};
use crate::domain::audit::{Claimed, Finding, Note};
use crate::domain::digest::Sha256;
use crate::domain::failure::FailureKind;
use crate::domain::object_key::{ObjectKey, data_prefix};
use crate::ports::object_store::{ObjectMeta, ObjectStore, StoreError};

/// Objects that a store is asked about at the same time.
pub(super) const LOOKS: usize = 32;
/// How often an object's bytes are asked for before it counts as out of reach.
const TRIES: u32 = 3;

pub(super) struct Looked {
    pub looked_at: u64,
    pub findings: Vec<Finding>,
    /// Those that nothing is wrong with as yet.
    pub whole: Vec<Claimed>,
}

/// Asks the store about each of `claimed`.
pub(super) async fn look(
    target: &Target,
    claimed: Vec<Claimed>,
    meter: &Meter,
    locks: &mut Locks,
) -> Result<Looked, StoreError> {
    let done = meter.begin(format!("{}: objects", target.stream), claimed.len() as u64);
    let looked_at = claimed.len() as u64;
    let mut heads = stream::iter(claimed)
        .map(|claimed| {
            let (key, store) = (claimed.key.in_stream(&target.stream), Arc::clone(&target.store));
            let head = tokio::spawn(async move { store.head(&key).await });
            async move { Ok((claimed, head.await.map_err(broken_off)??)) }
        })
        .buffered(LOOKS);
    let mut looked = Looked { looked_at, findings: Vec::new(), whole: Vec::new() };
    while let Some((claimed, meta)) = heads.try_next().await? {
        if let Some(meta) = &meta {
            locks.compare(claimed.key.in_stream(&target.stream), claimed.seq, &claimed.lock, meta);
        }
        match compare(&claimed, meta.as_ref()) {
            Some(finding) => looked.findings.push(finding),
            None => looked.whole.push(claimed),
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(looked)
}

/// What is wrong with an object by what the store says of it.
fn compare(claimed: &Claimed, meta: Option<&ObjectMeta>) -> Option<Finding> {
    let (key, seq) = (claimed.key.clone(), claimed.seq);
    let Some(meta) = meta else { return Some(Finding::ObjectMissing { key, seq }) };
    if meta.bytes != claimed.bytes {
        return Some(Finding::ObjectSize { key, seq, bytes: meta.bytes, expected: claimed.bytes });
    }
    let differ = |(there, expected): &(&String, &String)| there != expected;
    if let Some((there, expected)) = meta.version_id.as_ref().zip(claimed.version_id.as_ref()).filter(differ)
    {
        let (version_id, expected) = (there.clone(), expected.clone());
        return Some(Finding::ObjectReplaced { key, seq, version_id, expected });
    }
    let (md5, expected) = meta.md5.zip(claimed.md5).filter(|(there, expected)| there != expected)?;
    Some(Finding::ObjectMd5 { key, seq, md5, expected })
}

/// Objects that no entry names: of a crash, of work in progress, or of an entry that is gone.
pub(super) async fn unnamed(target: &Target, claimed: &[Claimed]) -> Result<Vec<Note>, StoreError> {
    let named: BTreeSet<ObjectKey> = claimed.iter().map(|c| c.key.in_stream(&target.stream)).collect();
    let there = target.store.list(&data_prefix(&target.stream), None);
    let others = there.try_filter(|key| std::future::ready(!named.contains(key)));
    others.map_ok(|key| Note::Unnamed { key: key.to_string() }).try_collect().await
}

pub(super) struct Hashed {
    pub bytes: u64,
    pub findings: Vec<Finding>,
}

/// Reads every byte of those that are in the sample, several objects at a time.
pub(super) async fn hash(
    target: &Target,
    mut claimed: Vec<Claimed>,
    sample: Option<Sample>,
    meter: &Meter,
) -> Result<Hashed, StoreError> {
    claimed.retain(|claimed| sample.is_none_or(|sample| sample.takes(&claimed.key.to_string())));
    let total = claimed.iter().map(|claimed| claimed.bytes).sum();
    let read = meter.begin(format!("{}: bytes", target.stream), total);
    let mut hashes = stream::iter(claimed)
        .map(|claimed| {
            let (key, store) = (claimed.key.in_stream(&target.stream), Arc::clone(&target.store));
            let read = Arc::clone(&read);
            let hash = tokio::spawn(async move { hash_one(&*store, &key, &read).await });
            async move { Ok::<_, StoreError>((claimed, hash.await.map_err(broken_off)??)) }
        })
        .buffer_unordered(target.readers);
    let mut findings = Vec::new();
    while let Some((claimed, hash)) = hashes.try_next().await? {
        let (key, seq, expected) = (claimed.key, claimed.seq, claimed.sha256);
        match hash {
            Some(sha256) if sha256 == expected => {}
            Some(sha256) => findings.push(Finding::ObjectChanged { key, seq, sha256, expected }),
            None => findings.push(Finding::ObjectMissing { key, seq }),
        }
    }
    // They came as they were done.
    findings.sort_by_key(|finding| match finding {
        Finding::ObjectChanged { seq, .. } | Finding::ObjectMissing { seq, .. } => Some(*seq),
        _ => None,
    });
    Ok(Hashed { bytes: read.load(Ordering::Relaxed), findings })
}

/// An object's hash. A connection that breaks in the middle of gigabytes is no reason to begin with everything again.
async fn hash_one(
    store: &dyn ObjectStore,
    key: &ObjectKey,
    read: &Arc<AtomicU64>,
) -> Result<Option<Sha256>, StoreError> {
    let mut tries = 1;
    loop {
        match store.hash(key, read).await {
            Err(error) if error.kind() == FailureKind::Transient && tries < TRIES => tries += 1,
            result => return result,
        }
    }
}

pub(super) fn broken_off(error: tokio::task::JoinError) -> StoreError {
    StoreError::of_store(FailureKind::Transient, format!("reading broke off: {error}"))
}
