//! Which sheets of a workbook belong to the table of records, and which rows of them.
//!
//! The table's header is that of the sheet which names most known columns; where none does, of the first sheet with a row
//! of two cells. Another sheet belongs to the table
//! - if it has the same header (its columns may stand in another order, be named in other words or in the other language,
//!   and have columns without a name between them), or
//! - if it has no header of its own and its rows fit: one has a start time in the column for it; where the table has
//!   no such column or no times in it, one has as many filled cells as a record, and none is wider than the header.
//!
//! A sheet that has another header with a start time holds records in another form: then the workbook cannot be read. Nor
//! can it where a sheet does not fit that has a row about as full as a record: with two thirds of the cells or more.
//! Every other sheet (notes, lists for drop-downs, sums) is left out and named in a note.

use csv::ByteRecord;

use super::columns::{Columns, Meaning, Sense};
use super::error::InspectError;
use super::header::{Beginning, Choice};
use super::record_times::is_time;
use super::rows::{filled, is_empty};
use super::sheet::Sheet;

/// More names than the header of any export has: a wider one is compared as it is written.
const MOST_NAMES: usize = 128;

/// The header of a table, and how its first records look.
#[derive(Debug)]
pub(super) struct Table {
    /// The header's cells.
    pub(super) names: ByteRecord,
    columns: Columns,
    /// What each of its names says.
    senses: Vec<Option<Sense>>,
    /// The fewest filled cells of its first records; of the header, where there are none.
    usual: usize,
    /// The column of the start time, where the first records have times in it.
    start: Option<usize>,
    /// Columns in which the first records have other texts than times.
    without_times: Vec<usize>,
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
        /// Where the columns of this sheet stand in the table, where that is elsewhere.
        order: Option<Order>,
    },
    /// It has another header, and is not of the table.
    OtherTable,
    /// Its rows are not of the table, as far as each of them is [narrow](Table::is_narrow).
    Other,
}

impl Table {
    /// The table of which `choice` is the header.
    pub(super) fn of(beginning: &Beginning, choice: Choice) -> Self {
        let names = beginning.rows()[choice.index].clone();
        let columns = Columns::find_in_any(&names);
        let records = &beginning.rows()[choice.index + 1..];
        let times = |&place: &usize| records.iter().any(|row| row.get(place).is_some_and(is_time));
        let texts = |place: &usize| {
            let mut cells = records.iter().filter_map(|row| row.get(*place)).filter(|cell| !cell.is_empty());
            cells.next().is_some() && !times(place)
        };
        let start = columns.place(Meaning::Start).filter(times);
        // A footer is no record.
        let is_record = |row: &&ByteRecord| start.is_none_or(|start| row.get(start).is_some_and(is_time));
        Self {
            usual: records.iter().filter(is_record).map(filled).min().unwrap_or_else(|| filled(&names)),
            without_times: (0..names.len()).filter(texts).collect(),
            start,
            senses: names.iter().map(Sense::of).collect(),
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
            return if contradicts { Err(contradiction()) } else { Ok(Role::OtherTable) };
        }
        if let Some(start) = self.start {
            let fits = |row: &ByteRecord| row.get(start).is_some_and(is_time) && !self.is_shifted(row);
            return match sheet.rows() {
                rows if rows.iter().any(fits) => Ok(self.all()),
                rows if rows.iter().all(|row| self.is_narrow(row)) => Ok(Role::Other),
                _ => Err(contradiction()),
            };
        }
        let wide = sheet.rows().iter().map(ByteRecord::len).max().unwrap_or(0);
        let full = sheet.rows().iter().map(filled).max().unwrap_or(0);
        match (full >= self.usual, wide > self.names.len()) {
            (true, false) => Ok(self.all()),
            (false, _) if sheet.rows().iter().all(|row| self.is_narrow(row)) => Ok(Role::Other),
            _ => Err(contradiction()),
        }
    }

    /// Whether a row is far less full than a record: it has fewer than two thirds of the cells, and no start time.
    fn is_narrow(&self, row: &ByteRecord) -> bool {
        let is_started = self.start.is_some_and(|start| row.get(start).is_some_and(is_time));
        !is_started && filled(row) * 3 < self.usual * 2
    }

    /// Makes sure that a sheet which is left out has no row that is about as full as a record.
    ///
    /// # Errors
    /// When it has one.
    pub(super) fn leave_out(&self, mut sheet: Sheet<'_, '_>) -> Result<(), InspectError> {
        let mut row = ByteRecord::new();
        while sheet.next_row(&mut row)? {
            if !is_empty(&row) && !self.is_narrow(&row) {
                return Err(contradiction());
            }
        }
        Ok(())
    }

    /// Whether a row has a time where no record has one.
    fn is_shifted(&self, row: &ByteRecord) -> bool {
        self.without_times.iter().any(|&place| row.get(place).is_some_and(is_time))
    }

    fn all(&self) -> Role {
        Role::Records { above: 0, has_header: false, order: None }
    }

