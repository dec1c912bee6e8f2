//! Which exports the work still needs: what a source's upkeep is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::name::{SourceName, StreamName};
use crate::domain::snapshot::WindowState;
use crate::domain::verdict::StreamRules;
use crate::domain::window::Window;
use crate::ports::record_source::{Demand, Need};

/// The windows in work.
#[derive(Debug, Clone, Default)]
pub struct InWork(Arc<Mutex<BTreeSet<(StreamName, Window)>>>);

/// A window in work, until this is dropped.
#[derive(Debug)]
pub struct Entered {
    in_work: InWork,
    window: (StreamName, Window),
}

impl InWork {
    /// Work on a window begins.
    pub fn enter(&self, stream: &StreamName, window: Window) -> Entered {
        let window = (stream.clone(), window);
        self.0.lock().insert(window.clone());
        Entered { in_work: self.clone(), window }
    }

    fn contains(&self, stream: &StreamName, window: Window) -> bool {
        self.0.lock().contains(&(stream.clone(), window))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.in_work.0.lock().remove(&self.window);
    }
}

/// The states of windows, by stream.
pub type WindowStates = BTreeMap<StreamName, BTreeMap<Window, WindowState>>;

/// What the work needs of one source's exports: by the ledger at the last look, and by the windows that are in work now.
#[derive(Debug)]
pub struct OpenWork {
    streams: BTreeSet<StreamName>,
    states: Arc<WindowStates>,
    in_work: InWork,
}

impl OpenWork {
    /// Of the streams of `source`, among all `rules`.
    pub fn of(
        source: &SourceName,
        rules: &[StreamRules],
        states: &Arc<WindowStates>,
        in_work: &InWork,
    ) -> Self {
        let of_source = rules.iter().filter(|rules| rules.source == *source);
        let streams = of_source.map(|rules| rules.name.clone()).collect();
        Self { streams, states: Arc::clone(states), in_work: in_work.clone() }
    }
}

impl Demand for OpenWork {
    fn of(&self, stream: &StreamName, window: Window) -> Need {
        if self.in_work.contains(stream, window) {
            return Need::InWork;
        }
        let state = self.states.get(stream).and_then(|windows| windows.get(&window));
        let is_settled = matches!(state, Some(WindowState::Archived { .. } | WindowState::Lost { .. }));
        if is_settled || !self.streams.contains(stream) { Need::Settled } else { Need::Open }
    }
}
