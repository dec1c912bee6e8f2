//! The parts of a workbook: what its ZIP archive holds, each read to its end and none of them twice.
//!
//! Reading a part to its end makes the ZIP reader check its CRC. So every part is, whether it is needed or not, and
//! a byte that changed anywhere in a part is noticed.

use std::io::{self, BufReader, Read, Seek};

use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config};

use super::error::{InspectError, NotAnExport};
use super::meter::Meter;
use super::xml::Xml;

/// Where every spreadsheet says what is in it.
pub(super) const WORKBOOK: &str = "xl/workbook.xml";

/// A ZIP directory of this many bytes has room for thousands of parts; a workbook has a dozen. The directory is held
/// in memory.
const MAX_DIRECTORY: u64 = 1 << 20;

const CHUNK: usize = 64 << 10;

/// The parts of a workbook, and which of them have been read to their end.
pub(super) struct Parts<'m, R> {
    archive: ZipArchive<R>,
    meter: &'m Meter<'m>,
    read: Vec<bool>,
}

impl<'m, R: Read + Seek> Parts<'m, R> {
    /// Reads the archive's directory.
    pub(super) fn open(file: R, meter: &'m Meter<'m>) -> Result<Self, InspectError> {
        meter.limit_source(MAX_DIRECTORY);
        let config = Config { archive_offset: ArchiveOffset::Known(0) };
        let archive = ZipArchive::with_config(config, file).map_err(|error| meter.explain(error))?;
        meter.unlimit_source();
        if archive.has_duplicate_names() {
            return Err(InspectError::damaged("two parts of the workbook have the same name"));
        }
        let has = |name| archive.index_for_name(name).is_some();
        if !has(WORKBOOK) || !has("[Content_Types].xml") {
            return Err(InspectError::NotAnExport(NotAnExport::OtherZip));
        }
        let read = vec![false; archive.len()];
        Ok(Self { archive, meter, read })
    }

    /// Reads the part `name` with `reading`, and what that leaves of it.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        reading: impl FnOnce(Xml<'_>) -> Result<T, InspectError>,
    ) -> Result<T, InspectError> {
        let missing =
            || InspectError::damaged(format_args!("the workbook names {name} and does not hold it"));
        let index = self.archive.index_for_name(name).ok_or_else(missing)?;
        if std::mem::replace(&mut self.read[index], true) {
            return Err(InspectError::damaged(format_args!("the workbook names {name} twice")));
        }
        let meter = self.meter;
        let damaged = |error: &dyn std::fmt::Display| meter.explain(format_args!("{name}: {error}"));
        let part = self.archive.by_index(index).map_err(|error| damaged(&error))?;
        let mut part = BufReader::with_capacity(CHUNK, meter.inflated(part));
        let outcome = reading(Xml::new(&mut part, name, meter))?;
        io::copy(&mut part, &mut io::sink()).map_err(|error| damaged(&error))?;
        Ok(outcome)
    }

    /// Reads every part that has not been read yet.
    pub(super) fn drain(&mut self) -> Result<(), InspectError> {
        for index in (0..self.read.len()).filter(|&index| !self.read[index]) {
            let part = self.archive.by_index(index).map_err(|error| self.meter.explain(error))?;
            let mut part = BufReader::with_capacity(CHUNK, self.meter.inflated(part));
            io::copy(&mut part, &mut io::sink()).map_err(|error| self.meter.explain(error))?;
        }
        Ok(())
    }

    /// Whether there is a part called `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.archive.index_for_name(name).is_some()
    }

    /// The names of all parts.
    pub(super) fn names(&self) -> Result<Vec<String>, InspectError> {
        let names = self.archive.file_names().map(|name| name.map(|name| name.into_owned()));
        names.collect::<Result<_, _>>().map_err(InspectError::damaged)
    }
}
