//! The export API that the configuration chooses: v2, v3, or `auto`, which is v2 until the provider has withdrawn it, then v3
//! for good.
//!
//! Finished export tasks are deleted whatever the choice is: an earlier choice may have made them.
//!
//! A gateway says "there is no such API" for a withdrawn one and for a wrong address alike, and a wrong project looks much
//! the same. So the query of records is asked, which is not withdrawn: only where it answers is the export alone gone. A key
//! that may not query cannot be told by that; then a v3 export that works is the proof. What was found out is remembered, told
//! once, and never asked again: unless somebody chooses v2 all the same, and it answers. Then it was not gone, and that is
//! remembered no more.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::client::{Client, Project};
use super::count;
use super::export_v2::WorkspaceV2;
use super::export_v3::{V3Parts, WorkspaceV3};
use super::notice::V2_WITHDRAWN;
use crate::domain::export::{ApiChoice, ExportApi};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::message::Message;
use crate::domain::name::SourceName;
use crate::domain::snapshot::Note;
use crate::domain::text::Line;
use crate::ports::ledger::LedgerError;
use crate::ports::notebook::Notebook;
use crate::ports::record_source::{
    ByteSink, Demand, ExportReceipt, ExportRequest, RecordSource, Remains, SourceError, Upkeep,
};

/// The provider's `Date` has whole seconds.
const A_SECOND: Duration = Duration::from_secs(1);

/// A Workspace project, asked through the export API that is chosen.
pub struct Workspace {
    choice: ApiChoice,
    client: Arc<Client>,
    v2: WorkspaceV2,
    v3: WorkspaceV3,
    source: SourceName,
    notebook: Arc<dyn Notebook>,
}

/// What is known of the v2 export after it was said not to be there.
enum V2 {
    /// Only it is gone.
    Gone,
    /// It is gone if the other one is there.
    Doubtful,
}

/// Whether the v2 export, which is said not to be there, may be gone by itself: by what came of a query. Where it answers, the
/// export is gone. Where the key may not query, or what came was odd, there is something behind the gateway at least.
pub fn may_be_withdrawn(queried: &Result<u64, Failure>) -> bool {
    match queried {
        Ok(_) => true,
        Err(failure) => match failure.kind {
            FailureKind::Auth | FailureKind::Corrupt => true,
            FailureKind::Rejected => failure.scope == Scope::Window,
            _ => false,
        },
    }
}

impl Workspace {
    /// The records of `project`. Nothing is sent yet.
    pub fn of(project: &Project, choice: ApiChoice, parts: V3Parts) -> Self {
        Self {
            choice,
            client: project.client(),
            v2: WorkspaceV2::of(project),
            source: parts.source.clone(),
            notebook: Arc::clone(&parts.notebook),
            v3: WorkspaceV3::of(project, parts),
        }
    }

    /// Records of bounds that are still to come by the provider's clock, which may be behind ours, are still to come, too: asked
    /// for now, some would lack. That clock is known from the count, which is asked for first.
    fn is_over(&self, request: &ExportRequest) -> Result<(), SourceError> {
        let theirs = self.client.now().saturating_add(self.client.clock_ahead().unwrap_or_default());
        let left = request.bounds.end.duration_since(theirs.unwrap_or(Timestamp::MAX));
        let Some(left) = Duration::try_from(left).ok().filter(|left| !left.is_zero()) else {
            return Ok(());
        };
        let cause = format!(
            "window {} of stream {} is not over yet by the clock of {}, which is behind this machine's",
            request.window,
            request.stream,
            self.client.host()
        );
        let message = Message::new(cause).advise(
            "see to the clock (run timedatectl), or use a longer settle; it is tried again when it is over",
        );
        let too_early = Failure::new(FailureKind::Transient, Scope::Window, message);
        Err(SourceError(Failure { retry_after: Some(left + A_SECOND), ..too_early }))
    }

    async fn in_use(&self) -> Result<ExportApi, SourceError> {
        let withdrawal = self.notebook.noted(&self.source, V2_WITHDRAWN).await.map_err(of_memory)?;
        Ok(self.choice.in_use(withdrawal.is_some()))
    }

