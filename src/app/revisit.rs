//! A revisit: an archived window is pulled again, and stored as a revision if its records have changed.
//!
//! Whether they have is said by the content digest, so other bytes with the same rows are no revision. That nothing has
//! changed stands in the ledger alone: where that is lost, the window is pulled once more, and nothing is stored for it.
//! A revision goes the same way as a first pull, and its entry names the one that it follows; whoever else appended one
//! meanwhile has won. The object before it stays where it is, and is read to say how the rows differ: if two answers agree that
//! it is not what the log says, the stream is on hold before anything is written.

use crate::adapters::spool::SpooledExport;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::log_entry::Supersedes;
use crate::domain::object_key::Seq;
use crate::domain::snapshot::WindowState;
use crate::ports::ledger::{Lease, NamedObject};

use super::agreed_read::{Agreed, Limits, ONCE_MORE, Reading};
use super::archive_window::{archived_elsewhere, clear_spool, commit, pull, request};
use super::counting::Terms;
use super::failure_policy::of_ledger;
use super::observer::Ending;
use super::services::Services;
use super::stream::Stream;

/// Pulls the window again.
pub(super) async fn revisit(services: &Services, stream: &Stream, lease: &Lease) -> Result<Ending, Failure> {
    let Some((seq, newest)) = newest(services, stream, lease).await? else {
        return archived_elsewhere(services, lease).await;
    };
    let export = pull(services, stream, &request(stream, lease.window), Terms::of_revisit(stream)).await?;
    if newest.content_digest.is_some() && newest.content_digest == export.facts.content_digest {
        let (pulled_at, now) = (export.facts.export.pulled_at, services.clock.now());
        services.ledger.revisited(lease, pulled_at, now).await.map_err(of_ledger)?;
        clear_spool(services, lease).await;
        return Ok(Ending::Unchanged);
    }
    let supersedes = differences(services, stream, seq, &newest, &export).await?;
    commit(services, stream, lease, &export, Some(supersedes)).await
}

/// The entry and the object of the window's newest revision.
async fn newest(
    services: &Services,
    stream: &Stream,
    lease: &Lease,
) -> Result<Option<(Seq, NamedObject)>, Failure> {
    let state = services.ledger.window(stream.name(), lease.window).await.map_err(of_ledger)?;
    let Some(WindowState::Archived { seq, .. }) = state else { return Ok(None) };
    let named = services.ledger.named_objects(stream.name(), lease.window).await.map_err(of_ledger)?;
    // An entry names one object with rows, and perhaps orphans beside it.
    let object = named.into_iter().find(|object| object.seq == seq && object.content_digest.is_some());
    Ok(object.map(|object| (seq, object)))
}

/// How the rows of the export differ from those of the revision before.
async fn differences(
    services: &Services,
    stream: &Stream,
    seq: Seq,
    newest: &NamedObject,
    export: &SpooledExport,
) -> Result<Supersedes, Failure> {
    let key = newest.key.in_stream(stream.name());
    let damaged = |what: String| {
        let message = format!(
            "object {key} {what}, which log entry {seq} names; nothing more is written to stream {}",
            stream.name()
        );
        Failure::new(FailureKind::Damaged, Scope::Stream, message)
    };
    let limits = Limits::kept(newest.bytes);
    let reading = Reading { scratch: &services.scratch, store: &*stream.store, key: &key, limits };
    // Nothing is called damaged on the word of one answer: it takes two that agree.
    let older = match reading.agreed(Some(newest.sha256), ONCE_MORE).await? {
        Agreed::Object(object) if object.sha256 == newest.sha256 => object,
        Agreed::Object(object) => {
            return Err(damaged(format!("has SHA-256 {} and not {}", object.sha256, newest.sha256)));
        }
        Agreed::TooLarge => return Err(damaged(format!("has more than {} bytes", newest.bytes))),
        Agreed::Absent => return Err(damaged("is gone from the store".to_owned())),
    };
    // What has the size that the entry says is kept; the same bytes in another size there are none.
    let Some(file) = older.file else { return Err(damaged(format!("has not {} bytes", newest.bytes))) };
    let delta = services.scratch.delta(file.path(), &export.path).await?;
    // Both were read whole before, by the same rules.
    let delta = delta.map_err(|error| {
        let message = format!("the rows of {key} cannot be compared: {error}");
        Failure::new(error.kind(), Scope::Window, message)
    })?;
    Ok(Supersedes { seq, rows_added: delta.added, rows_removed: delta.removed, rows_changed: delta.changed })
}
