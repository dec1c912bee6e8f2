//! What an audit finds, as data and as one sentence each: what is wrong, and where.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::digest::{Md5, Sha256};
use crate::domain::lock::Lock;
use crate::domain::name::StreamName;
use crate::domain::object_key::{DataKey, HashPrefix, Revision, Seq};
use crate::domain::text::ForeignText;
use crate::domain::window::Window;

/// Something is wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs, reason = "each sentence in `Display` says what its fields are")]
pub enum Finding {
    /// There is no log.
    NoEntries,
    /// Places without an entry, with entries after them.
    EntriesMissing { first: Seq, last: Seq },
    /// Places after the last entry that signatures show were taken.
    TailMissing { first: Seq, last: Seq },
    /// Bytes that are no entry.
    EntryUnreadable { seq: Seq, error: String },
    /// An entry of a later version, or a changed one.
    EntryOfAnotherFormat { seq: Seq, format: u32 },
    /// An entry that says that it belongs elsewhere.
    EntryMisplaced { seq: Seq, stream: StreamName, says: Seq },
    /// The entry after it names other bytes.
    EntryChanged { seq: Seq, hash: Sha256, named: Sha256, by: Seq },
    /// It names other bytes than those of the entry before it, which are as they were.
    EntryForged { seq: Seq, claimed: Sha256, actual: Sha256 },
    /// One of two entries is not what it was.
    ChainBroken { seq: Seq, before: Seq, claimed: Sha256, actual: Sha256 },
    /// An entry follows another than the one before it.
    ChainForked { seq: Seq, follows: Seq },
    /// The first entry does not say what the stream is.
    NotOpened,
    /// No entry does.
    NotDefined,
    /// What may never change did.
    DefinitionChanged { seq: Seq, field: String },
    /// The configuration says something else of the stream than the log.
    NotAsConfigured { field: String, configured: String, archived: String },
    /// What the stream is cannot be made sense of.
    DefinitionUnusable { window: String, timezone: String },
    /// Two entries for one revision.
    RevisionTwice { seq: Seq, first: Seq, window: Window, revision: Revision },
    /// A revision that follows another than the newest one.
    SupersedesWrong { seq: Seq, window: Window, says: Option<Seq>, newest: Option<Seq> },
    /// A window that the stream does not have.
    WindowNotOfCalendar { seq: Seq, window: Window },
    /// It is dated before an entry before it, and a window was over only later.
    DatedBack { seq: Seq, recorded_at: Timestamp, after: Seq, after_at: Timestamp, window: Window },
    /// It is dated before the window was over that it says is archived.
    DatedBeforeItsWindow { seq: Seq, recorded_at: Timestamp, window: Window },
    /// An object of another window or revision.
    KeyOfAnother { seq: Seq, key: DataKey, window: Window, revision: Revision },
    /// An acknowledgement of an entry that records no loss of the window, and archives none of its objects unread.
    NothingAcknowledged { seq: Seq, entry: Seq, window: Window },
    /// It says what is in an object that was not archived unread, or has other bytes.
    InspectedWrong { seq: Seq, window: Window, revision: Revision },
    /// Windows that nothing is said of.
    WindowsWithoutVerdict { first: Window, last: Window, windows: u64 },
    /// Signing has stopped.
    UnsignedAfterSigned { seq: Seq, after: Seq },
    /// Signers were named, and nothing is signed.
    NotSigned,
    /// A signature that must be there is not.
    SignatureMissing { seq: Seq, hash: Sha256, of_other_bytes: bool },
    /// A signature proves nothing.
    SignatureRefused { seq: Seq, hash: Sha256, error: String },
    /// The entry that was written down as the head is gone.
    HeadMissing { seq: Seq, expected_hash: String, last: Option<Seq> },
    /// The entry that was written down as the head is another.
    HeadDiffers { seq: Seq, expected_hash: String, hash: Sha256 },
    /// An object that an entry names is not there.
    ObjectMissing { key: DataKey, seq: Seq },
    /// It has another size.
    ObjectSize { key: DataKey, seq: Seq, bytes: u64, expected: u64 },
    /// Another version of it stands in front.
    ObjectReplaced { key: DataKey, seq: Seq, version_id: ForeignText, expected: ForeignText },
    /// The store says another MD5 of it.
    ObjectMd5 { key: DataKey, seq: Seq, md5: Md5, expected: Md5 },
    /// Somebody shortened or took off what keeps it from being deleted.
    LockWeaker { key: String, seq: Seq, found: Lock, expected: Lock },
    /// It has other bytes.
    ObjectChanged { key: DataKey, seq: Seq, sha256: Sha256, expected: Sha256 },
}

