//! The proof of one entry: that it fits after what is known, and that something vouches for its bytes.

use jiff::{SignedDuration, Timestamp};

use super::{damaged, is_signed};
use crate::app::failure_policy::of_store;
use crate::app::log_reader::{LogReader, READ_LIMIT, Reading};
use crate::app::signing::Signing;
use crate::domain::failure::Failure;
use crate::domain::log_entry::{Definition, EntryBody, Head, SealedEntry, after};
use crate::domain::object_key::{ObjectKey, Seq, log_key, signature_key};
use crate::ports::object_store::StoreError;

/// How far the clocks of two writers may be apart, as for an audit.
const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// What stands at one place, as it was read.
pub(super) struct Placed {
    pub(super) seq: Seq,
    pub(super) key: ObjectKey,
    pub(super) reading: Reading,
    /// The signature on those bytes, where signatures are looked at.
    pub(super) signature: Option<Vec<u8>>,
}

/// An entry that fits where it stands, and waits for the one after it to vouch for it.
pub(super) struct Fitting {
    pub(super) placed: Placed,
    pub(super) entry: SealedEntry,
}

/// What is known of the log up to an entry.
#[derive(Clone, Default)]
pub(super) struct Known {
    pub(super) head: Option<Head>,
    /// When that entry was written, where it is known.
    pub(super) recorded_at: Option<Timestamp>,
    pub(super) definition: Option<Definition>,
    pub(super) signed: bool,
}

impl Known {
    /// What is known with `entry` after it.
    pub(super) fn with(&self, entry: &SealedEntry) -> Self {
        let definition = match &entry.entry().body {
            EntryBody::Stream(opened) => Some(opened.definition.clone()),
            _ => self.definition.clone(),
        };
        let signed = self.signed || entry.entry().writer.key_fingerprint.is_some();
        let recorded_at = Some(entry.entry().recorded_at);
        Self { head: Some(entry.head()), recorded_at, definition, signed }
    }
}

/// What entries are proven with.
#[derive(Clone, Copy)]
pub(super) struct Prover<'r> {
    pub(super) reader: &'r LogReader,
    pub(super) signing: Option<&'r Signing>,
}

