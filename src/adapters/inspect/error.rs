//! Why a spooled file could not be read as an export, and whether it came whole.

use std::fmt;
use std::io;

use super::notes::clean;
use crate::adapters::disk::NoRoom;
use crate::domain::failure::FailureKind;

/// Characters of a cause.
const DETAIL: usize = 300;

/// A spooled file is no export that could be read to its end.
///
/// No message holds a cell of the file: messages go to logs and alerts, and cells are people's data.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The provider, or a proxy on the way, sent a message in place of a file.
    #[error("what came is not an export: {0}")]
    NotAnExport(NotAnExport),
    /// The bytes end too early, or are not those that were sent.
    #[error("the export is damaged or cut off: {detail}")]
    CutOff {
        /// The fault and its place, in one line.
        detail: String,
    },
    /// The file came whole, as far as its bytes can tell, and this version cannot read it.
    #[error("the file came whole, and this version cannot read it: {detail}")]
    Unread {
        /// The fault and its place, in one line.
        detail: String,
    },
    /// The file came whole, and unpacks to more than the disk has room for.
    #[error("the file came whole and is too large to be read here: {0}")]
    NoRoom(NoRoom),
    /// The reader itself failed on the file: a fault of this program. What a panic says may be text of the file, and so is not
    /// part of the message.
    #[error("the file came whole, and this version's reader panicked on it")]
    Panicked,
    /// The spooled file, or scratch space, could not be used on this machine.
    #[error("cannot inspect the spooled export: {0}; look at the disk that holds the state directory")]
    Io(io::Error),
    /// The caller asked to stop.
    #[error("the inspection was stopped before it ended")]
    Stopped,
}

/// Whether a file that cannot be read as an export came whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wholeness {
    /// The bytes end too early, or changed on their way: a ZIP archive without its end, a part beyond the end of the
    /// file, a wrong check sum, text that ends inside a quoted field or in the middle of a row. Another export may bring
    /// all of them.
    CutOff,
    /// An error page, an error in JSON, or a message of a failure in place of a file.
    NotAnExport,
    /// The file came whole, and this version cannot read it.
    Unread,
    /// Nothing is known about the file: this machine's disk failed, or the caller asked to stop.
    Local,
}

impl InspectError {
    /// Shorthand for [`Self::CutOff`].
    pub(super) fn cut_off(detail: impl fmt::Display) -> Self {
        Self::CutOff { detail: clean(&detail.to_string(), DETAIL) }
    }

    /// Shorthand for [`Self::Unread`].
    pub(super) fn unread(detail: impl fmt::Display) -> Self {
        Self::Unread { detail: clean(&detail.to_string(), DETAIL) }
    }

    /// The error for scratch space that could not be written.
    pub(super) fn of_scratch(error: io::Error) -> Self {
        match NoRoom::of(&error) {
            Some(no_room) => Self::NoRoom(no_room.clone()),
            None => Self::Io(error),
        }
    }

    /// Whether the file came whole.
    pub fn wholeness(&self) -> Wholeness {
        match self {
            Self::NotAnExport(_) => Wholeness::NotAnExport,
            Self::CutOff { .. } => Wholeness::CutOff,
            Self::Unread { .. } | Self::NoRoom(_) | Self::Panicked => Wholeness::Unread,
            Self::Io(_) | Self::Stopped => Wholeness::Local,
        }
    }

    /// What is done about it. Being stopped says nothing about the file, so it counts as `Transient`; a caller
    /// that stopped the inspection has no need to ask.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::NotAnExport(NotAnExport::Json(answer)) => answer.kind(),
            Self::NotAnExport(_) | Self::CutOff { .. } | Self::Unread { .. } | Self::Panicked => {
                FailureKind::Corrupt
            }
            Self::NoRoom(no_room) => no_room.failure().kind,
            Self::Io(_) => FailureKind::Local,
            Self::Stopped => FailureKind::Transient,
        }
    }
}

/// The error for a few rows under unknown names that speak of a failure.
pub(super) fn may_be_message() -> InspectError {
    InspectError::unread("it may be a message of a failure: its words say so, and it names no known column")
}

/// What came instead of an export.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnExport {
    /// A web page or other markup, as proxies send it.
    #[error("it is an HTML or XML page, as a proxy between here and the provider sends it")]
    Html,
    /// An answer of the provider's API in place of the file.
    #[error("{0}")]
    Json(JsonAnswer),
    /// A few lines of text without a table in them, which say that something failed.
    #[error("it is a short text about a failure, and no table")]
    Message,
}

/// What a JSON body says that came where a file should be, as far as it could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JsonAnswer {
    /// The provider's code, such as `APIG.0308`.
    pub error_code: Option<String>,
    /// The provider's message, cut to one short line.
    pub error_msg: Option<String>,
}

impl JsonAnswer {
    /// The gateway's own codes tell throttling and refused credentials; any other code came in place of a file
    /// under status 200 and says nothing reliable.
    pub fn kind(&self) -> FailureKind {
        match self.error_code.as_deref() {
            Some("APIG.0308" | "APIGW.0308") => FailureKind::Throttled,
            Some("APIG.0301" | "APIGW.0301" | "APIG.0303" | "APIGW.0303") => FailureKind::Auth,
            _ => FailureKind::Corrupt,
        }
    }
}

impl fmt::Display for JsonAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.error_code, &self.error_msg) {
            (None, None) => f.write_str("it is JSON, without an error code"),
            (code, message) => {
                f.write_str("it is an error in JSON:")?;
                code.iter().chain(message).try_for_each(|part| write!(f, " {part}"))
            }
        }
    }
}
