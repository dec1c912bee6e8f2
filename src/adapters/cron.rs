//! The schedule: wakes somebody at the times of a cron expression. A hint, nothing more.
//!
//! What tokio-cron-scheduler does not promise does not matter here: ticks may be late, doubled or missed, and a stopped
//! scheduler may tick once more. The cron runs in UTC, because the scheduler freezes a zone's offset when a job is made.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// A running schedule.
pub struct Cron {
    scheduler: JobScheduler,
}

impl Cron {
    /// Wakes `wake` at the times of `schedule` (cron with seconds, UTC).
    ///
    /// # Errors
    /// When the scheduler does not take the expression.
    pub async fn start(schedule: &str, wake: Arc<Notify>) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        let job = Job::new(schedule, move |_, _| wake.notify_one())?;
        scheduler.add(job).await?;
        scheduler.start().await?;
        Ok(Self { scheduler })
    }

    /// Ends it.
    pub async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::debug!(%error, "scheduler not shut down");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_schedule_wakes() {
        let wake = Arc::new(Notify::new());
        let cron = Cron::start("* * * * * *", Arc::clone(&wake)).await.unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(20), wake.notified()).await.unwrap();
        cron.stop().await;
    }

    #[tokio::test]
    async fn nonsense_is_no_schedule() {
        assert!(Cron::start("every day", Arc::new(Notify::new())).await.is_err());
    }
}
