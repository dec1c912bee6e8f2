//! Holding an export against the provider's own count: asked for before and after it, so that records which arrive
//! meanwhile make a range.
//!
//! What the key may not ask, or what comes back without a number, is recorded as uncounted, with the reason, and never taken
//! for a match. A refusal on one side of the export alone is no such thing: the attempt fails, and is made again. Nor is a key
//! that is refused itself (401), before the export or after it: the source is on hold until a person looks. A count that only
//! fails for now fails the attempt, as an export would: better pulled again than archived without a count.
//!
//! On a window's last day with the provider that turns round: an export that nobody counted, or whose count is another one,
//! is archived and says so, for the next try may come too late for any.

use jiff::Timestamp;

use crate::domain::backoff::PARKED_RETRY;
use crate::domain::count::{CountVerdict, Counted, OnCountMismatch};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::message::Message;
use crate::domain::text::Line;
use crate::ports::record_source::ExportRequest;

use crate::app::stream::Stream;

/// What was counted, or why nothing was.
pub(super) type Count = Result<u64, Uncounted>;

/// Why nothing was counted.
#[derive(Debug, Clone)]
pub(super) struct Uncounted {
    /// The bare cause, as the log entry says it.
    reason: Line,
    /// Where the provider refused to count.
    refusal: Option<Failure>,
}

impl From<&str> for Uncounted {
    fn from(reason: &str) -> Self {
        Self { reason: reason.into(), refusal: None }
    }
}

impl Uncounted {
    fn of(failure: Failure) -> Self {
        let reason = failure.message.cause().clone();
        Self { reason, refusal: Some(failure).filter(|failure| failure.kind.needs_operator()) }
    }
}

/// What a pull asks of the count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    on_mismatch: OnCountMismatch,
    /// Whether a count that fails for now fails the pull.
    required: bool,
    /// Whether the provider is asked for a count at all.
    counts: bool,
    /// Which exports that cannot be read are archived as they came.
    pub(super) keeps: Keeps,
}

/// Which exports that came whole and cannot be read are archived as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeps {
    /// Files that this version cannot read, at the third in a row: the provider may send something else the next time.
    ThirdUnread,
    /// Files that this version cannot read, at once: another try would show nothing new, or may come too late.
    Unread,
    /// As [`Self::Unread`], and files that are cut off inside. Error pages are kept no second time.
    WholeFiles,
    /// Whatever came whole with a 200, since it may be the last that can be had of the window.
    AllWhole,
}

impl Terms {
    /// Of a first pull at `now`. Where the window has expired since its export was asked for `in_time`, what is counted now is no
    /// longer what there was then.
    pub(super) fn of_pull(stream: &Stream, request: &ExportRequest, in_time: bool, now: Timestamp) -> Self {
        if in_time {
            // Its file stands there still, and is fetched again where something else came.
            let terms = Self::of_revisit(stream);
            return Self { required: false, counts: false, keeps: Keeps::Unread, ..terms };
        }
        let next_day = now.saturating_add(PARKED_RETRY).unwrap_or(Timestamp::MAX);
        let is_last = request.expires_at <= next_day;
        let keeps = match is_last {
            false => Keeps::ThirdUnread,
            // After its expiry a window is asked for with a source that may say anything.
            true if request.expires_at <= now => Keeps::Unread,
            true => Keeps::AllWhole,
        };
        match (Self { keeps, ..Self::of_revisit(stream) }, is_last) {
            (terms @ Self { on_mismatch: OnCountMismatch::Park, .. }, true) => {
                Self { on_mismatch: OnCountMismatch::Flag, required: false, ..terms }
            }
            (terms, is_last) => Self { required: terms.required && !is_last, ..terms },
        }
    }

    /// Of an export at `now` of a window whose newest revision could not be read: that another one cannot be read either is
    /// no news. On the last day an export counts that would count as the first one, since no better one may come.
    pub(super) fn of_unread(stream: &Stream, request: &ExportRequest, now: Timestamp) -> Self {
        let terms = Self::of_pull(stream, request, false, now);
        let keeps = if terms.keeps == Keeps::AllWhole { Keeps::WholeFiles } else { Keeps::Unread };
        Self { keeps, ..terms }
    }

