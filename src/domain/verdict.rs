//! The one verdict on each window: `waiting`, `archived`, `parked` or `lost`.
//!
//! [`judge`] is the only place where a verdict is come to. The planner, `status`, `gaps` and `plan` all ask it, so
//! they cannot disagree.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::content::Content;
use super::count::CountVerdict;
use super::name::StreamName;
use super::object_key::{Revision, Seq};
use super::pause;
use super::snapshot::{
    Acknowledgement, FailureNote, Hold, Resource, Snapshot, WindowState, is_loss_believed,
};
use super::window::Window;

pub use super::stream_rules::{Answers, Fingerprints, StreamRules, is_for_a_day};

/// What can be said of a window at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Not archived yet, and nobody needs to do anything.
    Waiting {
        /// For what.
        why: Waiting,
        /// When that is over, at the earliest; of a window whose turn it is, since when it is due.
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
        /// Whether it was lost before its stream was opened, and the configuration does not accept that: no entry is
        /// written until it does.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unaccepted: bool,
        /// Whether it is such a one and its source is still to be asked for it, once: it may come all the same.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        to_be_asked: bool,
    },
}

/// What a window waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
            return Verdict::Lost { since: *since, seq: Some(*seq), unaccepted: false, to_be_asked: false };
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
        let unaccepted = !rules.accepts_loss(window, snapshot);
        let to_be_asked = unaccepted && !rules.waits_for_acceptance(window, snapshot);
        return Verdict::Lost { since: rules.expires_at(window), seq: None, unaccepted, to_be_asked };
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
    let mut since = rules.due_at(window);
    // A pause that ended by now is what made it due. One of a clock that was ahead says nothing.
    let mut ended = |at: Timestamp| since = if at <= now { since.max(at) } else { since };
    let reason = match state {
        Some(WindowState::Parked { since, failure, fingerprint, seq }) => {
            let next = rules.parked_until(window, failure.at);
            if fingerprint.as_ref().is_some_and(|before| *before != rules.fingerprints.stream) {
                DueReason::ConfigChanged
            } else if !pauses(next, Some(failure), now) {
                ended(next);
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
            ended(*at);
            DueReason::PauseOver
        }
        Some(WindowState::Lost { .. }) => DueReason::LossNotBelieved,
        _ => DueReason::Due,
    };
    match rules.held_by(snapshot, now) {
        None => Verdict::Waiting { why: Waiting::Turn { reason }, next: since },
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
