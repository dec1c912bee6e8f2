//! The data object of a window: choosing its key, putting it, and proving that the store holds it.
//!
//! Why this is safe: a key is created and never overwritten, so whatever stands under a key of this window was put
//! there whole, by us or by one like us, now or before a crash. What no entry names is an orphan:
//! - our very bytes: a put whose answer was lost, or a crash after it; it is ours;
//! - the same rows in other bytes (a spreadsheet holds its creation time): it is adopted as it stands;
//! - other rows: it stays, the pull goes under the next revision number, and the entry names the orphan.
//!
//! All keys of the window are listed first, so an orphan is found whatever its revision and format. Losing a race
//! between listing and putting only means to look again. And what looks like an orphan may be what another daemon has
//! just archived: the log is followed before anything is taken for one.

use futures_util::TryStreamExt;
use sha2::Digest;

use crate::adapters::inspect::Inspection;
use crate::adapters::spool::SpooledExport;
use crate::domain::digest::Sha256;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::lock::Lock;
use crate::domain::log_entry::{Orphan, StoredObject};
use crate::domain::object_key::{DataKey, Revision, Seq};
use crate::domain::window::Window;
use crate::ports::checkpoint::Step;
use crate::ports::ledger::NamedObject;
use crate::ports::object_store::{Content, ObjectBody, PutOutcome, Readback};

use super::archive_window::is_overtaken;
use super::failure_policy::of_store;
use super::services::Services;
use super::stream::Stream;

/// Losing more races than this over one window is not a race any more.
const ROUNDS: usize = 8;

/// A window's data object, proven to be in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The revision that its key names.
    pub revision: Revision,
    /// The object.
    pub object: StoredObject,
    /// Other objects of the window that no entry names.
    pub orphans: Vec<Orphan>,
}

/// Makes sure that the store holds `export`, or an orphan with the same rows, and proves it; `None` when somebody else
/// has archived the window by now, after the entry that this pull `follows`.
///
/// # Errors
/// When the store fails, or does not give back what was put.
pub async fn store(
    services: &Services,
    stream: &Stream,
    (window, follows): (Window, Option<Seq>),
    export: &SpooledExport,
    named: &[NamedObject],
) -> Result<Option<Stored>, Failure> {
    for _ in 0..ROUNDS {
        let present = list(stream, window).await?;
        if present.iter().any(|key| named.iter().all(|named| named.key != *key)) {
            stream.log.follow().await?;
            if is_overtaken(services, stream, window, follows).await? {
                return Ok(None);
            }
        }
        let mut orphans = Vec::new();
        let mut adopted = None;
        for key in present.iter().filter(|key| named.iter().all(|named| named.key != **key)) {
            match look_into(services, stream, key, export).await? {
                Orphaned::SameRows(object, found) if adopted.is_none() => {
                    // Put anew, it would have no lock again: the stream waits for whoever can lock or remove it.
                    let asked = lock_of(services, stream, window);
                    stream.locks.check(&key.in_stream(stream.name()), &asked, &found).await?;
                    adopted = Some(object);
                }
                Orphaned::SameRows(object, _) => orphans.push(as_orphan(&object)),
                Orphaned::OtherRows(orphan) => orphans.push(orphan),
                Orphaned::Vanished => {}
            }
        }
        if let Some(object) = adopted {
            tracing::info!(stream = %stream.name(), %window, key = %object.key, "object of an earlier run adopted");
            return Ok(Some(Stored { revision: object.key.revision(), object, orphans }));
        }
        let taken = present.iter().chain(named.iter().map(|named| &named.key)).map(DataKey::revision).max();
        let revision = taken.map_or(Revision::FIRST, Revision::next);
        let key = DataKey::new(window, revision, export.facts.format);
        if let Some(object) = put(services, stream, &key, export).await? {
            return Ok(Some(Stored { revision, object, orphans }));
        }
    }
    let message =
        format!("window {window} of stream {}: its object keys keep being taken by others", stream.name());
    Err(Failure::new(FailureKind::Transient, Scope::Window, message))
}

/// The data keys of the window that are taken.
async fn list(stream: &Stream, window: Window) -> Result<Vec<DataKey>, Failure> {
    let prefix = DataKey::prefix_of_window(stream.name(), window);
    let folder = format!("{}/", stream.name());
    let keys: Vec<_> = stream.store.list(&prefix, None).map_err(of_store).try_collect().await?;
    let data_key = |key: &crate::domain::object_key::ObjectKey| {
        let parsed = key.as_str().strip_prefix(&folder).and_then(|key| key.parse::<DataKey>().ok());
        if parsed.is_none() {
            tracing::warn!(stream = %stream.name(), %window, %key, "an object that connvault did not name lies here");
        }
        parsed
    };
    Ok(keys.iter().filter_map(data_key).collect())
}

