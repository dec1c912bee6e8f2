//! For whom there is a place: no bad source and no bad store holds all of them.
//!
//! A window in work holds a place of its source and of its store: the two are its pair. A place is given back when the window is
//! done, which may take hours, and nobody can tell beforehand. The number of places never grows: they bound memory and disk.
//!
//! 1. A pair that holds a place takes a further one only while enough are free for the others: one for each pair that has
//!    windows due and holds none, and one for all pairs together that have nothing due yet. With as many places as pairs that
//!    have windows due, each of them begins at once.
//! 2. Of several sources, one holds at most all places but one, and so does one store of several.
//! 3. The slow pairs together hold at most all places but one, unless all pairs are slow. A pair is slow while a window of it has held its place for more than a minute, and after its last window did so. A pair is slow,
//!    too, while its source or store is on trial.
//! 4. A source or store that failed is on trial once its pause is over, until something has worked with it: the half-open state of
//!    a circuit breaker. One window tries it. The others begin when that has worked. The ledger says what is on trial: each
//!    hold that has run out and stands. Windows that began before the failure do not count as a try. A try that takes more
//!    than a minute keeps back its own pair alone: it may wait for the other half of the pair.
//! 5. With one place, sources take turns, and so do the stores of one source ([`super::Turns`]).
//!
//! What is only said in the log takes no place of its source. A place is kept from it for the pairs of other stores alone.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::Duration;

use jiff::Timestamp;

use super::{Action, Turn};
use crate::domain::name::{SourceName, StoreName, StreamName};
use crate::domain::snapshot::{Hold, Resource};
use crate::domain::verdict::StreamRules;
use crate::domain::window::Window;

/// A pair whose window has held its place for longer is slow.
const LONG: Duration = Duration::from_secs(60);

/// A source and a store that windows go between.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// Where records come from.
    pub source: SourceName,
    /// Where archives go.
    pub store: StoreName,
}

impl Pair {
    /// The pair of the windows of a stream with `rules`.
    pub fn of_stream(rules: &StreamRules) -> Self {
        Self { source: rules.source.clone(), store: rules.store.clone() }
    }

    pub(super) fn of(action: &Action) -> Self {
        Self { source: action.source.clone(), store: action.store.clone() }
    }

    fn resources(&self) -> [Resource; 2] {
        [Resource::Source(self.source.clone()), Resource::Store(self.store.clone())]
    }
}

/// Who shares the places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sharers {
    /// The pair of each stream.
    pub pairs: BTreeSet<Pair>,
    /// Sources and stores that failed and have not worked since, though their pause is over.
    pub on_trial: BTreeSet<Resource>,
}

impl Sharers {
    /// The pairs of the streams with these `rules`, of which these `holds` have some on trial at `now`.
    pub fn of<'r>(
        rules: impl IntoIterator<Item = &'r StreamRules>,
        holds: &BTreeMap<Resource, Hold>,
        now: Timestamp,
    ) -> Self {
        let mut sharers = Self::default();
        for rules in rules {
            let pair = Pair::of_stream(rules);
            let on_trial = pair.resources().into_iter().filter(|resource| {
                holds.get(resource).is_some_and(|hold| {
                    let is_over = !hold.is_on(now) && hold.is_credible(now);
                    is_over && hold.fingerprint == *rules.fingerprint_of(resource)
                })
            });
            sharers.on_trial.extend(on_trial);
            sharers.pairs.insert(pair);
        }
        sharers
    }

    /// What of the pair's source and store `action` would try, in this order.
    pub(super) fn tried_by(&self, action: &Action) -> impl Iterator<Item = Resource> {
        // Mostly nothing is on trial, and this is asked of each window that is due.
        let asked = (!self.on_trial.is_empty()).then(|| Pair::of(action).resources());
        let asks_source = action.task.asks_source();
        let asked = asked
            .into_iter()
            .flatten()
            .filter(move |resource| asks_source || !matches!(resource, Resource::Source(_)));
        asked.filter(|resource| self.on_trial.contains(resource))
    }

    fn of_other_sources(&self, pair: &Pair) -> bool {
        self.pairs.iter().any(|other| other.source != pair.source)
    }

    fn of_other_stores(&self, pair: &Pair) -> bool {
        self.pairs.iter().any(|other| other.store != pair.store)
    }
}

/// A window that is in work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InWork {
    /// Its stream.
    pub stream: StreamName,
    /// The window itself.
    pub window: Window,
    /// Its source and its store.
    pub pair: Pair,
    /// Whether it takes a place of its source.
    pub asks_source: bool,
    /// Whether nothing may begin beside it.
    pub is_alone: bool,
    /// What was on trial when it began.
    pub tries: BTreeSet<Resource>,
}

impl InWork {
    /// What `action` is once it has begun.
    pub fn of(action: &Action, sharers: &Sharers) -> Self {
        Self {
            stream: action.stream.clone(),
            window: action.window,
            pair: Pair::of(action),
            asks_source: action.task.asks_source(),
            is_alone: action.turn == Turn::Alone,
            tries: sharers.tried_by(action).collect(),
        }
    }
}

