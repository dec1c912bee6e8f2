//! Whether an entry is believed, after what is known of its log: asked when a log is followed, and when a damaged one is
//! taken over.

use jiff::Timestamp;

use crate::app::signing::Signing;
use crate::domain::audit::SKEW;
use crate::domain::log_entry::{Definition, EntryBody, Head, LogEntry, SealedEntry};

/// What is known of a log up to one of its entries.
#[derive(Debug, Clone, Default)]
pub struct LogSoFar {
    /// Number and hash of the last entry that is part of it; `None` before the first.
    pub head: Option<Head>,
    /// When it was written, where that is known.
    pub recorded_at: Option<Timestamp>,
    /// What the stream is.
    pub definition: Option<Definition>,
    /// Whether an entry was signed, so that every later one must be.
    pub signed: bool,
}

impl LogSoFar {
    /// What is known with `entry` after it.
    #[must_use]
    pub fn with(&self, entry: &SealedEntry) -> Self {
        let definition = match &entry.entry().body {
            EntryBody::Stream(opened) => Some(opened.definition.clone()),
            _ => self.definition.clone(),
        };
        let signed = self.signed || is_signed(entry.entry());
        let recorded_at = Some(entry.entry().recorded_at);
        Self { head: Some(entry.head()), recorded_at, definition, signed }
    }

    /// Whether the signature on `entry` is asked for: it names a key, or entries before it do.
    pub fn wants_signature(&self, entry: &LogEntry) -> bool {
        self.signed || is_signed(entry)
    }

    /// Whether `entry` is believed, `armored` being the signature on its bytes: then whether a signature that counts is on it.
    /// Without `signing` no signature can be checked, and only one that is missing altogether is found out.
    ///
    /// # Errors
    /// In words, when it is not: it lacks a signature, has one that does not count, or changes what the stream is.
    pub fn believes(
        &self,
        entry: &SealedEntry,
        armored: Option<&[u8]>,
        signing: Option<&Signing>,
    ) -> Result<bool, String> {
        let is_vouched_for = self.check_signature(entry, armored, signing)?;
        let changed = match (&entry.entry().body, &self.definition) {
            (EntryBody::Stream(opened), Some(known)) => opened.definition.contradiction(known),
            _ => None,
        };
        match changed {
            Some(difference) => Err(format!("it says {difference}, which is fixed when a stream is opened")),
            None => Ok(is_vouched_for),
        }
    }

    fn check_signature(
        &self,
        entry: &SealedEntry,
        armored: Option<&[u8]>,
        signing: Option<&Signing>,
    ) -> Result<bool, String> {
        let named = entry.entry().writer.key_fingerprint.as_deref();
        match (named, signing, armored) {
            (None, _, _) if !self.signed => Ok(false),
            (None, None, _) | (None, _, None) => {
                Err("it is not signed, and entries before it are: it may be forged".to_owned())
            }
            (Some(_), None, _) => Ok(false),
            (Some(named), Some(_), None) => Err(format!(
                "it says that the key {named} signed it, and there is no signature on these bytes"
            )),
            (_, Some(signing), Some(armored)) => self.check(entry, armored, signing).map(|()| true),
        }
    }

    /// Whether `armored` is a signature that counts on `entry`, which comes after what is known.
    ///
    /// # Errors
    /// In words, when it is not.
    pub fn check(&self, entry: &SealedEntry, armored: &[u8], signing: &Signing) -> Result<(), String> {
        let at = no_earlier_than(self.recorded_at, entry.entry().recorded_at);
        let signer = signing.verify(entry.bytes(), armored, at);
        let signer = signer.map_err(|error| format!("its signature does not count: {error}"))?;
        match entry.entry().writer.key_fingerprint.as_deref() {
            Some(named) if named != signer.as_str() => {
                Err(format!("it says that the key {named} signed it, and {signer} did"))
            }
            _ => Ok(()),
        }
    }
}

/// When an entry that is dated `recorded_at` may have been written, at the earliest, after one that is dated `before`. A key
/// vouches for it then: else a key that counts no more could go on with dates of its time.
pub fn no_earlier_than(before: Option<Timestamp>, recorded_at: Timestamp) -> Timestamp {
    let earliest = before.and_then(|before| before.checked_sub(SKEW).ok());
    earliest.map_or(recorded_at, |earliest| earliest.max(recorded_at))
}

/// Whether an entry says that it is signed.
pub fn is_signed(entry: &LogEntry) -> bool {
    entry.writer.key_fingerprint.is_some()
}
