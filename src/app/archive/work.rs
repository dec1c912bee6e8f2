//! One task with one window, from its beginning to what is recorded of its outcome.

use std::time::Duration;

use super::{Attempt, Job};
use crate::app::observer::Ending;
use crate::domain::duration::spelled_std;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::planner::Task;
use crate::domain::verdict::DueReason;
use crate::ports::checkpoint::Step;
use crate::ports::ledger::Purpose;

/// A peer that sends a byte now and then could keep an attempt going for ever.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(12 * 60 * 60);

impl Job<'_> {
    /// Does `task` with the window: one attempt, recorded in the ledger with what follows from it.
    pub(in crate::app) async fn work(self, task: Task) -> Ending {
        // The plan may be old by now: after its expiry the source may answer short, and nobody would notice.
        let expired = self.stream.rules.expires_at(self.window) <= self.services.clock.now();
        let (task, purpose) = match task {
            Task::Archive { reason: DueReason::Asked } => (task, Purpose::Settle),
            Task::Archive { .. } if expired => (Task::AttestLost, Purpose::Settle),
            Task::Archive { .. } | Task::AttestLost | Task::AskPastHorizon => (task, Purpose::Settle),
            Task::Revisit { .. } if expired => return Ending::AlreadyArchived,
            Task::Revisit { .. } => (task, Purpose::Revisit),
            Task::AttestParked => return self.attest_parked().await,
            Task::Acknowledge => return self.acknowledge().await,
        };
        match self.attempt(purpose).await {
            Ok(Ok(attempt)) => attempt.run(task).await,
            Ok(Err(ending)) => ending,
            Err(failure) => Ending::Failed(failure),
        }
    }
}

impl Attempt<'_> {
    async fn run(self, task: Task) -> Ending {
        let services = self.job.services;
        services.checkpoint.reached(Step::Leased);
        let work = async {
            match task {
                Task::Archive { .. } => self.archive().await,
                Task::Revisit { .. } => self.revisit().await,
                Task::AttestLost | Task::AskPastHorizon | Task::AttestParked | Task::Acknowledge => {
                    self.attest_lost().await
                }
            }
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            () = tokio::time::sleep(LONGEST_ATTEMPT) => Err(self.too_long()),
            failure = self.keep_lease() => Err(failure),
            () = services.abandon.cancelled() => return self.interrupted().await,
        };
        match outcome {
            Ok(ending) => ending,
            Err(_) if services.abandon.is_cancelled() => self.interrupted().await,
            Err(failure) => self.failed(failure).await,
        }
    }

    fn too_long(&self) -> Failure {
        let longest = spelled_std(LONGEST_ATTEMPT);
        let message = format!("{}: broken off after {longest}", self.job);
        Failure::new(FailureKind::Transient, Scope::Window, message)
    }
}
