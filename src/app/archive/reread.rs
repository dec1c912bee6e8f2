//! Reading again what was archived unread: with a later version of the reader its records may come to light.
//!
//! Nothing is exported and no object is put. Where the bytes can be read now, an entry `inspected` says what is in them, and
//! from then on the window counts as read. Whatever else comes of it, the object and its entry stay as they are.
//!
//! A read of the store is a claim: the object counts only with the digest that the log names, and the entry that holds the
//! counts only when two things agree on its bytes.

use std::sync::Arc;

use crate::adapters::inspect::Inspection;
use crate::domain::content::Content;
use crate::domain::count::CountVerdict;
use crate::domain::export::Format;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::log_entry::{Archived, EntryBody, Inspected, SealedEntry};
use crate::domain::object_key::{DataKey, Revision, Seq, log_key};
use crate::domain::snapshot::WindowState;
use crate::domain::text::Line;
use crate::domain::verdict::StreamRules;
use crate::domain::window::Window;
use crate::ports::ledger::NamedObject;

use super::Job;
use super::duplicates::Records;
use super::intake::{doubt, is_out_of_bounds};
use crate::app::agreed_read::{Agreed, Limits, ONCE_MORE, Reading};
use crate::app::log_reader::LogReader;
use crate::app::services::Services;
use crate::app::stream_log::Appended;

/// What came of reading one window's object again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reread {
    /// Its records are in the log now.
    Read {
        /// The revision that was read.
        revision: Revision,
        /// What the bytes are.
        format: Format,
        /// Records in it.
        rows: u64,
        /// What the provider's own count says of them.
        count: CountVerdict,
        /// The entry that says so.
        seq: Seq,
    },
    /// It still cannot be read.
    Unread {
        /// The object's key, relative to the stream's folder.
        key: DataKey,
        /// Why.
        reason: Line,
    },
    /// Its newest revision is not one that is archived unread, by now or at all.
    NotUnread,
}

impl Services {
    /// The windows of a stream whose newest revision was archived unread, in order.
    ///
    /// # Errors
    /// When the ledger fails, or the stream or its store is on hold: then nothing can be said in its log.
    pub async fn unread_windows(&self, rules: &StreamRules) -> Result<Vec<Window>, Failure> {
        let snapshot = self.ledger.snapshot().await?;
        if let Some(hold) = rules.log_held_by(&snapshot, self.clock.now()) {
            return Err(Failure::new(hold.failure.kind, Scope::Stream, hold.failure.message.clone()));
        }
        if !self.proofs.is_proven(&rules.store) {
            let message =
                format!("store {} has not shown yet that nothing there is overwritten", rules.store);
            return Err(Failure::new(FailureKind::Transient, Scope::Store, message));
        }
        let windows = snapshot.windows.get(&rules.name).into_iter().flatten();
        let is_unread = |state: &WindowState| matches!(state, WindowState::Archived { content, .. } if content.is_unread());
        Ok(windows.filter(|(_, state)| is_unread(state)).map(|(window, _)| *window).collect())
    }
}

