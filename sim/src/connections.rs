//! The two v2 operations on connection records: export and query.

use axum::http::{StatusCode, header};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    answer::{Answer, Payload},
    bulk,
    records::Record,
    render,
    selection::{BadRequest, Language, Page, Selection},
    server::Shared,
};

/// Why there is no proper answer.
pub(crate) enum Failure {
    BadRequest(BadRequest),
    Internal(render::RenderError),
}

impl From<BadRequest> for Failure {
    fn from(error: BadRequest) -> Self {
        Self::BadRequest(error)
    }
}

/// The file itself in the body, `omitted` records short.
pub(crate) async fn export(
    shared: &Shared,
    pairs: &[(String, String)],
    now: Timestamp,
    omitted: u64,
) -> Result<Answer, Failure> {
    let selection = Selection::read(pairs)?;
    let language = selection.language;
    let (payload, extension) = if let Some(rows) = shared.bulk_rows {
        let rows = bulk::rows_within(rows, &selection).saturating_sub(omitted);
        let stream = bulk::csv(rows, &selection).map_err(|error| Failure::Internal(error.into()))?;
        (Payload::Streamed(stream), extension(shared))
    } else {
        let records = select(shared, &selection, now, omitted);
        let whole = Payload::Whole(rendered(shared, records, language, now).await?.into());
        let payload = if shared.chunked { Payload::Streamed(whole.into_stream()) } else { whole };
        (payload, extension(shared))
    };
    let disposition = format!("attachment; filename=\"connection_records.{extension}\"");
    Ok(Answer::new(StatusCode::OK, &shared.content_type, payload)
        .with_header(header::CONTENT_DISPOSITION, disposition))
}

/// The records as a file.
pub(crate) async fn rendered(
    shared: &Shared,
    records: Vec<Record>,
    language: Language,
    now: Timestamp,
) -> Result<Vec<u8>, Failure> {
    let (format, created) = (shared.format, shared.creation_time(now));
    // A large workbook takes seconds to make, which other requests must not wait for.
    tokio::task::spawn_blocking(move || render::file(&records, format, language, created))
        .await
        .map_err(|error| Failure::Internal(error.into()))?
        .map_err(Failure::Internal)
}

/// For the names of files.
pub(crate) fn extension(shared: &Shared) -> &'static str {
    if shared.bulk_rows.is_some() { "csv" } else { shared.format.extension() }
}

/// One page of the records, and how many there are in all, both `omitted` records short.
pub(crate) fn query(
    shared: &Shared,
    pairs: &[(String, String)],
    now: Timestamp,
    omitted: u64,
) -> Result<Answer, Failure> {
    let selection = Selection::read(pairs)?;
    let Page { offset, limit } = Page::read(pairs)?;
    let (total, page) = if let Some(rows) = shared.bulk_rows {
        let rows = bulk::rows_within(rows, &selection).saturating_sub(omitted);
        (rows, bulk::page(rows, &selection, offset, limit))
    } else {
        let records = select(shared, &selection, now, omitted);
        let total = records.len() as u64;
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        // A page has at most 100 records.
        let page = records.into_iter().skip(skipped).take(limit as usize).collect();
        (total, page)
    };
    Ok(Answer::json(StatusCode::OK, &json!({ "total_count": total, "records": page })))
}

/// The records asked for, of those the provider has at `now`: none from the future, none past the horizon.
pub(crate) fn select(shared: &Shared, selection: &Selection, now: Timestamp, omitted: u64) -> Vec<Record> {
    let held = |start: Timestamp| {
        let age = now.duration_since(start);
        !age.is_negative() && shared.horizon.is_none_or(|horizon| age.unsigned_abs() <= horizon)
    };
    let mut records = shared
        .records
        .matching(|record| held(record.connection_start_time) && selection.admits(record, shared.bounds));
    let kept = (records.len() as u64).saturating_sub(omitted);
    // Not more than the length, which is a usize.
    records.truncate(kept as usize);
    records.into_iter().map(|record| record.known_at(now)).collect()
}
