//! When a stream's windows are due, when they expire, and what they share with other streams.

use jiff::{SignedDuration, Timestamp};

use super::backoff::{CAP, PARKED_RETRY};
use super::calendar::Calendar;
use super::export::{Bounds, PastHorizon};
use super::name::{SourceName, StoreName, StreamName};
use super::snapshot::{Fingerprint, Hold, Resource, Snapshot};
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
    /// Whether the source answers at all when it is asked for such a window.
    pub answers_past_horizon: Answers,
    /// How long after it was due a window is late.
    pub deadline: SignedDuration,
    /// Windows that end by then may be recorded as lost though they were lost before the stream was opened.
    pub accept_lost_before: Option<Timestamp>,
    /// What the config and credentials are now.
    pub fingerprints: Fingerprints,
}

/// Whether a source answers a question of some kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// The source may answer.
    Always,
    /// The source refuses the question.
    Never,
    /// The source may answer until it has noted this topic about its provider.
    UntilNoted(&'static str),
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

    /// Whether the source is asked for a window that it need not have any more.
    pub fn asks_past_horizon(&self, snapshot: &Snapshot) -> bool {
        let answers = match self.answers_past_horizon {
            Answers::Always => true,
            Answers::Never => false,
            Answers::UntilNoted(topic) => {
                !snapshot.notes.get(&self.source).is_some_and(|notes| notes.contains_key(topic))
            }
        };
        self.past_horizon == PastHorizon::Try && answers
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
    /// where somebody asked for it or a try failed at `retry_at`; when its last day begins; and on that day, on which
    /// anything is archived and something better may still come.
    pub(super) fn reads_again(
        &self,
        window: Window,
        last_pulled_at: Timestamp,
        retry_at: Option<Timestamp>,
    ) -> Option<Timestamp> {
        let on_the_last_day = || match self.is_last_day(window, last_pulled_at) {
            true => Some(self.parked_until(window, last_pulled_at)),
            false => self.expires_at(window).saturating_sub(PARKED_RETRY).ok(),
        };
        retry_at.or_else(on_the_last_day)
    }

    /// When the window is late: the deadline after it was due, and after its stream was opened. What was due long before there
    /// was a stream is no delay of the stream's.
    pub fn late_at(&self, window: Window, opened_at: Option<Timestamp>) -> Timestamp {
        let since = opened_at.map_or(self.due_at(window), |opened_at| self.due_at(window).max(opened_at));
        since.saturating_add(self.deadline).unwrap_or(Timestamp::MAX)
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

    /// What a run records in the ledger, for those who only look: the fingerprints of stream, source and store.
    pub fn recorded(&self) -> impl Iterator<Item = (Resource, Fingerprint)> {
        let resources = self.resources().into_iter();
        resources.filter_map(|(resource, fingerprint)| Some((resource, fingerprint?.clone())))
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

    /// What keeps the stream's store from being asked at `now`.
    pub fn store_held_by<'s>(&self, snapshot: &'s Snapshot, now: Timestamp) -> Option<&'s Hold> {
        let mut holds = self.holds(snapshot, now);
        holds.find_map(|(resource, hold)| matches!(resource, Resource::Store(_)).then_some(hold))
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

    pub(super) fn holds<'s>(
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
