//! The v2 export: `GET /v2/{project_id}/connections/desktops/export`, answered with the file itself.
//!
//! A 200 is streamed to the sink as it comes, whatever its content type says; whether it is an export is found out
//! by looking into it, later. What is decided here is whether all of it arrived. A body that is shorter than its
//! `Content-Length`, ends inside a chunk, or ends without TLS's own goodbye is an error, never a short export: the
//! receipt is made only after the last byte was handed on, so no receipt means no export.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::Response;
use tokio::time::timeout;

use super::client::{Client, project_path};
use super::count;
use super::credentials::Credentials;
use super::errors::{Operation, broken_off};
use super::query;
use crate::adapters::remote_text::cause;
use crate::domain::export::ExportApi;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::ports::clock::Clock;
use crate::ports::record_source::{ByteSink, ExportReceipt, ExportRequest, RecordSource, SourceError};

pub use super::client::{SettingsError, Timeouts, WorkspaceSettings};

const EXPORT: Operation = Operation { name: "v2 export", permission: "workspace:connections:securityExport" };

/// A Workspace project, asked through the v2 export.
pub struct WorkspaceV2 {
    client: Client,
    max_body: u64,
}

impl WorkspaceV2 {
    /// The project that `settings` name. Nothing is sent yet.
    ///
    /// # Errors
    /// When the settings cannot work.
    pub fn new(
        settings: &WorkspaceSettings,
        credentials: Arc<dyn Credentials>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SettingsError> {
        Ok(Self { client: Client::new(settings, credentials, clock)?, max_body: settings.max_body })
    }

    async fn pull(
        &self,
        request: &ExportRequest,
        sink: &mut dyn ByteSink,
        ids: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let path = project_path("v2", self.client.project_id(), "connections/desktops/export");
        let pairs = query::export_v2(request);
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = self.client.get(&EXPORT, &path, &pairs, ids).await?;
        self.receive(answer, sink).await
    }

    async fn receive(&self, mut answer: Response, sink: &mut dyn ByteSink) -> Result<(), Failure> {
        let host = self.client.host();
        let announced = answer.content_length();
        if announced.is_some_and(|bytes| bytes > self.max_body) {
            return Err(self.too_large());
        }
        let stall = self.client.timeouts().stall;
        let mut received = 0u64;
        loop {
            let piece = match timeout(stall, answer.chunk()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => break,
                Ok(Err(error)) => return Err(broken_off(host, received, &cause(&error))),
                Err(_) => return Err(broken_off(host, received, &format!("nothing came for {stall:?}"))),
            };
            received += piece.len() as u64;
            if received > self.max_body {
                return Err(self.too_large());
            }
            sink.write(piece).await.map_err(|error| not_kept(&error))?;
        }
        match announced {
            Some(bytes) if bytes != received => {
                Err(broken_off(host, received, &format!("{bytes} bytes were announced")))
            }
            _ => Ok(()),
        }
    }

    fn too_large(&self) -> Failure {
        let message = format!(
            "the export is larger than max_body ({} bytes); give the stream a shorter window, or raise max_body",
            self.max_body
        );
        Failure::new(FailureKind::Rejected, Scope::Window, message)
    }
}

/// The sink's own words say what and where.
fn not_kept(error: &io::Error) -> Failure {
    Failure::new(FailureKind::Local, Scope::Daemon, format!("an export cannot be kept: {error}"))
}

#[async_trait]
impl RecordSource for WorkspaceV2 {
    async fn export(
        &self,
        request: &ExportRequest,
        sink: &mut dyn ByteSink,
    ) -> Result<ExportReceipt, SourceError> {
        let mut request_ids = Vec::new();
        match self.pull(request, sink, &mut request_ids).await {
            Ok(()) => Ok(ExportReceipt { api: ExportApi::V2, request_ids, pulled_at: self.client.now() }),
            Err(failure) => Err(SourceError(Failure { request_ids, ..failure })),
        }
    }

    async fn count(&self, request: &ExportRequest) -> Result<u64, SourceError> {
        let mut request_ids = Vec::new();
        let counted = count::count(&self.client, request, &mut request_ids).await;
        counted.map_err(|failure| SourceError(Failure { request_ids, ..failure }))
    }
}

#[cfg(test)]
mod tests;