/// `entry 41`, `entries 41 and 42`, `entries 41 to 45`, with the verb that goes with it.
fn entries(first: Seq, last: Seq) -> String {
    if first == last {
        format!("entry {first} is")
    } else if first.next() == last {
        format!("entries {first} and {last} are")
    } else {
        format!("entries {first} to {last} are")
    }
}

fn signature(seq: Seq, hash: &Sha256) -> String {
    format!("log/{:012}.{}.sig", seq.get(), HashPrefix::of(hash))
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ObjectMissing { .. }
            | Self::ObjectSize { .. }
            | Self::ObjectReplaced { .. }
            | Self::ObjectMd5 { .. }
            | Self::LockWeaker { .. }
            | Self::ObjectChanged { .. } => self.of_object(f),
            Self::UnsignedAfterSigned { .. }
            | Self::NotSigned
            | Self::SignatureMissing { .. }
            | Self::SignatureRefused { .. } => self.of_signature(f),
            Self::NotOpened
            | Self::NotDefined
            | Self::DefinitionChanged { .. }
            | Self::NotAsConfigured { .. }
            | Self::DefinitionUnusable { .. }
            | Self::RevisionTwice { .. }
            | Self::SupersedesWrong { .. }
            | Self::WindowNotOfCalendar { .. }
            | Self::DatedBack { .. }
            | Self::DatedBeforeItsWindow { .. }
            | Self::KeyOfAnother { .. }
            | Self::NothingAcknowledged { .. }
            | Self::InspectedWrong { .. }
            | Self::WindowsWithoutVerdict { .. } => self.of_claims(f),
            _ => self.of_chain(f),
        }
    }
}

