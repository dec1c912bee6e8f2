//! A workbook's table of texts, which cells name by number: in memory while it is small, beyond that in files that
//! have no name, read a page at a time, so that a table of any size takes a few megabytes of memory.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::error::InspectError;
use super::rich_text::{RichText, is_blank};
use super::xml::{Node, Xml};
use crate::adapters::disk::Room;

/// One page of a spilled table, and how many of them are kept of each of its two files: a megabyte.
const PAGE: usize = 4096;
const PAGES: usize = 256;

/// The texts by number.
#[derive(Debug)]
pub(super) struct SharedStrings {
    /// The texts, one after the other, in UTF-8.
    texts: Bytes,
    /// Where each text ends, as 8 bytes each, little-endian.
    ends: Bytes,
    count: u64,
}

impl SharedStrings {
    /// The table of a workbook that has none.
    pub(super) fn none() -> Self {
        Self { texts: Bytes::Memory(Vec::new()), ends: Bytes::Memory(Vec::new()), count: 0 }
    }

    /// Reads the table; beyond `in_memory` bytes it goes to files in `scratch`.
    pub(super) fn read(mut part: Xml<'_>, scratch: &Path, in_memory: usize) -> Result<Self, InspectError> {
        let mut table = Builder { texts: Growing::default(), ends: Growing::default(), count: 0, end: 0 };
        let mut text = RichText::default();
        let mut inside = false;
        loop {
            match part.next()? {
                Node::Start(element) if inside => text.start(&element)?,
                Node::Start(element) if element.name() == "si" => {
                    inside = true;
                    text.begin();
                }
                Node::End(end) if end.name() == "si" => {
                    inside = false;
                    table.push(text.text(), scratch, in_memory).map_err(InspectError::of_scratch)?;
                }
                Node::End(end) => text.end(end.name()),
                Node::Text(piece) if inside && !text.takes_text() && !is_blank(&piece) => {
                    return Err(InspectError::unread("a shared text has text at a place that is not known"));
                }
                Node::Text(piece) if inside => text.push(&piece)?,
                Node::Eof => return table.finish().map_err(InspectError::Io),
                _ => {}
            }
        }
    }

    /// Puts text `number` into `out` in place of what was there; `false` when the table has no such text.
    ///
    /// # Errors
    /// When a file of the table could not be read.
    pub(super) fn get(&mut self, number: u64, out: &mut Vec<u8>) -> io::Result<bool> {
        if number >= self.count {
            return Ok(false);
        }
        let start = if number == 0 { 0 } else { self.end_of(number - 1, out)? };
        let end = self.end_of(number, out)?;
        self.texts.read(start, (end - start) as usize, out)?;
        Ok(true)
    }

    fn end_of(&mut self, number: u64, scrap: &mut Vec<u8>) -> io::Result<u64> {
        self.ends.read(number * 8, 8, scrap)?;
        Ok(scrap.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }
}

struct Builder {
    texts: Growing,
    ends: Growing,
    count: u64,
    end: u64,
}

impl Builder {
    fn push(&mut self, text: &str, scratch: &Path, in_memory: usize) -> io::Result<()> {
        self.end += text.len() as u64;
        self.count += 1;
        self.texts.write(text.as_bytes())?;
        self.ends.write(&self.end.to_le_bytes())?;
        if self.end + self.count * 8 > in_memory as u64 {
            self.texts.spill(scratch)?;
            self.ends.spill(scratch)?;
        }
        Ok(())
    }

    fn finish(self) -> io::Result<SharedStrings> {
        Ok(SharedStrings { texts: self.texts.finish()?, ends: self.ends.finish()?, count: self.count })
    }
}

/// Bytes that are being written.
enum Growing {
    Memory(Vec<u8>),
    File(BufWriter<File>, Room),
}

impl Default for Growing {
    fn default() -> Self {
        Self::Memory(Vec::new())
    }
}

impl Growing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Memory(memory) => memory.extend_from_slice(bytes),
            Self::File(file, room) => {
                room.take(bytes.len() as u64)?;
                file.write_all(bytes)?;
            }
        }
        Ok(())
    }

    fn spill(&mut self, scratch: &Path) -> io::Result<()> {
        if let Self::Memory(memory) = self {
            let mut file = BufWriter::new(tempfile::tempfile_in(scratch)?);
            file.write_all(memory)?;
            *self = Self::File(file, Room::to_unpack(scratch));
        }
        Ok(())
    }

    fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Memory(memory) => Bytes::Memory(memory),
            Self::File(file, _) => {
                Bytes::File(Pages::new(file.into_inner().map_err(io::IntoInnerError::into_error)?))
            }
        })
    }
}

/// Bytes that are read at any place.
#[derive(Debug)]
enum Bytes {
    Memory(Vec<u8>),
    File(Pages),
}

impl Bytes {
    /// Puts `length` bytes from `offset` on into `out`, in place of what was there.
    fn read(&mut self, offset: u64, length: usize, out: &mut Vec<u8>) -> io::Result<()> {
        out.clear();
        match self {
            Self::Memory(memory) => {
                let start = offset as usize;
                let bytes = memory.get(start..start + length).ok_or(io::ErrorKind::UnexpectedEof)?;
                out.extend_from_slice(bytes);
                Ok(())
            }
            Self::File(pages) => pages.read(offset, length, out),
        }
    }
}

/// A file with the pages of it that were read last; each page has one place where it can be kept.
#[derive(Debug)]
struct Pages {
    file: File,
    kept: Vec<(u64, Vec<u8>)>,
}

impl Pages {
    fn new(file: File) -> Self {
        Self { file, kept: vec![(u64::MAX, Vec::new()); PAGES] }
    }

    fn read(&mut self, mut offset: u64, mut length: usize, out: &mut Vec<u8>) -> io::Result<()> {
        while length > 0 {
            let within = (offset % PAGE as u64) as usize;
            let page = self.page(offset / PAGE as u64)?;
            let bytes = page.get(within..).filter(|bytes| !bytes.is_empty());
            let bytes = bytes.ok_or(io::ErrorKind::UnexpectedEof)?;
            let count = bytes.len().min(length);
            out.extend_from_slice(&bytes[..count]);
            offset += count as u64;
            length -= count;
        }
        Ok(())
    }

    fn page(&mut self, number: u64) -> io::Result<&[u8]> {
        let (kept, bytes) = &mut self.kept[(number % PAGES as u64) as usize];
        if *kept != number {
            *kept = u64::MAX; // until the read has succeeded, nothing is kept here
            bytes.resize(PAGE, 0);
            let mut filled = 0;
            while filled < PAGE {
                match self.file.read_at(&mut bytes[filled..], number * PAGE as u64 + filled as u64) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            bytes.truncate(filled);
            *kept = number;
        }
        Ok(bytes)
    }
}
