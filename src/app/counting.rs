//! Holding an export against the provider's own count: asked for before and after it, so that records which arrive
//! meanwhile make a range.
//!
//! What the key may not ask is recorded as uncounted, with the reason, and never taken for a match. A count that only
//! fails for now fails the attempt, as an export would: better pulled again than archived without a count.

use crate::domain::count::{CountVerdict, Counted, OnCountMismatch};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::ports::record_source::ExportRequest;

use super::failure_policy::of_source;
use super::stream::Stream;

/// What was counted, or why nothing was.
pub(super) type Count = Result<u64, String>;

/// Asks the source for its count; the inner error is the reason why it cannot be had at all.
pub(super) async fn count(stream: &Stream, request: &ExportRequest) -> Result<Count, Failure> {
    match stream.source.count(request).await.map_err(of_source) {
        Ok(count) => Ok(Ok(count)),
        // Whether it is the key or this one permission shows at the export, which needs the key as well.
        Err(failure) if failure.kind.needs_operator() || failure.kind == FailureKind::Gone => {
            Ok(Err(failure.message))
        }
        Err(failure) => Err(failure),
    }
}

/// What is said of the counts in the log entry.
pub(super) struct Compared {
    pub(super) counted: Option<Counted>,
    pub(super) uncounted: Option<String>,
    pub(super) mismatch: bool,
}

/// Holds an export of so many rows, described by `what`, against its counts.
///
/// # Errors
/// When it does not fit and the stream parks what does not fit.
pub(super) fn compare(
    stream: &Stream,
    before: Count,
    after: Count,
    rows: u64,
    what: &str,
) -> Result<Compared, Failure> {
    let (counted, uncounted) = match (before, after) {
        (Ok(before), Ok(after)) => (Some(Counted { before, after }), None),
        (Err(reason), _) | (_, Err(reason)) => (None, Some(reason)),
    };
    let mismatched = CountVerdict::of(counted, rows) == CountVerdict::Mismatched;
    match (counted, stream.on_count_mismatch) {
        (Some(Counted { before, after }), OnCountMismatch::Park) if mismatched => {
            let message = format!(
                "{what} holds {rows} records, and the provider counts {before} before it and {after} after it; where that \
                 is known and right, set streams.{}.on_count_mismatch = \"flag\" to archive it with a mark",
                stream.name()
            );
            Err(Failure::new(FailureKind::Corrupt, Scope::Window, message))
        }
        (_, policy) => {
            Ok(Compared { counted, uncounted, mismatch: mismatched && policy == OnCountMismatch::Flag })
        }
    }
}
