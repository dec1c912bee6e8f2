//! The intake of an export: counted, downloaded, read, compared with the counts, and written down in the spool.
//!
//! Nothing that came whole is thrown away for good:
//! - A file that came whole and that this version cannot read is exported again, since the next one may be another one.
//!   At the third in a row its bytes are archived as they came, with the reason ([`Keeps::ThirdUnread`]).
//! - An error page, an error in JSON and a file that was cut off are no exports and are not kept. On the window's last
//!   day they are kept as well ([`Keeps::AllWhole`]): the bytes are all that can still be had. A throttling or
//!   credentials error in JSON is never kept, since it says nothing about the window.
//! - A body without any row, or with a few words and no table, is an export of no records where the provider counts none
//!   before and after it. Else it is no export, or is treated as a file that cannot be read where its rows may be records
//!   ([`doubt`]).
//!
//! A body that is shorter than was announced, or that ends inside a chunk, never comes as far as this.

use crate::adapters::inspect::{HeaderFound, InspectError, Inspection, Wholeness};
use crate::adapters::spool::{Downloaded, SpoolFacts, SpooledExport};
use crate::domain::count::Counted;
use crate::domain::export::{Bounds, Format, RecordTimes};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::log_entry::ExportFacts;
use crate::domain::text::Line;
use crate::ports::checkpoint::Step;
use crate::ports::ledger::AttemptOutcome;
use crate::ports::record_source::{ExportReceipt, ExportRequest};

use super::Job;
use super::counting::{Count, Keeps, Terms, agree, compare, count};

/// The number of exports in a row that come whole and cannot be read before the last of them is kept.
const UNREAD_LIMIT: usize = 3;

/// A text of more bytes than this is no message in place of an export.
const LONGEST_MESSAGE: u64 = 4 << 10;

/// One export on its way into the spool.
pub(super) struct Intake<'a> {
    pub(super) job: Job<'a>,
    pub(super) request: &'a ExportRequest,
    pub(super) terms: Terms,
}

/// What is to be said of a download that was taken in.
enum Found {
    Read(Box<Inspection>),
    /// It came whole, and is kept for this reason though nobody could read it.
    Unread(Line),
}

