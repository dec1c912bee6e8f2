//! Each operation on a source by itself, for `check`: what an export does in one go, an operator wants to see one by one.
//!
//! Nothing is remembered here: whoever creates a task deletes it.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use reqwest::StatusCode;
use tokio::time::{Instant, sleep};

use super::body::receive;
use super::client::{Client, Project};
use super::count::{self, QUERY};
use super::errors::{Operation, Subject};
use super::export_centre::{CREATE, DELETE, DOWNLOAD, ExportCentre, LIST, Progress};
use super::export_v2::{EXPORT, WorkspaceV2};
use super::trail::{Reached, Trail};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::text::Line;
use crate::ports::notebook::OrderId;
use crate::ports::record_source::{ByteSink, ExportRequest};

pub use super::skew::{INTOLERABLE, NOTABLE};

/// How often a task is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Why an operation did not come about, as far as it decides what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The clocks are so far apart that nothing is let in.
    Clock,
    /// There was nothing to be let in with, or it was refused, whatever it was for.
    Credentials,
    /// It was let in, and may not do this: the permission that lacks, where the provider's documentation names one.
    Permission(Option<&'static str>),
    /// The provider made no file of a task, or does not give it.
    Task,
    /// A task's file was still being made when it was waited for no longer.
    Unfinished,
    /// The provider itself answered that it is out of order.
    Provider,
    /// No other than the failure's kind.
    Kind,
}

/// An operation did not come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeError {
    /// What became of it.
    pub failure: Failure,
    /// Why.
    pub cause: Cause,
}

impl From<Failure> for ProbeError {
    /// Of what is no refusal.
    fn from(failure: Failure) -> Self {
        let cause = if failure.kind == FailureKind::Auth { Cause::Credentials } else { Cause::Kind };
        Self { failure, cause }
    }
}

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
    /// When there is not ([`Cause::Credentials`]), or whoever gives it does not answer.
    pub async fn credentials(&self) -> Result<(), ProbeError> {
        Ok(self.client.has_credentials().await?)
    }

    /// Counts records.
    ///
    /// # Errors
    /// As a source's count.
    pub async fn query(&self, request: &ExportRequest) -> Result<u64, ProbeError> {
        self.tried(&QUERY, async |trail| count::ask(&self.client, request, trail).await).await
    }

    /// Exports through v2.
    ///
    /// # Errors
    /// As a source's export.
    pub async fn export_v2(
        &self,
        request: &ExportRequest,
        sink: &mut dyn ByteSink,
    ) -> Result<(), ProbeError> {
        self.tried(&EXPORT, async |trail| self.v2.pull(request, sink, trail).await).await
    }

    /// Lists tasks.
    ///
    /// # Errors
    /// When the list is not given.
    pub async fn list_tasks(&self) -> Result<(), ProbeError> {
        self.tried(&LIST, async |trail| self.centre.first(trail).await).await
    }

    /// Creates a task.
    ///
    /// # Errors
    /// When it is not known to be created; the message says where it may have been all the same.
    pub async fn create_task(&self, request: &ExportRequest) -> Result<OrderId, ProbeError> {
        let create = async |trail: &mut Trail| {
            let pass = self.client.pass().await?;
            let created = self.centre.create(&pass, request, trail).await;
            match self.client.pass_after(&pass, trail).await? {
                Some(pass) => self.centre.create(&pass, request, trail).await,
                None => created,
            }
        };
        let created = async |trail: &mut Trail| {
            create(trail).await.map_err(|mut failure| {
                if trail.last != Reached::Nobody && !trail.last.is_refusal() {
                    failure.message +=
                        "; a task may have been made all the same, and stands in the export centre";
                }
                failure
            })
        };
        self.tried(&CREATE, created).await
    }

    /// Waits for a task's file, for so long, and fetches it.
    ///
    /// # Errors
    /// When it does not come.
    pub async fn download(
        &self,
        task: &OrderId,
        patience: Duration,
        sink: &mut dyn ByteSink,
    ) -> Result<(), ProbeError> {
        let began = Instant::now();
        let mut listed = false;
        let ended = |cause, why: Line| {
            Err(ProbeError { failure: Failure::new(FailureKind::Transient, Scope::Window, why), cause })
        };
        loop {
            match self.tried(&LIST, async |trail| self.centre.progress(task, trail).await).await? {
                Some(Progress::Ready { .. }) => break,
                Some(Progress::Failed(why)) => return ended(Cause::Task, why),
                Some(Progress::Unknown(status)) if began.elapsed() > patience / 4 => {
                    let why = format!("the task has a status that this version does not know: \"{status}\"");
                    return ended(Cause::Unfinished, why.into());
                }
                None if listed => return ended(Cause::Task, "the task is not in the list any more".into()),
                progress => listed |= progress.is_some(),
            }
            if began.elapsed() > patience {
                return ended(Cause::Unfinished, format!("the task was not done within {patience:?}").into());
            }
            sleep(LOOK_AGAIN).await;
        }
        let fetch = async |trail: &mut Trail| {
            let answer = self.centre.download(task, trail).await?;
            receive(&self.client, answer, sink).await
        };
        self.tried(&DOWNLOAD, fetch).await
    }

    /// Deletes a task.
    ///
    /// # Errors
    /// When it may still stand there.
    pub async fn delete_task(&self, task: &OrderId) -> Result<(), ProbeError> {
        self.tried(&DELETE, async |trail| self.centre.delete(std::slice::from_ref(task), trail).await).await
    }

    /// By how much the source's clock was ahead of this machine's at its last answer; `None` before the first.
    pub fn clock_ahead(&self) -> Option<SignedDuration> {
        self.client.clock_ahead()
    }

    /// Does `work`, which asks for `operation`, and finds out why where it fails.
    async fn tried<T>(
        &self,
        operation: &Operation,
        work: impl AsyncFnOnce(&mut Trail) -> Result<T, Failure>,
    ) -> Result<T, ProbeError> {
        let mut trail = Trail::default();
        let done = work(&mut trail).await;
        done.map_err(|failure| {
            let cause = self.cause(&failure, trail.last, operation);
            ProbeError { failure: trail.blame(failure).0, cause }
        })
    }

    fn cause(&self, failure: &Failure, last: Reached, operation: &Operation) -> Cause {
        let is_off = || self.clock_ahead().is_some_and(|ahead| ahead.abs() > INTOLERABLE);
        match (failure.kind, last) {
            (FailureKind::Auth, _) if is_off() => Cause::Clock,
            (FailureKind::Auth, Reached::Answer(StatusCode::FORBIDDEN)) => {
                Cause::Permission(operation.permission)
            }
            (FailureKind::Auth, _) => Cause::Credentials,
            (FailureKind::Corrupt, last) if operation.subject == Subject::Task && last.is_refusal() => {
                Cause::Task
            }
            (FailureKind::Transient, Reached::Answer(status)) if status.is_server_error() => Cause::Provider,
            _ => Cause::Kind,
        }
    }
}