    /// Whether `row` is this table's header: `Some(None)` if its columns stand in the same order, `Some(order)` if in another.
    fn order(&self, row: &ByteRecord) -> Option<Option<Order>> {
        if *row == self.names {
            return Some(None);
        }
        let named = |senses: &[Option<Sense>]| senses.iter().flatten().count();
        if filled(row) != named(&self.senses) || filled(row) > MOST_NAMES {
            return None;
        }
        let mut pairing = Pairing::of(self, row);
        pairing.pair(|name, other| name.1 == other.1);
        pairing.pair(|name, other| name.0.is_written_as(&other.0));
        pairing.pair_the_only(|name, other| name.0.means(&other.0));
        let order = pairing.order(row.len())?;
        // Names that are not known say little: those of the other sheet must stand in the same order, as in a copy.
        let is_copy = filled(row) >= 2 && order.is_identity();
        if !self.columns.are_a_header() && !is_copy {
            return None;
        }
        Some((!order.is_identity()).then_some(order))
    }
}

/// For each column of a sheet, the column of the table in which its cells belong; columns beyond it have no name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    targets: Vec<usize>,
    /// Where the cells right of these columns begin.
    beyond: usize,
}

impl Order {
    fn is_identity(&self) -> bool {
        self.targets.iter().enumerate().all(|(place, target)| place == *target)
    }
}

/// A name, what it says, and its place.
type Name<'n> = (Sense, &'n [u8], usize);

/// The columns of a table and of a sheet, while they are paired.
struct Pairing<'n> {
    /// Columns of either that have no partner yet.
    table: Vec<Name<'n>>,
    sheet: Vec<Name<'n>>,
    /// Of the table and of the sheet.
    pairs: Vec<(usize, usize)>,
    width: usize,
}

impl<'n> Pairing<'n> {
    fn of(table: &'n Table, row: &'n ByteRecord) -> Self {
        let named = |(place, (sense, name)): (usize, (Option<Sense>, &'n [u8]))| Some((sense?, name, place));
        let of_table = table.senses.iter().cloned().zip(&table.names);
        let of_sheet = row.iter().map(|name| (Sense::of(name), name));
        Self {
            table: of_table.enumerate().filter_map(named).collect(),
            sheet: of_sheet.enumerate().filter_map(named).collect(),
            pairs: Vec::new(),
            width: table.names.len(),
        }
    }

    /// Pairs each column of the table with the first of the sheet that is the same.
    fn pair(&mut self, same: impl Fn(&Name<'_>, &Name<'_>) -> bool) {
        let Self { table, sheet, pairs, .. } = self;
        table.retain(|name| match sheet.iter().position(|other| same(name, other)) {
            Some(place) => {
                pairs.push((name.2, sheet.remove(place).2));
                false
            }
            None => true,
        });
    }

    /// As [`Self::pair`], where only one column of the table and one of the sheet are the same.
    fn pair_the_only(&mut self, same: impl Fn(&Name<'_>, &Name<'_>) -> bool) {
        let (all_of_table, all_of_sheet) = (self.table.clone(), self.sheet.clone());
        let the_only = |name: &Name<'_>| {
            let mut partners = all_of_sheet.iter().filter(|other| same(name, other));
            let (partner, more) = (partners.next()?, partners.next());
            let is_wanted_once = all_of_table.iter().filter(|any| same(any, partner)).count() == 1;
            (more.is_none() && is_wanted_once).then_some(partner.2)
        };
        let Self { table, sheet, pairs, .. } = self;
        table.retain(|name| match the_only(name) {
            Some(place) => {
                pairs.push((name.2, place));
                sheet.retain(|other| other.2 != place);
                false
            }
            None => true,
        });
    }

    /// The order of the sheet's columns, if each name has found its partner. Columns without a name come after the table's.
    fn order(self, width: usize) -> Option<Order> {
        if !self.table.is_empty() || !self.sheet.is_empty() {
            return None;
        }
        let mut targets = vec![usize::MAX; width];
        self.pairs.iter().for_each(|&(of_table, of_sheet)| targets[of_sheet] = of_table);
        let mut beyond = self.width;
        for target in targets.iter_mut().filter(|target| **target == usize::MAX) {
            *target = beyond;
            beyond += 1;
        }
        Some(Order { targets, beyond })
    }
}

fn contradiction() -> InspectError {
    InspectError::unread("two sheets of the workbook hold records under different headers")
}

/// Puts the cells of a row into the order of the table.
pub(super) fn reorder(row: &ByteRecord, order: &Order, out: &mut ByteRecord) {
    let target = |place: usize| match order.targets.get(place) {
        Some(target) => *target,
        None => order.beyond + (place - order.targets.len()),
    };
    let filled = row.iter().enumerate().filter(|(_, cell)| !cell.is_empty());
    let mut cells: Vec<(usize, &[u8])> = filled.map(|(place, cell)| (target(place), cell)).collect();
    cells.sort_unstable_by_key(|(place, _)| *place);
    out.clear();
    for (place, cell) in cells {
        (out.len()..place).for_each(|_| out.push_field(b""));
        out.push_field(cell);
    }
}
