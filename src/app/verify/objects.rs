//! Objects held against what the log says of them: by what the store says, then by their bytes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{Stream, StreamExt, TryStreamExt, stream};

use super::locks::Locks;
use super::{Meter, Sample, Target, Unread};
use crate::domain::audit::{Claimed, Finding, Note};
use crate::domain::digest::{Etag, Sha256};
use crate::domain::failure::FailureKind;
use crate::domain::object_key::{DataKey, ObjectKey, data_prefix};
use crate::domain::text::ForeignText;
use crate::ports::object_store::{ObjectMeta, ObjectStore, StoreError};

/// Objects that a store is asked about at the same time.
const LOOKS: usize = 32;
/// How often an object's bytes are asked for before it counts as out of reach.
const TRIES: u32 = 3;

/// Objects and what is wrong with them.
pub(super) struct Looked {
    pub looked_at: u64,
    pub findings: Vec<Finding>,
    pub unread: Vec<Unread>,
    /// Those that are there, each with what the store's word makes suspicious of it: its bytes may tell.
    pub there: Vec<(Claimed, Option<Finding>)>,
    /// Whether the ETag of any object is the MD5 that its entry names: then this store's ETags are MD5s.
    pub has_md5_etags: bool,
}

/// What the store says of the object of each of `all`, in their order, many asked at the same time.
pub(super) fn heads<T>(
    target: &Target,
    all: Vec<T>,
    key: impl Fn(&T) -> ObjectKey,
) -> impl Stream<Item = Result<(T, Result<Option<ObjectMeta>, StoreError>), StoreError>> + Unpin {
    let ask = move |one: T| {
        let (key, store) = (key(&one), Arc::clone(&target.store));
        let head = tokio::spawn(async move { store.head(&key).await });
        async move { Ok((one, head.await.map_err(broken_off)?)) }
    };
    Box::pin(stream::iter(all).map(ask).buffered(LOOKS))
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
    let mut heads = heads(target, claimed, |claimed| claimed.key.in_stream(&target.stream));
    let mut looked = Looked {
        looked_at,
        findings: Vec::new(),
        unread: Vec::new(),
        there: Vec::new(),
        has_md5_etags: false,
    };
    while let Some((claimed, head)) = heads.try_next().await? {
        let head = settled(target, &claimed, head).await;
        match head {
            Err(error) => Unread::add(&mut looked.unread, claimed.key.in_stream(&target.stream), error)?,
            Ok(None) => {
                looked.findings.push(Finding::ObjectMissing { key: claimed.key, seq: claimed.seq });
            }
            Ok(Some(meta)) => {
                looked.has_md5_etags |= claimed.md5.is_some() && claimed.md5 == meta.md5;
                let suspicion = compare(&claimed, &meta);
                // Another version has a lock of its own, or none.
                if !matches!(suspicion, Some(Finding::ObjectReplaced { .. })) {
                    let key = claimed.key.in_stream(&target.stream);
                    locks.compare(key, claimed.seq, &claimed.lock, &meta);
                }
                match suspicion {
                    Some(size @ Finding::ObjectSize { .. }) => looked.findings.push(size),
                    suspicion => looked.there.push((claimed, suspicion)),
                }
            }
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(looked)
}

/// What the store says of an object, asked again while what it says is odd and no two answers agree on it.
async fn settled(
    target: &Target,
    claimed: &Claimed,
    mut head: Result<Option<ObjectMeta>, StoreError>,
) -> Result<Option<ObjectMeta>, StoreError> {
    let mut before = None;
    for _ in 1..TRIES {
        match head {
            Ok(said) if said.as_ref().is_none_or(|meta| compare(claimed, meta).is_some()) => {
                if before.as_ref() == Some(&said) {
                    return Ok(said);
                }
                before = Some(said);
            }
            head => return head,
        }
        head = target.store.head(&claimed.key.in_stream(&target.stream)).await;
    }
    head
}

/// What is wrong with an object by what the store says of it.
fn compare(claimed: &Claimed, meta: &ObjectMeta) -> Option<Finding> {
    let (key, seq) = (claimed.key.clone(), claimed.seq);
    if meta.bytes != claimed.bytes {
        return Some(Finding::ObjectSize { key, seq, bytes: meta.bytes, expected: claimed.bytes });
    }
    let differ = |(there, expected): &(&ForeignText, &ForeignText)| there != expected;
    if let Some((there, expected)) = meta.version_id.as_ref().zip(claimed.version_id.as_ref()).filter(differ)
    {
        let (version_id, expected) = (there.clone(), expected.clone());
        return Some(Finding::ObjectReplaced { key, seq, version_id, expected });
    }
    if claimed.etag == Some(Etag::Other) {
        return None;
    }
    let (md5, expected) = meta.md5.zip(claimed.md5).filter(|(there, expected)| there != expected)?;
    Some(Finding::ObjectMd5 { key, seq, md5, expected })
}

/// What stands of suspicions that no bytes have settled. An ETag that is not the MD5 of an entry is a finding where ETags are
/// known to be MD5s: by the entry itself, or because other ETags of this store are. Else it is only noted.
pub(super) fn unsettled(
    there: impl IntoIterator<Item = (Claimed, Option<Finding>)>,
    has_md5_etags: bool,
) -> (Vec<Finding>, Option<Note>) {
    let (mut findings, mut objects, mut first) = (Vec::new(), 0, None);
    for (claimed, suspicion) in there {
        match suspicion {
            Some(Finding::ObjectMd5 { key, .. }) if claimed.etag.is_none() && !has_md5_etags => {
                objects += 1;
                first.get_or_insert(key);
            }
            suspicion => findings.extend(suspicion),
        }
    }
    (findings, first.map(|first| Note::EtagsDiffer { objects, first: first.to_string() }))
}

/// Objects that no entry names: of a crash, of work in progress, or of an entry that is gone.
pub(super) async fn unnamed(target: &Target, claimed: &[Claimed]) -> Result<Vec<Note>, StoreError> {
    let named: BTreeSet<ObjectKey> = claimed.iter().map(|c| c.key.in_stream(&target.stream)).collect();
    let there = target.store.list(&data_prefix(&target.stream), None);
    let others = there.try_filter(|key| std::future::ready(!named.contains(key)));
    others.map_ok(|key| Note::Unnamed { key: key.to_string() }).try_collect().await
}

pub(super) struct Hashed {
    pub objects: u64,
    pub bytes: u64,
    pub findings: Vec<Finding>,
    pub notes: Vec<Note>,
    pub unread: Vec<Unread>,
}

/// Reads every byte of those that are in the sample, several objects at a time. Of the others what is suspected stands.
pub(super) async fn hash(
    target: &Target,
    (there, has_md5_etags): (Vec<(Claimed, Option<Finding>)>, bool),
    sample: Option<Sample>,
    meter: &Meter,
) -> Result<Hashed, StoreError> {
    let is_taken = |(claimed, _): &(Claimed, _)| sample.is_none_or(|s| s.takes(&claimed.key.to_string()));
    let (taken, left): (Vec<_>, Vec<_>) = there.into_iter().partition(is_taken);
    let objects = taken.len() as u64;
    let total = taken.iter().map(|(claimed, _)| claimed.bytes).sum();
    let read = meter.begin(format!("{}: bytes", target.stream), total);
    let mut hashes = stream::iter(taken)
        .map(|(claimed, suspicion)| {
            let (key, store) = (claimed.key.in_stream(&target.stream), Arc::clone(&target.store));
            let (read, expected) = (Arc::clone(&read), (claimed.bytes, claimed.sha256));
            let hash = tokio::spawn(async move { hash_one(&*store, &key, expected, &read).await });
            async move { Ok::<_, StoreError>((claimed, suspicion, hash.await.map_err(broken_off)?)) }
        })
        .buffer_unordered(target.readers);
    let (mut findings, mut unread) = (Vec::new(), Vec::new());
    let (mut others, mut first_other) = (0, None);
    while let Some((claimed, suspicion, hash)) = hashes.try_next().await? {
        let (key, seq, expected) = (claimed.key, claimed.seq, claimed.sha256);
        match hash {
            Ok(Some(sha256)) if sha256 == expected => {
                // The bytes are the archived ones, whatever the store calls them.
                if matches!(suspicion, Some(Finding::ObjectReplaced { .. })) {
                    others += 1;
                    first_other.get_or_insert(key);
                }
            }
            Ok(Some(sha256)) => findings.push(Finding::ObjectChanged { key, seq, sha256, expected }),
            Ok(None) => findings.push(Finding::ObjectMissing { key, seq }),
            Err(error) => Unread::add(&mut unread, key.in_stream(&target.stream), error)?,
        }
    }
    let (suspected, etags_differ) = unsettled(left, has_md5_etags);
    findings.extend(suspected);
    // They came as they were done.
    findings.sort_by_key(|finding| match finding {
        Finding::ObjectChanged { seq, .. }
        | Finding::ObjectMissing { seq, .. }
        | Finding::ObjectMd5 { seq, .. }
        | Finding::ObjectReplaced { seq, .. } => Some(*seq),
        _ => None,
    });
    let note = |first: DataKey| Note::OtherVersions { objects: others, first: first.to_string() };
    let notes = first_other.map(note).into_iter().chain(etags_differ).collect();
    Ok(Hashed { objects, bytes: read.load(Ordering::Relaxed), findings, notes, unread })
}

/// An object's hash. A connection that breaks in the middle of gigabytes is no reason to begin with everything again. And
/// one answer is a claim: another hash than the expected one is told where two answers agree on it.
async fn hash_one(
    store: &dyn ObjectStore,
    key: &ObjectKey,
    (bytes, sha256): (u64, Sha256),
    read: &Arc<AtomicU64>,
) -> Result<Option<Sha256>, StoreError> {
    let (mut tries, mut before) = (1, None);
    loop {
        match store.hash(key, bytes, read).await {
            Err(error) if error.kind() == FailureKind::Transient && tries < TRIES => tries += 1,
            Ok(hash) if hash != Some(sha256) && before != Some(hash) && tries < TRIES => {
                tries += 1;
                before = Some(hash);
            }
            result => return result,
        }
    }
}

fn broken_off(error: tokio::task::JoinError) -> StoreError {
    StoreError::of_store(FailureKind::Transient, format!("reading broke off: {error}"))
}
