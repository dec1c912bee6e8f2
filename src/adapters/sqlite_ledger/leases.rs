//! Leases, attempts, and what becomes of a window after a failure.

use jiff::{SignedDuration, Timestamp};
use sqlx::{Row, SqliteConnection};

use super::connection::{storage, unreadable};
use super::rows::{get, ms, optional_instant, to_json};
use crate::domain::backoff::PARKED_RETRY;
use crate::domain::failure::{Failure, FailureKind};
use crate::domain::name::StreamName;
use crate::domain::pause::goes_on;
use crate::domain::snapshot::is_loss_believed;
use crate::domain::window::Window;
use crate::ports::ledger::{
    AttemptId, AttemptOutcome, Disposition, Lease, LeaseOutcome, LedgerError, Purpose,
};

pub(super) async fn lease(
    connection: &mut SqliteConnection,
    (stream, window): (&StreamName, Window),
    purpose: Purpose,
    holder: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<LeaseOutcome, LedgerError> {
    let row = sqlx::query(
        "INSERT INTO windows (stream, start_ms, end_ms) VALUES (?, ?, ?)
         ON CONFLICT (stream, start_ms, end_ms) DO UPDATE SET state = state
         RETURNING state, settled_at_ms, lease_generation, leased_until_ms",
    )
    .bind(stream.as_str())
    .bind(ms(window.start()))
    .bind(ms(window.end()))
    .fetch_one(&mut *connection)
    .await
    .map_err(storage)?;
    if purpose == Purpose::Settle && get::<&str, _>(&row, "state")? == "archived" {
        return Ok(LeaseOutcome::Settled);
    }
    if let Some(held) = optional_instant(&row, "leased_until_ms")?.filter(|held| goes_on(*held, now)) {
        return Ok(LeaseOutcome::HeldElsewhere { until: held });
    }
    let generation = get::<i64, _>(&row, "lease_generation")? + 1;
    let loss = optional_instant(&row, "settled_at_ms")?;
    let reopened = get::<&str, _>(&row, "state")? == "lost"
        && loss.is_some_and(|recorded_at| !is_loss_believed(window, recorded_at, now));
    // A parked window that is tried again is open again; why it was parked stays to be read. So is one whose loss is not
    // believed. That somebody asked for one that is archived unread is forgotten only when its export has come.
    sqlx::query(
        "UPDATE windows SET state = CASE WHEN state = 'parked' OR ?1 THEN 'open' ELSE state END,
             seq = iif(?1, NULL, seq), settled_at_ms = iif(?1, NULL, settled_at_ms), 
             retry_at_ms = iif(unread IS NULL, NULL, retry_at_ms),
             lease_generation = ?2, lease_holder = ?3, leased_until_ms = ?4, in_work = 1
         WHERE stream = ?5 AND start_ms = ?6 AND end_ms = ?7",
    )
    .bind(reopened)
    .bind(generation)
    .bind(holder)
    .bind(ms(until))
    .bind(stream.as_str())
    .bind(ms(window.start()))
    .bind(ms(window.end()))
    .execute(&mut *connection)
    .await
    .map_err(storage)?;
    let attempt = sqlx::query(
        "INSERT INTO attempts (stream, start_ms, end_ms, holder, started_at_ms) VALUES (?, ?, ?, ?, ?)
         RETURNING attempt",
    )
    .bind(stream.as_str())
    .bind(ms(window.start()))
    .bind(ms(window.end()))
    .bind(holder)
    .bind(ms(now))
    .fetch_one(connection)
    .await
    .map_err(storage)?;
    Ok(LeaseOutcome::Leased(Lease {
        stream: stream.clone(),
        window,
        holder: holder.to_owned(),
        generation: u64::try_from(generation).map_err(|e| unreadable("a generation", e))?,
        attempt: AttemptId(attempt.try_get("attempt").map_err(storage)?),
    }))
}

/// Whether the statement that was to change the leased window's row did.
fn still_ours(lease: &Lease, changed: u64) -> Result<(), LedgerError> {
    if changed == 1 {
        Ok(())
    } else {
        Err(LedgerError::StaleLease { stream: lease.stream.clone(), window: lease.window })
    }
}

pub(super) async fn renew(
    connection: &mut SqliteConnection,
    lease: &Lease,
    until: Timestamp,
) -> Result<(), LedgerError> {
    set_lease(connection, lease, Lasts::Until(until)).await
}

/// Gives the lease back of an attempt that ended so. An interruption says nothing of the ends of the process before it.
pub(super) async fn give_back(
    connection: &mut SqliteConnection,
    lease: &Lease,
    outcome: AttemptOutcome,
) -> Result<(), LedgerError> {
    set_lease(connection, lease, Lasts::NoLonger { interrupted: outcome == AttemptOutcome::Interrupted })
        .await
}

enum Lasts {
    Until(Timestamp),
    NoLonger { interrupted: bool },
}

async fn set_lease(
    connection: &mut SqliteConnection,
    lease: &Lease,
    lasts: Lasts,
) -> Result<(), LedgerError> {
    let (until, survived) = match lasts {
        Lasts::Until(until) => (Some(ms(until)), false),
        Lasts::NoLonger { interrupted } => (None, !interrupted),
    };
    let changed = sqlx::query(
        "UPDATE windows SET lease_holder = iif(?1 IS NULL, NULL, lease_holder), leased_until_ms = ?1,
             in_work = iif(?1 IS NULL, 0, in_work), crashes = iif(?2, 0, crashes)
         WHERE stream = ?3 AND start_ms = ?4 AND end_ms = ?5 AND lease_holder = ?6 AND lease_generation = ?7",
    )
    .bind(until)
    .bind(survived)
    .bind(lease.stream.as_str())
    .bind(ms(lease.window.start()))
    .bind(ms(lease.window.end()))
    .bind(&lease.holder)
    .bind(i64::try_from(lease.generation).map_err(|e| unreadable("a generation", e))?)
    .execute(connection)
    .await
    .map_err(storage)?;
    still_ours(lease, changed.rows_affected())
}

pub(super) async fn end_attempt(
    connection: &mut SqliteConnection,
    lease: &Lease,
    outcome: AttemptOutcome,
    failure: Option<(&Failure, &Disposition)>,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let charged = failure.is_some_and(|(_, disposition)| *disposition != Disposition::NotCharged);
    let failure = failure.map(|(failure, _)| failure);
    sqlx::query(
        "UPDATE attempts SET ended_at_ms = ?, outcome = ?, failure_kind = ?, message = ?, request_ids = ?, charged = ?
         WHERE attempt = ?",
    )
    .bind(ms(now))
    .bind(outcome.as_str())
    .bind(failure.map(|failure| failure.kind.as_str()))
    .bind(failure.map(|failure| failure.message.stored()))
    .bind(to_json(&failure.map_or(&[][..], |failure| &failure.request_ids))?)
    .bind(charged)
    .bind(lease.attempt.0)
    .execute(connection)
    .await
    .map_err(storage)?;
    Ok(())
}

pub(super) async fn dispose(
    connection: &mut SqliteConnection,
    lease: &Lease,
    failure: &Failure,
    disposition: &Disposition,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let park_end = SignedDuration::try_from(PARKED_RETRY).ok().and_then(|pause| now.checked_add(pause).ok());
    let (state, retry_at, fingerprint, revisit_at) = match disposition {
        Disposition::NotCharged => return Ok(()),
        Disposition::Retry { at } => ("open", Some(ms(*at)), None, Some(ms(*at))),
        Disposition::Park { fingerprint } => {
            ("parked", None, Some(fingerprint.0.as_str()), Some(ms(park_end.unwrap_or(Timestamp::MAX))))
        }
    };
    // A window that the log settles stays settled: trying it again was an extra. It only pauses, so that a revisit that
    // fails does not begin again at once.
    sqlx::query(
        "UPDATE windows SET state = iif(state = 'archived', state, ?1), failures = failures + 1,
             corrupt = corrupt + ?2, retry_at_ms = iif(state = 'archived', ?3, ?4), failure_kind = ?5,
             failure_message = ?6, failed_at_ms = ?7, fingerprint = iif(state = 'archived', NULL, ?8)
         WHERE stream = ?9 AND start_ms = ?10 AND end_ms = ?11 AND state IN ('open', 'parked', 'archived')",
    )
    .bind(state)
    .bind(i64::from(failure.kind == FailureKind::Corrupt))
    .bind(revisit_at)
    .bind(retry_at)
    .bind(failure.kind.as_str())
    .bind(failure.message.stored())
    .bind(ms(now))
    .bind(fingerprint)
    .bind(lease.stream.as_str())
    .bind(ms(lease.window.start()))
    .bind(ms(lease.window.end()))
    .execute(connection)
    .await
    .map_err(storage)?;
    Ok(())
}

/// The leased window was pulled, and the log says already what came.
pub(super) async fn pulled_again(
    connection: &mut SqliteConnection,
    lease: &Lease,
    pulled_at: Timestamp,
) -> Result<(), LedgerError> {
    sqlx::query(
        "UPDATE windows SET pulled_at_ms = max(pulled_at_ms, ?), failures = 0, corrupt = 0, retry_at_ms = NULL,
             failure_kind = NULL, failure_message = NULL, failed_at_ms = NULL
         WHERE stream = ? AND start_ms = ? AND end_ms = ? AND state = 'archived'",
    )
    .bind(ms(pulled_at))
    .bind(lease.stream.as_str())
    .bind(ms(lease.window.start()))
    .bind(ms(lease.window.end()))
    .execute(connection)
    .await
    .map_err(storage)?;
    Ok(())
}

/// Only what has ended: an attempt that goes on is old by a wrong clock.
pub(super) async fn forget_attempts(
    connection: &mut SqliteConnection,
    before: Timestamp,
) -> Result<u64, LedgerError> {
    let forgotten = sqlx::query("DELETE FROM attempts WHERE started_at_ms < ? AND outcome IS NOT NULL")
        .bind(ms(before))
        .execute(connection)
        .await
        .map_err(storage)?;
    Ok(forgotten.rows_affected())
}

pub(super) async fn retry(
    connection: &mut SqliteConnection,
    stream: Option<&StreamName>,
    window: Option<Window>,
) -> Result<u64, LedgerError> {
    let changed = sqlx::query(
        "UPDATE windows SET state = iif(state IN ('archived', 'lost'), state, 'open'), failures = 0, corrupt = 0, crashes = 0,
             retry_at_ms = iif(unread IS NULL, NULL, 0), fingerprint = NULL
         WHERE (state = 'parked' OR crashes > 0 OR (state IN ('open', 'archived') AND retry_at_ms IS NOT NULL) OR unread IS NOT NULL)
           AND (?1 IS NULL OR stream = ?1) AND (?2 IS NULL OR (start_ms = ?2 AND end_ms = ?3))",
    )
    .bind(stream.map(StreamName::as_str))
    .bind(window.map(|window| ms(window.start())))
    .bind(window.map(|window| ms(window.end())))
    .execute(connection)
    .await
    .map_err(storage)?;
    Ok(changed.rows_affected())
}
