//! Attempts that ended with the process: counted at the next start, unless it was announced.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::{SqliteConnection, SqliteExecutor};

use super::connection::storage;
use super::rows::{count, ms, parsed, window};
use crate::domain::failure::Failure;
use crate::domain::name::StreamName;
use crate::domain::window::Window;
use crate::ports::ledger::LedgerError;

const END_ATTEMPTS: &str = "UPDATE attempts SET outcome = 'interrupted' WHERE outcome IS NULL";
const VOID_LEASES: &str =
    "UPDATE windows SET lease_holder = NULL, leased_until_ms = NULL, crashes = crashes + in_work, in_work = 0
     WHERE lease_holder IS NOT NULL";
const CRASHES: &str = "SELECT stream, start_ms, end_ms, crashes FROM windows WHERE crashes > 0";

/// Gives back every lease. What was in work, and was not given notice, ended with its process.
pub(super) async fn void(connection: &mut SqliteConnection) -> Result<u64, LedgerError> {
    sqlx::query(END_ATTEMPTS).execute(&mut *connection).await.map_err(storage)?;
    let voided = sqlx::query(VOID_LEASES).execute(connection).await.map_err(storage)?;
    Ok(voided.rows_affected())
}

/// The end of this process counts against no window that is leased now.
pub(super) async fn give_notice(connection: &mut SqliteConnection) -> Result<(), LedgerError> {
    sqlx::query("UPDATE windows SET in_work = 0 WHERE lease_holder IS NOT NULL")
        .execute(connection)
        .await
        .map_err(storage)?;
    Ok(())
}

/// Parks an open window that nobody holds.
pub(super) async fn park(
    connection: &mut SqliteConnection,
    (stream, window): (&StreamName, Window),
    failure: &Failure,
    now: Timestamp,
) -> Result<(), LedgerError> {
    sqlx::query(
        "UPDATE windows SET state = 'parked', failures = failures + 1, retry_at_ms = NULL, failure_kind = ?,
             failure_message = ?, failed_at_ms = ?, fingerprint = NULL
         WHERE stream = ? AND start_ms = ? AND end_ms = ? AND state = 'open' AND lease_holder IS NULL",
    )
    .bind(failure.kind.as_str())
    .bind(failure.message.stored())
    .bind(ms(now))
    .bind(stream.as_str())
    .bind(ms(window.start()))
    .bind(ms(window.end()))
    .execute(connection)
    .await
    .map_err(storage)?;
    Ok(())
}

/// Attempts in a row that ended with the process, of the windows that have any.
pub(super) async fn crashes(
    executor: impl SqliteExecutor<'_>,
) -> Result<BTreeMap<StreamName, BTreeMap<Window, u32>>, LedgerError> {
    let rows = sqlx::query(CRASHES).fetch_all(executor).await.map_err(storage)?;
    let mut crashes = BTreeMap::<_, BTreeMap<_, _>>::new();
    for row in &rows {
        crashes.entry(parsed(row, "stream")?).or_default().insert(window(row)?, count(row, "crashes")?);
    }
    Ok(crashes)
}

#[cfg(test)]
mod tests {
    use sqlx::Row;

    use super::*;
    use crate::adapters::sqlite_ledger::SqliteLedger;

    #[tokio::test]
    async fn no_start_reads_all_attempts_or_all_windows_to_find_what_was_in_work() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(&folder.path().join("ledger.sqlite3")).await.unwrap();
        let old = "DELETE FROM attempts WHERE started_at_ms < 1 AND outcome IS NOT NULL";
        for (statement, index) in [
            (END_ATTEMPTS, "attempts_open"),
            (VOID_LEASES, "windows_leased"),
            (CRASHES, "windows_crashed"),
            (old, "attempts_by_age"),
        ] {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            let rows = sqlx::query(explain).fetch_all(&ledger.readers).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            assert!(plan.iter().all(|step| step.contains(index)), "{statement}: {plan:?}");
        }
        ledger.close().await;
    }
}
