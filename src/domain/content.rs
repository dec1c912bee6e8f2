//! The content of a window's newest revision: whether its bytes were read, and what an operator should know of its records.

use serde::{Deserialize, Serialize};

use super::object_key::Seq;
use super::text::Line;

/// Whether the bytes of a window's newest revision were read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "content", rename_all = "snake_case")]
pub enum Content {
    /// The bytes were read: the log holds the number of records and their digest.
    Read(Marks),
    /// The bytes came whole and could not be read. They are archived as they came, and an operator must look.
    Unread {
        /// The reason, as it stands in the log entry.
        #[serde(rename = "unread")]
        reason: Line,
    },
}

/// Facts about the records of a revision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Records whose session had not ended when they were exported; `None` where the file does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_records: Option<u64>,
    /// Whether some records start outside of the bounds that were asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub out_of_bounds: bool,
    /// The entry of another window of the stream with the very same records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_content_as: Option<Seq>,
}

impl Content {
    /// Whether the bytes could not be read.
    pub fn is_unread(&self) -> bool {
        matches!(self, Self::Unread { .. })
    }

    /// The facts about the records; `None` where the bytes could not be read.
    pub fn marks(&self) -> Option<&Marks> {
        match self {
            Self::Read(marks) => Some(marks),
            Self::Unread { .. } => None,
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::Read(Marks::default())
    }
}
