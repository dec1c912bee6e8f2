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

use super::client::{Reached, Trail};
use super::export_centre::{LIST_LAG, PAGE};
use super::export_v3::{V3Parts, WorkspaceV3, not_remembered};
use crate::domain::export_task::{Birth, ExportTask, Sought, TaskId, TaskState, orphans};
use crate::domain::failure::Failure;
use crate::ports::checkpoint::Step;
use crate::ports::record_source::SourceError;

/// How well the difference of the clocks is known: the provider's times are whole seconds, and answers take a while.
const SLACK: SignedDuration = SignedDuration::from_secs(5);
/// With clocks further apart nothing is asked at all.
const FURTHEST_CLOCKS: SignedDuration = SignedDuration::from_mins(15);
/// An orphan that is not found so long after it was asked for (nor after a task's longest time) was never made.
const GIVE_UP: SignedDuration = SignedDuration::from_mins(15);
/// Where it is not known yet what files of ours are called, the next task that is made will show it: so long it is waited for.
const GIVE_UP_BLIND: SignedDuration = SignedDuration::from_hours(24);

impl WorkspaceV3 {
    /// Clears away what `tasks` say is finished or lost: each as far as it can be, whatever becomes of the others. Says how long
    /// it is until more can be.
    pub(super) async fn clear_away(&self, tasks: &[ExportTask]) -> Result<Option<Duration>, SourceError> {
        let mut trail = Trail::default();
        let deleted = self.delete_finished(tasks, &mut trail).await;
        let sought = self.seek_orphans(tasks, &mut trail).await;
        deleted.and(sought).map_err(|failure| trail.blame(failure))
    }

    async fn delete_finished(&self, tasks: &[ExportTask], trail: &mut Trail) -> Result<(), Failure> {
        let finished: Vec<_> = tasks
            .iter()
            .filter_map(|task| match &task.state {
                TaskState::Finished(id) => Some((task, id.clone())),
                _ => None,
            })
            .collect();
        let mut all = Ok(());
        for finished in finished.chunks(PAGE) {
            let ids: Vec<_> = finished.iter().map(|(_, id)| id.clone()).collect();
            let deleted = self.centre.delete(&ids, trail).await;
            let refused = deleted.is_err() && is_refused(trail.last);
            if deleted.is_ok() {
                self.parts.checkpoint.reached(Step::TaskDeleted);
                for (task, _) in finished {
                    self.parts.memory.gone(task.number).await.map_err(not_remembered)?;
                }
            } else if refused {
                // One that is not there, or is still being made, is refused with all the others.
                for (task, id) in finished {
                    all = all.and(self.delete_one(task, id, trail).await);
                }
            } else {
                return deleted;
            }
        }
        all
    }

    async fn delete_one(&self, task: &ExportTask, id: &TaskId, trail: &mut Trail) -> Result<(), Failure> {
        // What is finished was in the list once, or had its time to come into it.
        if self.centre.progress(id, trail).await?.is_some() {
            self.centre.delete(std::slice::from_ref(id), trail).await?;
            self.parts.checkpoint.reached(Step::TaskDeleted);
        }
        self.parts.memory.gone(task.number).await.map_err(not_remembered)
    }

    /// Looks for what wishes without an id may have left, and deletes it; says how long it is too soon for one of them.
    async fn seek_orphans(
        &self,
        tasks: &[ExportTask],
        trail: &mut Trail,
    ) -> Result<Option<Duration>, Failure> {
        let lost: Vec<_> = tasks
            .iter()
            .filter_map(|task| match task.state {
                TaskState::Lost { at } => Some((task, at)),
                _ => None,
            })
            .collect();
        let Some(first) = lost.iter().map(|(task, _)| task.asked_at).min() else {
            return Ok(None);
        };
        let Self { parts: V3Parts { memory, source, .. }, .. } = self;
        let _nothing_is_created = self.creating.write().await;
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
        let (patience, ahead) =
            (signed(self.client.timeouts().first_byte), self.client.clock_ahead().unwrap_or_default());
        let births: Vec<_> =
            lost.iter().map(|(task, at)| Birth::of((task.asked_at, *at), patience, ahead, SLACK)).collect();
        let listed = asked.saturating_add(ahead).and_then(|now| now.saturating_sub(LIST_LAG));
        let listed = listed.unwrap_or(Timestamp::MIN);
        let (mut all, mut too_soon) = (Ok(()), None);
        for (((task, _), birth), sought) in
            lost.iter().zip(&births).zip(orphans(&standing, &names, &births, listed))
        {
            if sought == Sought::TooSoon {
                let wait = Duration::try_from(birth.to.duration_since(listed)).unwrap_or_default();
                too_soon = too_soon.max(Some(wait));
                continue;
            }
            let settled = self.settle(task, &sought, names.is_empty(), trail).await;
            // What is said against one of them says nothing of the others.
            if settled.is_err() && !is_refused(trail.last) {
                return settled.map(|()| None);
            }
            all = all.and(settled);
        }
        all.map(|()| too_soon)
    }

    /// Does what is left to be done about one wish.
    async fn settle(
        &self,
        task: &ExportTask,
        sought: &Sought,
        blind: bool,
        trail: &mut Trail,
    ) -> Result<(), Failure> {
        let (source, asked_at) = (&self.parts.source, task.asked_at);
        let patience = if blind { GIVE_UP_BLIND } else { GIVE_UP.max(signed(self.parts.task_timeout)) };
        match sought {
            Sought::Found(id) => {
                tracing::info!(%source, task = %id, %asked_at, "an export task whose id was never learnt is deleted");
                match self.centre.delete(std::slice::from_ref(id), trail).await {
                    Err(failure) if is_refused(trail.last) && self.age(task) >= patience => tracing::warn!(
                        %source, task = %id, %asked_at,
                        "it stands in the export centre until it expires: {}", failure.message
                    ),
                    deleted => deleted?,
                }
            }
            Sought::TooSoon => return Ok(()),
            Sought::Missing | Sought::Unclear if self.age(task) < patience => return Ok(()),
            Sought::Missing => tracing::warn!(
                %source, %asked_at,
                "a request for an export task was cut off, and no task is found that it made: if there is one after all, it \
                 stands in the export centre until it expires"
            ),
            Sought::Unclear => tracing::warn!(
                %source, %asked_at,
                "a request for an export task was cut off, and more tasks could be its than were asked for: none is deleted; \
                 the export centre lists them"
            ),
        }
        self.parts.memory.gone(task.number).await.map_err(not_remembered)
    }

    fn age(&self, task: &ExportTask) -> SignedDuration {
        self.client.now().duration_since(task.asked_at)
    }
}

/// Whether it was refused for what it asked, and not as whatever else would be.
fn is_refused(last: Reached) -> bool {
    let is_shared = matches!(last, Reached::Answer(status) if matches!(status.as_u16(), 401 | 403 | 429));
    last.is_refusal() && !is_shared
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
