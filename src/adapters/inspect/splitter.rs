//! Splits delimited text into rows and cells.
//!
//! Rows are split before the charset is known. That is sound: `,` `;` `"`, tab, CR and LF are single bytes in UTF-8
//! and in GB18030, and no byte of a longer character equals one of them (in UTF-8 those are 0x80 and above; in
//! GB18030 the second byte is 0x30–0x39, 0x40–0x7E or 0x80–0xFE, the third 0x81–0xFE, the fourth 0x30–0x39). `|`, `^`, `~`
//! and `\` may be the second byte of a character in GB18030, and so are only given a meaning where nothing else fits.
//!
//! The rules are those of the `csv` crate, with which a test compares them: a cell is quoted if its first byte is `"`,
//! `""` inside quotes is one `"`, a line ends in LF, CR or CRLF, and lines without any byte are no rows.

use std::io::Read;

use csv::ByteRecord;

use super::error::InspectError;
use super::meter::Meter;
use super::rows::{MAX_COLUMNS, MAX_ROW};

const CHUNK: usize = 64 << 10;

/// How cells are quoted, beyond the rules above.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Dialect {
    /// Blanks before the quote that opens a cell, and after the one that closes it, are no part of it.
    pub(super) blanks: bool,
    /// Inside quotes, `\"` is `"`, and `\\` is `\`.
    pub(super) backslash: bool,
}

/// What comes next in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A row.
    Row,
    /// The text has ended.
    End,
    /// The text has ended inside a quoted cell.
    OpenQuote,
    /// The row does not end within the longest that there is.
    Endless,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    RowStart,
    CellStart,
    /// Blanks at the start of a cell.
    Blanks,
    Plain,
    Quoted,
    /// After a backslash inside quotes.
    Escape,
    /// After a quote inside quotes.
    Closed,
    /// Blanks after a closed cell, which begin at this byte of it.
    BlanksAfter(usize),
}

/// Text that is being split.
pub(super) struct Splitter<'m, R> {
    inner: R,
    meter: &'m Meter<'m>,
    delimiter: u8,
    dialect: Dialect,
    chunk: Vec<u8>,
    /// What is left of the chunk.
    at: usize,
    end: usize,
    /// Bytes read before the chunk.
    before: u64,
    /// Line ends so far.
    lines: u64,
    /// Whether the last byte that was taken is the CR of a line end.
    after_cr: bool,
    row_line: u64,
    /// The last byte of the chunk before, or of the text.
    last: u8,
    /// Bytes that may be meant in another dialect: blanks before a quote, a backslash before a quote.
    hints: Dialect,
    /// Whether a NUL is a character like any other, and how many there were.
    takes_nul: bool,
    nuls: u64,
    cell: Vec<u8>,
    /// Whether the cell was opened by a quote after blanks, and which cells of the row were and are nothing else.
    opened_after_blanks: bool,
    after_blanks: Vec<usize>,
}

impl<'m, R: Read> Splitter<'m, R> {
    pub(super) fn new(inner: R, delimiter: u8, dialect: Dialect, meter: &'m Meter<'m>) -> Self {
        Self {
            inner,
            meter,
            delimiter,
            dialect,
            chunk: vec![0; CHUNK],
            at: 0,
            end: 0,
            before: 0,
            lines: 0,
            after_cr: false,
            row_line: 1,
            last: b'\n',
            hints: Dialect::default(),
            takes_nul: false,
            nuls: 0,
            cell: Vec::new(),
            opened_after_blanks: false,
            after_blanks: Vec::new(),
        }
    }

    /// As this one, and takes a NUL for a character like any other if `takes_nul` says so; else it ends the reading.
    pub(super) fn taking_nul(self, takes_nul: bool) -> Self {
        Self { takes_nul, ..self }
    }

    /// How many NUL bytes were read.
    pub(super) fn nuls(&self) -> u64 {
        self.nuls
    }

    /// The cells of the row that was read last which are in quotes after blanks, by their places in order.
    pub(super) fn after_blanks(&self) -> &[usize] {
        &self.after_blanks
    }

    /// The line, from 1, at which the row begins that was read last.
    pub(super) fn line(&self) -> u64 {
        self.row_line
    }

    /// Whether the last line of a text that was read to its end has an end.
    pub(super) fn last_line_ended(&self) -> bool {
        matches!(self.last, b'\n' | b'\r')
    }

    /// The dialects that the text so far may have been meant in.
    pub(super) fn hints(&self) -> Dialect {
        self.hints
    }

    /// The byte, from 0, at which reading stands.
    pub(super) fn position(&self) -> u64 {
        self.before + self.at as u64
    }

