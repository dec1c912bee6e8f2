//! The data object of a window: choosing its key, putting it, and proving that the store holds it.
//!
//! Why this is safe: a key is created and never overwritten, so an object under a key of this window was put there whole,
//! by a run of ours that crashed, or by somebody else who may put. An object that no entry names is looked into
//! (`unnamed`): it is adopted only where its bytes or, row by row, its records are those of the export. Any other one
//! stays and is named as an orphan, and the export goes under the next free revision.
//!
//! All keys of the window are listed first, so an unnamed object is found whatever its revision and format. A list may be
//! seconds old: a key that the store refuses as taken is asked for by its name in the next round. And an unnamed object may
//! be one that another daemon has just archived: the log is followed before anything is taken for an orphan.
//!
//! An object that was put and does not read back stays, unnamed, and no second object is put beside it
//! ([`UnprovenPuts`]): the window is tried again, and waits for an operator in the end.

mod unnamed;
mod unproven;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use futures_util::{StreamExt, TryStreamExt};

use crate::adapters::spool::SpooledExport;
use crate::domain::digest::Etag;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::lock::Lock;
use crate::domain::log_entry::{Orphan, StoredObject};
use crate::domain::message::Message;
use crate::domain::object_key::{DataKey, Revision, Seq};
use crate::ports::checkpoint::Step;
use crate::ports::ledger::NamedObject;
use crate::ports::object_store::{Content, ObjectMeta, PutOutcome, Readback};

use super::Job;
use crate::app::agreed_read::{AFTER_A_PUT, Agreed, Limits, Reading};
use crate::app::stream_log::ROUNDS;
use unnamed::Taken;
pub use unproven::UnprovenPuts;

/// Keys of one window that are taken note of. A window has one or two; more were put by somebody else.
const MOST_KEYS: usize = 1000;

/// A window's data object, proven to be in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// The revision that its key names.
    pub(super) revision: Revision,
    /// The object.
    pub(super) object: StoredObject,
    /// Other objects of the window that no entry names.
    pub(super) orphans: Vec<Orphan>,
}

