//! A stream's log: following it, beginning it, appending to it. Appending is what commits a window.
//!
//! Why this is safe:
//! - An entry is created under the next sequence number with a create-only put. Of two writers one gets the number;
//!   the other is told that it is taken, reads on ([`StreamLog::follow`]) and decides again with what it learnt.
//! - Where the log is signed, the signature is stored before its entry: no entry is ever without one. A writer that lost
//!   a race looks whether its number is taken before it signs the next time.
//! - The entry is read back before it counts. From then on the window is archived, whatever happens to this process:
//!   the ledger is told afterwards, and where that fails it learns it from the log the next time.
//! - An answer may be lost after the store has taken the entry, and the repetition is then refused. So a refusal is
//!   looked into: our very bytes under our number mean that it is ours.
//! - Overtaken means that the ledger knows more than before. A store that says "taken" and shows nothing is a failure with
//!   a pause, so no loop over appends runs unpaced.
//! - No entry larger than [`LARGEST_ENTRY`] is put: every reader takes what is written.
//! - Whether an entry is under the lock that was asked for is part of reading it back. The newest entry of a log is
//!   held against it once more when it is first read: why, [`super::object_locks`] says.
//! - No entry is dated by a clock that nobody else confirms ([`super::clock_watch`]).
//! - Within one process a lock per stream keeps appends apart, so that the number is only ever contended from outside.

mod follow;
mod open;

pub(in crate::app) use open::{contradiction, moved_back};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::domain::digest::Sha256;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::lock::Lock;
use crate::domain::log_entry::{
    EntryBody, FORMAT, Head, LARGEST_ENTRY, LogEntry, SealedEntry, Writer, after,
};
use crate::domain::message::Message;
use crate::domain::name::StreamName;
use crate::domain::object_key::{ObjectKey, Seq, log_key, signature_key, signatures_at};
use crate::domain::snapshot::{StreamState, WindowState};
use crate::domain::window::Window;
use crate::ports::checkpoint::{Checkpoint, Step};
use crate::ports::ledger::{AttemptOutcome, Lease, Ledger, LedgerError};
use crate::ports::object_store::{Content, PutOutcome};

use super::clock_watch::ClockWatch;
use super::log_reader::LogReader;
use super::log_walk::damaged;
use super::object_locks::ObjectLocks;
use super::signing::Signing;

/// Rounds that are lost to other writers without a pause: more of them are a failure, which pauses.
pub const ROUNDS: usize = 8;

