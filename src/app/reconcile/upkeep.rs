//! What a run does beside the windows: clears export tasks away, and looks up projects.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Done, Run};
use crate::app::failure_policy::of_source;
use crate::app::observer::Event;
use crate::app::projects::{self, Looked};
use crate::domain::export_task::ExportTask;
use crate::domain::name::SourceName;

impl Run<'_> {
    /// Clears away export tasks, beside the windows: none of them waits for it.
    pub(super) fn tidy(&mut self, source: SourceName, tasks: Vec<ExportTask>) {
        let services = Arc::clone(&self.reconciler.look.services);
        let Some(at) = services.roster.source(&source) else {
            if services.roster.settings(&source).is_none() {
                self.report.untidiable(&source);
            }
            return;
        };
        if self.reconciler.stop.is_cancelled() {
            return;
        }
        let tasks = self.tidying.due(&source, tasks, Instant::now());
        if tasks.is_empty() {
            return;
        }
        let (of, numbers) = (source.clone(), tasks.iter().map(|task| task.number).collect());
        let handle = self.tasks.spawn(async move {
            let mut outcome = at.tidy(&tasks).await.map_err(of_source);
            if let Err(failure) = &outcome
                && failure.retry_after.is_some()
                && let Err(failure) = services.hold_up(&of, failure).await
            {
                outcome = Err(failure);
            }
            Done::Tidied(of, outcome)
        });
        self.tidying.begun(source, numbers, handle.id());
    }

    /// Looks up the project of a source, beside the windows of the others. Whoever stops does not wait for it.
    pub(super) fn look_up(&mut self, source: SourceName) {
        if self.looking_up.contains_key(&source) {
            return;
        }
        let (services, stop) = (Arc::clone(&self.reconciler.look.services), self.reconciler.stop.clone());
        let of = source.clone();
        let handle = self.tasks.spawn(async move {
            let found = stop.run_until_cancelled(projects::find(&services, &of)).await;
            Done::LookedUp(of, found.unwrap_or(Ok(Looked::NotAsked)))
        });
        self.looking_up.insert(source, handle.id());
    }

    pub(super) fn looked_up(&mut self, source: SourceName, looked: Looked) {
        let failure = match looked {
            Looked::Found(lifted) => {
                self.report.works_again(lifted);
                None
            }
            Looked::NotFound(failure) => Some(failure),
            Looked::NotAsked => return,
        };
        self.reconciler.observer.on(&Event::LookedUp { source, failure });
    }
}
