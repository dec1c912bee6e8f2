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
    _ = writeln!(io::stderr().lock(), "connvault: {}", printable(line));
}

/// A text that may come from anywhere, an archive for one, as one line that a terminal only shows: what would move the
/// cursor, colour, or turn the reading round is spelled out.
pub(super) fn printable(text: &str) -> String {
    let is_plain = |c: char| {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        !c.is_control() && !turns
    };
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) {
            plain.push(c);
        } else {
            plain.extend(c.escape_unicode());
        }
    }
    plain
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

#[cfg(test)]
mod tests {
    use super::*;

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
