//! The plan: what is to be done now, most urgent first. A pure function of (streams, ledger snapshot, now).
//!
//! What `plan` prints is what runs: the reconciler takes its work from here and from nowhere else. Order: by how
//! soon a window expires; but every second place goes to the newest window of the next stream, so that a month's
//! backlog of one stream never keeps last night of another waiting. Revisits come last: what is in no archive yet goes
//! before what may have changed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;
use serde::Serialize;

use super::name::StreamName;
use super::snapshot::Snapshot;
use super::verdict::{DueReason, StreamRules, Verdict, judge, pauses_until, revisit_at};
use super::window::Window;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Action {
    /// For which stream.
    pub stream: StreamName,
    /// With which window.
    pub window: Window,
    /// What.
    #[serde(flatten)]
    pub task: Task,
    /// When the window was due.
    pub due_at: Timestamp,
    /// When the source may begin to answer short.
    pub expires_at: Timestamp,
}

/// What is done with a window, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
    /// It is parked: say so in the log.
    AttestParked,
}

impl Task {
    /// Whether nothing is to be pulled, so that no expiry makes it urgent.
    pub fn is_attest(self) -> bool {
        matches!(self, Self::AttestLost | Self::AttestParked)
    }
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
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
            let todo = match task_for(&judge(rules, window, snapshot, now)) {
                Never => again(revisit_at(rules, window, snapshot, now), now),
                Now(Task::AttestLost) => {
                    pauses_until(rules, window, snapshot, now).map_or(Now(Task::AttestLost), Later)
                }
                todo => todo,
            };
            let held = if matches!(todo, Now(Task::AttestLost)) { silenced } else { held };
            match (todo, held) {
                (Now(Task::AttestLost | Task::AttestParked | Task::Revisit { .. }), Some(until)) => {
                    plan.wake_at(until);
                }
                (Now(task), _) => plan.actions.push(Action {
                    stream: rules.name.clone(),
                    window,
                    task,
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
        Verdict::Lost { seq: None, .. } => Now(Task::AttestLost),
        Verdict::Archived { .. } | Verdict::Lost { seq: Some(_), .. } => Never,
        Verdict::Parked { held_by: None, seq: None, .. } => Now(Task::AttestParked),
        Verdict::Parked { next, .. } => Later(*next),
        Verdict::Waiting { next, .. } => match verdict.due() {
            Some(reason) => Now(Task::Archive { reason }),
            None => Later(*next),
        },
    }
}

/// What is to be done with a window that is pulled again at `at`.
fn again(at: Option<Timestamp>, now: Timestamp) -> Todo {
    match at {
        Some(at) if at > now => Later(at),
        Some(_) => Now(Task::Revisit { reason: DueReason::Revisit }),
        None => Never,
    }
}

/// Orders by expiry, with the newest window of each stream let in at every second place, and
/// revisits after all else.
fn in_turns(mut actions: Vec<Action>) -> Vec<Action> {
    // What can still be pulled goes before what can only be attested: attesting does not get more urgent.
    actions.sort_by_key(|a| (a.task.is_attest(), a.expires_at, a.window, a.stream.clone()));
    let is_revisit = |action: &Action| matches!(action.task, Task::Revisit { .. });
    let (revisits, actions): (Vec<_>, Vec<_>) = actions.into_iter().partition(is_revisit);
    let mut newest: BTreeMap<&StreamName, Window> = BTreeMap::new();
    for action in actions.iter().filter(|action| !action.task.is_attest()) {
        let entry = newest.entry(&action.stream).or_insert(action.window);
        *entry = (*entry).max(action.window);
    }
    let newest: BTreeSet<(StreamName, Window)> = newest.into_iter().map(|(s, w)| (s.clone(), w)).collect();
    let (mut newest, mut others): (VecDeque<_>, VecDeque<_>) =
        actions.into_iter().partition(|action| newest.contains(&(action.stream.clone(), action.window)));
    let mut ordered = Vec::with_capacity(newest.len() + others.len());
    while !(newest.is_empty() && others.is_empty()) {
        ordered.extend(others.pop_front());
        ordered.extend(newest.pop_front());
    }
    ordered.extend(revisits);
    ordered
}

#[cfg(test)]
#[path = "planner_tests.rs"]
mod tests;
