//! The v3 export: a task is asked for, waited for, downloaded, and deleted once its window is committed.
//!
//! Creating a task is not idempotent, so the order matters:
//! 1. The intent is remembered. A crash from here on leaves an intent without an id.
//! 2. The task is created, and its id remembered before anything else: a later run goes on with the same task.
//! 3. The task is waited for and downloaded. A task that came to nothing is finished, and another one is asked for.
//! 4. Finished tasks are deleted beside the windows (see `upkeep`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::body::receive;
use super::client::{Client, Pass, Project};
use super::count;
use super::export_centre::{ExportCentre, Progress};
use super::trail::{Reached, Trail};
use crate::domain::duration::spelled_std;
use crate::domain::export::ExportApi;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::message::Message;
use crate::domain::name::SourceName;
use crate::domain::text::{ForeignText, Line};
use crate::ports::checkpoint::{Checkpoint, Step};
use crate::ports::ledger::LedgerError;
use crate::ports::notebook::{Notebook, Order, OrderNumber, OrderState, Standing, Subject};
use crate::ports::record_source::{
    ByteSink, Demand, ExportReceipt, ExportRequest, RecordSource, Remains, SourceError, Upkeep,
};

/// How long to wait before a task is looked at again: this at first, then twice as long each time …
const FIRST_LOOK: Duration = Duration::from_millis(500);
/// … up to this.
const LONGEST_LOOK: Duration = Duration::from_secs(30);

const MISSING: &str = "it is not in the list any more";

/// What a source asked through the v3 API needs besides its project.
#[derive(Clone)]
pub struct V3Parts {
    /// Its name.
    pub source: SourceName,
    /// Where its tasks are remembered, as orders.
    pub notebook: Arc<dyn Notebook>,
    /// Told of each step.
    pub checkpoint: Arc<dyn Checkpoint>,
    /// How long a task may take.
    pub task_timeout: Duration,
}

/// A Workspace project, asked through export tasks.
pub struct WorkspaceV3 {
    pub(super) client: Arc<Client>,
    pub(super) centre: ExportCentre,
    pub(super) parts: V3Parts,
    /// Tasks that could not be deleted, each with the time before which it is not tried again.
    pub(super) later: Mutex<BTreeMap<OrderNumber, Instant>>,
}

/// Why a task's file is not to be had.
enum Unready {
    /// The task came to nothing, in words; it may stand there still.
    Ended(Message),
    /// It is not there, or not done, though it was waited for: in words.
    Late(Message),
    /// It is not known; the task may still be good.
    Unknown(Failure),
}

impl WorkspaceV3 {
    /// The records of `project`. Nothing is sent yet.
    pub fn of(project: &Project, parts: V3Parts) -> Self {
        let client = project.client();
        Self { centre: ExportCentre(Arc::clone(&client)), client, parts, later: Mutex::default() }
    }

    /// Hands the file of a task to `sink`. Returns the time at which the task was asked for and, where it is known, the time
    /// since which its file is there; both by this machine's clock.
    async fn pull(
        &self,
        request: &ExportRequest,
        sink: &mut dyn ByteSink,
        trail: &mut Trail,
    ) -> Result<(Timestamp, Option<Timestamp>), Failure> {
        let (task, made_at) = self.ready_task(request, trail).await?;
        self.parts.checkpoint.reached(Step::TaskReady);
        let answer = self.centre.download(&task.id, trail).await;
        // Whatever is said against the task itself, it is not asked again for its file.
        let is_of_task = |failure: &Failure| failure.scope == Scope::Window && trail.last.is_refusal();
        if answer.as_ref().is_err_and(is_of_task) && !self.is_last(&task, request) {
            self.finish(&task).await?;
        }
        receive(&self.client, answer?, sink).await.map(|()| (task.asked_at, made_at))
    }

