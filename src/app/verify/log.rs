//! Fetching a log: every entry, and the check of its signature, many at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Meter, Target};
use crate::adapters::signature::{AllowedSigners, PRINCIPAL, is_signature, signed_by};
use crate::domain::audit::{Found, FoundEntry, Reading, Signature};
use crate::domain::digest::Sha256;
use crate::domain::failure::FailureKind;
use crate::domain::log_entry::LogEntry;
use crate::domain::name::StreamName;
use crate::domain::object_key::{
    HashPrefix, LogObject, ObjectKey, Seq, log_key, log_prefix, read_log_key, signature_key, signature_key_of,
};
use crate::ports::object_store::{ObjectStore, StoreError};

/// Entries fetched at the same time.
const READ_AHEAD: usize = 32;
/// Entries that a listing lacks and that are asked for by name.
const MOST_LACKING: usize = 64;
/// The largest entry that is read; ours are a few kilobytes.
const ENTRY_LIMIT: u64 = 1 << 20;

pub(super) struct Gathered {
    pub found: Found,
    /// Keys in the log's folder that are no part of the log.
    pub foreign: Vec<String>,
}

/// What entries are read with.
struct Reader {
    stream: StreamName,
    store: Arc<dyn ObjectStore>,
    signers: Option<Arc<AllowedSigners>>,
    signatures: BTreeMap<Seq, Vec<HashPrefix>>,
}

pub(super) async fn gather(
    target: &Target,
    signers: Option<&Arc<AllowedSigners>>,
    meter: &Meter,
) -> Result<Gathered, StoreError> {
    let (mut places, mut signatures, mut foreign) = (Vec::new(), BTreeMap::<_, Vec<_>>::new(), Vec::new());
    let mut keys = target.store.list(&log_prefix(&target.stream), None);
    while let Some(key) = keys.try_next().await? {
        match read_log_key(&target.stream, &key) {
            LogObject::Entry(seq) => places.push((seq, key)),
            LogObject::Signature { seq, hash_prefix } => {
                signatures.entry(seq).or_default().push(hash_prefix);
            }
            LogObject::Other => foreign.push(key.to_string()),
        }
    }
    drop(keys);
    places.sort_unstable_by_key(|(seq, _)| *seq);
    drop_false_signatures(target, &places, &mut signatures, &mut foreign).await?;
    let lacking = lacking(&places).map(|seq| (seq, log_key(&target.stream, seq)));
    places.extend(lacking.collect::<Vec<_>>());
    places.sort_unstable_by_key(|(seq, _)| *seq);
    let reader = Arc::new(Reader {
        stream: target.stream.clone(),
        store: Arc::clone(&target.store),
        signers: signers.map(Arc::clone),
        signatures,
    });
    let done = meter.begin(format!("{}: log entries", target.stream), places.len() as u64);
    let mut fetched = stream::iter(places)
        .map(|(seq, key)| {
            let reader = Arc::clone(&reader);
            tokio::spawn(async move { reader.read(seq, key).await })
        })
        .buffered(READ_AHEAD);
    let mut entries = Vec::new();
    while let Some(entry) = fetched.next().await {
        let broken_off = |e| StoreError::of_store(FailureKind::Transient, format!("reading broke off: {e}"));
        entries.extend(entry.map_err(broken_off)??);
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(Gathered { found: Found { entries, signatures: reader.signatures.clone() }, foreign })
}

/// Signatures beyond the last entry say that the log went on: files that only have such a name must not.
async fn drop_false_signatures(
    target: &Target,
    places: &[(Seq, ObjectKey)],
    signatures: &mut BTreeMap<Seq, Vec<HashPrefix>>,
    foreign: &mut Vec<String>,
) -> Result<(), StoreError> {
    let last = places.last().map(|(seq, _)| *seq);
    // What comes last is what counts; one that is true is enough.
    while let Some((seq, prefixes)) = signatures.last_key_value() {
        if last.is_some_and(|last| *seq <= last) {
            break;
        }
        let seq = *seq;
        let keys: Vec<_> =
            prefixes.iter().map(|prefix| signature_key_of(&target.stream, seq, *prefix)).collect();
        for key in &keys {
            if fetch(&*target.store, key).await?.is_some_and(|bytes| is_signature(&bytes)) {
                return Ok(());
            }
        }
        foreign.extend(keys.iter().map(ToString::to_string));
        signatures.remove(&seq);
    }
    Ok(())
}

/// Places that the listing passed over, the first of them. A listing of what is being written to need not be of one
/// instant; what is not there when it is asked for by its name is missing.
fn lacking(places: &[(Seq, ObjectKey)]) -> impl Iterator<Item = Seq> {
    let there: BTreeSet<u64> = places.iter().map(|(seq, _)| seq.get()).collect();
    let last = there.last().copied().unwrap_or(0);
    (1..last).filter(move |seq| !there.contains(seq)).filter_map(Seq::new).take(MOST_LACKING)
}

impl Reader {
    /// What stands in one place; `None` when it has gone since it was listed.
    async fn read(&self, place: Seq, key: ObjectKey) -> Result<Option<FoundEntry>, StoreError> {
        let Some(bytes) = fetch(&*self.store, &key).await? else { return Ok(None) };
        let hash = Sha256::of(&bytes);
        let reading = if bytes.len() as u64 > ENTRY_LIMIT {
            Reading::Unreadable(format!("it is larger than {ENTRY_LIMIT} bytes, which no entry is"))
        } else {
            Reading::of(&bytes)
        };
        let signature = match &reading {
            Reading::Entry(entry) => self.signature(entry, &bytes, &hash).await?,
            Reading::OtherFormat(_) | Reading::Unreadable(_) => Signature::Absent,
        };
        Ok(Some(FoundEntry { place, hash, reading, signature }))
    }

    /// What became of the signature on these very bytes: by the place that the entry says is its own, so that one that was
    /// moved still is known as what it was.
    async fn signature(
        &self,
        entry: &LogEntry,
        bytes: &[u8],
        hash: &Sha256,
    ) -> Result<Signature, StoreError> {
        let there = self.signatures.get(&entry.seq).is_some_and(|on| on.contains(&HashPrefix::of(hash)));
        if !there {
            return Ok(Signature::Absent);
        }
        let key = signature_key(&self.stream, entry.seq, hash);
        let Some(armored) = fetch(&*self.store, &key).await? else { return Ok(Signature::Absent) };
        let checked = match &self.signers {
            Some(signers) => signers.verify(Some(PRINCIPAL), bytes, &armored, entry.recorded_at),
            None => signed_by(bytes, &armored),
        };
        Ok(match checked {
            Ok(signer) => match entry.writer.key_fingerprint.as_deref() {
                Some(named) if named != signer.as_str() => Signature::Refused(format!(
                    "it is of the key {signer}, and the entry says that {named} signed it"
                )),
                _ if self.signers.is_some() => Signature::Valid,
                _ => Signature::OfSomebody,
            },
            Err(error) => Signature::Refused(error.to_string()),
        })
    }
}

/// The bytes under `key`, and no more of them than it takes to see that they are too many.
pub(in crate::app) async fn fetch(
    store: &dyn ObjectStore,
    key: &ObjectKey,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(mut body) = store.get(key).await? else { return Ok(None) };
    let mut bytes = Vec::new();
    while let Some(chunk) = body.bytes.next().await {
        let chunk: Bytes = chunk?;
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > ENTRY_LIMIT {
            break;
        }
    }
    Ok(Some(bytes))
}
