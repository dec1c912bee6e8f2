//! Looks into a spooled export: what format it has, how many records it holds, and the digest of its content.
//!
//! The file is read from its first byte to its last, in at most 64 MiB of memory whatever it holds. The reader takes what the
//! spreadsheet programs and CSV readers of the field take. A refusal costs another export, a wrong acceptance costs records:
//! where it is doubtful whether a row is a record, it counts as one, and the provider's own count is the arbiter.
//!
//! A file that is no export, or that cannot be read, is told apart by [`Wholeness`]: cut off or damaged on its way; a message in
//! place of a file; or whole, and written in a way that this version does not read.
//!
//! # The content digest
//!
//! Every row below the header in which at least one cell is not empty is a record. The canonical form of a record lists its
//! non-empty cells, sorted by header name (bytewise, in UTF-8); cells under equal header names stay in the order of their
//! columns; a column that the header has no name for is called by an empty name. For each cell the form holds the header
//! name and then the cell's text, each as a netstring: the length in bytes in decimal, `:`, the UTF-8 bytes, `,`. Nothing
//! stands between or after them. So the record `User = "li", Note = "", Age = "7"` has the canonical form
//!
//! ```text
//! 3:Age,1:7,4:User,2:li,
//! ```
//!
//! The content digest is the sum of the SHA-256 of the canonical forms of all records, as big-endian numbers, modulo
//! 2^256; without records it is zero. The order of records and of columns, empty columns, charset, byte order mark,
//! quoting, compression, and whether it is a spreadsheet or text, do not change it. Text is taken as it stands, without
//! trimming or normalising.
//!
//! **A cell whose bytes are in no charset costs its text, never the file**: the canonical form then holds the cell's bytes
//! as they are. So does it for a header name.
//!
//! The digest is kept in logs for ever. So a file that an earlier version could read keeps its digest, and whatever is read
//! beyond that is read only where the earlier rules fail: text by the strict rules first, GB18030 where every cell fits it.
//! `docs/archive-format.md` has all rules for an auditor, and the exceptions. The rules live in:
//! - `header.rs`, `columns.rs`: which row is the header, and which rows are titles;
//! - `body.rs`: which rows are footers, and whether the last line came whole;
//! - `delimiter.rs`, `charset.rs`, `splitter.rs`, `spacing.rs`, `delimited.rs`: text;
//! - `message.rs`, `words.rs`: what came in place of a table;
//! - `archive.rs`, `parts.rs`, `relations.rs`, `workbook.rs`, `sheets.rs`, `sheet.rs`: spreadsheets.

mod archive;
mod body;
mod charset;
mod columns;
mod delimited;
mod delimiter;
mod delta;
mod digest;
mod error;
mod gzip;
mod header;
mod message;
mod meter;
mod notes;
mod parts;
mod record_times;
mod relations;
mod rich_text;
mod rows;
mod shared_strings;
mod sheet;
mod sheets;
mod sniff;
mod spacing;
mod splitter;
#[cfg(test)]
mod tests;
mod utf16;
mod words;
mod workbook;
mod xml;

use std::fs::File;
use std::io::{BufReader, Read, Seek, Write};
use std::path::Path;

use crate::adapters::disk::Room;
use crate::domain::digest::ContentDigest;
use crate::domain::export::{Format, RecordTimes};

pub use delta::{Delta, delta};
use digest::{ContentDigester, Records};
pub use error::{InspectError, JsonAnswer, NotAnExport, Wholeness};
use gzip::Gunzip;
use meter::Meter;
pub use rows::{Charset, Column, Head, Header, RowVisitor};
use sniff::{PREFIX, Sniffed, sniff};
use utf16::Utf16;

/// What a spooled file was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The format of the bytes.
    pub format: Format,
    /// The number of records; the header does not count.
    pub rows: u64,
    /// The digest of the records; zero without records.
    pub content_digest: ContentDigest,
    /// The first and the last start time, where the column is known and every value in it is a time.
    pub times: Option<RecordTimes>,
    /// Records without an end time; `None` where the file has no known column for it.
    pub open_records: Option<u64>,
    /// Parts of the file that were left out or could not be read: at most 16 lines of at most 200 characters. No line
    /// holds a cell of a record.
    pub notes: Vec<String>,
    /// The header's names in column order: at most 64 of at most 64 characters, without control characters.
    pub columns: Vec<String>,
    /// How much of the header is known.
    pub header: HeaderFound,
}