/// One stream's log in its store, with the ledger that follows it.
pub struct StreamLog {
    stream: StreamName,
    reader: LogReader,
    locks: Arc<ObjectLocks>,
    ledger: Arc<dyn Ledger>,
    /// Without its word no entry is dated.
    watch: Arc<ClockWatch>,
    checkpoint: Arc<dyn Checkpoint>,
    writer: Writer,
    signing: Option<Arc<Signing>>,
    appending: Mutex<()>,
    /// Whether the last append found its number taken.
    contended: AtomicBool,
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
        watch: Arc<ClockWatch>,
        checkpoint: Arc<dyn Checkpoint>,
        writer: Writer,
        signing: Option<Arc<Signing>>,
    ) -> Self {
        let reader = LogReader::new(stream.clone(), Arc::clone(locks.store()));
        Self {
            stream,
            reader,
            locks,
            ledger,
            watch,
            checkpoint,
            writer,
            signing,
            appending: Mutex::new(()),
            contended: AtomicBool::new(false),
        }
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
        let state = self.state().await?;
        self.may_append(state.as_ref())?;
        let (seq, previous) = after(state.map(|state| state.head));
        // After the head was read: whatever settles the window from here on also takes the number.
        if let Some((lease, _)) = settles
            && self.is_settled(lease.window, &body).await?
        {
            return Ok(Appended::Overtaken);
        }
        let key = log_key(&self.stream, seq);
        // No signature is put for a number that may be known to be taken.
        if self.contended.load(Ordering::Relaxed) && self.reader.store().head(&key).await?.is_some() {
            return self.overtaken(seq).await;
        }
        let opens = matches!(body, EntryBody::Stream(_));
        let recorded_at = self.date_for(&body).await?;
        let lock =
            self.locks.lock_from(body.window().map_or(recorded_at, |window| window.end()), recorded_at);
        let sealed = self.sealed(LogEntry {
            format: FORMAT,
            stream: self.stream.clone(),
            seq,
            previous,
            recorded_at,
            writer: self.writer.clone(),
            lock,
            body,
        })?;
        if let Some(signing) = &self.signing {
            self.sign(&sealed, signing).await?;
        }
        let content = Content::Bytes(Bytes::copy_from_slice(sealed.bytes()));
        let outcome = self.locks.put(&key, &content, &lock).await?;
        let Some((stored, locked)) = self.read_back(&key, &sealed).await? else {
            return Err(self.not_shown(&key, &outcome));
        };
        if stored != sealed.bytes() {
            return match outcome {
                PutOutcome::AlreadyExists => self.overtaken(seq).await,
                PutOutcome::Created { .. } => Err(damaged(
                    &self.stream,
                    &format!(
                        "the store took log entry {key} and gives back other bytes: it is not to be trusted with the archive"
                    ),
                )),
            };
        }
        self.locks.check(&key, &lock, &locked).await?;
        self.contended.store(false, Ordering::Relaxed);
        self.checkpoint.reached(if opens { Step::StreamOpened } else { Step::EntryPut });
        self.tell_ledger(&sealed, settles).await?;
        Ok(Appended::Committed(sealed.head()))
    }

    /// When an entry that says `body` is written, by a clock that somebody else confirms: a wrong date in a log is there for ever.
    async fn date_for(&self, body: &EntryBody) -> Result<Timestamp, Failure> {
        let confirmed = match body {
            EntryBody::Lost(_) => self.watch.confirm_for_loss(&self.stream).await?,
            _ => self.watch.confirm(&self.stream).await?,
        };
        if let EntryBody::Lost(lost) = body
            && confirmed.at() < lost.window.end()
        {
            let message = format!(
                "window {} is not over by the clock of {}: it is not recorded as lost",
                lost.window,
                confirmed.host()
            );
            return Err(Failure::new(FailureKind::Clock, Scope::Daemon, message));
        }
        Ok(confirmed.date_after(self.state().await?.and_then(|state| state.recorded_at)))
    }

    /// Whether this daemon may go on with a log that the ledger knows so.
    fn may_append(&self, state: Option<&StreamState>) -> Result<(), Failure> {
        if self.signing.is_some() || !state.is_some_and(|state| state.signed) {
            return Ok(());
        }
        Err(self.without_key())
    }

    /// The failure for a log that is signed, where this daemon has no key.
    fn without_key(&self) -> Failure {
        let cause = format!(
            "the log of stream {} is signed, and this configuration names no signing key: its entries cannot be checked, and \
             an entry without a signature would be taken for a forgery",
            self.stream
        );
        let message = Message::new(cause).advise("set signing.key_file");
        Failure::new(FailureKind::Rejected, Scope::Stream, message)
    }

    /// The bytes of `entry`.
    ///
    /// # Errors
    /// When they are more than any reader should have to take, or the log is full.
    fn sealed(&self, entry: LogEntry) -> Result<SealedEntry, Failure> {
        let (window, seq) = (entry.body.window(), entry.seq);
        let (scope, of) = match window {
            Some(window) => (Scope::Window, format!("window {window} of stream {}", self.stream)),
            None => (Scope::Stream, format!("stream {}", self.stream)),
        };
        if !seq.has_key() {
            let message = format!("{of}: log entry {seq} has no key; give the stream a new name");
            return Err(Failure::new(FailureKind::Rejected, Scope::Stream, message));
        }
        let sealed = SealedEntry::seal(entry);
        let bytes = sealed.bytes().len();
        if bytes <= LARGEST_ENTRY {
            return Ok(sealed);
        }
        let message = format!(
            "{of}: its log entry would have {bytes} bytes, and no entry has more than {LARGEST_ENTRY}"
        );
        Err(Failure::new(FailureKind::Rejected, scope, message))
    }

    /// Somebody else's entry has the number `seq`: reads on, so that the ledger knows more than before.
    async fn overtaken(&self, seq: Seq) -> Result<Appended, Failure> {
        self.contended.store(true, Ordering::Relaxed);
        self.follow().await?;
        if self.state().await?.is_some_and(|state| state.head.seq >= seq) {
            return Ok(Appended::Overtaken);
        }
        Err(self.not_shown(&log_key(&self.stream, seq), &PutOutcome::AlreadyExists))
    }

    /// The failure for an object that the store has, and does not show.
    fn not_shown(&self, key: &ObjectKey, outcome: &PutOutcome) -> Failure {
        match outcome {
            PutOutcome::Created { .. } => {
                damaged(&self.stream, &format!("log entry {key} was just put and is gone from the store"))
            }
            PutOutcome::AlreadyExists => {
                let message =
                    format!("the store says that log entry {key} is there, and does not show it yet");
                Failure::new(FailureKind::Transient, Scope::Stream, message)
            }
        }
    }

    /// What the store shows under `key` after `sealed` was put there, and the lock that it names; read again where it is
    /// something else.
    async fn read_back(
        &self,
        key: &ObjectKey,
        sealed: &SealedEntry,
    ) -> Result<Option<(Vec<u8>, Lock)>, Failure> {
        let reading = self.reader.agreed(key, None, Some(sealed.hash())).await?;
        Ok(reading.map(|reading| (reading.bytes().to_vec(), *reading.lock())))
    }

    /// Stores the signature of an entry that is about to be stored. Its key holds the entry's own hash, so what a crash or
    /// a lost race leaves stands in nobody's way, and belongs to no entry.
    async fn sign(&self, sealed: &SealedEntry, signing: &Signing) -> Result<(), Failure> {
        let (seq, lock) = (sealed.entry().seq, sealed.entry().lock);
        self.locks.check_left(&signatures_at(&self.stream, seq), &lock).await?;
        let key = signature_key(&self.stream, seq, &sealed.hash());
        let signature = signing.key.sign(sealed.bytes());
        if let Err(error) = signing.verify(sealed.bytes(), &signature, sealed.entry().recorded_at) {
            let cause = format!(
                "stream {}: the signature of this daemon's own key would not count: {error}",
                self.stream
            );
            let message = Message::new(cause).advise(
                "correct the key's time in signing.allowed_signers_file, or replace signing.key_file, and restart the daemon",
            );
            return Err(Failure::new(FailureKind::Rejected, Scope::Stream, message));
        }
        let content = Content::Bytes(Bytes::copy_from_slice(&signature));
        let outcome = self.locks.put(&key, &content, &lock).await?;
        let known = Some(Sha256::of(&signature));
        let Some(stored) = self.reader.agreed(&key, None, known).await? else {
            return Err(self.not_shown(&key, &outcome));
        };
        if stored.bytes() != signature {
            return Err(damaged(&self.stream, &format!("signature {key} is not what was put there")));
        }
        self.locks.check(&key, &lock, stored.lock()).await?;
        self.checkpoint.reached(Step::SignaturePut);
        Ok(())
    }

    /// Whether the log says already what `body` would say, or better.
    async fn is_settled(&self, window: Window, body: &EntryBody) -> Result<bool, Failure> {
        let state = self.ledger.window(&self.stream, window).await?;
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
            return self.ledger.apply(&self.stream, std::slice::from_ref(entry)).await.map_err(Failure::from);
        };
        match self.ledger.commit(lease, entry, outcome, self.watch.clock().now()).await {
            // The log has it, so the ledger must follow, whoever holds the lease by now.
            Err(LedgerError::StaleLease { window, .. }) => {
                tracing::warn!(stream = %self.stream, %window, "the lease passed on while the entry was written");
                self.ledger.apply(&self.stream, std::slice::from_ref(entry)).await.map_err(Failure::from)
            }
            told => told.map_err(Failure::from),
        }
    }

    async fn state(&self) -> Result<Option<StreamState>, Failure> {
        self.ledger.stream(&self.stream).await.map_err(Failure::from)
    }
}
