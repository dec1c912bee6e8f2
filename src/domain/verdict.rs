//! The one verdict on each window: `waiting`, `archived`, `parked` or `lost`.
//!
//! [`judge`] is the only place where a verdict is come to. The planner, `status`, `gaps` and `plan` all ask it, so
//! they cannot disagree.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::backoff::{CAP, PARKED_RETRY};
use super::calendar::Calendar;
use super::content::Content;
use super::count::CountVerdict;
use super::export::{Bounds, PastHorizon};
use super::name::{SourceName, StoreName, StreamName};
use super::object_key::{Revision, Seq};
use super::pause;
use super::snapshot::{
    Acknowledgement, FailureNote, Fingerprint, Hold, Resource, Snapshot, WindowState, is_loss_believed,
};
use super::window::Window;

/// By so much the provider's clock may be behind ours without anything being asked for that is still to come.
const CLOCKS: SignedDuration = SignedDuration::from_mins(1);

/// All that decides when a stream's windows are due, and what they wait for.
#[derive(Debug, Clone)]
pub struct StreamRules {
    /// The stream.
    pub name: StreamName,
    /// Where its records come from.
    pub source: SourceName,
    /// Where its archives go.
    pub store: StoreName,
    /// How its time is cut.
    pub calendar: Calendar,
    /// The start of its first window.
    pub start: Timestamp,
    /// How long after its end a window is left alone.
    pub settle: SignedDuration,
    /// How much wider than the window the export is asked for.
    pub margin: SignedDuration,
    /// How long after its end a window is pulled again, from short to long.
    pub revisit: Vec<SignedDuration>,
    /// How long the provider keeps records.
    pub horizon: SignedDuration,
    /// What is done about windows older than that.
    pub past_horizon: PastHorizon,
    /// How long after it was due a window is late.
    pub deadline: SignedDuration,
    /// What the config and credentials are now.
    pub fingerprints: Fingerprints,
}

/// Digests of effective config and credentials, by what they belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprints {
    /// Of the stream with its source and store.
    pub stream: Fingerprint,
    /// Of the source.
    pub source: Fingerprint,
    /// Of the store.
    pub store: Fingerprint,
}

impl StreamRules {
    /// When the window may be pulled: once it is settled, and what is asked for lies in the past by the provider's clock, too.
    pub fn due_at(&self, window: Window) -> Timestamp {
        let settled = window.end().saturating_add(self.settle).unwrap_or(Timestamp::MAX);
        let over = Bounds::around(window, self.margin).end.saturating_add(CLOCKS).unwrap_or(Timestamp::MAX);
        settled.max(over)
    }

    /// When the source may begin to answer short.
    pub fn expires_at(&self, window: Window) -> Timestamp {
        let asked_for = Bounds::around(window, self.margin).start;
        asked_for.saturating_add(self.horizon).unwrap_or(Timestamp::MAX)
    }

    /// When a parked window whose last try failed at `since` is tried again all the same: after a day, and sooner the less time
    /// is left. What is tried no more before it expires is lost, though what was wrong may have gone long before.
    pub fn parked_until(&self, window: Window, since: Timestamp) -> Timestamp {
        let [day, least] =
            [PARKED_RETRY, CAP].map(|pause| SignedDuration::try_from(pause).unwrap_or_default());
        let half_of_what_is_left = self.expires_at(window).duration_since(since) / 2;
        since.saturating_add(half_of_what_is_left.clamp(least, day)).unwrap_or(Timestamp::MAX)
    }

    /// Whether the window expires within a day of `instant`, or has expired by then.
    pub fn is_last_day(&self, window: Window, instant: Timestamp) -> bool {
        let day = SignedDuration::try_from(PARKED_RETRY).unwrap_or_default();
        self.expires_at(window).duration_since(instant) <= day
    }

    /// When a window that was pulled last at `last_pulled_at`, and could not be read, is pulled again besides its revisits:
    /// where somebody asked for it or a try failed at `retry_at`; and where it was pulled on its last day, on which anything
    /// is archived and something better may still come.
    fn reads_again(
        &self,
        window: Window,
        last_pulled_at: Timestamp,
        retry_at: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let is_last_day = self.is_last_day(window, last_pulled_at);
        retry_at.or_else(|| is_last_day.then(|| self.parked_until(window, last_pulled_at)))
    }

    /// When the window is late.
    pub fn late_at(&self, window: Window) -> Timestamp {
        self.due_at(window).saturating_add(self.deadline).unwrap_or(Timestamp::MAX)
    }

