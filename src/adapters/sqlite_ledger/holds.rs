//! Holds: what windows share and are held up by.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::connection::storage;
use super::rows::{ms, to_json};
use crate::domain::snapshot::{Hold, Resource};
use crate::ports::ledger::LedgerError;

pub(super) async fn put(
    connection: &mut SqliteConnection,
    resource: &Resource,
    hold: &Hold,
) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT OR REPLACE INTO holds
             (resource, until_ms, since_ms, failures, failure_kind, failure_message, failed_at_ms, fingerprint)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(to_json(resource)?)
    .bind(ms(hold.until))
    .bind(ms(hold.since))
    .bind(i64::from(hold.failures))
    .bind(hold.failure.kind.as_str())
    .bind(hold.failure.message.as_str())
    .bind(ms(hold.failure.at))
    .bind(&hold.fingerprint.0)
    .execute(connection)
    .await
    .map_err(storage)?;
    Ok(())
}

pub(super) async fn remove(
    connection: &mut SqliteConnection,
    resource: &Resource,
    until: Timestamp,
) -> Result<bool, LedgerError> {
    let removed = sqlx::query("DELETE FROM holds WHERE resource = ? AND until_ms <= ?")
        .bind(to_json(resource)?)
        .bind(ms(until))
        .execute(connection)
        .await
        .map_err(storage)?;
    Ok(removed.rows_affected() > 0)
}
