//! Objects under a window's keys that no entry names: a run that crashed left them, or somebody else put them there.
//!
//! An object is adopted where its bytes are the export's, by SHA-256, or where a comparison row by row finds none added, none
//! removed and none changed (a spreadsheet holds its creation time, so the same rows come in other bytes). The content digest
//! proves nothing here: it is a sum, and other rows with the same sum are made in seconds.
//!
//! Size, hashes and rows go into an entry for ever, so the object is read until two things agree on them
//! ([`agreed_read`](crate::app::agreed_read)).

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::adapters::inspect::Delta;
use crate::adapters::spool::{SpoolFacts, SpooledExport};
use crate::app::agreed_read::{AFTER_A_PUT, Agreed, AgreedObject, Limits, ONCE_MORE, Reading};
use crate::app::scratch::Scratch;
use crate::domain::digest::Etag;
use crate::domain::export::Format;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::lock::Lock;
use crate::domain::log_entry::{Orphan, StoredObject};
use crate::domain::message::Message;
use crate::domain::object_key::DataKey;
use crate::domain::text::ForeignText;
use crate::ports::ledger::NamedObject;

use super::Job;

/// Unnamed objects of one window that are read and named as orphans. A crash leaves one; more were put by somebody else, and
/// an entry has to stay small.
const MOST_ORPHANS: usize = 32;

/// Keys of a window that are taken, and by how we know.
#[derive(Debug)]
pub(super) struct Taken {
    /// The list has them.
    pub(super) listed: BTreeSet<DataKey>,
    /// The store refused a put there. The list may not have them yet.
    pub(super) refused: BTreeSet<DataKey>,
}

impl Taken {
    /// Leaves out what entries name.
    pub(super) fn leave_out(&mut self, named: &[NamedObject]) {
        let is_unnamed = |key: &DataKey| named.iter().all(|named| named.key != *key);
        self.listed.retain(is_unnamed);
        self.refused.retain(is_unnamed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.refused.is_empty()
    }

    /// What was refused first: these may be ours, and hard to see.
    fn in_order(&self) -> impl Iterator<Item = (&DataKey, bool)> {
        let listed = self.listed.difference(&self.refused).map(|key| (key, false));
        self.refused.iter().map(|key| (key, true)).chain(listed)
    }
}

/// What lies under a window's keys and is named by no entry.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The object that is the export in all that counts.
    pub(super) adopted: Option<StoredObject>,
    /// All others.
    pub(super) orphans: Vec<Orphan>,
    /// The keys that are taken, whoever took them.
    pub(super) present: BTreeSet<DataKey>,
}

enum Unnamed {
    /// It holds the export, under this lock.
    Export(StoredObject, Lock),
    /// It holds something else.
    Other(Orphan),
    /// It is larger than any object of ours.
    TooLarge,
    /// It is not there any more.
    Vanished,
}

impl Job<'_> {
    /// Looks into every unnamed object of the window.
    pub(super) async fn look_into_all(self, taken: &Taken, export: &SpooledExport) -> Result<Found, Failure> {
        let Self { stream, window, .. } = self;
        let mut found = Found::default();
        for (key, was_refused) in taken.in_order() {
            if found.orphans.len() == MOST_ORPHANS {
                tracing::warn!(stream = %stream.name(), %window, %key, "more unnamed objects lie under this window's keys than an entry names");
                found.present.extend(taken.listed.iter().cloned());
                break;
            }
            match self.look_into(key, was_refused, export).await? {
                Unnamed::Export(object, lock) if found.adopted.is_none() => {
                    // Put anew, it would have no lock again: the stream waits for an operator who can lock or remove it.
                    let asked = self.lock();
                    stream.locks.check(&key.in_stream(stream.name()), &asked, &lock).await?;
                    found.adopted = Some(object);
                }
                Unnamed::Export(object, _) => {
                    found.orphans.push(Orphan {
                        key: object.key,
                        bytes: object.bytes,
                        sha256: object.sha256,
                    });
                }
                Unnamed::Other(orphan) => found.orphans.push(orphan),
                Unnamed::TooLarge => {
                    tracing::warn!(stream = %stream.name(), %window, %key, "an unnamed object is larger than any export can be; it is left out of the log");
                }
                Unnamed::Vanished => continue,
            }
            found.present.insert(key.clone());
        }
        Ok(found)
    }

    /// Fetches an object that no entry names, and compares it with the export: by bytes, else row by row.
    async fn look_into(
        self,
        key: &DataKey,
        was_refused: bool,
        export: &SpooledExport,
    ) -> Result<Unnamed, Failure> {
        let Self { services, stream, .. } = self;
        let whole = key.in_stream(stream.name());
        let limits = Limits::beside(export.bytes, services.scratch.room());
        let reading = Reading { scratch: &services.scratch, store: &*stream.store, key: &whole, limits };
        let pauses: &[Duration] = if was_refused { AFTER_A_PUT } else { ONCE_MORE };
        let object = match reading.agreed(Some(export.sha256), pauses).await? {
            Agreed::Object(object) => object,
            Agreed::TooLarge => return Ok(Unnamed::TooLarge),
            Agreed::Absent if was_refused => {
                // It may be the export itself. A second object is not put for something that nobody has seen.
                let cause = format!("the store refuses object {whole} as taken and does not show it");
                let message = Message::new(cause).advise("it is asked again later");
                return Err(Failure::new(FailureKind::Transient, Scope::Window, message));
            }
            Agreed::Absent => return Ok(Unnamed::Vanished),
        };
        let facts = &export.facts;
        let same = object.sha256 == export.sha256 && key.format() == facts.format;
        let path = object.file.as_ref().map(|file| file.path());
        if !same && !has_rows_of(&services.scratch, (key.format(), path), (facts, &export.path)).await? {
            return Ok(Unnamed::Other(Orphan {
                key: key.clone(),
                bytes: object.bytes,
                sha256: object.sha256,
            }));
        }
        let version_id = self.confirmed_version(key, &object).await?;
        let stored = StoredObject {
            key: key.clone(),
            version_id,
            bytes: object.bytes,
            sha256: object.sha256,
            md5: Some(object.md5),
            etag: object.etag.map(|etag| Etag::of(etag, object.md5)),
            format: key.format(),
            rows: facts.rows,
            content_digest: facts.content_digest,
        };
        Ok(Unnamed::Export(stored, object.lock))
    }

    /// The version that was read, where a second answer names it too. What is not known is left out of the entry.
    async fn confirmed_version(
        self,
        key: &DataKey,
        object: &AgreedObject,
    ) -> Result<Option<ForeignText>, Failure> {
        if object.version_id.is_none() {
            return Ok(None);
        }
        let head = self.stream.store.head(&key.in_stream(self.name())).await?;
        Ok(object
            .version_id
            .clone()
            .filter(|read| head.and_then(|head| head.version_id).as_ref() == Some(read)))
    }
}

