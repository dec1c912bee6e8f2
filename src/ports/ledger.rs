//! The ledger: what this machine knows of every stream's log, and what it is doing about the windows that are not
//! in it yet.
//!
//! The log in the store is the truth; the ledger follows it ([`Ledger::apply`]) and can be lost. What only the
//! ledger knows - attempts, pauses, parked windows - is found out anew when it is.
//!
//! A window is worked on under a lease. Each lease has a generation, one higher than the last; whatever a holder
//! says under an older generation is refused ([`LedgerError::StaleLease`]), so a holder that slept through its lease
//! cannot undo what its successor did.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::confirmed_time::Confirmation;
use crate::domain::digest::{ContentDigest, Sha256};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::log_entry::{Definition, Head, SealedEntry};
use crate::domain::message::Message;
use crate::domain::name::StreamName;
use crate::domain::object_key::{DataKey, Seq};
use crate::domain::snapshot::{
    AcknowledgeRequest, Fingerprint, Hold, Resource, Run, Snapshot, StreamState, WindowState,
};
use crate::domain::text::ForeignText;
use crate::domain::window::Window;

/// The right to work on one window, until it runs out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Whose window.
    pub stream: StreamName,
    /// Which window.
    pub window: Window,
    /// Who works on it: one name for one run of one process.
    pub holder: String,
    /// Higher than that of every lease of this window before.
    pub generation: u64,
    /// The attempt that the ledger keeps for audit.
    pub attempt: AttemptId,
}

/// The number of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptId(pub i64);

/// What a window is leased for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To archive it, or to say that it is lost: an archived window is not leased.
    Settle,
    /// To pull it again: an archived window is leased, and stays archived.
    Revisit,
}

/// Whether a window could be leased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// It is ours.
    Leased(Lease),
    /// Somebody else works on it until then.
    HeldElsewhere {
        /// When their lease runs out.
        until: Timestamp,
    },
    /// It is archived already, and the lease was not asked for to pull it again.
    Settled,
}

/// How an attempt ended, for audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// The window is in the log, by this attempt.
    Archived,
    /// It was in the log before.
    AlreadyArchived,
    /// It was pulled again, and its content is what the log says.
    Unchanged,
    /// The window was attested as lost.
    Lost,
    /// It failed.
    Failed,
    /// The daemon stopped.
    Interrupted,
}

impl AttemptOutcome {
    /// The word for it in the ledger and in `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Archived => "archived",
            Self::AlreadyArchived => "already_archived",
            Self::Unchanged => "unchanged",
            Self::Lost => "lost",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// One try at one window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Its number.
    pub id: AttemptId,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; absent while it goes on, or when the process died.
    pub ended_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: Option<AttemptOutcome>,
    /// What kind of failure.
    pub failure: Option<FailureKind>,
    /// Whether it was the window's own failure, and not one of what it shares with others.
    pub charged: bool,
    /// One line for a person.
    pub message: Option<Message>,
    /// The provider's request ids.
    pub request_ids: Vec<ForeignText>,
}

/// What becomes of a window after a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// Tried again then; the failure is charged to the window.
    Retry {
        /// Not before.
        at: Timestamp,
    },
    /// An operator must look. An archived window stays archived, and is not pulled again for a while.
    Park {
        /// What the config and credentials are now.
        fingerprint: Fingerprint,
    },
    /// Not the window's fault: it is as due as before.
    NotCharged,
}

/// An object that the log names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedObject {
    /// Relative to the stream's folder.
    pub key: DataKey,
    /// Its size in bytes.
    pub bytes: u64,
    /// Of its bytes.
    pub sha256: Sha256,
    /// The entry that names it.
    pub seq: Seq,
    /// Whether it holds the window's export, and is not an orphan.
    pub is_export: bool,
    /// Of its rows; not known of an orphan, nor of an export that could not be read.
    pub content_digest: Option<ContentDigest>,
}

