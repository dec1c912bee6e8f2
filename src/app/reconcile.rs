//! The reconciler: makes the plan, works on it, and looks again.
//!
//! It goes by levels, not by edges: every look derives what is due from config, ledger and clock. A wake-up (the cron
//! job, SIGHUP, a timer of its own) carries no meaning but "look again", so missed, doubled or late ones change
//! nothing. The loop itself never waits for network or disk: plans and windows run as tasks beside it. So it can feed
//! systemd's watchdog, and a watchdog that is not fed means that the reconciler is stuck.

mod beside;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::backoff::pause;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::name::{SourceName, StoreName, StreamName};
use crate::domain::planner::{Action, InWork, Places, Sharers, Turns};
use crate::domain::snapshot::Resource;
use crate::domain::window::Window;
use crate::ports::record_source::Upkeep;

use super::archive::Job;
use super::observer::{Ending, Event, Observer};
use super::planning::{Look, Planned};
use super::projects::Looked;
use super::proving::Proof;
use super::report::Report;
use super::services::Services;
use super::upkeep::Upkeeps;

/// Without any wake-up, it looks again after this: clocks jump, and timers of sleeping machines stand still.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
mod end;

use end::LONGEST_UPKEEP;

/// When a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// When it is told to stop.
    Stopped,
    /// When nothing is due any more, or what is due has failed too often to wait for. Upkeep that cannot be done yet is left to
    /// the next run.
    NothingDue,
}

/// What a run goes by.
pub struct Reconciler {
    /// Makes the plan.
    pub look: Arc<Look>,
    /// Windows in flight at the most.
    pub concurrency: NonZeroUsize,
    /// Wakes it.
    pub wake: Arc<Notify>,
    /// Stops it.
    pub stop: CancellationToken,
    /// Sees what happens.
    pub observer: Arc<dyn Observer>,
    /// How often [`Event::Alive`] is told.
    pub alive_every: Duration,
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Windows archived.
    pub archived: u64,
    /// Revisions stored of windows that were archived before.
    pub revised: u64,
    /// Windows pulled again whose records are the same.
    pub unchanged: u64,
    /// Windows attested as lost.
    pub lost: u64,
    /// Gaps that the log says are acknowledged now.
    pub acknowledged: u64,
    /// Tries that failed.
    pub failed: u64,
    /// Whether the ledger was found damaged, so that the run ended: the next start makes it anew.
    pub ledger_damaged: bool,
}

enum Done {
    /// Nothing, where the run was told to stop meanwhile.
    Planned(Option<Result<Planned, Failure>>),
    Worked(StreamName, Window, Ending, Vec<Resource>),
    Upkept(SourceName, Result<Upkeep, Failure>),
    LookedUp(SourceName, Result<Looked, Failure>),
    Proven(StoreName, Result<Proof, Failure>),
}

/// A window in work.
struct Working {
    place: InWork,
    began: Instant,
}

struct Run<'r> {
    reconciler: &'r Reconciler,
    tasks: JoinSet<Done>,
    working: HashMap<Id, Working>,
    /// Who shares the places, of what the run is about.
    sharers: Sharers,
    planning: Option<Id>,
    upkeeps: Upkeeps,
    looking_up: BTreeMap<SourceName, Id>,
    proving: BTreeMap<StoreName, Id>,
    queue: VecDeque<Action>,
    turns: Turns,
    next_wake: Option<Timestamp>,
    stale: bool,
    /// The next look, whatever happens until then.
    look_at: Instant,
    /// This machine cannot work before then, and perhaps cannot even write that down.
    not_before: Option<Instant>,
    local_failures: u32,
    /// Whether something failed as a damaged ledger does.
    doubts_ledger: bool,
    waits: u32,
    /// Since when upkeep is running and nothing else is in flight.
    only_upkeep: Option<Instant>,
    /// Whether to wait was decided since the last look.
    waiting: bool,
    tally: Tally,
    report: Report,
}

