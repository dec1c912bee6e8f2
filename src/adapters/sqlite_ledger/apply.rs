//! Following the log: an entry settles what it names, whatever the ledger thought of it before.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::acknowledgements;
use super::connection::storage;
use super::recorded;
use super::rows::{ms, number, to_json};
use super::snapshot;
use crate::domain::count::CountVerdict;
use crate::domain::log_entry::{
    Archived, Definition, EntryBody, Head, Inspected, Lost, Parked, SealedEntry, after,
};
use crate::domain::name::StreamName;
use crate::domain::object_key::{DataKey, Seq};
use crate::domain::snapshot::Fingerprint;
use crate::domain::window::Window;
use crate::ports::ledger::LedgerError;

pub(super) async fn apply(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    sealed: &SealedEntry,
) -> Result<(), LedgerError> {
    let entry = sealed.entry();
    let head = snapshot::stream(&mut *connection, stream).await?.map(|state| state.head);
    if head.is_some_and(|head| head.seq >= entry.seq) {
        return Ok(());
    }
    let (next, previous) = after(head);
    let opens = matches!(entry.body, EntryBody::Stream(_));
    if (entry.seq, entry.previous) != (next, previous) || (head.is_none() && !opens) {
        return Err(LedgerError::NotNext { stream: stream.clone(), seq: entry.seq });
    }
    take_over(connection, stream, sealed).await
}

/// As [`apply`], whatever the entry follows.
pub(super) async fn accept(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    definition: &Definition,
    sealed: &SealedEntry,
) -> Result<(), LedgerError> {
    if snapshot::stream(&mut *connection, stream).await?.is_none() {
        put_definition(connection, stream, definition, sealed.head()).await?;
        // Of a log that is damaged at its beginning it is not known when it was begun.
        recorded::put_opening(connection, stream, definition.start, Timestamp::UNIX_EPOCH).await?;
    }
    take_over(connection, stream, sealed).await
}

async fn take_over(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    sealed: &SealedEntry,
) -> Result<(), LedgerError> {
    let entry = sealed.entry();
    match &entry.body {
        EntryBody::Stream(opened) => {
            put_definition(connection, stream, &opened.definition, sealed.head()).await?;
            recorded::put_opening(connection, stream, opened.definition.start, entry.recorded_at).await?;
        }
        EntryBody::Archived(archived) => put_archived(connection, stream, entry.seq, archived).await?,
        EntryBody::Lost(lost) => put_lost(connection, stream, sealed, lost).await?,
        EntryBody::Parked(parked) => put_parked(connection, stream, entry.seq, parked).await?,
        EntryBody::Acknowledged(acknowledged) => {
            acknowledgements::put(connection, stream, sealed, acknowledged).await?;
        }
        EntryBody::Inspected(inspected) => put_inspected(connection, stream, inspected).await?,
    }
    if let Some(window) = entry.body.window().filter(|_| !matches!(entry.body, EntryBody::Parked(_))) {
        acknowledgements::end_request(connection, stream, window).await?;
    }
    if entry.writer.key_fingerprint.is_some() {
        sign(connection, stream).await?;
    }
    put_head(connection, stream, sealed.head()).await?;
    sqlx::query("UPDATE streams SET recorded_at_ms = ? WHERE stream = ?")
        .bind(ms(entry.recorded_at))
        .bind(stream.as_str())
        .execute(connection)
        .await
        .map_err(storage)?;
    Ok(())
}

/// Every later entry of the stream must be signed.
pub(super) async fn sign(connection: &mut SqliteConnection, stream: &StreamName) -> Result<(), LedgerError> {
    sqlx::query("UPDATE streams SET signed = 1 WHERE stream = ?")
        .bind(stream.as_str())
        .execute(connection)
        .await
        .map_err(storage)?;
    Ok(())
}

/// Takes the place of a damaged entry, whose bytes have the hash of `head`.
pub(super) async fn pass_over(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    definition: &Definition,
    head: Head,
) -> Result<(), LedgerError> {
    if snapshot::stream(&mut *connection, stream).await?.is_none() {
        put_definition(connection, stream, definition, head).await?;
        recorded::put_opening(connection, stream, definition.start, Timestamp::UNIX_EPOCH).await?;
    }
    put_head(connection, stream, head).await
}

async fn put_head(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    head: Head,
) -> Result<(), LedgerError> {
    sqlx::query("UPDATE streams SET head_seq = ?, head_hash = ? WHERE stream = ?")
        .bind(number(head.seq.get(), "a sequence number")?)
        .bind(head.hash.to_string())
        .bind(stream.as_str())
        .execute(connection)
        .await
        .map_err(storage)?;
    Ok(())
}

