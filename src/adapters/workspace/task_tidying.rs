//! Clearing away export tasks: those that are finished, and those whose id was never learnt.
//!
//! Only after its deletion is a task forgotten; what cannot be deleted now is left for later, and keeps nothing else.
//!
//! A wish without an id may have left an orphan. It is looked for in the list, by when it can have been created and by what
//! our files are called, while nothing is being created: then every other task of ours is known by its id. The list comes
//! first: its answer shows how far the provider's clock is from ours. And it is looked for once the list must show it: before,
//! somebody else's could be all that fits.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use super::export_centre::PAGE;
use super::export_v3::{V3Parts, WorkspaceV3, not_remembered};
use super::trail::{Reached, Trail};
use crate::domain::export_task::{Birth, ExportTask, Sought, TaskId, TaskState, orphans};
use crate::domain::failure::{Failure, FailureKind};
use crate::domain::pause::has_been;
use crate::ports::checkpoint::Step;
use crate::ports::record_source::{Left, SourceError};

/// How well the difference of the clocks is known: the provider's times are whole seconds, and answers take a while.
const SLACK: SignedDuration = SignedDuration::from_secs(5);
/// With clocks further apart nothing is asked at all.
const FURTHEST_CLOCKS: SignedDuration = SignedDuration::from_mins(15);
/// An orphan that is not found so long after it was asked for (nor after a task's longest time) was never made.
const GIVE_UP: SignedDuration = SignedDuration::from_mins(15);
/// Where it is not known yet what files of ours are called, the next task that is made will show it: so long it is waited for.
const GIVE_UP_BLIND: SignedDuration = SignedDuration::from_hours(24);
/// A task that cannot be deleted is left for as long as it is old: so long at least …
const LEAST_PAUSE: Duration = Duration::from_secs(30);
/// … and at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

