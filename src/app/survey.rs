//! What can be said of every window at one instant: the ground of `status`, `gaps` and of how `once` ends.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::content::Marks;
use crate::domain::count::CountVerdict;
use crate::domain::log_entry::Head;
use crate::domain::name::StreamName;
use crate::domain::pause::has_been;
use crate::domain::snapshot::{Acknowledgement, Snapshot};
use crate::domain::verdict::{StreamRules, Verdict, judge, revisit_at};
use crate::domain::window::Window;

/// One window with its verdict and its times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Whether it is past the stream's deadline and an operator can still do something about it. A loss that the log records
    /// is not late, since nothing brings the window back; a window whose bytes could not be read is, until it is acknowledged.
    pub late: bool,
    /// Who has taken note of the gap, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledgement>,
}

impl Judged {
    /// Whether an operator must know of the window at `now`: due and not archived, or archived as bytes that could not be read,
    /// and not acknowledged.
    pub fn is_gap(&self, now: Timestamp) -> bool {
        self.is_known_gap(now) && self.acknowledged.is_none()
    }

    /// As [`Self::is_gap`], acknowledged or not.
    pub fn is_known_gap(&self, now: Timestamp) -> bool {
        self.due_at <= now && (self.verdict.is_unread() || !matches!(self.verdict, Verdict::Archived { .. }))
    }
}

/// A stream in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Archived windows with records that start outside of the bounds that were asked for.
    #[serde(default, skip_serializing_if = "Marked::is_none")]
    pub out_of_bounds: Marked,
    /// Archived windows with the very same records as another window.
    #[serde(default, skip_serializing_if = "Marked::is_none")]
    pub same_content: Marked,
    /// Archived windows with records without an end time that no revisit will complete any more.
    #[serde(default, skip_serializing_if = "Marked::is_none")]
    pub never_ended: Marked,
    /// Windows that need an operator.
    pub parked: u64,
    /// Windows that the provider no longer has.
    pub lost: u64,
    /// Windows, of the lost and the unread ones, that a person has taken note of.
    pub acknowledged: u64,
    /// Windows past the deadline, recorded losses and acknowledged ones left out.
    pub late: u64,
    /// The window that is open now becomes due then.
    pub next_due_at: Option<Timestamp>,
    /// The first of the unarchived windows that can still be had expires then.
    pub first_expiry_at: Option<Timestamp>,
}

/// Archived windows with something that an operator may want to look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marked {
    /// The number of windows.
    pub windows: u64,
    /// The newest of them.
    pub newest: Option<Window>,
}

impl Marked {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        self.windows == 0
    }

    /// The windows of `judged`, in order, whose records are as `is` says.
    fn of(judged: &[Judged], is: impl Fn(Window, &Marks) -> bool) -> Self {
        let is_marked = |judged: &&Judged| match &judged.verdict {
            Verdict::Archived { content, .. } => {
                content.marks().is_some_and(|marks| is(judged.window, marks))
            }
            _ => false,
        };
        let mut marked = Self::default();
        for judged in judged.iter().filter(is_marked) {
            marked = Self { windows: marked.windows + 1, newest: Some(judged.window) };
        }
        marked
    }
}

/// Every completed window of every stream, in order, with its verdict.
pub fn survey(streams: &[StreamRules], snapshot: &Snapshot, now: Timestamp) -> Vec<Judged> {
    let judged = |rules: &StreamRules, window| {
        // A window that no log has promised yet is late only for what has kept the log from being opened.
        let opened_at =
            rules.opened_at(window, snapshot).or_else(|| held_since(rules, snapshot)).unwrap_or(now);
        // A later instant is of a clock that was ahead.
        let opened_at = Some(opened_at).filter(|opened_at| has_been(*opened_at, now));
        let verdict = judge(rules, window, snapshot, now);
        let acknowledged = verdict.acknowledgement(&rules.name, window, snapshot).cloned();
        let done = match verdict {
            Verdict::Archived { .. } => !verdict.is_unread() || acknowledged.is_some(),
            Verdict::Lost { seq, .. } => seq.is_some(),
            Verdict::Waiting { .. } | Verdict::Parked { .. } => false,
        };
        Judged {
            stream: rules.name.clone(),
            window,
            due_at: rules.due_at(window),
            expires_at: rules.expires_at(window),
            late: !done && rules.late_at(window, opened_at) <= now,
            acknowledged,
            verdict,
        }
    };
    streams.iter().flat_map(|rules| rules.completed(now).map(move |window| judged(rules, window))).collect()
}