    /// Of a pull of a window that is archived already: there is no hurry.
    pub(super) fn of_revisit(stream: &Stream) -> Self {
        let on_mismatch = stream.on_count_mismatch;
        let required = on_mismatch != OnCountMismatch::Ignore;
        Self { on_mismatch, required, counts: true, keeps: Keeps::ThirdUnread }
    }
}

/// Asks the source for its count; the inner error is the reason why it cannot be had at all.
pub(super) async fn count(stream: &Stream, request: &ExportRequest, terms: Terms) -> Result<Count, Failure> {
    if !terms.counts {
        return Ok(Err(
            "its export was asked for in time, and the provider may count fewer records by now".into()
        ));
    }
    match stream.source.count(request).await.map_err(Failure::from) {
        Ok(count) => Ok(Ok(count)),
        // No permission lacks here: the key is wrong, and may be right at the next try.
        Err(failure) if terms.required && failure.refuses_credentials() => Err(refused(stream, failure)),
        Err(failure) if failure.kind.needs_operator() || !terms.required => Ok(Err(Uncounted::of(failure))),
        // Asking again brings the same answer.
        Err(failure) if failure.kind == FailureKind::Corrupt => Ok(Err(Uncounted::of(failure))),
        Err(failure) => Err(failure),
    }
}

/// The failure of a source that refuses the key for the count. Where that is the count's affair alone, the operator can do
/// without counts.
fn refused(stream: &Stream, failure: Failure) -> Failure {
    let next = format!(
        "where it refuses this key for the count alone, set streams.{}.on_count_mismatch = \"ignore\"",
        stream.name()
    );
    let message = failure.message.advise(next);
    Failure { message, ..failure }
}

/// Fails where the provider counts on one side of the export and refuses on the other. A key that may not count is refused
/// both times; here something has changed meanwhile, such as its rights, and the next pull will be counted, or refused both times.
pub(super) fn agree(terms: Terms, before: &Count, after: &Count) -> Result<(), Failure> {
    let refusal = match (before, after) {
        (Ok(_), Err(uncounted)) | (Err(uncounted), Ok(_)) if terms.required => uncounted.refusal.as_ref(),
        _ => None,
    };
    let Some(refusal) = refusal else { return Ok(()) };
    if after.is_err() && refusal.kind == FailureKind::Auth {
        return Err(refusal.clone());
    }
    let cause = format!("the provider counts on one side of the export only: {}", refusal.message.cause());
    let message = Message::new(cause).advise("the window is pulled again");
    Err(Failure { kind: FailureKind::Transient, scope: Scope::Window, message, ..refusal.clone() })
}

/// What is said of the counts in the log entry.
pub(super) struct Compared {
    pub(super) counted: Option<Counted>,
    pub(super) uncounted: Option<Line>,
    pub(super) mismatch: bool,
}

/// Compares an export of so many rows, described by `what`, with its counts; one that could not be read fits any.
///
/// # Errors
/// When it does not fit and the stream parks what does not fit.
pub(super) fn compare(
    stream: &Stream,
    terms: Terms,
    (before, after): (Count, Count),
    rows: Option<u64>,
    what: &str,
) -> Result<Compared, Failure> {
    let (counted, uncounted) = match (before, after) {
        (Ok(before), Ok(after)) => (Some(Counted { before, after }), None),
        (Err(uncounted), _) | (_, Err(uncounted)) => (None, Some(uncounted.reason)),
    };
    let mismatched = CountVerdict::of(counted, rows) == CountVerdict::Mismatched;
    match (counted.zip(rows), terms.on_mismatch) {
        (Some((Counted { before, after }, rows)), OnCountMismatch::Park) if mismatched => {
            let cause = format!(
                "{what} holds {rows} records, and the provider counts {before} before it and {after} after it"
            );
            let message = Message::new(cause).advise(format!(
                "where that is known and right, set streams.{}.on_count_mismatch = \"flag\" to archive it with a mark",
                stream.name()
            ));
            Err(Failure::new(FailureKind::Corrupt, Scope::Window, message))
        }
        (_, policy) => {
            Ok(Compared { counted, uncounted, mismatch: mismatched && policy == OnCountMismatch::Flag })
        }
    }
}