    /// Puts the next row into `row`.
    pub(super) fn next(&mut self, row: &mut ByteRecord) -> Result<Next, InspectError> {
        row.clear();
        self.cell.clear();
        self.opened_after_blanks = false;
        self.after_blanks.clear();
        let mut state = State::RowStart;
        let mut row_start = self.position();
        loop {
            if self.at == self.end && !self.fill()? {
                return self.end_row(state, row);
            }
            if self.position() - row_start > MAX_ROW as u64 {
                return Ok(Next::Endless);
            }
            let byte = self.chunk[self.at];
            match state {
                State::RowStart if matches!(byte, b'\r' | b'\n') => {
                    self.line_end(byte);
                    row_start = self.position();
                }
                State::RowStart => {
                    self.after_cr = false;
                    self.row_line = self.lines + 1;
                    state = self.start_cell(byte);
                }
                State::CellStart => state = self.start_cell(byte),
                State::Blanks if byte == b'"' => {
                    self.cell.clear();
                    self.opened_after_blanks = true;
                    self.at += 1;
                    state = State::Quoted;
                }
                State::Blanks if is_blank(byte) && byte != self.delimiter => self.take(byte),
                State::Blanks => state = State::Plain,
                State::Quoted => state = self.quoted(),
                State::Escape => {
                    if !matches!(byte, b'"' | b'\\') {
                        self.cell.push(b'\\');
                    }
                    if byte == b'\\' || byte == b'"' {
                        self.take(byte);
                    }
                    state = State::Quoted;
                }
                State::Closed if byte == b'"' => {
                    self.take(byte);
                    state = State::Quoted;
                }
                State::BlanksAfter(_) if is_blank(byte) && byte != self.delimiter => self.take(byte),
                State::Closed if self.dialect.blanks && is_blank(byte) && byte != self.delimiter => {
                    state = State::BlanksAfter(self.cell.len());
                }
                State::Plain | State::Closed | State::BlanksAfter(_) => {
                    if byte == self.delimiter || matches!(byte, b'\r' | b'\n') {
                        if let State::BlanksAfter(length) = state {
                            self.cell.truncate(length);
                        }
                        self.end_cell(row, state)?;
                        state = State::CellStart;
                        if byte != self.delimiter {
                            self.line_end(byte);
                            return Ok(Next::Row);
                        }
                        self.at += 1;
                    } else {
                        self.plain();
                        state = State::Plain;
                    }
                }
            }
        }
    }

    fn start_cell(&mut self, byte: u8) -> State {
        if byte == b'"' {
            self.at += 1;
            State::Quoted
        } else if self.dialect.blanks && is_blank(byte) && byte != self.delimiter {
            State::Blanks
        } else {
            State::Plain
        }
    }

    /// Takes the bytes up to the end of an unquoted cell.
    fn plain(&mut self) {
        let rest = &self.chunk[self.at..self.end];
        let ends = |&byte: &u8| byte == self.delimiter || matches!(byte, b'\r' | b'\n');
        let count = rest.iter().position(ends).unwrap_or(rest.len());
        self.cell.extend_from_slice(&rest[..count]);
        self.at += count;
    }

    /// Takes the bytes up to a quote.
    fn quoted(&mut self) -> State {
        let rest = &self.chunk[self.at..self.end];
        let ends = |&byte: &u8| byte == b'"' || (self.dialect.backslash && byte == b'\\');
        let count = rest.iter().position(ends).unwrap_or(rest.len());
        self.cell.extend_from_slice(&rest[..count]);
        self.lines += rest[..count].iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.at += count;
        match rest.get(count) {
            None => State::Quoted,
            Some(byte) => {
                self.at += 1;
                if *byte == b'"' { State::Closed } else { State::Escape }
            }
        }
    }

    fn take(&mut self, byte: u8) {
        self.cell.push(byte);
        self.at += 1;
    }

    fn line_end(&mut self, byte: u8) {
        self.at += 1;
        // CR and LF of one line end are counted once, wherever a chunk ends.
        self.lines += u64::from(!(byte == b'\n' && self.after_cr));
        self.after_cr = byte == b'\r';
    }

    fn end_cell(&mut self, row: &mut ByteRecord, state: State) -> Result<(), InspectError> {
        if std::mem::take(&mut self.opened_after_blanks) && state != State::Plain {
            self.after_blanks.push(row.len());
        }
        if row.len() >= MAX_COLUMNS {
            return Err(InspectError::unread(format_args!(
                "line {} has more than {MAX_COLUMNS} cells",
                self.row_line
            )));
        }
        row.push_field(&self.cell);
        self.cell.clear();
        Ok(())
    }

    fn end_row(&mut self, state: State, row: &mut ByteRecord) -> Result<Next, InspectError> {
        match state {
            State::RowStart => return Ok(Next::End),
            State::Quoted | State::Escape => return Ok(Next::OpenQuote),
            State::BlanksAfter(length) => self.cell.truncate(length),
            State::CellStart | State::Blanks | State::Plain | State::Closed => {}
        }
        self.end_cell(row, state)?;
        Ok(Next::Row)
    }