    /// A task for this very export whose file is there: one that stands already, or a new one; and since when it is there, by
    /// this machine's clock, where that is known.
    async fn ready_task(
        &self,
        request: &ExportRequest,
        trail: &mut Trail,
    ) -> Result<(Standing, Option<Timestamp>), Failure> {
        let standing =
            self.parts.notebook.standing(&self.subject_of(request)).await.map_err(not_remembered)?;
        // The task of an earlier export of an archived window holds that export. It stands where a run ended before its upkeep.
        let (standing, old) = match standing {
            Some(task) if request.after.is_some_and(|after| task.asked_at <= after) => (None, Some(task)),
            standing => (standing, None),
        };
        if let Some(old) = old {
            self.finish(&old).await?;
        }
        if let Some(task) = standing {
            tracing::info!(stream = %request.stream, window = %request.window, task = %task.id, "export task of an earlier run found");
            match self.wait_for(&task, trail).await {
                Ok(made_at) => return Ok((task, made_at)),
                Err(unready) => {
                    let why = self.give_up(&task, request, unready).await?;
                    tracing::info!(stream = %request.stream, window = %request.window, task = %task.id, why = why.as_str(), "another one is asked for");
                }
            }
        }
        let task = self.create(request, trail).await?;
        let began = Instant::now();
        match self.wait_for(&task, trail).await {
            Ok(made_at) => Ok((task, made_at)),
            Err(unready) => {
                // A task that the provider could not make was answered: nobody was waited for in vain.
                let in_vain =
                    if matches!(unready, Unready::Late(_)) { began.elapsed() } else { Duration::ZERO };
                let why = self.give_up(&task, request, unready).await?;
                let mut failure = self.unready(FailureKind::Transient, &task, why);
                failure.message = failure.message.advise("another one is asked for later");
                Err(failure.after(in_vain))
            }
        }
    }

    /// Wants the task no more, if it came to nothing; says why it did.
    ///
    /// # Errors
    /// When it may still be good, or no other one can be had: that one is not thrown away.
    async fn give_up(
        &self,
        task: &Standing,
        request: &ExportRequest,
        unready: Unready,
    ) -> Result<Message, Failure> {
        let is_last = self.is_last(task, request);
        match unready {
            Unready::Unknown(failure) => Err(failure),
            Unready::Ended(why) if is_last => Err(self.unready(FailureKind::Rejected, task, why)),
            Unready::Late(why) if is_last => Err(self.unready(FailureKind::Transient, task, why)),
            // One that is not listed as well: a list may lack what is there, and what is not there is forgotten at its deletion.
            Unready::Ended(why) | Unready::Late(why) => self.finish(task).await.map(|()| why),
        }
    }

    fn unready(&self, kind: FailureKind, task: &Standing, why: Message) -> Failure {
        let place = format!("the export task {} of {} came to nothing", task.id, self.client.host());
        Failure::new(kind, Scope::Window, why.at(&place))
    }

    /// Whether such a task as [`Self::is_last`] tells stands for this very export.
    pub(super) async fn has_last(&self, request: &ExportRequest) -> Result<bool, SourceError> {
        let is_expired = request.expires_at <= self.client.now();
        Ok(is_expired && self.remains(request).await?.is_in_time(request))
    }

    /// Whether the task was asked for before its window expired, and is all that can be had since.
    fn is_last(&self, task: &Standing, request: &ExportRequest) -> bool {
        task.asked_at < request.expires_at && request.expires_at <= self.client.now()
    }

    /// A new task. Whoever is let in only at the second try has made none at the first.
    async fn create(&self, request: &ExportRequest, trail: &mut Trail) -> Result<Standing, Failure> {
        let pass = self.client.pass().await?;
        let created = self.create_with(&pass, request, trail).await;
        match self.client.pass_after(&pass, trail).await? {
            Some(pass) => self.create_with(&pass, request, trail).await,
            None => created,
        }
    }

    async fn create_with(
        &self,
        pass: &Pass,
        request: &ExportRequest,
        trail: &mut Trail,
    ) -> Result<Standing, Failure> {
        let Self { parts: V3Parts { notebook, checkpoint, .. }, .. } = self;
        let asked_at = self.client.now();
        let subject = self.subject_of(request);
        let number = notebook.ask(&subject, asked_at).await.map_err(not_remembered)?;
        checkpoint.reached(Step::TaskAsked);
        match self.centre.create(pass, request, trail).await {
            Ok(id) => {
                checkpoint.reached(Step::TaskCreated);
                notebook.created(number, &id).await.map_err(not_remembered)?;
                checkpoint.reached(Step::TaskKnown);
                Ok(Standing { number, id, asked_at })
            }
            Err(failure) => {
                let made_none = trail.last == Reached::Nobody || trail.last.is_refusal();
                let task = Order { number, subject, asked_at, state: OrderState::Asked };
                if made_none {
                    self.forget(&task).await?
                } else {
                    self.forget_unknown(&task).await?
                }
                Err(failure)
            }
        }
    }

