//! Standard output: tables for people, JSON for programs.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::CliError;
use crate::exit_code::Exit;

/// Prints one JSON document.
pub(super) fn json(value: &impl Serialize) -> Result<Exit, CliError> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|e| CliError::new(Exit::Failed, format!("cannot be written as JSON: {e}")))?;
    text.push('\n');
    bytes(text.as_bytes())
}

/// Prints text, ending in a line feed.
pub(super) fn text(text: &str) -> Result<Exit, CliError> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    bytes(format!("{text}{end}").as_bytes())
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
    _ = writeln!(io::stderr().lock(), "connvault: {line}");
}

/// `n` of a thing, in words: `1 window`, `2 windows`.
pub(super) fn count(n: u64, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

/// A table with these headings, as wide as it must be.
pub(super) fn table<const N: usize>(headings: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(headings);
    table
}

/// A table as text, without blanks at the ends of lines.
pub(super) fn lines(table: &Table) -> String {
    table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}
