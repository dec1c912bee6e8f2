//! The independent count: the provider's own number of the records between the bounds of an export, asked for before and
//! after it, and what is done where the export holds another number.

use serde::{Deserialize, Serialize};

/// The provider's own count of the records between the same bounds, before and after the export. Records that arrive
/// meanwhile make them differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Before the export.
    pub before: u64,
    /// After the export.
    pub after: u64,
}

impl Counted {
    /// Whether an export of so many rows, pulled between the two counts, is one that agrees with them. Records arrive; where
    /// they go instead, the provider has begun to forget the window, and nothing that it says of it is whole.
    pub fn covers(self, rows: u64) -> bool {
        (self.before..=self.after).contains(&rows)
    }
}

/// What the independent count says of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CountVerdict {
    /// The export holds as many records as were counted.
    Matched,
    /// It holds more or fewer.
    Mismatched,
    /// Nobody counted: that is no match.
    Uncounted,
}

impl CountVerdict {
    /// The word for it in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Mismatched => "mismatched",
            Self::Uncounted => "uncounted",
        }
    }

    /// Of an export of so many rows; `None` for one whose rows nobody could read.
    pub fn of(counted: Option<Counted>, rows: Option<u64>) -> Self {
        match counted.zip(rows) {
            None => Self::Uncounted,
            Some((counted, rows)) if counted.covers(rows) => Self::Matched,
            Some(_) => Self::Mismatched,
        }
    }
}

/// What is done with an export whose number of records is not the counted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCountMismatch {
    /// Pulled again; after three pulls the window is parked.
    #[default]
    Park,
    /// Archived, and marked in its entry.
    Flag,
    /// Archived as if nothing were amiss; the counts still stand in the entry.
    Ignore,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_arrive_meanwhile_make_a_range_and_no_count_is_no_match() {
        let counted = |before, after| Some(Counted { before, after });
        for (counted, rows, verdict) in [
            (counted(5, 5), 5, CountVerdict::Matched),
            (counted(5, 8), 6, CountVerdict::Matched),
            // The provider forgets the oldest.
            (counted(8, 5), 8, CountVerdict::Mismatched),
            (counted(8, 5), 5, CountVerdict::Mismatched),
            (counted(5, 5), 4, CountVerdict::Mismatched),
            (counted(5, 8), 9, CountVerdict::Mismatched),
            (None, 5, CountVerdict::Uncounted),
        ] {
            assert_eq!(CountVerdict::of(counted, Some(rows)), verdict);
        }
    }
}
