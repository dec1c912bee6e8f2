//! The ledger in one SQLite file.
//!
//! One connection writes, and begins each transaction `IMMEDIATE`: a transaction that reads first and writes later
//! would fail at once when somebody else wrote in between. A few others read, and see committed states only. WAL
//! keeps readers (`status`, `gaps`) and the writer out of each other's way, `synchronous = FULL` makes a commit
//! survive a power cut. Every public method is one transaction, so a crash leaves a state that some method left.

mod acknowledgements;
mod apply;
mod connection;
mod crashes;
mod holds;
mod leases;
mod notebook;
mod recorded;
mod rows;
mod run;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::SqlitePool;

use crate::domain::confirmed_time::Confirmation;
use crate::domain::digest::ContentDigest;
use crate::domain::failure::Failure;
use crate::domain::log_entry::{Definition, Head, SealedEntry};
use crate::domain::name::StreamName;
use crate::domain::object_key::Seq;
use crate::domain::snapshot::{
    AcknowledgeRequest, Fingerprint, Hold, Resource, Run, Snapshot, StreamState, WindowState,
};
use crate::domain::window::Window;
use crate::ports::ledger::{
    Attempt, AttemptOutcome, Disposition, Lease, LeaseOutcome, Ledger, LedgerError, NamedObject, Purpose,
};

/// The ledger of one state directory.
#[derive(Debug, Clone)]
pub struct SqliteLedger {
    /// Exactly one connection.
    writer: SqlitePool,
    readers: SqlitePool,
}

#[async_trait]
impl Ledger for SqliteLedger {
    async fn snapshot(&self) -> Result<Snapshot, LedgerError> {
        snapshot::snapshot(&self.readers).await
    }

    async fn stream(&self, stream: &StreamName) -> Result<Option<StreamState>, LedgerError> {
        snapshot::stream(&self.readers, stream).await
    }

    async fn apply(&self, stream: &StreamName, entries: &[SealedEntry]) -> Result<(), LedgerError> {
        let mut transaction = self.begin().await?;
        for entry in entries {
            apply::apply(&mut transaction, stream, entry).await?;
        }
        transaction.commit().await
    }

    async fn accept(
        &self,
        stream: &StreamName,
        definition: &Definition,
        entries: &[SealedEntry],
    ) -> Result<(), LedgerError> {
        let mut transaction = self.begin().await?;
        for entry in entries {
            apply::accept(&mut transaction, stream, definition, entry).await?;
        }
        transaction.commit().await
    }

    async fn pass_over(
        &self,
        stream: &StreamName,
        definition: &Definition,
        head: Head,
    ) -> Result<(), LedgerError> {
        let mut transaction = self.begin().await?;
        apply::pass_over(&mut transaction, stream, definition, head).await?;
        transaction.commit().await
    }

    async fn must_be_signed(&self, stream: &StreamName) -> Result<(), LedgerError> {
        let mut transaction = self.begin().await?;
        apply::sign(&mut transaction, stream).await?;
        transaction.commit().await
    }

    async fn rebuilt(
        &self,
        stream: &StreamName,
        as_of: Timestamp,
        fingerprint: &Fingerprint,
        late: &BTreeSet<Window>,
    ) -> Result<(), LedgerError> {
        let mut transaction = self.begin().await?;
        apply::rebuilt(&mut transaction, stream, as_of, fingerprint, late).await?;
        transaction.commit().await
    }

    async fn window(&self, stream: &StreamName, window: Window) -> Result<Option<WindowState>, LedgerError> {
        snapshot::window_state_of(&self.readers, stream, window).await
    }

    async fn named_objects(
        &self,
        stream: &StreamName,
        window: Window,
    ) -> Result<Vec<NamedObject>, LedgerError> {
        snapshot::named_objects(&self.readers, stream, window).await
    }

    async fn same_content(
        &self,
        stream: &StreamName,
        window: Window,
        digest: ContentDigest,
    ) -> Result<Vec<(Window, Seq)>, LedgerError> {
        snapshot::same_content(&self.readers, stream, window, digest).await
    }

