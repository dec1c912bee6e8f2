//! A stream's log: following it, beginning it, appending to it. Appending is what commits a window.
//!
//! Why this is safe:
//! - An entry is created under the next sequence number with a create-only put. Of two writers one gets the number;
//!   the other is told that it is taken, reads on ([`StreamLog::follow`]) and decides again with what it learnt.
//! - Where the log is signed, the signature is stored before its entry: no entry is ever without one.
//! - The entry is read back before it counts. From then on the window is archived, whatever happens to this process:
//!   the ledger is told afterwards, and where that fails it learns it from the log the next time.
//! - An answer may be lost after the store has taken the entry, and the repetition is then refused. So a refusal is
//!   looked into: our very bytes under our number mean that it is ours.
//! - Whether an entry is under the lock that was asked for is part of reading it back. The newest entry of a log is
//!   held against it once more when it is first read: why, [`super::object_locks`] says.
//! - Within one process a lock per stream keeps appends apart, so that the number is only ever contended from outside.

use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::sync::Mutex;

use crate::adapters::signature::SigningKey;
use crate::domain::digest::Sha256;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::lock::Lock;
use crate::domain::log_entry::{
    Definition, EntryBody, FORMAT, Head, LogEntry, SealedEntry, StreamOpened, Writer, after,
};
use crate::domain::name::StreamName;
use crate::domain::object_key::{
    LogObject, ObjectKey, Seq, log_key, log_prefix, read_log_key, signature_key, signatures_at,
};
use crate::domain::snapshot::WindowState;
use crate::domain::window::Window;
use crate::ports::checkpoint::{Checkpoint, Step};
use crate::ports::clock::Clock;
use crate::ports::ledger::{AttemptOutcome, Lease, Ledger, LedgerError};
use crate::ports::object_store::{Content, ObjectStore, PutOutcome};

use super::failure_policy::{of_ledger, of_store};
use super::object_locks::ObjectLocks;

/// Entries read at the same time while a ledger catches up.
const READ_AHEAD: usize = 8;
/// Entries taken over in one transaction.
const BATCH: usize = 200;
/// The largest entry that is read; ours are a few kilobytes.
const ENTRY_LIMIT: u64 = 1 << 20;

/// One stream's log in its store, with the ledger that follows it.
pub struct StreamLog {
    stream: StreamName,
    store: Arc<dyn ObjectStore>,
    locks: Arc<ObjectLocks>,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    checkpoint: Arc<dyn Checkpoint>,
    writer: Writer,
    signing_key: Option<Arc<SigningKey>>,
    appending: Mutex<()>,
}

/// How an append ended.
#[derive(Debug)]
pub enum Appended {
    /// The entry is in the log, and it is ours.
    Committed(Head),
    /// Somebody else appended first; the ledger knows their entries now, and what was to be said may no longer be so.
    Overtaken,
}

impl StreamLog {
    /// The log of `stream` in the store of `locks`; entries are signed where there is a key for it.
    pub fn new(
        stream: StreamName,
        locks: Arc<ObjectLocks>,
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        checkpoint: Arc<dyn Checkpoint>,
        writer: Writer,
        signing_key: Option<Arc<SigningKey>>,
    ) -> Self {
        let store = Arc::clone(locks.store());
        let appending = Mutex::new(());
        Self { stream, store, locks, ledger, clock, checkpoint, writer, signing_key, appending }
    }

    /// Makes sure that the log is begun and says what `definition` says; moves `start` back where it must.
    ///
    /// # Errors
    /// When the definition contradicts the log, the log is damaged, or the store or the ledger fails.
    pub async fn open(&self, definition: &Definition) -> Result<(), Failure> {
        if let Some(head) = self.head().await? {
            self.check_head(head).await?;
        }
        loop {
            self.follow().await?;
            let known =
                self.ledger.stream(&self.stream).await.map_err(of_ledger)?.map(|state| state.definition);
            if !must_be_said(&self.stream, known.as_ref(), definition)? {
                return Ok(());
            }
            let body = EntryBody::Stream(StreamOpened { definition: definition.clone() });
            if let Appended::Committed(head) = self.append(body, None).await? {
                tracing::info!(stream = %self.stream, %head, "stream opened");
                return Ok(());
            }
        }
    }