impl Finding {
    fn of_chain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEntries => f.write_str("the log holds no entry"),
            Self::EntriesMissing { first, last } => write!(f, "{} missing", entries(*first, *last)),
            Self::TailMissing { first, last } => write!(
                f,
                "{} missing from the end of the log: later signatures show that the log went on (a signature without its \
                 entry cannot be checked: it may be made up)",
                entries(*first, *last)
            ),
            Self::EntryUnreadable { seq, error } => {
                write!(f, "entry {seq} was changed: it does not read as a log entry ({error})")
            }
            Self::EntryOfAnotherFormat { seq, format } => {
                write!(f, "entry {seq} has format {format}, which this version of connvault does not read")
            }
            Self::EntryMisplaced { seq, stream, says } => {
                write!(f, "entry {says} of stream {stream} stands in the place of entry {seq}")
            }
            Self::EntryChanged { seq, hash, named, by } => write!(
                f,
                "entry {seq} was changed: its SHA-256 is {hash}, and entry {by} follows one with {named}"
            ),
            Self::EntryForged { seq, claimed, actual } => write!(
                f,
                "entry {seq} was changed or forged: it follows an entry with SHA-256 {claimed}, and the one before it has {actual}"
            ),
            Self::ChainBroken { seq, before, claimed, actual } => write!(
                f,
                "entry {before} was changed, or entry {seq} is forged: entry {seq} follows one with SHA-256 {claimed}, and entry {before} has {actual}"
            ),
            Self::ChainForked { seq, follows } => {
                write!(f, "the chain is forked: entry {seq} follows entry {follows}, not the one before it")
            }
            Self::HeadMissing { seq, expected_hash, last } => {
                write!(f, "entry {seq} ({expected_hash}), which was the head, is missing: ")?;
                match last {
                    Some(last) if last < seq => write!(f, "the log's end was cut off after entry {last}"),
                    _ => f.write_str("it was taken out of the log"),
                }
            }
            Self::HeadDiffers { seq, expected_hash, hash } => {
                write!(
                    f,
                    "entry {seq} was changed: it had SHA-256 {expected_hash} as the head, and has {hash}"
                )
            }
            // The rest is told by the other three.
            _ => Ok(()),
        }
    }

    fn of_claims(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpened => f.write_str("entry 1 does not say what the stream is"),
            Self::NotDefined => {
                f.write_str("no entry says what the stream is, so nobody knows which windows it must have")
            }
            Self::DefinitionChanged { seq, field } => {
                write!(f, "entry {seq} changes the stream's {field} which is fixed when a stream is opened")
            }
            Self::NotAsConfigured { field, configured, archived } => write!(
                f,
                "the configuration says {field} {configured}, and the log says {field} {archived}: this is an archive of something else than is configured"
            ),
            Self::DefinitionUnusable { window, timezone } => write!(
                f,
                "the stream's windows of {window:?} in the time zone {timezone:?} cannot be cut: its definition was changed"
            ),
            Self::RevisionTwice { seq, first, window, revision } => {
                write!(f, "entries {first} and {seq} both are {revision} of window {window}")
            }
            Self::SupersedesWrong { seq, window, says, newest } => {
                write!(f, "entry {seq} of window {window} ")?;
                match says {
                    Some(says) => write!(f, "says that it follows entry {says}, ")?,
                    None => f.write_str("does not say that it follows another, ")?,
                }
                match newest {
                    Some(newest) => write!(f, "and the window's newest revision before it is entry {newest}"),
                    None => f.write_str("and the window has no revision before it"),
                }
            }
            Self::WindowNotOfCalendar { seq, window } => {
                write!(f, "entry {seq} is about window {window}, which the stream's calendar does not have")
            }
            Self::DatedBack { seq, recorded_at, after, after_at, window } => write!(
                f,
                "entry {seq} is dated back: it says {recorded_at}, entry {after} before it says {after_at}, and window \
                 {window} was not over at the former"
            ),
            Self::DatedBeforeItsWindow { seq, recorded_at, window } => {
                write!(f, "entry {seq} is dated back: it says {recorded_at}, before window {window} was over")
            }
            Self::KeyOfAnother { seq, key, window, revision } => {
                write!(f, "entry {seq} is about {revision} of window {window}, and names {key}")
            }
            Self::NothingAcknowledged { seq, entry, window } => write!(
                f,
                "entry {seq} acknowledges entry {entry} for window {window}, and entry {entry} neither records its loss nor \
                 archives an unread object of it"
            ),
            Self::InspectedWrong { seq, window, revision } => write!(
                f,
                "entry {seq} says what was found in {revision} of window {window}, and no entry before it archived these bytes \
                 unread"
            ),
            Self::WindowsWithoutVerdict { first, windows: 1, .. } => {
                write!(f, "no entry says what became of window {first}")
            }
            Self::WindowsWithoutVerdict { first, last, windows } => {
                write!(f, "no entry says what became of the {windows} windows from {first} to {last}")
            }
            _ => Ok(()),
        }
    }

    fn of_signature(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsignedAfterSigned { seq, after } => {
                write!(f, "entry {seq} is not signed, though entry {after} before it is: it may be forged")
            }
            Self::NotSigned => f.write_str("no entry is signed, though it is said who signs them"),
            Self::SignatureMissing { seq, hash, of_other_bytes: true } => write!(
                f,
                "entry {seq} was changed: its signature is on other bytes, and {} is missing",
                signature(*seq, hash)
            ),
            Self::SignatureMissing { seq, hash, .. } => {
                write!(f, "the signature of entry {seq} is missing: {}", signature(*seq, hash))
            }
            Self::SignatureRefused { seq, hash, error } => {
                write!(f, "the signature of entry {seq} ({}) does not count: {error}", signature(*seq, hash))
            }
            _ => Ok(()),
        }
    }

    fn of_object(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ObjectMissing { key, seq } => {
                write!(f, "{key} is missing, which entry {seq} says is there")
            }
            Self::ObjectSize { key, seq, bytes, expected } => {
                write!(f, "{key} was changed: it has {bytes} bytes, and {expected} by entry {seq}")
            }
            Self::ObjectReplaced { key, seq, version_id, expected } => write!(
                f,
                "{key} was written over: its version is {version_id}, and {expected} by entry {seq}"
            ),
            Self::ObjectMd5 { key, seq, md5, expected } => write!(
                f,
                "{key} was changed: its MD5 is {md5} by the store's ETag, and {expected} by entry {seq}"
            ),
            Self::LockWeaker { key, seq, found, expected } => {
                write!(
                    f,
                    "{key} is not locked as it was: the store shows it with {found}, and entry {seq} says {expected}"
                )?;
                if found.is_none() {
                    f.write_str(
                        " (or these keys may not read locks: s3:GetObjectRetention, s3:GetObjectLegalHold)",
                    )?;
                }
                Ok(())
            }
            Self::ObjectChanged { key, seq, sha256, expected } => {
                write!(f, "{key} was changed: its SHA-256 is {sha256}, and {expected} by entry {seq}")
            }
            _ => Ok(()),
        }
    }
}
