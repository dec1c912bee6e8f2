//! Where connection records come from.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::domain::digest::Sha256;
use crate::domain::export::{Bounds, ExportApi, Filters};
use crate::domain::export_task::{ExportTask, TaskNumber};
use crate::domain::failure::{Failure, FailureKind};
use crate::domain::name::StreamName;
use crate::domain::text::ForeignText;
use crate::domain::window::Window;

/// What one export is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRequest {
    /// For which stream.
    pub stream: StreamName,
    /// For which of its windows.
    pub window: Window,
    /// Of what decides which records it holds: the project and the filters.
    pub definition: Sha256,
    /// Already widened by the margin.
    pub bounds: Bounds,
    /// Which records.
    pub filters: Filters,
    /// When the provider may begin to answer short. What was asked for before then can be had afterwards, and nothing in its
    /// place: it is not thrown away, whatever comes of it.
    pub expires_at: Timestamp,
}

/// What is known of an export once its last byte was handed to the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportReceipt {
    /// Which API answered.
    pub api: ExportApi,
    /// The provider's request ids, in the order of the requests.
    pub request_ids: Vec<ForeignText>,
    /// When it was made, at the latest, by this machine's clock: it holds what there was then.
    pub made_at: Timestamp,
    /// The time as of which it holds all records there were: of a file made while it is sent, the time at which the last byte
    /// arrived; of an export task, the time at which the task was asked for, however long its file waited.
    pub pulled_at: Timestamp,
}

/// Takes an export's bytes as they flow.
#[async_trait]
pub trait ByteSink: Send {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When this machine cannot keep them: a [`SinkFailure`] says whose failure that is, any other error is the machine's.
    async fn write(&mut self, bytes: Bytes) -> Result<(), std::io::Error>;
}

/// Why a [`ByteSink`] does not keep what comes, inside its [`std::io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct SinkFailure(pub Failure);

/// One Workspace project that records are pulled from.
#[async_trait]
pub trait RecordSource: Send + Sync {
    /// Pulls one export, handing its bytes to `sink` as they come, never holding it whole. One try: pauses and
    /// repetitions are the reconciler's.
    ///
    /// # Errors
    /// Typed by what is to be done; on an error the sink may hold a part of an export.
    async fn export(
        &self,
        request: &ExportRequest,
        sink: &mut dyn ByteSink,
    ) -> Result<ExportReceipt, SourceError>;

    /// How many records the provider itself counts between the same bounds, with the same filters.
    ///
    /// # Errors
    /// As [`Self::export`]; where the key is good and may not ask, [`FailureKind::Auth`] that says so
    /// ([`Failure::lacks_permission`]).
    async fn count(&self, request: &ExportRequest) -> Result<u64, SourceError>;

    /// What was made at the provider's for this export is of no use: the next one is to be made anew.
    ///
    /// # Errors
    /// When this machine could not remember it.
    async fn discard(&self, _request: &ExportRequest) -> Result<(), SourceError> {
        Ok(())
    }

    /// Clears away at the provider's what `tasks` say is wanted no more, or was lost; says what of it is left for later.
    ///
    /// # Errors
    /// As [`Self::export`], for what concerns the source; what is left is to be cleared away later.
    async fn tidy(&self, _tasks: &[ExportTask]) -> Result<Left, SourceError> {
        Ok(Left::default())
    }

    /// Sends a cheap request for the sake of its answer's `Date`, which goes to the source's
    /// [`AnswerWatch`](super::clock::AnswerWatch). Nothing is sent in a pause that the source asked for. Says why no answer
    /// came, where none did.
    async fn tell_time(&self) -> Option<Failure> {
        None
    }

    /// What it may still have of records that are older than it is bound to keep.
    ///
    /// # Errors
    /// When this machine could not remember it.
    async fn remains(&self, _request: &ExportRequest) -> Result<Remains, SourceError> {
        Ok(Remains::default())
    }
}

/// What a source may have of records that are older than it is bound to keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remains {
    /// When an export of them was asked for that still stands.
    pub asked_at: Option<Timestamp>,
    /// Whether it may answer, with all, some or none of them.
    pub may_answer: bool,
}

impl Remains {
    /// Whether what is asked for was asked for before its window expired.
    pub fn is_in_time(&self, request: &ExportRequest) -> bool {
        self.asked_at.is_some_and(|asked_at| asked_at < request.expires_at)
    }
}

/// What is left of the tasks that were to be cleared away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// How long it is until more can be done about a task, where that is known.
    pub later: BTreeMap<TaskNumber, Duration>,
    /// What was said last against one of them, and concerns no other.
    pub refused: Option<Failure>,
}

/// An export did not come. [`Failure`] says what is done about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct SourceError(pub Failure);

impl SourceError {
    /// What kind of failure it was.
    pub fn kind(&self) -> FailureKind {
        self.0.kind
    }
}
