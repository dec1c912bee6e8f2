//! Upkeep of the export centre: finished export tasks are deleted at the provider.
//!
//! A task is wanted while its window is open, or while somebody works on the window. Any other task is finished: so it is after a
//! commit, after a crash at whatever step, and after a revisit. The ledger is told before the deletion. A window that begins
//! meanwhile is a revisit, which takes no task of an earlier export (see `export_v3`).
//!
//! A task is forgotten here only after its deletion. A task that cannot be deleted now is left for later, and delays no other.
//!
//! Only tasks whose ids the provider gave to us are deleted. A request whose answer was lost may have made a task: that task is
//! told once, with its time, and expires at the provider. Nothing in a list proves whose task it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::export_centre::MOST_DELETED;
use super::export_v3::{WorkspaceV3, not_remembered};
use super::trail::{Reached, Trail};
use crate::domain::failure::{Failure, FailureKind};
use crate::domain::name::SourceName;
use crate::domain::text::Line;
use crate::ports::checkpoint::Step;
use crate::ports::ledger::LedgerError;
use crate::ports::notebook::Notebook;
use crate::ports::notebook::{Order, OrderId, OrderState};
use crate::ports::record_source::{Demand, Need, SourceError, Upkeep};

/// A task that cannot be deleted is left for as long as it is old, and for no shorter time.
const LEAST_PAUSE: Duration = Duration::from_secs(30);
/// A task that cannot be deleted is left for no longer than this, however old it is.
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// A task that is not deleted by then never will be, and its file has expired: its source is not configured any more, or the
/// provider never lets it be deleted.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(90 * 24);

/// A task that is to be deleted.
struct Finished {
    task: Order,
    id: OrderId,
}

impl WorkspaceV3 {
    /// Deletes the tasks that nobody needs, as `demand` says, and forgets the requests whose answers were lost.
    pub(super) async fn keep_up(&self, demand: &dyn Demand) -> Result<Upkeep, SourceError> {
        let finished = self.finished(demand).await.map_err(SourceError)?;
        let now = Instant::now();
        let mut later = self.later.lock().await;
        later.retain(|number, _| finished.iter().any(|finished| finished.task.number == *number));
        let is_due = |finished: &Finished| later.get(&finished.task.number).is_none_or(|then| *then <= now);
        let due: Vec<_> = finished.into_iter().filter(is_due).collect();
        let mut trail = Trail::default();
        let refused = match self.delete(&due, &mut trail).await {
            Ok(refused) => refused,
            Err(failure) => return Err(trail.blame(failure)),
        };
        due.iter().for_each(|Finished { task, .. }| _ = later.remove(&task.number));
        let mut last = None;
        for (task, failure) in refused {
            later.insert(task.number, now + self.pause(task));
            last = Some(failure);
        }
        let next = later.values().min().map(|then| then.saturating_duration_since(now));
        Ok(Upkeep { answered: !due.is_empty(), next, refused: last.map(|failure| trail.blame(failure).0) })
    }

    /// The tasks of this source, as the notebook has them.
    async fn tasks(&self) -> Result<Vec<Order>, Failure> {
        let mut tasks = self.parts.notebook.orders().await.map_err(not_remembered)?;
        tasks.retain(|task| task.subject.source == self.parts.source);
        Ok(tasks)
    }

    /// The tasks of this source that are to be deleted. The ledger is told of each of them.
    async fn finished(&self, demand: &dyn Demand) -> Result<Vec<Finished>, Failure> {
        let mut finished = Vec::new();
        // The tasks are read before anybody is asked whether they are needed: a task that is asked for after this is not judged.
        for task in self.tasks().await? {
            let need = demand.of(&task.subject.stream, task.subject.window);
            match (&task.state, need) {
                (_, Need::InWork) => {}
                _ if is_forgotten(&task, self.client.now()) => self.forget(&task).await?,
                (OrderState::Asked, _) => self.forget_unknown(&task).await?,
                (OrderState::Created(_), Need::Open) => {}
                (OrderState::Created(id), Need::Settled) => {
                    self.parts.notebook.finished(task.number).await.map_err(not_remembered)?;
                    finished.push(Finished { id: id.clone(), task });
                }
                (OrderState::Finished(id), _) => finished.push(Finished { id: id.clone(), task }),
            }
        }
        Ok(finished)
    }