    /// Takes over every entry that the ledger does not know yet.
    ///
    /// # Errors
    /// When an entry is missing or does not belong where it stands, or the store or the ledger fails.
    pub async fn follow(&self) -> Result<(), Failure> {
        let known = self.head().await?;
        // Listing from before the last entry that is known also shows whether it is still there.
        let before =
            known.and_then(|head| Seq::new(head.seq.get() - 1)).map(|seq| log_key(&self.stream, seq));
        let prefix = log_prefix(&self.stream);
        let entries = self.store.list(&prefix, before.as_ref()).map_err(of_store).try_filter_map(|key| {
            ready(Ok(match read_log_key(&self.stream, &key) {
                LogObject::Entry(seq) => Some((seq, key)),
                LogObject::Signature { .. } | LogObject::Other => None,
            }))
        });
        let fetched = entries
            .map_ok(|(seq, key)| async move {
                let unknown = known.is_none_or(|head| head.seq < seq);
                let read = if unknown { Some(self.read(&key).await?) } else { None };
                Ok::<_, Failure>((seq, key, read))
            })
            .try_buffered(READ_AHEAD);
        let mut fetched = std::pin::pin!(fetched);
        let mut expected = known.map_or(Seq::FIRST, |head| head.seq);
        let mut previous = known;
        let mut batch = Vec::new();
        let mut newest = None;
        while let Some((seq, key, read)) = fetched.try_next().await? {
            if seq != expected {
                return Err(self.missing(expected));
            }
            expected = seq.next();
            let Some((bytes, lock)) = read else { continue };
            let entry = SealedEntry::open(bytes, &self.stream, seq, after(previous).1)
                .map_err(|e| self.damaged(format!("log entry {key}: {e}")))?;
            previous = Some(entry.head());
            batch.extend(newest.replace((entry, key, lock)).map(|(entry, _, _)| entry));
            if batch.len() == BATCH {
                self.take_over(&mut batch).await?;
            }
        }
        if known.is_some_and(|head| head.seq == expected) {
            return Err(self.missing(expected));
        }
        self.take_over(&mut batch).await?;
        let Some((entry, key, lock)) = newest else { return Ok(()) };
        // Its writer may have died, or been held up, between putting it and finding it without its lock.
        self.locks.check_entry(&key, &entry.entry().lock, &lock, self.clock.now()).await?;
        self.take_over(&mut vec![entry]).await
    }

    /// Appends what `body` says; under a lease, the leased window is settled with it in the ledger.
    ///
    /// # Errors
    /// When the entry is not known to be stored. It may be all the same; following the log finds out.
    pub async fn append(
        &self,
        body: EntryBody,
        settles: Option<(&Lease, AttemptOutcome)>,
    ) -> Result<Appended, Failure> {
        let _one_at_a_time = self.appending.lock().await;
        let (seq, previous) = after(self.head().await?);
        // After the head was read: whatever settles the window from here on also takes the number.
        if let Some((lease, _)) = settles
            && self.is_settled(lease.window, &body).await?
        {
            return Ok(Appended::Overtaken);
        }
        let opens = matches!(body, EntryBody::Stream(_));
        let recorded_at = self.clock.now();
        let lock =
            self.locks.lock_from(body.window().map_or(recorded_at, |window| window.end()), recorded_at);
        let sealed = SealedEntry::seal(LogEntry {
            format: FORMAT,
            stream: self.stream.clone(),
            seq,
            previous,
            recorded_at,
            writer: self.writer.clone(),
            lock,
            body,
        });
        if let Some(signing_key) = &self.signing_key {
            self.sign(&sealed, signing_key).await?;
        }
        let key = log_key(&self.stream, seq);
        let content = Content::Bytes(Bytes::copy_from_slice(sealed.bytes()));
        let outcome = self.locks.put(&key, &content, &lock).await?;
        let (stored, locked) = self.read(&key).await?;
        if stored != sealed.bytes() {
            return match outcome {
                PutOutcome::AlreadyExists => self.follow().await.map(|()| Appended::Overtaken),
                PutOutcome::Created { .. } => Err(self.damaged(format!(
                    "the store took log entry {key} and gives back other bytes: it is not to be trusted with the archive"
                ))),
            };
        }
        self.locks.check(&key, &lock, &locked).await?;
        self.checkpoint.reached(if opens { Step::StreamOpened } else { Step::EntryPut });
        self.tell_ledger(&sealed, settles).await?;
        Ok(Appended::Committed(sealed.head()))
    }

    /// Stores the signature of an entry that is about to be stored. Its key holds the entry's own hash, so what a crash or
    /// a lost race leaves stands in nobody's way, and belongs to no entry.
    async fn sign(&self, sealed: &SealedEntry, signing_key: &SigningKey) -> Result<(), Failure> {
        let (seq, lock) = (sealed.entry().seq, sealed.entry().lock);
        self.locks.check_left(&signatures_at(&self.stream, seq), &lock).await?;
        let key = signature_key(&self.stream, seq, &sealed.hash());
        let signature = signing_key.sign(sealed.bytes());
        let content = Content::Bytes(Bytes::copy_from_slice(&signature));
        self.locks.put(&key, &content, &lock).await?;
        let (stored, locked) = self.read(&key).await?;
        if stored != signature {
            return Err(self.damaged(format!("signature {key} is not what was put there")));
        }
        self.locks.check(&key, &lock, &locked).await?;
        self.checkpoint.reached(Step::SignaturePut);
        Ok(())
    }

