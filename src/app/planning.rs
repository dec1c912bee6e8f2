//! A look: what is due now. Logs are opened and followed first, so that the plan rests on the truth in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::domain::failure::{Failure, Scope};
use crate::domain::name::{SourceName, StoreName, StreamName};
use crate::domain::planner::{Plan, plan};
use crate::domain::snapshot::{Hold, Resource, Snapshot, WindowState};
use crate::domain::verdict::{StreamRules, Verdict, Waiting, judge, pauses_until};

use super::clock_watch::Standing;
use super::compose::Streams;
use super::failure_policy::hold_log;
use super::first_losses;
use super::log_readings::Readings;
use super::open_work::WindowStates;
use super::proving::prove_all;
use super::selection::Selection;
use super::services::Services;
use super::stream::Stream;
use crate::domain::window::Window;

/// Makes plans.
pub struct Look {
    /// What windows are worked on with.
    pub services: Arc<Services>,
    /// Which of their windows.
    pub selection: Selection,
    /// What is remembered between looks of this run, and could be found out anew.
    memory: Mutex<Memory>,
    pub(super) readings: Readings,
}

#[derive(Default)]
struct Memory {
    /// Streams whose log was opened in this run.
    opened: BTreeSet<StreamName>,
    /// Held up at the last look.
    held: BTreeSet<Resource>,
    /// When the first of the windows that are due and pause may go on.
    pauses_until: Option<Timestamp>,
    /// When old attempts were forgotten.
    forgot_at: Option<Timestamp>,
}

/// What a look found.
pub struct Planned {
    /// What is to be done.
    pub plan: Plan,
    /// Sources whose project is to be looked up, each with when that is due.
    pub unknown: BTreeMap<SourceName, Timestamp>,
    /// Stores that are to prove themselves before anything is put there, each with when that is due.
    pub unproven: BTreeMap<StoreName, Timestamp>,
    /// What is held up.
    pub holds: BTreeMap<Resource, Hold>,
    /// Streams and stores whose logs can be read again, and this machine, where that ended their holds.
    pub lifted: Vec<Resource>,
    /// The states of all windows; `None` where nothing may be done.
    pub states: Option<Arc<WindowStates>>,
}

impl Look {
    /// Looks at the streams that there are, whose windows `selection` chooses from.
    pub fn new(services: Arc<Services>, selection: Selection) -> Self {
        Self { services, selection, memory: Mutex::default(), readings: Readings::default() }
    }

    /// Has the stores prove themselves and reads the logs, for work that rests on what they say and on no plan. What fails holds
    /// up what needs it.
    ///
    /// # Errors
    /// When this machine fails.
    pub async fn open(&self) -> Result<(), Failure> {
        let Services { ledger, clock, roster, .. } = &*self.services;
        let snapshot = ledger.snapshot().await?;
        let unproven = self.unproven(&roster.rules(), &snapshot, clock.now());
        prove_all(&self.services, unproven.into_keys()).await?;
        self.plan_with(&BTreeSet::new(), true).await.map(|_| ())
    }

    /// What is to be done now, by others than those who are `busy` with a window.
    ///
    /// # Errors
    /// When this machine's ledger fails: then nothing can be done at all.
    pub async fn plan(&self, busy: &BTreeSet<(StreamName, Window)>) -> Result<Planned, Failure> {
        self.plan_with(busy, false).await
    }

