//! Reads a ZIP archive: its directory, and each part with its check sum.
//!
//! An own reader, because three things have to be told apart and bounded that are one to general ones: an archive that
//! was cut off or damaged on its way, one that came whole and is written in a way that is not read here, and one whose
//! directory claims more than it has. The directory is bounded, and nothing is reserved for what it merely claims.
//!
//! An archive may begin after other bytes (a byte order mark), and then its offsets may count from the file's beginning
//! or from its own; bytes after its end are left out and noted. A wrong check sum counts as damage on the way: that is the
//! likeliest cause, and another export is the cure.

use std::fmt;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use super::error::{InspectError, Wholeness};
use super::meter::Meter;

/// A directory of this many bytes has room for thousands of parts; a workbook has a dozen. It is held in memory.
const MAX_DIRECTORY: u64 = 1 << 20;

/// The end record.
const END: usize = 22;

/// How many bytes after the end are looked through, and how many places that look like an end are looked at.
const MOST_AFTER: u64 = 64 << 20;
const MOST_ENDS: usize = 1024;

const CHUNK: usize = 64 << 10;

/// What the directory says of a part.
#[derive(Debug)]
pub(super) struct Entry {
    /// As the archive writes it.
    pub(super) name: String,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    offset: u64,
}

/// A ZIP archive.
pub(super) struct Archive<'m, R> {
    file: R,
    length: u64,
    /// Where offsets count from.
    base: u64,
    entries: Vec<Entry>,
    meter: &'m Meter<'m>,
}

/// Where the directory is, and how many entries it has.
#[derive(Debug, Clone, Copy)]
struct Directory {
    offset: u64,
    size: u64,
    entries: u64,
    /// Where the records of its end begin.
    end: u64,
}

impl<'m, R: Read + Seek> Archive<'m, R> {
    /// Reads the directory of an archive that begins at byte `start` of `file`.
    pub(super) fn open(file: R, start: u64, meter: &'m Meter<'m>) -> Result<Self, InspectError> {
        let mut archive = Self { file, length: 0, base: 0, entries: Vec::new(), meter };
        archive.length =
            archive.file.seek(SeekFrom::End(0)).map_err(|error| archive.explain("its end", &error))?;
        let (directory, base) = archive.find_directory(start)?;
        archive.base = base;
        let bytes = archive.bytes_at(archive.base + directory.offset, directory.size as usize)?;
        archive.entries = entries(&bytes)?;
        let claimed =
            if directory.entries < 0xffff { directory.entries } else { archive.entries.len() as u64 };
        if archive.entries.len() as u64 != claimed {
            return Err(damaged("its directory has not as many entries as it says"));
        }
        Ok(archive)
    }

    /// What is in it.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Looks for the archive's end from the file's end backwards. An end counts where the directory is that it names.
    fn find_directory(&mut self, start: u64) -> Result<(Directory, u64), InspectError> {
        let mut end = self.length;
        let mut fault = None;
        let mut ends = 0;
        // Neighbouring pieces share the bytes that may be the first of an end.
        while end >= END as u64 && self.length - end <= MOST_AFTER && ends < MOST_ENDS {
            let begin = end.saturating_sub(CHUNK as u64);
            let bytes = self.bytes_at(begin, (end - begin) as usize)?;
            for at in (0..=bytes.len() - END).rev().filter(|&at| bytes[at..].starts_with(b"PK\x05\x06")) {
                ends += 1;
                match self.directory_of(begin + at as u64, &bytes[at..at + END], start) {
                    Ok(found) => return Ok(found),
                    Err(error) if error.wholeness() == Wholeness::Local => return Err(error),
                    Err(error) => fault = fault.or(Some(error)),
                }
            }
            if begin == 0 {
                break;
            }
            end = begin + END as u64 - 1;
        }
        Err(fault.unwrap_or_else(|| damaged("its end record is missing")))
    }

