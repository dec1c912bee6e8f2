//! Reading: the planner's snapshot and what commands ask for.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteExecutor, SqlitePool};

use super::connection::{storage, unreadable};
use super::rows::{
    count, failure_kind, failure_note, get, instant, json, ms, note, optional_instant, optional_number,
    optional_parsed, optional_seq, parsed, revision, seq, window,
};
use super::{acknowledgements, crashes, notebook, recorded, run};
use crate::domain::confirmed_time::Confirmation;
use crate::domain::content::{Content, Marks};
use crate::domain::count::CountVerdict;
use crate::domain::digest::ContentDigest;
use crate::domain::log_entry::Head;
use crate::domain::message::Message;
use crate::domain::name::StreamName;
use crate::domain::object_key::Seq;
use crate::domain::snapshot::{
    FailureNote, Fingerprint, Hold, Resource, SaidOfParked, Snapshot, StreamState, WindowState,
};
use crate::domain::window::Window;
use crate::ports::ledger::{Attempt, AttemptId, AttemptOutcome, LedgerError, NamedObject};

pub(super) async fn snapshot(readers: &SqlitePool) -> Result<Snapshot, LedgerError> {
    // One transaction: the parts are of the same instant.
    let mut transaction = readers.begin().await.map_err(storage)?;
    let snapshot = Snapshot {
        streams: streams(&mut *transaction).await?,
        windows: windows(&mut *transaction).await?,
        acknowledged: acknowledgements::acknowledged(&mut *transaction).await?,
        to_acknowledge: acknowledgements::requests(&mut *transaction).await?,
        crashes: crashes::crashes(&mut *transaction).await?,
        holds: holds(&mut *transaction).await?,
        notes: notebook::notes(&mut *transaction).await?,
        confirmed: confirmed(&mut *transaction).await?,
        fingerprints: recorded::fingerprints(&mut *transaction).await?,
        openings: recorded::openings(&mut *transaction).await?,
        run: run::newest(&mut *transaction).await?,
    };
    transaction.rollback().await.map_err(storage)?;
    Ok(snapshot)
}

async fn streams(
    executor: impl SqliteExecutor<'_>,
) -> Result<BTreeMap<StreamName, StreamState>, LedgerError> {
    let rows =
        sqlx::query("SELECT stream, definition, head_seq, head_hash, signed, recorded_at_ms FROM streams");
    let rows = rows.fetch_all(executor).await.map_err(storage)?;
    rows.iter().map(|row| Ok((parsed(row, "stream")?, stream_state(row)?))).collect()
}

fn stream_state(row: &SqliteRow) -> Result<StreamState, LedgerError> {
    let head = Head { seq: seq(row, "head_seq")?, hash: parsed(row, "head_hash")? };
    let recorded_at = optional_instant(row, "recorded_at_ms")?;
    let signed = get(row, "signed")?;
    Ok(StreamState { definition: json(row, "definition")?, head, signed, recorded_at })
}

/// The newest time that somebody else confirmed.
async fn confirmed(executor: impl SqliteExecutor<'_>) -> Result<Option<Confirmation>, LedgerError> {
    let row = sqlx::query("SELECT at_ms, host FROM confirmed_time").fetch_optional(executor).await;
    let confirmation =
        |row: &SqliteRow| Ok(Confirmation { at: instant(row, "at_ms")?, host: get(row, "host")? });
    row.map_err(storage)?.as_ref().map(confirmation).transpose()
}

pub(super) async fn stream(
    executor: impl SqliteExecutor<'_>,
    stream: &StreamName,
) -> Result<Option<StreamState>, LedgerError> {
    let row = sqlx::query(
        "SELECT definition, head_seq, head_hash, signed, recorded_at_ms FROM streams WHERE stream = ?",
    )
    .bind(stream.as_str())
    .fetch_optional(executor)
    .await
    .map_err(storage)?;
    row.as_ref().map(stream_state).transpose()
}

type Windows = BTreeMap<StreamName, BTreeMap<Window, WindowState>>;

pub(super) async fn window_state_of(
    readers: &SqlitePool,
    stream: &StreamName,
    window: Window,
) -> Result<Option<WindowState>, LedgerError> {
    let row = sqlx::query(
        "SELECT state, seq, revision, settled_at_ms, failures, corrupt, retry_at_ms, failure_kind, failure_message,
                failed_at_ms, fingerprint, parked_seq, parked_since_ms, parked_kind, parked_reason, leased_until_ms,
                pulled_at_ms, count, unread, open_records, out_of_bounds, same_content_as
         FROM windows WHERE stream = ? AND start_ms = ? AND end_ms = ?",
    )
    .bind(stream.as_str())
    .bind(ms(window.start()))
    .bind(ms(window.end()))
    .fetch_optional(readers)
    .await
    .map_err(storage)?;
    row.as_ref().map(window_state).transpose()
}

