//! Which action is begun next: whose turn it is, among those for whom there is a place ([`super::places`]).
//!
//! - With one place only, sources take turns, and the stores of one source do.
//! - Of the windows that could try a source or a store that failed, the one goes that failed the longest ago, or never in this run: a
//!   window that fails by itself keeps no other from showing that all is well. Each window that tries a store is pulled first, and its
//!   export lies in the spool until the store works. So a store is tried by no more windows than there are places (or two).
//! - A window that is treated apart ([`Turn::Alone`]) begins when nothing else is due, or when it has let [`LET_BY`] others go
//!   first. It waits until each window in work has been for a minute, and for its own first minute nothing begins beside it.
//!   So a window that ends the process takes few others with it, and one that waits for somebody stops nobody for long.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::places::{InWork, Pair, Places, Slow};
use super::{Action, Turn};
use crate::domain::name::{SourceName, StoreName, StreamName};
use crate::domain::snapshot::Resource;
use crate::domain::window::Window;

/// Whose turn it is, from one plan to the next.
#[derive(Debug, Default)]
pub struct Turns {
    last: Turn,
    /// How many turns there were.
    turns: u64,
    /// The last turn of each source.
    sources: BTreeMap<SourceName, u64>,
    /// The last turn of each pair.
    pairs: BTreeMap<Pair, u64>,
    /// The last turn of each window that is in work or failed.
    begun: BTreeMap<(StreamName, Window), u64>,
    slow: Slow,
    /// The turn since which a window that goes alone waits.
    alone_since: Option<u64>,
}

/// A window that goes alone lets so many others go first.
const LET_BY: u64 = 50;

impl Turns {
    /// Takes out of `queue`, which is in the order of a plan, what is to be begun next in `places`; `None` where nothing is, for
    /// now.
    pub fn next(&mut self, queue: &mut VecDeque<Action>, places: &Places<'_>) -> Option<Action> {
        if places.is_full() {
            return None;
        }
        let at = self.choose(queue, places)?;
        let action = queue.remove(at)?;
        if action.turn == Turn::Alone {
            self.alone_since = None;
        }
        if matches!(action.turn, Turn::Newest | Turn::Urgent) {
            self.last = action.turn;
        }
        self.turns += 1;
        self.sources.insert(action.source.clone(), self.turns);
        self.pairs.insert(Pair::of(&action), self.turns);
        self.begun.insert((action.stream.clone(), action.window), self.turns);
        Some(action)
    }

    fn choose(&mut self, queue: &VecDeque<Action>, places: &Places<'_>) -> Option<usize> {
        let Some(alone) = queue.iter().position(|action| action.turn == Turn::Alone) else {
            self.alone_since = None;
            return self.usual(queue, places);
        };
        let since = *self.alone_since.get_or_insert(self.turns);
        let is_next = self.turns - since >= LET_BY || queue.iter().all(|action| action.turn == Turn::Alone);
        match (is_next, places.is_quiet()) {
            (true, quiet) => quiet.then_some(alone),
            (false, _) => self.usual(queue, places),
        }
    }

    /// A window is done that has held its place for so long.
    pub fn ended(&mut self, window: &InWork, held: Duration, has_failed: bool) {
        self.slow.ended(window, held);
        if !has_failed {
            self.begun.remove(&(window.stream.clone(), window.window));
        }
    }

    fn usual(&self, queue: &VecDeque<Action>, places: &Places<'_>) -> Option<usize> {
        let other = if self.last == Turn::Urgent { Turn::Newest } else { Turn::Urgent };
        // There are few pairs and many windows, and all of this is done for each window that begins: what is the same for a pair is
        // found once for each pair.
        let usual = queue.iter().filter(|action| action.turn != Turn::Alone);
        let waiting: BTreeSet<_> = usual.map(|action| (&action.source, &action.store)).collect();
        let pair = |(source, store): (&SourceName, &StoreName)| Pair {
            source: source.clone(),
            store: store.clone(),
        };
        let waiting = waiting.into_iter().map(pair).collect();
        let mut admitted = BTreeMap::new();
        let may_begin = queue.iter().map(|action| {
            let key = (&action.source, &action.store, action.task.asks_source());
            let admits = || places.admits(action, &self.slow, &waiting);
            action.turn != Turn::Alone && *admitted.entry(key).or_insert_with(admits)
        });
        let may_begin: Vec<_> = may_begin.collect();
        let candidates = || queue.iter().zip(&may_begin).filter_map(|(action, may)| may.then_some(action));
        let next_tries = self.next_tries(candidates(), places);
        let first = |is: &dyn Fn(&Action) -> bool| {
            queue.iter().zip(&may_begin).position(|(action, may)| {
                let tried = places.sharers().tried_by(action).last();
                let is_next = |it| next_tries.get(&it) == Some(&self.begun(action));
                *may && is(action) && tried.is_none_or(is_next)
            })
        };
        // With one place, of the sources with work that is not spare the one whose last turn is the longest ago.
        let next = || {
            let waiting = queue.iter().filter(|action| matches!(action.turn, Turn::Newest | Turn::Urgent));
            let last_turn = |pair: &Pair| (self.sources.get(&pair.source), self.pairs.get(pair));
            waiting.map(Pair::of).min_by_key(last_turn)
        };
        let next = if places.is_one() { next() } else { None };
        let is_next = |action: &Action| {
            next.as_ref().is_none_or(|pair| pair.source == action.source && pair.store == action.store)
        };
        first(&|action| action.turn == other && is_next(action))
            .or_else(|| first(&|action| action.turn != Turn::Spare && is_next(action)))
            .or_else(|| first(&|_| true))
    }

    /// The last turn of the window where that failed; else 0.
    fn begun(&self, action: &Action) -> u64 {
        self.begun.get(&(action.stream.clone(), action.window)).copied().unwrap_or_default()
    }

    /// Of what is on trial: the last turn of the window that tries it next. What would try a source and a store at once is counted
    /// with those that try the store.
    fn next_tries<'a>(
        &self,
        candidates: impl Iterator<Item = &'a Action>,
        places: &Places<'_>,
    ) -> BTreeMap<Resource, u64> {
        let mut tries = BTreeMap::<_, Vec<_>>::new();
        for action in candidates {
            if let Some(resource) = places.sharers().tried_by(action).last() {
                tries.entry(resource).or_default().push(self.begun(action));
            }
        }
        let next = |(resource, turns): (Resource, Vec<u64>)| {
            let failed = || turns.iter().filter(|turn| **turn > 0);
            let is_enough = matches!(resource, Resource::Store(_)) && failed().count() >= places.all().max(2);
            let next = if is_enough { failed().min() } else { turns.iter().min() };
            next.map(|turn| (resource, *turn))
        };
        tries.into_iter().filter_map(next).collect()
    }
}
