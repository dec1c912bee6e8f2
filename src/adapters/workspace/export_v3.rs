//! The v3 export: a task is asked for, waited for, downloaded, and deleted once its window is committed.
//!
//! Creating a task is not idempotent, so the order matters:
//! 1. The wish is remembered. A crash from here on leaves a wish without an id.
//! 2. The task is created, and its id remembered before anything else: whoever comes after goes on with it.
//! 3. It is waited for and downloaded. If it came to nothing it is finished, and another one is asked for.
//! 4. Tidying deletes finished tasks; only after the deletion is the task forgotten.
//!
//! A wish without an id may have left an orphan. It is looked for in the list, by when it can have been created and by what
//! our files are called, while nothing is being created: then every other task of ours is known by its id.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use tokio::sync::RwLock;
use tokio::time::{Instant, sleep};

use super::body::receive;
use super::client::{Client, Project, Reached, Trail};
use super::count;
use super::export_centre::{ExportCentre, PAGE, Progress};
use crate::domain::export::ExportApi;
use crate::domain::export_task::{Birth, ExportTask, Pull, TaskId, TaskNumber, TaskState, orphan};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::name::SourceName;
use crate::ports::checkpoint::{Checkpoint, Step};
use crate::ports::ledger::LedgerError;
use crate::ports::record_source::{ByteSink, ExportReceipt, ExportRequest, RecordSource, SourceError};
use crate::ports::source_memory::SourceMemory;

/// How long to wait before a task is looked at again: this at first, then twice as long each time …
const FIRST_LOOK: Duration = Duration::from_millis(500);
/// … up to this.
const LONGEST_LOOK: Duration = Duration::from_secs(30);
/// How well the difference of the clocks is known: the provider's times are whole seconds, and answers take a while.
const SLACK: SignedDuration = SignedDuration::from_secs(5);
/// An orphan that is not in the list so long after it was asked for was never made.
const GIVE_UP: SignedDuration = SignedDuration::from_mins(15);

/// What a source asked through the v3 API needs besides its project.
#[derive(Clone)]
pub struct V3Parts {
    /// Its name.
    pub source: SourceName,
    /// Where its tasks are remembered.
    pub memory: Arc<dyn SourceMemory>,
    /// Told of each step.
    pub checkpoint: Arc<dyn Checkpoint>,
    /// How long a task may take.
    pub task_timeout: Duration,
}

/// A Workspace project, asked through export tasks.
pub struct WorkspaceV3 {
    client: Arc<Client>,
    centre: ExportCentre,
    parts: V3Parts,
    /// Shared by those who create; whoever looks for orphans has it alone.
    creating: RwLock<()>,
}

/// A task on whose file somebody waits.
struct Wanted {
    number: TaskNumber,
    id: TaskId,
}

/// Why a task's file is not to be had.
enum Unready {
    /// The task came to nothing, in words.
    Ended(String),
    /// It is not known; the task may still be good.
    Unknown(Failure),
}

impl WorkspaceV3 {
    /// The records of `project`. Nothing is sent yet.
    pub fn of(project: &Project, parts: V3Parts) -> Self {
        let client = project.client();
        Self { centre: ExportCentre(Arc::clone(&client)), client, parts, creating: RwLock::default() }
    }

    async fn pull(
        &self,
        request: &ExportRequest,
        sink: &mut dyn ByteSink,
        trail: &mut Trail,
    ) -> Result<(), Failure> {
        let task = self.ready_task(request, trail).await?;
        self.parts.checkpoint.reached(Step::TaskReady);
        let answer = self.centre.download(&task.id, trail).await;
        if let (Err(_), Reached::Answer(status)) = (&answer, trail.last)
            && matches!(status.as_u16(), 400 | 404 | 409 | 410)
        {
            self.finish(&task).await?;
        }
        receive(&self.client, answer?, sink).await
    }

