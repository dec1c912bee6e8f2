//! What the ledger knows, as the planner reads it: one consistent picture, taken in one transaction.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::confirmed_time::{Confirmation, KnownTime};
use super::content::Content;
use super::count::CountVerdict;
use super::failure::FailureKind;
use super::log_entry::{Definition, Head};
use super::message::Message;
use super::name::{SourceName, StoreName, StreamName};
use super::object_key::{Revision, Seq};
use super::pause;
use super::text::Line;
use super::window::Window;

/// What the ledger knows of a window; windows that it knows nothing of are not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowState {
    /// Not archived; tried before, or being tried.
    Open {
        /// Failures in a row, of this window alone.
        failures: u32,
        /// How many of them were files that are no exports.
        corrupt: u32,
        /// Not before then.
        retry_at: Option<Timestamp>,
        /// How the last try ended.
        last_failure: Option<FailureNote>,
        /// Being worked on until then at the latest.
        leased_until: Option<Timestamp>,
    },
    /// Needs an operator.
    Parked {
        /// Since when it has been parked for this reason.
        since: Timestamp,
        /// The last failure; the pause before the next try begins with it.
        failure: FailureNote,
        /// What the config and credentials were when it was parked; not known where only the log said that it is.
        fingerprint: Option<Fingerprint>,
        /// The newest entry that says that it is parked; `None` while another one is to be written. Each reason is said once.
        seq: Option<Seq>,
    },
    /// In the log.
    Archived {
        /// The entry of its newest revision.
        seq: Seq,
        /// Its newest revision.
        revision: Revision,
        /// What the provider's own count said of it.
        count: CountVerdict,
        /// Whether its newest revision was read, and the facts about its records.
        content: Content,
        /// When it was last pulled, whether a revision came of it or not.
        last_pulled_at: Timestamp,
        /// Failures in a row to pull it again.
        failures: u32,
        /// How many of them were files that are no exports.
        corrupt: u32,
        /// Not to be pulled again before then.
        retry_at: Option<Timestamp>,
        /// Being pulled again until then at the latest.
        leased_until: Option<Timestamp>,
    },
    /// In the log, as lost.
    Lost {
        /// The entry that says so.
        seq: Seq,
        /// When it was written.
        since: Timestamp,
    },
}

/// Whether an entry that is dated `recorded_at` is believed at `now` to say that `window` is lost. A clock that was ahead has
/// recorded windows as lost that were not over; and an entry that is dated later than now was dated by such a clock.
pub fn is_loss_believed(window: Window, recorded_at: Timestamp, now: Timestamp) -> bool {
    recorded_at >= window.end() && pause::has_been(recorded_at, now)
}

/// That a person has taken note of a window that is lost or unread, as the log has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// The entry that says so.
    pub seq: Seq,
    /// The entry that it acknowledges: the one that it names or, where that archived the window unread, the newest after it that
    /// did so without one that could be read between. Once the window's state rests on another entry, this counts no more.
    pub entry: Seq,
    /// The person.
    pub by: Line,
    /// The person's reason.
    pub reason: Line,
    /// When the entry was written.
    pub at: Timestamp,
}

/// An acknowledgement that was asked for and is not in the log yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcknowledgeRequest {
    /// The entry that is to be acknowledged.
    pub entry: Seq,
    /// The person.
    pub by: Line,
    /// The person's reason.
    pub reason: Line,
}

/// A failure as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureNote {
    /// What kind.
    pub kind: FailureKind,
    /// One line for a person.
    pub message: Message,
    /// When.
    pub at: Timestamp,
}

/// A digest of a stream's effective config and credentials: when it changes, what was parked is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub String);

/// What several windows share and can be held up by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "name")]
pub enum Resource {
    /// One stream's log.
    Stream(StreamName),
    /// A source.
    Source(SourceName),
    /// A store.
    Store(StoreName),
    /// This machine.
    Daemon,
    /// The clock of this machine, while it is known to be wrong.
    Clock,
}