/// Whether the object, which was kept under `path` and whose key names `format`, holds the rows of the export.
async fn has_rows_of(
    scratch: &Scratch,
    (format, path): (Format, Option<&Path>),
    (facts, export): (&SpoolFacts, &Path),
) -> Result<bool, Failure> {
    let Some(path) = path else { return Ok(false) };
    let Ok(inspection) = scratch.inspect(path).await? else { return Ok(false) };
    // Spares the comparison where even the sums differ. That they are equal proves nothing.
    let sums = (Some(inspection.rows), Some(inspection.content_digest));
    if inspection.format != format || sums != (facts.rows, facts.content_digest) {
        return Ok(false);
    }
    let delta = scratch.delta(path, export).await?;
    Ok(delta.is_ok_and(|delta| delta == Delta::default()))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::domain::export::{Bounds, ExportApi};
    use crate::domain::log_entry::ExportFacts;
    use crate::domain::window::Window;

    /// How often row n stands in the one file, and minus how often in the other. The sums of the rows' digests are the same:
    /// a lattice reduction finds such numbers in half a second.
    const FORGED: [i32; 64] = [
        4, -7, 5, 3, 0, -9, -8, 4, -16, 6, 0, -4, 9, -1, 7, -8, 2, 1, 18, 0, 2, 1, 0, -4, -5, -4, -9, 13, 6,
        18, 11, 5, 5, -3, 12, 9, -5, 6, 4, -8, -7, 5, -14, 4, -6, -11, 2, -4, 0, 6, -10, -7, -2, 3, -14, -3,
        0, -1, 0, 0, -2, 1, 0, 0,
    ];

    fn rows(times: impl Fn(i32) -> i32) -> String {
        let mut text = "Transaction ID,User\n".to_owned();
        for (n, wanted) in FORGED.iter().enumerate() {
            for _ in 0..times(*wanted) {
                writeln!(text, "t{n:02},u{n:02}").unwrap();
            }
        }
        text
    }

    #[tokio::test]
    async fn other_rows_with_the_same_content_digest_are_other_rows() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(folder.path().join("scratch"), CancellationToken::new()).unwrap();
        let [ours, again, forged] = ["ours", "again", "forged"].map(|name| folder.path().join(name));
        let text = rows(|wanted| wanted.max(0));
        std::fs::write(&ours, &text).unwrap();
        let (header, records) = text.split_once('\n').unwrap();
        let upside_down: Vec<_> = records.lines().rev().collect();
        std::fs::write(&again, format!("{header}\r\n{}\r\n", upside_down.join("\r\n"))).unwrap();
        std::fs::write(&forged, rows(|wanted| (-wanted).max(0))).unwrap();
        let inspected = async |path: &Path| scratch.inspect(path).await.unwrap().unwrap();
        let found = inspected(&ours).await;
        assert_eq!(found.content_digest, inspected(&forged).await.content_digest);
        assert_eq!(found.rows, inspected(&forged).await.rows);
        let window: Window = "20261122T000000Z_20261123T000000Z".parse().unwrap();
        let bounds = Bounds { start: window.start(), end: window.end() };
        let facts = SpoolFacts {
            export: ExportFacts::new(ExportApi::V2, bounds, window.end()),
            definition: crate::domain::digest::Sha256::ZERO,
            format: Format::Csv,
            rows: Some(found.rows),
            content_digest: Some(found.content_digest),
        };
        let same = async |path: &Path, format| {
            has_rows_of(&scratch, (format, Some(path)), (&facts, &ours)).await.unwrap()
        };
        assert!(same(&again, Format::Csv).await);
        assert!(!same(&again, Format::Xlsx).await, "its key says otherwise");
        assert!(!same(&forged, Format::Csv).await);
        assert!(!has_rows_of(&scratch, (Format::Csv, None), (&facts, &ours)).await.unwrap());
        let unread = SpoolFacts { rows: None, content_digest: None, ..facts.clone() };
        assert!(!has_rows_of(&scratch, (Format::Csv, Some(&again)), (&unread, &ours)).await.unwrap());
    }
}