impl Intake<'_> {
    pub(super) async fn take(
        &self,
        downloaded: Downloaded,
        receipt: ExportReceipt,
        before: Count,
    ) -> Result<SpooledExport, Failure> {
        let after = count(self.job.stream, self.request, self.terms).await?;
        self.job.services.checkpoint.reached(Step::Pulled);
        agree(self.terms, &before, &after)?;
        let counts = (before, after);
        let facts = self.facts(&downloaded, &receipt, counts).await;
        let facts =
            facts.map_err(|failure| Failure { request_ids: receipt.request_ids.clone(), ..failure })?;
        let export = downloaded.commit(facts).await?;
        self.job.services.checkpoint.reached(Step::Spooled);
        Ok(export)
    }

    async fn facts(
        &self,
        downloaded: &Downloaded,
        receipt: &ExportReceipt,
        (before, after): (Count, Count),
    ) -> Result<SpoolFacts, Failure> {
        let what = format!("{}: the export", self.job);
        let past_horizon = self.request.expires_at <= receipt.made_at;
        let found = match self.job.services.scratch.inspect(downloaded.path()).await? {
            Ok(found) if past_horizon && found.rows == 0 => return Err(self.forgotten()),
            Ok(found) => match doubt(&found, downloaded.bytes(), counted(&before, &after)) {
                None => Found::Read(Box::new(found)),
                Some((wholeness, why)) => {
                    let kind = match wholeness {
                        Wholeness::Unread => FailureKind::Unread,
                        _ => FailureKind::Corrupt,
                    };
                    self.kept(wholeness, kind, why).await.map(Found::Unread)?
                }
            },
            Err(error) => Found::Unread(self.unreadable(&error, downloaded.bytes()).await?),
        };
        let rows = match &found {
            Found::Read(found) => Some(found.rows),
            Found::Unread(_) => None,
        };
        let compared = compare(self.job.stream, self.terms, (before, after), rows, &what)?;
        let export = ExportFacts {
            counted: compared.counted,
            uncounted: compared.uncounted,
            count_mismatch: compared.mismatch,
            past_horizon,
            request_ids: receipt.request_ids.clone(),
            ..ExportFacts::new(receipt.api, self.request.bounds, receipt.pulled_at)
        };
        let definition = self.job.stream.definition_digest;
        Ok(match found {
            Found::Read(found) => SpoolFacts {
                export: ExportFacts {
                    open_records: found.open_records,
                    records: found.times,
                    out_of_bounds: found
                        .times
                        .is_some_and(|times| is_out_of_bounds(times, self.request.bounds)),
                    notes: found.notes.iter().map(Line::new).collect(),
                    ..export
                },
                definition,
                format: found.format,
                rows: Some(found.rows),
                content_digest: Some(found.content_digest),
            },
            Found::Unread(reason) => SpoolFacts {
                export: ExportFacts { unread: Some(reason), ..export },
                definition,
                format: Format::Bin,
                rows: None,
                content_digest: None,
            },
        })
    }

    /// An old window without records is what a provider shows that has forgotten it.
    fn forgotten(&self) -> Failure {
        self.failure(FailureKind::Rejected, "the provider has no records of it (any more)")
    }

    /// Why the download is kept though it cannot be read.
    ///
    /// # Errors
    /// When it is not kept.
    async fn unreadable(&self, error: &InspectError, bytes: u64) -> Result<Line, Failure> {
        let wholeness = error.wholeness();
        let kind = if wholeness == Wholeness::Unread { FailureKind::Unread } else { error.kind() };
        self.kept(wholeness, kind, format!("the export of {bytes} bytes is none: {error}").into()).await
    }

    /// Gives `why` back where the download is kept, else makes a failure of it.
    async fn kept(&self, wholeness: Wholeness, kind: FailureKind, why: Line) -> Result<Line, Failure> {
        let keeps = match (wholeness, self.terms.keeps) {
            (Wholeness::Local, _) => false,
            (Wholeness::Unread, Keeps::Unread | Keeps::WholeFiles | Keeps::AllWhole) => true,
            (Wholeness::Unread, Keeps::ThirdUnread) => self.unread_before().await? + 1 >= UNREAD_LIMIT,
            // The gateway's own refusals in JSON are a reason to pause, as they are under their own status.
            (Wholeness::NotAnExport | Wholeness::CutOff, Keeps::AllWhole)
            | (Wholeness::CutOff, Keeps::WholeFiles) => kind == FailureKind::Corrupt,
            (Wholeness::NotAnExport | Wholeness::CutOff, _) => false,
        };
        if keeps { Ok(why) } else { Err(self.failure(kind, &why)) }
    }

    /// How many exports in a row before this one came whole and could not be read.
    async fn unread_before(&self) -> Result<usize, Failure> {
        let attempts = self.job.services.ledger.attempts(self.job.stream.name(), self.request.window).await;
        let attempts = attempts?;
        // Tries that brought no export say nothing.
        let brought = attempts.iter().rev().filter_map(|attempt| match (attempt.outcome?, attempt.failure) {
            (AttemptOutcome::Failed, Some(FailureKind::Unread)) => Some(true),
            (AttemptOutcome::Failed, Some(FailureKind::Corrupt)) => Some(false),
            (AttemptOutcome::Archived | AttemptOutcome::Unchanged, _) => Some(false),
            _ => None,
        });
        Ok(brought.take_while(|unread| *unread).count())
    }

    fn failure(&self, kind: FailureKind, why: &str) -> Failure {
        let message = format!("{}: {why}", self.job);
        Failure::new(kind, Scope::Window, message)
    }
}

/// The provider's own counts before and after an export; `None` where one of them could not be had.
fn counted(before: &Count, after: &Count) -> Option<Counted> {
    let (before, after) = (before.as_ref().ok()?, after.as_ref().ok()?);
    Some(Counted { before: *before, after: *after })
}