async fn put_definition(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    definition: &Definition,
    head: Head,
) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT INTO streams (stream, definition, head_seq, head_hash) VALUES (?, ?, ?, ?)
         ON CONFLICT (stream) DO UPDATE SET definition = excluded.definition",
    )
    .bind(stream.as_str())
    .bind(to_json(definition)?)
    .bind(number(head.seq.get(), "a sequence number")?)
    .bind(head.hash.to_string())
    .execute(connection)
    .await
    .map_err(storage)?;
    Ok(())
}

async fn put_archived(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    seq: Seq,
    archived: &Archived,
) -> Result<(), LedgerError> {
    let (window, export) = (archived.window, &archived.export);
    sqlx::query(
        "INSERT INTO windows (stream, start_ms, end_ms, state, seq, revision, pulled_at_ms, count, unread, open_records,
                              out_of_bounds, same_content_as)
         VALUES (?, ?, ?, 'archived', ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (stream, start_ms, end_ms) DO UPDATE SET
             state = 'archived', seq = excluded.seq, revision = excluded.revision, settled_at_ms = NULL,
             count = excluded.count, unread = excluded.unread, open_records = excluded.open_records,
             out_of_bounds = excluded.out_of_bounds, same_content_as = excluded.same_content_as,
             pulled_at_ms = max(excluded.pulled_at_ms, coalesce(windows.pulled_at_ms, excluded.pulled_at_ms)),
             failures = 0, corrupt = 0, crashes = 0, retry_at_ms = NULL, failure_kind = NULL, failure_message = NULL,
             failed_at_ms = NULL, fingerprint = NULL, parked_seq = NULL, parked_since_ms = NULL, parked_kind = NULL,
             parked_reason = NULL",
    )
    .bind(stream.as_str())
    .bind(ms(window.start()))
    .bind(ms(window.end()))
    .bind(number(seq.get(), "a sequence number")?)
    .bind(i64::from(archived.revision.get()))
    .bind(ms(export.pulled_at))
    .bind(CountVerdict::of(export.counted, archived.object.rows).as_str())
    .bind(export.unread.as_deref())
    .bind(export.open_records.map(|open| number(open, "a number of records")).transpose()?)
    .bind(export.out_of_bounds)
    .bind(export.same_content_as.map(|seq| number(seq.get(), "a sequence number")).transpose()?)
    .execute(&mut *connection)
    .await
    .map_err(storage)?;
    let object = &archived.object;
    let facts = Facts {
        key: &object.key,
        bytes: object.bytes,
        sha256: object.sha256.to_string(),
        role: "archived",
        content: object.rows.zip(object.content_digest.map(|digest| digest.to_string())),
    };
    put_object(connection, stream, window, seq, &facts).await?;
    for orphan in &archived.orphans {
        let sha256 = orphan.sha256.to_string();
        let facts = Facts { key: &orphan.key, bytes: orphan.bytes, sha256, role: "orphan", content: None };
        put_object(connection, stream, window, seq, &facts).await?;
    }
    Ok(())
}

/// An object that was archived unread has been read. A later revision of the window keeps what is known of it.
async fn put_inspected(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    inspected: &Inspected,
) -> Result<(), LedgerError> {
    let window = inspected.window;
    sqlx::query(
        "UPDATE windows SET unread = NULL, count = ?, open_records = ?, out_of_bounds = ?, same_content_as = ?
         WHERE stream = ? AND start_ms = ? AND end_ms = ? AND revision = ? AND unread IS NOT NULL",
    )
    .bind(CountVerdict::of(inspected.counted, Some(inspected.rows)).as_str())
    .bind(inspected.open_records.map(|open| number(open, "a number of records")).transpose()?)
    .bind(inspected.out_of_bounds)
    .bind(inspected.same_content_as.map(|seq| number(seq.get(), "a sequence number")).transpose()?)
    .bind(stream.as_str())
    .bind(ms(window.start()))
    .bind(ms(window.end()))
    .bind(i64::from(inspected.revision.get()))
    .execute(&mut *connection)
    .await
    .map_err(storage)?;
    sqlx::query(
        "UPDATE objects SET rows = ?, content_digest = ?
         WHERE stream = ? AND start_ms = ? AND end_ms = ? AND sha256 = ? AND role = 'archived' AND content_digest IS NULL",
    )
    .bind(number(inspected.rows, "a row count")?)
    .bind(inspected.content_digest.to_string())
    .bind(stream.as_str())
    .bind(ms(window.start()))
    .bind(ms(window.end()))
    .bind(inspected.sha256.to_string())
    .execute(connection)
    .await
    .map_err(storage)?;
    Ok(())
}

/// What is kept of an object; `content` (rows and their digest) is not known of an orphan, nor of an unread object.
struct Facts<'a> {
    key: &'a DataKey,
    role: &'static str,
    bytes: u64,
    sha256: String,
    content: Option<(u64, String)>,
}

