//! A try at a window, under a lease: taken, kept while the work goes on, and given back with the outcome.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Job;
use crate::app::failure_policy::consequence;
use crate::app::observer::Ending;
use crate::domain::failure::{Failure, FailureKind};
use crate::ports::checkpoint::Step;
use crate::ports::ledger::{AttemptOutcome, Lease, LeaseOutcome, Purpose};

/// How long a lease lasts when nobody renews it: only a process that died lets it run out.
const LEASE: SignedDuration = SignedDuration::from_mins(30);
/// How often a lease is renewed.
const RENEWAL: Duration = Duration::from_secs(10 * 60);

/// A job, under the lease that keeps everybody else from it.
pub(in crate::app) struct Attempt<'a> {
    pub(super) job: Job<'a>,
    pub(super) lease: Lease,
}

impl<'a> Job<'a> {
    /// Takes the lease; the inner error says what became of the window where somebody else has it, or nothing is left to be done.
    ///
    /// # Errors
    /// When the ledger fails.
    pub(super) async fn attempt(self, purpose: Purpose) -> Result<Result<Attempt<'a>, Ending>, Failure> {
        let Self { services, window, .. } = self;
        let now = services.clock.now();
        let (holder, end) = (&services.holder, lease_end(now));
        let outcome = services.ledger.lease(self.name(), window, purpose, holder, now, end).await;
        Ok(match outcome? {
            LeaseOutcome::Leased(lease) => Ok(Attempt { job: self, lease }),
            LeaseOutcome::HeldElsewhere { .. } => Err(Ending::HeldElsewhere),
            LeaseOutcome::Settled => Err(Ending::AlreadyArchived),
        })
    }
}

impl Attempt<'_> {
    /// Renews the lease now and then; ends only when that fails.
    pub(super) async fn keep_lease(&self) -> Failure {
        loop {
            tokio::time::sleep(RENEWAL).await;
            if let Err(failure) = self.renew_lease().await {
                return failure;
            }
        }
    }

    /// Makes sure that nobody else has taken the window over meanwhile.
    ///
    /// # Errors
    /// When somebody has, or the ledger fails.
    pub(super) async fn renew_lease(&self) -> Result<(), Failure> {
        let Job { services, .. } = self.job;
        services.ledger.renew(&self.lease, lease_end(services.clock.now())).await.map_err(Failure::from)
    }

    /// Gives the lease back with the outcome.
    ///
    /// # Errors
    /// When the ledger fails.
    pub(super) async fn release(&self, outcome: AttemptOutcome) -> Result<(), Failure> {
        let Job { services, .. } = self.job;
        services.ledger.release(&self.lease, outcome, services.clock.now()).await.map_err(Failure::from)
    }

    /// Somebody else archived the window meanwhile: what was exported is of no use.
    pub(super) async fn archived_elsewhere(&self) -> Result<Ending, Failure> {
        self.clear_spool().await;
        self.release(AttemptOutcome::AlreadyArchived).await?;
        Ok(Ending::AlreadyArchived)
    }

    /// What is left in the spool in spite of this is swept at the next start: the window is archived, come what may.
    pub(super) async fn clear_spool(&self) {
        let Job { services, window, .. } = self.job;
        match services.spool.remove(self.job.name(), window).await {
            Ok(()) => services.checkpoint.reached(Step::SpoolCleared),
            Err(error) => {
                tracing::warn!(stream = %self.job.name(), %window, %error, "spool not cleared");
            }
        }
    }

    pub(super) async fn interrupted(&self) -> Ending {
        if let Err(failure) = self.release(AttemptOutcome::Interrupted).await {
            self.job.services.owed.add(&self.lease);
            let error = failure.message;
            tracing::debug!(stream = %self.job.name(), window = %self.job.window, %error, "lease not given back");
        }
        Ending::Interrupted
    }

    /// Records the failure and what follows from it.
    pub(super) async fn failed(&self, failure: Failure) -> Ending {
        match self.record(&failure).await {
            Ok(()) => Ending::Failed(failure),
            // The ledger itself fails: that is the worse news, and the caller's hold.
            Err(worse) => {
                self.job.services.owed.add(&self.lease);
                Ending::Failed(if failure.kind == FailureKind::Local { failure } else { worse })
            }
        }
    }

    async fn record(&self, failure: &Failure) -> Result<(), Failure> {
        let Job { services, stream, window } = self.job;
        let now = services.clock.now();
        let snapshot = services.ledger.snapshot().await?;
        let exported_at = services.exports.last(&stream.rules.source);
        let follows = consequence((&stream.rules, exported_at), window, failure, &snapshot, now);
        if let Some((resource, hold)) = &follows.hold {
            services.ledger.hold(resource, hold).await?;
        }
        services.ledger.fail(&self.lease, failure, &follows.disposition, now).await.map_err(Failure::from)
    }
}

fn lease_end(now: Timestamp) -> Timestamp {
    now.saturating_add(LEASE).unwrap_or(Timestamp::MAX)
}
