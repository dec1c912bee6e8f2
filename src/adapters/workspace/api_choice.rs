//! `api = "auto"`: the v2 export until the provider has withdrawn it, then v3 for good.
//!
//! A gateway says "there is no such API" for a withdrawn one and for a wrong address alike, and a wrong project looks much
//! the same. So the query of records is asked, which is not withdrawn: only where it answers is the export alone gone. A key
//! that may not query cannot be told by that; then a v3 export that works is the proof. What was found out is remembered, told
//! once, and never asked again.

use std::sync::Arc;

use async_trait::async_trait;

use super::client::{Client, Project};
use super::count;
use super::export_v2::WorkspaceV2;
use super::export_v3::{V3Parts, WorkspaceV3};
use crate::domain::export_task::ExportTask;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::name::SourceName;
use crate::domain::snapshot::Withdrawal;
use crate::ports::ledger::LedgerError;
use crate::ports::record_source::{ByteSink, ExportReceipt, ExportRequest, RecordSource, SourceError};
use crate::ports::source_memory::SourceMemory;

/// A Workspace project, asked through whichever export API there is.
pub struct WorkspaceAuto {
    client: Arc<Client>,
    v2: WorkspaceV2,
    v3: WorkspaceV3,
    source: SourceName,
    memory: Arc<dyn SourceMemory>,
}

/// What is known of the v2 export after it was said not to be there.
enum V2 {
    /// Only it is gone.
    Gone,
    /// It is gone if the other one is there.
    Doubtful,
}

impl WorkspaceAuto {
    /// The records of `project`. Nothing is sent yet.
    pub fn of(project: &Project, parts: V3Parts) -> Self {
        Self {
            client: project.client(),
            v2: WorkspaceV2::of(project),
            source: parts.source.clone(),
            memory: Arc::clone(&parts.memory),
            v3: WorkspaceV3::of(project, parts),
        }
    }

    async fn is_withdrawn(&self) -> Result<bool, SourceError> {
        Ok(self.memory.withdrawal(&self.source).await.map_err(of_memory)?.is_some())
    }

    /// Whether the v2 export is gone, which `gone` says, and nothing else is wrong.
    async fn find_out(&self, request: &ExportRequest, gone: &SourceError) -> Result<V2, SourceError> {
        match count::count(&self.client, request).await {
            Ok(_) => Ok(V2::Gone),
            // The gateway knows neither: it is the address that is wrong.
            Err(error) if error.kind() == FailureKind::Gone => Err(gone.clone()),
            // The key may not query, or the answer was odd: there is something behind the gateway.
            Err(error) if matches!(error.kind(), FailureKind::Auth | FailureKind::Corrupt) => {
                Ok(V2::Doubtful)
            }
            Err(error) => Err(error),
        }
    }

    /// Remembers that v2 is gone, and says so, once.
    async fn withdraw(&self, gone: &SourceError) -> Result<(), SourceError> {
        let reason = gone.0.message.clone();
        let withdrawal = Withdrawal { at: self.client.now(), reason };
        if self.memory.withdrawn(&self.source, &withdrawal).await.map_err(of_memory)? {
            tracing::error!(
                source = %self.source,
                reason = withdrawal.reason,
                "the provider has withdrawn the v2 export: from now on exports are asked for through v3 tasks; nothing needs to be done"
            );
        }
        Ok(())
    }
}

fn of_memory(error: LedgerError) -> SourceError {
    let message = format!("which export API is there cannot be remembered: {error}");
    SourceError(Failure::new(FailureKind::Local, Scope::Daemon, message))
}

#[async_trait]
impl RecordSource for WorkspaceAuto {
    async fn export(
        &self,
        request: &ExportRequest,
        sink: &mut dyn ByteSink,
    ) -> Result<ExportReceipt, SourceError> {
        if self.is_withdrawn().await? {
            return self.v3.export(request, sink).await;
        }
        // An API that is not there has sent nothing into the sink.
        let gone = match self.v2.export(request, sink).await {
            Err(error) if error.kind() == FailureKind::Gone => error,
            other => return other,
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

    async fn tidy(&self, tasks: &[ExportTask]) -> Result<(), SourceError> {
        self.v3.tidy(tasks).await
    }

    async fn answers_past_horizon(&self) -> Result<bool, SourceError> {
        Ok(!self.is_withdrawn().await?)
    }
}