async fn put_object(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    window: Window,
    seq: Seq,
    facts: &Facts<'_>,
) -> Result<(), LedgerError> {
    let rows = facts.content.as_ref().map(|(rows, _)| number(*rows, "a row count")).transpose()?;
    sqlx::query(
        "INSERT OR IGNORE INTO objects
             (stream, object_key, start_ms, end_ms, seq, role, bytes, sha256, rows, content_digest)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(stream.as_str())
    .bind(facts.key.to_string())
    .bind(ms(window.start()))
    .bind(ms(window.end()))
    .bind(number(seq.get(), "a sequence number")?)
    .bind(facts.role)
    .bind(number(facts.bytes, "a size")?)
    .bind(&facts.sha256)
    .bind(rows)
    .bind(facts.content.as_ref().map(|(_, digest)| digest))
    .execute(connection)
    .await
    .map_err(storage)?;
    Ok(())
}

async fn put_lost(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    sealed: &SealedEntry,
    lost: &Lost,
) -> Result<(), LedgerError> {
    // A window that is archived stays archived, whatever comes after.
    sqlx::query(
        "INSERT INTO windows (stream, start_ms, end_ms, state, seq, settled_at_ms) VALUES (?, ?, ?, 'lost', ?, ?)
         ON CONFLICT (stream, start_ms, end_ms) DO UPDATE SET
             state = 'lost', seq = excluded.seq, revision = NULL, settled_at_ms = excluded.settled_at_ms,
             retry_at_ms = NULL, parked_seq = NULL, parked_since_ms = NULL, parked_kind = NULL, parked_reason = NULL
         WHERE state <> 'archived'",
    )
    .bind(stream.as_str())
    .bind(ms(lost.window.start()))
    .bind(ms(lost.window.end()))
    .bind(number(sealed.entry().seq.get(), "a sequence number")?)
    .bind(ms(sealed.entry().recorded_at))
    .execute(connection)
    .await
    .map_err(storage)?;
    Ok(())
}

/// A window that the log says is parked. What this machine found out itself counts more than what it reads: a window that it
/// has worked on keeps its state, and learns only what the log says of it, so that the same is not said again. Earlier reasons
/// stay as further lines: a reason has one.
async fn put_parked(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    seq: Seq,
    parked: &Parked,
) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT INTO windows (stream, start_ms, end_ms, state, failures, failure_kind, failure_message, failed_at_ms,
             parked_kind, parked_reason, parked_since_ms, parked_seq)
         VALUES (?1, ?2, ?3, 'parked', 1, ?4, ?5, ?6, ?4, ?5, ?6, ?7)
         ON CONFLICT (stream, start_ms, end_ms) DO UPDATE SET
             state = iif(lease_generation = 0, 'parked', state),
             failure_kind = iif(lease_generation = 0, excluded.failure_kind, failure_kind),
             failure_message = iif(lease_generation = 0, excluded.failure_message, failure_message),
             failed_at_ms = iif(lease_generation = 0, excluded.failed_at_ms, failed_at_ms),
             retry_at_ms = iif(lease_generation = 0, NULL, retry_at_ms),
             parked_seq = excluded.parked_seq, parked_since_ms = excluded.parked_since_ms,
             parked_reason = excluded.parked_reason
                             || coalesce(char(10) || parked_kind || ' ' || parked_reason, ''),
             parked_kind = excluded.parked_kind
         WHERE state IN ('open', 'parked')",
    )
    .bind(stream.as_str())
    .bind(ms(parked.window.start()))
    .bind(ms(parked.window.end()))
    .bind(parked.failure.as_str())
    .bind(parked.reason.as_str())
    .bind(ms(parked.since))
    .bind(number(seq.get(), "a sequence number")?)
    .execute(connection)
    .await
    .map_err(storage)?;
    Ok(())
}

pub(super) async fn rebuilt(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    as_of: Timestamp,
    fingerprint: &Fingerprint,
    late: &BTreeSet<Window>,
) -> Result<(), LedgerError> {
    // No two windows of a stream have the same start.
    let late: Vec<_> = late.iter().map(|window| ms(window.start())).collect();
    sqlx::query(
        "UPDATE windows SET pulled_at_ms = max(pulled_at_ms, ?)
         WHERE stream = ? AND state = 'archived' AND start_ms NOT IN (SELECT value FROM json_each(?))",
    )
    .bind(ms(as_of))
    .bind(stream.as_str())
    .bind(to_json(&late)?)
    .execute(&mut *connection)
    .await
    .map_err(storage)?;
    sqlx::query("UPDATE windows SET fingerprint = ? WHERE stream = ? AND state = 'parked'")
        .bind(&fingerprint.0)
        .bind(stream.as_str())
        .execute(connection)
        .await
        .map_err(storage)?;
    Ok(())
}
