//! Windows with the very same records: what a provider sends that answers with another window's file.
//!
//! Neighbours overlap by the margin, so a quiet hour may hold only records that the hour before it holds as well. That is
//! no news: such records lie in the bounds of both windows.

use crate::adapters::spool::SpoolFacts;
use crate::domain::digest::ContentDigest;
use crate::domain::export::{Bounds, RecordTimes};
use crate::domain::failure::Failure;
use crate::domain::object_key::Seq;
use crate::domain::window::Window;

use super::Job;

/// The records of an export.
#[derive(Debug, Clone, Copy)]
pub(in crate::app) struct Records {
    /// Their number.
    pub(in crate::app) rows: u64,
    /// Of them all.
    pub(in crate::app) content_digest: ContentDigest,
    /// Where the file says when they start.
    pub(in crate::app) times: Option<RecordTimes>,
}

impl Records {
    /// Those of a spooled export; `None` where it could not be read.
    pub(in crate::app) fn of(facts: &SpoolFacts) -> Option<Self> {
        let (rows, content_digest) = facts.rows.zip(facts.content_digest)?;
        Some(Self { rows, content_digest, times: facts.export.records })
    }
}

impl Job<'_> {
    /// The newest entry of another window of the stream with the very same records, of which there are some.
    ///
    /// # Errors
    /// When the ledger fails.
    pub(in crate::app) async fn same_content_as(self, records: Records) -> Result<Option<Seq>, Failure> {
        let Self { services, stream, window } = self;
        if records.rows == 0 {
            return Ok(None);
        }
        let same = services.ledger.same_content(stream.name(), window, records.content_digest).await;
        let same = same?;
        let margin = stream.rules.margin;
        let is_news = |other: Window| {
            let bounds = [window, other].map(|window| Bounds::around(window, margin));
            !lie_in_both(records.times, bounds)
        };
        Ok(same.into_iter().find(|(other, _)| is_news(*other)).map(|(_, seq)| seq))
    }
}

/// Whether all of the records may lie where the bounds of two windows overlap.
fn lie_in_both(records: Option<RecordTimes>, [ours, theirs]: [Bounds; 2]) -> bool {
    let overlap = Bounds { start: ours.start.max(theirs.start), end: ours.end.min(theirs.end) };
    let length = overlap.end.duration_since(overlap.start);
    match records {
        _ if !length.is_positive() => false,
        // Of records without times nothing speaks for it.
        None => false,
        Some(times) if times.zoned => overlap.start <= times.first && times.last <= overlap.end,
        Some(times) => times.last.duration_since(times.first) <= length,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_in_the_overlap_of_two_neighbours_are_no_news() {
        let at = |text: &str| text.parse().unwrap();
        let hour = |from: &str, to: &str| Bounds { start: at(from), end: at(to) };
        let ours = hour("2026-11-22T00:59:00Z", "2026-11-22T02:01:00Z");
        let next = hour("2026-11-22T01:59:00Z", "2026-11-22T03:01:00Z");
        let later = hour("2026-11-22T02:59:00Z", "2026-11-22T04:01:00Z");
        let times = |first, last, zoned| Some(RecordTimes { first: at(first), last: at(last), zoned });
        let in_overlap = times("2026-11-22T01:59:30Z", "2026-11-22T02:00:30Z", true);
        assert!(lie_in_both(in_overlap, [ours, next]));
        assert!(!lie_in_both(in_overlap, [ours, later]));
        assert!(!lie_in_both(times("2026-11-22T01:30:00Z", "2026-11-22T02:00:30Z", true), [ours, next]));
        // The offset is not known, the distance is.
        assert!(lie_in_both(times("2026-11-22T09:59:30Z", "2026-11-22T10:00:30Z", false), [ours, next]));
        assert!(!lie_in_both(times("2026-11-22T09:30:00Z", "2026-11-22T10:00:30Z", false), [ours, next]));
        assert!(!lie_in_both(None, [ours, next]));
    }
}
