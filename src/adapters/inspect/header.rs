//! Which row is the header: the first that names known columns, else the first that is as wide as the table.
//!
//! Rows above the header are titles. A title has one filled cell, or half as many as the header below it or fewer; so a
//! record that happens to hold two words which are column names never turns the header above it into a title.

use csv::ByteRecord;

use super::columns::Columns;
use super::rows::{filled, size};

/// Rows that are looked at before the header is chosen, and about how many bytes of memory they may take.
const MOST_ROWS: usize = 32;
const MOST_BYTES: usize = 256 << 10;

/// What kind of file the rows come from: text has a cell for each delimiter, a sheet only those that were filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Text,
    Sheet,
}

/// The rows at the beginning of a file or sheet.
#[derive(Debug)]
pub(super) struct Beginning {
    layout: Layout,
    rows: Vec<ByteRecord>,
    bytes: usize,
    /// The place of the first row that names known columns and has only titles above it.
    known: Option<usize>,
}

/// The header among the first rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    /// Its place, from 0; the rows before are titles.
    pub(super) index: usize,
    /// How many known columns it names, if that makes it a header, else 0.
    pub(super) known: usize,
}

impl Beginning {
    pub(super) fn of(layout: Layout) -> Self {
        Self { layout, rows: Vec::new(), bytes: 0, known: None }
    }

    /// Adds a row that is not empty; `true` when no further row is needed to choose the header.
    pub(super) fn push(&mut self, row: &ByteRecord) -> bool {
        let most = (filled(row) / 2).max(1);
        let below_titles = self.rows.iter().all(|title| filled(title) <= most);
        if self.known.is_none() && below_titles && Columns::find_in_any(row).are_a_header() {
            self.known = Some(self.rows.len());
        }
        self.bytes += size(row);
        self.rows.push(row.clone());
        self.known.is_some() || self.is_full()
    }

    /// Whether so many rows were added that no more should be.
    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= MOST_ROWS || self.bytes >= MOST_BYTES
    }

    /// The rows, in order.
    pub(super) fn rows(&self) -> &[ByteRecord] {
        &self.rows
    }

    /// The header; `None` when no row has two columns.
    pub(super) fn choose(&self) -> Option<Choice> {
        if let Some(index) = self.known {
            return Some(Choice { index, known: Columns::find_in_any(&self.rows[index]).len() });
        }
        let (index, cells): (_, fn(&ByteRecord) -> usize) = match self.layout {
            Layout::Sheet => (self.rows.iter().position(|row| filled(row) >= 2), filled),
            Layout::Text => (self.first_of_table(), ByteRecord::len),
        };
        // A row of unknown names is a header below titles only if records follow: else a message of a few lines, with a
        // comma in one of them, would be a table without records.
        let followed = |index: &usize| self.rows[index + 1..].iter().any(|row| cells(row) >= 2);
        index.filter(|index| *index == 0 || followed(index)).map(|index| Choice { index, known: 0 })
    }

    /// In text: the first row with half as many cells as the widest or more. The very first row is taken if it has as
    /// many cells as any.
    fn first_of_table(&self) -> Option<usize> {
        let widest = self.rows.iter().map(ByteRecord::len).max().filter(|&widest| widest >= 2)?;
        let is_title = |row: &ByteRecord| row.len() < widest && filled(row) <= (widest / 2).max(1);
        self.rows.iter().position(|row| row.len() >= 2 && !is_title(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(layout: Layout, rows: &[&str]) -> Option<(usize, usize)> {
        let mut beginning = Beginning::of(layout);
        for row in rows {
            if beginning.push(&ByteRecord::from(row.split(',').collect::<Vec<_>>())) {
                break;
            }
        }
        beginning.choose().map(|choice| (choice.index, choice.known))
    }

    #[test]
    fn the_header_is_the_first_row_that_names_known_columns() {
        for layout in [Layout::Text, Layout::Sheet] {
            assert_eq!(chosen(layout, &["User,Desktop,x", "li,d1,y"]), Some((0, 2)));
            assert_eq!(
                chosen(layout, &["Report", "from,to", "登录用户,桌面名称,x,y", "li,d1,y,z"]),
                Some((2, 2))
            );
        }
    }

    #[test]
    fn a_record_of_column_names_is_no_header() {
        for layout in [Layout::Text, Layout::Sheet] {
            assert_eq!(chosen(layout, &["A,B,C", "user,desktop,x"]), Some((0, 0)));
            assert_eq!(chosen(layout, &["A,B,", "user,desktop,x"]), Some((0, 0)));
        }
    }

    #[test]
    fn without_known_names_the_first_row_of_the_table_is_the_header() {
        assert_eq!(chosen(Layout::Text, &["A,B,C", "1,2,3"]), Some((0, 0)));
        assert_eq!(chosen(Layout::Text, &["A,B", "1,2,3"]), Some((0, 0)));
        assert_eq!(chosen(Layout::Text, &["Report", "by,me", "A,B,C,D", "1,2,3,4"]), Some((2, 0)));
        assert_eq!(chosen(Layout::Text, &["A,,,", "1,2,3,4"]), Some((0, 0)));
        assert_eq!(chosen(Layout::Sheet, &["Report", "A,B", "1,2,3,4,5"]), Some((1, 0)));
        for layout in [Layout::Text, Layout::Sheet] {
            assert_eq!(chosen(layout, &["Service Unavailable", "x"]), None);
            assert_eq!(chosen(layout, &["Service Unavailable", "Sorry,try again"]), None);
            assert_eq!(chosen(layout, &[]), None);
        }
    }
}
