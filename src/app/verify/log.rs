//! Fetching a log: every entry, and the check of its signature, many at a time. What does not fit is read again before it
//! counts as found ([`LogReader`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::{Meter, Target, signatures};
use crate::adapters::signature::{AllowedSigners, PRINCIPAL, signed_by};
use crate::app::log_reader::{LogReader, READ_LIMIT, Reading as Answer};
use crate::app::log_walk::belief::no_earlier_than;
use crate::domain::audit::{Found, FoundEntry, Note, Reading, Signature, Stray};
use crate::domain::digest::Sha256;
use crate::domain::failure::FailureKind;
use crate::domain::log_entry::LogEntry;
use crate::domain::object_key::{
    HashPrefix, LogObject, ObjectKey, Seq, log_key, log_prefix, read_log_key, signature_key,
};
use crate::ports::object_store::StoreError;

/// Entries fetched at the same time.
const READ_AHEAD: usize = 32;
/// Entries that a listing lacks and that are asked for by name.
const MOST_LACKING: usize = 64;

pub(super) struct Gathered {
    pub found: Found,
    /// What lies in the log's folder and is no part of the log.
    pub foreign: Vec<Note>,
}

/// What entries are read with.
struct Reader {
    log: LogReader,
    signers: Option<Arc<AllowedSigners>>,
    signatures: BTreeMap<Seq, Vec<HashPrefix>>,
}

/// An entry, and whether two things agree on its bytes.
struct Read {
    entry: FoundEntry,
    answer: Answer,
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
            LogObject::Other => foreign.push(Note::foreign(&key, Stray::Name)),
        }
    }
    drop(keys);
    places.sort_unstable_by_key(|(seq, _)| *seq);
    let log = LogReader::new(target.stream.clone(), Arc::clone(&target.store));
    add_unlisted(&log, &mut places).await?;
    let lacking = lacking(&places).map(|seq| (seq, log_key(&target.stream, seq)));
    places.extend(lacking.collect::<Vec<_>>());
    places.sort_unstable_by_key(|(seq, _)| *seq);
    let reader = Arc::new(Reader { log, signers: signers.map(Arc::clone), signatures });
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
    reader.settle_links(&mut entries).await?;
    reader.settle_dates(&mut entries).await?;
    let entries = entries.into_iter().map(|read: Read| read.entry).collect();
    let mut found = Found { entries, signatures: reader.signatures.clone() };
    let beyond = found.leave_out_foreign(&target.stream);
    let keys = beyond.iter().map(|beyond| log_key(&target.stream, beyond.seq));
    foreign.extend(keys.map(|key| Note::foreign(&key, Stray::BeyondTheEnd)));
    let signers = signers.map(AsRef::as_ref);
    let strays = signatures::leave_out_foreign(&reader.log, &mut found, &beyond, signers).await?;
    foreign.extend(strays.iter().map(|key| Note::foreign(key, Stray::Signature)));
    Ok(Gathered { found, foreign })
}

