//! Looks at a file's records: their number, the digest of their content in the canonical form that the module's head
//! describes, their times, and the names of their columns.
//!
//! In which charset delimited text is written is only known at its end, so a file that has shown nothing but ASCII
//! is read in every charset at once, at hardly any cost: a row of ASCII under a header of ASCII has one canonical
//! form in all of them. The charset that more cells fit wins.

use csv::ByteRecord;

use super::charset::Contest;
use super::columns::Columns;
use super::error::InspectError;
use super::meter::Meter;
use super::notes::clean;
use super::record_times::TimesOfRecords;
use super::rows::{Charset, Head, Header, RowVisitor};
use crate::domain::digest::{ContentDigest, Sha256};
use crate::domain::export::RecordTimes;

/// Names of columns that are reported, and characters of each.
const MOST_COLUMNS: usize = 64;
const LONGEST_NAME: usize = 64;

/// What is found out about a file's records.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) rows: u64,
    pub(super) content_digest: ContentDigest,
    pub(super) times: Option<RecordTimes>,
    pub(super) open_records: Option<u64>,
    pub(super) columns: Vec<String>,
    /// Whether the header names known columns.
    pub(super) known_header: bool,
}

impl Records {
    /// Those of a file without any row.
    fn none() -> Self {
        Self {
            rows: 0,
            content_digest: ContentDigest::EMPTY,
            times: None,
            open_records: None,
            columns: Vec::new(),
            known_header: false,
        }
    }
}

/// Takes the number and the digest of a file's rows.
#[derive(Debug, Default)]
pub(super) struct ContentDigester {
    rows: u64,
    /// Cells that are not plain ASCII.
    foreign_cells: u64,
    names: ByteRecord,
    contest: Contest,
    /// The file as it reads in each charset that may still win.
    readings: Vec<Reading>,
    /// Whether the header reads the same in every charset.
    plain_header: bool,
    /// Times by the columns of each charset that the header may be in; one where it reads the same in all.
    times: Vec<(Charset, TimesOfRecords)>,
    /// The canonical form of one row, kept for its capacity.
    canonical: Vec<u8>,
}

#[derive(Debug)]
struct Reading {
    charset: Charset,
    header: Header,
    digest: ContentDigest,
}

impl ContentDigester {
    /// What was found.
    ///
    /// # Errors
    /// When most of the text is in no charset that is known, under a header that is not known either.
    pub(super) fn finish(self, meter: &Meter<'_>) -> Result<Records, InspectError> {
        let Some((charset, unfit)) = self.contest.winner() else { return Ok(Records::none()) };
        let known = Columns::find(&self.names, charset).are_a_header();
        if unfit * 2 > self.foreign_cells && !known {
            return Err(InspectError::unread(
                "its text is in neither UTF-8 nor GB18030, and no column of it is known",
            ));
        }
        match unfit {
            0 => {}
            1 => meter.note("the text of 1 cell is in no charset that is known; its bytes count as they are"),
            _ => meter.note(format!(
                "the texts of {unfit} cells are in no charset that is known; their bytes count as they are"
            )),
        }
        let reading = self.readings.iter().find(|reading| reading.charset == charset);
        let times =
            self.times.iter().find(|(of, _)| self.plain_header || *of == charset).map(|(_, times)| times);
        let column = |name| clean(&charset.read_lossy(name), LONGEST_NAME);
        Ok(Records {
            rows: self.rows,
            content_digest: reading.map_or(ContentDigest::EMPTY, |reading| reading.digest),
            times: times.and_then(TimesOfRecords::times),
            open_records: times.and_then(TimesOfRecords::open_records),
            columns: self.names.iter().take(MOST_COLUMNS).map(column).collect(),
            known_header: Columns::find_in_any(&self.names).are_a_header(),
        })
    }

    fn count_foreign(&mut self, cells: &ByteRecord) {
        self.foreign_cells += cells.iter().filter(|cell| !cell.is_ascii()).count() as u64;
    }
}

impl RowVisitor for ContentDigester {
    fn header(&mut self, head: &Head<'_>) -> Result<(), InspectError> {
        let reading = |&charset: &Charset| Reading {
            charset,
            header: Header::read(head.names, charset),
            digest: ContentDigest::EMPTY,
        };
        let plain_header = head.names.as_slice().is_ascii();
        let timed = if plain_header { 1 } else { head.charsets.len() };
        let times = |&charset: &Charset| (charset, TimesOfRecords::under(head, charset));
        *self = Self {
            names: head.names.clone(),
            contest: Contest::between(head.charsets),
            readings: head.charsets.iter().map(reading).collect(),
            plain_header,
            times: head.charsets.iter().take(timed).map(times).collect(),
            ..Self::default()
        };
        if !plain_header {
            self.count_foreign(head.names);
            self.contest.add_row(head.names);
        }
        Ok(())
    }

    fn row(&mut self, cells: &ByteRecord) -> Result<(), InspectError> {
        self.rows += 1;
        let canonical = &mut self.canonical;
        self.times.iter_mut().for_each(|(_, times)| times.add(cells));
        if self.plain_header && cells.as_slice().is_ascii() {
            if let Some(first) = self.readings.first_mut() {
                first.header.canonical(cells, first.charset, canonical);
                let row = Sha256::of(canonical);
                self.readings.iter_mut().for_each(|reading| reading.digest.add(row));
            }
            return Ok(());
        }
        for reading in &mut self.readings {
            let unfit = reading.header.canonical(cells, reading.charset, canonical);
            reading.digest.add(Sha256::of(canonical));
            self.contest.add(reading.charset, unfit);
        }
        self.count_foreign(cells);
        self.contest.give_up();
        let contest = &self.contest;
        self.readings.retain(|reading| contest.has(reading.charset));
        Ok(())
    }
}