/// Why everything that needs a resource waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Until then.
    pub until: Timestamp,
    /// Since the first failure in a row.
    pub since: Timestamp,
    /// Failures in a row.
    pub failures: u32,
    /// The last of them.
    pub failure: FailureNote,
    /// What the config and credentials were; another fingerprint ends the hold.
    pub fingerprint: Fingerprint,
}

impl Hold {
    /// Whether it holds something up at `now`. One that a clock set which was ahead does not.
    pub fn is_on(&self, now: Timestamp) -> bool {
        pause::goes_on(self.until, now) && self.is_credible(now)
    }

    /// Whether its failure can have happened by `now`.
    pub fn is_credible(&self, now: Timestamp) -> bool {
        pause::has_been(self.failure.at, now) && pause::has_been(self.since, now)
    }
}

/// What is known of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// What its log says that it is.
    pub definition: Definition,
    /// The last entry that the ledger knows.
    pub head: Head,
    /// Whether every later entry must be signed: an entry named a key, or a daemon with a key followed the log to its end.
    pub signed: bool,
    /// The `recorded_at` of that entry; `None` where it was taken over by an earlier version of the program.
    pub recorded_at: Option<Timestamp>,
}

/// All that the planner needs, read in one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// By stream; a stream that was never opened is not in it.
    pub streams: BTreeMap<StreamName, StreamState>,
    /// By stream and window.
    pub windows: BTreeMap<StreamName, BTreeMap<Window, WindowState>>,
    /// The newest acknowledgement of each window, by stream and window.
    pub acknowledged: BTreeMap<StreamName, BTreeMap<Window, Acknowledgement>>,
    /// Acknowledgements that are still to be written, by stream and window.
    pub to_acknowledge: BTreeMap<StreamName, BTreeMap<Window, AcknowledgeRequest>>,
    /// Attempts in a row that ended with the process, by stream and window; windows without any are not in it.
    pub crashes: BTreeMap<StreamName, BTreeMap<Window, u32>>,
    /// What is held up, and until when.
    pub holds: BTreeMap<Resource, Hold>,
    /// What the sources have found out about their providers.
    pub notes: Notes,
    /// The newest time that the `Date` of somebody else confirmed.
    pub confirmed: Option<Confirmation>,
    /// What config and credentials were in the last run over this ledger, by what they belong to.
    pub fingerprints: BTreeMap<Resource, Fingerprint>,
    /// By stream: each start that its log has promised, and when.
    pub openings: BTreeMap<StreamName, BTreeMap<Timestamp, Timestamp>>,
    /// The newest run of a process over the ledger.
    pub run: Option<Run>,
}

/// A run of a process over the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Whether it is a daemon's, and not that of a command that ends by itself.
    pub is_daemon: bool,
    /// The process.
    pub pid: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// When it, or a run before it, last looked what is due.
    pub looked_at: Option<Timestamp>,
    /// The digest of the configuration file as it was then.
    pub config: Option<String>,
}

impl WindowState {
    fn void_lease(&mut self) {
        match self {
            Self::Open { leased_until, .. } | Self::Archived { leased_until, .. } => *leased_until = None,
            Self::Parked { .. } | Self::Lost { .. } => {}
        }
    }
}

impl Snapshot {
    /// What is known of the time before: the clock cannot be right where it is earlier.
    pub fn known_time(&self) -> KnownTime {
        let recorded = self.streams.values().filter_map(|stream| stream.recorded_at).max();
        KnownTime { confirmed: self.confirmed.clone(), recorded }
    }

    /// Attempts in a row at the window that ended with the process.
    pub fn crashes_of(&self, stream: &StreamName, window: Window) -> u32 {
        self.crashes.get(stream).and_then(|windows| windows.get(&window)).copied().unwrap_or_default()
    }

    /// Nobody works on any window: the process that leased them has ended.
    pub fn void_leases(&mut self) {
        self.windows.values_mut().flat_map(BTreeMap::values_mut).for_each(WindowState::void_lease);
    }

    /// Nobody works on this window, though the ledger says that somebody does.
    pub fn void_lease(&mut self, stream: &StreamName, window: Window) {
        let windows = self.windows.get_mut(stream);
        windows.and_then(|windows| windows.get_mut(&window)).into_iter().for_each(WindowState::void_lease);
    }