    /// The directory that the end record `bytes` at `at` names, and where offsets count from.
    fn directory_of(&mut self, at: u64, bytes: &[u8], start: u64) -> Result<(Directory, u64), InspectError> {
        let after = at + END as u64 + u64::from(u16_at(bytes, 20));
        if after > self.length {
            return Err(damaged("its end record is missing"));
        }
        let mut directory = Directory {
            entries: u64::from(u16_at(bytes, 10)),
            size: u64::from(u32_at(bytes, 12)),
            offset: u64::from(u32_at(bytes, 16)),
            end: at,
        };
        let claims_more =
            directory.entries == 0xffff || directory.size == 0xffff_ffff || directory.offset == 0xffff_ffff;
        if claims_more && at >= 20 {
            let locator = self.bytes_at(at - 20, 20)?;
            if locator.starts_with(b"PK\x06\x07") {
                directory = self.find_zip64(u64_at(&locator, 8), at - 20, start)?;
            }
        }
        let is_empty =
            |base| directory.entries == 0 && directory.offset.saturating_add(base) == directory.end;
        if is_empty(0) || is_empty(start) {
            return Err(InspectError::unread("it is a ZIP archive without a workbook in it"));
        }
        let base = self.find_base(directory, start)?;
        if directory.size > MAX_DIRECTORY {
            return Err(InspectError::unread("its ZIP directory is larger than any spreadsheet's"));
        }
        self.look_after(after)?;
        Ok((directory, base))
    }

    /// Notes bytes after the archive's end.
    fn look_after(&mut self, end: u64) -> Result<(), InspectError> {
        let after = self.length - end;
        if after == 0 {
            return Ok(());
        }
        let beginning = self.bytes_at(end, after.min(4) as usize)?;
        if beginning == b"PK\x03\x04" {
            return Err(damaged("another archive begins after its end, and was cut off"));
        }
        self.meter.note(format!("bytes after the end of the ZIP archive were left out: {after}"));
        Ok(())
    }

    fn find_zip64(&mut self, offset: u64, end: u64, start: u64) -> Result<Directory, InspectError> {
        for base in [0, start] {
            let Some(at) = base.checked_add(offset).filter(|at| at.saturating_add(56) <= end) else {
                continue;
            };
            let bytes = self.bytes_at(at, 56)?;
            if bytes.starts_with(b"PK\x06\x06") {
                let (entries, size, offset) = (u64_at(&bytes, 32), u64_at(&bytes, 40), u64_at(&bytes, 48));
                return Ok(Directory { entries, size, offset, end: at });
            }
        }
        Err(damaged("its end record points to nothing"))
    }

    /// Where offsets count from: the file's beginning, or the archive's.
    fn find_base(&mut self, directory: Directory, start: u64) -> Result<u64, InspectError> {
        for base in [0, start] {
            let at = base.checked_add(directory.offset);
            let Some(at) = at.filter(|at| at.saturating_add(directory.size) <= directory.end) else {
                continue;
            };
            if directory.size >= 4 && self.bytes_at(at, 4)? == b"PK\x01\x02" {
                return Ok(base);
            }
        }
        Err(damaged("its directory is not where its end record says"))
    }