/// Since when the first of the holds stands that a stream waits for.
fn held_since(rules: &StreamRules, snapshot: &Snapshot) -> Option<Timestamp> {
    rules.needs().filter_map(|needed| snapshot.holds.get(&needed)).map(|hold| hold.since).min()
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
            let is = |j: &&Judged| {
                !j.verdict.is_unread()
                    && matches!(j.verdict, Verdict::Archived { count, .. } if count == wanted)
            };
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
            out_of_bounds: Marked::of(judged, |_, marks| marks.out_of_bounds),
            same_content: Marked::of(judged, |_, marks| marks.same_content_as.is_some()),
            never_ended: Marked::of(judged, |window, marks| {
                marks.open_records.is_some_and(|open| open > 0)
                    && revisit_at(rules, window, snapshot, now).is_none()
            }),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::content::Content;
    use crate::domain::object_key::Seq;
    use crate::domain::planner::tests::{at, pulled, rules, with};
    use crate::domain::snapshot::WindowState;

    fn seq(number: u64) -> Seq {
        Seq::new(number).unwrap()
    }

    /// Whether a window in `state` is a gap, and late, before and after a person has acknowledged entry 7.
    fn judged(state: WindowState) -> [(bool, bool); 2] {
        let rules = rules("logins", "2026-10-01T00:00:00Z");
        let now = at("2026-10-03T00:00:00Z");
        let window = rules.completed(now).next().unwrap();
        let mut snapshot = Snapshot::default();
        with(&mut snapshot, &rules, window, state);
        // It was opened before anybody can remember.
        snapshot.openings.insert(rules.name.clone(), [(rules.start, Timestamp::UNIX_EPOCH)].into());
        let look = |snapshot: &Snapshot| {
            let judged = survey(std::slice::from_ref(&rules), snapshot, now).remove(0);
            (judged.is_gap(now), judged.late)
        };
        let before = look(&snapshot);
        let known = Acknowledgement {
            seq: seq(9),
            entry: seq(7),
            by: "Ada".into(),
            reason: "an outage".into(),
            at: now,
        };
        snapshot.acknowledged.entry(rules.name.clone()).or_default().insert(window, known);
        [before, look(&snapshot)]
    }

    fn unread(number: u64) -> WindowState {
        let WindowState::Archived { revision, count, last_pulled_at, failures, corrupt, .. } =
            pulled(at("2026-10-02T03:00:00Z"))
        else {
            unreachable!("it is archived")
        };
        let content = Content::Unread { reason: "a name is cut".into() };
        let (retry_at, leased_until) = (None, None);
        WindowState::Archived {
            seq: seq(number),
            revision,
            count,
            content,
            last_pulled_at,
            failures,
            corrupt,
            retry_at,
            leased_until,
        }
    }

    #[test]
    fn what_is_acknowledged_is_no_gap_and_no_longer_late() {
        let lost = |number| WindowState::Lost { seq: seq(number), since: at("2026-10-02T03:00:00Z") };
        assert_eq!(judged(lost(7)), [(true, false), (false, false)], "nothing brings a lost window back");
        assert_eq!(judged(lost(8)), [(true, false), (true, false)], "another entry records the loss");
        assert_eq!(
            judged(unread(7)),
            [(true, true), (false, false)],
            "unread needs an operator, as parked does"
        );
        assert_eq!(judged(unread(8)), [(true, true), (true, true)]);
        assert_eq!(judged(pulled(at("2026-10-02T03:00:00Z"))), [(false, false), (false, false)]);
    }
}
