//! The log: what an entry says, how it is written, how entries hang together.
//!
//! A stream's log is the truth about the stream. Each entry holds the SHA-256 of the stored bytes of the entry
//! before it, so that no entry can be changed, taken out or put in without every later one telling. Reading
//! tolerates fields that it does not know (a later version may add some); it never tolerates another `format`.

mod later;
#[cfg(test)]
mod tests;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::count::Counted;
use super::digest::{ContentDigest, Etag, Md5, Sha256};
use super::export::{Bounds, ExportApi, Filters, Format, RecordTimes};
use super::failure::FailureKind;
use super::lock::Lock;
use super::name::StreamName;
use super::object_key::{DataKey, Revision, Seq};
use super::text::{ForeignText, Line};
use super::window::Window;

pub use later::{Acknowledged, Inspected};

/// The version of the format that this program writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// The largest entry that is written, in bytes. Readers take more: see `app::log_reader`.
pub const LARGEST_ENTRY: usize = 64 << 10;

/// One entry of a stream's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// [`FORMAT`].
    pub format: u32,
    /// Whose log it is.
    pub stream: StreamName,
    /// Its place, from 1, without gaps.
    pub seq: Seq,
    /// The SHA-256 of the stored bytes of entry `seq - 1`; zeros in the first.
    pub previous: Sha256,
    /// When it was written, by the writer's clock.
    pub recorded_at: Timestamp,
    /// Who wrote it.
    pub writer: Writer,
    /// The lock that was asked for it, and for the object that it names; absent where none was.
    #[serde(default, skip_serializing_if = "Lock::is_none")]
    pub lock: Lock,
    /// What it says.
    #[serde(flatten)]
    pub body: EntryBody,
}

/// The program that wrote an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    /// Its version.
    pub version: String,
    /// The machine it ran on.
    pub host: String,
    /// The fingerprint of the key that it signs with; absent where the log is not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_fingerprint: Option<String>,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EntryBody {
    /// What the stream is: first of all, and again when `start` moves back.
    Stream(StreamOpened),
    /// A revision of a window is stored.
    Archived(Box<Archived>),
    /// The provider no longer has a window.
    Lost(Lost),
    /// A window cannot be had until an operator looks.
    Parked(Parked),
    /// An object that was archived unread has been read by a later version of this program.
    Inspected(Box<Inspected>),
    /// A person has taken note of a window that is lost or unread.
    Acknowledged(Acknowledged),
}

impl EntryBody {
    /// The window that it is about, if it is about one.
    pub fn window(&self) -> Option<Window> {
        match self {
            Self::Stream(_) => None,
            Self::Archived(archived) => Some(archived.window),
            Self::Lost(lost) => Some(lost.window),
            Self::Parked(parked) => Some(parked.window),
            Self::Inspected(inspected) => Some(inspected.window),
            Self::Acknowledged(acknowledged) => Some(acknowledged.window),
        }
    }
}

/// The body of a `stream` entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamOpened {
    /// From which anyone can list the windows that must be there.
    pub definition: Definition,
}

/// What a stream is. Only `start` may ever change, and only to an earlier instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The provider's region.
    pub region: String,
    /// The Workspace project.
    pub project_id: String,
    /// The window length as configured: `1d`, or a number of minutes as `60m`.
    pub window: String,
    /// The IANA name of the time zone whose calendar cuts the windows.
    pub timezone: String,
    /// The start of the first window.
    pub start: Timestamp,
    /// Which records are asked for.
    pub filters: Filters,
}

/// The body of an `archived` entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archived {
    /// Which window.
    pub window: Window,
    /// Which revision of it.
    pub revision: Revision,
    /// The object that holds it.
    pub object: StoredObject,
    /// Where it came from.
    pub export: ExportFacts,
    /// For a revision after the first: what it follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<Supersedes>,
    /// Objects of this window that crashes left and no entry named before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<Orphan>,
}