impl Job<'_> {
    /// Makes sure that the store holds `export`, or an orphan with the same rows, and proves it; `None` when somebody else
    /// has archived the window by now, after the entry that this pull `follows`.
    ///
    /// # Errors
    /// When the store fails, or does not give back what was put.
    pub(super) async fn store(
        self,
        follows: Option<Seq>,
        export: &SpooledExport,
        named: &[NamedObject],
    ) -> Result<Option<Stored>, Failure> {
        let Self { services, stream, window } = self;
        let mut refused = BTreeSet::new();
        for _ in 0..ROUNDS {
            let mut taken = Taken { listed: self.list().await?, refused: refused.clone() };
            taken.leave_out(named);
            if !taken.is_empty() {
                stream.log.follow().await?;
                if self.is_overtaken(follows).await? {
                    return Ok(None);
                }
            }
            let found = self.look_into_all(&taken, export).await?;
            if let Some(object) = found.adopted {
                services.unproven.settled(stream.name(), window);
                tracing::info!(stream = %stream.name(), %window, key = %object.key, "object of an earlier run adopted");
                return Ok(Some(Stored { revision: object.key.revision(), object, orphans: found.orphans }));
            }
            let free = free_revision(named, &found.present);
            let revision = beyond_what_is_taken(free, refused.len());
            let key = DataKey::new(window, revision, export.facts.format);
            services.unproven.may_put(stream.name(), &key)?;
            if let Some(object) = self.put(&key, export).await? {
                services.unproven.settled(stream.name(), window);
                return Ok(Some(Stored { revision, object, orphans: found.orphans }));
            }
            refused.insert(key);
        }
        let cause = format!(
            "{self}: its object keys were taken by others {ROUNDS} times in a row, or the store answers with old lists"
        );
        let message = Message::new(cause).advise("it is tried again later");
        Err(Failure::new(FailureKind::Transient, Scope::Window, message))
    }

    /// The data keys of the window that are taken.
    async fn list(self) -> Result<BTreeSet<DataKey>, Failure> {
        let Self { stream, window, .. } = self;
        let prefix = DataKey::prefix_of_window(stream.name(), window);
        let folder = format!("{}/", stream.name());
        let keys: Vec<_> =
            stream.store.list(&prefix, None).take(MOST_KEYS).map_err(Failure::from).try_collect().await?;
        let data_key = |key: &crate::domain::object_key::ObjectKey| {
            let parsed = key.as_str().strip_prefix(&folder).and_then(|key| key.parse::<DataKey>().ok());
            let parsed = parsed.filter(|key| key.window() == window);
            if parsed.is_none() {
                tracing::warn!(stream = %stream.name(), %window, %key, "an object that connvault did not name lies here");
            }
            parsed
        };
        Ok(keys.iter().filter_map(data_key).collect())
    }

    /// Puts the export under `key` and reads it back; `None` when the key is taken.
    async fn put(self, key: &DataKey, export: &SpooledExport) -> Result<Option<StoredObject>, Failure> {
        let Self { services, stream, .. } = self;
        services.checkpoint.reached(Step::BeforeDataPut);
        let whole = key.in_stream(stream.name());
        let content = Content::File {
            path: export.path.clone(),
            bytes: export.bytes,
            sha256: export.sha256,
            md5: export.md5,
        };
        let lock = self.lock();
        let PutOutcome::Created { version_id } = stream.locks.put(&whole, &content, &lock).await? else {
            return Ok(None);
        };
        services.checkpoint.reached(Step::DataPut);
        let read_back = self.read_back(key, export).await;
        if read_back.as_ref().is_err_and(|failure| failure.kind == FailureKind::Corrupt) {
            services.unproven.put(stream.name(), key);
        }
        let shown = read_back?;
        stream.locks.check(&whole, &lock, &shown.lock).await?;
        services.checkpoint.reached(Step::ReadBack);
        Ok(Some(StoredObject {
            key: key.clone(),
            version_id,
            bytes: export.bytes,
            sha256: export.sha256,
            md5: Some(export.md5),
            etag: shown.etag,
            format: export.facts.format,
            rows: export.facts.rows,
            content_digest: export.facts.content_digest,
        }))
    }

    /// The lock of the window's objects.
    fn lock(self) -> Lock {
        let Self { services, stream, window } = self;
        stream.locks.lock_from(window.end(), services.clock.now())
    }

    /// Has the store show that it holds the very bytes that were put.
    async fn read_back(self, key: &DataKey, export: &SpooledExport) -> Result<Shown, Failure> {
        if self.stream.readback == Readback::Metadata
            && let Some(shown) = self.show_metadata(key, export).await?
        {
            return Ok(shown);
        }
        self.show_bytes(key, export).await
    }

    /// What size and ETag show. `None` where they are not those of the export: one answer proves no damage, so the bytes are read.
    async fn show_metadata(self, key: &DataKey, export: &SpooledExport) -> Result<Option<Shown>, Failure> {
        let stream = self.stream;
        let whole = key.in_stream(stream.name());
        let Some(ObjectMeta { bytes, md5, lock, .. }) = stream.store.head(&whole).await? else {
            return Ok(None);
        };
        let etag = md5.map(|md5| Etag::of(md5, export.md5));
        // Where the ETags of the store are known to be something else, the size is all that there is to compare.
        let counts = stream.store.has_md5_etags() != Some(false);
        let agrees = bytes == export.bytes && (etag != Some(Etag::Other) || !counts);
        Ok(agrees.then(|| Shown { lock: lock.unwrap_or_default(), etag }))
    }

    /// What every byte shows, read again where one read is not enough.
    async fn show_bytes(self, key: &DataKey, export: &SpooledExport) -> Result<Shown, Failure> {
        let Self { services, stream, .. } = self;
        let whole = key.in_stream(stream.name());
        let differs = |what: String| {
            let message =
                format!("object {whole} was put and does not read back: {what}; it stays there, unnamed");
            Failure::new(FailureKind::Corrupt, Scope::Window, message)
        };
        let limits = Limits::hash_only(export.bytes);
        let reading = Reading { scratch: &services.scratch, store: &*stream.store, key: &whole, limits };
        match reading.agreed(Some(export.sha256), AFTER_A_PUT).await? {
            Agreed::Object(object) if object.sha256 == export.sha256 => {
                Ok(Shown { lock: object.lock, etag: object.etag.map(|etag| Etag::of(etag, export.md5)) })
            }
            Agreed::Object(object) => Err(differs(format!(
                "{} bytes with SHA-256 {} instead of {} with {}",
                object.bytes, object.sha256, export.bytes, export.sha256
            ))),
            Agreed::TooLarge => Err(differs(format!("it has more than {} bytes", export.bytes))),
            Agreed::Absent => Err(differs("it is not there".to_owned())),
        }
    }
}

