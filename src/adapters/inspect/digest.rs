//! Counts rows and takes the digest of a file's content, in the canonical form that the module's head describes.
//!
//! In which charset delimited text is written is only known at its end, so a file that has shown nothing but ASCII
//! is read in every charset at once, at hardly any cost: a row of ASCII under a header of ASCII has one canonical
//! form in all of them. A charset that a cell does not fit is out.

use csv::ByteRecord;

use super::error::{InspectError, NotAnExport};
use super::rows::{Charset, Header, RowVisitor};
use crate::domain::digest::{ContentDigest, Sha256};

/// Takes the number and the digest of a file's rows.
#[derive(Debug, Default)]
pub(super) struct ContentDigester {
    rows: u64,
    /// The file as it reads in each charset that nothing has ruled out yet.
    readings: Vec<Reading>,
    /// Whether the header reads the same in every charset.
    plain_header: bool,
    /// The canonical form of one row, kept for its capacity.
    canonical: Vec<u8>,
}

#[derive(Debug)]
struct Reading {
    charset: Charset,
    header: Header,
    digest: ContentDigest,
}

impl Reading {
    /// Writes a row's canonical form; `false` when a cell is not in this charset.
    fn canonical(&mut self, cells: &ByteRecord, out: &mut Vec<u8>) -> bool {
        self.header.canonical(cells, self.charset, out)
    }
}

impl ContentDigester {
    /// How many rows there were, and their digest.
    ///
    /// # Errors
    /// When there was no header.
    pub(super) fn finish(self) -> Result<(u64, ContentDigest), InspectError> {
        let reading = self.readings.first().ok_or(InspectError::NotAnExport(NotAnExport::NoHeader))?;
        Ok((self.rows, reading.digest))
    }

    fn undecodable(&self) -> InspectError {
        InspectError::damaged(format_args!("record {} is text in neither UTF-8 nor GB18030", self.rows))
    }
}

impl RowVisitor for ContentDigester {
    fn header(&mut self, names: &ByteRecord, charsets: &[Charset]) -> Result<(), InspectError> {
        let reading = |&charset: &Charset| {
            let header = Header::read(names, charset)?;
            Some(Reading { charset, header, digest: ContentDigest::EMPTY })
        };
        self.readings = charsets.iter().filter_map(reading).collect();
        self.plain_header = names.as_slice().is_ascii();
        if self.readings.is_empty() { Err(self.undecodable()) } else { Ok(()) }
    }

    fn row(&mut self, cells: &ByteRecord) -> Result<(), InspectError> {
        self.rows += 1;
        let canonical = &mut self.canonical;
        if self.plain_header && cells.as_slice().is_ascii() {
            if let Some(first) = self.readings.first_mut() {
                first.canonical(cells, canonical);
                let row = Sha256::of(canonical);
                self.readings.iter_mut().for_each(|reading| reading.digest.add(row));
            }
        } else {
            self.readings.retain_mut(|reading| {
                let fits = reading.canonical(cells, canonical);
                if fits {
                    reading.digest.add(Sha256::of(canonical));
                }
                fits
            });
        }
        if self.readings.is_empty() { Err(self.undecodable()) } else { Ok(()) }
    }
}