    /// A task for this very export whose file is there: one that stands already, or a new one.
    async fn ready_task(&self, request: &ExportRequest, trail: &mut Trail) -> Result<Wanted, Failure> {
        let standing = self.parts.memory.standing(&self.pull_of(request)).await.map_err(not_remembered)?;
        if let Some((number, id)) = standing {
            let task = Wanted { number, id };
            tracing::info!(stream = %request.stream, window = %request.window, task = %task.id, "export task of an earlier run found");
            match self.wait_for(&task, trail).await {
                Ok(()) => return Ok(task),
                Err(Unready::Unknown(failure)) => return Err(failure),
                Err(Unready::Ended(why)) => {
                    tracing::info!(stream = %request.stream, window = %request.window, task = %task.id, why, "another one is asked for");
                    self.finish(&task).await?;
                }
            }
        }
        let task = self.create(request, trail).await?;
        match self.wait_for(&task, trail).await {
            Ok(()) => Ok(task),
            Err(Unready::Unknown(failure)) => Err(failure),
            Err(Unready::Ended(why)) => {
                self.finish(&task).await?;
                let message = format!(
                    "the export task {} of {} came to nothing: {why}; another one is asked for later",
                    task.id,
                    self.client.host()
                );
                Err(Failure::new(FailureKind::Transient, Scope::Window, message))
            }
        }
    }

    async fn create(&self, request: &ExportRequest, trail: &mut Trail) -> Result<Wanted, Failure> {
        let Self { parts: V3Parts { memory, checkpoint, .. }, .. } = self;
        let _nobody_looks_for_orphans = self.creating.read().await;
        let now = self.client.now();
        let number = memory.ask(&self.pull_of(request), now).await.map_err(not_remembered)?;
        checkpoint.reached(Step::TaskAsked);
        match self.centre.create(request, trail).await {
            Ok(id) => {
                checkpoint.reached(Step::TaskCreated);
                memory.created(number, &id).await.map_err(not_remembered)?;
                checkpoint.reached(Step::TaskKnown);
                Ok(Wanted { number, id })
            }
            Err(failure) => {
                let none_was_made = match trail.last {
                    Reached::Nobody => true,
                    Reached::Perhaps => false,
                    Reached::Answer(status) => status.is_client_error() && status.as_u16() != 408,
                };
                let noted = if none_was_made { memory.gone(number).await } else { memory.lost(number).await };
                noted.map_err(not_remembered)?;
                Err(failure)
            }
        }
    }

    /// Waits until the task's file is there.
    async fn wait_for(&self, task: &Wanted, trail: &mut Trail) -> Result<(), Unready> {
        let deadline = Instant::now() + self.parts.task_timeout;
        let mut pause = FIRST_LOOK;
        loop {
            // Of many looks at a task, none is worth a line in the log; one that fails is.
            let mut look = Trail::default();
            let progress = self.centre.progress(&task.id, &mut look).await.map_err(|failure| {
                trail.request_ids.append(&mut look.request_ids);
                Unready::Unknown(failure)
            });
            match progress? {
                Some(Progress::Ready(name)) => {
                    let called = self.parts.memory.called(&self.parts.source, &name).await;
                    return called.map_err(|error| Unready::Unknown(not_remembered(error)));
                }
                Some(Progress::Failed(why)) => return Err(Unready::Ended(why)),
                None => return Err(Unready::Ended("it is not in the list (any more)".to_owned())),
                Some(Progress::Making) => {}
            }
            if Instant::now() + pause > deadline {
                let timeout = self.parts.task_timeout;
                return Err(Unready::Ended(format!("it was not done within {timeout:?} (task_timeout)")));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_LOOK);
        }
    }

    async fn finish(&self, task: &Wanted) -> Result<(), Failure> {
        self.parts.memory.finished(task.number).await.map_err(not_remembered)
    }

    fn pull_of(&self, request: &ExportRequest) -> Pull {
        Pull {
            source: self.parts.source.clone(),
            stream: request.stream.clone(),
            window: request.window,
            bounds: request.bounds,
            definition: request.definition,
        }
    }