    /// Every window from the stream's start that is over at `now`, in order.
    pub fn completed(&self, now: Timestamp) -> impl Iterator<Item = Window> + '_ {
        self.calendar.windows_from(self.start).take_while(move |window| window.end() <= now)
    }

    /// Whether no later window is due at `now`.
    pub fn is_newest(&self, window: Window, now: Timestamp) -> bool {
        self.calendar.window_at(window.end()).is_none_or(|next| self.due_at(next) > now)
    }

    /// As [`Self::needs`], with what a hold's fingerprint is compared with.
    fn resources(&self) -> [(Resource, Option<&Fingerprint>); 5] {
        [
            (Resource::Clock, None),
            (Resource::Daemon, None),
            (Resource::Stream(self.name.clone()), Some(&self.fingerprints.stream)),
            (Resource::Source(self.source.clone()), Some(&self.fingerprints.source)),
            (Resource::Store(self.store.clone()), Some(&self.fingerprints.store)),
        ]
    }

    /// What the stream's windows need besides themselves.
    pub fn needs(&self) -> impl Iterator<Item = Resource> {
        self.resources().into_iter().map(|(resource, _)| resource)
    }

    /// The fingerprint that a hold on `resource` is compared with.
    pub fn fingerprint_of(&self, resource: &Resource) -> &Fingerprint {
        match resource {
            Resource::Source(_) => &self.fingerprints.source,
            Resource::Store(_) => &self.fingerprints.store,
            Resource::Stream(_) | Resource::Daemon | Resource::Clock => &self.fingerprints.stream,
        }
    }

    /// The hold that keeps the stream's windows waiting at `now`: of several, the one that lasts longest.
    pub fn held_by<'s>(&self, snapshot: &'s Snapshot, now: Timestamp) -> Option<(&'s Resource, &'s Hold)> {
        self.holds(snapshot, now).max_by_key(|(_, hold)| hold.until)
    }

    /// What keeps the stream's source from being asked at `now`.
    pub fn source_held_by<'s>(&self, snapshot: &'s Snapshot, now: Timestamp) -> Option<&'s Hold> {
        let mut holds = self.holds(snapshot, now);
        holds.find_map(|(resource, hold)| matches!(resource, Resource::Source(_)).then_some(hold))
    }

    /// As [`Self::held_by`], for an entry that needs no source.
    pub fn log_held_by<'s>(&self, snapshot: &'s Snapshot, now: Timestamp) -> Option<&'s Hold> {
        let holds = self.holds(snapshot, now);
        let holds = holds.filter(|(resource, _)| !matches!(resource, Resource::Source(_)));
        holds.map(|(_, hold)| hold).max_by_key(|hold| hold.until)
    }

    /// As [`Self::held_by`], for what is said of a window that has expired: the source may have to be asked once more, but one
    /// that was held up for a day is waited for no longer.
    pub fn silenced_by<'s>(
        &self,
        snapshot: &'s Snapshot,
        now: Timestamp,
    ) -> Option<(&'s Resource, &'s Hold)> {
        let silences = |(resource, hold): &(&Resource, &Hold)| match resource {
            Resource::Source(_) => !is_for_a_day(hold, now),
            _ => true,
        };
        self.holds(snapshot, now).filter(silences).max_by_key(|(_, hold)| hold.until)
    }

    /// The hold on the stream itself that waits for an operator. A hold whose pause is over counts until the log was read
    /// again; one that was placed under another configuration does not.
    pub fn needs_operator<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s Hold> {
        let hold = snapshot.holds.get(&Resource::Stream(self.name.clone()))?;
        let unchanged = hold.fingerprint == self.fingerprints.stream;
        (unchanged && hold.failure.kind.needs_operator()).then_some(hold)
    }

    fn holds<'s>(
        &self,
        snapshot: &'s Snapshot,
        now: Timestamp,
    ) -> impl Iterator<Item = (&'s Resource, &'s Hold)> {
        self.resources().into_iter().filter_map(move |(resource, fingerprint)| {
            let (resource, hold) = snapshot.holds.get_key_value(&resource)?;
            let unchanged = fingerprint.is_none_or(|fingerprint| *fingerprint == hold.fingerprint);
            (hold.is_on(now) && unchanged).then_some((resource, hold))
        })
    }
}

/// Whether something has been held up for so long that it may never come back: seen to fail, and not only left alone.
pub fn is_for_a_day(hold: &Hold, now: Timestamp) -> bool {
    hold.failures >= 3 && hold.since.saturating_add(PARKED_RETRY).is_ok_and(|then| then <= now)
}

