//! The entries of a log in their order, each one proven before it is handed on: for following a log and for `rebuild`.
//!
//! Why this is safe:
//! - An entry is handed on when something vouches for its bytes: the entry after it names their hash, a signature that
//!   counts is on them, the store's MD5 fits them, or they were read twice. The newest entry, which the next one is built
//!   upon, is no exception.
//! - What does not fit (no entry, another place, a broken link, a wrong signature) is read again first. Only what two
//!   readings agree on is damage.
//! - A list is a hint. A place that it leaves out is asked for by its key, and so is the place after its last one: a list
//!   that is minutes old hides nothing.
//! - Once a log is signed, every entry must be. A log is signed from the first entry on that names a key, and from the end
//!   of the first walk of a daemon with a key. Before that, unsigned entries are accepted.
//! - A key vouches for an entry at its own date, and no earlier than a quarter of an hour before the entry that it follows: a key
//!   that counts no more cannot go on with dates of its time.
//! - What stands beyond a gap is damage only where it shows that entries are missing ([`crate::domain::beyond_gap`]). Else the
//!   log ends before the gap, and what is there is said once and passed over.
//! - A `stream` entry may move `start` back and change nothing else: another one is refused before anybody believes it.

pub mod belief;
mod beyond;
mod proof;

use std::collections::VecDeque;
use std::future::ready;

use futures_util::TryStreamExt;
use futures_util::stream::{BoxStream, StreamExt};

use self::belief::{LogSoFar, is_signed};
pub use self::beyond::say_passed_over;
use self::proof::{Fitting, Placed, Prover};
use super::log_reader::LogReader;
use super::signing::Signing;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::lock::Lock;
use crate::domain::log_entry::{Head, LogEntry, SealedEntry, after};
use crate::domain::name::StreamName;
use crate::domain::object_key::{
    LogObject, ObjectKey, Seq, log_key, log_prefix, read_log_key, signature_key,
};
use crate::domain::snapshot::StreamState;
use crate::ports::object_store::StoreError;

/// Entries read at the same time, each with its signature.
const READ_AHEAD: usize = 16;

/// An entry that something vouches for.
#[derive(Debug)]
pub struct Proven {
    /// The entry.
    pub entry: SealedEntry,
    /// Its key.
    pub key: ObjectKey,
    /// The lock that the store named with it.
    pub lock: Lock,
}

type Listed<'r> = BoxStream<'r, Result<(Seq, Option<Placed>), StoreError>>;

/// A walk along a log.
pub struct Walk<'r> {
    prover: Prover<'r>,
    listed: Listed<'r>,
    list_ended: bool,
    /// Listed, and beyond the place that is expected, in the order of places.
    ahead: VecDeque<(Seq, Option<Placed>)>,
    /// The place of the next entry.
    expected: Seq,
    /// The last entry that was known before the walk, until it was seen to be there.
    unseen_head: Option<Head>,
    /// Of the entries that were handed on, and those before the walk.
    known: LogSoFar,
    /// The entry after those, until something vouches for it.
    waiting: Option<Fitting>,
}

impl<'r> Walk<'r> {
    /// A walk from the entry after those that are `known`; with `signing`, signatures are checked.
    pub fn new(reader: &'r LogReader, known: Option<&StreamState>, signing: Option<&'r Signing>) -> Self {
        let prover = Prover { reader, signing };
        let head = known.map(|state| state.head);
        let stream = reader.stream();
        // Listing from before the last entry that is known also shows whether it is still there.
        let before = head.and_then(|head| Seq::new(head.seq.get() - 1)).map(|seq| log_key(stream, seq));
        let keys = reader.store().list(&log_prefix(stream), before.as_ref());
        let entries = keys.try_filter_map(|key| {
            ready(Ok(match read_log_key(reader.stream(), &key) {
                LogObject::Entry(seq) => Some((seq, key)),
                LogObject::Signature { .. } | LogObject::Other => None,
            }))
        });
        let read = move |(seq, key): (Seq, ObjectKey)| async move {
            if head.is_some_and(|head| seq <= head.seq) {
                return Ok((seq, None));
            }
            Ok((seq, prover.first_reading(seq, key).await?))
        };
        Self {
            prover,
            listed: entries.map_ok(read).try_buffered(READ_AHEAD).boxed(),
            list_ended: false,
            ahead: VecDeque::new(),
            expected: after(head).0,
            unseen_head: head,
            known: LogSoFar {
                head,
                recorded_at: None,
                definition: known.map(|state| state.definition.clone()),
                signed: known.is_some_and(|state| state.signed),
            },
            waiting: None,
        }
    }