/// The header of a file, as far as its names are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderFound {
    /// It names columns that the provider is known to export.
    Known,
    /// As [`Self::Known`], in a text that ends with the header and has no line end there.
    Cut,
    /// No name in it is known: the table may be a message with a comma in each line.
    Unknown,
    /// The file has no row.
    None,
    /// It has no table, but so many rows of one cell: titles, or a few words in place of records.
    Words {
        /// At most 8.
        rows: u64,
        /// Whether they say that there are no records, or are titles.
        say_none: bool,
    },
}

/// Looks into files. All of it blocks, and may panic: a caller keeps that from becoming more than the file's failure.
pub trait Inspector: std::fmt::Debug + Send + Sync {
    /// As [`inspect`].
    ///
    /// # Errors
    /// As [`inspect`].
    fn inspect(
        &self,
        path: &Path,
        scratch: &Path,
        stop: &dyn Fn() -> bool,
    ) -> Result<Inspection, InspectError>;

    /// As [`delta`].
    ///
    /// # Errors
    /// As [`delta`].
    fn delta(
        &self,
        older: &Path,
        newer: &Path,
        scratch: &Path,
        stop: &dyn Fn() -> bool,
    ) -> Result<Delta, InspectError>;
}

/// The reader of this version.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reader;

impl Inspector for Reader {
    fn inspect(
        &self,
        path: &Path,
        scratch: &Path,
        stop: &dyn Fn() -> bool,
    ) -> Result<Inspection, InspectError> {
        inspect(path, scratch, stop)
    }

    fn delta(
        &self,
        older: &Path,
        newer: &Path,
        scratch: &Path,
        stop: &dyn Fn() -> bool,
    ) -> Result<Delta, InspectError> {
        delta(older, newer, scratch, stop)
    }
}

/// How much a file may make us use.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Bytes that all decompression of a file may make.
    inflated: u64,
    /// Bytes of a workbook's shared texts that are held in memory.
    strings_in_memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { inflated: 64 << 30, strings_in_memory: 4 << 20 }
    }
}

/// Reads the file at `path` and says what it is. Blocking. Files for what does not fit into memory are made in the
/// folder `scratch`, without names, so that nothing is left of them. `stop` is asked at every chunk.
///
/// # Errors
/// When the file is no whole export, could not be read, or `stop` said so.
pub fn inspect(path: &Path, scratch: &Path, stop: &dyn Fn() -> bool) -> Result<Inspection, InspectError> {
    inspect_within(Limits::default(), path, scratch, stop)
}

fn inspect_within(
    limits: Limits,
    path: &Path,
    scratch: &Path,
    stop: &dyn Fn() -> bool,
) -> Result<Inspection, InspectError> {
    let meter = Meter::new(stop, limits.inflated);
    let mut digester = ContentDigester::default();
    let format = Reading { limits, path, scratch, meter: &meter }.run(&mut digester)?;
    let Records { rows, content_digest, times, open_records, columns, known_header } =
        digester.finish(&meter)?;
    let notes = meter.take_notes().finish();
    let header = match (known_header, columns.is_empty()) {
        (_, true) => {
            meter.words().map_or(HeaderFound::None, |(rows, say_none)| HeaderFound::Words { rows, say_none })
        }
        (true, _) if rows > 0 || meter.last_line_ended() => HeaderFound::Known,
        (true, _) => HeaderFound::Cut,
        (false, _) => HeaderFound::Unknown,
    };
    Ok(Inspection { format, rows, content_digest, times, open_records, notes, columns, header })
}

/// Reads the rows of the file at `path`, as [`inspect`] does, and hands them to `visitor`. What `visitor` was
/// given counts only when this returns without an error.
///
/// # Errors
/// When the file is no whole export, could not be read, or `stop` said so; and what `visitor` returns.
pub fn read_rows(
    path: &Path,
    scratch: &Path,
    stop: &dyn Fn() -> bool,
    visitor: &mut dyn RowVisitor,
) -> Result<Format, InspectError> {
    let limits = Limits::default();
    Reading { limits, path, scratch, meter: &Meter::new(stop, limits.inflated) }.run(visitor)
}

/// A stream of a file's bytes from the first on.
type Bytes<'b> = Box<dyn Read + 'b>;

/// The reading of one file.
struct Reading<'r> {
    limits: Limits,
    path: &'r Path,
    scratch: &'r Path,
    meter: &'r Meter<'r>,
}

