//! The rows below the header: which of them are records, and whether the last one came whole.
//!
//! Where it is doubtful whether a row is a record, it counts as one: the provider's own count is the arbiter afterwards.
//! A footer (`Total: 3`) is only a row below all records that has one filled cell, or two of which the first says that
//! it is a total, that has no start time although all records have one, and that reads like no other cell.
//!
//! Text that was cut in its last line is recognised by a last row without line end that has fewer cells than the header, and
//! not as many as any other row.
//! Text that was cut exactly at a line end, or in its very last cell, cannot be seen here: the length of the answer and
//! the provider's count are the witnesses for those.

use std::collections::BTreeSet;

use csv::ByteRecord;

use super::columns::{Columns, Meaning};
use super::error::InspectError;
use super::header::Layout;
use super::meter::Meter;
use super::rows::{Charset, Head, RowVisitor, filled, is_empty, size};

/// Rows that may be footers are kept until the next record or the end, so many of them and so many bytes.
const MOST_HELD: usize = 8;
const MOST_HELD_BYTES: usize = 64 << 10;

/// A footer is no longer than this many bytes.
const LONGEST_FOOTER: usize = 500;

/// Where all records have at least this many filled cells, a row with a single one is no record.
const PLENTY: usize = 6;

/// The first word of a text that says how many records there were, or when they were exported; in lower case.
const FOOTER_WORDS: [&str; 12] = [
    "total",
    "totals",
    "sum",
    "count",
    "record",
    "records",
    "row",
    "rows",
    "export",
    "exported",
    "generated",
    "end",
];
const FOOTER_BEGINNINGS: [&str; 7] = ["合计", "总计", "总数", "总共", "共", "记录数", "导出"];

/// Hands on the records of a table.
pub(super) struct Body<'v> {
    layout: Layout,
    visitor: &'v mut dyn RowVisitor,
    meter: &'v Meter<'v>,
    /// Cells of the header.
    width: usize,
    start: Option<usize>,
    records: u64,
    /// Whether every record has a start time.
    all_started: bool,
    /// The fewest filled cells of a record.
    fewest_filled: usize,
    /// How many cells the records before the last have.
    widths: BTreeSet<usize>,
    /// The last record's cells, and whether the last of them is filled.
    last: Option<(usize, bool)>,
    /// Whether all rows have as many cells as the header.
    regular: bool,
    /// Whether the header names known columns.
    known: bool,
    /// Records with a filled cell beyond the header.
    wide: u64,
    held: Vec<ByteRecord>,
    held_bytes: usize,
}

impl<'v> Body<'v> {
    /// The table under a header, which is handed on.
    pub(super) fn under(
        head: &Head<'_>,
        layout: Layout,
        meter: &'v Meter<'v>,
        visitor: &'v mut dyn RowVisitor,
    ) -> Result<Self, InspectError> {
        visitor.header(head)?;
        let columns = Columns::find_in_any(head.names);
        Ok(Self {
            layout,
            visitor,
            meter,
            width: head.names.len(),
            start: columns.place(Meaning::Start),
            records: 0,
            all_started: true,
            fewest_filled: usize::MAX,
            widths: BTreeSet::new(),
            last: None,
            regular: true,
            known: columns.are_a_header(),
            wide: 0,
            held: Vec::new(),
            held_bytes: 0,
        })
    }

    /// Takes a row below the header. `line` says where it stands in text, from 1.
    pub(super) fn push(&mut self, row: &ByteRecord, line: u64) -> Result<(), InspectError> {
        if is_empty(row) || (self.layout == Layout::Text && is_blank_line(row)) {
            return Ok(());
        }
        self.regular &= row.len() == self.width;
        if self.layout == Layout::Text && row.iter().skip(self.width).any(|cell| !cell.is_empty()) {
            self.wide_row(row, line)?;
        }
        if self.may_be_footer(row) {
            self.held_bytes += size(row);
            self.held.push(row.clone());
            if self.held.len() > MOST_HELD || self.held_bytes > MOST_HELD_BYTES {
                return self.release();
            }
            return Ok(());
        }
        self.release()?;
        self.record(row)
    }

