//! What a source must not forget between two runs: the export tasks that it has asked for, what their files are called,
//! and that its v2 export is gone.
//!
//! A wish for a task is kept before the task is asked for, and its id before anything else is done with it. So a task that
//! stands in the provider's export centre is known here, or a wish without an id shows that there may be one.

use async_trait::async_trait;
use jiff::Timestamp;

use super::ledger::LedgerError;
use crate::domain::export_task::{ExportTask, NameShape, Pull, TaskId, TaskNumber, Wanted};
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

    /// Its id was never learnt, and nobody waits for it any more.
    async fn lost(&self, task: TaskNumber, now: Timestamp) -> Result<(), LedgerError>;

    /// Its file is wanted no more.
    async fn finished(&self, task: TaskNumber) -> Result<(), LedgerError>;

    /// As [`Self::finished`], for every task that stands for this pull.
    async fn discard(&self, pull: &Pull) -> Result<(), LedgerError>;

    /// It is not there (any more): nothing is owed to it.
    async fn gone(&self, task: TaskNumber) -> Result<(), LedgerError>;

    /// Every task that is remembered, oldest first.
    async fn tasks(&self) -> Result<Vec<ExportTask>, LedgerError>;

    /// A task of ours has a file that is called so.
    async fn called(&self, source: &SourceName, name: &NameShape) -> Result<(), LedgerError>;

    /// What files of our tasks are called.
    async fn names(&self, source: &SourceName) -> Result<Vec<NameShape>, LedgerError>;

    /// The v2 export of the source is gone for good; says whether that is news.
    async fn withdrawn(&self, source: &SourceName, withdrawal: &Withdrawal) -> Result<bool, LedgerError>;

    /// The v2 export of the source is there after all; says whether that is news.
    async fn restored(&self, source: &SourceName) -> Result<bool, LedgerError>;

    /// Since when the v2 export of the source is gone.
    async fn withdrawal(&self, source: &SourceName) -> Result<Option<Withdrawal>, LedgerError>;
}
