//! The plan: what is to be done now, most urgent first. A pure function of (streams, ledger snapshot, now).
//!
//! What `plan` prints is what runs: the reconciler takes its work from here and from nowhere else. Order: by how
//! soon a window expires; but every second place goes to the newest window of the next stream, so that a month's
//! backlog of one stream never keeps last night of another waiting. Revisits come after them: what is in no archive yet goes
//! before what may have changed. Windows whose attempts have ended with the process come last, each of them alone.
//!
//! A plan is made anew long before the last one is worked off, and begins with the most urgent each time. So whoever works on
//! plans remembers whose turn it is ([`Turns`]): else the newest would wait wherever pulls take longer than plans last.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::crashes::Treatment;
use super::name::{SourceName, StoreName, StreamName};
use super::snapshot::Snapshot;
use super::verdict::{DueReason, StreamRules, Verdict, judge, pauses_until, revisit_at};
use super::window::Window;

mod places;
mod turns;

pub use places::{InWork, Pair, Places, Sharers};
pub use turns::Turns;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// For which stream.
    pub stream: StreamName,
    /// The source of the stream.
    pub source: SourceName,
    /// The store of the stream.
    pub store: StoreName,
    /// With which window.
    pub window: Window,
    /// What.
    #[serde(flatten)]
    pub task: Task,
    /// Whose turn it takes.
    pub turn: Turn,
    /// When the window was due.
    pub due_at: Timestamp,
    /// When the source may begin to answer short.
    pub expires_at: Timestamp,
}

/// What is done with a window, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Task {
    /// Pull and archive it.
    Archive {
        /// Why now.
        reason: DueReason,
    },
    /// It is archived: pull it again, and store a revision if its content differs.
    Revisit {
        /// Why now.
        reason: DueReason,
    },
    /// It has expired: say so in the log (or archive it, if its export lies in the spool).
    AttestLost,
    /// It had expired before its stream was opened, and nobody has accepted its loss: ask the source for it once.
    AskPastHorizon,
    /// It is parked: say so in the log.
    AttestParked,
    /// A person has taken note of its loss: say so in the log.
    Acknowledge,
}

impl Task {
    /// Whether no expiry makes it urgent: it has expired, or nothing is to be pulled.
    pub fn is_attest(self) -> bool {
        self.is_past_horizon() || matches!(self, Self::AttestParked | Self::Acknowledge)
    }

    /// Whether the window has expired.
    pub fn is_past_horizon(self) -> bool {
        matches!(self, Self::AttestLost | Self::AskPastHorizon)
    }

    /// Whether the source may be asked for an export.
    pub fn asks_source(self) -> bool {
        !matches!(self, Self::AttestParked | Self::Acknowledge)
    }

    /// Whose turn it takes with a window that is or is not its stream's newest, and is treated so.
    pub fn turn(self, is_newest: bool, treatment: Treatment) -> Turn {
        match self {
            Self::AttestParked | Self::Acknowledge => Turn::Urgent,
            _ if treatment.is_alone() => Turn::Alone,
            Self::Archive { .. } if is_newest => Turn::Newest,
            Self::Archive { .. } | Self::AttestLost | Self::AskPastHorizon => Turn::Urgent,
            Self::Revisit { .. } => Turn::Spare,
        }
    }
}

/// In which row an action stands: the first two take turns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// The newest windows that are due, one of each stream.
    #[default]
    Newest,
    /// All others that are not archived, by how soon they expire.
    Urgent,
    /// Revisits: when there is nothing else.
    Spare,
    /// Windows whose last attempts ended with the process: after all else, and with nothing beside them.
    Alone,
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Now, in this order.
    pub actions: Vec<Action>,
    /// When something else may be to be done, if nothing changes before.
    pub next_wake: Option<Timestamp>,
}