/// What can be said of a window at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Not archived yet, and nobody needs to do anything.
    Waiting {
        /// For what.
        why: Waiting,
        /// When that is over, at the earliest.
        next: Timestamp,
    },
    /// In the log, and shown to be in the store.
    Archived {
        /// The entry of its newest revision.
        seq: Seq,
        /// Its newest revision.
        revision: Revision,
        /// What the provider's own count said of it.
        count: CountVerdict,
        /// Whether its newest revision was read. One that was not needs an operator, though nothing is lost.
        #[serde(flatten)]
        content: Content,
    },
    /// An operator must look.
    Parked {
        /// Why.
        failure: FailureNote,
        /// What holds it up, where it is not the window alone.
        held_by: Option<Resource>,
        /// Since when.
        since: Timestamp,
        /// When it is tried again all the same.
        next: Timestamp,
        /// The entry that says so, once it is written; none where it is not the window alone.
        seq: Option<Seq>,
    },
    /// The provider no longer has it.
    Lost {
        /// Since when.
        since: Timestamp,
        /// The entry that says so, once it is written.
        seq: Option<Seq>,
    },
}

/// What a window waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "waiting_for", rename_all = "snake_case")]
pub enum Waiting {
    /// Its end.
    End,
    /// Records that arrive late.
    Settle,
    /// Its turn.
    Turn {
        /// Why it is its turn (again).
        reason: DueReason,
    },
    /// The attempt that is going on.
    Attempt,
    /// The end of a pause after a failure of its own.
    Pause {
        /// That failure.
        failure: FailureNote,
    },
    /// Something that it shares with others.
    Hold {
        /// What.
        resource: Resource,
        /// What is wrong with it.
        failure: FailureNote,
    },
}

/// Why a window is to be pulled now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DueReason {
    /// Over and settled, never tried.
    Due,
    /// Tried before, and the pause is over.
    PauseOver,
    /// Parked, and the config or the credentials have changed since.
    ConfigChanged,
    /// Parked a day ago, or as long as could be waited.
    ParkedLongEnough,
    /// An operator asked for it, though it is lost.
    Asked,
    /// The log says that it is lost, and that is not believed: a clock that was ahead said so.
    LossNotBelieved,
    /// Archived, and old enough to look for records that came late.
    Revisit,
}

impl Verdict {
    /// The verdict's one word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Archived { .. } => "archived",
            Self::Parked { .. } => "parked",
            Self::Lost { .. } => "lost",
        }
    }

    /// Whether the window is archived as bytes that could not be read: an operator must look.
    pub fn is_unread(&self) -> bool {
        matches!(self, Self::Archived { content, .. } if content.is_unread())
    }

    /// The entry that a person can acknowledge: the one that records the window as lost, or archives it unread.
    pub fn acknowledgeable(&self) -> Option<Seq> {
        match self {
            Self::Lost { seq, .. } => *seq,
            Self::Archived { seq, content, .. } if content.is_unread() => Some(*seq),
            _ => None,
        }
    }

    /// The acknowledgement of `window` of `stream` that counts for this verdict on it.
    pub fn acknowledgement<'s>(
        &self,
        stream: &StreamName,
        window: Window,
        snapshot: &'s Snapshot,
    ) -> Option<&'s Acknowledgement> {
        let newest = snapshot.acknowledged.get(stream)?.get(&window)?;
        (self.acknowledgeable() == Some(newest.entry)).then_some(newest)
    }

    /// Whether the window is to be pulled now, and why.
    pub fn due(&self) -> Option<DueReason> {
        match self {
            Self::Waiting { why: Waiting::Turn { reason }, .. } => Some(*reason),
            _ => None,
        }
    }
}

/// The verdict on `window` of a stream with `rules`, by what the ledger knows, at `now`.
pub fn judge(rules: &StreamRules, window: Window, snapshot: &Snapshot, now: Timestamp) -> Verdict {
    let state = snapshot.windows.get(&rules.name).and_then(|windows| windows.get(&window));
    match state {
        Some(WindowState::Archived { seq, revision, count, content, .. }) => {
            let (count, content) = (*count, content.clone());
            return Verdict::Archived { seq: *seq, revision: *revision, count, content };
        }
        Some(WindowState::Lost { seq, since }) if is_loss_believed(window, *since, now) => {
            return Verdict::Lost { since: *since, seq: Some(*seq) };
        }
        Some(WindowState::Open { leased_until: Some(until), .. }) if pause::goes_on(*until, now) => {
            return Verdict::Waiting { why: Waiting::Attempt, next: *until };
        }
        _ => {}
    }
    if now < window.end() {
        return Verdict::Waiting { why: Waiting::End, next: rules.due_at(window) };
    }
    if now < rules.due_at(window) {
        return Verdict::Waiting { why: Waiting::Settle, next: rules.due_at(window) };
    }
    if rules.expires_at(window) <= now {
        // By a wrong clock nothing is lost.
        if let Some(hold) = snapshot.clock_hold(now) {
            return held(&Resource::Clock, hold);
        }
        return Verdict::Lost { since: rules.expires_at(window), seq: None };
    }
    judge_due(rules, window, state, snapshot, now)
}