    /// Deletes tasks. Returns those that the provider refused to delete, each for itself.
    async fn delete<'t>(
        &self,
        due: &'t [Finished],
        trail: &mut Trail,
    ) -> Result<Vec<(&'t Order, Failure)>, Failure> {
        let mut refused = Vec::new();
        for some in due.chunks(MOST_DELETED) {
            let ids: Vec<_> = some.iter().map(|finished| finished.id.clone()).collect();
            match self.centre.delete(&ids, trail).await {
                Ok(()) => {
                    self.parts.checkpoint.reached(Step::TaskDeleted);
                    for finished in some {
                        self.forget(&finished.task).await?;
                    }
                }
                // One that is not there, or is still being made, is refused with all the others.
                Err(failure) if is_of_task(&failure, trail.last) => {
                    for finished in some {
                        match self.delete_one(finished, trail).await {
                            Ok(()) => {}
                            Err(failure) if is_of_task(&failure, trail.last) => {
                                refused.push((&finished.task, failure));
                            }
                            // Whatever else is said is said of the others as well.
                            Err(failure) => return Err(failure),
                        }
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(refused)
    }

    async fn delete_one(&self, Finished { task, id }: &Finished, trail: &mut Trail) -> Result<(), Failure> {
        // A task that no list shows is gone: it was deleted, or it expired.
        if self.centre.progress(id, trail).await?.is_some() {
            self.centre.delete(std::slice::from_ref(id), trail).await?;
            self.parts.checkpoint.reached(Step::TaskDeleted);
        }
        self.forget(task).await
    }

    /// Tells of a task that may stand at the provider under an id that never came, and forgets the intent to create it.
    pub(super) async fn forget_unknown(&self, task: &Order) -> Result<(), Failure> {
        let Order { number, subject, asked_at, .. } = task;
        if !self.parts.notebook.forget_unknown(*number).await.map_err(not_remembered)? {
            return Ok(());
        }
        tracing::warn!(
            source = %self.parts.source, stream = %subject.stream, window = %subject.window, %asked_at,
            "the answer to a request for an export task was lost: if the provider made the task, it stands in the export centre \
             until it expires"
        );
        Ok(())
    }

    pub(super) async fn forget(&self, task: &Order) -> Result<(), Failure> {
        self.parts.notebook.gone(task.number).await.map_err(not_remembered)
    }

    /// How long a task is left that cannot be deleted now: as long as ago it was asked for. A clock that was ahead dates a task
    /// later than now.
    fn pause(&self, task: &Order) -> Duration {
        let age = Duration::try_from(self.client.now().duration_since(task.asked_at)).unwrap_or_default();
        age.clamp(LEAST_PAUSE, LONGEST_PAUSE)
    }

    /// How many tasks stand at the provider that nobody needs, in words.
    pub(super) async fn tasks_left(&self, demand: &dyn Demand) -> Result<Option<Line>, SourceError> {
        let tasks = self.tasks().await.map_err(SourceError)?;
        let is_left = |task: &&Order| match task.state {
            OrderState::Asked => false,
            OrderState::Created(_) => demand.of(&task.subject.stream, task.subject.window) == Need::Settled,
            OrderState::Finished(_) => true,
        };
        let left = tasks.iter().filter(is_left).count();
        let tasks = if left == 1 { "task" } else { "tasks" };
        let text = format!(
            "{left} export {tasks} left in the export centre: the next run deletes what can be deleted then"
        );
        Ok((left > 0).then(|| text.into()))
    }
}

/// Tells of the export tasks of sources that are not configured any more, which nobody may delete, and forgets those that must
/// have expired.
///
/// # Errors
/// When the ledger fails.
pub async fn tell_strangers(
    notebook: &dyn Notebook,
    configured: &BTreeSet<SourceName>,
    now: Timestamp,
) -> Result<BTreeMap<SourceName, usize>, LedgerError> {
    let mut left = BTreeMap::new();
    for task in notebook.orders().await?.into_iter().filter(|task| !configured.contains(&task.subject.source))
    {
        if is_forgotten(&task, now) {
            notebook.gone(task.number).await?;
        } else {
            *left.entry(task.subject.source).or_default() += 1;
        }
    }
    for (source, tasks) in &left {
        tracing::warn!(
            %source, tasks,
            "export tasks of a source that is not configured any more are left in its export centre: delete them there, or let \
             them expire"
        );
    }
    Ok(left)
}

fn is_forgotten(task: &Order, now: Timestamp) -> bool {
    task.asked_at.saturating_add(FORGOTTEN).is_ok_and(|then| then <= now)
}

/// Whether a task was refused for itself, and not as whatever else would be.
fn is_of_task(failure: &Failure, last: Reached) -> bool {
    let is_shared = matches!(failure.kind, FailureKind::Auth | FailureKind::Throttled | FailureKind::Local);
    last.is_refusal() && !is_shared && failure.retry_after.is_none()
}
