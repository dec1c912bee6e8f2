//! Deletes finished export tasks at the provider.
//!
//! A task is forgotten here only after its deletion. A task that cannot be deleted now is left for later, and delays no other.
//!
//! Only tasks whose ids the provider gave to us are deleted. A request whose answer was lost may have made a task: that task is
//! told once, with its time, and expires at the provider. Nothing in a list proves whose task it is.

use std::time::Duration;

use super::export_centre::MOST_DELETED;
use super::export_v3::{WorkspaceV3, not_remembered};
use super::trail::{Reached, Trail};
use crate::domain::export_task::{ExportTask, TaskId, TaskState};
use crate::domain::failure::{Failure, FailureKind};
use crate::ports::checkpoint::Step;
use crate::ports::record_source::{Left, SourceError};

/// A task that cannot be deleted is left for as long as it is old: so long at least …
const LEAST_PAUSE: Duration = Duration::from_secs(30);
/// … and at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

impl WorkspaceV3 {
    /// Deletes the finished ones of `tasks`, and forgets those whose ids never came. Each is done as far as possible, whatever
    /// becomes of the others.
    pub(super) async fn clear_away(&self, tasks: &[ExportTask]) -> Result<Left, SourceError> {
        let (mut left, mut trail) = (Left::default(), Trail::default());
        for task in tasks.iter().filter(|task| task.state == TaskState::Asked) {
            self.forget_unknown(task).await.map_err(SourceError)?;
        }
        if let Err(failure) = self.delete_finished(tasks, &mut left, &mut trail).await {
            return Err(trail.blame(failure));
        }
        left.refused = left.refused.map(|failure| trail.blame(failure).0);
        Ok(left)
    }

    async fn delete_finished(
        &self,
        tasks: &[ExportTask],
        left: &mut Left,
        trail: &mut Trail,
    ) -> Result<(), Failure> {
        let finished: Vec<_> = tasks
            .iter()
            .filter_map(|task| match &task.state {
                TaskState::Finished(id) => Some((task, id.clone())),
                _ => None,
            })
            .collect();
        for finished in finished.chunks(MOST_DELETED) {
            let ids: Vec<_> = finished.iter().map(|(_, id)| id.clone()).collect();
            match self.centre.delete(&ids, trail).await {
                Ok(()) => {
                    self.parts.checkpoint.reached(Step::TaskDeleted);
                    for (task, _) in finished {
                        self.forget(task).await?;
                    }
                }
                // One that is not there, or is still being made, is refused with all the others.
                Err(failure) if is_of_task(&failure, trail.last) => {
                    for (task, id) in finished {
                        let deleted = self.delete_one(task, id, trail).await;
                        self.leave(task, deleted, left, trail)?;
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    async fn delete_one(&self, task: &ExportTask, id: &TaskId, trail: &mut Trail) -> Result<(), Failure> {
        // A task that no list shows is gone: it was deleted, or it expired.
        if self.centre.progress(id, trail).await?.is_some() {
            self.centre.delete(std::slice::from_ref(id), trail).await?;
            self.parts.checkpoint.reached(Step::TaskDeleted);
        }
        self.forget(task).await
    }

    /// Leaves a task for later that was refused; whatever else was said says it of the others as well.
    fn leave(
        &self,
        task: &ExportTask,
        outcome: Result<(), Failure>,
        left: &mut Left,
        trail: &Trail,
    ) -> Result<(), Failure> {
        match outcome {
            Err(failure) if is_of_task(&failure, trail.last) => {
                left.later.insert(task.number, self.pause(task));
                left.refused = Some(failure);
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Tells of a task that may stand at the provider under an id that never came, and forgets the intent to create it.
    pub(super) async fn forget_unknown(&self, task: &ExportTask) -> Result<(), Failure> {
        let ExportTask { pull, asked_at, .. } = task;
        tracing::warn!(
            source = %self.parts.source, stream = %pull.stream, window = %pull.window, %asked_at,
            "the answer to a request for an export task was lost: if the provider made the task, it stands in the export centre \
             until it expires"
        );
        self.forget(task).await
    }

    pub(super) async fn forget(&self, task: &ExportTask) -> Result<(), Failure> {
        self.parts.memory.gone(task.number).await.map_err(not_remembered)
    }

    /// How long a task is left that cannot be deleted now.
    fn pause(&self, task: &ExportTask) -> Duration {
        self.age(task).clamp(LEAST_PAUSE, LONGEST_PAUSE)
    }

    /// How long ago a task was asked for: no time at all where a clock that was ahead has dated it.
    fn age(&self, task: &ExportTask) -> Duration {
        Duration::try_from(self.client.now().duration_since(task.asked_at)).unwrap_or_default()
    }
}

/// Whether a task was refused for itself, and not as whatever else would be.
fn is_of_task(failure: &Failure, last: Reached) -> bool {
    let is_shared = matches!(failure.kind, FailureKind::Auth | FailureKind::Throttled | FailureKind::Local);
    last.is_refusal() && !is_shared && failure.retry_after.is_none()
}
