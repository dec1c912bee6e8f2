//! What an operator is shown: every stream in numbers, every completed window that is not archived, what is held up. One
//! document for `status --json` and the status page, and the words for a window's verdict.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::daemon_status::DaemonStatus;
use super::survey::{Judged, Marked, StreamSummary, survey};
use crate::domain::confirmed_time::{BEHIND, Confirmation, FRESH};
use crate::domain::content::Content;
use crate::domain::log_entry::Head;
use crate::domain::snapshot::{Acknowledgement, FailureNote, Fingerprint, Hold, Resource, Snapshot};
use crate::domain::verdict::{StreamRules, Verdict, Waiting};
use crate::ports::source_status::{SourceStatus, SourceStatuses};

/// All of it, at one instant.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// When it was looked.
    pub now: Timestamp,
    /// Whether a daemon runs, and how.
    pub daemon: DaemonStatus,
    /// Every stream in numbers.
    pub streams: Vec<StreamSummary>,
    /// Which API each source is asked through.
    pub sources: Vec<SourceStatus>,
    /// Completed windows that are not archived, or archived unread; acknowledged ones too.
    pub windows: Vec<Judged>,
    /// What is held up: each from its first failure until it is seen to work.
    pub holds: Vec<HeldUp>,
    /// What is wrong with this machine's clock; absent while nothing is known to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<WrongClock>,
}

/// What is wrong with this machine's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrongClock {
    /// For people: a line.
    pub wrong: String,
    /// The newest time that somebody else confirmed; absent before the first.
    pub confirmed_at: Option<Timestamp>,
    /// The host whose `Date` confirmed it.
    pub confirmed_by: Option<String>,
}

impl WrongClock {
    /// What `snapshot` says at `now`. A clock that is behind the confirmed time, or behind the last entry of a log while
    /// nobody confirms it, shows without a daemon, too.
    pub fn of(snapshot: &Snapshot, now: Timestamp) -> Option<Self> {
        let confirmed = snapshot.confirmed.as_ref();
        let behind =
            confirmed.filter(|confirmed| confirmed.at.duration_since(now) > BEHIND).map(|confirmed| {
                let Confirmation { at, host } = confirmed;
                format!(
                    "the clock of this machine says {now:.0}, and the Date of {host} confirmed {at:.0} before"
                )
            });
        let unconfirmed = confirmed.is_none_or(|known| now.duration_since(known.at).unsigned_abs() > FRESH);
        let recorded = snapshot.known_time().recorded.filter(|at| at.duration_since(now) > BEHIND);
        let recorded = recorded.filter(|_| unconfirmed).map(|at| {
            format!(
                "the clock of this machine says {now:.0}, and the last entry of a log was written at {at:.0}"
            )
        });
        let held = snapshot.clock_hold(now).map(|hold| hold.failure.message.to_string());
        Some(Self {
            wrong: held.or(behind).or(recorded)?,
            confirmed_at: confirmed.map(|confirmed| confirmed.at),
            confirmed_by: confirmed.map(|confirmed| confirmed.host.clone()),
        })
    }

    /// For people.
    pub fn words(&self) -> String {
        format!("the clock is not believed: {}", self.wrong)
    }
}

impl StreamSummary {
    /// What [`Self::cells`] are called.
    pub const COLUMNS: [&str; 10] = [
        "stream",
        "archived",
        "waiting",
        "parked",
        "lost",
        "late",
        "log head",
        "next due",
        "first expiry",
        "time left",
    ];

    /// For people, at `now`, with the log's head in the form that there is room for.
    pub fn cells(&self, now: Timestamp, head: fn(&Head) -> String) -> [String; 10] {
        let numbers = [self.archived, self.waiting, self.parked, self.lost, self.late];
        let [archived, waiting, parked, lost, late] = numbers.map(|number| number.to_string());
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        [
            self.stream.to_string(),
            archived,
            waiting,
            parked,
            lost,
            late,
            or_none(self.head.as_ref().map(head)),
            at(self.next_due_at),
            at(self.first_expiry_at),
            or_none(self.first_expiry_at.map(|expiry| time_left(expiry, now))),
        ]
    }
}

impl StreamSummary {
    /// What an operator may want to look at in the content of archived windows: a line each.
    pub fn notices(&self) -> Vec<String> {
        let Self { stream, out_of_bounds, same_content, never_ended, .. } = self;
        let line = |marked: &Marked, what: &str| {
            let newest = marked.newest?;
            Some(format!("{stream}: {} archived {what}; the newest is {newest}", marked.windows))
        };
        let lines = [
            line(
                out_of_bounds,
                "with records outside of the bounds that were asked for (log entries: out_of_bounds)",
            ),
            line(same_content, "with the same records as another window (log entries: same_content_as)"),
            line(
                never_ended,
                "with records without an end time, which no revisit will complete (log entries: open_records)",
            ),
        ];
        lines.into_iter().flatten().collect()
    }
}