    /// Waits until the task's file is there; says since when it is. Whoever asked for it, its time runs from then.
    async fn wait_for(&self, task: &Standing, trail: &mut Trail) -> Result<Option<Timestamp>, Unready> {
        let age = Duration::try_from(self.client.now().duration_since(task.asked_at)).unwrap_or_default();
        let began = Instant::now();
        let age = || age.saturating_add(began.elapsed());
        let (mut pause, mut listed) = (FIRST_LOOK, false);
        let timeout = self.parts.task_timeout;
        loop {
            // Of many looks at a task, none is worth a line in the log; one that fails is.
            let mut look = Trail::default();
            let progress = self.centre.progress(&task.id, &mut look).await.map_err(|failure| {
                trail.noted(look.request_ids);
                Unready::Unknown(failure)
            });
            let mut unknown = None;
            match progress? {
                Some(Progress::Ready { since }) => {
                    let ahead = self.client.clock_ahead().unwrap_or_default();
                    return Ok(since.and_then(|theirs| theirs.checked_sub(ahead).ok()));
                }
                Some(Progress::Failed(why)) => return Err(Unready::Ended(why.into())),
                Some(Progress::Making) => listed = true,
                Some(Progress::Unknown(status)) => (listed, unknown) = (true, Some(status)),
                None if listed => return Err(Unready::Late(MISSING.into())),
                // A list may show a new task late.
                None => {}
            }
            if age().saturating_add(pause) > timeout {
                let status = unknown.map(|status| format!(", and has the unknown status \"{status}\""));
                let status = status.unwrap_or_default();
                let late = Message::new(format!("it was not done after {}{status}", spelled_std(age())));
                return Err(Unready::Late(
                    late.advise(format!("raise task_timeout ({}) where this goes on", spelled_std(timeout))),
                ));
            }
            if let Some(status) = unknown.filter(|_| began.elapsed() >= LONGEST_LOOK.min(timeout / 4)) {
                return Err(Unready::Unknown(self.unknown(task, &status)));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_LOOK);
        }
    }

    /// A status that nobody has heard of may mean that it goes on, or that it never will. The task is kept for the next attempt.
    fn unknown(&self, task: &Standing, status: &ForeignText) -> Failure {
        let cause = format!(
            "the export task {} of {} has a status that this version does not know: \"{status}\"",
            task.id,
            self.client.host()
        );
        let message = Message::new(cause)
            .advise("it is looked at again later; where this goes on, look into the export centre, and use a newer version");
        Failure::new(FailureKind::Transient, Scope::Window, message)
    }

    async fn finish(&self, task: &Standing) -> Result<(), Failure> {
        self.parts.notebook.finished(task.number).await.map_err(not_remembered)
    }

    fn subject_of(&self, request: &ExportRequest) -> Subject {
        Subject {
            source: self.parts.source.clone(),
            stream: request.stream.clone(),
            window: request.window,
            bounds: request.bounds,
            definition: request.definition,
        }
    }
}

pub(super) fn not_remembered(error: LedgerError) -> Failure {
    let failure = Failure::from(error);
    let message = failure.message.at("an export task cannot be remembered");
    Failure { message, ..failure }
}

#[async_trait]
impl RecordSource for WorkspaceV3 {
    async fn export(
        &self,
        request: &ExportRequest,
        sink: &mut dyn ByteSink,
    ) -> Result<ExportReceipt, SourceError> {
        let mut trail = Trail::default();
        let (asked_at, made_at) = match self.pull(request, sink, &mut trail).await {
            Ok(times) => times,
            Err(failure) => return Err(trail.blame(failure)),
        };
        let now = self.client.now();
        let receipt = trail.receipt(Ok(made_at), ExportApi::V3, now)?;
        // The file may have waited for days. Records that arrived meanwhile are not in it, so the pull is as old as its task.
        Ok(ExportReceipt { pulled_at: asked_at.min(now), ..receipt })
    }

    async fn count(&self, request: &ExportRequest) -> Result<u64, SourceError> {
        count::count(&self.client, request).await
    }

    async fn discard(&self, request: &ExportRequest) -> Result<(), SourceError> {
        if self.has_last(request).await? {
            return Ok(());
        }
        let discarded = self.parts.notebook.discard(&self.subject_of(request)).await;
        discarded.map_err(|error| SourceError(not_remembered(error)))
    }

    async fn remains(&self, request: &ExportRequest) -> Result<Remains, SourceError> {
        let standing = self.parts.notebook.standing(&self.subject_of(request)).await;
        let standing = standing.map_err(|error| SourceError(not_remembered(error)))?;
        Ok(Remains { asked_at: standing.map(|task| task.asked_at), may_answer: false })
    }

    async fn upkeep(&self, demand: &dyn Demand) -> Result<Upkeep, SourceError> {
        self.keep_up(demand).await
    }

    async fn notices(&self, demand: &dyn Demand) -> Result<Vec<Line>, SourceError> {
        Ok(self.tasks_left(demand).await?.into_iter().collect())
    }
}