    /// The next entry; `None` after the newest one.
    ///
    /// # Errors
    /// When an entry is missing, damaged, or not signed as it must be, or the store fails.
    pub async fn next(&mut self) -> Result<Option<Proven>, Failure> {
        loop {
            let placed = self.place().await?;
            if placed.is_some() {
                self.date_head().await?;
            }
            match (self.waiting.take(), placed) {
                (None, None) => return Ok(None),
                (None, Some(placed)) => self.waiting = Some(self.prover.fit(placed, &self.known).await?),
                (Some(newest), None) => {
                    let newest = self.prover.confirm(newest, &self.known).await?;
                    return Ok(Some(self.hand_on(newest)));
                }
                (Some(before), Some(placed)) => {
                    let (before, next) = self.prover.link(before, placed, &self.known).await?;
                    self.waiting = Some(next);
                    return Ok(Some(self.hand_on(before)));
                }
            }
        }
    }

    /// Finds out when the last known entry was written, where an entry after it is to be checked against that.
    async fn date_head(&mut self) -> Result<(), Failure> {
        let (Some(head), None, Some(signing)) =
            (self.known.head, self.known.recorded_at, self.prover.signing)
        else {
            return Ok(());
        };
        if signing.has_file() {
            let reader = self.prover.reader;
            let key = log_key(reader.stream(), head.seq);
            let reading = reader.agreed(&key, None, Some(head.hash)).await?;
            let entry = reading.and_then(|reading| serde_json::from_slice::<LogEntry>(reading.bytes()).ok());
            self.known.recorded_at = entry.map(|entry| entry.recorded_at);
        }
        Ok(())
    }

    fn hand_on(&mut self, Fitting { placed, entry }: Fitting) -> Proven {
        self.known = self.known.with(&entry);
        Proven { entry, lock: *placed.reading.lock(), key: placed.key }
    }

    /// What stands at the place that is expected; `None` after the newest entry.
    async fn place(&mut self) -> Result<Option<Placed>, Failure> {
        loop {
            if self.ahead.is_empty() {
                self.list_on().await?;
            }
            match self.ahead.pop_front() {
                Some((seq, _)) if self.unseen_head.is_some_and(|head| head.seq == seq) => {
                    self.unseen_head = None;
                }
                // Known before the walk, or listed twice.
                Some((seq, _)) if seq < self.expected => {}
                Some((seq, placed)) if seq == self.expected => {
                    self.see_head().await?;
                    let placed = match placed {
                        Some(placed) => placed,
                        None => self.prover.by_key(seq).await?.ok_or_else(|| self.prover.missing(seq))?,
                    };
                    self.expected = seq.next();
                    return Ok(Some(placed));
                }
                further => {
                    self.see_head().await?;
                    self.ahead.extend(further);
                    return self.unlisted().await;
                }
            }
        }
    }

    /// Takes the next listed entry; whether there is one.
    async fn list_on(&mut self) -> Result<bool, Failure> {
        let next = match self.list_ended {
            true => None,
            false => self.listed.next().await.transpose()?,
        };
        self.list_ended = next.is_none();
        self.ahead.extend(next);
        Ok(!self.list_ended)
    }