impl Reconciler {
    /// Reconciles until `until`, or until it is told to stop.
    pub async fn run(&self, until: Until) -> Tally {
        let mut run = Run {
            reconciler: self,
            tasks: JoinSet::new(),
            working: HashMap::new(),
            sharers: Sharers::default(),
            planning: None,
            upkeeps: Upkeeps::default(),
            looking_up: BTreeMap::new(),
            proving: BTreeMap::new(),
            queue: VecDeque::new(),
            turns: Turns::default(),
            next_wake: None,
            stale: true,
            look_at: Instant::now() + LOOK_AGAIN,
            not_before: None,
            local_failures: 0,
            doubts_ledger: false,
            waits: 0,
            only_upkeep: None,
            waiting: false,
            tally: Tally::default(),
            report: Report::default(),
        };
        let mut alive = tokio::time::interval(self.alive_every);
        while !self.stop.is_cancelled() {
            if until == Until::NothingDue && run.has_kept_up_long_enough() && !run.worth_waiting() {
                break;
            }
            run.start_what_can_be();
            let idle = run.tasks.is_empty();
            if idle && until == Until::NothingDue && !run.worth_waiting() {
                break;
            }
            if idle {
                self.observer.on(&Event::Idle { until: run.next_wake });
            }
            // The clock may have been set since the last look; the look itself is put off by nothing.
            let next_look = run.look_at.min(Instant::now() + run.wait());
            tokio::select! {
                () = self.stop.cancelled() => {}
                Some(done) = run.tasks.join_next_with_id(), if !idle => run.take(done),
                () = self.wake.notified() => run.stale = true,
                () = self.look.readings.over() => run.stale = true,
                () = tokio::time::sleep_until(next_look) => {
                    run.stale = true;
                    run.look_at = Instant::now() + LOOK_AGAIN;
                }
                _ = alive.tick() => self.observer.on(&Event::Alive),
            }
            if run.has_damaged_ledger().await {
                break;
            }
        }
        run.wind_up().await;
        run.tally
    }
}

