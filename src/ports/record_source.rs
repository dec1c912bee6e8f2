//! Where connection records come from.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::domain::digest::Sha256;
use crate::domain::export::{Bounds, ExportApi, Filters};
use crate::domain::failure::{Failure, FailureKind};
use crate::domain::name::StreamName;
use crate::domain::text::{ForeignText, Line};
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
    /// When the window was exported before, where it was: an export that was asked for by then is that one.
    pub after: Option<Timestamp>,
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

    /// Does what the provider needs done between exports, for instance deletes what exports have left there. `demand` says which
    /// exports the work still needs. Runs beside the windows, once at a time for each source.
    ///
    /// # Errors
    /// As [`Self::export`], for failures that concern the whole source; the rest is done later.
    async fn upkeep(&self, _demand: &dyn Demand) -> Result<Upkeep, SourceError> {
        Ok(Upkeep::default())
    }

    /// What an operator should know at the end of a run, each in one phrase; for instance what the upkeep could not do yet.
    ///
    /// # Errors
    /// When this machine cannot say.
    async fn notices(&self, _demand: &dyn Demand) -> Result<Vec<Line>, SourceError> {
        Ok(Vec::new())
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

/// Says of an export that was asked for earlier whether the work still needs it.
pub trait Demand: Send + Sync {
    /// Whether an export for the window is needed now.
    fn of(&self, stream: &StreamName, window: Window) -> Need;
}

/// Whether the work still needs an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The window is in work: the export may be in use at this moment.
    InWork,
    /// The window is not archived yet: the export will be used.
    Open,
    /// The window is archived, lost or of no stream of this source: the export is of no more use.
    Settled,
}

/// What came of a source's upkeep.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Whether the source was asked for anything, and has answered.
    pub answered: bool,
    /// How long it is until more can be done; `None` where nothing is left to be done.
    pub next: Option<Duration>,
    /// What was said last against one piece of the upkeep, and concerns no other.
    pub refused: Option<Failure>,
}

/// An export did not come. [`Failure`] says what is done about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct SourceError(pub Failure);

impl From<SourceError> for Failure {
    fn from(SourceError(failure): SourceError) -> Self {
        failure
    }
}

impl SourceError {
    /// What kind of failure it was.
    pub fn kind(&self) -> FailureKind {
        self.0.kind
    }
}