/// What is to be done at `now`.
pub fn plan(streams: &[StreamRules], snapshot: &Snapshot, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    for rules in streams {
        let held = rules.held_by(snapshot, now).map(|(_, hold)| hold.until);
        let silenced = rules.silenced_by(snapshot, now).map(|(_, hold)| hold.until);
        for window in rules.completed(now) {
            let verdict = judge(rules, window, snapshot, now);
            let treatment = Treatment::after(snapshot.crashes_of(&rules.name, window));
            let todo = match task_for(&verdict) {
                _ if is_to_be_acknowledged(rules, window, &verdict, snapshot) => Now(Task::Acknowledge),
                // A revisit is an extra: none is worth the end of the process.
                Never if treatment == Treatment::Parked => Never,
                Never => again(revisit_at(rules, window, snapshot, now), now),
                Now(task) if task.is_past_horizon() => {
                    pauses_until(rules, window, snapshot, now).map_or(Now(task), Later)
                }
                todo => todo,
            };
            let held = match todo {
                Now(task) if task.is_past_horizon() => silenced,
                Now(Task::Acknowledge) => rules.log_held_by(snapshot, now).map(|hold| hold.until),
                _ => held,
            };
            match (todo, held) {
                (Now(task), Some(until)) if !matches!(task, Task::Archive { .. }) => plan.wake_at(until),
                (Now(task), _) => plan.actions.push(Action {
                    stream: rules.name.clone(),
                    source: rules.source.clone(),
                    store: rules.store.clone(),
                    window,
                    task,
                    turn: task.turn(rules.is_newest(window, now), treatment),
                    due_at: rules.due_at(window),
                    expires_at: rules.expires_at(window),
                }),
                (Later(next), _) => plan.wake_at(next),
                (Never, _) => {}
            }
        }
        if let Some(open) = rules.calendar.window_at(now.max(rules.start)) {
            plan.wake_at(rules.due_at(open));
        }
    }
    plan.actions = in_turns(plan.actions);
    plan
}

impl Plan {
    /// Puts off losses of windows that have not expired at `confirmed`, which is not later than `now`, the planner's own
    /// time. What expires is decided by the earliest of all clocks.
    pub fn lose_nothing_after(&mut self, confirmed: Timestamp, now: Timestamp) {
        let is_early = |action: &Action| action.task.is_past_horizon() && action.expires_at > confirmed;
        let (early, actions): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.actions).into_iter().partition(is_early);
        self.actions = actions;
        for action in early {
            let left = action.expires_at.duration_since(confirmed);
            self.wake_at(now.saturating_add(left).unwrap_or(Timestamp::MAX));
        }
    }

    fn wake_at(&mut self, instant: Timestamp) {
        self.next_wake = Some(self.next_wake.map_or(instant, |wake| wake.min(instant)));
    }
}

enum Todo {
    Now(Task),
    Later(Timestamp),
    Never,
}
use Todo::{Later, Never, Now};

fn task_for(verdict: &Verdict) -> Todo {
    match verdict {
        Verdict::Lost { seq: None, unaccepted: false, .. } => Now(Task::AttestLost),
        Verdict::Lost { to_be_asked: true, .. } => Now(Task::AskPastHorizon),
        // The others wait for `accept_lost_before`.
        Verdict::Lost { .. } => Never,
        Verdict::Archived { .. } => Never,
        Verdict::Parked { held_by: None, seq: None, .. } => Now(Task::AttestParked),
        Verdict::Parked { next, .. } => Later(*next),
        Verdict::Waiting { next, .. } => match verdict.due() {
            Some(reason) => Now(Task::Archive { reason }),
            None => Later(*next),
        },
    }
}

/// Whether a person asked for the acknowledgement of the very entry that the verdict on `window` rests on.
fn is_to_be_acknowledged(
    rules: &StreamRules,
    window: Window,
    verdict: &Verdict,
    snapshot: &Snapshot,
) -> bool {
    let asked = snapshot.to_acknowledge.get(&rules.name).and_then(|windows| windows.get(&window));
    asked.is_some_and(|asked| verdict.acknowledgeable() == Some(asked.entry))
}

/// What is to be done with a window that is pulled again at `at`.
fn again(at: Option<Timestamp>, now: Timestamp) -> Todo {
    match at {
        Some(at) if at > now => Later(at),
        Some(_) => Now(Task::Revisit { reason: DueReason::Revisit }),
        None => Never,
    }
}

/// Orders by expiry, with the newest window of each stream let in at every second place. Revisits come after them, and then
/// what goes alone.
fn in_turns(mut actions: Vec<Action>) -> Vec<Action> {
    // What can still be pulled goes before what can only be attested: attesting does not get more urgent.
    actions.sort_by_key(|a| (a.task.is_attest(), a.expires_at, a.window, a.stream.clone()));
    let (alone, actions): (Vec<_>, Vec<_>) =
        actions.into_iter().partition(|action| action.turn == Turn::Alone);
    let (spare, actions): (Vec<_>, Vec<_>) =
        actions.into_iter().partition(|action| action.turn == Turn::Spare);
    let (mut newest, mut urgent): (VecDeque<_>, VecDeque<_>) =
        actions.into_iter().partition(|action| action.turn == Turn::Newest);
    let mut ordered = Vec::with_capacity(newest.len() + urgent.len() + spare.len() + alone.len());
    while !(newest.is_empty() && urgent.is_empty()) {
        ordered.extend(urgent.pop_front());
        ordered.extend(newest.pop_front());
    }
    ordered.extend(spare);
    ordered.extend(alone);
    ordered
}

#[cfg(test)]
pub(crate) mod tests;