    /// The hold for a wrong clock, if it is on at `now`.
    pub fn clock_hold(&self, now: Timestamp) -> Option<&Hold> {
        self.holds.get(&Resource::Clock).filter(|hold| hold.is_on(now))
    }
}

/// What a source has found out about its provider, and is not to ask again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Since when this machine knows.
    pub at: Timestamp,
    /// How the provider said so.
    pub reason: Line,
}

/// The notes of all sources, each by its topic.
pub type Notes = BTreeMap<SourceName, BTreeMap<String, Note>>;

/// What the `parked` entries of a window say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaidOfParked {
    /// What the newest of them says: why, and since when.
    pub newest: FailureNote,
    /// The reasons that the earlier ones give.
    pub earlier: Vec<(FailureKind, Line)>,
}

/// No window gets two `parked` entries within this time.
const BETWEEN_ENTRIES: SignedDuration = SignedDuration::from_hours(24);

impl SaidOfParked {
    /// Whether no other entry is needed for a window that failed last with `failure`: one gives this reason, or the newest
    /// of them is less than a day old.
    pub fn is_enough_for(&self, failure: &FailureNote) -> bool {
        let is_recent = failure.at.duration_since(self.newest.at).abs() < BETWEEN_ENTRIES;
        is_recent
            || self.newest.is_for_the_reason_of(failure)
            || self.earlier.iter().any(|(kind, reason)| failure.gives((*kind, reason)))
    }
}

impl FailureNote {
    /// Whether a `parked` entry with this failure still says why a window is parked that failed last with `other`.
    pub fn is_for_the_reason_of(&self, other: &Self) -> bool {
        [self.message.cause(), self.message.whole()].iter().any(|said| other.gives((self.kind, said)))
    }

    /// Whether an entry that says this gives the reason of this failure. Earlier versions wrote advice into entries as well.
    fn gives(&self, said: (FailureKind, &str)) -> bool {
        let is_said = |line: &Line| gist(line) == gist(said.1);
        self.kind == said.0 && (is_said(self.message.cause()) || is_said(self.message.whole()))
    }
}

/// The part of a message that two failures for one reason have in common: no quotations, which are of somebody else, and no
/// words with a digit in them, such as numbers, instants and request ids.
fn gist(message: &str) -> String {
    let unquoted = message.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let is_inside = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/' | '+' | '%');
    let mut words = unquoted.split(|c| !is_inside(c)).filter(|word| !word.is_empty()).collect::<Vec<_>>();
    words.retain(|word| !word.chars().any(char::is_numeric));
    words.join(" ")
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(name) => write!(f, "stream {name}"),
            Self::Source(name) => write!(f, "source {name}"),
            Self::Store(name) => write!(f, "store {name}"),
            Self::Daemon => f.write_str("this machine"),
            Self::Clock => f.write_str("the clock of this machine"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(kind: FailureKind, message: &str) -> FailureNote {
        FailureNote { kind, message: message.into(), at: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn two_failures_have_one_reason_whatever_numbers_ids_and_quotations_they_carry() {
        let before = note(
            FailureKind::Corrupt,
            "host answered the v2 export with 200 at 2026-11-23T02:00:00Z (WKS.1, \"try 7f3a of 3\"): 1,380 bytes of 2 MB",
        );
        let after = note(
            FailureKind::Corrupt,
            "host answered the v2 export with 200 at 2026-11-24T02:00:01Z (WKS.2, \"no such thing\"): 12 bytes of 3 MB",
        );
        assert!(before.is_for_the_reason_of(&after));
        assert!(!before.is_for_the_reason_of(&note(FailureKind::Rejected, &before.message)));
        assert!(!before.is_for_the_reason_of(&note(FailureKind::Corrupt, "the file is cut off")));
    }

    #[test]
    fn a_quotation_that_is_cut_off_hides_what_follows_it_and_nothing_before() {
        let before = note(FailureKind::Corrupt, "no export: \"abc");
        assert!(before.is_for_the_reason_of(&note(FailureKind::Corrupt, "no export: \"def \u{2026}")));
    }
}
