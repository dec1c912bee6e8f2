//! The newest run of a process over the ledger.

use sqlx::{SqliteConnection, SqliteExecutor};

use super::connection::{storage, unreadable};
use super::rows::{get, instant, ms, optional_instant};
use crate::domain::snapshot::Run;
use crate::ports::ledger::LedgerError;

pub(super) async fn put(connection: &mut SqliteConnection, run: &Run) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT OR REPLACE INTO run (one, daemon, pid, started_at_ms, looked_at_ms, config)
         VALUES (1, ?, ?, ?, ?, ?)",
    )
    .bind(run.is_daemon)
    .bind(i64::from(run.pid))
    .bind(ms(run.started_at))
    .bind(run.looked_at.map(ms))
    .bind(run.config.as_deref())
    .execute(connection)
    .await
    .map_err(storage)?;
    Ok(())
}

pub(super) async fn newest(executor: impl SqliteExecutor<'_>) -> Result<Option<Run>, LedgerError> {
    let row = sqlx::query("SELECT daemon, pid, started_at_ms, looked_at_ms, config FROM run");
    let Some(row) = row.fetch_optional(executor).await.map_err(storage)? else { return Ok(None) };
    Ok(Some(Run {
        is_daemon: get(&row, "daemon")?,
        pid: u32::try_from(get::<i64, _>(&row, "pid")?).map_err(|e| unreadable("a process id", e))?,
        started_at: instant(&row, "started_at_ms")?,
        looked_at: optional_instant(&row, "looked_at_ms")?,
        config: get(&row, "config")?,
    }))
}
