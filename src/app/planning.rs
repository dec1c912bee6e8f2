//! A look: what is due now. Logs are opened and followed first, so that the plan rests on the truth in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::name::StreamName;
use crate::domain::planner::{Plan, plan};
use crate::domain::snapshot::{Hold, Resource, Snapshot};
use crate::domain::verdict::{StreamRules, Verdict, Waiting, judge};

use super::archive_window::Services;
use super::failure_policy::{hold_on, of_ledger};
use super::reconcile::Streams;
use super::selection::Selection;

/// Makes plans.
pub struct Look {
    /// What windows are worked on with.
    pub services: Arc<Services>,
    /// The streams to be worked on.
    pub streams: Streams,
    /// Which of their windows.
    pub selection: Selection,
    /// What is remembered between looks of this run, and could be found out anew.
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// Streams whose log was opened in this run.
    opened: BTreeSet<StreamName>,
    /// Held up at the last look, and until when.
    held: BTreeMap<Resource, Timestamp>,
    /// When the first of the windows that are due and pause may go on.
    pauses_until: Option<Timestamp>,
}

/// What a look found.
pub struct Planned {
    /// What is to be done.
    pub plan: Plan,
    /// What is held up.
    pub holds: BTreeMap<Resource, Hold>,
}

impl Look {
    /// Looks at `streams`, whose windows `selection` chooses from.
    pub fn new(services: Arc<Services>, streams: Streams, selection: Selection) -> Self {
        Self {
            services,
            streams,
            selection,
            memory: Mutex::default(),
        }
    }

    /// What is to be done now.
    ///
    /// # Errors
    /// When this machine's ledger fails: then nothing can be done at all.
    pub async fn plan(&self) -> Result<Planned, Failure> {
        let rules = self.rules();
        let mut snapshot = self.services.ledger.snapshot().await.map_err(of_ledger)?;
        let wanted = self.choose(&rules, &snapshot);
        let mut looked = false;
        for (name, stream) in &self.streams {
            let opened = self.memory(|memory| memory.opened.contains(name));
            let has_work = wanted.actions.iter().any(|action| action.stream == *name);
            let held = stream
                .rules
                .held_by(&snapshot, self.services.clock.now())
                .is_some();
            if held || (opened && !has_work) {
                continue;
            }
            looked = true;
            let followed = if opened {
                stream.log.follow().await
            } else {
                stream.log.open(&stream.definition).await
            };
            match followed {
                Ok(()) => self.memory(|memory| _ = memory.opened.insert(name.clone())),
                Err(failure) if failure.kind == FailureKind::Local => return Err(failure),
                Err(failure) => self.hold_up(&stream.rules, &failure, &mut snapshot).await?,
            }
        }
        if looked {
            snapshot = self.services.ledger.snapshot().await.map_err(of_ledger)?;
        }
        let plan = if looked {
            self.choose(&rules, &snapshot)
        } else {
            wanted
        };
        self.remember(&rules, &snapshot);
        Ok(Planned {
            plan,
            holds: snapshot.holds,
        })
    }

    fn rules(&self) -> Vec<StreamRules> {
        self.streams.values().map(|stream| stream.rules.clone()).collect()
    }

    fn choose(&self, rules: &[StreamRules], snapshot: &Snapshot) -> Plan {
        let now = self.services.clock.now();
        self.selection
            .choose(plan(rules, snapshot, now), rules, snapshot, now)
    }

    /// A stream whose log cannot be read waits, with all that shares the cause.
    async fn hold_up(
        &self,
        rules: &StreamRules,
        failure: &Failure,
        snapshot: &mut Snapshot,
    ) -> Result<(), Failure> {
        let resource = match failure.scope {
            Scope::Store => Resource::Store(rules.store.clone()),
            _ => Resource::Stream(rules.name.clone()),
        };
        let hold = hold_on(rules, &resource, failure, snapshot, self.services.clock.now());
        self.services
            .ledger
            .hold(&resource, &hold)
            .await
            .map_err(of_ledger)?;
        snapshot.holds.insert(resource, hold);
        Ok(())
    }

    fn remember(&self, rules: &[StreamRules], snapshot: &Snapshot) {
        let now = self.services.clock.now();
        let pausing = |rules: &StreamRules, window| match judge(rules, window, snapshot, now) {
            Verdict::Waiting {
                why: Waiting::Pause { .. } | Waiting::Hold { .. },
                next,
            } => Some(next),
            _ => None,
        };
        let chosen = |rules: &&StreamRules| self.selection.concerns(&rules.name);
        let pauses_until = rules
            .iter()
            .filter(chosen)
            .flat_map(|rules| {
                let windows = rules
                    .completed(now)
                    .filter(|window| self.selection.includes(&rules.name, *window));
                windows.filter_map(move |window| pausing(rules, window))
            })
            .min();
        self.memory(|memory| {
            memory.held = snapshot
                .holds
                .iter()
                .map(|(resource, hold)| (resource.clone(), hold.until))
                .collect();
            memory.pauses_until = pauses_until;
        });
    }

    /// When the first of the windows that are due and pause may go on, as of the last look.
    pub fn pauses_until(&self) -> Option<Timestamp> {
        self.memory(|memory| memory.pauses_until)
    }

    /// What a stream's windows need besides themselves.
    fn resources(&self, stream: &StreamName) -> Vec<Resource> {
        let Some(stream) = self.streams.get(stream) else {
            return Vec::new();
        };
        vec![
            Resource::Daemon,
            Resource::Stream(stream.name().clone()),
            Resource::Source(stream.rules.source.clone()),
            Resource::Store(stream.rules.store.clone()),
        ]
    }

    /// Ends the holds on what a window of `stream` has just shown to work; says which. A hold that has not run out
    /// stays: the window was in flight before it, and a pause that the other side asked for is a promise.
    pub async fn lift_holds(&self, stream: &StreamName) -> Vec<Resource> {
        let now = self.services.clock.now();
        let run_out = |memory: &mut Memory, resource: &Resource| {
            memory.held.get(resource).is_some_and(|until| *until <= now)
                && memory.held.remove(resource).is_some()
        };
        let needed = self.resources(stream).into_iter();
        let held: Vec<_> =
            self.memory(|memory| needed.filter(|resource| run_out(memory, resource)).collect());
        for resource in &held {
            if let Err(error) = self.services.ledger.lift(resource).await {
                tracing::debug!(%resource, %error, "hold not lifted; it counts on when the next failure comes");
            }
        }
        held
    }

    fn memory<T>(&self, with: impl FnOnce(&mut Memory) -> T) -> T {
        // A panic elsewhere leaves nothing half-done in it: each use is one assignment.
        with(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