/// Why an export that was read is not believed, and whether it came whole: `None` where it is believed.
///
/// Few rows without a known header are records, a header in unknown words, titles, or a message. The provider's own count
/// decides; where it does not, a message is what has a single row that the count does not fit.
pub(super) fn doubt(found: &Inspection, bytes: u64, counted: Option<Counted>) -> Option<(Wholeness, Line)> {
    let is_text = matches!(found.format, Format::Csv | Format::CsvGz);
    let unknown = match (found.rows, found.header) {
        (_, HeaderFound::Known) => return None,
        (0, HeaderFound::None | HeaderFound::Cut) => 0,
        (0, HeaderFound::Words { rows, .. }) => rows,
        (0, HeaderFound::Unknown) => 1,
        // With a comma in each of its lines a message reads like a table.
        (_, HeaderFound::Unknown) if is_text && bytes <= LONGEST_MESSAGE && counted.is_none() => {
            let why = "no column of the export is known, and nobody counted its records";
            return Some((Wholeness::Unread, why.into()));
        }
        _ => return None,
    };
    let is_message = matches!(found.header, HeaderFound::Words { .. });
    let is_unclear = matches!(found.header, HeaderFound::Words { say_none: false, .. });
    let lack = if is_message { "holds no table" } else { "has no rows" };
    let (why, fits) = match counted {
        Some(Counted { before: 0, after: 0 }) if is_unclear => {
            let why = format!(
                "the export of {bytes} bytes holds no table, and its words do not say that there are no records, which the provider counts"
            );
            (why, true)
        }
        Some(Counted { before: 0, after: 0 }) => return None,
        Some(Counted { before, after }) => {
            let why = format!(
                "the export of {bytes} bytes {lack}, and the provider counts {before} records before it and {after} after it"
            );
            (why, unknown > 0 && (before.min(after)..=before.max(after)).contains(&unknown))
        }
        None if is_message => (format!("the export of {bytes} bytes holds no table and is uncounted"), false),
        None => (format!("the export of {bytes} bytes is empty and uncounted"), true),
    };
    let may_be_records = fits || unknown > 1 || (!is_text && unknown > 0);
    Some((if may_be_records { Wholeness::Unread } else { Wholeness::NotAnExport }, why.into()))
}

/// Whether some record starts outside of the bounds that were asked for. Times without an offset are of some zone between
/// UTC-12 and UTC+14, so they are outside only where they are outside in all of these zones.
pub(super) fn is_out_of_bounds(times: RecordTimes, bounds: Bounds) -> bool {
    let (behind, ahead) = if times.zoned { (0, 0) } else { (12, 14) };
    let earliest_end = jiff::SignedDuration::from_hours(ahead);
    let latest_start = jiff::SignedDuration::from_hours(behind);
    let first = times.first.saturating_add(latest_start).unwrap_or(times.first);
    let last = times.last.saturating_sub(earliest_end).unwrap_or(times.last);
    first < bounds.start || last > bounds.end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::ContentDigest;

    #[test]
    fn words_that_do_not_say_so_are_no_export_without_records_even_where_the_counts_are_0() {
        let found = |say_none| Inspection {
            format: Format::Csv,
            rows: 0,
            content_digest: ContentDigest::EMPTY,
            times: None,
            open_records: None,
            notes: Vec::new(),
            columns: Vec::new(),
            header: HeaderFound::Words { rows: 1, say_none },
        };
        let doubted = |say_none, before, after| {
            let doubt = doubt(&found(say_none), 20, Some(Counted { before, after }));
            doubt.map(|(wholeness, _)| wholeness)
        };
        assert_eq!(doubted(true, 0, 0), None);
        assert_eq!(doubted(false, 0, 0), Some(Wholeness::Unread));
        assert_eq!(doubted(true, 1, 1), Some(Wholeness::Unread), "the row may be the record");
        assert_eq!(doubted(false, 3, 3), Some(Wholeness::NotAnExport));
    }

    #[test]
    fn a_time_is_outside_of_its_bounds_only_where_no_zone_puts_it_inside() {
        let at = |text: &str| text.parse().unwrap();
        let bounds = Bounds { start: at("2026-11-21T23:59:00Z"), end: at("2026-11-23T00:01:00Z") };
        let outside = |first, last, zoned| {
            is_out_of_bounds(RecordTimes { first: at(first), last: at(last), zoned }, bounds)
        };
        assert!(!outside("2026-11-21T23:59:00Z", "2026-11-23T00:01:00Z", true), "the bounds belong to it");
        assert!(outside("2026-11-21T23:58:59Z", "2026-11-22T12:00:00Z", true));
        assert!(outside("2026-11-22T12:00:00Z", "2026-11-23T00:01:01Z", true));
        // Local times of Kiritimati (UTC+14) and of the date line's other side (UTC-12).
        assert!(!outside("2026-11-22T13:59:00Z", "2026-11-23T14:01:00Z", false));
        assert!(!outside("2026-11-21T11:59:00Z", "2026-11-22T12:01:00Z", false));
        assert!(outside("2026-11-21T11:58:59Z", "2026-11-22T12:01:00Z", false));
        assert!(outside("2026-11-22T13:59:00Z", "2026-11-23T14:01:01Z", false));
    }
}
