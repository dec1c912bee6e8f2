//! The proof of one entry: that it fits after what is known, and that something vouches for its bytes.

use super::belief::LogSoFar;
use super::{damaged, says_signed};
use crate::app::log_reader::{LogReader, READ_LIMIT, Reading};
use crate::app::signing::Signing;
use crate::domain::beyond_gap::Stands;
use crate::domain::failure::Failure;
use crate::domain::log_entry::{EntryBody, SealedEntry, after};
use crate::domain::object_key::{ObjectKey, Seq, log_key, signature_key};
use crate::ports::object_store::StoreError;

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
        let Some(reading) = self.reader.agreed(&key, None, None).await? else {
            return Ok(None);
        };
        let signature = self.first_signature(seq, &reading).await?;
        Ok(Some(Placed { seq, key, reading, signature }))
    }

    /// What stands at `placed` beyond a gap, as far as it shows whether it belongs to the log that is known so far.
    pub(super) fn stands(self, placed: &Placed, known: &LogSoFar) -> Stands {
        let Placed { seq, reading, signature, .. } = placed;
        let bytes = if reading.is_too_large() { Vec::new() } else { reading.bytes().to_vec() };
        let entry = SealedEntry::open_unchained(bytes, self.reader.stream(), *seq).ok();
        let signed_by = |entry: &SealedEntry| {
            let both = self.signing.zip(signature.as_deref());
            both.is_some_and(|(signing, armored)| known.check(entry, armored, signing).is_ok())
        };
        let is_signed = entry.as_ref().is_some_and(signed_by);
        let previous = entry.map(|entry| entry.entry().previous);
        Stands { place: *seq, hash: reading.hash(), previous, is_signed }
    }

    /// What stands at `placed`, read again with care: two readings agree on it, and on its signature where that is what shows
    /// whether it belongs to the log. `None` where it is gone.
    pub(super) async fn careful(self, placed: &Placed) -> Result<Option<Placed>, Failure> {
        let (seq, key) = (placed.seq, placed.key.clone());
        let first = Some(placed.reading.clone());
        let Some(reading) = self.reader.agreed(&key, first, None).await? else {
            return Ok(None);
        };
        let signature = match self.signing {
            Some(_) if says_signed(reading.bytes()) => self.signature(seq, &reading).await?,
            _ => None,
        };
        Ok(Some(Placed { seq, key, reading, signature }))
    }

    /// Fits `placed` after `before`. Where it does not fit, `before` may have been read wrongly as well.
    pub(super) async fn link(
        self,
        before: Fitting,
        placed: Placed,
        known: &LogSoFar,
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
    pub(super) async fn fit(self, placed: Placed, known: &LogSoFar) -> Result<Fitting, Failure> {
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
    fn try_fit(self, mut placed: Placed, known: &LogSoFar) -> Result<Fitting, (Box<Placed>, String)> {
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
    fn open(self, placed: &Placed, known: &LogSoFar) -> Result<(SealedEntry, bool), String> {
        if placed.reading.is_too_large() {
            return Err(format!("it has more than {READ_LIMIT} bytes, which no entry has"));
        }
        let bytes = placed.reading.bytes().to_vec();
        let (stream, previous) = (self.reader.stream(), after(known.head).1);
        let entry =
            SealedEntry::open(bytes, stream, placed.seq, previous).map_err(|error| error.to_string())?;
        let vouched_for = known.believes(&entry, placed.signature.as_deref(), self.signing)?;
        if known.definition.is_none() && !matches!(entry.entry().body, EntryBody::Stream(_)) {
            return Err("it does not say what the stream is, which a first entry does".to_owned());
        }
        Ok((entry, vouched_for))
    }

    /// An agreed reading of what stands at the place of `placed`, and the signature on it.
    async fn again(self, placed: Placed, known: &LogSoFar) -> Result<Placed, Failure> {
        let Placed { seq, key, reading, .. } = placed;
        let reading = match reading.is_agreed() {
            true => reading,
            false => {
                let again = self.reader.agreed(&key, Some(reading), None).await?;
                again.ok_or_else(|| self.missing(seq))?
            }
        };
        let wanted = known.signed || says_signed(reading.bytes());
        let signature = match self.signing {
            Some(_) if wanted => self.signature(seq, &reading).await?,
            _ => None,
        };
        Ok(Placed { seq, key, reading, signature })
    }

    /// The signature on the bytes of `reading`, on which two readings agree; `None` where there is none.
    async fn signature(self, seq: Seq, reading: &Reading) -> Result<Option<Vec<u8>>, Failure> {
        let key = signature_key(self.reader.stream(), seq, &reading.hash());
        let signature = self.reader.agreed(&key, None, None).await?;
        Ok(signature.map(|signature| signature.bytes().to_vec()))
    }

    /// `fitting`, with something that vouches for its bytes.
    pub(super) async fn confirm(self, fitting: Fitting, known: &LogSoFar) -> Result<Fitting, Failure> {
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
