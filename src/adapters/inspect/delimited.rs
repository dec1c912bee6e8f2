//! Reads delimited text as rows, strictly: an export that was cut off must not pass for a shorter one.
//!
//! Rows are split before the charset is known. That is sound: `,` `;` `"`, tab, CR and LF are single bytes in UTF-8
//! and in GB18030, and no byte of a longer character equals one of them (in UTF-8 those are 0x80 and above; in
//! GB18030 the second byte is 0x30–0x39, 0x40–0x7E or 0x80–0xFE, the third 0x81–0xFE, the fourth 0x30–0x39).
//!
//! The `csv` crate forgives a quoted field that is still open when the file ends. So an end mark is put after the
//! last byte, a line that no text can hold since it has NULs in it: where the file ends inside a quoted field,
//! that field swallows the mark, and the mark is missed as the last record.

use std::io::{self, Read};

use csv::ByteRecord;

use super::error::{InspectError, NotAnExport};
use super::meter::Meter;
use super::rows::{MAX_ROW, RowVisitor, is_empty};
use super::sniff::TextKind;

const CHUNK: usize = 64 << 10;
const END_MARK: &[u8] = b"\0end\0";
const TAIL: &[u8] = b"\n\0end\0\n";

/// Reads every row of `text`, which begins after its byte order mark.
///
/// # Errors
/// When the text is damaged, is no table, or cannot be read; and what `visitor` returns.
pub(super) fn read(
    text: impl Read,
    kind: &TextKind,
    meter: &Meter<'_>,
    visitor: &mut dyn RowVisitor,
) -> Result<(), InspectError> {
    let marked = Marked { inner: text, meter, given: 0, record_start: 0, tail: TAIL };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(kind.delimiter)
        .buffer_capacity(CHUNK)
        .from_reader(marked);
    let mut cells = ByteRecord::new();
    let mut width = None;
    while reader.read_byte_record(&mut cells).map_err(|error| meter.explain(error))? {
        let end = reader.position().byte();
        reader.get_mut().record_start = end;
        if cells.get(0) == Some(END_MARK) {
            return if width.is_some() {
                Ok(())
            } else {
                Err(InspectError::NotAnExport(NotAnExport::NoHeader))
            };
        }
        match width {
            None if is_empty(&cells) => {}
            None if cells.len() < 2 => return Err(InspectError::NotAnExport(NotAnExport::NoHeader)),
            None => {
                width = Some(cells.len());
                visitor.header(&cells, kind.charsets)?;
            }
            Some(width) if width != cells.len() => return Err(ragged(&cells, width)),
            Some(_) if is_empty(&cells) => {}
            Some(_) => visitor.row(&cells)?,
        }
    }
    Err(InspectError::damaged("it ends inside a quoted field"))
}

fn ragged(cells: &ByteRecord, width: usize) -> InspectError {
    let line = cells.position().map_or(0, csv::Position::line);
    InspectError::damaged(format_args!("line {line} has {} cells where the header has {width}", cells.len()))
}

/// Text with the end mark after it; refuses NULs, and records that are too long to hold.
struct Marked<'m, R> {
    inner: R,
    meter: &'m Meter<'m>,
    /// Bytes handed out.
    given: u64,
    /// Where the record begins that is being read.
    record_start: u64,
    /// What is left of the mark.
    tail: &'static [u8],
}

impl<R: Read> Read for Marked<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.given - self.record_start > MAX_ROW as u64 {
            let cause = format_args!("the record at byte {} does not end", self.record_start).to_string();
            return Err(self.meter.fail(InspectError::damaged(cause)));
        }
        let mut count = self.inner.read(buf)?;
        if buf[..count].contains(&0) {
            let cause = format_args!("there is a NUL after byte {}", self.given).to_string();
            return Err(self.meter.fail(InspectError::damaged(cause)));
        }
        if count == 0 {
            count = self.tail.read(buf)?;
        }
        self.given += count as u64;
        Ok(count)
    }
}
