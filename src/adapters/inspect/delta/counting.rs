//! Compares the rows of one bucket, in bounded memory however many they are.
//!
//! All rows of an identity have to be counted together. Where a bucket holds more rows than memory may, its identities are
//! taken in shares, one after the other; where one identity has too many rows, these are taken in parts, of which only what
//! is left over on either side is remembered.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::Delta;
use super::buckets::{Buckets, Half, Record, Spread};
use crate::adapters::inspect::error::InspectError;

/// Rows, or identities, that are held at once: a few megabytes.
pub(super) const MOST_HELD: usize = 100_000;

/// Counts of something in the older file, and in the newer.
type Counts = [u64; 2];

/// In how many shares and parts a bucket is read.
#[derive(Debug, Clone, Copy)]
struct Split {
    shares: u64,
    parts: u64,
}

/// The differences between the rows of one bucket of both files, with at most so many of them held at once.
///
/// # Errors
/// When a file could not be read, or `stop` said so.
pub(super) fn differences(
    bucket: usize,
    files: [&mut Buckets; 2],
    spread: &Spread,
    most: usize,
    stop: &dyn Fn() -> bool,
) -> Result<Delta, InspectError> {
    let mut split = Split { shares: 1, parts: 1 };
    let [older, newer] = files;
    'again: loop {
        let mut delta = Delta::default();
        for share in 0..split.shares {
            let mut left: BTreeMap<Half, Counts> = BTreeMap::new();
            for part in 0..split.parts {
                if stop() {
                    return Err(InspectError::Stopped);
                }
                let mut rows = Rows { held: BTreeMap::new(), most };
                let is_of = |row: &Record| {
                    spread.share(row.identity, split.shares) == share && spread.part(row, split.parts) == part
                };
                older.read(bucket, |row| !is_of(&row) || rows.count(row, 0))?;
                newer.read(bucket, |row| !is_of(&row) || rows.count(row, 1))?;
                if rows.held.len() > most {
                    split.grow(rows.identities(), most);
                    continue 'again;
                }
                rows.leave(&mut left);
                if left.len() > most {
                    split.shares *= 2;
                    continue 'again;
                }
            }
            left.into_values().for_each(|counts| delta.settle(counts));
        }
        return Ok(delta);
    }
}

impl Split {
    /// After too many rows of so many identities.
    fn grow(&mut self, identities: usize, most: usize) {
        if identities > most / 4 {
            self.shares *= 2;
        } else {
            self.parts *= 2;
        }
    }
}

/// Rows that are held, each with its counts. Equal rows are counted: a file that repeats one row for ever fills no memory.
struct Rows {
    held: BTreeMap<Record, Counts>,
    most: usize,
}

impl Rows {
    /// Counts a row; `false` once there are too many.
    fn count(&mut self, row: Record, side: usize) -> bool {
        match self.held.entry(row) {
            Entry::Occupied(mut counts) => counts.get_mut()[side] += 1,
            Entry::Vacant(place) => place.insert([0, 0])[side] = 1,
        }
        self.held.len() <= self.most
    }

    fn identities(&self) -> usize {
        let mut last = None;
        self.held.keys().filter(|row| last.replace(row.identity) != Some(row.identity)).count()
    }

    /// Adds what equal rows of both sides leave over.
    fn leave(self, left: &mut BTreeMap<Half, Counts>) {
        for (row, [older, newer]) in self.held {
            let equal = older.min(newer);
            if older != newer {
                let counts = left.entry(row.identity).or_default();
                counts[0] += older - equal;
                counts[1] += newer - equal;
            }
        }
    }
}