impl Job<'_> {
    /// Reads the object of the window's newest revision again, and says in the log what is in it.
    ///
    /// # Errors
    /// When the store, the ledger or this machine fails, or the object is not the one that was archived.
    pub async fn reread(self) -> Result<Reread, Failure> {
        let Self { stream, window, .. } = self;
        loop {
            let Some((seq, object)) = self.unread_object().await? else {
                return Ok(Reread::NotUnread);
            };
            let archived = self.entry(seq, &object).await?;
            let found = match self.inspect(&object).await? {
                Ok(found) => found,
                Err(reason) => return Ok(Reread::Unread { key: object.key, reason }),
            };
            let counted = archived.export.counted;
            if let Some((_, reason)) = doubt(&found, object.bytes, counted) {
                return Ok(Reread::Unread { key: object.key, reason });
            }
            let (revision, format, rows) = (archived.revision, found.format, found.rows);
            let count = CountVerdict::of(counted, Some(rows));
            let records = Records { rows, content_digest: found.content_digest, times: found.times };
            let requested = archived.export.requested;
            let body = EntryBody::Inspected(Box::new(Inspected {
                window,
                revision,
                sha256: object.sha256,
                format,
                rows,
                content_digest: found.content_digest,
                counted,
                count_mismatch: count == CountVerdict::Mismatched,
                open_records: found.open_records,
                records: found.times,
                out_of_bounds: found.times.is_some_and(|times| is_out_of_bounds(times, requested)),
                same_content_as: self.same_content_as(records).await?,
                notes: found.notes.iter().map(Line::new).collect(),
            }));
            // Overtaken: what the others wrote may have been about this window.
            if let Appended::Committed(head) = stream.log.append(body, None).await? {
                let seq = head.seq;
                tracing::info!(stream = %stream.name(), %window, rows, count = count.as_str(), %head,
                    "window read: its records, archived unread, are in the log now");
                return Ok(Reread::Read { revision, format, rows, count, seq });
            }
        }
    }

    /// The object of the window's newest revision and the entry that names it, if that was archived unread.
    async fn unread_object(self) -> Result<Option<(Seq, NamedObject)>, Failure> {
        let Self { services, stream, window } = self;
        let state = services.ledger.window(stream.name(), window).await?;
        let Some(WindowState::Archived { seq, content: Content::Unread { .. }, .. }) = state else {
            return Ok(None);
        };
        let named = services.ledger.named_objects(stream.name(), window).await?;
        let object = named.into_iter().find(|object| object.seq == seq && object.is_export);
        Ok(object.map(|object| (seq, object)))
    }

    /// The entry that archived the object, as two readings of it agree.
    async fn entry(self, seq: Seq, object: &NamedObject) -> Result<Archived, Failure> {
        let Self { stream, window, .. } = self;
        let key = log_key(stream.name(), seq);
        let reader = LogReader::new(stream.name().clone(), Arc::clone(&stream.store));
        let reading = reader.agreed(&key, None, None).await?;
        let entry = reading.and_then(|reading| {
            SealedEntry::open_unchained(reading.bytes().to_vec(), stream.name(), seq).ok()
        });
        match entry.map(|entry| entry.entry().body.clone()) {
            Some(EntryBody::Archived(archived))
                if (archived.window, archived.object.sha256) == (window, object.sha256) =>
            {
                Ok(*archived)
            }
            _ => Err(self.damaged(&format!("log entry {key} is not the one that archived {}", object.key))),
        }
    }

    /// What is in the object, or why it cannot be read.
    async fn inspect(self, object: &NamedObject) -> Result<Result<Inspection, Line>, Failure> {
        let Self { services, stream, .. } = self;
        let key = object.key.in_stream(stream.name());
        let limits = Limits::kept(object.bytes);
        let reading = Reading { scratch: &services.scratch, store: &*stream.store, key: &key, limits };
        let read = match reading.agreed(Some(object.sha256), ONCE_MORE).await? {
            Agreed::Object(read) if read.sha256 == object.sha256 => read,
            Agreed::Object(read) => {
                let what =
                    format!("object {key} has SHA-256 {}, and {} by the log", read.sha256, object.sha256);
                return Err(self.damaged(&what));
            }
            Agreed::TooLarge => {
                return Err(self.damaged(&format!("object {key} has more than {} bytes", object.bytes)));
            }
            Agreed::Absent => return Err(self.damaged(&format!("object {key} is gone from the store"))),
        };
        let Some(file) = read.file else {
            return Err(self.damaged(&format!("object {key} has not {} bytes", object.bytes)));
        };
        let found = services.scratch.inspect(file.path()).await?;
        Ok(found.map_err(|error| error.to_string().into()))
    }

    fn damaged(self, what: &str) -> Failure {
        let message = format!("{what}; see what `connvault verify --stream {}` says", self.name());
        Failure::new(FailureKind::Damaged, Scope::Window, message)
    }
}