/// Entries after the last one that is listed: a list may be older than they are.
async fn add_unlisted(log: &LogReader, places: &mut Vec<(Seq, ObjectKey)>) -> Result<(), StoreError> {
    let Some((last, _)) = places.last() else { return Ok(()) };
    let mut seq = last.next();
    for _ in 0..MOST_LACKING {
        let key = log_key(log.stream(), seq);
        if log.read(&key).await?.is_none() {
            break;
        }
        places.push((seq, key));
        seq = seq.next();
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
    async fn read(&self, place: Seq, key: ObjectKey) -> Result<Option<Read>, StoreError> {
        let first = match self.log.read(&key).await? {
            Some(first) => first,
            None => match self.log.agreed(&key, None, None).await? {
                Some(late) => late,
                None => return Ok(None),
            },
        };
        let entry = self.look_at(place, &first, false).await?;
        if !self.is_suspicious(&entry) {
            return Ok(Some(Read { entry, answer: first }));
        }
        self.again(place, &key, first).await
    }

    /// An agreed reading of what stands in one place.
    async fn again(&self, place: Seq, key: &ObjectKey, first: Answer) -> Result<Option<Read>, StoreError> {
        let agreed = match first.is_agreed() {
            true => Some(first),
            false => self.log.agreed(key, Some(first), None).await?,
        };
        let Some(answer) = agreed else { return Ok(None) };
        let entry = self.look_at(place, &answer, true).await?;
        Ok(Some(Read { entry, answer }))
    }

    /// What one answer says; where that is to be the last word on it, its signature is an agreed reading.
    async fn look_at(&self, place: Seq, answer: &Answer, last_word: bool) -> Result<FoundEntry, StoreError> {
        let reading = match answer.is_too_large() {
            true => Reading::Unreadable(format!("it is larger than {READ_LIMIT} bytes, which no entry is")),
            false => Reading::of(answer.bytes()),
        };
        let signature = match &reading {
            Reading::Entry(entry) => self.signature(entry, answer, last_word).await?,
            Reading::OtherFormat(_) | Reading::Unreadable(_) => Signature::Absent,
        };
        Ok(FoundEntry { place, hash: answer.hash(), reading, signature })
    }

    /// Whether a wrong reading may be what is wrong.
    fn is_suspicious(&self, found: &FoundEntry) -> bool {
        let Reading::Entry(entry) = &found.reading else { return true };
        entry.seq != found.place
            || entry.stream != *self.log.stream()
            || matches!(found.signature, Signature::Refused(_))
            || (found.signature == Signature::Absent && entry.writer.key_fingerprint.is_some())
    }

    /// Reads again, on both sides of it, what a broken link may be due to; and the last entry, whose bytes no other names.
    async fn settle_links(&self, entries: &mut [Read]) -> Result<(), StoreError> {
        let mut unsettled = BTreeSet::new();
        for (index, read) in entries.iter().enumerate() {
            let (found, next) = (&read.entry, entries.get(index + 1));
            let vouched_for = matches!(found.signature, Signature::Valid | Signature::OfSomebody);
            match next.filter(|next| next.entry.place == found.place.next()) {
                Some(next) if previous(&next.entry) == Some(found.hash) => {}
                Some(_) => unsettled.extend([index, index + 1]),
                None if vouched_for => {}
                None => _ = unsettled.insert(index),
            }
        }
        for index in unsettled {
            let Some(read) = entries.get(index).filter(|read| !read.answer.is_agreed()) else { continue };
            let (place, first) = (read.entry.place, read.answer.clone());
            let again = self.again(place, &log_key(self.log.stream(), place), first).await?;
            if let (Some(slot), Some(again)) = (entries.get_mut(index), again) {
                *slot = again;
            }
        }
        Ok(())
    }

    /// Checks the signature of an entry that is dated before the signed one in front of it at the time of that one: a key that
    /// counts no more must not go on with dates of its time.
    async fn settle_dates(&self, entries: &mut [Read]) -> Result<(), StoreError> {
        let Some(signers) = &self.signers else { return Ok(()) };
        let mut before: Option<(Seq, Timestamp)> = None;
        for Read { entry: found, answer } in entries {
            let Some(entry) = found.entry().filter(|entry| entry.seq == found.place) else { continue };
            if found.signature != Signature::Valid {
                continue;
            }
            let (seq, recorded_at) = (entry.seq, entry.recorded_at);
            let at = no_earlier_than(before.map(|(_, at)| at), recorded_at);
            if let Some((after, _)) = before.filter(|_| at > recorded_at) {
                let key = signature_key(self.log.stream(), seq, &found.hash);
                let Some(armored) = self.log.agreed(&key, None, None).await? else { continue };
                let checked = signers.verify(Some(PRINCIPAL), answer.bytes(), armored.bytes(), at);
                if let Err(error) = checked {
                    found.signature = Signature::Refused(format!("{error}; it comes after entry {after}"));
                    continue;
                }
            }
            before = Some((seq, recorded_at));
        }
        Ok(())
    }

    /// What became of the signature on these very bytes: by the place that the entry says is its own, so that one that was
    /// moved still is known as what it was.
    async fn signature(
        &self,
        entry: &LogEntry,
        answer: &Answer,
        last_word: bool,
    ) -> Result<Signature, StoreError> {
        let hash = answer.hash();
        let there = self.signatures.get(&entry.seq).is_some_and(|on| on.contains(&HashPrefix::of(&hash)));
        if !there {
            return Ok(Signature::Absent);
        }
        let key = signature_key(self.log.stream(), entry.seq, &hash);
        let armored = match last_word {
            true => self.log.agreed(&key, None, None).await?,
            false => self.log.read(&key).await?,
        };
        let Some(armored) = armored else { return Ok(Signature::Absent) };
        let checked = match &self.signers {
            Some(signers) => {
                signers.verify(Some(PRINCIPAL), answer.bytes(), armored.bytes(), entry.recorded_at)
            }
            None => signed_by(answer.bytes(), armored.bytes()),
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

/// The hash that an entry names as that of the entry before it.
fn previous(found: &FoundEntry) -> Option<Sha256> {
    found.entry().map(|entry| entry.previous)
}
