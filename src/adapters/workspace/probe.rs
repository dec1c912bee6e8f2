//! Each operation on a source by itself, for `check`: what an export does in one go, an operator wants to see one by one.
//!
//! Nothing is remembered here: whoever creates a task deletes it.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::{Instant, sleep};

use super::body::receive;
use super::client::{Client, Project, Reached, Trail};
use super::count;
use super::export_centre::{ExportCentre, LIST_LAG, Progress};
use super::export_v2::WorkspaceV2;
use crate::domain::export_task::TaskId;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::ports::record_source::{ByteSink, ExportRequest, RecordSource};

/// How often a task is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A source, asked for one thing at a time.
pub struct SourceProbe {
    client: Arc<Client>,
    v2: WorkspaceV2,
    centre: ExportCentre,
}

impl SourceProbe {
    /// Of `project`. Nothing is sent yet.
    pub fn of(project: &Project) -> Self {
        let client = project.client();
        Self { v2: WorkspaceV2::of(project), centre: ExportCentre(Arc::clone(&client)), client }
    }

    /// Whether there is something to be let in with.
    ///
    /// # Errors
    /// When there is not.
    pub async fn credentials(&self) -> Result<(), Failure> {
        self.client.has_credentials().await
    }

    /// Counts records.
    ///
    /// # Errors
    /// As a source's count.
    pub async fn query(&self, request: &ExportRequest) -> Result<u64, Failure> {
        count::count(&self.client, request).await.map_err(|error| error.0)
    }

    /// Exports through v2.
    ///
    /// # Errors
    /// As a source's export.
    pub async fn export_v2(&self, request: &ExportRequest, sink: &mut dyn ByteSink) -> Result<(), Failure> {
        self.v2.export(request, sink).await.map(|_| ()).map_err(|error| error.0)
    }

    /// Lists tasks.
    ///
    /// # Errors
    /// When the list is not given.
    pub async fn list_tasks(&self) -> Result<(), Failure> {
        self.centre.created_since(self.client.now(), &mut Trail::default()).await.map(|_| ())
    }

    /// Creates a task.
    ///
    /// # Errors
    /// When it is not known to be created; the message says where it may have been all the same.
    pub async fn create_task(&self, request: &ExportRequest) -> Result<TaskId, Failure> {
        let mut trail = Trail::default();
        let pass = self.client.pass().await?;
        let created = match self.centre.create(&pass, request, &mut trail).await {
            Err(_) if trail.last.is_unauthorized() => {
                let pass = self.client.pass_after(&pass).await?;
                self.centre.create(&pass, request, &mut trail).await
            }
            created => created,
        };
        created.map_err(|mut failure| {
            if trail.last != Reached::Nobody && !trail.last.is_refusal() {
                failure.message +=
                    "; a task may have been made all the same, and stands in the export centre";
            }
            failure
        })
    }

    /// Waits for a task's file, for so long, and fetches it.
    ///
    /// # Errors
    /// When it does not come.
    pub async fn download(
        &self,
        task: &TaskId,
        patience: Duration,
        sink: &mut dyn ByteSink,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let mut listed = false;
        let failed = |why: String| Failure::new(FailureKind::Transient, Scope::Window, why);
        loop {
            match self.centre.progress(task, &mut Trail::default()).await? {
                Some(Progress::Ready(_)) => break,
                Some(Progress::Failed(why)) => return Err(failed(why)),
                None if listed || began.elapsed() > LIST_LAG => {
                    return Err(failed("the task is not in the list".to_owned()));
                }
                progress => listed |= progress.is_some(),
            }
            if began.elapsed() > patience {
                return Err(failed(format!("the task was not done within {patience:?}")));
            }
            sleep(LOOK_AGAIN).await;
        }
        let answer = self.centre.download(task, &mut Trail::default()).await?;
        receive(&self.client, answer, sink).await
    }

    /// Deletes a task.
    ///
    /// # Errors
    /// When it may still stand there.
    pub async fn delete_task(&self, task: &TaskId) -> Result<(), Failure> {
        self.centre.delete(std::slice::from_ref(task), &mut Trail::default()).await
    }

    /// By how much the source's clock was ahead of this machine's at its last answer; `None` before the first.
    pub fn clock_ahead(&self) -> Option<SignedDuration> {
        self.client.clock_ahead()
    }
}
