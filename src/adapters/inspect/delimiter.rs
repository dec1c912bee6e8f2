//! What stands between the cells of a text: a first line says so, or known columns show, or else the likeliest is taken.

use csv::ByteRecord;

use super::columns::Columns;

/// Lines that are looked at.
const LINES: usize = 32;

/// What may stand between cells, the likeliest first.
const USUAL: &[u8] = b",;\t|";

/// Other bytes by which a line may name known columns. None of them is part of a name, of a time or of an address.
const UNUSUAL: &[u8] = b"^~\x01\x1f\x1e\x1d\x1c\x02\x03\x04\x05\x06\x07\x08\x0e\x0f#!*$";

/// Of these, those that divide unknown names: none is written in sentences.
const NOT_IN_PROSE: usize = 16;

/// A first line such as `sep=;`, by which spreadsheet programs name the delimiter: the delimiter, and the line's length.
pub(super) fn delimiter_line(text: &[u8]) -> Option<(u8, usize)> {
    let length = text.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(text.len());
    let line = text[..length].strip_prefix(b"\"").unwrap_or(&text[..length]);
    let delimiter = *line.get(4).filter(|_| line[..4].eq_ignore_ascii_case(b"sep="))?;
    let alone = matches!(line[5..].trim_ascii(), b"" | b"\"");
    (alone && delimiter.is_ascii() && !delimiter.is_ascii_alphanumeric() && delimiter != b'"')
        .then_some((delimiter, length))
}

/// The lines at the beginning of a text.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n' || byte == b'\r')
        .filter(|line| !line.trim_ascii().is_empty())
        .take(LINES)
}

/// The delimiter by which one of the first lines names known columns; of several the one that finds most.
pub(super) fn known_delimiter(text: &[u8]) -> Option<u8> {
    let known = |delimiter: u8| {
        let columns = |line: &[u8]| {
            let cells: ByteRecord = line.split(|&byte| byte == delimiter).collect();
            Columns::find_in_any(&cells)
        };
        let divided = lines(text).filter(|line| line.contains(&delimiter));
        divided.map(columns).filter(Columns::are_a_header).map(|columns| columns.len()).max().unwrap_or(0)
    };
    // `max_by_key` takes the last of equals, and the comma is to win.
    let counts = USUAL.iter().chain(UNUSUAL).rev().map(|&delimiter| (delimiter, known(delimiter)));
    counts.max_by_key(|(_, known)| *known).filter(|(_, known)| *known > 0).map(|(delimiter, _)| delimiter)
}

/// The delimiter that the first line with any has most of outside quotes. A bar counts only where a line has no other; an
/// unusual one where no line has a usual one, and each has as many.
pub(super) fn likeliest_delimiter(text: &[u8]) -> u8 {
    let bar = |line: &[u8]| line.contains(&b'|').then_some(b'|');
    let usual = lines(text).find_map(|line| in_line(line).or_else(|| bar(line)));
    usual.or_else(|| in_all_lines(text)).unwrap_or(b',')
}

fn in_line(line: &[u8]) -> Option<u8> {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for &byte in line {
        quoted ^= byte == b'"';
        if let Some((_, count)) = counts.iter_mut().find(|(delimiter, _)| !quoted && *delimiter == byte) {
            *count += 1;
        }
    }
    let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
    most.filter(|(_, count)| *count > 0).map(|(delimiter, _)| delimiter)
}

/// The unusual delimiter that stands as often in each of several lines.
fn in_all_lines(text: &[u8]) -> Option<u8> {
    let regular = |delimiter: &u8| {
        let mut counts = lines(text).map(|line| line.iter().filter(|byte| *byte == delimiter).count());
        let first = counts.next().filter(|count| *count > 0)?;
        let others: Vec<usize> = counts.collect();
        (!others.is_empty() && others.iter().all(|count| *count == first)).then_some(*delimiter)
    };
    UNUSUAL[..NOT_IN_PROSE].iter().find_map(regular)
}
