//! Why a spooled file could not be taken for an export.

use std::fmt;
use std::io;

use crate::domain::failure::FailureKind;

/// A spooled file is no export that could be read to its end.
///
/// No message holds a cell of the file: messages go to logs and alerts, and cells are people's data.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The provider, or something on the way, sent something else.
    #[error("what came is not an export: {0}")]
    NotAnExport(NotAnExport),
    /// It is an export, but not a whole one.
    #[error("the export is damaged or cut off: {detail}")]
    Damaged {
        /// What is wrong, and where.
        detail: String,
    },
    /// The spooled file, or scratch space, could not be used on this machine.
    #[error("cannot inspect the spooled export: {0}; look at the disk that holds the state directory")]
    Io(io::Error),
    /// The caller asked to stop.
    #[error("the inspection was stopped before it ended")]
    Stopped,
}

impl InspectError {
    /// Shorthand for [`Self::Damaged`].
    pub(super) fn damaged(detail: impl fmt::Display) -> Self {
        Self::Damaged { detail: detail.to_string() }
    }

    /// What is done about it. Being stopped says nothing about the file, so it counts as `Transient`; a caller
    /// that stopped the inspection has no need to ask.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::NotAnExport(NotAnExport::Json(answer)) => answer.kind(),
            Self::NotAnExport(_) | Self::Damaged { .. } => FailureKind::Corrupt,
            Self::Io(_) => FailureKind::Local,
            Self::Stopped => FailureKind::Transient,
        }
    }
}

/// What came instead of an export.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnExport {
    /// Nothing, or white space only.
    #[error("it is empty")]
    Empty,
    /// A web page or other markup, as proxies send it.
    #[error("it is an HTML or XML page; see whether a proxy stands between here and the provider")]
    Html,
    /// An answer of the provider's API in place of the file.
    #[error("{0}")]
    Json(JsonAnswer),
    /// A ZIP archive that holds no spreadsheet.
    #[error("it is a ZIP archive without a workbook (xl/workbook.xml) in it")]
    OtherZip,
    /// An OLE container: a spreadsheet of before 2007, or one with a password.
    #[error("it is an old (.xls) or password-protected spreadsheet, which connvault does not read")]
    OldSpreadsheet,
    /// No row names two columns or more.
    #[error("its first row does not name at least two columns")]
    NoHeader,
    /// Anything else.
    #[error("it is {what}")]
    OtherBinary {
        /// With an article.
        what: &'static str,
    },
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
