//! Looks into a spooled export: what format it has, how many records it holds, and the digest of its content.
//!
//! The file is read once, from its first byte to its last, in a few megabytes of memory whatever its size, and what
//! cannot be read to its end is no export: a window must not count as archived with a half or a web page in its
//! place. Anything that is not sure is refused; a refusal costs another pull, a wrong acceptance costs records.
//!
//! # The content digest
//!
//! The first row that is not empty is the header. Every later row in which at least one cell is not empty is a
//! record. The canonical form of a record lists its non-empty cells, sorted by header name (bytewise, in UTF-8); cells
//! under equal header names stay in the order of their columns; a column that the header has no name for is called
//! by an empty name. For each cell it holds the header name and then the cell's text, each as a netstring: the length
//! in bytes in decimal, `:`, the UTF-8 bytes, `,`. Nothing stands between or after them. So the record
//! `User = "li", Note = "", Age = "7"` has the canonical form
//!
//! ```text
//! 3:Age,1:7,4:User,2:li,
//! ```
//!
//! The content digest is the sum of the SHA-256 of the canonical forms of all records, as big-endian numbers, modulo
//! 2^256; without records it is zero. The order of records and of columns, empty columns, charset, byte order mark,
//! quoting, compression, and whether it is a spreadsheet or text, do not change it.
//!
//! A cell's text is taken as it stands, without trimming or normalising:
//! - Delimited text: UTF-8 if all cells are valid UTF-8, else GB18030 (as the WHATWG Encoding Standard decodes it) if
//!   all cells are valid in that; quotes taken off as in RFC 4180. A byte order mark belongs to no cell. The delimiter
//!   is the one of `,` `;` and tab that the first line has most of.
//! - Spreadsheets: all sheets that have a row, each with the same header. A text is its runs, one after the other,
//!   without phonetic guides; white space at both ends of a run counts only with `xml:space="preserve"`; `_xHHHH_` is
//!   the character U+HHHH. Numbers, booleans and dates count with the characters that stand in the file's `<v>`
//!   (`45987.5`, `1`, `2026-11-22T00:00:00Z`), without white space around them, not with what a spreadsheet program
//!   would show; a formula counts with its stored result.
//!
//! A record of more than a megabyte is refused as damage: no export has one, and it would be held in memory.

mod delimited;
mod delta;
mod digest;
mod error;
mod meter;
mod parts;
mod rich_text;
mod rows;
mod shared_strings;
mod sheet;
mod sniff;
#[cfg(test)]
mod tests;
mod workbook;
mod xml;

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::domain::digest::ContentDigest;
use crate::domain::export::Format;

pub use delta::{Delta, delta};
use digest::ContentDigester;
pub use error::{InspectError, JsonAnswer, NotAnExport};
use meter::Meter;
pub use rows::{Charset, Column, Header, RowVisitor};
use sniff::{PREFIX, Sniffed, sniff};

/// What a spooled file was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspection {
    /// What the bytes are.
    pub format: Format,
    /// Records in it; the header does not count.
    pub rows: u64,
    /// Of its records.
    pub content_digest: ContentDigest,
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

/// Reads the file at `path` once and says what it is. Blocking. Files for what does not fit into memory are made in the
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
    let mut digester = ContentDigester::default();
    let format = read_within(limits, path, scratch, stop, &mut digester)?;
    let (rows, content_digest) = digester.finish()?;
    Ok(Inspection { format, rows, content_digest })
}

/// Reads the rows of the file at `path` once, as [`inspect`] does, and hands them to `visitor`. What `visitor` was
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
    read_within(Limits::default(), path, scratch, stop, visitor)
}

fn read_within(
    limits: Limits,
    path: &Path,
    scratch: &Path,
    stop: &dyn Fn() -> bool,
    visitor: &mut dyn RowVisitor,
) -> Result<Format, InspectError> {
    let meter = Meter::new(stop, limits.inflated);
    let mut file = meter.source(File::open(path).map_err(InspectError::Io)?);
    let prefix = read_prefix(&mut file, &meter)?;
    match sniff(&prefix).map_err(InspectError::NotAnExport)? {
        Sniffed::Zip => {
            workbook::read(file, scratch, &limits, &meter, visitor)?;
            Ok(Format::Xlsx)
        }
        Sniffed::Text(kind) => {
            let text = Cursor::new(&prefix[kind.mark..]).chain(file);
            delimited::read(text, &kind, &meter, visitor)?;
            Ok(Format::Csv)
        }
        Sniffed::Gzip => {
            let packed = BufReader::with_capacity(PREFIX, Cursor::new(&prefix).chain(file));
            let inside = meter.inflated(MultiGzDecoder::new(packed));
            read_unpacked(inside, scratch, &limits, &meter, visitor)
        }
    }
}

/// Reads what was inside gzip.
fn read_unpacked(
    mut inside: impl Read,
    scratch: &Path,
    limits: &Limits,
    meter: &Meter<'_>,
    visitor: &mut dyn RowVisitor,
) -> Result<Format, InspectError> {
    let prefix = read_prefix(&mut inside, meter)?;
    match sniff(&prefix).map_err(InspectError::NotAnExport)? {
        // A ZIP archive's directory stands at its end, so it has to be unpacked whole.
        Sniffed::Zip => {
            let file = unpack(Cursor::new(&prefix).chain(inside), scratch, meter)?;
            workbook::read(meter.source(file), scratch, limits, meter, visitor)?;
            Ok(Format::XlsxGz)
        }
        Sniffed::Text(kind) => {
            let text = Cursor::new(&prefix[kind.mark..]).chain(inside);
            delimited::read(text, &kind, meter, visitor)?;
            Ok(Format::CsvGz)
        }
        Sniffed::Gzip => {
            Err(InspectError::NotAnExport(NotAnExport::OtherBinary { what: "gzip within gzip" }))
        }
    }
}

fn read_prefix(from: &mut impl Read, meter: &Meter<'_>) -> Result<Vec<u8>, InspectError> {
    let mut prefix = Vec::new();
    from.take(PREFIX as u64).read_to_end(&mut prefix).map_err(|error| meter.explain(error))?;
    Ok(prefix)
}

/// Writes all of `from` into a file without a name in `scratch`.
fn unpack(mut from: impl Read, scratch: &Path, meter: &Meter<'_>) -> Result<File, InspectError> {
    let mut file = tempfile::tempfile_in(scratch).map_err(InspectError::Io)?;
    let mut chunk = vec![0; PREFIX];
    loop {
        // Not `io::copy`: which of the two sides failed decides what is done about it.
        match from.read(&mut chunk).map_err(|error| meter.explain(error))? {
            0 => break,
            count => file.write_all(&chunk[..count]).map_err(InspectError::Io)?,
        }
    }
    file.rewind().map_err(InspectError::Io)?;
    Ok(file)
}
