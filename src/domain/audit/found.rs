//! What lies in a log, as an audit takes it: read as far as it can be, in the order of places.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::domain::digest::Sha256;
use crate::domain::log_entry::{FORMAT, LogEntry};
use crate::domain::object_key::{HashPrefix, Seq};
use crate::domain::text::ForeignText;

/// What lies in a log.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// By place, each place once.
    pub entries: Vec<FoundEntry>,
    /// The signatures whose keys are there: which bytes of which entry they are on.
    pub signatures: BTreeMap<Seq, Vec<HashPrefix>>,
}

/// What lies in one place of a log.
#[derive(Debug, Clone)]
pub struct FoundEntry {
    /// The place that its key names.
    pub place: Seq,
    /// Of the stored bytes.
    pub hash: Sha256,
    /// What the bytes say.
    pub reading: Reading,
    /// What became of its signature.
    pub signature: Signature,
}

/// What an entry's bytes say.
#[derive(Debug, Clone)]
pub enum Reading {
    /// An entry, which may belong elsewhere.
    Entry(Box<LogEntry>),
    /// An entry of another format.
    OtherFormat(u32),
    /// Nothing.
    Unreadable(String),
}

impl Reading {
    /// Reads stored bytes.
    pub fn of(bytes: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct FormatOnly {
            format: u32,
        }
        match serde_json::from_slice::<FormatOnly>(bytes) {
            Ok(FormatOnly { format }) if format != FORMAT => return Self::OtherFormat(format),
            Err(error) => return Self::Unreadable(ForeignText::new(error.to_string()).into()),
            Ok(_) => {}
        }
        match serde_json::from_slice(bytes) {
            Ok(entry) => Self::Entry(Box::new(entry)),
            Err(error) => Self::Unreadable(ForeignText::new(error.to_string()).into()),
        }
    }
}

/// What became of an entry's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// There is none on these bytes.
    Absent,
    /// A key signed these bytes, and nobody said whose count.
    OfSomebody,
    /// A key that may do so signed these bytes.
    Valid,
    /// It proves nothing, and why.
    Refused(String),
}

impl FoundEntry {
    /// The entry, where the bytes are one.
    pub(super) fn entry(&self) -> Option<&LogEntry> {
        match &self.reading {
            Reading::Entry(entry) => Some(entry),
            Reading::OtherFormat(_) | Reading::Unreadable(_) => None,
        }
    }

    /// Whether a signature says that the bytes are as they were written.
    pub(super) fn is_vouched_for(&self) -> bool {
        matches!(self.signature, Signature::Valid | Signature::OfSomebody)
    }
}
