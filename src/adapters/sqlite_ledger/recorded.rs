//! What is recorded for those who only look: fingerprints of the last run; and when each start of a stream was promised.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::{SqliteConnection, SqliteExecutor};

use super::connection::storage;
use super::rows::{get, instant, json, ms, parsed, to_json};
use crate::domain::name::StreamName;
use crate::domain::snapshot::{Fingerprint, Resource};
use crate::ports::ledger::LedgerError;

pub(super) async fn put_fingerprint(
    connection: &mut SqliteConnection,
    resource: &Resource,
    fingerprint: &Fingerprint,
) -> Result<(), LedgerError> {
    sqlx::query("INSERT OR REPLACE INTO fingerprints (resource, fingerprint) VALUES (?, ?)")
        .bind(to_json(resource)?)
        .bind(&fingerprint.0)
        .execute(connection)
        .await
        .map_err(storage)?;
    Ok(())
}

pub(super) async fn fingerprints(
    executor: impl SqliteExecutor<'_>,
) -> Result<BTreeMap<Resource, Fingerprint>, LedgerError> {
    let rows = sqlx::query("SELECT resource, fingerprint FROM fingerprints").fetch_all(executor).await;
    let rows = rows.map_err(storage)?;
    rows.iter().map(|row| Ok((json(row, "resource")?, Fingerprint(get(row, "fingerprint")?)))).collect()
}

/// A log says for the first time that it holds what is from `start` on.
pub(super) async fn put_opening(
    connection: &mut SqliteConnection,
    stream: &StreamName,
    start: Timestamp,
    opened_at: Timestamp,
) -> Result<(), LedgerError> {
    sqlx::query("INSERT OR IGNORE INTO openings (stream, start_ms, opened_at_ms) VALUES (?, ?, ?)")
        .bind(stream.as_str())
        .bind(ms(start))
        .bind(ms(opened_at))
        .execute(connection)
        .await
        .map_err(storage)?;
    Ok(())
}

pub(super) async fn openings(
    executor: impl SqliteExecutor<'_>,
) -> Result<BTreeMap<StreamName, BTreeMap<Timestamp, Timestamp>>, LedgerError> {
    let rows = sqlx::query("SELECT stream, start_ms, opened_at_ms FROM openings").fetch_all(executor).await;
    let mut openings: BTreeMap<StreamName, BTreeMap<_, _>> = BTreeMap::new();
    for row in rows.map_err(storage)? {
        let promised = (instant(&row, "start_ms")?, instant(&row, "opened_at_ms")?);
        openings.entry(parsed(&row, "stream")?).or_default().extend([promised]);
    }
    Ok(openings)
}
