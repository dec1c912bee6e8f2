//! Rows as they come out of a file, whatever its format: who takes them, and how cells find their header names.
//!
//! A row is a [`ByteRecord`]: its cells in column order, as bytes. Bytes, because the charset of delimited text is
//! only known once the last cell has been read; [`Charset::read`] makes text of them. A spreadsheet's cells are
//! UTF-8.

use std::borrow::Cow;

use csv::ByteRecord;

pub use super::charset::Charset;
use super::error::InspectError;

/// No row of an export, and no piece of one, is longer than this many bytes. It bounds the memory that a damaged
/// or hostile file can make us use.
pub(super) const MAX_ROW: usize = 1 << 20;

/// No row has more cells: a sheet has columns A to XFD.
pub(super) const MAX_COLUMNS: usize = 16_384;

/// What is known of a file when its header has been found.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The header's cells.
    pub names: &'a ByteRecord,
    /// The charsets that the file may be in, the likeliest first.
    pub charsets: &'a [Charset],
    /// Whether a date that is written as a number counts days from 1904 instead of 1900.
    pub dates_from_1904: bool,
}

/// Takes a file's rows, one after the other.
pub trait RowVisitor {
    /// The header. It may come a second time, when the file has to be read again in another way: then everything that
    /// came before is void. A file without any row has none.
    ///
    /// # Errors
    /// What is returned ends the reading.
    fn header(&mut self, head: &Head<'_>) -> Result<(), InspectError>;

    /// Each record, in the file's order. It may be shorter than the header (the other cells are empty) or longer (text:
    /// by empty cells only).
    ///
    /// # Errors
    /// What is returned ends the reading.
    fn row(&mut self, cells: &ByteRecord) -> Result<(), InspectError>;
}

/// Takes nothing.
pub(super) struct Nobody;

impl RowVisitor for Nobody {
    fn header(&mut self, _: &Head<'_>) -> Result<(), InspectError> {
        Ok(())
    }

    fn row(&mut self, _: &ByteRecord) -> Result<(), InspectError> {
        Ok(())
    }
}

/// Whether a row has no cell with anything in it; such a row does not count.
pub(super) fn is_empty(cells: &ByteRecord) -> bool {
    cells.as_slice().is_empty()
}

/// How many cells of a row have something in them.
pub(super) fn filled(cells: &ByteRecord) -> usize {
    cells.iter().filter(|cell| !cell.is_empty()).count()
}

/// About how many bytes of memory a row takes.
pub(super) fn size(cells: &ByteRecord) -> usize {
    cells.as_slice().len() + cells.len() * size_of::<usize>() + 64
}

/// A column: where it stands, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Column {
    /// The name in UTF-8, or as it stands in the file where its bytes are not in the charset.
    name: Vec<u8>,
    place: usize,
    /// The name as it stands in the canonical form of rows.
    netstring: Vec<u8>,
}

impl Column {
    fn new(name: Vec<u8>, place: usize) -> Self {
        let mut netstring = Vec::new();
        push_netstring(&mut netstring, &name);
        Self { name, place, netstring }
    }

    /// What the header calls it; empty where the header has no name for it.
    pub fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }
}

/// Adds `text` as a netstring: its length in bytes, in decimal, then `:`, the text, and `,`.
pub(super) fn push_netstring(out: &mut Vec<u8>, text: &[u8]) {
    push_decimal(out, text.len());
    out.push(b':');
    out.extend_from_slice(text);
    out.push(b',');
}

/// Formatting through `fmt` would cost more than all the rest of a cell.
fn push_decimal(out: &mut Vec<u8>, number: usize) {
    if number >= 10 {
        push_decimal(out, number / 10);
    }
    out.push(b'0' + (number % 10) as u8);
}

/// The columns of a file in the order that the canonical form of its rows takes: by name, bytewise; equal names by
/// place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    columns: Vec<Column>,
}

impl Header {
    /// The header in a row's cells, read in `charset`.
    pub fn read(names: &ByteRecord, charset: Charset) -> Self {
        let column = |(place, name)| Column::new(charset.read_or_raw(name).0.into_owned(), place);
        let mut columns: Vec<Column> = names.iter().enumerate().map(column).collect();
        columns.sort();
        Self { columns }
    }

    /// Makes room for rows of `width` cells: columns that the header does not have are called by an empty name.
    pub fn widen(&mut self, width: usize) {
        if width > self.columns.len() {
            self.columns.extend((self.columns.len()..width).map(|place| Column::new(Vec::new(), place)));
            self.columns.sort();
        }
    }

    /// Writes a row's canonical form; returns how many of its cells are not in `charset`.
    pub(super) fn canonical(&mut self, row: &ByteRecord, charset: Charset, out: &mut Vec<u8>) -> u64 {
        self.widen(row.len());
        out.clear();
        let mut unfit = 0;
        for (column, cell) in self.cells(row) {
            let (text, fits) = charset.read_or_raw(cell);
            out.extend_from_slice(&column.netstring);
            push_netstring(out, &text);
            unfit += u64::from(!fits);
        }
        unfit
    }

    /// The cells of a row that are not empty, each with its column, in the order of the columns here.
    pub fn cells<'a>(&'a self, row: &'a ByteRecord) -> impl Iterator<Item = (&'a Column, &'a [u8])> {
        self.columns.iter().filter_map(|column| {
            let cell = row.get(column.place).filter(|cell| !cell.is_empty())?;
            Some((column, cell))
        })
    }
}