    /// As [`Self::plan`], with every log read to its end where it `waits_for_all`, whatever else there is to do.
    async fn plan_with(
        &self,
        busy: &BTreeSet<(StreamName, Window)>,
        waits_for_all: bool,
    ) -> Result<Planned, Failure> {
        let services = &self.services;
        let given_back = services.owed.give_back(&*services.ledger, services.clock.now()).await;
        // A look all the same, though the ledger takes nothing down.
        given_back.inspect_err(|_| services.run.not_noted(services.clock.now()))?;
        // A ledger that could not be written to is seen to take something, before anybody is told that all is well.
        let must_write = services.machine.is_down();
        services.run.looked(&*services.ledger, services.clock.now(), must_write).await?;
        let streams = services.roster.streams();
        let rules: Vec<_> = streams.values().map(|stream| stream.rules.clone()).collect();
        let mut snapshot = self.services.ledger.snapshot().await?;
        // The answers to proofs say what time it is: nobody need be asked for it first.
        if services.watch.standing() == Standing::Unknown
            && let Some(planned) = self.proofs_first(&snapshot)
        {
            return Ok(planned);
        }
        let standing = services.watch.look_and_record(&*services.ledger, &mut snapshot).await?;
        if matches!(standing, Standing::Wrong(_)) {
            return Ok(self.hold_still(&services.roster.rules(), snapshot));
        }
        self.forget_old_attempts().await?;
        let wanted = self.choose(&rules, &snapshot);
        let looks = streams.values().filter(|stream| self.is_to_be_read(stream, &wanted, &snapshot));
        let is_open = |stream: &StreamName| self.memory(|memory| memory.opened.contains(stream));
        let looks = looks.map(|stream| (Arc::clone(stream), is_open(stream.name()))).collect();
        let goes_on_without = |logs: &BTreeSet<&StreamName>| {
            !waits_for_all && (!busy.is_empty() || self.has_work_without(logs, &streams, &wanted))
        };
        let read = self.readings.read(looks, goes_on_without).await;
        let looked = !read.is_empty();
        let is_read = |(stream, outcome): &(Arc<Stream>, Result<(), Failure>)| {
            outcome.is_ok().then(|| stream.rules.store.clone())
        };
        let works: BTreeSet<_> = read.iter().filter_map(is_read).collect();
        let at_work = AtWork::of(&streams, &wanted, busy);
        let (mut lifted, mut opened) = (Vec::new(), Vec::new());
        for (stream, outcome) in read {
            match outcome {
                Ok(()) => {
                    if self.memory(|memory| memory.opened.insert(stream.name().clone())) {
                        opened.push(stream.rules.clone());
                    }
                    lifted.extend(self.lift_idle(&stream, &at_work, &snapshot).await?);
                }
                Err(failure) if failure.scope == Scope::Daemon => return Err(failure),
                Err(failure) => {
                    let now = services.clock.now();
                    hold_log(&stream.rules, &failure, &works, &*services.ledger, now).await?;
                }
            }
        }
        if looked {
            snapshot = self.services.ledger.snapshot().await?;
            self.sweep_spool(busy, &snapshot).await?;
            first_losses::say(&opened, &snapshot, services.clock.now());
        }
        let mut plan = if looked { self.choose(&rules, &snapshot) } else { wanted };
        if let Standing::Confirmed(confirmed) = &standing {
            plan.lose_nothing_after(confirmed.at(), services.clock.now());
        }
        // Nothing is put into a store that has shown nothing yet, whatever was lifted meanwhile.
        plan.actions.retain(|action| is_open(&action.stream) && !self.readings.go_on(&action.stream));
        let all = services.roster.rules();
        self.remember(&all, &snapshot);
        let now = services.clock.now();
        let unproven = self.unproven(&all, &snapshot, now);
        let is_proving = unproven.values().any(|due| *due <= now);
        if plan.actions.is_empty() && busy.is_empty() && !is_proving {
            lifted.extend(self.lift_machine(&snapshot, now).await?);
        }
        let unknown = self.unknown(&all, &snapshot, now);
        let states = Some(Arc::new(snapshot.windows));
        Ok(Planned { plan, unknown, unproven, holds: snapshot.holds, lifted, states })
    }

    /// What is to be done where nothing can be before a store is proven.
    fn proofs_first(&self, snapshot: &Snapshot) -> Option<Planned> {
        let Services { roster, proofs, clock, .. } = &*self.services;
        let (rules, now) = (roster.rules(), clock.now());
        let unproven = self.unproven(&rules, snapshot, now);
        let any_proven = rules.iter().any(|rules| proofs.is_proven(&rules.store));
        let first = !any_proven && unproven.values().any(|due| *due <= now);
        first.then(|| Planned { unproven, ..self.hold_still(&rules, snapshot.clone()) })
    }

    /// Once a day, and never by a clock that is known to be wrong.
    async fn forget_old_attempts(&self) -> Result<(), Failure> {
        let now = self.services.clock.now();
        let day = SignedDuration::from_hours(24);
        let is_done =
            self.memory(|memory| memory.forgot_at.is_some_and(|at| now.duration_since(at).abs() < day));
        let before = now.saturating_sub(self.services.keep_attempts).ok().filter(|_| !is_done);
        let Some(before) = before else { return Ok(()) };
        let forgotten = self.services.ledger.forget_attempts(before).await?;
        if forgotten > 0 {
            tracing::info!(attempts = forgotten, %before, "old attempts forgotten");
        }
        self.memory(|memory| memory.forgot_at = Some(now));
        Ok(())
    }