    /// Reads the next chunk; `false` when there is none.
    fn fill(&mut self) -> Result<bool, InspectError> {
        self.before += self.end as u64;
        (self.at, self.end) = (0, 0);
        let cut_off = |error: std::io::Error| self.meter.explain(|| InspectError::cut_off(error));
        self.end = loop {
            match self.inner.read(&mut self.chunk) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                outcome => break outcome.map_err(cut_off)?,
            }
        };
        let bytes = &self.chunk[..self.end];
        let nuls = bytes.iter().filter(|byte| **byte == 0).count() as u64;
        if nuls > 0 && !self.takes_nul {
            return Err(InspectError::unread(format_args!("there is a NUL after byte {}", self.before)));
        }
        self.nuls += nuls;
        let mut last = self.last;
        for &byte in bytes {
            if byte == b'"' {
                self.hints.blanks |= is_blank(last);
                self.hints.backslash |= last == b'\\';
            }
            last = byte;
        }
        self.last = last;
        Ok(self.end > 0)
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(text: &[u8], dialect: Dialect) -> (Vec<Vec<Vec<u8>>>, Next) {
        let meter = Meter::new(&|| false, u64::MAX);
        let mut splitter = Splitter::new(text, b',', dialect, &meter);
        let (mut rows, mut row) = (Vec::new(), ByteRecord::new());
        loop {
            match splitter.next(&mut row).unwrap() {
                Next::Row => rows.push(row.iter().map(<[u8]>::to_vec).collect()),
                end => return (rows, end),
            }
        }
    }

    fn cells(text: &str, dialect: Dialect) -> Vec<Vec<String>> {
        let (rows, end) = split(text.as_bytes(), dialect);
        assert_eq!(end, Next::End, "{text}");
        let text = |cell: &Vec<u8>| String::from_utf8(cell.clone()).unwrap();
        rows.iter().map(|row| row.iter().map(text).collect()).collect()
    }

    #[test]
    fn blanks_around_quotes_and_backslashes_before_them_are_read_in_their_dialects() {
        let blanks = Dialect { blanks: true, ..Dialect::default() };
        assert_eq!(
            cells("a, \"b, c\" ,\t\"d\"\n  e,f \n", blanks),
            [vec!["a", "b, c", "d"], vec!["  e", "f "]]
        );
        let backslash = Dialect { backslash: true, ..Dialect::default() };
        assert_eq!(cells(r#""a \"b\", c","C:\\","\d""#, backslash), [["a \"b\", c", "C:\\", "\\d"]]);
        assert_eq!(cells("a, \"b\"\n", Dialect::default()), [["a", " \"b\""]]);
    }

    /// Hands out a byte at a time.
    struct Crumbs<'t>(&'t [u8]);

    impl Read for Crumbs<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let one = buffer.len().min(1);
            self.0.read(&mut buffer[..one])
        }
    }

    #[test]
    fn lines_are_counted_alike_whatever_ends_them_and_wherever_chunks_end() {
        let text = "a,b\n\nc\n\"d\ne\"\nf\n";
        for end in ["\n", "\r\n"] {
            let text = text.replace('\n', end);
            let meter = Meter::new(&|| false, u64::MAX);
            let mut splitter = Splitter::new(Crumbs(text.as_bytes()), b',', Dialect::default(), &meter);
            let (mut lines, mut row) = (Vec::new(), ByteRecord::new());
            while splitter.next(&mut row).unwrap() == Next::Row {
                lines.push(splitter.line());
            }
            assert_eq!(lines, [1, 3, 4, 6], "{end:?}");
        }
    }

    #[test]
    fn a_row_without_end_and_a_quote_without_end_are_told_apart() {
        assert_eq!(split(b"a,\"b\n", Dialect::default()).1, Next::OpenQuote);
        assert_eq!(split(&vec![b'a'; MAX_ROW + 2 * CHUNK], Dialect::default()).1, Next::Endless);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn rows_are_those_of_the_csv_crate(text in "([,\"\r\n\\\\ ab]|\"\"|,\"){0,40}") {
            let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
            let expected: Vec<Vec<Vec<u8>>> =
                reader.byte_records().map(|row| row.unwrap().iter().map(<[u8]>::to_vec).collect()).collect();
            let (rows, end) = split(text.as_bytes(), Dialect::default());
            if end == Next::End {
                prop_assert_eq!(rows, expected);
            } else {
                prop_assert_eq!(&rows, &expected[..rows.len()]);
                prop_assert_eq!(rows.len() + 1, expected.len());
            }
        }
    }
}