impl WorkspaceV3 {
    /// Clears away what `tasks` say is finished or lost: each as far as it can be, whatever becomes of the others.
    pub(super) async fn clear_away(&self, tasks: &[ExportTask]) -> Result<Left, SourceError> {
        let (mut left, mut trail) = (Left::default(), Trail::default());
        let deleted = self.delete_finished(tasks, &mut left, &mut trail).await;
        let sought = self.seek_orphans(tasks, &mut left, &mut trail).await;
        if let Err(failure) = deleted.and(sought) {
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
        for finished in finished.chunks(PAGE) {
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
        // What is finished was in the list once, or had its time to come into it.
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

    /// Looks for what wishes without an id may have left, and deletes it.
    async fn seek_orphans(
        &self,
        tasks: &[ExportTask],
        left: &mut Left,
        trail: &mut Trail,
    ) -> Result<(), Failure> {
        let now = self.client.now();
        let wishes: Vec<_> =
            self.lost(tasks).map(|(task, at)| (task, self.too_soon(task, at, now))).collect();
        if wishes.iter().all(|(_, wait)| wait.is_some()) {
            let wait = wishes.iter().filter_map(|(_, wait)| *wait).max().unwrap_or_default();
            left.later.extend(wishes.iter().map(|(task, _)| (task.number, wait)));
            return Ok(());
        }
        let _nothing_is_created = self.creating.write().await;
        let Some(findings) = self.find(trail).await? else { return Ok(()) };
        let needs_a_gap =
            findings.iter().any(|finding| finding.is_listed && finding.sought == Sought::TooSoon);
        for finding in findings {
            if wishes.iter().any(|(task, _)| task.number == finding.task.number) {
                let settled = self.settle(&finding, left, trail).await;
                self.leave(&finding.task, settled, left, trail)?;
            }
        }
        if needs_a_gap {
            // Wishes that overlap without an end are never told apart. What is asked for after this shares no moment with what was
            // asked for before, and all that came of that will be in the list.
            sleep(SLACK.unsigned_abs() * 2).await;
        }
        Ok(())
    }

    /// What is found of every wish without an id, whichever are looked for: a task that is one's is not another's. `None` while
    /// that cannot be told. Nothing may be created meanwhile.
    async fn find(&self, trail: &mut Trail) -> Result<Option<Vec<Finding>>, Failure> {
        let Self { parts: V3Parts { memory, source, .. }, .. } = self;
        let tasks = memory.tasks().await.map_err(not_remembered)?;
        let first = self.lost(&tasks).map(|(task, _)| task.asked_at).min().unwrap_or(Timestamp::MAX);
        let from = first.saturating_sub(FURTHEST_CLOCKS + SLACK).unwrap_or(Timestamp::MIN);
        let asked = self.client.now();
        let mut standing = self.centre.created_since(from, trail).await?;
        let known = memory.tasks().await.map_err(not_remembered)?;
        if known.iter().any(|task| task.state == TaskState::Asked) {
            // Another source is creating one, perhaps in the same project: its task must not be taken for this.
            return Ok(None);
        }
        standing.retain(|task| !known.iter().any(|known| id_of(known) == Some(&task.id)));
        let names = memory.names(source).await.map_err(not_remembered)?;
        let patience =
            if names.is_empty() { GIVE_UP_BLIND } else { GIVE_UP.max(signed(self.parts.task_timeout)) };
        let (ahead, lag) = (self.client.clock_ahead().unwrap_or_default(), self.client.list_lag());
        let births: Vec<_> = self.lost(&known).map(|(task, at)| self.birth(task, at, ahead)).collect();
        let listed = asked.saturating_add(ahead).and_then(|now| now.saturating_sub(signed(lag)));
        let listed = listed.unwrap_or(Timestamp::MIN);
        let wait = self.lost(&known).filter_map(|(task, at)| self.too_soon(task, at, asked)).max();
        let sought = orphans(&standing, &names, &births, listed);
        let findings =
            self.lost(&known).zip(&births).zip(sought).map(|(((task, _), birth), sought)| Finding {
                task: task.clone(),
                sought,
                is_listed: birth.to <= listed,
                is_old: self.age(task) >= patience,
                wait: wait.unwrap_or_default(),
            });
        Ok(Some(findings.collect()))
    }

    /// Does what is left to be done about one wish.
    async fn settle(&self, finding: &Finding, left: &mut Left, trail: &mut Trail) -> Result<(), Failure> {
        let (task, source, asked_at) = (&finding.task, &self.parts.source, finding.task.asked_at);
        match &finding.sought {
            Sought::Found(id) => match self.centre.delete(std::slice::from_ref(id), trail).await {
                Ok(()) => {
                    tracing::info!(%source, task = %id, %asked_at, "an export task whose id was never learnt is deleted");
                }
                Err(failure) if is_of_task(&failure, trail.last) && finding.is_old => tracing::warn!(
                    %source, task = %id, %asked_at,
                    "it stands in the export centre until it expires: {}", failure.message
                ),
                Err(failure) => return Err(failure),
            },
            Sought::TooSoon => {
                left.later.insert(task.number, finding.wait);
                return Ok(());
            }
            Sought::Unnamed if !finding.is_old => {
                left.later.insert(task.number, self.pause(task));
                return Ok(());
            }
            Sought::Missing | Sought::Unclear if !finding.is_old => return Ok(()),
            Sought::Missing => tracing::warn!(
                %source, %asked_at,
                "a request for an export task was cut off, and no task is found that it made: if there is one after all, it \
                 stands in the export centre until it expires"
            ),
            Sought::Unclear | Sought::Unnamed => tracing::warn!(
                %source, %asked_at,
                "a request for an export task was cut off, and more tasks could be its than were asked for: none is deleted; \
                 the export centre lists them"
            ),
        }
        self.forget(task).await
    }

    async fn forget(&self, task: &ExportTask) -> Result<(), Failure> {
        self.parts.memory.gone(task.number).await.map_err(not_remembered)
    }

    /// Those of `tasks` that are wishes of this source without an id, each with since when nobody waits for it any more.
    fn lost<'t>(&self, tasks: &'t [ExportTask]) -> impl Iterator<Item = (&'t ExportTask, Timestamp)> {
        let source = &self.parts.source;
        tasks.iter().filter(move |task| task.pull.source == *source).filter_map(|task| match task.state {
            TaskState::Lost { at } => Some((task, at)),
            _ => None,
        })
    }

    fn birth(&self, task: &ExportTask, lost_at: Timestamp, ahead: SignedDuration) -> Birth {
        Birth::of((task.asked_at, lost_at), signed(self.client.timeouts().first_byte), ahead, SLACK)
    }

    /// How long it is, at `now`, until the list must show what the wish may have made: by our clock, since it does not matter how
    /// far the other one is ahead of both.
    fn too_soon(&self, task: &ExportTask, lost_at: Timestamp, now: Timestamp) -> Option<Duration> {
        until_listed(self.birth(task, lost_at, SignedDuration::ZERO), self.client.list_lag(), now)
    }

    /// How long a task is left that cannot be deleted now.
    fn pause(&self, task: &ExportTask) -> Duration {
        Duration::try_from(self.age(task)).unwrap_or_default().clamp(LEAST_PAUSE, LONGEST_PAUSE)
    }

    /// How long ago a task was asked for. One that is dated later than now was asked for by a clock that was ahead: nobody knows
    /// when, and it is waited for no longer.
    fn age(&self, task: &ExportTask) -> SignedDuration {
        let now = self.client.now();
        if has_been(task.asked_at, now) { now.duration_since(task.asked_at) } else { GIVE_UP_BLIND }
    }
}

/// What is found of a wish without an id.
struct Finding {
    task: ExportTask,
    sought: Sought,
    /// Whether the list shows all that can have come of it.
    is_listed: bool,
    /// Whether it is given up where nothing can be done about it.
    is_old: bool,
    /// How long it is until none of the wishes is too new.
    wait: Duration,
}

/// How long it is until a list that lags by `lag` must show what was born when `birth` says, both by one clock. No longer than that can be of a
/// birth that lies before: a clock that was set back may say that it lies ahead.
fn until_listed(birth: Birth, lag: Duration, now: Timestamp) -> Option<Duration> {
    let wait = Duration::try_from(birth.to.duration_since(now).saturating_add(signed(lag))).ok()?;
    (!wait.is_zero()).then(|| wait.min(lag + SLACK.unsigned_abs() * 2))
}

/// Whether a task was refused for itself, and not as whatever else would be.
fn is_of_task(failure: &Failure, last: Reached) -> bool {
    let is_shared = matches!(failure.kind, FailureKind::Auth | FailureKind::Throttled | FailureKind::Local);
    last.is_refusal() && !is_shared && failure.retry_after.is_none()
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn id_of(task: &ExportTask) -> Option<&TaskId> {
    match &task.state {
        TaskState::Created(id) | TaskState::Finished(id) => Some(id),
        TaskState::Asked | TaskState::Lost { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orphan_is_waited_for_until_the_list_shows_it_and_a_clock_that_was_set_back_makes_that_no_longer() {
        let asked_at: Timestamp = "2026-11-23T02:00:00Z".parse().unwrap();
        let seconds = SignedDuration::from_secs;
        let birth = Birth::of((asked_at, asked_at + seconds(10)), seconds(120), seconds(0), SLACK);
        let lag = Duration::from_secs(30);
        let when = |after| until_listed(birth, lag, asked_at + seconds(after)).map(|wait| wait.as_secs());
        assert_eq!(when(10), Some(35));
        assert_eq!((when(44), when(45), when(4500)), (Some(1), None, None));
        assert_eq!(when(-3600), Some(40));
    }
}