/// A data object, as the store was shown to hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    /// Relative to the stream's folder.
    pub key: DataKey,
    /// Where the bucket keeps versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<ForeignText>,
    /// Its size.
    pub bytes: u64,
    /// Of its bytes.
    pub sha256: Sha256,
    /// Of its bytes: what a store's ETag is held against. Absent where it was not known, and in entries of early versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<Md5>,
    /// What the store's ETag of the object was when the object was stored. Absent where the store gave none of the form of an
    /// MD5, and in entries of early versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<Etag>,
    /// What the bytes are.
    pub format: Format,
    /// Records in it; header rows do not count. Absent where the object was archived unread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Of its rows. Absent where the object was archived unread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_digest: Option<ContentDigest>,
}

/// How an export was pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportFacts {
    /// Which API answered.
    pub api: ExportApi,
    /// The bounds that were asked for.
    pub requested: Bounds,
    /// How many records an independent count found; absent where nothing was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Counted>,
    /// Why nothing was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncounted: Option<Line>,
    /// Marks an export that was archived although the count is another one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub count_mismatch: bool,
    /// Marks an export that was pulled when the provider need not have had all of it any more: it may be short.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub past_horizon: bool,
    /// Why this version could not read the bytes, which came whole and are archived as they came. Absent where they were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<Line>,
    /// Records whose session had not ended when they were exported; absent where no column of the file says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_records: Option<u64>,
    /// The first and the last start time of the records; absent without records, and where no column of the file says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<RecordTimes>,
    /// Marks an export some of whose records start outside of the bounds that were asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub out_of_bounds: bool,
    /// The entry of another window of the stream whose records are the very same ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_content_as: Option<Seq>,
    /// What the reader left out of the records or could not read, such as a footer or a sheet of notes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Line>,
    /// The provider's request ids.
    pub request_ids: Vec<ForeignText>,
    /// The time as of which it holds all records there were: when the last byte had arrived (v2), or when its task was asked
    /// for (v3), however long the file waited.
    pub pulled_at: Timestamp,
}

impl ExportFacts {
    /// The facts of an export of which nothing else is known.
    pub fn new(api: ExportApi, requested: Bounds, pulled_at: Timestamp) -> Self {
        Self {
            api,
            requested,
            counted: None,
            uncounted: None,
            count_mismatch: false,
            past_horizon: false,
            unread: None,
            open_records: None,
            records: None,
            out_of_bounds: false,
            same_content_as: None,
            notes: Vec::new(),
            request_ids: Vec::new(),
            pulled_at,
        }
    }
}

/// What a revision follows, and how its rows differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supersedes {
    /// The entry of the revision before.
    pub seq: Seq,
    /// How the rows differ. Absent where one of the two revisions could not be read.
    #[serde(flatten)]
    pub rows: Option<RowChanges>,
}

/// How the rows of a revision differ from those of the revision before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChanges {
    /// Rows that the revision before did not have.
    pub rows_added: u64,
    /// Rows that only the revision before had.
    pub rows_removed: u64,
    /// Rows of the same identity with other content.
    pub rows_changed: u64,
}

/// An object that a crash left behind: stored, never committed, kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// Relative to the stream's folder.
    pub key: DataKey,
    /// Its size.
    pub bytes: u64,
    /// Of its bytes.
    pub sha256: Sha256,
}

/// The body of a `lost` entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Which window.
    pub window: Window,
    /// Why it can no longer be had.
    pub reason: Line,
    /// The last try, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<LastAttempt>,
}

/// The last try at a window that was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastAttempt {
    /// When it ended.
    pub at: Timestamp,
    /// How.
    pub outcome: Line,
}

/// The body of a `parked` entry: not the last word on its window, which is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Which window.
    pub window: Window,
    /// How the last try failed.
    pub failure: FailureKind,
    /// In one line.
    pub reason: Line,
    /// When.
    pub since: Timestamp,
}

