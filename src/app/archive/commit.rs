//! The commit of an export: its object in the store, then its entry in the log. From there on the window is archived.

use super::duplicates::Records;
use super::{Attempt, Job};
use crate::adapters::spool::SpooledExport;
use crate::app::observer::Ending;
use crate::app::stream_log::{Appended, ROUNDS};
use crate::domain::content::{Content, Marks};
use crate::domain::count::CountVerdict;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::log_entry::{Archived, EntryBody, ExportFacts, Supersedes};
use crate::domain::message::Message;
use crate::domain::object_key::Seq;
use crate::domain::snapshot::WindowState;
use crate::ports::checkpoint::Step;
use crate::ports::ledger::AttemptOutcome;

impl Attempt<'_> {
    /// Stores the export and says so in the log: from there on the window is archived. A revision says what it follows.
    pub(super) async fn commit(
        &self,
        export: &SpooledExport,
        supersedes: Option<Supersedes>,
    ) -> Result<Ending, Failure> {
        let Job { services, stream, window } = self.job;
        let follows = supersedes.map(|supersedes| supersedes.seq);
        for _ in 0..ROUNDS {
            // In this order: what is archived after its names were read is found unnamed, and looked into.
            let named = services.ledger.named_objects(stream.name(), window).await?;
            if self.job.is_overtaken(follows).await? {
                return self.archived_elsewhere().await;
            }
            let stored = self.job.store(follows, export, &named).await?;
            let Some(stored) = stored else { return self.archived_elsewhere().await };
            // Nothing after this can be taken back: a holder that slept must not go on.
            self.renew_lease().await?;
            let same_content_as = match Records::of(&export.facts) {
                Some(records) => self.job.same_content_as(records).await?,
                None => None,
            };
            let facts = ExportFacts { same_content_as, ..export.facts.export.clone() };
            let (object, content) = (stored.object.clone(), content(&facts));
            let ending = |head| Ending::Archived {
                key: object.key.in_stream(stream.name()).to_string(),
                rows: object.rows,
                bytes: object.bytes,
                sha256: object.sha256,
                supersedes,
                count: CountVerdict::of(export.facts.export.counted, export.facts.rows),
                content: content.clone(),
                head,
            };
            let body = EntryBody::Archived(Box::new(Archived {
                window,
                revision: stored.revision,
                object: stored.object,
                export: facts,
                supersedes,
                orphans: stored.orphans,
            }));
            match stream.log.append(body, Some((&self.lease, AttemptOutcome::Archived))).await? {
                Appended::Committed(head) => {
                    services.checkpoint.reached(Step::LedgerUpdated);
                    self.clear_spool().await;
                    return Ok(ending(head));
                }
                Appended::Overtaken => {}
            }
        }
        let cause = format!("{}: others keep taking the next place of the log", self.job);
        let message = Message::new(cause).advise("it is tried again");
        Err(Failure::new(FailureKind::Transient, Scope::Window, message))
    }
}

impl Job<'_> {
    /// Whether the log has an entry for the window that this work does not follow: for a first pull any, for a revision a
    /// later one than that which it `follows`.
    pub(super) async fn is_overtaken(self, follows: Option<Seq>) -> Result<bool, Failure> {
        let Self { services, stream, window } = self;
        let state = services.ledger.window(stream.name(), window).await?;
        Ok(matches!(state, Some(WindowState::Archived { seq, .. }) if Some(seq) != follows))
    }
}

/// What is known of the records of an export with these facts.
fn content(facts: &ExportFacts) -> Content {
    match &facts.unread {
        Some(reason) => Content::Unread { reason: reason.clone() },
        None => Content::Read(Marks {
            open_records: facts.open_records,
            out_of_bounds: facts.out_of_bounds,
            same_content_as: facts.same_content_as,
        }),
    }
}