    /// What stands at the expected place, which the list left out: it may be the newest entry's successor, or missing.
    async fn unlisted(&mut self) -> Result<Option<Placed>, Failure> {
        let seq = self.expected;
        let key = log_key(self.prover.reader.stream(), seq);
        let beyond = self.shown_missing().await?;
        let is_taken = beyond.is_some() || self.prover.reader.store().head(&key).await?.is_some();
        if !is_taken {
            return Ok(None);
        }
        let placed = self.prover.by_key(seq).await?.ok_or_else(|| match beyond {
            Some(beyond) => self.prover.missing_before(seq, beyond),
            None => self.prover.missing(seq),
        })?;
        self.expected = seq.next();
        Ok(Some(placed))
    }

    /// Makes sure that the last known entry is there: by the list, else by its key.
    async fn see_head(&mut self) -> Result<(), Failure> {
        match self.unseen_head.take() {
            None => Ok(()),
            Some(head) => check_head(self.prover.reader, head, None).await.map(|_| ()),
        }
    }
}

/// Makes sure that the store still holds the very entry that the ledger knows as the last one, and with `signing` that the
/// key which signed it still counts: a replaced key that is not listed would be found out only when the ledger is lost.
/// Returns whether that entry says that it is signed.
///
/// # Errors
/// When it is gone or another one, when its signature does not count, or the store fails.
pub async fn check_head(reader: &LogReader, head: Head, signing: Option<&Signing>) -> Result<bool, Failure> {
    let key = log_key(reader.stream(), head.seq);
    let Some(reading) = reader.agreed(&key, None, Some(head.hash)).await? else {
        return Err(damaged(reader.stream(), &format!("log entry {key} is gone from the store")));
    };
    let hash = match reading.is_too_large() {
        true => reader.whole_hash(&key).await?,
        false => Some(reading.hash()),
    };
    let known = head.hash;
    match hash {
        Some(hash) if hash == known => check_signer(reader, head, reading.bytes(), signing).await,
        Some(hash) => Err(damaged(
            reader.stream(),
            &format!("log entry {key} has SHA-256 {hash}, and it had {known} when it was written"),
        )),
        None => Err(damaged(reader.stream(), &format!("log entry {key} is gone from the store"))),
    }
}

/// Whether the entry in `bytes` says that it is signed.
///
/// # Errors
/// When there is a signature on it that does not count, or the store fails.
async fn check_signer(
    reader: &LogReader,
    head: Head,
    bytes: &[u8],
    signing: Option<&Signing>,
) -> Result<bool, Failure> {
    let signed = says_signed(bytes);
    let Some(signing) = signing.filter(|_| signed) else { return Ok(signed) };
    let Ok(entry) = serde_json::from_slice::<LogEntry>(bytes) else { return Ok(signed) };
    let key = signature_key(reader.stream(), head.seq, &head.hash);
    // `verify` finds a signature that is gone; the entry itself is the one that was proven before.
    let Some(armored) = reader.agreed(&key, None, None).await? else { return Ok(signed) };
    match signing.verify(bytes, armored.bytes(), entry.recorded_at) {
        Ok(_) => Ok(signed),
        Err(error) => {
            let (stream, entry) = (reader.stream(), log_key(reader.stream(), head.seq));
            let message =
                format!("the log of stream {stream} cannot be gone on with: entry {entry}: {error}");
            Err(Failure::new(FailureKind::Rejected, Scope::Stream, message))
        }
    }
}

fn says_signed(bytes: &[u8]) -> bool {
    serde_json::from_slice::<LogEntry>(bytes).is_ok_and(|entry| is_signed(&entry))
}

/// The failure for a log that is not what it must be.
pub fn damaged(stream: &StreamName, what: &str) -> Failure {
    Failure::new(
        FailureKind::Damaged,
        Scope::Stream,
        format!(
            "{what}; nothing more is written to stream {stream} until its log is whole again: put it right from a copy, \
             or, with the daemon stopped, go on after it with connvault rebuild --accept-unverified"
        ),
    )
}
