//! A revisit: an archived window is pulled again, and stored as a revision if its records have changed.
//!
//! Whether they have is said by the content digest, so other bytes with the same rows are no revision. That nothing has
//! changed stands in the ledger alone: where that is lost, the window is pulled once more, and nothing is stored for it.
//! A revision goes the same way as a first pull, and its entry names the one that it follows; whoever else appended one
//! meanwhile has won. The object before it stays where it is, and is read to say how the rows differ: if two answers agree that
//! it is not what the log says, the stream is on hold before anything is written.
//!
//! A window whose newest revision could not be read is revisited like any other. An export that can be read becomes a
//! revision. One that cannot be read either becomes a revision only if no object of the window has its bytes.

use jiff::Timestamp;

use crate::adapters::inspect::Delta;
use crate::adapters::spool::SpooledExport;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::log_entry::{RowChanges, Supersedes};
use crate::domain::object_key::Seq;
use crate::domain::snapshot::WindowState;
use crate::ports::ledger::NamedObject;
use crate::ports::record_source::ExportRequest;

use super::counting::Terms;
use super::{Attempt, Job};
use crate::app::agreed_read::{Agreed, Limits, ONCE_MORE, Reading};
use crate::app::observer::Ending;

impl Attempt<'_> {
    /// Pulls the window again.
    pub(super) async fn revisit(&self) -> Result<Ending, Failure> {
        let Job { services, stream, .. } = self.job;
        let Some((seq, newest, exported_at)) = self.job.newest().await? else {
            return self.archived_elsewhere().await;
        };
        let request = ExportRequest { after: Some(exported_at), ..self.job.request() };
        let terms = match newest.content_digest {
            Some(_) => Terms::of_revisit(stream),
            None => Terms::of_unread(stream, &request, services.clock.now()),
        };
        let export = self.job.export(&request, terms).await?;
        if self.job.is_known(&newest, &export).await? {
            let (pulled_at, now) = (export.facts.export.pulled_at, services.clock.now());
            services.ledger.revisited(&self.lease, pulled_at, now).await?;
            self.clear_spool().await;
            return Ok(Ending::Unchanged);
        }
        let supersedes = self.job.differences(seq, &newest, &export).await?;
        self.commit(&export, Some(supersedes)).await
    }
}

impl Job<'_> {
    /// Whether the log has what was pulled: the same rows, or of what cannot be read the same bytes.
    async fn is_known(self, newest: &NamedObject, export: &SpooledExport) -> Result<bool, Failure> {
        if export.facts.content_digest.is_some() {
            return Ok(newest.content_digest == export.facts.content_digest);
        }
        let named = self.services.ledger.named_objects(self.name(), self.window).await?;
        Ok(named.iter().any(|object| object.sha256 == export.sha256))
    }

    /// The entry and the object of the window's newest revision, and the time as of which the window was exported last.
    async fn newest(self) -> Result<Option<(Seq, NamedObject, Timestamp)>, Failure> {
        let Self { services, window, .. } = self;
        let state = services.ledger.window(self.name(), window).await?;
        let Some(WindowState::Archived { seq, last_pulled_at, .. }) = state else { return Ok(None) };
        let named = services.ledger.named_objects(self.name(), window).await?;
        // An entry names one export, and perhaps orphans beside it.
        let object = named.into_iter().find(|object| object.seq == seq && object.is_export);
        Ok(object.map(|object| (seq, object, last_pulled_at)))
    }

    /// How the rows of the export differ from those of the revision before, where both can be read.
    async fn differences(
        self,
        seq: Seq,
        newest: &NamedObject,
        export: &SpooledExport,
    ) -> Result<Supersedes, Failure> {
        let Self { services, stream, .. } = self;
        let key = newest.key.in_stream(stream.name());
        let damaged = |what: String| {
            let message = format!(
                "object {key} {what}, which log entry {seq} names; nothing more is written to stream {}",
                stream.name()
            );
            Failure::new(FailureKind::Damaged, Scope::Stream, message)
        };
        let limits = Limits::kept(newest.bytes);
        let reading = Reading { scratch: &services.scratch, store: &*stream.store, key: &key, limits };
        // Nothing is called damaged on the word of one answer: it takes two that agree.
        let older = match reading.agreed(Some(newest.sha256), ONCE_MORE).await? {
            Agreed::Object(object) if object.sha256 == newest.sha256 => object,
            Agreed::Object(object) => {
                return Err(damaged(format!("has SHA-256 {} and not {}", object.sha256, newest.sha256)));
            }
            Agreed::TooLarge => return Err(damaged(format!("has more than {} bytes", newest.bytes))),
            Agreed::Absent => return Err(damaged("is gone from the store".to_owned())),
        };
        // What has the size that the entry says is kept; the same bytes in another size there are none.
        let Some(file) = older.file else { return Err(damaged(format!("has not {} bytes", newest.bytes))) };
        let is_unread = newest.content_digest.is_none() || export.facts.content_digest.is_none();
        let delta = match services.scratch.delta(file.path(), &export.path).await? {
            Err(_) if is_unread => return Ok(Supersedes { seq, rows: None }),
            delta => delta,
        };
        // Both were read whole before, by the same rules.
        let delta = delta.map_err(|error| {
            let message = format!("the rows of {key} cannot be compared: {error}");
            Failure::new(error.kind(), Scope::Window, message)
        })?;
        let Delta { added, removed, changed } = delta;
        let rows = Some(RowChanges { rows_added: added, rows_removed: removed, rows_changed: changed });
        Ok(Supersedes { seq, rows })
    }
}
