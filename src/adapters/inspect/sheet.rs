//! Reads one sheet of a workbook as rows.
//!
//! A cell says by its reference where it stands (`C5`, `c5`), in whatever order the cells come; without one it stands
//! right of the cell before. Of several cells at one place the last that is not empty counts. A cell's text may stand in
//! `<v>`, in `<is>` or in `<t>`, whatever the cell's type says, and all of it counts. Text at any other place in a cell
//! makes the sheet unreadable: it might be shown, and it would be missing.

use std::ops::Range;

use csv::ByteRecord;

use super::error::InspectError;
use super::rich_text::{RichText, XML_SPACE, is_blank, push_unescaped};
use super::rows::{MAX_COLUMNS, MAX_ROW};
use super::shared_strings::SharedStrings;
use super::xml::{Element, Node, Xml};

/// Cells of one row that are held, before those of one place are put together.
const MAX_CELLS: usize = 2 * MAX_COLUMNS;

/// What the text in a cell's `<v>` is, by the cell's `t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CellType {
    /// The number of a shared text.
    Shared,
    /// A text: that in `<is>`, a formula's result, or an error such as `#N/A`.
    Text,
    /// A number, a boolean or a date, as it is written there.
    Value,
}

/// A sheet that is being read.
pub(super) struct Sheet<'m, 's> {
    part: Xml<'m>,
    strings: &'s mut SharedStrings,
    in_rows: bool,
    row: u64,
    /// The number that the row says to have, or that follows from the row before.
    number: u64,
    in_cell: bool,
    kind: CellType,
    /// The number of the cell's column, from 1.
    column: usize,
    in_value: bool,
    /// How deep the reader is inside an element whose text is not shown.
    hidden: usize,
    value: String,
    text: RichText,
    cell: Cell,
    filled: Filled,
}

/// The text of one cell.
#[derive(Debug, Default)]
struct Cell {
    bytes: Vec<u8>,
}

/// The cells of a row that are not empty, in the order in which they came.
#[derive(Debug, Default)]
struct Filled {
    bytes: Vec<u8>,
    cells: Vec<(usize, Range<usize>)>,
    in_order: bool,
}

impl<'m, 's> Sheet<'m, 's> {
    /// The sheet in `part`.
    pub(super) fn new(part: Xml<'m>, strings: &'s mut SharedStrings) -> Self {
        Self {
            part,
            strings,
            in_rows: false,
            row: 0,
            number: 0,
            in_cell: false,
            kind: CellType::Value,
            column: 0,
            in_value: false,
            hidden: 0,
            value: String::new(),
            text: RichText::default(),
            cell: Cell::default(),
            filled: Filled::default(),
        }
    }

    /// Puts the next row that is not empty into `cells`; `false` when the sheet has ended.
    pub(super) fn next_row(&mut self, cells: &mut ByteRecord) -> Result<bool, InspectError> {
        loop {
            // What a node means depends on fields beside the one that it borrows from, hence the free functions.
            match self.part.next()? {
                Node::Start(element) if !self.in_rows => self.in_rows = element.name() == "sheetData",
                Node::End(_) if !self.in_rows => {}
                Node::Start(_) if self.hidden > 0 => self.hidden += 1,
                Node::End(_) if self.hidden > 0 => self.hidden -= 1,
                Node::Text(_) if self.hidden > 0 => {}
                Node::Start(element) => match element.name() {
                    "row" => {
                        self.number = row_number(&element, self.number)?;
                        self.row += 1;
                        self.column = 0;
                        self.filled.clear();
                    }
                    "c" => {
                        (self.column, self.kind) = begin_cell(&element, self.column)?;
                        self.in_cell = true;
                        self.value.clear();
                        self.text.begin();
                    }
                    "v" => self.in_value = true,
                    "f" | "extLst" => self.hidden = 1,
                    _ => self.text.start(&element)?,
                },
                Node::Text(text) if self.in_value => {
                    // More than a row can hold is refused at the cell's end.
                    if self.value.len() <= MAX_ROW {
                        self.value.push_str(&text);
                    }
                }
                Node::Text(text) if self.in_cell && !self.text.takes_text() && !is_blank(&text) => {
                    return Err(self.unread("a cell has text at a place that is not known"));
                }
                Node::Text(text) => self.text.push(&text)?,
                Node::End(end) => match end.name() {
                    "sheetData" => self.in_rows = false,
                    "row" if self.filled.put_into(cells) => return Ok(true),
                    "c" => self.end_cell()?,
                    "v" => self.in_value = false,
                    name => self.text.end(name),
                },
                Node::Eof => return Ok(false),
                Node::Other => {}
            }
        }
    }