    /// While the clock is wrong nothing is done: what is due, what is over and what is too old to keep all go by it.
    fn hold_still(&self, rules: &[StreamRules], snapshot: Snapshot) -> Planned {
        self.remember(rules, &snapshot);
        let plan = Plan { actions: Vec::new(), next_wake: None };
        Planned {
            plan,
            unknown: BTreeMap::new(),
            unproven: BTreeMap::new(),
            holds: snapshot.holds,
            lifted: Vec::new(),
            states: None,
        }
    }

    /// Ends the holds on a stream whose log was just read, and on its store, where they have no work: no window will show
    /// that they work again.
    async fn lift_idle(
        &self,
        stream: &Stream,
        at_work: &AtWork,
        snapshot: &Snapshot,
    ) -> Result<Vec<Resource>, Failure> {
        let (stream, store) = (stream.name().clone(), stream.rules.store.clone());
        let idle = [
            (!at_work.streams.contains(&stream)).then_some(Resource::Stream(stream)),
            (!at_work.stores.contains(&store)).then_some(Resource::Store(store)),
        ];
        let now = self.services.clock.now();
        let mut lifted = Vec::new();
        for resource in idle.into_iter().flatten().filter(|resource| snapshot.holds.contains_key(resource)) {
            if self.services.ledger.lift(&resource, now).await? {
                lifted.push(resource);
            }
        }
        Ok(lifted)
    }

    /// Ends the outage of this machine where nothing is to be done that could show whether it is over, and the ledger has just
    /// taken something.
    async fn lift_machine(&self, snapshot: &Snapshot, now: Timestamp) -> Result<Option<Resource>, Failure> {
        let Services { ledger, machine, .. } = &*self.services;
        let hold = snapshot.holds.get(&Resource::Daemon);
        if self.pauses_until().is_some() || hold.is_some_and(|hold| hold.is_on(now)) {
            return Ok(None);
        }
        let was_down = machine.is_down();
        machine.works();
        let lifted = hold.is_some() && ledger.lift(&Resource::Daemon, now).await?;
        Ok((was_down || lifted).then_some(Resource::Daemon))
    }

    /// Whether there is work of streams that can be worked on, other than these.
    fn has_work_without(&self, those: &BTreeSet<&StreamName>, streams: &Streams, wanted: &Plan) -> bool {
        let is_proven = |stream: &Arc<Stream>| self.services.proofs.is_proven(&stream.rules.store);
        let mut others = wanted.actions.iter().filter(|action| !those.contains(&action.stream));
        others.any(|action| streams.get(&action.stream).is_some_and(is_proven))
    }

    /// Whether a stream's log is to be read: before its windows are worked on, and to see whether what held it is over.
    fn is_to_be_read(&self, stream: &Stream, wanted: &Plan, snapshot: &Snapshot) -> bool {
        let Services { clock, proofs, .. } = &*self.services;
        let opened = self.memory(|memory| memory.opened.contains(stream.name()));
        let (name, store) = (stream.name().clone(), stream.rules.store.clone());
        let was_held = [Resource::Stream(name), Resource::Store(store)];
        let was_held = was_held.iter().any(|resource| snapshot.holds.contains_key(resource));
        let held = stream.rules.log_held_by(snapshot, clock.now()).is_some();
        let can_be = proofs.is_proven(&stream.rules.store) && !held;
        can_be && (has_work(stream, wanted) || !opened || was_held)
    }