async fn windows(executor: impl SqliteExecutor<'_>) -> Result<Windows, LedgerError> {
    let rows = sqlx::query(
        "SELECT stream, start_ms, end_ms, state, seq, revision, settled_at_ms, failures, corrupt, retry_at_ms,
                failure_kind, failure_message, failed_at_ms, fingerprint, parked_seq, parked_since_ms, parked_kind,
                parked_reason, leased_until_ms, pulled_at_ms, count, unread, open_records, out_of_bounds, same_content_as
         FROM windows",
    );
    // Row by row: as rows they take many times the memory of what is made of them, and there may be very many.
    let mut rows = rows.fetch(executor);
    let mut windows = Windows::new();
    while let Some(row) = rows.try_next().await.map_err(storage)? {
        windows.entry(parsed(&row, "stream")?).or_default().insert(window(&row)?, window_state(&row)?);
    }
    Ok(windows)
}

fn window_state(row: &SqliteRow) -> Result<WindowState, LedgerError> {
    match get(row, "state")? {
        "open" => Ok(WindowState::Open {
            failures: count(row, "failures")?,
            corrupt: count(row, "corrupt")?,
            retry_at: optional_instant(row, "retry_at_ms")?,
            last_failure: failure_note(row)?,
            leased_until: optional_instant(row, "leased_until_ms")?,
        }),
        "parked" => parked(row),
        "archived" => Ok(WindowState::Archived {
            seq: seq(row, "seq")?,
            revision: revision(row)?,
            count: count_verdict(get(row, "count")?)?,
            content: content(row)?,
            last_pulled_at: instant(row, "pulled_at_ms")?,
            failures: count(row, "failures")?,
            corrupt: count(row, "corrupt")?,
            retry_at: optional_instant(row, "retry_at_ms")?,
            leased_until: optional_instant(row, "leased_until_ms")?,
        }),
        "lost" => Ok(WindowState::Lost { seq: seq(row, "seq")?, since: instant(row, "settled_at_ms")? }),
        other => Err(unreadable("a window's state", other)),
    }
}

fn content(row: &SqliteRow) -> Result<Content, LedgerError> {
    Ok(match get::<Option<String>, _>(row, "unread")? {
        Some(reason) => Content::Unread { reason: reason.into() },
        None => Content::Read(Marks {
            open_records: optional_number(row, "open_records")?,
            out_of_bounds: get(row, "out_of_bounds")?,
            same_content_as: optional_seq(row, "same_content_as")?,
        }),
    })
}

/// A parked window. Its entries say why it is parked as long as the last failure has a reason that one of them gives.
fn parked(row: &SqliteRow) -> Result<WindowState, LedgerError> {
    let failure = failure_note(row)?.ok_or_else(|| unreadable("a parked window", "no failure"))?;
    let said = said_of_parked(row)?;
    let since = said.as_ref().filter(|said| said.newest.is_for_the_reason_of(&failure));
    Ok(WindowState::Parked {
        since: since.map_or(failure.at, |said| said.newest.at),
        seq: match said.is_some_and(|said| said.is_enough_for(&failure)) {
            true => optional_seq(row, "parked_seq")?,
            false => None,
        },
        failure,
        fingerprint: get::<Option<String>, _>(row, "fingerprint")?.map(Fingerprint),
    })
}

/// What the window's entries say of it. In the column of the reason each earlier one has a line: its kind, and its reason.
fn said_of_parked(row: &SqliteRow) -> Result<Option<SaidOfParked>, LedgerError> {
    let Some(newest) = note(row, ["parked_kind", "parked_reason", "parked_since_ms"])? else {
        return Ok(None);
    };
    let mut lines = get::<&str, _>(row, "parked_reason")?.split('\n');
    let newest = FailureNote { message: lines.next().unwrap_or_default().into(), ..newest };
    let earlier = lines.filter_map(|line| line.split_once(' '));
    let earlier = earlier.map(|(kind, reason)| Ok((failure_kind(kind)?, reason.into())));
    Ok(Some(SaidOfParked { newest, earlier: earlier.collect::<Result<_, LedgerError>>()? }))
}

fn count_verdict(text: &str) -> Result<CountVerdict, LedgerError> {
    CountVerdict::deserialize(IntoDeserializer::<serde::de::value::Error>::into_deserializer(text))
        .map_err(|e| unreadable("a count's verdict", e))
}

