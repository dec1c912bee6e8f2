//! Who looks on: the progress bar of a person, the STATUS line of systemd, a test.

use jiff::Timestamp;

use crate::domain::content::Content;
use crate::domain::count::CountVerdict;
use crate::domain::digest::Sha256;
use crate::domain::failure::Failure;
use crate::domain::log_entry::{Head, Supersedes};
use crate::domain::name::{SourceName, StoreName, StreamName};
use crate::domain::window::Window;

/// Something that an onlooker may want to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A plan was made.
    Planned {
        /// Windows to be worked on, those in flight not counted.
        queued: usize,
        /// Windows being worked on.
        in_flight: usize,
        /// Whether all that is due is known: no store is being proven, whose streams come later.
        whole: bool,
    },
    /// Work on a window began.
    Started {
        /// Whose.
        stream: StreamName,
        /// Which.
        window: Window,
    },
    /// Work on a window ended.
    Finished {
        /// Whose.
        stream: StreamName,
        /// Which.
        window: Window,
        /// How.
        ending: Ending,
    },
    /// The project of a source was looked up.
    LookedUp {
        /// Whose.
        source: SourceName,
        /// Why it was not found, if it was not.
        failure: Option<Failure>,
    },
    /// A store was asked how it refuses to overwrite.
    Proven {
        /// The store that was asked to prove itself.
        store: StoreName,
        /// Why it may not be put to yet, if it may not.
        failure: Option<Failure>,
    },
    /// Nothing is to be done at the moment.
    Idle {
        /// When something may be, if nothing changes before.
        until: Option<Timestamp>,
    },
    /// The reconciler goes round, whether or not it has anything to do.
    Alive,
}

/// How work on a window ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It is in the log, by this work.
    Archived {
        /// The object's key below the store's prefix.
        key: String,
        /// Records in it.
        rows: Option<u64>,
        /// Its size.
        bytes: u64,
        /// Of its bytes.
        sha256: Sha256,
        /// For a revision: what it follows, and how the rows differ.
        supersedes: Option<Supersedes>,
        /// What the provider's own count said of it.
        count: CountVerdict,
        /// Whether its bytes were read, and the facts about its records.
        content: Content,
        /// The head of the log, which is its entry now.
        head: Head,
    },
    /// It was in the log before.
    AlreadyArchived,
    /// It was pulled again, and its records are the same.
    Unchanged,
    /// It was attested as lost.
    Lost {
        /// The head of the log, which says so now.
        head: Head,
    },
    /// That it is parked is in the log.
    Parked {
        /// The head of the log, which says so now.
        head: Head,
    },
    /// That a person has taken note of it is in the log.
    Acknowledged {
        /// The head of the log, which says so now.
        head: Head,
    },
    /// Somebody else works on it.
    HeldElsewhere,
    /// It failed.
    Failed(Failure),
    /// The daemon stops.
    Interrupted,
}

/// Looks on.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn on(&self, event: &Event);
}

/// Does not look.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn on(&self, _event: &Event) {}
}