/// Something shared that is held up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldUp {
    /// What.
    pub resource: Resource,
    /// Since the first failure in a row.
    pub since: Timestamp,
    /// When it is tried again; where that is over, it is being tried, or is at the next occasion.
    pub until: Timestamp,
    /// Failures in a row.
    pub failures: u32,
    /// The last of them.
    pub failure: FailureNote,
}

impl HeldUp {
    /// What a line for people says: what is held up, until when, and why.
    pub const COLUMNS: [&str; 3] = ["what", "tried again", "why, and what to do"];

    /// As the ledger would keep it.
    pub fn into_hold(self) -> Hold {
        let Self { since, until, failures, failure, .. } = self;
        Hold { until, since, failures, failure, fingerprint: Fingerprint(String::new()) }
    }

    /// For people, at `now`.
    pub fn cells(&self, now: Timestamp) -> [String; 3] {
        let again = if self.until > now { format!("{:.0}", self.until) } else { "now".to_owned() };
        [self.resource.to_string(), again, self.failure.message.to_string()]
    }

    /// What `snapshot` says is held up of what `streams` need. A hold is over once something has worked: the end of its pause
    /// says only when that is tried.
    pub fn all(streams: &[StreamRules], snapshot: &Snapshot, now: Timestamp) -> Vec<Self> {
        let needed: BTreeSet<_> = streams.iter().flat_map(StreamRules::needs).collect();
        // A look sets the hold for a wrong clock anew, or ends it: without a daemon nobody would.
        let lasts = |(resource, hold): &(&Resource, &Hold)| match resource {
            Resource::Clock => hold.is_on(now),
            resource => needed.contains(resource) && hold.is_credible(now),
        };
        let held = snapshot.holds.iter().filter(lasts).map(|(resource, hold)| Self {
            resource: resource.clone(),
            since: hold.since,
            until: hold.until,
            failures: hold.failures,
            failure: hold.failure.clone(),
        });
        held.collect()
    }
}

impl Status {
    /// What `snapshot` says of `streams` and `sources` at `now`.
    pub fn of(
        streams: &[StreamRules],
        sources: &SourceStatuses,
        snapshot: &Snapshot,
        daemon: DaemonStatus,
        now: Timestamp,
    ) -> Self {
        let (mut summaries, mut windows) = (Vec::new(), Vec::new());
        for rules in streams {
            let judged = survey(std::slice::from_ref(rules), snapshot, now);
            summaries.push(StreamSummary::of(rules, &judged, snapshot, now));
            let open = |judged: &Judged| {
                judged.verdict.is_unread() || !matches!(judged.verdict, Verdict::Archived { .. })
            };
            windows.extend(judged.into_iter().filter(open));
        }
        Self {
            now,
            daemon,
            clock: WrongClock::of(snapshot, now),
            streams: summaries,
            sources: sources(&snapshot.notes),
            windows,
            holds: HeldUp::all(streams, snapshot, now),
        }
    }
}

/// How much of it is left at `now` before the source may begin to answer short, for people.
pub fn time_left(expires_at: Timestamp, now: Timestamp) -> String {
    let left = expires_at.duration_since(now);
    match (left.as_hours(), left.as_mins()) {
        _ if !left.is_positive() => "none".to_owned(),
        (0, minutes) => format!("{minutes}m"),
        (hours, minutes) if hours < 24 => format!("{hours}h {}m", minutes % 60),
        (hours, _) => format!("{}d {}h", hours / 24, hours % 24),
    }
}

/// An instant for people, to the second.
pub fn at(instant: Option<Timestamp>) -> String {
    instant.map_or_else(|| "-".to_owned(), |instant| format!("{instant:.0}"))
}

impl Judged {
    /// What [`Self::acknowledged_cells`] are called.
    pub const ACKNOWLEDGED_COLUMNS: [&str; 6] = ["stream", "window", "verdict", "by", "at", "reason"];

    /// Who took note of the gap, when and why: for people; `None` where nobody did.
    pub fn acknowledged_cells(&self) -> Option<[String; 6]> {
        let Acknowledgement { by, at, reason, .. } = self.acknowledged.as_ref()?;
        let unread = if self.verdict.is_unread() { ", unread" } else { "" };
        let verdict = format!("{}{unread}", self.verdict.word());
        let (stream, window) = (self.stream.to_string(), self.window.to_string());
        Some([stream, window, verdict, by.to_string(), format!("{at:.0}"), reason.to_string()])
    }

