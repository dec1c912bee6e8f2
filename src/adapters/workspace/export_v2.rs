//! The v2 export: `GET /v2/{project_id}/connections/desktops/export`, answered with the file itself.
//!
//! A 200 is streamed to the sink as it comes, whatever its content type says; whether it is an export is found out
//! by looking into it, later. The receipt is made only after the last byte was handed on: no receipt means no export.

use std::sync::Arc;

use async_trait::async_trait;

use super::body::receive;
use super::client::{Ask, Client, Project, project_path};
use super::count;
use super::errors::{Operation, Subject};
use super::query;
use super::trail::Trail;
use crate::domain::export::ExportApi;
use crate::domain::failure::Failure;
use crate::ports::record_source::{
    ByteSink, ExportReceipt, ExportRequest, RecordSource, Remains, SourceError,
};

pub(super) const EXPORT: Operation = Operation {
    name: "v2 export",
    permission: Some("workspace:connections:securityExport"),
    subject: Subject::DeprecatedApi,
};

/// A Workspace project, asked through the v2 export.
pub struct WorkspaceV2 {
    client: Arc<Client>,
}

impl WorkspaceV2 {
    /// The records of `project`. Nothing is sent yet.
    pub fn of(project: &Project) -> Self {
        Self { client: project.client() }
    }

    /// As [`RecordSource::export`], leaving its trail to the caller.
    pub(super) async fn pull(
        &self,
        request: &ExportRequest,
        sink: &mut dyn ByteSink,
        trail: &mut Trail,
    ) -> Result<(), Failure> {
        let path = project_path("v2", self.client.project_id(), "connections/desktops/export");
        let pairs = query::export_v2(request);
        let answer = self.client.ask(&Ask::get(&EXPORT, &path, &query::borrowed(&pairs)), trail).await?;
        receive(&self.client, answer, sink).await
    }
}

#[async_trait]
impl RecordSource for WorkspaceV2 {
    async fn export(
        &self,
        request: &ExportRequest,
        sink: &mut dyn ByteSink,
    ) -> Result<ExportReceipt, SourceError> {
        let mut trail = Trail::default();
        // The file is made while it is sent.
        let pulled = self.pull(request, sink, &mut trail).await.map(|()| None);
        trail.receipt(pulled, ExportApi::V2, self.client.now())
    }

    async fn count(&self, request: &ExportRequest) -> Result<u64, SourceError> {
        count::count(&self.client, request).await
    }

    async fn remains(&self, _request: &ExportRequest) -> Result<Remains, SourceError> {
        Ok(Remains { asked_at: None, may_answer: true })
    }
}

#[cfg(test)]
mod tests;