    /// The contents of a part. At its end, its length and check sum are compared with those of the directory.
    pub(super) fn part(&mut self, index: usize) -> Result<Box<dyn Read + '_>, InspectError> {
        let Entry { flags, method, crc, packed, size, offset, ref name } = self.entries[index];
        let name = name.clone();
        if flags & 1 != 0 {
            return Err(InspectError::unread(format_args!("{name} is protected by a password")));
        }
        if !matches!(method, 0 | 8) {
            return Err(InspectError::unread(format_args!("{name} is compressed by method {method}")));
        }
        let beyond = || damaged(format_args!("{name} lies beyond the end of the file"));
        let at = self
            .base
            .checked_add(offset)
            .filter(|at| at.saturating_add(30) <= self.length)
            .ok_or_else(beyond)?;
        let local = self.bytes_at(at, 30)?;
        if !local.starts_with(b"PK\x03\x04") {
            return Err(damaged(format_args!("{name} does not begin where the directory says")));
        }
        let data = at + 30 + u64::from(u16_at(&local, 26)) + u64::from(u16_at(&local, 28));
        if data.saturating_add(packed) > self.length {
            return Err(beyond());
        }
        let meter = self.meter;
        self.file.seek(SeekFrom::Start(data)).map_err(|error| self.explain(&name, &error))?;
        let packed = BufReader::with_capacity(CHUNK, (&mut self.file).take(packed));
        let inner: Box<dyn Read + '_> =
            if method == 8 { Box::new(DeflateDecoder::new(packed)) } else { Box::new(packed) };
        Ok(Box::new(Checked { inner, sum: Crc::new(), made: 0, size, crc, name, meter }))
    }

    fn bytes_at(&mut self, at: u64, count: usize) -> Result<Vec<u8>, InspectError> {
        let mut bytes = vec![0; count];
        let outcome = self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.read_exact(&mut bytes));
        outcome.map_err(|error| self.explain("its directory", &error))?;
        Ok(bytes)
    }

    fn explain(&self, what: &str, error: &io::Error) -> InspectError {
        self.meter.explain(|| damaged(format_args!("{what}: {error}")))
    }
}

fn damaged(what: impl fmt::Display) -> InspectError {
    InspectError::cut_off(format_args!("the ZIP archive: {what}"))
}

/// The entries of a directory.
fn entries(directory: &[u8]) -> Result<Vec<Entry>, InspectError> {
    let mut entries = Vec::new();
    let mut rest = directory;
    while !rest.is_empty() && !rest.starts_with(b"PK\x05\x05") {
        if rest.len() < 46 || !rest.starts_with(b"PK\x01\x02") {
            return Err(damaged("its directory cannot be read"));
        }
        let length = |at| usize::from(u16_at(rest, at));
        let (name_end, extra_end) = (46 + length(28), 46 + length(28) + length(30));
        let end = extra_end + length(32);
        if end > rest.len() {
            return Err(damaged("its directory ends too early"));
        }
        let mut entry = Entry {
            name: String::from_utf8_lossy(&rest[46..name_end]).into_owned(),
            flags: u16_at(rest, 8),
            method: u16_at(rest, 10),
            crc: u32_at(rest, 16),
            packed: u64::from(u32_at(rest, 20)),
            size: u64::from(u32_at(rest, 24)),
            offset: u64::from(u32_at(rest, 42)),
        };
        widen(&mut entry, &rest[name_end..extra_end]);
        entries.push(entry);
        rest = &rest[end..];
    }
    Ok(entries)
}

/// Puts the numbers of a ZIP64 field in place of those that 32 bits could not hold.
fn widen(entry: &mut Entry, mut extra: &[u8]) {
    while extra.len() >= 4 {
        let (id, length) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        let field = &extra[4..(4 + length).min(extra.len())];
        if id == 1 {
            let numbers = [&mut entry.size, &mut entry.packed, &mut entry.offset];
            let wide = numbers.into_iter().filter(|number| **number == 0xffff_ffff);
            for (number, bytes) in wide.zip(field.chunks_exact(8)) {
                *number = u64_at(bytes, 0);
            }
            return;
        }
        extra = &extra[(4 + length).min(extra.len())..];
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// A part's contents, compared at their end with what the directory says.
struct Checked<'m, R> {
    inner: R,
    sum: Crc,
    made: u64,
    size: u64,
    crc: u32,
    name: String,
    meter: &'m Meter<'m>,
}

impl<R: Read> Read for Checked<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = match self.inner.read(buf) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            // A cause that was written down before this one stays.
            Err(error) => return Err(self.meter.fail(damaged(format_args!("{}: {error}", self.name)))),
            Ok(count) => count,
        };
        self.sum.update(&buf[..count]);
        self.made += count as u64;
        let ended = count == 0 && !buf.is_empty();
        if self.made > self.size || (ended && (self.made != self.size || self.sum.sum() != self.crc)) {
            let cause = damaged(format_args!(
                "{} has another length or check sum than the directory says",
                self.name
            ));
            return Err(self.meter.fail(cause));
        }
        Ok(count)
    }
}
