//! Standard output: tables for people, JSON for programs.

use std::io::{self, Write};

use comfy_table::{ColumnConstraint, ContentArrangement, presets};
use serde::Serialize;

use super::CliError;
use crate::domain::text::{clean, is_harmful, json_escaped};
use crate::exit_code::Exit;

/// Prints one JSON document.
pub(super) fn json(value: &impl Serialize) -> Result<Exit, CliError> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|e| CliError::new(Exit::Failed, format!("cannot be written as JSON: {e}")))?;
    text.push('\n');
    bytes(json_escaped(&text).as_bytes())
}

/// Prints text, ending in a line feed, without what a terminal would obey: a store, a provider or an old ledger may have
/// brought it.
pub(super) fn text(text: &str) -> Result<Exit, CliError> {
    let lines: String = text.lines().map(|line| clean(line, usize::MAX).into_owned() + "\n").collect();
    bytes(lines.as_bytes())
}

/// Prints bytes as they are. A reader that has gone away (`| head`) has seen enough.
pub(super) fn bytes(bytes: &[u8]) -> Result<Exit, CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(Exit::Done),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => Err(CliError::new(Exit::Failed, format!("standard output: {error}"))),
    }
}

/// Says one line on standard error. Where nobody reads it any more there is nobody to be told.
pub(super) fn say(line: &str) {
    _ = writeln!(io::stderr().lock(), "connvault: {}", printable(line));
}

/// A text that may come from anywhere, an archive for one, as one line that a terminal only shows: what would move the
/// cursor, colour, or turn the reading round is spelled out.
pub(super) fn printable(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            plain.extend(c.escape_unicode());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// `n` of a thing, in words: `1 window`, `2 windows`.
pub(super) fn count(n: u64, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

/// A table for people. Each cell is one harmless line, whoever sent what is in it.
pub(super) struct Table(comfy_table::Table);

/// A table with these headings, as wide as it must be.
pub(super) fn table<const N: usize>(headings: [&str; N]) -> Table {
    let mut table = comfy_table::Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(headings);
    Table(table)
}

impl Table {
    /// Adds a row.
    pub(super) fn add_row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.add_row(cells.map(|cell| clean(&cell, usize::MAX).into_owned()));
    }

    /// How wide each column may be.
    pub(super) fn set_constraints<const N: usize>(&mut self, widths: [ColumnConstraint; N]) {
        self.0.set_constraints(widths);
    }

    /// Whether it has no row.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A table as text, without blanks at the ends of lines.
pub(super) fn lines(table: &Table) -> String {
    table.0.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_harmless_line_in_a_row_of_its_own() {
        let mut shown = table(["a", "b"]);
        shown.add_row(["x\ny\u{1b}[2J".to_owned(), "\u{202e}z".to_owned()]);
        assert_eq!(lines(&shown).lines().count(), 2, "{}", lines(&shown));
        assert!(!lines(&shown).contains(['\u{1b}', '\u{202e}']));
    }

    #[test]
    fn what_a_terminal_would_obey_is_spelled_out() {
        assert_eq!(
            printable("log/\u{1b}[2J\nlogins: nothing is wrong"),
            "log/\\u{1b}[2J\\u{a}logins: nothing is wrong"
        );
        assert_eq!(printable("\u{9b}31m \u{202e}dne"), "\\u{9b}31m \\u{202e}dne");
        assert_eq!(printable("Überwachung 记录 …"), "Überwachung 记录 …");
    }
}
