//! Which sheets of a workbook belong to the table of records, and which rows of them.
//!
//! The table's header is that of the sheet which names most known columns; where none does, of the first sheet with a row
//! of two cells. Another sheet belongs to the table
//! - if it has the same header (its columns may stand in another order), or
//! - if it has no header of its own and its rows fit: one has a start time in the column for it; where the table has
//!   no such column or no times in it, one has as many filled cells as a record, and none is wider than the header.
//!
//! A sheet that has another header with a start time holds records in another form: then the workbook cannot be read.
//! Every other sheet (notes, lists for drop-downs, sums) is left out and named in a note.

use csv::ByteRecord;

use super::columns::{Columns, Meaning};
use super::error::InspectError;
use super::header::{Beginning, Choice};
use super::record_times::is_time;
use super::rows::filled;

/// The header of a table, and how its first records look.
#[derive(Debug)]
pub(super) struct Table {
    /// The header's cells.
    pub(super) names: ByteRecord,
    columns: Columns,
    /// The fewest filled cells of its first records; of the header, where there are none.
    usual: usize,
    /// The column of the start time, where the first records have times in it.
    start: Option<usize>,
}

/// What a sheet is to the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It has no rows.
    Empty,
    /// All of its rows below so many belong to the table.
    Records {
        /// Titles and the header.
        above: usize,
        /// Whether the last of the rows above is a header.
        has_header: bool,
        /// For each column of the table, the column of this sheet, where their order differs.
        order: Option<Vec<usize>>,
    },
    /// It is not of the table.
    Other,
}

impl Table {
    /// The table of which `choice` is the header.
    pub(super) fn of(beginning: &Beginning, choice: Choice) -> Self {
        let names = beginning.rows()[choice.index].clone();
        let columns = Columns::find_in_any(&names);
        let records = &beginning.rows()[choice.index + 1..];
        let times = |&place: &usize| records.iter().any(|row| row.get(place).is_some_and(is_time));
        Self {
            usual: records.iter().map(filled).min().unwrap_or_else(|| filled(&names)),
            start: columns.place(Meaning::Start).filter(times),
            names,
            columns,
        }
    }

    /// What a sheet that begins so is to this table.
    ///
    /// # Errors
    /// When it holds records in another form.
    pub(super) fn role(&self, sheet: &Beginning) -> Result<Role, InspectError> {
        if sheet.rows().is_empty() {
            return Ok(Role::Empty);
        }
        let own = sheet.rows().iter().enumerate().find_map(|(place, row)| Some((place, self.order(row)?)));
        if let Some((place, order)) = own {
            return Ok(Role::Records { above: place + 1, has_header: true, order });
        }
        let foreign = sheet.choose().filter(|choice| choice.known > 0);
        if let Some(choice) = foreign {
            let has_start = Columns::find_in_any(&sheet.rows()[choice.index]).place(Meaning::Start).is_some();
            let contradicts = has_start || self.columns.place(Meaning::Start).is_none();
            return if contradicts { Err(contradiction()) } else { Ok(Role::Other) };
        }
        if let Some(start) = self.start {
            let fits = sheet.rows().iter().any(|row| row.get(start).is_some_and(is_time));
            return Ok(if fits { self.all() } else { Role::Other });
        }
        let wide = sheet.rows().iter().map(ByteRecord::len).max().unwrap_or(0);
        let full = sheet.rows().iter().map(filled).max().unwrap_or(0);
        match (full >= self.usual, wide > self.names.len()) {
            (true, false) => Ok(self.all()),
            (true, true) => Err(contradiction()),
            (false, _) => Ok(Role::Other),
        }
    }

    fn all(&self) -> Role {
        Role::Records { above: 0, has_header: false, order: None }
    }

    /// Whether `row` is this table's header: `Some(None)` if it is the same, `Some(order)` if its columns stand in another
    /// order.
    fn order(&self, row: &ByteRecord) -> Option<Option<Vec<usize>>> {
        if *row == self.names {
            return Some(None);
        }
        if row.len() != self.names.len() || !self.columns.are_a_header() {
            return None;
        }
        let place = |name: &[u8]| row.iter().position(|other| other == name);
        let order: Vec<usize> = self.names.iter().map(place).collect::<Option<_>>()?;
        let mut places = order.clone();
        places.sort_unstable();
        places.dedup();
        (places.len() == order.len()).then_some(Some(order))
    }
}

fn contradiction() -> InspectError {
    InspectError::unread("two sheets of the workbook hold records under different headers")
}

/// Puts the cells of a row into the order of the table.
pub(super) fn reorder(row: &ByteRecord, order: &[usize], out: &mut ByteRecord) {
    out.clear();
    order.iter().for_each(|&place| out.push_field(row.get(place).unwrap_or_default()));
    row.iter().skip(order.len()).for_each(|cell| out.push_field(cell));
}