    /// Whether the log says already what `body` would say, or better.
    async fn is_settled(&self, window: Window, body: &EntryBody) -> Result<bool, Failure> {
        let state = self.ledger.window(&self.stream, window).await.map_err(of_ledger)?;
        Ok(match state {
            Some(WindowState::Archived { seq, .. }) => match body {
                EntryBody::Archived(archived) => archived.supersedes.is_none_or(|follows| follows.seq != seq),
                EntryBody::Stream(_) | EntryBody::Lost(_) | EntryBody::Parked(_) => true,
                EntryBody::Inspected(_) | EntryBody::Acknowledged(_) => false,
            },
            // A lost window that was pulled all the same is archived after all.
            Some(WindowState::Lost { .. }) => matches!(body, EntryBody::Lost(_)),
            _ => false,
        })
    }

    async fn tell_ledger(
        &self,
        entry: &SealedEntry,
        settles: Option<(&Lease, AttemptOutcome)>,
    ) -> Result<(), Failure> {
        let Some((lease, outcome)) = settles else {
            return self.ledger.apply(&self.stream, std::slice::from_ref(entry)).await.map_err(of_ledger);
        };
        match self.ledger.commit(lease, entry, outcome, self.clock.now()).await {
            // The log has it, so the ledger must follow, whoever holds the lease by now.
            Err(LedgerError::StaleLease { window, .. }) => {
                tracing::warn!(stream = %self.stream, %window, "the lease passed on while the entry was written");
                self.ledger.apply(&self.stream, std::slice::from_ref(entry)).await.map_err(of_ledger)
            }
            told => told.map_err(of_ledger),
        }
    }

    async fn head(&self) -> Result<Option<Head>, Failure> {
        Ok(self.ledger.stream(&self.stream).await.map_err(of_ledger)?.map(|state| state.head))
    }

    /// Whether the store still holds the very entry that the ledger knows as the last one.
    async fn check_head(&self, head: Head) -> Result<(), Failure> {
        let key = log_key(&self.stream, head.seq);
        let hash = Sha256::of(&self.read(&key).await?.0);
        if hash == head.hash {
            return Ok(());
        }
        let known = head.hash;
        Err(self
            .damaged(format!("log entry {key} has SHA-256 {hash}, and it had {known} when it was written")))
    }

    async fn take_over(&self, batch: &mut Vec<SealedEntry>) -> Result<(), Failure> {
        self.ledger.apply(&self.stream, batch).await.map_err(of_ledger)?;
        for entry in batch.drain(..) {
            if let EntryBody::Archived(archived) = &entry.entry().body {
                tracing::info!(
                    stream = %self.stream,
                    window = %archived.window,
                    seq = entry.entry().seq.get(),
                    "window is in the log already"
                );
            }
        }
        Ok(())
    }

    /// The bytes of a log entry that must be there, and the lock that the store says.
    async fn read(&self, key: &ObjectKey) -> Result<(Vec<u8>, Lock), Failure> {
        let Some(body) = self.store.get(key).await.map_err(of_store)? else {
            return Err(self.damaged(format!("log entry {key} is gone from the store")));
        };
        if body.meta.bytes > ENTRY_LIMIT {
            return Err(
                self.damaged(format!("log entry {key} has {} bytes, which no entry has", body.meta.bytes))
            );
        }
        let chunks: Vec<Bytes> = body.bytes.map_err(of_store).try_collect().await?;
        Ok((chunks.concat(), body.meta.lock.unwrap_or_default()))
    }

    fn missing(&self, seq: Seq) -> Failure {
        self.damaged(format!(
            "log entry {} is gone from the store, or was never there",
            log_key(&self.stream, seq)
        ))
    }

    fn damaged(&self, what: String) -> Failure {
        Failure::new(
            FailureKind::Damaged,
            Scope::Stream,
            format!("{what}; nothing more is written to stream {} until its log is whole again", self.stream),
        )
    }
}

/// Whether a `stream` entry is due: the log has none, or `start` has moved back.
fn must_be_said(
    stream: &StreamName,
    known: Option<&Definition>,
    wanted: &Definition,
) -> Result<bool, Failure> {
    let Some(known) = known else { return Ok(true) };
    let as_known = Definition { start: known.start, ..wanted.clone() };
    let contradiction = if as_known != *known {
        let (is, was) = differing_field(wanted, known);
        format!("the config says {is}, but the stream was opened with {was}")
    } else if wanted.start > known.start {
        format!(
            "the config says start {}, but windows since {} are promised already: start may only move back",
            wanted.start, known.start
        )
    } else {
        return Ok(wanted.start < known.start);
    };
    let message = format!("stream {stream}: {contradiction}; give the changed stream a new name");
    Err(Failure::new(FailureKind::Rejected, Scope::Stream, message))
}

/// The first field that differs, as (wanted, known).
fn differing_field(wanted: &Definition, known: &Definition) -> (String, String) {
    let pairs = [
        ("region", &wanted.region, &known.region),
        ("project_id", &wanted.project_id, &known.project_id),
        ("window", &wanted.window, &known.window),
        ("timezone", &wanted.timezone, &known.timezone),
    ];
    for (name, wanted, known) in pairs {
        if wanted != known {
            return (format!("{name} {wanted:?}"), format!("{name} {known:?}"));
        }
    }
    (format!("filters {:?}", wanted.filters), format!("filters {:?}", known.filters))
}
