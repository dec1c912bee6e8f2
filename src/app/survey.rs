//! What can be said of every window at one instant: the ground of `status`, `gaps` and of how `once` ends.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::count::CountVerdict;
use crate::domain::log_entry::Head;
use crate::domain::name::StreamName;
use crate::domain::snapshot::{Acknowledgement, Snapshot};
use crate::domain::verdict::{StreamRules, Verdict, judge};
use crate::domain::window::Window;

/// One window with its verdict and its times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// Whose.
    pub stream: StreamName,
    /// Which.
    pub window: Window,
    /// What can be said of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// When it may be pulled.
    pub due_at: Timestamp,
    /// When the source may begin to answer short.
    pub expires_at: Timestamp,
    /// Whether it is past the stream's deadline and something can still be done about it. A loss that the log records is not
    /// late: nothing brings the window back.
    pub late: bool,
    /// Who has taken note of the gap, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledgement>,
}

impl Judged {
    /// Whether the archive has a hole here at `now` that nobody has taken note of: due, and neither archived nor acknowledged.
    pub fn is_gap(&self, now: Timestamp) -> bool {
        self.is_known_gap(now) && self.acknowledged.is_none()
    }

    /// As [`Self::is_gap`], acknowledged or not.
    pub fn is_known_gap(&self, now: Timestamp) -> bool {
        self.due_at <= now && (self.verdict.is_unread() || !matches!(self.verdict, Verdict::Archived { .. }))
    }
}

/// A stream in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamSummary {
    /// Which.
    pub stream: StreamName,
    /// The last log entry that this machine knows; absent before the log was first read.
    pub head: Option<Head>,
    /// Windows over and done with.
    pub archived: u64,
    /// Of these, archived without the provider's own count.
    pub uncounted: u64,
    /// Of these, archived although the provider counts another number of records.
    pub mismatched: u64,
    /// Windows that wait, those that are not over yet left out.
    pub waiting: u64,
    /// Of the archived ones, those whose newest revision could not be read: they need an operator.
    pub unread: u64,
    /// Windows that need an operator.
    pub parked: u64,
    /// Windows that the provider no longer has.
    pub lost: u64,
    /// Windows, of the lost ones, that a person has taken note of.
    pub acknowledged: u64,
    /// Windows past the deadline, recorded losses left out.
    pub late: u64,
    /// The window that is open now becomes due then.
    pub next_due_at: Option<Timestamp>,
    /// The first of the unarchived windows that can still be had expires then.
    pub first_expiry_at: Option<Timestamp>,
}

/// Every completed window of every stream, in order, with its verdict.
pub fn survey(streams: &[StreamRules], snapshot: &Snapshot, now: Timestamp) -> Vec<Judged> {
    let judged = |rules: &StreamRules, window| {
        let verdict = judge(rules, window, snapshot, now);
        let done = matches!(verdict, Verdict::Archived { .. } | Verdict::Lost { seq: Some(_), .. });
        let acknowledged = verdict.acknowledgement(&rules.name, window, snapshot).cloned();
        Judged {
            stream: rules.name.clone(),
            window,
            due_at: rules.due_at(window),
            expires_at: rules.expires_at(window),
            late: !done && rules.late_at(window) <= now,
            acknowledged,
            verdict,
        }
    };
    streams.iter().flat_map(|rules| rules.completed(now).map(move |window| judged(rules, window))).collect()
}

/// The numbers of each stream.
pub fn summarize(streams: &[StreamRules], snapshot: &Snapshot, now: Timestamp) -> Vec<StreamSummary> {
    let judged = |rules| survey(std::slice::from_ref(rules), snapshot, now);
    streams.iter().map(|rules| StreamSummary::of(rules, &judged(rules), snapshot, now)).collect()
}

impl StreamSummary {
    /// The numbers of the stream of `rules`, whose completed windows are `judged`.
    pub fn of(rules: &StreamRules, judged: &[Judged], snapshot: &Snapshot, now: Timestamp) -> Self {
        let count = |word: &str| judged.iter().filter(|j| j.verdict.word() == word).count() as u64;
        let counted = |wanted: CountVerdict| {
            let is = |j: &&Judged| matches!(j.verdict, Verdict::Archived { count, .. } if count == wanted);
            judged.iter().filter(is).count() as u64
        };
        let open = rules.calendar.window_at(now.max(rules.start));
        let savable = |j: &&Judged| !matches!(j.verdict, Verdict::Archived { .. } | Verdict::Lost { .. });
        Self {
            stream: rules.name.clone(),
            head: snapshot.streams.get(&rules.name).map(|state| state.head),
            archived: count("archived"),
            uncounted: counted(CountVerdict::Uncounted),
            mismatched: counted(CountVerdict::Mismatched),
            unread: judged.iter().filter(|j| j.verdict.is_unread()).count() as u64,
            waiting: count("waiting"),
            parked: count("parked"),
            lost: count("lost"),
            acknowledged: judged.iter().filter(|j| j.acknowledged.is_some()).count() as u64,
            late: judged.iter().filter(|j| j.late).count() as u64,
            next_due_at: open.map(|window| rules.due_at(window)),
            first_expiry_at: judged.iter().filter(savable).map(|j| j.expires_at).min(),
        }
    }
}
