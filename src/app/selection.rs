//! Which windows a run is about: all that are due, or those that `backfill` names.

use std::collections::BTreeSet;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::domain::crashes::Treatment;
use crate::domain::name::StreamName;
use crate::domain::planner::{Action, Plan, Task};
use crate::domain::snapshot::Snapshot;
use crate::domain::verdict::{DueReason, StreamRules, Verdict, judge};
use crate::domain::window::Window;

/// What is chosen of a plan.
pub enum Selection {
    /// All of it.
    All,
    /// One stream's windows within a stretch of time.
    Stretch(Stretch),
    /// What a person asks the log to acknowledge, and nothing else.
    Acknowledging {
        /// The stream.
        stream: StreamName,
        /// Its windows.
        windows: BTreeSet<Window>,
    },
}

/// One stream's windows that lie, with any part, within `[from, to)`.
pub struct Stretch {
    /// The stream.
    pub stream: StreamName,
    /// From here on.
    pub from: Timestamp,
    /// Up to here.
    pub to: Timestamp,
    /// Which windows are pulled although the plan would leave them alone.
    pub redo: Redo,
    /// Windows that this run has asked for: once is enough.
    asked: Mutex<BTreeSet<Window>>,
}

/// Which windows are pulled although the plan would leave them alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redo {
    /// None.
    None,
    /// Those that are lost: the source may answer all the same. Also those that are archived unread, as long as the source
    /// still has all of them.
    Failed,
    /// Also those that are archived, as long as the source still has all of them.
    All,
}

impl Stretch {
    /// The windows of `stream` within `[from, to)`.
    pub fn new(stream: StreamName, from: Timestamp, to: Timestamp, redo: Redo) -> Self {
        Self { stream, from, to, redo, asked: Mutex::default() }
    }

    /// Whether the window lies in it.
    pub fn includes(&self, stream: &StreamName, window: Window) -> bool {
        *stream == self.stream && window.start() < self.to && window.end() > self.from
    }

    fn is_new(&self, window: Window) -> bool {
        !self.asked.lock().contains(&window)
    }

    /// What is asked for beside the plan.
    fn asked_for(
        &self,
        rules: &StreamRules,
        window: Window,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Option<Task> {
        let task = match judge(rules, window, snapshot, now) {
            Verdict::Lost { .. } if self.redo != Redo::None => Task::Archive { reason: DueReason::Asked },
            Verdict::Archived { content, .. } if now < rules.expires_at(window) => match self.redo {
                Redo::All => Task::Revisit { reason: DueReason::Asked },
                Redo::Failed if content.is_unread() => Task::Revisit { reason: DueReason::Asked },
                Redo::Failed | Redo::None => return None,
            },
            _ => return None,
        };
        (self.includes(&rules.name, window) && self.is_new(window)).then_some(task)
    }
}

impl Selection {
    /// Whether any window of the stream can be chosen.
    pub fn concerns(&self, stream: &StreamName) -> bool {
        match self {
            Self::All => true,
            Self::Stretch(stretch) => stretch.stream == *stream,
            Self::Acknowledging { stream: own, .. } => own == stream,
        }
    }

    /// Whether the window can be chosen.
    pub fn includes(&self, stream: &StreamName, window: Window) -> bool {
        match self {
            Self::All => true,
            Self::Stretch(stretch) => stretch.includes(stream, window),
            Self::Acknowledging { stream: own, windows } => own == stream && windows.contains(&window),
        }
    }

    /// Work on the window has begun.
    pub fn started(&self, window: Window) {
        if let Self::Stretch(stretch) = self {
            stretch.asked.lock().insert(window);
        }
    }

    /// What is to be done of `plan`, and beside it.
    pub fn choose(&self, plan: Plan, rules: &[StreamRules], snapshot: &Snapshot, now: Timestamp) -> Plan {
        let mut chosen = plan;
        let stretch = match self {
            Self::All => return chosen,
            Self::Stretch(stretch) => stretch,
            Self::Acknowledging { .. } => {
                let is_asked_for = |action: &Action| self.includes(&action.stream, action.window);
                chosen.actions.retain(|action| action.task == Task::Acknowledge && is_asked_for(action));
                return chosen;
            }
        };
        chosen.actions.retain(|action| stretch.includes(&action.stream, action.window));
        let own = rules.iter().filter(|rules| rules.name == stretch.stream);
        for (rules, window) in own.flat_map(|rules| rules.completed(now).map(move |window| (rules, window))) {
            let Some(task) = stretch.asked_for(rules, window, snapshot, now) else { continue };
            let treatment = Treatment::after(snapshot.crashes_of(&rules.name, window));
            match chosen.actions.iter_mut().find(|action| action.window == window) {
                Some(planned) => planned.task = task,
                None => chosen.actions.push(Action {
                    stream: rules.name.clone(),
                    source: rules.source.clone(),
                    store: rules.store.clone(),
                    window,
                    task,
                    turn: task.turn(false, treatment),
                    due_at: rules.due_at(window),
                    expires_at: rules.expires_at(window),
                }),
            }
        }
        chosen
    }
}
