//! The named steps on a window's way, so that a test can let a process die at each of them.
//!
//! The daemon passes [`NoCheckpoint`]; `examples/crash_at.rs` passes one that kills its own process. Nothing is
//! compiled in or out for it.

use std::fmt;
use std::str::FromStr;

macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident = $name:literal),* $(,)?) => {
        /// A step on the way of a window from the provider to a committed entry, in their order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Step {
            $($(#[$doc])* $step),*
        }

        impl Step {
            /// Every step, in order.
            pub const ALL: &'static [Self] = &[$(Self::$step),*];

            /// Whether only an export by a task (v3) comes by it.
            pub fn is_of_task(self) -> bool {
                self.as_str().starts_with("task-")
            }

            /// The step's name on the command line of `crash_at`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$step => $name),*
                }
            }
        }
    };
}

steps! {
    /// The stream's first entry is stored; the ledger does not know it yet.
    StreamOpened = "stream-opened",
    /// The window is leased.
    Leased = "leased",
    /// The export is about to be asked for.
    PullStarted = "pull-started",
    /// The wish for an export task is in the ledger; nobody has asked for it yet.
    TaskAsked = "task-asked",
    /// The export task stands at the provider's; the ledger does not know its id.
    TaskCreated = "task-created",
    /// The ledger knows the task's id.
    TaskKnown = "task-known",
    /// The task's file is there to be downloaded.
    TaskReady = "task-ready",
    /// The whole export is on disk, not yet inspected.
    Pulled = "pulled",
    /// The spool file and its facts are durable.
    Spooled = "spooled",
    /// The data object is about to be put.
    BeforeDataPut = "before-data-put",
    /// The data object is stored.
    DataPut = "data-put",
    /// The data object was read back.
    ReadBack = "read-back",
    /// The signature of the entry is stored; the entry is not.
    SignaturePut = "signature-put",
    /// The entry is stored: the window is archived, whatever comes.
    EntryPut = "entry-put",
    /// The ledger knows.
    LedgerUpdated = "ledger-updated",
    /// The spool is empty again.
    SpoolCleared = "spool-cleared",
    /// The export task is deleted at the provider's; the ledger still has it.
    TaskDeleted = "task-deleted",
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No step has that name.
#[derive(Debug, thiserror::Error)]
#[error("there is no step called {0:?}")]
pub struct UnknownStep(String);

impl FromStr for Step {
    type Err = UnknownStep;
    fn from_str(name: &str) -> Result<Self, UnknownStep> {
        let step = Self::ALL.iter().find(|step| step.as_str() == name);
        step.copied().ok_or_else(|| UnknownStep(name.to_owned()))
    }
}

/// Told of each step as it is reached.
pub trait Checkpoint: Send + Sync {
    /// The work is at `step`.
    fn reached(&self, step: Step);
}

/// Does nothing: what the daemon runs with.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCheckpoint;

impl Checkpoint for NoCheckpoint {
    fn reached(&self, _step: Step) {}
}
