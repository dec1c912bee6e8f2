//! What an audit notes, as data and as one sentence each: worth knowing, and not wrong.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::object_key::{DataKey, ObjectKey, Seq};
use crate::domain::snapshot::Acknowledgement;
use crate::domain::text::Line;
use crate::domain::window::Window;

/// Something worth knowing that is not wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs, reason = "each sentence in `Display` says what its fields are")]
pub enum Note {
    /// Nobody said whose signatures count.
    SignaturesNotChecked { entries: u64 },
    /// Entries name more than one key, and nobody said whose signatures count: each key with the first of its entries in a row.
    SigningKeyChanges { keys: Vec<(Seq, Line)> },
    /// The log was not signed from the first entry on.
    UnsignedBefore { last: Seq },
    /// A crash, or the last entry was taken away.
    SignatureWithoutEntry { seq: Seq },
    /// An object that no entry names.
    Unnamed { key: String },
    /// Something in the log's folder that is no part of the log.
    Foreign { key: String, because: Stray },
    /// Gaps that are known.
    WindowsLost { windows: Vec<Window> },
    /// Entries that are dated ahead of entries after them.
    DatedAhead { seqs: Vec<Seq> },
    /// Entries that say that a window is lost, and that a clock wrote which was ahead.
    LossesNotBelieved { seqs: Vec<Seq> },
    /// Exports that hold another number of records than the provider counted, by their entries.
    CountsDiffer { seqs: Vec<Seq> },
    /// Exports that nobody counted.
    NotCounted { windows: u64 },
    /// Exports that were pulled when the provider need not have had all of them any more, by their entries.
    PulledPastHorizon { seqs: Vec<Seq> },
    /// Objects whose bytes are those of the log under another version than it says: restored, or copied.
    OtherVersions { objects: u64, first: String },
    /// Objects whose ETag is not the MD5 in their entries, in a store whose ETags may be no MD5s.
    EtagsDiffer { objects: u64, first: String },
    /// The stretch of time that was asked for holds nothing.
    NothingInRange,
    /// Locks that the log says, in a place that knows of none.
    LocksNotChecked { objects: u64 },
    /// Legal holds that the log says and that are no more.
    HoldsLifted { objects: u64, first: String },
    /// Gaps that are known, and may still be filled.
    WindowsParked { windows: Vec<Window> },
    /// Who has taken note of a gap, and why.
    Acknowledged {
        window: Window,
        #[serde(flatten)]
        acknowledgement: Acknowledgement,
    },
    /// When the archive was last written to.
    LastWritten { at: Timestamp },
    /// Objects that came whole and could not be read, in the order of their windows.
    ArchivedUnread { objects: Vec<UnreadObject> },
    /// Entries that say what was found in objects that were archived unread.
    ReadLater { seqs: Vec<Seq> },
}

/// Why something in the log's folder is no part of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stray {
    /// By its name.
    Name,
    /// An entry beyond a gap that does not show that entries are missing there.
    BeyondTheEnd,
    /// A signature beyond the end of the log that is a copy of another one, or of a key that signs nothing here.
    Signature,
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "",
            Self::BeyondTheEnd => {
                ": it stands beyond the end, and no signature and no link shows that entries are missing before it"
            }
            Self::Signature => {
                ": it is a copy of another signature, of a key whose signatures do not count here, or no signature"
            }
        })
    }
}

impl Note {
    /// That `key` is no part of the log.
    pub fn foreign(key: &ObjectKey, because: Stray) -> Self {
        Self::Foreign { key: key.to_string(), because }
    }
}

/// An object that was archived unread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnreadObject {
    /// The entry that archives it.
    pub seq: Seq,
    /// Relative to the stream's folder.
    pub key: DataKey,
    /// Why it could not be read.
    pub reason: Line,
}