/// Pairs whose last window held its place for long.
#[derive(Debug, Clone, Default)]
pub(super) struct Slow(BTreeSet<Pair>);

impl Slow {
    /// A window has held its place for so long, and is done.
    pub(super) fn ended(&mut self, window: &InWork, held: Duration) {
        if held > LONG {
            self.0.insert(window.pair.clone());
        } else if window.asks_source {
            self.0.remove(&window.pair);
        }
    }
}

/// The places in which windows are worked on, as far as they are free.
#[derive(Debug)]
pub struct Places<'s> {
    /// So many for all together.
    all: NonZeroUsize,
    sharers: &'s Sharers,
    /// Each window in work, and for how long it has held its place.
    in_work: Vec<(&'s InWork, Duration)>,
}

impl<'s> Places<'s> {
    /// `all` places for these `sharers`, of which these windows have held some for so long.
    pub fn new(
        all: NonZeroUsize,
        sharers: &'s Sharers,
        in_work: impl IntoIterator<Item = (&'s InWork, Duration)>,
    ) -> Self {
        Self { all, sharers, in_work: in_work.into_iter().collect() }
    }

    pub(super) fn sharers(&self) -> &'s Sharers {
        self.sharers
    }

    pub(super) fn all(&self) -> usize {
        self.all.get()
    }

    pub(super) fn is_one(&self) -> bool {
        self.all == NonZeroUsize::MIN
    }

    /// Whether every window in work has been for long: it waits for somebody, most likely.
    pub(super) fn is_quiet(&self) -> bool {
        self.in_work.iter().all(|(_, held)| *held > LONG)
    }

    /// Whether nothing may begin, whatever it is. A window that goes alone lets others begin beside it after a minute.
    pub(super) fn is_full(&self) -> bool {
        let is_alone = |(window, held): &(&InWork, Duration)| window.is_alone && *held <= LONG;
        self.free() == 0 || self.in_work.iter().any(is_alone)
    }

    fn free(&self) -> usize {
        self.all.get().saturating_sub(self.in_work.len())
    }

    fn count(&self, is: impl Fn(&InWork) -> bool) -> usize {
        self.in_work.iter().filter(|(window, _)| is(window)).count()
    }

    /// Whether `action` may begin now; `waiting` are the pairs that have windows due.
    pub(super) fn admits(&self, action: &Action, slow: &Slow, waiting: &BTreeSet<Pair>) -> bool {
        let pair = Pair::of(action);
        let is_tried = |resource| {
            let mut in_work = self.in_work.iter();
            in_work.any(|(window, held)| {
                window.tries.contains(&resource) && (window.pair == pair || *held <= LONG)
            })
        };
        self.keeps_the_others_places(&pair, action.task.asks_source(), waiting)
            && self.is_within_bounds(&pair, action.task.asks_source())
            && self.leaves_one_to_the_fast(&pair, slow)
            && !self.sharers.tried_by(action).any(is_tried)
    }

    /// Rule 1.
    fn keeps_the_others_places(&self, pair: &Pair, asks_source: bool, waiting: &BTreeSet<Pair>) -> bool {
        let holds = |of: &Pair| self.count(|window| window.asks_source && window.pair == *of);
        if asks_source && holds(pair) == 0 {
            return true;
        }
        let others = self.sharers.pairs.iter().filter(|other| {
            let is_concerned = if asks_source { *other != pair } else { other.store != pair.store };
            is_concerned && holds(other) == 0
        });
        let (due, idle): (Vec<_>, Vec<_>) = others.partition(|other| waiting.contains(*other));
        let kept = due.len() + usize::from(!idle.is_empty());
        // Where nothing is in work something may always begin.
        self.free().saturating_sub(1) >= kept.min(self.all.get() - 1)
    }

    /// Rule 2.
    fn is_within_bounds(&self, pair: &Pair, asks_source: bool) -> bool {
        let all_but_one = self.all.get().saturating_sub(1).max(1);
        let of_source = || self.count(|window| window.asks_source && window.pair.source == pair.source);
        let of_store = || self.count(|window| window.pair.store == pair.store);
        let source = !asks_source || !self.sharers.of_other_sources(pair) || of_source() < all_but_one;
        source && (!self.sharers.of_other_stores(pair) || of_store() < all_but_one)
    }

    /// Rule 3.
    fn leaves_one_to_the_fast(&self, pair: &Pair, slow: &Slow) -> bool {
        if self.is_one() || self.sharers.pairs.len() < 2 {
            return true;
        }
        let holds_for_long =
            |of: &Pair| self.in_work.iter().any(|(window, held)| window.pair == *of && *held > LONG);
        let is_on_trial = |of: &Pair| of.resources().iter().any(|it| self.sharers.on_trial.contains(it));
        let is_slow = |of: &Pair| slow.0.contains(of) || is_on_trial(of) || holds_for_long(of);
        !is_slow(pair)
            || self.count(|window| is_slow(&window.pair)) + 1 < self.all.get()
            || self.sharers.pairs.iter().all(is_slow)
    }
}