    async fn lease(
        &self,
        stream: &StreamName,
        window: Window,
        purpose: Purpose,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<LeaseOutcome, LedgerError> {
        let mut transaction = self.begin().await?;
        let outcome = leases::lease(&mut transaction, (stream, window), purpose, holder, now, until).await?;
        transaction.commit().await?;
        Ok(outcome)
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<(), LedgerError> {
        let mut transaction = self.begin().await?;
        leases::renew(&mut transaction, lease, until).await?;
        transaction.commit().await
    }

    async fn commit(
        &self,
        lease: &Lease,
        entry: &SealedEntry,
        outcome: AttemptOutcome,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let mut transaction = self.begin().await?;
        leases::give_back(&mut transaction, lease, outcome).await?;
        apply::apply(&mut transaction, &lease.stream, entry).await?;
        leases::end_attempt(&mut transaction, lease, outcome, None, now).await?;
        transaction.commit().await
    }

    async fn release(
        &self,
        lease: &Lease,
        outcome: AttemptOutcome,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let mut transaction = self.begin().await?;
        leases::give_back(&mut transaction, lease, outcome).await?;
        leases::end_attempt(&mut transaction, lease, outcome, None, now).await?;
        transaction.commit().await
    }

    async fn revisited(
        &self,
        lease: &Lease,
        pulled_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let mut transaction = self.begin().await?;
        leases::give_back(&mut transaction, lease, AttemptOutcome::Unchanged).await?;
        leases::pulled_again(&mut transaction, lease, pulled_at).await?;
        leases::end_attempt(&mut transaction, lease, AttemptOutcome::Unchanged, None, now).await?;
        transaction.commit().await
    }

    async fn fail(
        &self,
        lease: &Lease,
        failure: &Failure,
        disposition: &Disposition,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let mut transaction = self.begin().await?;
        leases::give_back(&mut transaction, lease, AttemptOutcome::Failed).await?;
        leases::dispose(&mut transaction, lease, failure, disposition, now).await?;
        let failed = Some((failure, disposition));
        leases::end_attempt(&mut transaction, lease, AttemptOutcome::Failed, failed, now).await?;
        transaction.commit().await
    }

    async fn void_leases(&self) -> Result<u64, LedgerError> {
        let mut transaction = self.begin().await?;
        let voided = crashes::void(&mut transaction).await?;
        transaction.commit().await?;
        Ok(voided)
    }

    async fn give_notice(&self) -> Result<(), LedgerError> {
        let mut transaction = self.begin().await?;
        crashes::give_notice(&mut transaction).await?;
        transaction.commit().await
    }

    async fn park(
        &self,
        stream: &StreamName,
        window: Window,
        failure: &Failure,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let mut transaction = self.begin().await?;
        crashes::park(&mut transaction, (stream, window), failure, now).await?;
        transaction.commit().await
    }

    async fn forget_attempts(&self, before: Timestamp) -> Result<u64, LedgerError> {
        let mut transaction = self.begin().await?;
        let forgotten = leases::forget_attempts(&mut transaction, before).await?;
        transaction.commit().await?;
        Ok(forgotten)
    }

    async fn check(&self) -> Result<(), LedgerError> {
        connection::check(&self.readers).await
    }

    async fn hold(&self, resource: &Resource, hold: &Hold) -> Result<(), LedgerError> {
        let mut transaction = self.begin().await?;
        holds::put(&mut transaction, resource, hold).await?;
        transaction.commit().await
    }

    async fn lift(&self, resource: &Resource, until: Timestamp) -> Result<bool, LedgerError> {
        let mut transaction = self.begin().await?;
        let lifted = holds::remove(&mut transaction, resource, until).await?;
        transaction.commit().await?;
        Ok(lifted)
    }

    async fn record_fingerprints(
        &self,
        fingerprints: &BTreeMap<Resource, Fingerprint>,
    ) -> Result<(), LedgerError> {
        let mut transaction = self.begin().await?;
        for (resource, fingerprint) in fingerprints {
            recorded::put_fingerprint(&mut transaction, resource, fingerprint).await?;
        }
        transaction.commit().await
    }

    async fn confirm(&self, confirmed: &Confirmation) -> Result<(), LedgerError> {
        let mut transaction = self.begin().await?;
        holds::confirm(&mut transaction, confirmed).await?;
        transaction.commit().await
    }

    async fn note_run(&self, run: &Run) -> Result<(), LedgerError> {
        let mut transaction = self.begin().await?;
        run::put(&mut transaction, run).await?;
        transaction.commit().await
    }

    async fn retry(&self, stream: Option<&StreamName>, window: Option<Window>) -> Result<u64, LedgerError> {
        let mut transaction = self.begin().await?;
        let windows = leases::retry(&mut transaction, stream, window).await?;
        transaction.commit().await?;
        Ok(windows)
    }

    async fn ask_to_acknowledge(
        &self,
        stream: &StreamName,
        requests: &[(Window, AcknowledgeRequest)],
    ) -> Result<(), LedgerError> {
        let mut transaction = self.begin().await?;
        for (window, request) in requests {
            acknowledgements::ask(&mut transaction, stream, *window, request).await?;
        }
        transaction.commit().await
    }

    async fn acknowledgements_asked_for(&self) -> Result<u64, LedgerError> {
        acknowledgements::asked_for(&self.readers).await
    }

    async fn attempts(&self, stream: &StreamName, window: Window) -> Result<Vec<Attempt>, LedgerError> {
        snapshot::attempts(&self.readers, stream, window).await
    }
}