    /// The verdict in a word, and whether it is unread, acknowledged or late.
    pub fn word(&self) -> String {
        let unread = if self.verdict.is_unread() { ", unread" } else { "" };
        let more = match (&self.acknowledged, self.late) {
            (Some(_), _) => " (acknowledged)",
            (None, true) => " (late)",
            (None, false) => "",
        };
        format!("{}{unread}{more}", self.verdict.word())
    }

    /// What holds the window up, where that is something shared.
    pub fn held_by(&self) -> Option<&Resource> {
        match &self.verdict {
            Verdict::Parked { held_by, .. } => held_by.as_ref(),
            Verdict::Waiting { why: Waiting::Hold { resource, .. }, .. } => Some(resource),
            _ => None,
        }
    }

    /// Since or until when the verdict holds, and why, with what to do: for people.
    pub fn words(&self) -> (String, String) {
        match &self.verdict {
            Verdict::Archived { seq, content: Content::Unread { reason }, .. } => {
                let (stream, window) = (&self.stream, self.window);
                let next = format!(
                    "read it with a later version: connvault reread {stream} {window}; export it again: connvault \
                     retry {stream} {window}; or take note of it: connvault \
                     acknowledge {stream} {window} --by … --reason …"
                );
                (
                    String::new(),
                    format!("archived as it came by log entry {seq}, and not read: {reason}; {next}"),
                )
            }
            Verdict::Archived { seq, .. } => (String::new(), format!("log entry {seq}")),
            Verdict::Lost { since, to_be_asked: true, .. } => (
                format!("since {since:.0}"),
                format!(
                    "the provider need not have had it when the stream was opened: it is asked for once, and a loss waits for \
                     accept_lost_before in [streams.{}]",
                    self.stream
                ),
            ),
            Verdict::Lost { since, seq, unaccepted, .. } => {
                let recorded = match seq {
                    None if *unaccepted => format!(
                        "it no longer had it when the stream was opened, so the loss is not recorded: it waits for \
                         accept_lost_before in [streams.{}], then restart the daemon",
                        self.stream
                    ),
                    None => "to be recorded in the log".to_owned(),
                    Some(seq) => format!(
                        "recorded by log entry {seq}; to take note of it: connvault acknowledge {} {} --by … --reason …",
                        self.stream, self.window
                    ),
                };
                (format!("since {since:.0}"), format!("the provider no longer has it; {recorded}"))
            }
            Verdict::Parked { failure, since, held_by, .. } => {
                let last = if failure.at > *since && held_by.is_none() {
                    format!(" (tried last at {:.0})", failure.at)
                } else {
                    String::new()
                };
                let command = match held_by {
                    Some(_) => "connvault retry".to_owned(),
                    None => format!("connvault retry {} {}", self.stream, self.window),
                };
                (format!("since {since:.0}"), format!("{}{last}; when mended: {command}", failure.message))
            }
            Verdict::Waiting { why, next } => {
                let why = match why {
                    Waiting::End => "it is not over yet".to_owned(),
                    Waiting::Settle => "records may still arrive".to_owned(),
                    Waiting::Turn { .. } => "it is due".to_owned(),
                    Waiting::Attempt => "it is being worked on".to_owned(),
                    Waiting::Pause { failure } => format!("failed, to be tried again: {}", failure.message),
                    Waiting::Hold { resource, failure } => format!("{resource}: {}", failure.message),
                };
                let when = if self.verdict.due().is_some() { "since" } else { "until" };
                (format!("{when} {next:.0}"), why)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_said_in_days_then_hours_then_minutes_then_not_at_all() {
        let now: Timestamp = "2026-11-23T02:00:00Z".parse().unwrap();
        let left = |text: &str| time_left(text.parse().unwrap(), now);
        assert_eq!(left("2026-12-22T05:59:00Z"), "29d 3h");
        assert_eq!(left("2026-11-24T02:00:00Z"), "1d 0h");
        assert_eq!(left("2026-11-24T01:59:59Z"), "23h 59m");
        assert_eq!(left("2026-11-23T02:59:59Z"), "59m");
        assert_eq!(left("2026-11-23T02:00:01Z"), "0m");
        assert_eq!(
            (left("2026-11-23T02:00:00Z"), left("2026-11-01T00:00:00Z")),
            ("none".into(), "none".into())
        );
    }
}