/// Puts the export under `key` and reads it back; `None` when the key is taken by something else.
async fn put(
    services: &Services,
    stream: &Stream,
    key: &DataKey,
    export: &SpooledExport,
) -> Result<Option<StoredObject>, Failure> {
    services.checkpoint.reached(Step::BeforeDataPut);
    let whole = key.in_stream(stream.name());
    let content = Content::File {
        path: export.path.clone(),
        bytes: export.bytes,
        sha256: export.sha256,
        md5: export.md5,
    };
    let lock = lock_of(services, stream, key.window());
    let PutOutcome::Created { version_id } = stream.locks.put(&whole, &content, &lock).await? else {
        return Ok(None);
    };
    services.checkpoint.reached(Step::DataPut);
    let found = read_back(stream, key, export).await?;
    stream.locks.check(&whole, &lock, &found).await?;
    services.checkpoint.reached(Step::ReadBack);
    Ok(Some(StoredObject {
        key: key.clone(),
        version_id,
        bytes: export.bytes,
        sha256: export.sha256,
        md5: Some(export.md5),
        format: export.facts.format,
        rows: export.facts.rows,
        content_digest: export.facts.content_digest,
    }))
}

/// The lock of the window's objects.
fn lock_of(services: &Services, stream: &Stream, window: Window) -> Lock {
    stream.locks.lock_from(window.end(), services.clock.now())
}

/// Has the store show that it holds the very bytes that were put; says the lock that it names with them.
async fn read_back(stream: &Stream, key: &DataKey, export: &SpooledExport) -> Result<Lock, Failure> {
    let whole = key.in_stream(stream.name());
    let differs = |what: String| {
        let message =
            format!("object {whole} was put and does not read back: {what}; it stays there, unnamed");
        Failure::new(FailureKind::Corrupt, Scope::Window, message)
    };
    let gone = || differs("it is not there".to_owned());
    match stream.readback {
        Readback::Metadata => {
            let meta = stream.store.head(&whole).await.map_err(of_store)?.ok_or_else(gone)?;
            if meta.bytes != export.bytes {
                return Err(differs(format!("{} bytes instead of {}", meta.bytes, export.bytes)));
            }
            match meta.md5 {
                Some(md5) if md5 != export.md5 => Err(differs("another ETag than its MD5".to_owned())),
                _ => Ok(meta.lock.unwrap_or_default()),
            }
        }
        Readback::Full => {
            let body = stream.store.get(&whole).await.map_err(of_store)?.ok_or_else(gone)?;
            let lock = body.meta.lock.unwrap_or_default();
            let (bytes, sha256) = digest(body).await?;
            if (bytes, sha256) == (export.bytes, export.sha256) {
                return Ok(lock);
            }
            Err(differs(format!(
                "{bytes} bytes with SHA-256 {sha256} instead of {} with {}",
                export.bytes, export.sha256
            )))
        }
    }
}

async fn digest(body: ObjectBody) -> Result<(u64, Sha256), Failure> {
    let start = (0, sha2::Sha256::new());
    let fold = body.bytes.map_err(of_store).try_fold(start, async |(bytes, hasher), chunk| {
        Ok((bytes + chunk.len() as u64, hasher.chain_update(&chunk)))
    });
    let (bytes, hasher) = fold.await?;
    Ok((bytes, Sha256::finish(hasher)))
}

enum Orphaned {
    /// It holds the rows of the export, under this lock.
    SameRows(StoredObject, Lock),
    /// It holds something else.
    OtherRows(Orphan),
    /// It is not there any more.
    Vanished,
}

fn as_orphan(object: &StoredObject) -> Orphan {
    Orphan { key: object.key.clone(), bytes: object.bytes, sha256: object.sha256 }
}

/// Fetches an object that no entry names, and compares it with the export: by bytes, else by rows.
async fn look_into(
    services: &Services,
    stream: &Stream,
    key: &DataKey,
    export: &SpooledExport,
) -> Result<Orphaned, Failure> {
    let Some(body) = stream.store.get(&key.in_stream(stream.name())).await.map_err(of_store)? else {
        return Ok(Orphaned::Vanished);
    };
    let version_id = body.meta.version_id.clone();
    let (lock, md5) = (body.meta.lock.unwrap_or_default(), body.meta.md5);
    let (file, bytes, sha256) = services.scratch.fetch(body).await?;
    let found = |format, rows, content_digest| StoredObject {
        key: key.clone(),
        version_id,
        bytes,
        sha256,
        md5,
        format,
        rows,
        content_digest,
    };
    let ours = &export.facts;
    if sha256 == export.sha256 {
        return Ok(Orphaned::SameRows(found(ours.format, ours.rows, ours.content_digest), lock));
    }
    Ok(match services.scratch.inspect(file.path()).await? {
        Ok(Inspection { format, rows, content_digest, .. })
            if (Some(content_digest), Some(rows)) == (ours.content_digest, ours.rows)
                && format == key.format() =>
        {
            Orphaned::SameRows(found(format, Some(rows), Some(content_digest)), lock)
        }
        _ => Orphaned::OtherRows(Orphan { key: key.clone(), bytes, sha256 }),
    })
}
