//! Entries that say more of a window that an earlier entry has archived or recorded as lost.

use serde::{Deserialize, Serialize};

use crate::domain::count::Counted;
use crate::domain::digest::{ContentDigest, Sha256};
use crate::domain::export::{Format, RecordTimes};
use crate::domain::object_key::{Revision, Seq};
use crate::domain::text::Line;
use crate::domain::window::Window;

/// The body of an `inspected` entry: the content of an object that was archived with [`super::ExportFacts::unread`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspected {
    /// The window of the object.
    pub window: Window,
    /// The revision of the object.
    pub revision: Revision,
    /// The SHA-256 of the bytes that were read.
    pub sha256: Sha256,
    /// The format that the bytes were found to have. The entry's own `format` stands beside it, so its name is another one.
    #[serde(rename = "object_format")]
    pub format: Format,
    /// Records in the object; header rows do not count.
    pub rows: u64,
    /// Of the rows.
    pub content_digest: ContentDigest,
    /// The provider's own count, as it stands in the entry of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Counted>,
    /// Marks content whose number of records is not the counted one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub count_mismatch: bool,
    /// As [`super::ExportFacts::open_records`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_records: Option<u64>,
    /// As [`super::ExportFacts::records`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<RecordTimes>,
    /// As [`super::ExportFacts::out_of_bounds`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub out_of_bounds: bool,
    /// As [`super::ExportFacts::same_content_as`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_content_as: Option<Seq>,
    /// As [`super::ExportFacts::notes`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Line>,
}

/// The body of an `acknowledged` entry: the window stays lost or unread, and is a known gap from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Which window.
    pub window: Window,
    /// The entry that is acknowledged: the one that records the window as lost, or archives its object unread.
    pub entry: Seq,
    /// The person, as given on the command line.
    pub by: Line,
    /// The reason, as given on the command line.
    pub reason: Line,
}
