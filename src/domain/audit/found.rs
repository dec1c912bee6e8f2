//! What lies in a log, as an audit takes it: read as far as it can be, in the order of places.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::domain::beyond_gap::{BeyondGap, Stands};
use crate::domain::digest::Sha256;
use crate::domain::log_entry::{FORMAT, Head, LogEntry};
use crate::domain::name::StreamName;
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

impl Found {
    /// Takes out what stands beyond the end of the log of `stream` and is no part of it, by [`BeyondGap`]; its places
    /// and hashes.
    pub fn leave_out_foreign(&mut self, stream: &StreamName) -> Vec<Head> {
        let (mut log, mut next) = (SoFar::default(), Seq::FIRST);
        while let Some(entry) = self.entries.get(log.length) {
            if entry.place == next {
                next = next.next();
                log.add(entry);
                continue;
            }
            let mut gap = BeyondGap::at(next, log.is_signed);
            let mut beyond = self.entries.iter().skip(log.length);
            let shows = |entry: &FoundEntry| gap.shows_missing(entry.stands(stream, &log.signers));
            let Some(index) = beyond.position(shows) else { break };
            for entry in self.entries.iter().skip(log.length).take(index + 1) {
                next = entry.place.next();
                log.add(entry);
            }
        }
        let length = log.length;
        self.entries
            .split_off(length)
            .into_iter()
            .map(|entry| Head { seq: entry.place, hash: entry.hash })
            .collect()
    }

    /// The keys that signed entries.
    pub fn signers(&self) -> BTreeSet<&str> {
        self.entries.iter().filter_map(FoundEntry::signer).collect()
    }
}

/// Entries that are part of a log.
#[derive(Default)]
struct SoFar<'f> {
    length: usize,
    /// Whether one says that it is signed.
    is_signed: bool,
    /// The keys that signed them.
    signers: BTreeSet<&'f str>,
}

impl<'f> SoFar<'f> {
    fn add(&mut self, entry: &'f FoundEntry) {
        self.length += 1;
        self.is_signed |= entry.entry().is_some_and(|entry| entry.writer.key_fingerprint.is_some());
        self.signers.extend(entry.signer());
    }
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
    pub fn entry(&self) -> Option<&LogEntry> {
        match &self.reading {
            Reading::Entry(entry) => Some(entry),
            Reading::OtherFormat(_) | Reading::Unreadable(_) => None,
        }
    }

    /// The key that signed it, as it says itself.
    fn signer(&self) -> Option<&str> {
        self.entry().filter(|_| self.is_vouched_for())?.writer.key_fingerprint.as_deref()
    }

    /// What stands here beyond a gap. Where nobody said whose signatures count, those of `signers` do: of the keys that signed
    /// entries before the gap.
    fn stands(&self, stream: &StreamName, signers: &BTreeSet<&str>) -> Stands {
        let in_place = self.entry().filter(|entry| entry.seq == self.place && entry.stream == *stream);
        let is_signed = match self.signature {
            Signature::Valid => true,
            Signature::OfSomebody => self.signer().is_some_and(|signer| signers.contains(signer)),
            Signature::Absent | Signature::Refused(_) => false,
        };
        Stands {
            place: self.place,
            hash: self.hash,
            previous: in_place.map(|entry| entry.previous),
            is_signed,
        }
    }

    /// Whether a signature says that the bytes are as they were written.
    pub(super) fn is_vouched_for(&self) -> bool {
        matches!(self.signature, Signature::Valid | Signature::OfSomebody)
    }
}