    /// Whether the v2 export is gone, which `gone` says, and nothing else is wrong.
    async fn find_out(&self, request: &ExportRequest, gone: &SourceError) -> Result<V2, SourceError> {
        let queried = count::count(&self.client, request).await.map_err(|error| error.0);
        match queried {
            Ok(_) => Ok(V2::Gone),
            Err(_) if may_be_withdrawn(&queried) => Ok(V2::Doubtful),
            // The gateway knows neither: it is the address that is wrong.
            Err(failure) if failure.kind == FailureKind::Gone => Err(gone.clone()),
            // Of an unknown project it says so itself; and what may pass is found out later.
            Err(failure) => Err(SourceError(failure)),
        }
    }

    /// It has answered: whatever was taken for its withdrawal was none.
    async fn restore(&self) -> Result<(), SourceError> {
        if self.notebook.erase(&self.source, V2_WITHDRAWN).await.map_err(of_memory)? {
            tracing::warn!(source = %self.source, "the v2 export is there after all: api = \"auto\" goes through it again");
        }
        Ok(())
    }

    /// Remembers that v2 is gone, and says so, once.
    async fn withdraw(&self, gone: &SourceError) -> Result<(), SourceError> {
        let reason = gone.0.message.whole().clone();
        let withdrawal = Note { at: self.client.now(), reason };
        if self.notebook.note(&self.source, V2_WITHDRAWN, &withdrawal).await.map_err(of_memory)? {
            tracing::error!(
                source = %self.source,
                reason = %withdrawal.reason,
                "the provider has withdrawn the v2 export: from now on exports are asked for through v3 tasks; nothing needs to be done"
            );
        }
        Ok(())
    }
}

fn of_memory(error: LedgerError) -> SourceError {
    let failure = Failure::from(error);
    let message = failure.message.at("which export API is there cannot be remembered");
    SourceError(Failure { message, ..failure })
}

#[async_trait]
impl RecordSource for Workspace {
    async fn export(
        &self,
        request: &ExportRequest,
        sink: &mut dyn ByteSink,
    ) -> Result<ExportReceipt, SourceError> {
        self.is_over(request)?;
        // What was asked for in time stands among the tasks, whatever was chosen since.
        if self.in_use().await? == ExportApi::V3 || self.v3.has_last(request).await? {
            return self.v3.export(request, sink).await;
        }
        let exported = self.v2.export(request, sink).await;
        if self.choice != ApiChoice::Auto {
            if exported.is_ok() {
                self.restore().await?;
            }
            return exported;
        }
        // An answer proves nothing here: it may have been on its way when another one found v2 gone.
        let gone = match exported {
            // An API that is not there has sent nothing into the sink.
            Err(error) if error.kind() == FailureKind::Gone => error,
            settled => return settled,
        };
        let proven = match self.find_out(request, &gone).await? {
            V2::Gone => {
                self.withdraw(&gone).await?;
                return self.v3.export(request, sink).await;
            }
            V2::Doubtful => self.v3.export(request, sink).await,
        };
        if proven.is_ok() {
            self.withdraw(&gone).await?;
        }
        proven
    }

    async fn count(&self, request: &ExportRequest) -> Result<u64, SourceError> {
        count::count(&self.client, request).await
    }

    async fn discard(&self, request: &ExportRequest) -> Result<(), SourceError> {
        self.v3.discard(request).await
    }

    async fn upkeep(&self, demand: &dyn Demand) -> Result<Upkeep, SourceError> {
        self.v3.upkeep(demand).await
    }

    async fn notices(&self, demand: &dyn Demand) -> Result<Vec<Line>, SourceError> {
        self.v3.notices(demand).await
    }

    async fn remains(&self, request: &ExportRequest) -> Result<Remains, SourceError> {
        let may_answer = self.in_use().await? == ExportApi::V2;
        Ok(Remains { may_answer, ..self.v3.remains(request).await? })
    }

    async fn tell_time(&self) -> Option<Failure> {
        self.client.tell_time().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_query_that_reaches_something_lets_the_export_alone_be_gone() {
        use FailureKind::{Auth, Corrupt, Gone, Rejected, Throttled, Transient};
        assert!(may_be_withdrawn(&Ok(0)));
        for (kind, scope, expected) in [
            (Auth, Scope::Source, true),
            (Corrupt, Scope::Window, true),
            (Rejected, Scope::Window, true),
            (Rejected, Scope::Source, false),
            (Gone, Scope::Source, false),
            (Transient, Scope::Window, false),
            (Throttled, Scope::Source, false),
        ] {
            let failure = Failure::new(kind, scope, "no");
            assert_eq!(may_be_withdrawn(&Err(failure)), expected, "{kind:?} {scope:?}");
        }
    }
}