fn listed(seqs: &[Seq]) -> String {
    seqs.iter().map(Seq::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignaturesNotChecked { entries } => write!(
                f,
                "whose signatures the {entries} signed entries have was not checked: say who may sign with --allowed-signers"
            ),
            Self::SigningKeyChanges { keys } => {
                let keys: Vec<_> =
                    keys.iter().map(|(seq, key)| format!("from entry {seq} on {key}")).collect();
                let keys = keys.join(", ");
                write!(
                    f,
                    "the signing key changes: {keys}; say which of them may sign with --allowed-signers"
                )
            }
            Self::UnsignedBefore { last } => write!(f, "the log is signed after entry {last}, not before"),
            Self::SignatureWithoutEntry { seq } => write!(
                f,
                "there is a signature for an entry {seq}, and no such entry: a crash left it, or the log's last entry was taken away (--expect-head tells)"
            ),
            Self::Unnamed { key } => write!(f, "{key} is named by no entry"),
            Self::Foreign { key, because } => write!(f, "{key} is no part of the log{because}"),
            Self::WindowsLost { windows } => {
                let names: Vec<_> = windows.iter().map(Window::to_string).collect();
                write!(f, "attested as lost by the provider: {}", names.join(", "))
            }
            Self::LossesNotBelieved { seqs } => {
                let what = "recorded as lost by a clock that was ahead, which is not believed";
                write!(f, "{what}, by entries {}", listed(seqs))
            }
            Self::DatedAhead { seqs } => {
                let what = "dated ahead of entries after them, as by a clock that was ahead: their places in the log \
                            hold, their dates do not";
                write!(f, "{what}: entries {}", listed(seqs))
            }
            Self::LocksNotChecked { objects } => write!(
                f,
                "the log says that {objects} objects are locked, which a folder cannot show: check that in the bucket"
            ),
            Self::HoldsLifted { objects, first } => write!(
                f,
                "{objects} objects were put under legal hold and are not any more, the first is {first}"
            ),
            Self::CountsDiffer { seqs } => {
                let what = "the provider counted another number of records than it exported";
                write!(f, "{what}, by entries {}", listed(seqs))
            }
            Self::PulledPastHorizon { seqs } => {
                let what = "pulled when the provider need not have had all of them any more, so that records may lack";
                write!(f, "{what}, by entries {}", listed(seqs))
            }
            Self::NotCounted { windows } => {
                write!(f, "{windows} windows are archived without the provider's own count")
            }
            Self::OtherVersions { objects, first } => write!(
                f,
                "{objects} objects have the right bytes under another version than their entries say, the first is {first}: they were restored, or this is a copy"
            ),
            Self::EtagsDiffer { objects, first } => write!(
                f,
                "{objects} objects have an ETag that is not the MD5 in their entries, the first is {first}: the ETags of this store may be no MD5s, and --level bytes tells"
            ),
            Self::NothingInRange => f.write_str(
                "no window that the log says anything of lies in the stretch of time that was asked for",
            ),
            Self::WindowsParked { windows } => {
                let names: Vec<_> = windows.iter().map(Window::to_string).collect();
                write!(f, "not archived until an operator looks (parked): {}", names.join(", "))
            }
            Self::Acknowledged {
                window,
                acknowledgement: Acknowledgement { seq, entry, by, reason, at },
            } => write!(
                f,
                "window {window} (entry {entry}) was acknowledged at {at} by {by}: {reason} (entry {seq})"
            ),
            Self::ArchivedUnread { objects } => {
                let objects: Vec<_> = objects
                    .iter()
                    .map(|UnreadObject { seq, key, reason }| format!("{key} (entry {seq}: {reason})"))
                    .collect();
                write!(
                    f,
                    "archived unread, as the bytes came, until somebody can read them: {}",
                    objects.join(", ")
                )
            }
            Self::ReadLater { seqs } => {
                write!(f, "archived unread and read later, by entries {}", listed(seqs))
            }
            Self::LastWritten { at } => {
                write!(f, "the last entry is of {at}: for a copy made then, say so with --to")
            }
        }
    }
}