/// An entry with the very bytes that are (to be) stored, and their digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedEntry {
    entry: LogEntry,
    bytes: Vec<u8>,
    hash: Sha256,
}

/// Bytes are not an entry that belongs where they stand.
#[derive(Debug, thiserror::Error)]
pub enum BadEntry {
    /// Not JSON of an entry.
    #[error("it does not read as a log entry: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// Written by a later program.
    #[error("it has format {0}, and this version of connvault reads format {FORMAT}")]
    UnknownFormat(u32),
    /// Names another stream or another place.
    #[error("it says that it is entry {seq} of stream {stream}")]
    Misplaced {
        /// The stream that it names.
        stream: StreamName,
        /// The place that it names.
        seq: Seq,
    },
    /// The chain is broken before it.
    #[error("it follows an entry with SHA-256 {claimed}, but the one before it has {actual}")]
    BrokenChain {
        /// What the entry names.
        claimed: Sha256,
        /// What is there.
        actual: Sha256,
    },
}

impl SealedEntry {
    /// Fixes the bytes of an entry: indented JSON, so that a person can read it, ending in a line feed.
    pub fn seal(entry: LogEntry) -> Self {
        let mut bytes = serde_json::to_vec_pretty(&entry).expect(
            "an entry holds only texts, numbers, lists and maps with text keys, which JSON always takes",
        );
        bytes.push(b'\n');
        let hash = Sha256::of(&bytes);
        Self { entry, bytes, hash }
    }

    /// Reads stored bytes that stand at `seq` in the log of `stream`, after an entry with digest `previous`.
    ///
    /// # Errors
    /// When they do not belong there.
    pub fn open(bytes: Vec<u8>, stream: &StreamName, seq: Seq, previous: Sha256) -> Result<Self, BadEntry> {
        #[derive(Deserialize)]
        struct FormatOnly {
            format: u32,
        }
        let FormatOnly { format } = serde_json::from_slice(&bytes)?;
        if format != FORMAT {
            return Err(BadEntry::UnknownFormat(format));
        }
        let entry: LogEntry = serde_json::from_slice(&bytes)?;
        if entry.stream != *stream || entry.seq != seq {
            return Err(BadEntry::Misplaced { stream: entry.stream, seq: entry.seq });
        }
        if entry.previous != previous {
            return Err(BadEntry::BrokenChain { claimed: entry.previous, actual: previous });
        }
        let hash = Sha256::of(&bytes);
        Ok(Self { entry, bytes, hash })
    }

    /// As [`Self::open`], of an entry whose predecessor may be any: for a log that is damaged and to be gone on with.
    ///
    /// # Errors
    /// When it does not belong there for another reason.
    pub fn open_unchained(bytes: Vec<u8>, stream: &StreamName, seq: Seq) -> Result<Self, BadEntry> {
        #[derive(Deserialize)]
        struct Claim {
            previous: Sha256,
        }
        let Claim { previous } = serde_json::from_slice(&bytes)?;
        Self::open(bytes, stream, seq, previous)
    }

    /// What the entry says.
    pub fn entry(&self) -> &LogEntry {
        &self.entry
    }

    /// The stored bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The SHA-256 of the stored bytes: what the next entry names as `previous`.
    pub fn hash(&self) -> Sha256 {
        self.hash
    }

    /// The head of a log whose last entry this is.
    pub fn head(&self) -> Head {
        Head { seq: self.entry.seq, hash: self.hash }
    }
}

/// The last entry of a log that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its place.
    pub seq: Seq,
    /// The SHA-256 of its stored bytes.
    pub hash: Sha256,
}

/// `SEQ:HASH`, as `verify --expect-head` takes it.
impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

/// Where the entry after `head` stands and what it names as the one before it.
pub fn after(head: Option<Head>) -> (Seq, Sha256) {
    head.map_or((Seq::FIRST, Sha256::ZERO), |head| (head.seq.next(), head.hash))
}
