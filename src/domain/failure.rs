//! How work fails, as types: what kind of failure it is decides what happens next.
//!
//! Every error of a port classifies itself where it arises ([`Failure::kind`], [`Failure::scope`]); nobody looks
//! for words in messages later.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::message::Message;
use super::text::ForeignText;

/// What kind of failure it was, and so what is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// It may go away by itself: try again after a growing pause.
    Transient,
    /// The other side asked for fewer requests: slow down.
    Throttled,
    /// Credentials were refused: an operator must look.
    Auth,
    /// The request itself was refused; the same request will be refused again: park.
    Rejected,
    /// The API is no longer there.
    Gone,
    /// What arrived is not an export: pull again, then park.
    Corrupt,
    /// An export came whole and cannot be read: export again, then archive the bytes as they came.
    Unread,
    /// What is stored is not what the log says: touch nothing, park.
    Damaged,
    /// This machine cannot go on (disk full, database): everything waits and no window is charged.
    Local,
    /// This machine's clock is known to be wrong: everything waits until it is right, and no window is charged.
    Clock,
}

impl FailureKind {
    /// The word for it in logs, the ledger and `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Auth => "auth",
            Self::Rejected => "rejected",
            Self::Gone => "gone",
            Self::Corrupt => "corrupt",
            Self::Unread => "unread",
            Self::Damaged => "damaged",
            Self::Local => "local",
            Self::Clock => "clock",
        }
    }

    /// Whether only a person can mend it, so that trying again soon is no use.
    pub fn needs_operator(self) -> bool {
        matches!(self, Self::Auth | Self::Rejected | Self::Gone | Self::Damaged)
    }
}

/// What a failure holds up: one window, or all that shares the thing that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// This window only.
    Window,
    /// This stream: its log cannot be gone on with.
    Stream,
    /// Every stream of this source.
    Source,
    /// Every stream of this store.
    Store,
    /// Everything on this machine.
    Daemon,
}

/// A failure, reduced to what the reconciler decides by and what a person reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What is done about it.
    pub kind: FailureKind,
    /// What it holds up.
    pub scope: Scope,
    /// One line: what, where, and what to do next. Never a secret. Only its cause goes into a log entry.
    pub message: Message,
    /// The provider's request ids, for its support.
    pub request_ids: Vec<ForeignText>,
    /// How long the other side asked us to stay away.
    pub retry_after: Option<Duration>,
    /// For how many whole seconds the other side was waited for in vain, and so a place was held that others may have needed.
    #[serde(default)]
    pub waited_seconds: u32,
    /// Whether the credentials themselves were accepted, and lack only the right to ask for this.
    #[serde(default)]
    pub lacks_permission: bool,
}

impl Failure {
    /// Whether the credentials themselves were refused: any other request with them would be as well.
    pub fn refuses_credentials(&self) -> bool {
        self.kind == FailureKind::Auth && !self.lacks_permission
    }

    /// A failure without request ids or an asked-for pause.
    pub fn new(kind: FailureKind, scope: Scope, message: impl Into<Message>) -> Self {
        let message = message.into();
        Self {
            kind,
            scope,
            message,
            request_ids: Vec::new(),
            retry_after: None,
            waited_seconds: 0,
            lacks_permission: false,
        }
    }

    /// The failure, for which the other side was waited for so long.
    #[must_use]
    pub fn after(self, waited: Duration) -> Self {
        Self { waited_seconds: u32::try_from(waited.as_secs()).unwrap_or(u32::MAX), ..self }
    }

    /// How long the other side was waited for in vain.
    pub fn waited(&self) -> Duration {
        Duration::from_secs(self.waited_seconds.into())
    }
}
