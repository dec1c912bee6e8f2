//! Whether blanks before the quotes around a cell are a habit of a text's writer, as in `a, "b"`.

use csv::ByteRecord;

/// The cells of a text, column by column.
#[derive(Debug, Default)]
pub(super) struct Spacing {
    columns: Vec<Cells>,
}

/// What the cells of one column are.
#[derive(Debug, Clone, Copy, Default)]
struct Cells {
    /// One is in quotes after blanks.
    after_blanks: bool,
    /// One is filled, and written in another way.
    otherwise: bool,
}

impl Spacing {
    /// Adds a record, of which the cells at `after_blanks` (in order) are in quotes after blanks.
    pub(super) fn add(&mut self, row: &ByteRecord, after_blanks: &[usize]) {
        if self.columns.len() < row.len() {
            self.columns.resize(row.len(), Cells::default());
        }
        let mut rest = after_blanks.iter().peekable();
        for (place, (cell, column)) in row.iter().zip(&mut self.columns).enumerate() {
            if rest.next_if(|next| **next == place).is_some() {
                column.after_blanks = true;
            } else {
                column.otherwise |= !cell.trim_ascii().is_empty();
            }
        }
    }

    /// Whether some columns are written so, and each of them in every row that fills it.
    pub(super) fn is_a_habit(&self) -> bool {
        let mut written_so = self.columns.iter().filter(|column| column.after_blanks).peekable();
        written_so.peek().is_some() && written_so.all(|column| !column.otherwise)
    }
}
