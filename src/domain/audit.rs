//! An audit of a stream's log: what is wrong with it, precisely, and what it claims.
//!
//! Pure: whoever calls has fetched what lies in `log/` and checked the signatures. The audit goes on after a problem, so that
//! one damaged entry does not hide a second one. Which of two entries is to blame for a broken link follows from what
//! vouches for each: its signature first, then the entry after it.

mod chain;
mod claims;
mod dates;
mod finding;
mod found;
mod note;
#[cfg(test)]
mod tests;
mod unread;

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::digest::{Etag, Md5, Sha256};
use super::lock::Lock;
use super::log_entry::{Definition, Head};
use super::name::StreamName;
use super::object_key::{DataKey, Seq};
use super::snapshot::Acknowledgement;
use super::text::ForeignText;
use super::window::Window;

pub use dates::SKEW;
pub use finding::Finding;
pub use found::{Found, FoundEntry, Reading, Signature};
pub use note::{Note, Stray, UnreadObject};

/// A bound of a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The first instant of a date in the stream's time zone.
    Date(Date),
    /// An instant.
    Instant(Timestamp),
}

impl Bound {
    fn instant(self, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Instant(instant) => Some(instant),
            Self::Date(date) => date.to_zoned_datetime(zone.clone()).ok().map(|zoned| zoned.timestamp()),
        }
    }
}

/// The head that somebody wrote down: an entry that must be there, with a hash that begins so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedHead {
    seq: Seq,
    hash: String,
}

impl From<Head> for ExpectedHead {
    fn from(head: Head) -> Self {
        Self { seq: head.seq, hash: head.hash.to_string() }
    }
}

/// A text is not a head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no head: write SEQ:HASH as `status` and `verify` print it, with at least 16 digits of the hash"
)]
pub struct BadHead(String);

impl std::str::FromStr for ExpectedHead {
    type Err = BadHead;

    fn from_str(text: &str) -> Result<Self, BadHead> {
        let parts = || {
            let (seq, hash) = text.split_once(':')?;
            let hash = hash.trim_end_matches('…');
            let digits = hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            let seq = Seq::new(seq.parse().ok()?)?;
            (digits && (16..=64).contains(&hash.len())).then(|| Self { seq, hash: hash.to_owned() })
        };
        parts().ok_or_else(|| BadHead(text.to_owned()))
    }
}

/// What the log is held against.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Whose log it must be.
    pub stream: StreamName,
    /// What time it is.
    pub now: Timestamp,
    /// How long after its end a window need not have a verdict yet.
    pub tolerance: SignedDuration,
    /// Only windows that start here or later.
    pub from: Option<Bound>,
    /// Only windows that start before this.
    pub to: Option<Bound>,
    /// An entry that must be there.
    pub expected_head: Option<ExpectedHead>,
    /// Whether it was said whose signatures count.
    pub signers_known: bool,
}

/// An object that the log says is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The entry that says so.
    pub seq: Seq,
    /// Relative to the stream's folder.
    pub key: DataKey,
    /// Where the bucket keeps versions.
    pub version_id: Option<ForeignText>,
    /// Its size.
    pub bytes: u64,
    /// Of its bytes.
    pub sha256: Sha256,
    /// Of its bytes, where the entry says.
    pub md5: Option<Md5>,
    /// What the store's ETag was when the object was stored, where the entry says.
    pub etag: Option<Etag>,
    /// The lock that it was put under.
    pub lock: Lock,
    /// Whether its window is in the stretch of time that is looked at.
    pub in_range: bool,
}

/// An entry that was put under a lock, as its signature was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedEntry {
    /// Its place.
    pub seq: Seq,
    /// Of its bytes.
    pub hash: Sha256,
    /// Whether it has a signature.
    pub signed: bool,
    /// The lock.
    pub lock: Lock,
}

/// What came of an audit.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// All that is wrong.
    pub findings: Vec<Finding>,
    /// What is worth knowing and not wrong.
    pub notes: Vec<Note>,
    /// The last entry that is there.
    pub head: Option<Head>,
    /// How many entries are there.
    pub entries: u64,
    /// What the stream is.
    pub definition: Option<Definition>,
    /// Windows that are archived, in the stretch of time.
    pub archived: BTreeSet<Window>,
    /// Windows that are attested as lost and not archived, in the stretch of time.
    pub lost: BTreeSet<Window>,
    /// Windows that are parked, neither archived nor lost, in the stretch of time.
    pub parked: BTreeSet<Window>,
    /// The acknowledgement that counts, of each window that is lost or unread and that a person has taken note of, in the
    /// stretch of time.
    pub acknowledged: BTreeMap<Window, Acknowledgement>,
    /// Every object that an entry names, orphans too.
    pub objects: Vec<Claimed>,
    /// Entries, in the stretch of time, that were put under a lock.
    pub locked: Vec<LockedEntry>,
}

/// Holds what lies in a log against `terms`.
pub fn audit(terms: &Terms, found: &Found) -> Audit {
    let last = found.entries.last();
    let mut audit = Audit {
        head: last.map(|entry| Head { seq: entry.place, hash: entry.hash }),
        entries: found.entries.len() as u64,
        ..Audit::default()
    };
    chain::check(terms, found, &mut audit);
    claims::check(terms, found, &mut audit);
    if let Some(expected) = &terms.expected_head {
        check_head(expected, found, &mut audit);
    }
    audit
}

fn check_head(expected: &ExpectedHead, found: &Found, audit: &mut Audit) {
    let (seq, expected_hash) = (expected.seq, expected.hash.clone());
    match found.entries.iter().find(|entry| entry.place == seq) {
        None => {
            let last = audit.head.map(|head| head.seq);
            audit.findings.push(Finding::HeadMissing { seq, expected_hash, last });
        }
        Some(entry) if !entry.hash.to_string().starts_with(&expected_hash) => {
            audit.findings.push(Finding::HeadDiffers { seq, expected_hash, hash: entry.hash });
        }
        Some(_) => {}
    }
}