    /// Deletes what is finished.
    async fn delete(&self, tasks: &[&ExportTask], trail: &mut Trail) -> Result<(), Failure> {
        for tasks in tasks.chunks(PAGE) {
            let ids: Vec<_> = tasks.iter().filter_map(|task| id_of(task).cloned()).collect();
            self.centre.delete(&ids, trail).await?;
            self.parts.checkpoint.reached(Step::TaskDeleted);
            for task in tasks {
                self.parts.memory.gone(task.number).await.map_err(not_remembered)?;
            }
        }
        Ok(())
    }

    /// Looks for what a wish without an id may have left, and deletes it: at most one task for each wish.
    async fn seek_orphans(&self, lost: &[&ExportTask], trail: &mut Trail) -> Result<(), Failure> {
        let Self { parts: V3Parts { memory, source, .. }, .. } = self;
        let _nothing_is_created = self.creating.write().await;
        let names = memory.names(source).await.map_err(not_remembered)?;
        if names.is_empty() {
            // The next task of ours will show what they are called.
            return Ok(());
        }
        let answer = SignedDuration::try_from(self.client.timeouts().first_byte).unwrap_or(GIVE_UP);
        let ahead = self.client.clock_ahead().unwrap_or_default();
        let birth = |task: &ExportTask| Birth::of(task.asked_at, ahead, answer, SLACK);
        let Some(from) = lost.iter().map(|task| birth(task).from).min() else { return Ok(()) };
        let mut standing = self.centre.created_since(from, trail).await?;
        let known = memory.tasks().await.map_err(not_remembered)?;
        if known.iter().any(|task| task.state == TaskState::Asked) {
            // Another source is creating one, perhaps in the same project: its task must not be taken for this.
            return Ok(());
        }
        standing.retain(|task| !known.iter().any(|known| id_of(known) == Some(&task.id)));
        for task in lost {
            let found = orphan(&standing, &names, birth(task)).map(|found| found.id.clone());
            if let Some(id) = found {
                tracing::info!(
                    source = %source,
                    task = %id,
                    asked_at = %task.asked_at,
                    "an export task whose id was never learnt is deleted"
                );
                self.centre.delete(std::slice::from_ref(&id), trail).await?;
                standing.retain(|task| task.id != id);
            } else if self.client.now().duration_since(task.asked_at) < GIVE_UP {
                continue;
            }
            memory.gone(task.number).await.map_err(not_remembered)?;
        }
        Ok(())
    }
}

fn id_of(task: &ExportTask) -> Option<&TaskId> {
    match &task.state {
        TaskState::Created(id) | TaskState::Finished(id) => Some(id),
        TaskState::Asked | TaskState::Lost => None,
    }
}

fn not_remembered(error: LedgerError) -> Failure {
    let message = format!("an export task cannot be remembered: {error}");
    Failure::new(FailureKind::Local, Scope::Daemon, message)
}

#[async_trait]
impl RecordSource for WorkspaceV3 {
    async fn export(
        &self,
        request: &ExportRequest,
        sink: &mut dyn ByteSink,
    ) -> Result<ExportReceipt, SourceError> {
        let mut trail = Trail::default();
        let pulled = self.pull(request, sink, &mut trail).await;
        trail.receipt(pulled, ExportApi::V3, self.client.now())
    }

    async fn count(&self, request: &ExportRequest) -> Result<u64, SourceError> {
        count::count(&self.client, request).await
    }

    async fn discard(&self, request: &ExportRequest) -> Result<(), SourceError> {
        let discarded = self.parts.memory.discard(&self.pull_of(request)).await;
        discarded.map_err(|error| SourceError(not_remembered(error)))
    }

    async fn tidy(&self, tasks: &[ExportTask]) -> Result<(), SourceError> {
        let of = |wanted: fn(&TaskState) -> bool| {
            tasks.iter().filter(|task| wanted(&task.state)).collect::<Vec<_>>()
        };
        let finished = of(|state| matches!(state, TaskState::Finished(_)));
        let lost = of(|state| matches!(state, TaskState::Lost));
        let mut trail = Trail::default();
        let tidied = async {
            self.delete(&finished, &mut trail).await?;
            self.seek_orphans(&lost, &mut trail).await
        };
        tidied.await.map_err(|failure| trail.blame(failure))
    }
}
