//! Signatures beyond the end of a log: which of them show that the log went on.
//!
//! A signature is stored before its entry, so one without an entry is of a crash, or of an entry that was cut off the end of the
//! log. In the place after the last entry it shows neither, and is only noted. Without the entry nobody can check it. So further
//! beyond it counts only where
//! - it is no copy of another signature in the log's folder, and not on an entry that is there and foreign;
//! - it names a key whose signatures count: by the allowed signers, or, where nobody named them, because the key signed an entry of
//!   this log;
//! - it stands no more than [`MOST_MISSING`] places beyond.
//!
//! Everything else has the name of a signature and is foreign.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::adapters::signature::{AllowedSigners, PRINCIPAL, SignatureMark};
use crate::app::log_reader::LogReader;
use crate::domain::audit::Found;
use crate::domain::beyond_gap::MOST_MISSING;
use crate::domain::log_entry::Head;
use crate::domain::object_key::{HashPrefix, ObjectKey, Seq, signature_key_of};
use crate::ports::object_store::StoreError;

/// Signatures read at the same time.
const READ_AHEAD: usize = 32;

/// Takes out of `found` the signatures beyond its last entry that do not count, those on `foreign_entries` too; their keys.
pub(super) async fn leave_out_foreign(
    log: &LogReader,
    found: &mut Found,
    foreign_entries: &[Head],
    signers: Option<&AllowedSigners>,
) -> Result<Vec<ObjectKey>, StoreError> {
    let end = found.entries.last().map(|entry| entry.place);
    let is_beyond = |seq: &Seq| end.is_none_or(|end| *seq > end.next());
    if !found.signatures.last_key_value().is_some_and(|(last, _)| is_beyond(last)) {
        return Ok(Vec::new());
    }
    let of_log = found.signers();
    let counts = |mark: &SignatureMark| match signers {
        Some(signers) => signers.lists(PRINCIPAL, &mark.signer),
        None => of_log.contains(mark.signer.as_str()),
    };
    let prefixes = found.signatures.iter();
    let all: Vec<_> =
        prefixes.flat_map(|(seq, prefixes)| prefixes.iter().map(|prefix| (*seq, *prefix))).collect();
    let read = |(seq, prefix): (Seq, HashPrefix)| async move {
        let key = signature_key_of(log.stream(), seq, prefix);
        let armored = log.agreed(&key, None, None).await?;
        let mark = armored.and_then(|armored| SignatureMark::of(armored.bytes()));
        Ok::<_, StoreError>((seq, prefix, key, mark))
    };
    let mut marks = stream::iter(all).map(read).buffered(READ_AHEAD);
    let (mut known, mut foreign) = (HashSet::new(), Vec::new());
    let on_foreign: HashSet<_> =
        foreign_entries.iter().map(|entry| (entry.seq, HashPrefix::of(&entry.hash))).collect();
    // In the order of places: of two copies the first is the signature.
    while let Some((seq, prefix, key, mark)) = marks.try_next().await? {
        let is_new = mark.as_ref().is_some_and(|mark| known.insert(mark.clone()));
        let is_far = seq.get() > end.map_or(0, Seq::get).saturating_add(MOST_MISSING);
        let is_stray = is_far || !is_new || on_foreign.contains(&(seq, prefix));
        if is_beyond(&seq) && (is_stray || !mark.as_ref().is_some_and(counts)) {
            foreign.push((seq, prefix, key));
        }
    }
    drop(marks);
    for (seq, prefix, _) in &foreign {
        if let Some(prefixes) = found.signatures.get_mut(seq) {
            prefixes.retain(|other| other != prefix);
        }
    }
    found.signatures.retain(|_, prefixes| !prefixes.is_empty());
    Ok(foreign.into_iter().map(|(_, _, key)| key).collect())
}