    /// Keeps the text of the cell that has been read.
    fn end_cell(&mut self) -> Result<(), InspectError> {
        self.in_cell = false;
        let plain = self.value.trim_matches(XML_SPACE);
        let bytes = &mut self.cell.bytes;
        bytes.clear();
        match self.kind {
            CellType::Value => bytes.extend_from_slice(plain.as_bytes()),
            CellType::Text => {
                let mut text = String::new();
                push_unescaped(&mut text, &self.value);
                bytes.extend_from_slice(text.as_bytes());
            }
            CellType::Shared if plain.is_empty() => {}
            CellType::Shared => {
                let number = plain.parse().map_err(|_| self.unread("a cell names a text by no number"))?;
                if !self.strings.get(number, &mut self.cell.bytes).map_err(InspectError::Io)? {
                    return Err(self.unread("a cell names a text that is not in the table of shared texts"));
                }
            }
        }
        // Text that stands beside the value: before it, as where a cell has both, `<is>` is the one that is shown.
        let beside = self.text.text().as_bytes();
        if beside != self.cell.bytes {
            self.cell.bytes.splice(0..0, beside.iter().copied());
        }
        if self.filled.bytes.len() + self.cell.bytes.len() > MAX_ROW || self.filled.cells.len() >= MAX_CELLS {
            return Err(self.unread("it holds more than a row of an export can"));
        }
        self.filled.push(self.column, &self.cell.bytes);
        Ok(())
    }

    fn unread(&self, what: &str) -> InspectError {
        InspectError::unread(format_args!("{}, row {}: {what}", self.part.name(), self.row))
    }
}

impl Filled {
    fn clear(&mut self) {
        self.bytes.clear();
        self.cells.clear();
        self.in_order = true;
    }

    fn push(&mut self, column: usize, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        self.in_order &= self.cells.last().is_none_or(|(last, _)| *last < column);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        self.cells.push((column, start..self.bytes.len()));
    }

    /// Puts the cells into their columns, with empty cells in those that were left out; `false` when the row is empty.
    fn put_into(&mut self, row: &mut ByteRecord) -> bool {
        if !self.in_order {
            // Stable: of the cells of one column, the last stays the last.
            self.cells.sort_by_key(|(column, _)| *column);
        }
        row.clear();
        for (place, (column, text)) in self.cells.iter().enumerate() {
            let overruled = self.cells.get(place + 1).is_some_and(|(next, _)| next == column);
            if !overruled {
                (row.len()..column - 1).for_each(|_| row.push_field(b""));
                row.push_field(&self.bytes[text.clone()]);
            }
        }
        !self.cells.is_empty()
    }
}

/// The number (from 1) of the column that a cell stands in, after column `before`, and the cell's type.
fn begin_cell(cell: &Element<'_>, before: usize) -> Result<(usize, CellType), InspectError> {
    let unread = |what: &str| InspectError::unread(format_args!("after column {before} of a row: {what}"));
    let column = match cell.attribute("r")?.as_deref() {
        None | Some("") => before + 1,
        Some(place) => column_of(place).ok_or_else(|| unread("a cell stands at no place that there is"))?,
    };
    if column > MAX_COLUMNS {
        return Err(unread("a cell stands right of the last column that there is"));
    }
    let kind = match cell.attribute("t")?.as_deref() {
        Some("s") => CellType::Shared,
        Some("inlineStr" | "str" | "e") => CellType::Text,
        None | Some("" | "n" | "b" | "d") => CellType::Value,
        Some(_) => return Err(unread("a cell is of a type that is not known")),
    };
    Ok((column, kind))
}

/// The number of the row that begins, after row `before`. Rows that stand out of order or twice would make another table than
/// the one that a spreadsheet program shows.
fn row_number(row: &Element<'_>, before: u64) -> Result<u64, InspectError> {
    let Some(number) = row.attribute("r")?.and_then(|number| number.trim().parse().ok()) else {
        return Ok(before.saturating_add(1));
    };
    if number <= before {
        let what = format_args!("row {number} stands after row {before}");
        return Err(InspectError::unread(what));
    }
    Ok(number)
}

/// The number of the column in a reference such as `C5` or `$C$5`, from 1.
fn column_of(place: &str) -> Option<usize> {
    let place = place.strip_prefix('$').unwrap_or(place);
    let rest = place.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let letters = &place[..place.len() - rest.len()];
    let digits = rest.strip_prefix('$').unwrap_or(rest);
    let well_formed = (1..=3).contains(&letters.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
    let number = |column, letter: u8| column * 26 + usize::from(letter.to_ascii_uppercase() - b'A') + 1;
    (well_formed && !digits.is_empty()).then(|| letters.bytes().fold(0, number))
}