/// The ledger did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Somebody else holds, or held, a later lease of the window.
    #[error("the lease on window {window} of stream {stream} has passed to another holder")]
    StaleLease {
        /// Whose window.
        stream: StreamName,
        /// Which window.
        window: Window,
    },
    /// Entries do not go on from the head that the ledger knows.
    #[error("entry {seq} of stream {stream} does not follow the last one that the ledger knows")]
    NotNext {
        /// Whose log.
        stream: StreamName,
        /// Which entry.
        seq: Seq,
    },
    /// The database did not do its work, and may later: disk full, locked for too long.
    #[error("{0}")]
    Storage(String),
    /// An earlier version of the program wrote it, and no run of this one has brought it up to date.
    #[error("{0}")]
    Outdated(String),
    /// The database is damaged: only the logs say what was in it.
    #[error("{0}")]
    Damaged(String),
    /// The database cannot be used, and trying again does not help: of a later version, not to be read.
    #[error("{0}")]
    Unusable(String),
}

/// A ledger's error is the machine's failure, never a window's.
impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        let (kind, scope) = match error {
            LedgerError::StaleLease { .. } => (FailureKind::Transient, Scope::Window),
            // Somebody else moved the head; reading on puts it right.
            LedgerError::NotNext { .. } => (FailureKind::Transient, Scope::Stream),
            LedgerError::Storage(_) => (FailureKind::Local, Scope::Daemon),
            LedgerError::Outdated(_) | LedgerError::Damaged(_) | LedgerError::Unusable(_) => {
                (FailureKind::Damaged, Scope::Daemon)
            }
        };
        Self::new(kind, scope, error.to_string())
    }
}