/// When an archived window is to be pulled again: at `now` or before it is due, later it waits. `None` when it is not
/// archived, when no pull is left to be made, and when the source would answer short by then.
///
/// Each of the stream's revisits is done with by any pull after its instant, so a machine that slept through two of
/// them makes one pull. The verdict stays `archived` throughout: a revisit is an extra, whatever becomes of it.
pub fn revisit_at(
    rules: &StreamRules,
    window: Window,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Option<Timestamp> {
    let state = snapshot.windows.get(&rules.name)?.get(&window)?;
    let WindowState::Archived { content, last_pulled_at, retry_at, leased_until, .. } = state else {
        return None;
    };
    // A pull that is dated later than now was dated by a clock that was ahead: one revisit too many does no harm.
    let out_of_reach = pause::is_out_of_reach(*last_pulled_at, now);
    let last_pulled_at = if out_of_reach { window.end() } else { *last_pulled_at };
    let instants = rules.revisit.iter().filter_map(|after| window.end().saturating_add(*after).ok());
    let next = instants.filter(|instant| *instant > last_pulled_at);
    let again = if content.is_unread() { rules.reads_again(window, last_pulled_at, *retry_at) } else { None };
    let next = next.chain(again).min()?;
    let pauses = [*retry_at, *leased_until].into_iter().flatten().filter(|until| pause::goes_on(*until, now));
    let at = pauses.fold(next, Timestamp::max);
    (at.max(now) < rules.expires_at(window)).then_some(at)
}

/// Until when an expired window that is not attested yet pauses, after a failure of its own.
pub fn pauses_until(
    rules: &StreamRules,
    window: Window,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Option<Timestamp> {
    match snapshot.windows.get(&rules.name)?.get(&window)? {
        WindowState::Open { retry_at: Some(at), last_failure, .. } => {
            pauses(*at, last_failure.as_ref(), now).then_some(*at)
        }
        _ => None,
    }
}

/// Whether a window that failed pauses at `now`. A failure that is dated later was dated by a clock that was ahead, and its
/// pause is over.
fn pauses(until: Timestamp, failure: Option<&FailureNote>, now: Timestamp) -> bool {
    pause::goes_on(until, now) && failure.is_none_or(|failure| pause::has_been(failure.at, now))
}

/// The verdict on a window that is over, settled and still to be had.
fn judge_due(
    rules: &StreamRules,
    window: Window,
    state: Option<&WindowState>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Verdict {
    let reason = match state {
        Some(WindowState::Parked { since, failure, fingerprint, seq }) => {
            let next = rules.parked_until(window, failure.at);
            if fingerprint.as_ref().is_some_and(|before| *before != rules.fingerprints.stream) {
                DueReason::ConfigChanged
            } else if !pauses(next, Some(failure), now) {
                DueReason::ParkedLongEnough
            } else {
                let failure = failure.clone();
                return Verdict::Parked { failure, held_by: None, since: *since, next, seq: *seq };
            }
        }
        Some(WindowState::Open { retry_at: Some(at), last_failure: Some(failure), .. }) => {
            if pauses(*at, Some(failure), now) {
                return Verdict::Waiting { why: Waiting::Pause { failure: failure.clone() }, next: *at };
            }
            DueReason::PauseOver
        }
        Some(WindowState::Lost { .. }) => DueReason::LossNotBelieved,
        _ => DueReason::Due,
    };
    match rules.held_by(snapshot, now) {
        None => Verdict::Waiting { why: Waiting::Turn { reason }, next: now },
        Some((resource, hold)) if hold.failure.kind.needs_operator() => Verdict::Parked {
            failure: hold.failure.clone(),
            held_by: Some(resource.clone()),
            since: hold.since,
            next: hold.until,
            seq: None,
        },
        Some((resource, hold)) => held(resource, hold),
    }
}

/// The verdict on a window that waits for `resource`, which nobody has to see to.
fn held(resource: &Resource, hold: &Hold) -> Verdict {
    let why = Waiting::Hold { resource: resource.clone(), failure: hold.failure.clone() };
    Verdict::Waiting { why, next: hold.until }
}