impl Prover<'_> {
    /// The first reading of the entry at `seq`, with its signature where signatures count; `None` where it is not found.
    pub(super) async fn first_reading(self, seq: Seq, key: ObjectKey) -> Result<Option<Placed>, StoreError> {
        let Some(reading) = self.reader.read(&key).await? else { return Ok(None) };
        let signature = self.first_signature(seq, &reading).await?;
        Ok(Some(Placed { seq, key, reading, signature }))
    }

    async fn first_signature(self, seq: Seq, reading: &Reading) -> Result<Option<Vec<u8>>, StoreError> {
        if self.signing.is_none() {
            return Ok(None);
        }
        let key = signature_key(self.reader.stream(), seq, &reading.hash());
        Ok(self.reader.read(&key).await?.map(|signature| signature.bytes().to_vec()))
    }

    /// What stands at `seq`, asked for by its key a few times.
    pub(super) async fn by_key(self, seq: Seq) -> Result<Option<Placed>, Failure> {
        let key = log_key(self.reader.stream(), seq);
        let Some(reading) = self.reader.agreed(&key, None, None).await.map_err(of_store)? else {
            return Ok(None);
        };
        let signature = self.first_signature(seq, &reading).await.map_err(of_store)?;
        Ok(Some(Placed { seq, key, reading, signature }))
    }

    /// Fits `placed` after `before`. Where it does not fit, `before` may have been read wrongly as well.
    pub(super) async fn link(
        self,
        before: Fitting,
        placed: Placed,
        known: &Known,
    ) -> Result<(Fitting, Fitting), Failure> {
        match self.try_fit(placed, &known.with(&before.entry)) {
            Ok(next) => Ok((before, next)),
            Err((placed, _)) => {
                let before = self.confirm(before, known).await?;
                let next = self.fit(*placed, &known.with(&before.entry)).await?;
                Ok((before, next))
            }
        }
    }

    /// `placed`, if it fits after what is `known`: read again where it does not.
    pub(super) async fn fit(self, placed: Placed, known: &Known) -> Result<Fitting, Failure> {
        match self.try_fit(placed, known) {
            Ok(fitting) => Ok(fitting),
            Err((placed, _)) => {
                let placed = self.again(*placed, known).await?;
                let fitting = self.try_fit(placed, known);
                fitting.map_err(|(placed, what)| self.damaged(&format!("log entry {}: {what}", placed.key)))
            }
        }
    }

    /// As [`Self::fit`], by one reading; else what is wrong.
    fn try_fit(self, mut placed: Placed, known: &Known) -> Result<Fitting, (Box<Placed>, String)> {
        match self.open(&placed, known) {
            Ok((entry, vouched_for)) => {
                if vouched_for {
                    placed.reading.agree();
                }
                Ok(Fitting { placed, entry })
            }
            Err(what) => Err((Box::new(placed), what)),
        }
    }

    /// The entry at `placed`, and whether a signature vouches for it.
    fn open(self, placed: &Placed, known: &Known) -> Result<(SealedEntry, bool), String> {
        if placed.reading.is_too_large() {
            return Err(format!("it has more than {READ_LIMIT} bytes, which no entry has"));
        }
        let bytes = placed.reading.bytes().to_vec();
        let (stream, previous) = (self.reader.stream(), after(known.head).1);
        let entry =
            SealedEntry::open(bytes, stream, placed.seq, previous).map_err(|error| error.to_string())?;
        let vouched_for = self.check_signature(&entry, placed.signature.as_deref(), known)?;
        check_definition(&entry, known.definition.as_ref())?;
        Ok((entry, vouched_for))
    }

    /// Whether a signature that counts is on the entry; an error where one must be and is not.
    fn check_signature(
        self,
        entry: &SealedEntry,
        armored: Option<&[u8]>,
        known: &Known,
    ) -> Result<bool, String> {
        let named = entry.entry().writer.key_fingerprint.as_deref();
        let Some(signing) = self.signing else {
            return match named {
                None if known.signed => {
                    Err("it is not signed, and entries before it are: it may be forged".to_owned())
                }
                _ => Ok(false),
            };
        };
        match (named, armored) {
            (None, _) if !known.signed => Ok(false),
            (None, None) => Err("it is not signed, and entries before it are: it may be forged".to_owned()),
            (Some(named), None) => Err(format!(
                "it says that the key {named} signed it, and there is no signature on these bytes"
            )),
            (named, Some(armored)) => {
                let not_before = known.recorded_at.and_then(|before| before.checked_sub(SKEW).ok());
                let at = not_before.map_or(entry.entry().recorded_at, |not_before| {
                    not_before.max(entry.entry().recorded_at)
                });
                let signer = signing.verify(entry.bytes(), armored, at);
                let signer = signer.map_err(|error| format!("its signature does not count: {error}"))?;
                match named {
                    Some(named) if named != signer.as_str() => {
                        Err(format!("it says that the key {named} signed it, and {signer} did"))
                    }
                    _ => Ok(true),
                }
            }
        }
    }

    /// An agreed reading of what stands at the place of `placed`, and the signature on it.
    async fn again(self, placed: Placed, known: &Known) -> Result<Placed, Failure> {
        let Placed { seq, key, reading, .. } = placed;
        let reading = match reading.is_agreed() {
            true => reading,
            false => {
                let again = self.reader.agreed(&key, Some(reading), None).await.map_err(of_store)?;
                again.ok_or_else(|| self.missing(seq))?
            }
        };
        let wanted = known.signed || is_signed(reading.bytes());
        let signature = match self.signing {
            Some(_) if wanted => self.signature(seq, &reading).await?,
            _ => None,
        };
        Ok(Placed { seq, key, reading, signature })
    }

    /// The signature on the bytes of `reading`, on which two readings agree; `None` where there is none.
    async fn signature(self, seq: Seq, reading: &Reading) -> Result<Option<Vec<u8>>, Failure> {
        let key = signature_key(self.reader.stream(), seq, &reading.hash());
        let signature = self.reader.agreed(&key, None, None).await.map_err(of_store)?;
        Ok(signature.map(|signature| signature.bytes().to_vec()))
    }

    /// `fitting`, with something that vouches for its bytes.
    pub(super) async fn confirm(self, fitting: Fitting, known: &Known) -> Result<Fitting, Failure> {
        if fitting.placed.reading.is_agreed() {
            return Ok(fitting);
        }
        let placed = self.again(fitting.placed, known).await?;
        self.fit(placed, known).await
    }

    pub(super) fn missing(self, seq: Seq) -> Failure {
        let key = log_key(self.reader.stream(), seq);
        self.damaged(&format!("log entry {key} is gone from the store, or was never there"))
    }

    pub(super) fn missing_before(self, seq: Seq, beyond: Seq) -> Failure {
        let key = log_key(self.reader.stream(), seq);
        self.damaged(&format!(
            "log entry {key} is gone from the store, or was never there, and entry {beyond} stands beyond it"
        ))
    }

    fn damaged(self, what: &str) -> Failure {
        damaged(self.reader.stream(), what)
    }
}

/// Whether a `stream` entry says what the stream was opened with, and whether the first entry is one.
fn check_definition(entry: &SealedEntry, known: Option<&Definition>) -> Result<(), String> {
    match (&entry.entry().body, known) {
        (EntryBody::Stream(opened), Some(known)) => match opened.definition.contradiction(known) {
            None => Ok(()),
            Some(difference) => Err(format!("it says {difference}, which is fixed when a stream is opened")),
        },
        (EntryBody::Stream(_), None) | (_, Some(_)) => Ok(()),
        (_, None) => Err("it does not say what the stream is, which a first entry does".to_owned()),
    }
}
