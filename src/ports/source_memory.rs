//! What a source must not forget between two runs: the export tasks that it has asked for, and that its v2 export is gone.
//!
//! The intent to create a task is kept before the request, and the task's id before anything else is done with it. So each
//! task in the provider's export centre is known here, or an intent without an id shows that there may be one.

use async_trait::async_trait;
use jiff::Timestamp;

use super::ledger::LedgerError;
use crate::domain::export_task::{ExportTask, Pull, TaskId, TaskNumber, Wanted};
use crate::domain::name::SourceName;
use crate::domain::snapshot::Withdrawal;

/// What sources remember. Each call is one transaction.
#[async_trait]
pub trait SourceMemory: Send + Sync {
    /// A task for this very pull that stands and is wanted: the one that was asked for last.
    async fn standing(&self, pull: &Pull) -> Result<Option<Wanted>, LedgerError>;

    /// A task is about to be asked for.
    async fn ask(&self, pull: &Pull, now: Timestamp) -> Result<TaskNumber, LedgerError>;

    /// It was created, and this is its id.
    async fn created(&self, task: TaskNumber, id: &TaskId) -> Result<(), LedgerError>;

    /// Its file is wanted no more.
    async fn finished(&self, task: TaskNumber) -> Result<(), LedgerError>;

    /// As [`Self::finished`], for every task that stands for this pull.
    async fn discard(&self, pull: &Pull) -> Result<(), LedgerError>;

    /// It is not there (any more): nothing is owed to it.
    async fn gone(&self, task: TaskNumber) -> Result<(), LedgerError>;

    /// Every task that is remembered, oldest first.
    async fn tasks(&self) -> Result<Vec<ExportTask>, LedgerError>;

    /// The v2 export of the source is gone for good; says whether that is news.
    async fn withdrawn(&self, source: &SourceName, withdrawal: &Withdrawal) -> Result<bool, LedgerError>;

    /// The v2 export of the source is there after all; says whether that is news.
    async fn restored(&self, source: &SourceName) -> Result<bool, LedgerError>;

    /// Since when the v2 export of the source is gone.
    async fn withdrawal(&self, source: &SourceName) -> Result<Option<Withdrawal>, LedgerError>;
}
