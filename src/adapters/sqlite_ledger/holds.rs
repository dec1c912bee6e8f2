//! Holds: what windows share and are held up by. And the time that was confirmed last, which decides about one of them.

use jiff::{SignedDuration, Timestamp};
use sqlx::SqliteConnection;

use super::connection::storage;
use super::rows::{ms, to_json};
use crate::domain::confirmed_time::{AGREEMENT, Confirmation};
use crate::domain::pause::LONGEST_PAUSE;
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
    .bind(hold.failure.message.stored())
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
    // One that ends later than any pause can, or whose failure is still to come, was set by a clock that was ahead: it is over.
    let longest = SignedDuration::try_from(LONGEST_PAUSE).unwrap_or(SignedDuration::MAX);
    let out_of_reach = until.saturating_add(longest).unwrap_or(Timestamp::MAX);
    let removed = sqlx::query(
        "DELETE FROM holds WHERE resource = ? AND (until_ms <= ? OR until_ms > ? OR failed_at_ms > ?)",
    )
    .bind(to_json(resource)?)
    .bind(ms(until))
    .bind(ms(out_of_reach))
    .bind(ms(until.saturating_add(AGREEMENT).unwrap_or(Timestamp::MAX)))
    .execute(connection)
    .await
    .map_err(storage)?;
    Ok(removed.rows_affected() > 0)
}

pub(super) async fn confirm(
    connection: &mut SqliteConnection,
    confirmed: &Confirmation,
) -> Result<(), LedgerError> {
    sqlx::query("INSERT OR REPLACE INTO confirmed_time (one, at_ms, host) VALUES (1, ?, ?)")
        .bind(ms(confirmed.at))
        .bind(&confirmed.host)
        .execute(connection)
        .await
        .map_err(storage)?;
    Ok(())
}
