//! Which windows a run is about: all that are due, or those that `backfill` names.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

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
}

/// One stream's windows that lie, with any part, within `[from, to)`.
pub struct Stretch {
    /// The stream.
    pub stream: StreamName,
    /// From here on.
    pub from: Timestamp,
    /// Up to here.
    pub to: Timestamp,
    /// Whether windows that are lost are asked for once more: the source may answer all the same.
    pub ask_for_lost: bool,
    /// Lost windows that this run has asked for: once is enough.
    asked: Mutex<BTreeSet<Window>>,
}

impl Stretch {
    /// The windows of `stream` within `[from, to)`.
    pub fn new(stream: StreamName, from: Timestamp, to: Timestamp, ask_for_lost: bool) -> Self {
        Self { stream, from, to, ask_for_lost, asked: Mutex::default() }
    }

    /// Whether the window lies in it.
    pub fn includes(&self, stream: &StreamName, window: Window) -> bool {
        *stream == self.stream && window.start() < self.to && window.end() > self.from
    }

    fn asks(&self, window: Window) -> bool {
        self.ask_for_lost && !self.asked.lock().unwrap_or_else(PoisonError::into_inner).contains(&window)
    }
}

impl Selection {
    /// Whether any window of the stream can be chosen.
    pub fn concerns(&self, stream: &StreamName) -> bool {
        match self {
            Self::All => true,
            Self::Stretch(stretch) => stretch.stream == *stream,
        }
    }

    /// Whether the window can be chosen.
    pub fn includes(&self, stream: &StreamName, window: Window) -> bool {
        match self {
            Self::All => true,
            Self::Stretch(stretch) => stretch.includes(stream, window),
        }
    }

    /// Work on the window has begun.
    pub fn started(&self, window: Window) {
        if let Self::Stretch(stretch) = self {
            stretch.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(window);
        }
    }

    /// What is to be done of `plan`, and beside it.
    pub fn choose(&self, plan: Plan, rules: &[StreamRules], snapshot: &Snapshot, now: Timestamp) -> Plan {
        let Self::Stretch(stretch) = self else { return plan };
        let mut chosen = plan;
        chosen.actions.retain(|action| stretch.includes(&action.stream, action.window));
        for action in chosen.actions.iter_mut().filter(|action| action.task == Task::AttestLost) {
            if stretch.asks(action.window) {
                action.task = Task::Archive { reason: DueReason::Asked };
            }
        }
        let asked = rules
            .iter()
            .filter(|rules| stretch.ask_for_lost && rules.name == stretch.stream)
            .flat_map(|rules| rules.completed(now).map(move |window| (rules, window)))
            .filter(|(rules, window)| {
                stretch.includes(&rules.name, *window)
                    && matches!(judge(rules, *window, snapshot, now), Verdict::Lost { seq: Some(_), .. })
                    && stretch.asks(*window)
            })
            .map(|(rules, window)| Action {
                stream: rules.name.clone(),
                window,
                task: Task::Archive { reason: DueReason::Asked },
                due_at: rules.due_at(window),
                expires_at: rules.expires_at(window),
            });
        chosen.actions.extend(asked);
        chosen
    }
}