impl Run<'_> {
    /// Starts a look when one is wanted, and windows while there is room.
    fn start_what_can_be(&mut self) {
        if self.not_before.is_some_and(|instant| instant > Instant::now()) {
            return;
        }
        if self.stale && self.planning.is_none() {
            self.stale = false;
            let look = Arc::clone(&self.reconciler.look);
            let busy = self.busy();
            // Whoever stops needs no plan, and a look may wait for a store that says nothing.
            let stop = self.reconciler.stop.clone();
            let task = self
                .tasks
                .spawn(async move { Done::Planned(stop.run_until_cancelled(look.plan(&busy)).await) });
            self.planning = Some(task.id());
        }
        // While a look goes on the old plan is no longer believed: it was found wanting.
        while self.planning.is_none() {
            let in_work = self.working.values().map(|working| (&working.place, working.began.elapsed()));
            let places = Places::new(self.reconciler.concurrency, &self.sharers, in_work);
            let Some(action) = self.turns.next(&mut self.queue, &places) else {
                return;
            };
            self.start(action);
        }
    }

    /// The windows in work.
    fn busy(&self) -> BTreeSet<(StreamName, Window)> {
        self.working.values().map(|at| (at.place.stream.clone(), at.place.window)).collect()
    }

    fn start(&mut self, action: Action) {
        let place = InWork::of(&action, &self.sharers);
        let Action { stream: name, window, task, .. } = action;
        let Some(stream) = self.reconciler.look.services.roster.stream(&name) else {
            return;
        };
        if self.working.values().any(|at| at.place.stream == name && at.place.window == window) {
            return;
        }
        self.reconciler.look.selection.started(window);
        self.reconciler.observer.on(&Event::Started { stream: name.clone(), window });
        let look = Arc::clone(&self.reconciler.look);
        let worked = name.clone();
        let entered = look.services.in_work.enter(&name, window);
        let handle = self.tasks.spawn(async move {
            let _entered = entered;
            let ending = Job { services: &look.services, stream: &stream, window }.work(task).await;
            let lifted = match ending {
                Ending::Archived { .. } => look.lift_holds(&worked, |_| true).await,
                // The store was not asked for anything.
                Ending::Unchanged => {
                    look.lift_holds(&worked, |resource| !matches!(resource, Resource::Store(_))).await
                }
                // Whatever the source was asked, it need not have answered. An entry was written.
                Ending::Lost { .. } | Ending::Parked { .. } | Ending::Acknowledged { .. } => {
                    look.lift_holds(&worked, |resource| !matches!(resource, Resource::Source(_))).await
                }
                // An answer came, though not one that can be archived.
                Ending::Failed(ref failure) if is_answered(failure) => {
                    look.lift_holds(&worked, |resource| matches!(resource, Resource::Source(_))).await
                }
                _ => Vec::new(),
            };
            Done::Worked(worked, window, ending, lifted)
        });
        let began = Instant::now();
        self.working.insert(handle.id(), Working { place, began });
    }

    fn take(&mut self, done: Result<(Id, Done), tokio::task::JoinError>) {
        match done {
            Ok((_, Done::Planned(planned))) => {
                self.planning = None;
                match planned {
                    Some(Ok(planned)) => self.planned(planned),
                    Some(Err(failure)) => self.hold_all(&failure),
                    None => {}
                }
            }
            Ok((id, Done::Worked(stream, window, ending, lifted))) => {
                if let Some(Working { place, began }) = self.working.remove(&id) {
                    let has_failed = matches!(ending, Ending::Failed(_));
                    self.turns.ended(&place, began.elapsed(), has_failed);
                }
                self.worked(stream, window, ending, lifted);
            }
            Ok((_, Done::Upkept(source, outcome))) => {
                self.stale |= self.upkeeps.ended(&source, &outcome, Instant::now());
                if let Err(failure) = &outcome
                    && failure.scope == Scope::Daemon
                {
                    self.hold_all(failure);
                }
                self.report.upkept(&source, outcome);
            }
            Ok((_, Done::LookedUp(source, outcome))) => {
                self.looking_up.remove(&source);
                self.stale = true;
                match outcome {
                    Ok(looked) => self.looked_up(source, looked),
                    Err(failure) => self.hold_all(&failure),
                }
            }
            Ok((_, Done::Proven(store, outcome))) => {
                self.proving.remove(&store);
                self.stale = true;
                match outcome {
                    Ok(proof) => self.proven(store, proof),
                    Err(failure) => self.hold_all(&failure),
                }
            }
            Err(broken) => {
                if self.planning == Some(broken.id()) {
                    self.planning = None;
                }
                self.upkeeps.broke_off(broken.id());
                self.looking_up.retain(|_, by| *by != broken.id());
                self.proving.retain(|_, by| *by != broken.id());
                let at = self.working.remove(&broken.id());
                let at = at.map(|at| format!("window {} of stream {}", at.place.window, at.place.stream));
                tracing::error!(error = %broken, at, "a task broke off: please report this as a bug");
                let what = "a task broke off; see the log";
                self.hold_all(&Failure::new(FailureKind::Local, Scope::Daemon, what));
            }
        }
    }

    fn planned(&mut self, planned: Planned) {
        let now = self.reconciler.look.services.clock.now();
        if planned.lifted.contains(&Resource::Daemon) {
            self.local_failures = 0;
        }
        self.report.works_again(planned.lifted);
        self.report.shared_failures(&planned.holds, now);
        let working = self.busy();
        let free = |action: &Action| !working.contains(&(action.stream.clone(), action.window));
        self.waiting = false;
        self.queue = planned.plan.actions.into_iter().filter(free).collect();
        let awaited = planned.unknown.values().chain(planned.unproven.values()).filter(|at| **at > now);
        self.next_wake = planned.plan.next_wake.iter().chain(awaited).min().copied();
        let sources = planned.unknown.into_iter().filter(|(_, at)| *at <= now);
        sources.for_each(|(source, _)| self.look_up(source));
        let stores = planned.unproven.into_iter().filter(|(_, at)| *at <= now);
        stores.for_each(|(store, _)| self.prove(store));
        let rules = self.reconciler.look.services.roster.rules();
        let concerned = rules.iter().filter(|rules| self.reconciler.look.selection.concerns(&rules.name));
        self.sharers = Sharers::of(concerned, &planned.holds, now);
        self.upkeeps.suspend(planned.states.is_none());
        if let Some(states) = planned.states {
            self.keep_up(&rules, &states, &planned.holds, now);
        }
        // Where a pause was over, it is being tried by now: there is nothing to look for.
        self.look_at = Instant::now() + self.wait();
        let (queued, in_flight) = (self.queue.len(), self.working.len());
        let whole = self.proving.is_empty();
        self.reconciler.observer.on(&Event::Planned { queued, in_flight, whole });
    }

    fn worked(&mut self, stream: StreamName, window: Window, ending: Ending, mut lifted: Vec<Resource>) {
        self.report.ending(&stream, window, &ending);
        // A look that is going on may have read the ledger before.
        self.stale |= !lifted.is_empty();
        lifted.iter().for_each(|resource| _ = self.sharers.on_trial.remove(resource));
        match &ending {
            Ending::Archived { .. } | Ending::Lost { .. } => {
                // A window that was in flight before this machine failed says nothing about it.
                if self.not_before.is_none_or(|instant| instant <= Instant::now()) {
                    lifted.push(Resource::Daemon);
                    self.local_failures = 0;
                    self.reconciler.look.services.machine.works();
                }
                self.report.works_again(lifted);
                self.waits = 0;
                match ending {
                    Ending::Lost { .. } => self.tally.lost += 1,
                    Ending::Archived { supersedes: Some(_), .. } => self.tally.revised += 1,
                    _ => self.tally.archived += 1,
                }
            }
            Ending::Failed(failure) => {
                self.report.works_again(lifted);
                self.tally.failed += 1;
                self.stale = true;
                if failure.scope == Scope::Daemon {
                    self.hold_all(failure);
                }
            }
            Ending::Unchanged => {
                self.report.works_again(lifted);
                self.tally.unchanged += 1;
            }
            Ending::Acknowledged { .. } => {
                self.report.works_again(lifted);
                self.tally.acknowledged += 1;
            }
            Ending::Parked { .. } => self.report.works_again(lifted),
            Ending::AlreadyArchived | Ending::HeldElsewhere | Ending::Interrupted => {}
        }
        self.stale |= self.queue.is_empty();
        self.reconciler.observer.on(&Event::Finished { stream, window, ending });
    }

    /// Nothing is started for a while.
    fn hold_all(&mut self, failure: &Failure) {
        self.report.this_machine(failure);
        self.doubts_ledger |= failure.kind == FailureKind::Damaged;
        (self.stale, self.waiting) = (true, false);
        if self.not_before.is_none_or(|instant| instant <= Instant::now()) {
            self.local_failures += 1;
            let wait = pause(self.local_failures, "this machine");
            self.not_before = Some(Instant::now() + wait);
            self.look_at = Instant::now() + self.wait();
            let Services { machine, clock, .. } = &*self.reconciler.look.services;
            let now = clock.now();
            let until = now.saturating_add(SignedDuration::try_from(wait).unwrap_or_default());
            machine.failed(failure, self.local_failures, now, until.unwrap_or(Timestamp::MAX));
        }
    }

    /// How long nothing happens, if nothing happens.
    fn wait(&self) -> Duration {
        let now = self.reconciler.look.services.clock.now();
        let planned = self.next_wake.map_or(LOOK_AGAIN, |wake| {
            Duration::try_from(wake.duration_since(now)).unwrap_or(Duration::ZERO)
        });
        let held = self.not_before.map(|instant| instant.saturating_duration_since(Instant::now()));
        let held = held.filter(|left| !left.is_zero());
        let upkeep = self.upkeeps.wait(Instant::now()).unwrap_or(LOOK_AGAIN);
        // What is due is being looked at while a look goes on.
        let due = if self.planning.is_some() { LOOK_AGAIN } else { planned.min(upkeep) };
        // A run that ends by itself leaves to the next one what takes longer.
        let due =
            self.only_upkeep.map_or(due, |since| due.min(LONGEST_UPKEEP.saturating_sub(since.elapsed())));
        // A moment more, so that the instant is past when the timer ends.
        held.unwrap_or(due).min(LOOK_AGAIN) + Duration::from_millis(5)
    }
}

/// Whether the source has answered a window's pull, with something that is the window's own trouble.
fn is_answered(failure: &Failure) -> bool {
    failure.scope == Scope::Window && matches!(failure.kind, FailureKind::Corrupt | FailureKind::Unread)
}