/// What this machine knows. Each call is one transaction.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// All that the planner needs.
    async fn snapshot(&self) -> Result<Snapshot, LedgerError>;

    /// What is known of one stream; `None` before its log was first read or begun.
    async fn stream(&self, stream: &StreamName) -> Result<Option<StreamState>, LedgerError>;

    /// Takes over entries of the log, in order, from the one after the known head. Entries at or before the head are
    /// passed over. A window that one of them names is settled, whatever the ledger thought of it.
    async fn apply(&self, stream: &StreamName, entries: &[SealedEntry]) -> Result<(), LedgerError>;

    /// As [`Self::apply`], of entries that need not follow one another: of a log that is damaged and to be gone on with.
    /// `definition` is what the stream is until one of them says so.
    async fn accept(
        &self,
        stream: &StreamName,
        definition: &Definition,
        entries: &[SealedEntry],
    ) -> Result<(), LedgerError>;

    /// Takes the place of a damaged entry as taken: the next entry follows `head`, which is its place and the hash of its
    /// bytes. `definition` is what the stream is until an entry says so.
    async fn pass_over(
        &self,
        stream: &StreamName,
        definition: &Definition,
        head: Head,
    ) -> Result<(), LedgerError>;

    /// Notes that every later entry of the stream must be signed. An entry that names a key says so by itself.
    async fn must_be_signed(&self, stream: &StreamName) -> Result<(), LedgerError>;

    /// Ends the taking over of a whole log into a ledger that knew nothing: pulls that were due before `as_of` count as
    /// made, and what is parked was parked under `fingerprint`. Neither stands in a log. The windows in `late` were recorded
    /// long after their export was made, so a pull that was due in between was not made by then and is due still.
    async fn rebuilt(
        &self,
        stream: &StreamName,
        as_of: Timestamp,
        fingerprint: &Fingerprint,
        late: &BTreeSet<Window>,
    ) -> Result<(), LedgerError>;

    /// What is known of one window; `None` where nothing is.
    async fn window(&self, stream: &StreamName, window: Window) -> Result<Option<WindowState>, LedgerError>;

    /// Objects that the log names for a window.
    async fn named_objects(
        &self,
        stream: &StreamName,
        window: Window,
    ) -> Result<Vec<NamedObject>, LedgerError>;

    /// Other windows of the stream with an object of exactly these records, newest entry first: a few of them.
    async fn same_content(
        &self,
        stream: &StreamName,
        window: Window,
        digest: ContentDigest,
    ) -> Result<Vec<(Window, Seq)>, LedgerError>;

    /// Takes the lease of a window that nobody holds at `now`, and begins an attempt. An archived window is leased for
    /// [`Purpose::Revisit`] only.
    async fn lease(
        &self,
        stream: &StreamName,
        window: Window,
        purpose: Purpose,
        holder: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<LeaseOutcome, LedgerError>;

    /// Confirms that the lease is still ours and moves its end. Asked before anything irrevocable.
    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<(), LedgerError>;

    /// Takes over the entry that settles the leased window, ends the attempt, and gives the lease back: one
    /// transaction.
    async fn commit(
        &self,
        lease: &Lease,
        entry: &SealedEntry,
        outcome: AttemptOutcome,
        now: Timestamp,
    ) -> Result<(), LedgerError>;

    /// Ends an attempt without an entry, and gives the lease back.
    async fn release(
        &self,
        lease: &Lease,
        outcome: AttemptOutcome,
        now: Timestamp,
    ) -> Result<(), LedgerError>;

    /// Ends an attempt that pulled an archived window again at `pulled_at` and found nothing new, and gives the lease
    /// back. Only the ledger remembers it: when it is lost, the window is pulled once more.
    async fn revisited(&self, lease: &Lease, pulled_at: Timestamp, now: Timestamp)
    -> Result<(), LedgerError>;

    /// Ends an attempt that failed, says what becomes of the window, and gives the lease back.
    async fn fail(
        &self,
        lease: &Lease,
        failure: &Failure,
        disposition: &Disposition,
        now: Timestamp,
    ) -> Result<(), LedgerError>;

    /// Gives back every lease: sound only while the caller alone may use this ledger, at its start. Each attempt under one
    /// ended with its process, and is counted in [`Snapshot::crashes`], unless notice was given.
    async fn void_leases(&self) -> Result<u64, LedgerError>;

    /// Takes note that this process is about to end: that is nothing against the windows that are leased now.
    async fn give_notice(&self) -> Result<(), LedgerError>;

    /// Parks an open window that nobody holds, until an operator looks; a change of the configuration does not make it due.
    /// Any other window stays as it is.
    async fn park(
        &self,
        stream: &StreamName,
        window: Window,
        failure: &Failure,
        now: Timestamp,
    ) -> Result<(), LedgerError>;

    /// Forgets attempts that began before an instant and have ended; says how many.
    async fn forget_attempts(&self, before: Timestamp) -> Result<u64, LedgerError>;

    /// Whether the ledger can still be read as a whole.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] where it cannot.
    async fn check(&self) -> Result<(), LedgerError>;

    /// Holds up all that needs `resource`, in place of any hold before.
    async fn hold(&self, resource: &Resource, hold: &Hold) -> Result<(), LedgerError>;

    /// Ends a hold on `resource` that runs no longer than `until`, or longer than any pause can; says whether there was one.
    async fn lift(&self, resource: &Resource, until: Timestamp) -> Result<bool, LedgerError>;

    /// Remembers what config and credentials are in this run, for those who only look.
    async fn record_fingerprints(
        &self,
        fingerprints: &BTreeMap<Resource, Fingerprint>,
    ) -> Result<(), LedgerError>;

    /// Remembers the newest time that somebody else confirmed, in place of the one before.
    async fn confirm(&self, confirmed: &Confirmation) -> Result<(), LedgerError>;

    /// Remembers the newest run over this ledger, in place of the one before.
    async fn note_run(&self, run: &Run) -> Result<(), LedgerError>;

    /// Makes windows that are parked, pausing or archived unread, revisits too, due at once; says how many. Ends of the process
    /// in the middle of their attempts are forgotten. Holds stay. Without a stream: all; without a window: all of the stream.
    async fn retry(&self, stream: Option<&StreamName>, window: Option<Window>) -> Result<u64, LedgerError>;

    /// Asks whoever works with this ledger to write acknowledgements of these windows into the stream's log: all or none. An
    /// entry that settles a window, or acknowledges it, ends the request for it.
    async fn ask_to_acknowledge(
        &self,
        stream: &StreamName,
        requests: &[(Window, AcknowledgeRequest)],
    ) -> Result<(), LedgerError>;

    /// How many acknowledgements were ever asked for: a number that has grown says that there is something to do.
    async fn acknowledgements_asked_for(&self) -> Result<u64, LedgerError>;

    /// Every attempt at a window, oldest first.
    async fn attempts(&self, stream: &StreamName, window: Window) -> Result<Vec<Attempt>, LedgerError>;
}
