//! What goes on beside the windows, which wait for none of it: the upkeep of sources, the search for projects, the proofs of stores.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Done, Run};
use crate::app::observer::Event;
use crate::app::open_work::{OpenWork, WindowStates};
use crate::app::projects::{self, Looked};
use crate::app::proving::{self, Proof};
use crate::app::services::Services;
use crate::domain::failure::Failure;
use crate::domain::name::{SourceName, StoreName};
use crate::domain::snapshot::{Hold, Resource};
use crate::domain::verdict::StreamRules;
use crate::ports::record_source::{RecordSource, Upkeep};

impl Run<'_> {
    /// Begins the upkeep of every source where that is due, by what a look found.
    pub(super) fn keep_up(
        &mut self,
        rules: &[StreamRules],
        states: &Arc<WindowStates>,
        holds: &BTreeMap<Resource, Hold>,
        now: Timestamp,
    ) {
        if self.reconciler.stop.is_cancelled() {
            return;
        }
        let sources = self.reconciler.look.services.roster.sources();
        for (source, asked) in sources {
            let hold = holds.get(&Resource::Source(source.clone()));
            let is_of = |rules: &&StreamRules| rules.source == source;
            // Other keys or settings end it, for windows as well.
            let stands = |hold: &&Hold| {
                rules.iter().find(is_of).is_none_or(|is| is.fingerprints.source == hold.fingerprint)
            };
            let hold = hold.filter(stands).filter(|hold| hold.is_on(now));
            let held = hold.and_then(|hold| Duration::try_from(hold.until.duration_since(now)).ok());
            let held_until = held.and_then(|held| Instant::now().checked_add(held));
            if self.upkeeps.is_due(&source, held_until, Instant::now()) {
                let open = OpenWork::of(&source, rules, states, &self.reconciler.look.services.in_work);
                self.begin_upkeep(source, asked, open);
            }
        }
    }

    fn begin_upkeep(&mut self, source: SourceName, asked: Arc<dyn RecordSource>, open: OpenWork) {
        let services = Arc::clone(&self.reconciler.look.services);
        let (of, idle) = (source.clone(), !self.is_at_work(&source));
        let handle = self.tasks.spawn(async move {
            let outcome = asked.upkeep(&open).await.map_err(Failure::from);
            let outcome = match hold_or_lift(&services, &of, &outcome, idle).await {
                Ok(()) => outcome,
                Err(worse) => Err(worse),
            };
            Done::Upkept(of, outcome)
        });
        self.upkeeps.begun(source, handle.id());
    }

    /// Whether windows of a source are to be worked on, or are being: what comes of them shows more than anything else does.
    fn is_at_work(&self, source: &SourceName) -> bool {
        let queued = self.queue.iter().map(|action| &action.stream);
        let mut streams = queued.chain(self.working.values().map(|at| &at.place.stream));
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

/// What upkeep shows of its source: a pause that the source asks for is a hold, and where no window shows more, an answer ends
/// its hold.
async fn hold_or_lift(
    services: &Services,
    source: &SourceName,
    outcome: &Result<Upkeep, Failure>,
    idle: bool,
) -> Result<(), Failure> {
    let resource = Resource::Source(source.clone());
    match outcome {
        Err(failure) if failure.retry_after.is_some() => services.hold_up(&resource, failure).await,
        Ok(upkeep) if idle && upkeep.answered => {
            let now = services.clock.now();
            services.ledger.lift(&resource, now).await.map(|_| ()).map_err(Failure::from)
        }
        _ => Ok(()),
    }
}
