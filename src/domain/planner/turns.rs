//! Which action is begun next: whose turn it is, and for whom there is a place.
//!
//! - With several sources one source holds at most all places but one, always: a place that is held is given back only when
//!   its window is done, and a source that drips may take hours. With one place only, sources take turns.
//! - A window that is treated apart ([`Turn::Alone`]) begins when nothing else is due and nothing is in work, and while it goes
//!   on nothing else begins.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;

use super::{Action, Turn};
use crate::domain::name::SourceName;

/// A window that is in work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InWork {
    /// The source that it takes a place of; `None` where it is not asked.
    pub source: Option<SourceName>,
    /// Whether nothing may begin beside it.
    pub is_alone: bool,
}

impl InWork {
    /// What `action` is once it has begun.
    pub fn of(action: &Action) -> Self {
        let source = action.task.asks_source().then(|| action.source.clone());
        Self { source, is_alone: action.turn == Turn::Alone }
    }
}

/// The places in which windows are worked on, as far as they are free.
#[derive(Debug)]
pub struct Places {
    /// So many for all sources together.
    all: NonZeroUsize,
    /// The most that one source may hold.
    of_one: usize,
    held: BTreeMap<SourceName, usize>,
    in_work: usize,
    is_closed: bool,
}

impl Places {
    /// `all` places for windows of so many `sources`, of which these windows hold some.
    pub fn new<'w>(all: NonZeroUsize, sources: usize, in_work: impl IntoIterator<Item = &'w InWork>) -> Self {
        let of_one = if sources > 1 { all.get().saturating_sub(1).max(1) } else { all.get() };
        let mut places = Self { all, of_one, held: BTreeMap::new(), in_work: 0, is_closed: false };
        for window in in_work {
            places.in_work += 1;
            places.is_closed |= window.is_alone;
            if let Some(source) = &window.source {
                *places.held.entry(source.clone()).or_default() += 1;
            }
        }
        places
    }

    fn is_full(&self) -> bool {
        self.is_closed || self.in_work >= self.all.get()
    }

    fn admits(&self, action: &Action) -> bool {
        let held = self.held.get(&action.source).copied().unwrap_or_default();
        !action.task.asks_source() || held < self.of_one
    }
}

/// Whose turn it is, from one plan to the next.
#[derive(Debug, Default)]
pub struct Turns {
    last: Turn,
    /// When each source had its last turn: a greater number is later.
    served: BTreeMap<SourceName, u64>,
}

impl Turns {
    /// Takes out of `queue`, which is in the order of a plan, what is to be begun next in `places`; `None` where nothing is, for
    /// now.
    pub fn next(&mut self, queue: &mut VecDeque<Action>, places: &Places) -> Option<Action> {
        if places.is_full() {
            return None;
        }
        let at = self.usual(queue, places).or_else(|| alone(queue, places))?;
        let action = queue.remove(at)?;
        if matches!(action.turn, Turn::Newest | Turn::Urgent) {
            self.last = action.turn;
        }
        let latest = self.served.values().max().copied().unwrap_or_default();
        self.served.insert(action.source.clone(), latest + 1);
        Some(action)
    }

    fn usual(&self, queue: &VecDeque<Action>, places: &Places) -> Option<usize> {
        let other = if self.last == Turn::Urgent { Turn::Newest } else { Turn::Urgent };
        let first = |is: &dyn Fn(&Action) -> bool| {
            queue.iter().position(|action| action.turn != Turn::Alone && places.admits(action) && is(action))
        };
        // Of the sources with work that is not spare, with one place the one whose last turn is the longest ago.
        let waiting = queue.iter().filter(|action| matches!(action.turn, Turn::Newest | Turn::Urgent));
        let next = waiting.map(|action| &action.source).min_by_key(|source| self.served.get(*source));
        let next = next.filter(|_| places.all == NonZeroUsize::MIN);
        let is_next = |action: &Action| next.is_none_or(|source| action.source == *source);
        first(&|action| action.turn == other && is_next(action))
            .or_else(|| first(&|action| action.turn != Turn::Spare && is_next(action)))
            .or_else(|| first(&|_| true))
    }
}

/// The first window that goes alone, where nothing is in work and nothing else is due.
fn alone(queue: &VecDeque<Action>, places: &Places) -> Option<usize> {
    let is_free = places.in_work == 0 && queue.iter().all(|action| action.turn == Turn::Alone);
    (is_free && !queue.is_empty()).then_some(0)
}
