//! Reads one sheet of a workbook as rows.

use csv::ByteRecord;

use super::error::InspectError;
use super::rich_text::{RichText, XML_SPACE, push_unescaped};
use super::rows::{MAX_ROW, is_empty};
use super::shared_strings::SharedStrings;
use super::xml::{Element, Node, Xml};

/// A sheet has columns A to XFD.
const MAX_COLUMNS: usize = 16_384;

/// What the text in a cell's `<v>` is, by the cell's `t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CellType {
    /// The number of a shared text.
    Shared,
    /// The text stands in `<is>` instead.
    Inline,
    /// The text itself: a formula's result, or an error such as `#N/A`.
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
    kind: CellType,
    column: usize,
    in_value: bool,
    value: String,
    text: RichText,
    bytes: Vec<u8>,
}

impl<'m, 's> Sheet<'m, 's> {
    /// The sheet in `part`.
    pub(super) fn new(part: Xml<'m>, strings: &'s mut SharedStrings) -> Self {
        Self {
            part,
            strings,
            in_rows: false,
            row: 0,
            kind: CellType::Value,
            column: 0,
            in_value: false,
            value: String::new(),
            text: RichText::default(),
            bytes: Vec::new(),
        }
    }

    /// Puts the next row that is not empty into `cells`; `false` when the sheet has ended.
    pub(super) fn next_row(&mut self, cells: &mut ByteRecord) -> Result<bool, InspectError> {
        loop {
            // What a node means depends on fields beside the one that it borrows from, hence the free functions.
            match self.part.next()? {
                Node::Start(element) if !self.in_rows => self.in_rows = element.name() == "sheetData",
                Node::End(_) if !self.in_rows => {}
                Node::Start(element) => match element.name() {
                    "row" => {
                        self.row += 1;
                        self.column = 0;
                        cells.clear();
                    }
                    "c" => {
                        (self.column, self.kind) = begin_cell(&element, self.column)?;
                        self.value.clear();
                        self.text.begin();
                    }
                    "v" => self.in_value = true,
                    _ => self.text.start(&element)?,
                },
                Node::Text(text) if self.in_value && self.value.len() <= MAX_ROW => {
                    self.value.push_str(&text)
                }
                Node::Text(text) => self.text.push(&text)?,
                Node::End(end) => match end.name() {
                    "sheetData" => self.in_rows = false,
                    "row" if !is_empty(cells) => return Ok(true),
                    "c" => self.end_cell(cells)?,
                    "v" => self.in_value = false,
                    name => self.text.end(name),
                },
                Node::Eof => return Ok(false),
                Node::Other => {}
            }
        }
    }

    /// Puts the cell that has been read into its column, and empty cells into those that were left out before it.
    fn end_cell(&mut self, cells: &mut ByteRecord) -> Result<(), InspectError> {
        let plain = self.value.trim_matches(XML_SPACE);
        self.bytes.clear();
        match self.kind {
            CellType::Value => self.bytes.extend_from_slice(plain.as_bytes()),
            CellType::Inline => self.bytes.extend_from_slice(self.text.text().as_bytes()),
            CellType::Text => {
                let mut text = String::new();
                push_unescaped(&mut text, &self.value);
                self.bytes.extend_from_slice(text.as_bytes());
            }
            CellType::Shared if plain.is_empty() => {}
            CellType::Shared => {
                let number = plain.parse().map_err(|_| self.damaged("a cell names a text by no number"))?;
                if !self.strings.get(number, &mut self.bytes).map_err(InspectError::Io)? {
                    return Err(self.damaged("a cell names a text that is not in the table of shared texts"));
                }
            }
        }
        if cells.as_slice().len() + self.bytes.len() > MAX_ROW {
            return Err(self.damaged("it holds more than a row of an export can"));
        }
        if !self.bytes.is_empty() {
            (cells.len()..self.column - 1).for_each(|_| cells.push_field(b""));
            cells.push_field(&self.bytes);
        }
        Ok(())
    }

    fn damaged(&self, what: &str) -> InspectError {
        InspectError::damaged(format_args!("{}, row {}: {what}", self.part.name(), self.row))
    }
}

/// The number (from 1) of the column that a cell stands in, after column `before`, and the cell's type.
fn begin_cell(cell: &Element<'_>, before: usize) -> Result<(usize, CellType), InspectError> {
    let damaged = |what: &str| InspectError::damaged(format_args!("after column {before} of a row: {what}"));
    let column = match cell.attribute("r")? {
        Some(place) => column_of(&place).ok_or_else(|| damaged("a cell stands at no place that there is"))?,
        None => before + 1,
    };
    if column <= before || column > MAX_COLUMNS {
        return Err(damaged("the cells of a row do not follow one another"));
    }
    let kind = match cell.attribute("t")?.as_deref() {
        Some("s") => CellType::Shared,
        Some("inlineStr") => CellType::Inline,
        Some("str" | "e") => CellType::Text,
        None | Some("n" | "b" | "d") => CellType::Value,
        Some(_) => return Err(damaged("a cell is of a type that is not known")),
    };
    Ok((column, kind))
}

/// The number of the column in a reference such as `C5`, from 1.
fn column_of(place: &str) -> Option<usize> {
    let digits = place.trim_start_matches(|c: char| c.is_ascii_uppercase());
    let letters = &place[..place.len() - digits.len()];
    let well_formed = (1..=3).contains(&letters.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
    let number = |column, letter: u8| column * 26 + usize::from(letter - b'A') + 1;
    (well_formed && !digits.is_empty()).then(|| letters.bytes().fold(0, number))
}
