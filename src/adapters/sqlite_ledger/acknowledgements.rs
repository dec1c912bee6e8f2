//! Losses that a person has taken note of: what the log says of them, and what it is asked to say.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, SqliteExecutor};

use super::connection::{storage, unreadable};
use super::rows::{get, instant, ms, number, parsed, seq, window};
use crate::domain::log_entry::{Acknowledged, SealedEntry};
use crate::domain::name::StreamName;
use crate::domain::snapshot::{AcknowledgeRequest, Acknowledgement};
use crate::domain::text::Line;
use crate::domain::window::Window;
use crate::ports::ledger::LedgerError;

type ByWindow<T> = BTreeMap<StreamName, BTreeMap<Window, T>>;

/// Takes over an `acknowledged` entry, in place of an earlier one of its window.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    sealed: &SealedEntry,
    acknowledged: &Acknowledged,
) -> Result<(), LedgerError> {
    let Acknowledged { window, entry, by, reason } = acknowledged;
    // An entry that names a later one, or itself, acknowledges nothing: `verify` reports it.
    if *entry >= sealed.entry().seq {
        return Ok(());
    }
    sqlx::query(
        "INSERT OR REPLACE INTO acknowledgements (stream, start_ms, end_ms, entry, seq, by_whom, reason, at_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(stream.as_str())
    .bind(ms(window.start()))
    .bind(ms(window.end()))
    .bind(number(entry.get(), "a sequence number")?)
    .bind(number(sealed.entry().seq.get(), "a sequence number")?)
    .bind(by.as_str())
    .bind(reason.as_str())
    .bind(ms(sealed.entry().recorded_at))
    .execute(connection)
    .await
    .map_err(storage)?;
    Ok(())
}

/// Remembers a request, in place of an earlier one for the window.
pub(super) async fn ask(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    window: Window,
    request: &AcknowledgeRequest,
) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT INTO acknowledge_requests (stream, start_ms, end_ms, entry, by_whom, reason)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(stream.as_str())
    .bind(ms(window.start()))
    .bind(ms(window.end()))
    .bind(number(request.entry.get(), "a sequence number")?)
    .bind(request.by.as_str())
    .bind(request.reason.as_str())
    .execute(connection)
    .await
    .map_err(storage)?;
    Ok(())
}

/// Forgets the request for a window whose state has changed, or that is acknowledged now.
pub(super) async fn end_request(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    window: Window,
) -> Result<(), LedgerError> {
    sqlx::query("DELETE FROM acknowledge_requests WHERE stream = ? AND start_ms = ? AND end_ms = ?")
        .bind(stream.as_str())
        .bind(ms(window.start()))
        .bind(ms(window.end()))
        .execute(connection)
        .await
        .map_err(storage)?;
    Ok(())
}

/// The highest number that a request ever had.
pub(super) async fn asked_for(executor: impl SqliteExecutor<'_>) -> Result<u64, LedgerError> {
    let highest: Option<i64> =
        sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'acknowledge_requests'")
            .fetch_optional(executor)
            .await
            .map_err(storage)?;
    u64::try_from(highest.unwrap_or(0)).map_err(|e| unreadable("a number of requests", e))
}

/// The newest acknowledgement of each window. That of an object which was archived unread goes on counting when later entries
/// archive other bytes that cannot be read either, and none between them could be read: the gap is the same one.
pub(super) async fn acknowledged(
    executor: impl SqliteExecutor<'_>,
) -> Result<ByWindow<Acknowledgement>, LedgerError> {
    let rows = sqlx::query(
        "SELECT a.stream, a.start_ms, a.end_ms, a.seq, a.by_whom, a.reason, a.at_ms,
             iif(w.state = 'archived' AND w.unread IS NOT NULL AND w.seq > a.entry
                 AND EXISTS (SELECT 1 FROM objects o WHERE o.stream = a.stream AND o.start_ms = a.start_ms
                     AND o.role = 'archived' AND o.seq = a.entry)
                 AND NOT EXISTS (SELECT 1 FROM objects o WHERE o.stream = a.stream AND o.start_ms = a.start_ms
                     AND o.role = 'archived' AND o.seq >= a.entry AND o.rows IS NOT NULL),
                 w.seq, a.entry) AS entry
         FROM acknowledgements a
         LEFT JOIN windows w ON w.stream = a.stream AND w.start_ms = a.start_ms AND w.end_ms = a.end_ms",
    );
    let rows = rows.fetch_all(executor).await.map_err(storage)?;
    by_window(&rows, |row| {
        Ok(Acknowledgement {
            seq: seq(row, "seq")?,
            entry: seq(row, "entry")?,
            by: line(row, "by_whom")?,
            reason: line(row, "reason")?,
            at: instant(row, "at_ms")?,
        })
    })
}

/// What is still to be written.
pub(super) async fn requests(
    executor: impl SqliteExecutor<'_>,
) -> Result<ByWindow<AcknowledgeRequest>, LedgerError> {
    let rows =
        sqlx::query("SELECT stream, start_ms, end_ms, entry, by_whom, reason FROM acknowledge_requests");
    let rows = rows.fetch_all(executor).await.map_err(storage)?;
    by_window(&rows, |row| {
        Ok(AcknowledgeRequest {
            entry: seq(row, "entry")?,
            by: line(row, "by_whom")?,
            reason: line(row, "reason")?,
        })
    })
}

fn by_window<T>(
    rows: &[SqliteRow],
    read: impl Fn(&SqliteRow) -> Result<T, LedgerError>,
) -> Result<ByWindow<T>, LedgerError> {
    let mut found = ByWindow::new();
    for row in rows {
        found.entry(parsed(row, "stream")?).or_default().insert(window(row)?, read(row)?);
    }
    Ok(found)
}

fn line(row: &SqliteRow, column: &'static str) -> Result<Line, LedgerError> {
    Ok(get::<String, _>(row, column)?.into())
}