impl<'r> Reading<'r> {
    fn run(&self, visitor: &mut dyn RowVisitor) -> Result<Format, InspectError> {
        match sniff(&self.prefix(self.open()?)?)? {
            Sniffed::Zip(start) => {
                workbook::read(self.open()?, start, self.scratch, &self.limits, self.meter, visitor)?;
                Ok(Format::Xlsx)
            }
            Sniffed::Gzip => self.unpacked(visitor),
            text => {
                self.text(text, &|| Ok(Box::new(self.open()?)), visitor)?;
                Ok(Format::Csv)
            }
        }
    }

    /// Reads what is inside gzip.
    fn unpacked(&self, visitor: &mut dyn RowVisitor) -> Result<Format, InspectError> {
        let open = || -> Result<Bytes<'r>, InspectError> {
            let packed = BufReader::with_capacity(PREFIX, self.open()?);
            Ok(Box::new(self.meter.inflated(Gunzip::new(packed, self.meter))))
        };
        match sniff(&self.prefix(open()?)?)? {
            // A ZIP archive's directory stands at its end, so it has to be unpacked whole.
            Sniffed::Zip(start) => {
                let file = self.meter.source(self.unpack(open()?)?);
                workbook::read(file, start, self.scratch, &self.limits, self.meter, visitor)?;
                Ok(Format::XlsxGz)
            }
            Sniffed::Gzip => Err(InspectError::unread("it is gzip within gzip")),
            text => {
                self.text(text, &open, visitor)?;
                Ok(Format::CsvGz)
            }
        }
    }

    /// Reads text that `open` begins.
    fn text(
        &self,
        sniffed: Sniffed,
        open: &dyn Fn() -> Result<Bytes<'r>, InspectError>,
        visitor: &mut dyn RowVisitor,
    ) -> Result<(), InspectError> {
        match sniffed {
            Sniffed::Text(kind) => {
                delimited::read(&|| self.skip(open()?, kind.skip), &kind, self.meter, visitor)
            }
            Sniffed::Utf16 { big_endian, mark } => {
                let open = || -> Result<Bytes<'r>, InspectError> {
                    Ok(Box::new(Utf16::new(self.skip(open()?, mark)?, big_endian, self.meter)))
                };
                match sniff(&self.prefix(open()?)?)? {
                    Sniffed::Text(kind) => {
                        let kind = sniff::TextKind { charsets: &[Charset::Utf8], ..kind };
                        delimited::read(&|| self.skip(open()?, kind.skip), &kind, self.meter, visitor)
                    }
                    Sniffed::Empty => self.empty(open()?),
                    _ => Err(InspectError::unread("it is text in UTF-16 that is no table")),
                }
            }
            // The end is read all the same: gzip may be cut off after it.
            _ => self.empty(open()?),
        }
    }

    fn empty(&self, mut bytes: Bytes<'_>) -> Result<(), InspectError> {
        std::io::copy(&mut bytes, &mut std::io::sink()).map_err(|error| self.explain(&error))?;
        Ok(())
    }

    fn open(&self) -> Result<meter::Source<'r, File>, InspectError> {
        Ok(self.meter.source(File::open(self.path).map_err(InspectError::Io)?))
    }

    fn skip(&self, mut from: Bytes<'r>, bytes: usize) -> Result<Bytes<'r>, InspectError> {
        let mut skipped = (&mut from).take(bytes as u64);
        std::io::copy(&mut skipped, &mut std::io::sink()).map_err(|error| self.explain(&error))?;
        Ok(from)
    }

    fn prefix(&self, from: impl Read) -> Result<Vec<u8>, InspectError> {
        let mut prefix = Vec::new();
        from.take(PREFIX as u64).read_to_end(&mut prefix).map_err(|error| self.explain(&error))?;
        Ok(prefix)
    }

    /// Writes all of `from` into a file without a name in the scratch folder.
    fn unpack(&self, mut from: impl Read) -> Result<File, InspectError> {
        let mut file = tempfile::tempfile_in(self.scratch).map_err(InspectError::Io)?;
        let mut room = Room::to_unpack(self.scratch);
        let mut chunk = vec![0; PREFIX];
        loop {
            // Not `io::copy`: which of the two sides failed decides what is done about it.
            match from.read(&mut chunk).map_err(|error| self.explain(&error))? {
                0 => break,
                count => {
                    room.take(count as u64).map_err(InspectError::of_scratch)?;
                    file.write_all(&chunk[..count]).map_err(InspectError::Io)?;
                }
            }
        }
        file.rewind().map_err(InspectError::Io)?;
        Ok(file)
    }

    fn explain(&self, error: &std::io::Error) -> InspectError {
        self.meter.explain(|| InspectError::cut_off(error))
    }
}