    /// Ends the text or sheet, if every line in it has ended, or else after a last line without an end.
    ///
    /// # Errors
    /// When the last line was cut off.
    pub(super) fn end_part(&mut self, last_line_ended: bool) -> Result<(), InspectError> {
        if !last_line_ended && self.held.last().is_some_and(|row| !says_total(row)) {
            self.release()?;
        }
        if !last_line_ended && self.held.is_empty() && self.last_is_short() {
            return Err(InspectError::cut_off("its last line has fewer cells than the others, and no end"));
        }
        match std::mem::take(&mut self.held).len() {
            0 => {}
            1 => self.meter.note("a row below the last record is no record and was left out"),
            rows => {
                self.meter.note(format!("{rows} rows below the last record are no records and were left out"))
            }
        }
        self.held_bytes = 0;
        match std::mem::take(&mut self.wide) {
            0 => {}
            1 => self.meter.note("a row has more cells than the header; they count without a name"),
            rows => self
                .meter
                .note(format!("{rows} rows have more cells than the header; they count without a name")),
        }
        Ok(())
    }

    /// Whether all rows have as many cells as the header.
    pub(super) fn is_regular(&self) -> bool {
        self.regular
    }

    /// Whether some rows have filled cells beyond the header.
    pub(super) fn is_wide(&self) -> bool {
        self.wide > 0
    }

    /// Takes a row of text that has more cells than the header: under known names it is a record all the same, unless an open
    /// quote may have swallowed other records.
    fn wide_row(&mut self, row: &ByteRecord, line: u64) -> Result<(), InspectError> {
        if !self.known || row.as_slice().iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            let cells = row.len();
            let what = format_args!("line {line} has {cells} cells where the header has {}", self.width);
            return Err(InspectError::unread(what));
        }
        self.wide += 1;
        Ok(())
    }

    /// Whether the last record has fewer cells than the header for no good reason. A writer that leaves out empty
    /// cells at the end of a row does so in other rows too, and never ends a row in an empty cell. Only a row of exactly
    /// as many cells speaks for it.
    fn last_is_short(&self) -> bool {
        self.last.is_some_and(|(cells, ends_filled)| {
            cells < self.width && !(ends_filled && self.widths.contains(&cells))
        })
    }

    fn may_be_footer(&self, row: &ByteRecord) -> bool {
        let cells = filled(row);
        let narrow = cells <= 2 && cells < self.fewest_filled && self.width >= 3;
        let started = self.start.is_some_and(|start| row.get(start).is_some_and(|cell| !cell.is_empty()));
        if !narrow || started || row.as_slice().len() > LONGEST_FOOTER {
            return false;
        }
        let says_total = says_total(row);
        let alone = self.fewest_filled != usize::MAX && self.fewest_filled >= PLENTY;
        let remark = cells == 1 && self.records > 0 && (alone || is_phrase(row));
        match self.start {
            Some(_) => says_total || (remark && self.all_started),
            None => {
                says_total && self.records > 0 && (self.layout == Layout::Sheet || row.len() < self.width)
            }
        }
    }

    /// Hands on rows that were kept as possible footers: a record came after them.
    fn release(&mut self) -> Result<(), InspectError> {
        self.held_bytes = 0;
        for row in std::mem::take(&mut self.held) {
            self.record(&row)?;
        }
        Ok(())
    }

    fn record(&mut self, row: &ByteRecord) -> Result<(), InspectError> {
        self.records += 1;
        self.all_started &=
            self.start.is_some_and(|start| row.get(start).is_some_and(|cell| !cell.is_empty()));
        self.fewest_filled = self.fewest_filled.min(filled(row));
        let ends_filled = row.iter().next_back().is_some_and(|cell| !cell.is_empty());
        if let Some((cells, _)) = self.last.replace((row.len(), ends_filled)) {
            self.widths.insert(cells);
        }
        self.visitor.row(row)
    }
}

/// Whether a line of text says nothing: blanks, padding (NUL), or the old mark for the end of a file (Ctrl-Z).
pub(super) fn is_blank_line(row: &ByteRecord) -> bool {
    row.len() == 1 && row.as_slice().iter().all(|byte| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x1a))
}

/// The text of the first filled cell, in lower case.
fn first_text(row: &ByteRecord) -> String {
    let cell = row.iter().find(|cell| !cell.is_empty()).unwrap_or_default();
    let charset = Charset::ALL.into_iter().find(|charset| charset.read(cell).is_some());
    charset.unwrap_or(Charset::Utf8).read_lossy(cell).trim().to_lowercase()
}

/// Whether a row begins with a word for totals.
fn says_total(row: &ByteRecord) -> bool {
    let text = first_text(row);
    let text = text.trim_start_matches(|c: char| !c.is_alphanumeric());
    let word = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    FOOTER_WORDS.contains(&word) || FOOTER_BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
}

/// Whether a row reads like a remark, as no id and no name does.
fn is_phrase(row: &ByteRecord) -> bool {
    first_text(row).contains([':', '：', '。'])
}
