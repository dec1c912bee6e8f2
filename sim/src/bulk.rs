//! Exports of any number of rows, made while they are sent: for tests of how much memory a client needs.
//!
//! A few hundred rows are rendered once per request; each row sent is one of them with a transaction id of its
//! own, so that all rows differ and none has to be kept.

use std::io;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};

use crate::{
    answer::ByteStream,
    records::Record,
    render,
    seed::{self, SplitMix},
    selection::Selection,
};

/// How many rows differ in more than their id.
const TEMPLATES: u64 = 499;
/// About how many bytes are made at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Ids are the last column: a row is its template without one, the id, and the end of the row.
const ID_BYTES: usize = 36;

/// The export as CSV in UTF-8, `rows` rows after the header; filters are ignored, and every row's start lies
/// strictly within the bounds asked for (or, without any, somewhere on 2026-01-01).
pub(crate) fn csv(rows: u64, selection: &Selection) -> io::Result<ByteStream> {
    let mut templates = Vec::new();
    for n in 0..rows.min(TEMPLATES) {
        let mut row = render::csv_rows([record(n, selection).cells()])?;
        row.truncate(row.len() - ID_BYTES - b"\r\n".len());
        templates.push(row);
    }
    let header = render::csv_rows([render::header(selection.language)])?;
    let body = stream::unfold(0, move |mut n| {
        let chunk = (n < rows).then(|| {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES + 1024);
            while n < rows && chunk.len() < CHUNK_BYTES {
                // There is a template for every remainder, and the remainder fits any usize.
                chunk.extend_from_slice(&templates[(n % TEMPLATES) as usize]);
                chunk.extend_from_slice(transaction_id(n).as_bytes());
                chunk.extend_from_slice(b"\r\n");
                n += 1;
            }
            (Ok(Bytes::from(chunk)), n)
        });
        std::future::ready(chunk)
    });
    Ok(stream::iter([Ok(Bytes::from(header))]).chain(body).boxed())
}

/// The records of one page of the query over the same rows.
pub(crate) fn page(rows: u64, selection: &Selection, offset: u64, limit: u64) -> Vec<Record> {
    let end = offset.saturating_add(limit).min(rows);
    (offset..end).map(|n| record(n, selection)).collect()
}

/// How many rows there are: none where no whole second lies strictly between the bounds.
pub(crate) fn rows_within(rows: u64, selection: &Selection) -> u64 {
    match selection.window {
        Some((start, end)) if end.duration_since(start).as_secs() < 2 => 0,
        _ => rows,
    }
}

fn record(n: u64, selection: &Selection) -> Record {
    let template = n % TEMPLATES;
    let (start, seconds) = match selection.window {
        Some((start, end)) => (start, end.duration_since(start).as_secs()),
        None => (Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 20_454), 86_400),
    };
    // Bounds are whole seconds, and there are rows only where at least one lies strictly between them.
    let offset = 1 + template.cast_signed() * (seconds - 1).max(1) / TEMPLATES.cast_signed();
    let mut record = seed::record(start + SignedDuration::from_secs(offset), template);
    record.transaction_id = transaction_id(n);
    record
}

fn transaction_id(n: u64) -> String {
    // Mixed before it seeds, or the id of n would be a shift of that of n + 1.
    SplitMix::new(SplitMix::new(n).next()).uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_starts_strictly_within_the_bounds() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let pairs = [pair("start_time", "2026-11-23T00:00Z"), pair("end_time", "2026-11-23T00:01Z")];
        let selection = Selection::read(&pairs).unwrap();
        let (start, end) = selection.window.unwrap();
        let records = page(1000, &selection, 0, 1000);
        assert_eq!(records.len(), 1000);
        assert!(
            records
                .iter()
                .all(|record| start < record.connection_start_time && record.connection_start_time < end)
        );
    }
}
