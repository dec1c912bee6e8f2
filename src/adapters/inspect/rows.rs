//! Rows as they come out of a file, whatever its format: who takes them, and how cells find their header names.
//!
//! A row is a [`ByteRecord`]: its cells in column order, as bytes. Bytes, because the charset of delimited text is
//! only known once the last cell has been read; [`Charset::read`] makes text of them. A spreadsheet's cells are
//! UTF-8.

use std::borrow::Cow;

use csv::ByteRecord;
use encoding_rs::GB18030;

use super::error::InspectError;

/// No row of an export, and no piece of one, is longer than this many bytes. It bounds the memory that a damaged
/// or hostile file can make us use.
pub(super) const MAX_ROW: usize = 1 << 20;

/// Takes a file's rows, one after the other.
pub trait RowVisitor {
    /// The first row that is not empty. `charsets` are those that the file may be in, the likeliest first.
    ///
    /// # Errors
    /// What is returned ends the reading.
    fn header(&mut self, names: &ByteRecord, charsets: &[Charset]) -> Result<(), InspectError>;

    /// Each later row that is not empty, in the file's order. It may be shorter than the header (the other cells
    /// are empty) or, in a spreadsheet, longer.
    ///
    /// # Errors
    /// What is returned ends the reading.
    fn row(&mut self, cells: &ByteRecord) -> Result<(), InspectError>;
}

/// Whether a row has no cell with anything in it; such a row does not count.
pub(super) fn is_empty(cells: &ByteRecord) -> bool {
    cells.as_slice().is_empty()
}

/// A charset that exports come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// UTF-8.
    Utf8,
    /// GB18030, as the WHATWG Encoding Standard decodes it; GBK and GB2312 are parts of it.
    Gb18030,
}

impl Charset {
    /// Every charset. UTF-8 first: text of another charset is hardly ever valid UTF-8 by accident.
    pub const ALL: [Self; 2] = [Self::Utf8, Self::Gb18030];

    /// The text of a cell; `None` when its bytes are not in this charset.
    pub fn read(self, cell: &[u8]) -> Option<Cow<'_, str>> {
        match self {
            Self::Utf8 => std::str::from_utf8(cell).ok().map(Cow::Borrowed),
            Self::Gb18030 => GB18030.decode_without_bom_handling_and_without_replacement(cell),
        }
    }
}

/// A column: where it stands, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Column {
    name: String,
    place: usize,
    /// The name as it stands in the canonical form of rows.
    netstring: Vec<u8>,
}

impl Column {
    fn new(name: String, place: usize) -> Self {
        let mut netstring = Vec::new();
        push_netstring(&mut netstring, &name);
        Self { name, place, netstring }
    }

    /// What the header calls it; empty where the header has no name for it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Adds `text` as a netstring: its length in bytes, in decimal, then `:`, the text, and `,`.
pub(super) fn push_netstring(out: &mut Vec<u8>, text: &str) {
    push_decimal(out, text.len());
    out.push(b':');
    out.extend_from_slice(text.as_bytes());
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
    /// The header in a row's cells; `None` when they are not in `charset`.
    pub fn read(names: &ByteRecord, charset: Charset) -> Option<Self> {
        let column = |(place, name)| Some(Column::new(charset.read(name)?.into_owned(), place));
        let mut columns: Vec<Column> = names.iter().enumerate().map(column).collect::<Option<_>>()?;
        columns.sort();
        Some(Self { columns })
    }

    /// Makes room for rows of `width` cells: columns that the header does not have are called by an empty name.
    pub fn widen(&mut self, width: usize) {
        if width > self.columns.len() {
            self.columns.extend((self.columns.len()..width).map(|place| Column::new(String::new(), place)));
            self.columns.sort();
        }
    }

    /// Writes a row's canonical form; `false` when a cell is not in `charset`.
    pub(super) fn canonical(&mut self, row: &ByteRecord, charset: Charset, out: &mut Vec<u8>) -> bool {
        self.widen(row.len());
        out.clear();
        self.cells(row).all(|(column, cell)| {
            let text = charset.read(cell);
            text.is_some_and(|text| {
                out.extend_from_slice(&column.netstring);
                push_netstring(out, &text);
                true
            })
        })
    }

    /// The cells of a row that are not empty, each with its column, in the order of the columns here.
    pub fn cells<'a>(&'a self, row: &'a ByteRecord) -> impl Iterator<Item = (&'a Column, &'a [u8])> {
        self.columns.iter().filter_map(|column| {
            let cell = row.get(column.place).filter(|cell| !cell.is_empty())?;
            Some((column, cell))
        })
    }
}
