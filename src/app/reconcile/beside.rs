//! What goes on beside the windows, which wait for none of it: export tasks are cleared away, projects looked up, stores proven.

use super::{Done, Run};
use crate::app::failure_policy::{of_ledger, of_source};
use crate::app::observer::Event;
use crate::app::projects::{self, Looked};
use crate::app::proving::{self, Proof};
use crate::app::services::Services;
use crate::domain::export_task::ExportTask;
use crate::domain::failure::Failure;
use crate::domain::name::{SourceName, StoreName};
use crate::domain::snapshot::Resource;
use crate::ports::record_source::Left;

use std::sync::Arc;

use tokio::time::Instant;

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
        let idle = !self.is_at_work(&source);
        let handle = self.tasks.spawn(async move {
            let outcome = at.tidy(&tasks).await.map_err(of_source);
            let outcome = match hold_or_lift(&services, &of, &outcome, idle).await {
                Ok(()) => outcome,
                Err(worse) => Err(worse),
            };
            Done::Tidied(of, outcome)
        });
        self.tidying.begun(source, numbers, handle.id());
    }

    /// Whether windows of a source are to be worked on, or are being: what comes of them shows more than anything else does.
    fn is_at_work(&self, source: &SourceName) -> bool {
        let queued = self.queue.iter().map(|action| &action.stream);
        let mut streams = queued.chain(self.working.values().map(|at| &at.stream));
        let roster = &self.reconciler.look.services.roster;
        streams.any(|name| roster.stream(name).is_some_and(|stream| stream.rules.source == *source))
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

    /// Has a store prove itself, beside the windows of the others. Whoever stops does not wait for it.
    pub(super) fn prove(&mut self, store: StoreName) {
        if self.proving.contains_key(&store) {
            return;
        }
        let (services, stop) = (Arc::clone(&self.reconciler.look.services), self.reconciler.stop.clone());
        let of = store.clone();
        let handle = self.tasks.spawn(async move {
            let proof = stop.run_until_cancelled(proving::prove(&services, &of)).await;
            Done::Proven(of, proof.unwrap_or(Ok(Proof::NotAsked)))
        });
        self.proving.insert(store, handle.id());
    }

    pub(super) fn proven(&mut self, store: StoreName, proof: Proof) {
        let failure = match proof {
            Proof::Given => None,
            Proof::Refused(failure) => Some(failure),
            Proof::NotAsked => return,
        };
        self.reconciler.observer.on(&Event::Proven { store, failure });
    }
}

/// What clearing away shows of its source: a pause that it asks for holds it up, and where the source is idle besides, an
/// answer ends what held it up.
async fn hold_or_lift(
    services: &Services,
    source: &SourceName,
    outcome: &Result<Left, Failure>,
    idle: bool,
) -> Result<(), Failure> {
    let resource = Resource::Source(source.clone());
    match outcome {
        Err(failure) if failure.retry_after.is_some() => services.hold_up(&resource, failure).await,
        Ok(_) if idle => {
            let now = services.clock.now();
            services.ledger.lift(&resource, now).await.map(|_| ()).map_err(of_ledger)
        }
        _ => Ok(()),
    }
}