async fn holds(executor: impl SqliteExecutor<'_>) -> Result<BTreeMap<Resource, Hold>, LedgerError> {
    let rows = sqlx::query(
        "SELECT resource, until_ms, since_ms, failures, failure_kind, failure_message, failed_at_ms, fingerprint
         FROM holds",
    );
    let rows = rows.fetch_all(executor).await.map_err(storage)?;
    let hold = |row: &SqliteRow| {
        Ok(Hold {
            until: instant(row, "until_ms")?,
            since: instant(row, "since_ms")?,
            failures: count(row, "failures")?,
            failure: failure_note(row)?.ok_or_else(|| unreadable("a hold", "no failure"))?,
            fingerprint: Fingerprint(get(row, "fingerprint")?),
        })
    };
    rows.iter().map(|row| Ok((json(row, "resource")?, hold(row)?))).collect()
}

pub(super) async fn named_objects(
    readers: &SqlitePool,
    stream: &StreamName,
    window: Window,
) -> Result<Vec<NamedObject>, LedgerError> {
    let rows = sqlx::query(
        "SELECT object_key, bytes, sha256, seq, role, content_digest FROM objects WHERE stream = ? AND start_ms = ? AND end_ms = ?
         ORDER BY seq, object_key",
    )
    .bind(stream.as_str())
    .bind(ms(window.start()))
    .bind(ms(window.end()))
    .fetch_all(readers)
    .await
    .map_err(storage)?;
    let object = |row: &SqliteRow| {
        Ok(NamedObject {
            key: parsed(row, "object_key")?,
            bytes: u64::try_from(get::<i64, _>(row, "bytes")?).map_err(|e| unreadable("a size", e))?,
            sha256: parsed(row, "sha256")?,
            seq: seq(row, "seq")?,
            is_export: get::<&str, _>(row, "role")? == "archived",
            content_digest: optional_parsed(row, "content_digest")?,
        })
    };
    rows.iter().map(object).collect()
}

/// At most so many windows with the same records are looked at: two of them can be neighbours.
const SAME_CONTENT: i64 = 8;

pub(super) async fn same_content(
    readers: &SqlitePool,
    stream: &StreamName,
    own: Window,
    digest: ContentDigest,
) -> Result<Vec<(Window, Seq)>, LedgerError> {
    // In the order of the index: its cost does not grow with the history.
    let rows = sqlx::query(
        "SELECT start_ms, end_ms, seq FROM objects
         WHERE stream = ? AND content_digest = ? AND rows > 0 AND (start_ms <> ? OR end_ms <> ?)
         ORDER BY seq DESC LIMIT ?",
    )
    .bind(stream.as_str())
    .bind(digest.to_string())
    .bind(ms(own.start()))
    .bind(ms(own.end()))
    .bind(SAME_CONTENT)
    .fetch_all(readers)
    .await
    .map_err(storage)?;
    rows.iter().map(|row| Ok((window(row)?, seq(row, "seq")?))).collect()
}

pub(super) async fn attempts(
    readers: &SqlitePool,
    stream: &StreamName,
    window: Window,
) -> Result<Vec<Attempt>, LedgerError> {
    let rows = sqlx::query(
        "SELECT attempt, started_at_ms, ended_at_ms, outcome, failure_kind, message, request_ids, charged
         FROM attempts
         WHERE stream = ? AND start_ms = ? AND end_ms = ? ORDER BY attempt",
    )
    .bind(stream.as_str())
    .bind(ms(window.start()))
    .bind(ms(window.end()))
    .fetch_all(readers)
    .await
    .map_err(storage)?;
    rows.iter().map(attempt).collect()
}

fn attempt(row: &SqliteRow) -> Result<Attempt, LedgerError> {
    let outcome = |text: &str| {
        AttemptOutcome::deserialize(IntoDeserializer::<serde::de::value::Error>::into_deserializer(text))
            .map_err(|e| unreadable("an attempt's outcome", e))
    };
    Ok(Attempt {
        id: AttemptId(get(row, "attempt")?),
        started_at: instant(row, "started_at_ms")?,
        ended_at: optional_instant(row, "ended_at_ms")?,
        outcome: get::<Option<&str>, _>(row, "outcome")?.map(outcome).transpose()?,
        failure: get::<Option<&str>, _>(row, "failure_kind")?.map(failure_kind).transpose()?,
        charged: get(row, "charged")?,
        message: get::<Option<&str>, _>(row, "message")?.map(Message::read),
        request_ids: json(row, "request_ids")?,
    })
}