/// The first revision after the newest that is archived, and that no other object has. The number of an object that no entry
/// names says nothing: anybody who may put could choose the last one.
fn free_revision(named: &[NamedObject], present: &BTreeSet<DataKey>) -> Revision {
    let archived = named.iter().filter(|object| object.content_digest.is_some());
    let newest = archived.map(|object| object.key.revision()).max();
    let taken: BTreeSet<_> = named
        .iter()
        .map(|object| object.key.revision())
        .chain(present.iter().map(DataKey::revision))
        .collect();
    let after =
        std::iter::successors(Some(newest.map_or(Revision::FIRST, Revision::next)), |r| Some(r.next()));
    // Of one revision more than are taken, one is free.
    after.take(taken.len() + 1).find(|revision| !taken.contains(revision)).unwrap_or(Revision::FIRST)
}

/// The revision to put after so many were `refused` as taken though no list shows them: at first the free one, then ever
/// further beyond it, by a number that nobody can foresee. Whoever may only put can fill a thousand numbers, which is all
/// that a list is read of, and would need millions of objects to be in the way of the last of these.
fn beyond_what_is_taken(free: Revision, refused: usize) -> Revision {
    const WIDENING: u32 = 16;
    let Some(power) = u32::try_from(refused).unwrap_or(u32::MAX).checked_sub(1).filter(|power| *power > 0)
    else {
        return free;
    };
    let span = WIDENING.saturating_pow(power);
    // The hasher's keys are random, and its output is less than a span after the remainder.
    let drawn = RandomState::new().hash_one(refused) % u64::from(span);
    let further = span.saturating_add(u32::try_from(drawn).unwrap_or(span));
    Revision::new(free.get().saturating_add(further)).unwrap_or(free)
}

/// What a store showed of an object whose bytes are the export's.
struct Shown {
    lock: Lock,
    etag: Option<Etag>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(revision: u32) -> DataKey {
        let window = "20261122T000000Z_20261123T000000Z".parse().unwrap();
        DataKey::new(window, Revision::new(revision).unwrap(), crate::domain::export::Format::Csv)
    }

    fn named(revision: u32, archived: bool) -> NamedObject {
        let sha256 = crate::domain::digest::Sha256::ZERO;
        let content_digest = archived.then(|| "0".repeat(64).parse().unwrap());
        NamedObject {
            key: key(revision),
            bytes: 1,
            sha256,
            seq: Seq::FIRST,
            is_export: archived,
            content_digest,
        }
    }

    #[test]
    fn after_refusals_numbers_are_tried_that_nobody_can_have_filled() {
        let free = Revision::new(5).unwrap();
        let tried = |refused| beyond_what_is_taken(free, refused).get();
        assert_eq!([tried(0), tried(1)], [5, 5]);
        for (refused, least) in
            [(2, 16), (3, 256), (5, 65_536), (7, 16_777_216), (9, u32::MAX - 5), (99, u32::MAX - 5)]
        {
            let further = tried(refused) - 5;
            assert!(further >= least && further <= least.saturating_mul(2), "{refused}: {further}");
        }
    }

    #[test]
    fn no_number_that_somebody_else_chose_takes_the_next_revision_away() {
        let present = |revisions: &[u32]| revisions.iter().map(|revision| key(*revision)).collect();
        let free = |named: &[NamedObject], there: &[u32]| free_revision(named, &present(there)).get();
        assert_eq!(free(&[], &[]), 1);
        assert_eq!(free(&[], &[1, 2, 4]), 3);
        assert_eq!(free(&[], &[u32::MAX]), 1);
        assert_eq!(free(&[named(1, true), named(u32::MAX, false)], &[2]), 3);
        assert_eq!(free(&[named(4, true)], &[1]), 5, "a later revision has a higher number");
        assert_eq!(free(&[named(1, false), named(2, true)], &[]), 3);
    }
}