    /// Stores that streams wait for, because they have shown nothing yet: due now, unless something holds them up.
    fn unproven(
        &self,
        rules: &[StreamRules],
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> BTreeMap<StoreName, Timestamp> {
        let unproven = rules.iter().filter(|rules| {
            self.selection.concerns(&rules.name) && !self.services.proofs.is_proven(&rules.store)
        });
        let due = |rules: &StreamRules| {
            let due = rules.store_held_by(snapshot, now).map_or(now, |hold| hold.until);
            (rules.store.clone(), due)
        };
        unproven.map(due).collect()
    }

    /// What the log has settled meanwhile needs no spool. The export of a lost window may still be asked for.
    async fn sweep_spool(
        &self,
        busy: &BTreeSet<(StreamName, Window)>,
        snapshot: &Snapshot,
    ) -> Result<(), Failure> {
        let keep = |stream: &StreamName, window| {
            let state = snapshot.windows.get(stream).and_then(|windows| windows.get(&window));
            let settled = matches!(state, Some(WindowState::Archived { .. }));
            !settled || busy.contains(&(stream.clone(), window))
        };
        self.services.spool.sweep(&keep).await.map(|_| ()).map_err(|error| error.0)
    }

    /// Sources whose project is not known: due now, unless something holds them up.
    fn unknown(
        &self,
        rules: &[StreamRules],
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> BTreeMap<SourceName, Timestamp> {
        let due = |source: SourceName| {
            let rules = rules.iter().find(|rules| rules.source == source)?;
            let due = rules.source_held_by(snapshot, now).map_or(now, |hold| hold.until);
            Some((source, due))
        };
        self.services.roster.unknown().into_iter().filter_map(due).collect()
    }

    fn choose(&self, rules: &[StreamRules], snapshot: &Snapshot) -> Plan {
        let now = self.services.clock.now();
        self.selection.choose(plan(rules, snapshot, now), rules, snapshot, now)
    }

    fn remember(&self, rules: &[StreamRules], snapshot: &Snapshot) {
        let now = self.services.clock.now();
        let pausing = |rules: &StreamRules, window| match judge(rules, window, snapshot, now) {
            Verdict::Waiting { why: Waiting::Pause { .. } | Waiting::Hold { .. }, next } => Some(next),
            Verdict::Lost { seq: None, .. } => pauses_until(rules, window, snapshot, now)
                .or_else(|| rules.silenced_by(snapshot, now).map(|(_, hold)| hold.until)),
            _ => None,
        };
        let chosen = |rules: &&StreamRules| self.selection.concerns(&rules.name);
        let pauses_until = rules
            .iter()
            .filter(chosen)
            .flat_map(|rules| {
                let windows =
                    rules.completed(now).filter(|window| self.selection.includes(&rules.name, *window));
                windows.filter_map(move |window| pausing(rules, window))
            })
            .min();
        self.memory(|memory| {
            memory.held = snapshot.holds.keys().cloned().collect();
            memory.pauses_until = pauses_until;
        });
    }

    /// When the first of the windows that are due and pause may go on, as of the last look.
    pub fn pauses_until(&self) -> Option<Timestamp> {
        self.memory(|memory| memory.pauses_until)
    }

    /// Ends the holds on what a window of `stream` has just `shown` to work; says which. A hold that has not run out
    /// stays: the window was in flight before it, and a pause that the other side asked for is a promise.
    pub async fn lift_holds(&self, stream: &StreamName, shown: fn(&Resource) -> bool) -> Vec<Resource> {
        let Some(stream) = self.services.roster.stream(stream) else { return Vec::new() };
        let now = self.services.clock.now();
        let held = self.memory(|memory| memory.held.clone());
        let mut lifted = Vec::new();
        let lifted_now = |resource: &Resource| held.contains(resource) && shown(resource);
        for resource in stream.rules.needs().filter(lifted_now) {
            match self.services.ledger.lift(&resource, now).await {
                Ok(true) => lifted.push(resource),
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%resource, %error, "hold not lifted; it counts on at the next failure")
                }
            }
        }
        lifted
    }

    fn memory<T>(&self, with: impl FnOnce(&mut Memory) -> T) -> T {
        with(&mut self.memory.lock())
    }
}

/// What windows are to be worked on, or are being.
struct AtWork {
    streams: BTreeSet<StreamName>,
    stores: BTreeSet<StoreName>,
}

impl AtWork {
    fn of(streams: &Streams, wanted: &Plan, busy: &BTreeSet<(StreamName, Window)>) -> Self {
        let wanted = wanted.actions.iter().map(|action| &action.stream);
        let at_work: BTreeSet<_> = wanted.chain(busy.iter().map(|(stream, _)| stream)).cloned().collect();
        let stores = at_work.iter().filter_map(|name| streams.get(name));
        let stores = stores.map(|stream| stream.rules.store.clone()).collect();
        Self { streams: at_work, stores }
    }
}

fn has_work(stream: &Stream, wanted: &Plan) -> bool {
    wanted.actions.iter().any(|action| action.stream == *stream.name())
}
