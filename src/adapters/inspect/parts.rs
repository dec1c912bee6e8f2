//! The parts of a workbook: what its ZIP archive holds.
//!
//! Names of parts know no case, and are compared as paths, with `/` or `\`. Reading a part to its end checks its sum. So
//! every part is read to its end, whether it is needed or not, and a byte that changed anywhere in a part is noticed.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Seek};

use super::archive::Archive;
use super::error::{InspectError, Wholeness};
use super::meter::Meter;
use super::utf16::Utf16;
use super::xml::Xml;

const CHUNK: usize = 64 << 10;

/// The parts of a workbook, and which of them have been read to their end.
pub(super) struct Parts<'m, R> {
    archive: Archive<'m, R>,
    /// The parts by [`normal`] name; `None` where two have the same.
    by_name: BTreeMap<String, Option<usize>>,
    meter: &'m Meter<'m>,
    read: Vec<bool>,
}

/// A path without case, `.`, `..` and empty steps, by which parts are found.
pub(super) fn normal(path: &str) -> String {
    let mut steps: Vec<&str> = Vec::new();
    for step in path.split(['/', '\\']) {
        match step {
            "" | "." => {}
            ".." => drop(steps.pop()),
            step => steps.push(step),
        }
    }
    steps.join("/").to_lowercase()
}

impl<'m, R: Read + Seek> Parts<'m, R> {
    /// Reads the directory of the archive that begins at byte `start` of `file`.
    pub(super) fn open(file: R, start: u64, meter: &'m Meter<'m>) -> Result<Self, InspectError> {
        let archive = Archive::open(file, start, meter)?;
        let mut by_name = BTreeMap::new();
        for (index, entry) in archive.entries().iter().enumerate() {
            let is_folder = entry.name.ends_with(['/', '\\']);
            if !is_folder {
                by_name.entry(normal(&entry.name)).and_modify(|place| *place = None).or_insert(Some(index));
            }
        }
        let read = vec![false; archive.entries().len()];
        Ok(Self { archive, by_name, meter, read })
    }

    /// Reads the part `name` with `reading`, and what that leaves of it.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        reading: impl FnOnce(Xml<'_>) -> Result<T, InspectError>,
    ) -> Result<T, InspectError> {
        let outcome = self.xml(name, true, reading)?;
        if let Some(Some(index)) = self.by_name.get(name) {
            self.read[*index] = true;
        }
        Ok(outcome)
    }

    /// Reads the beginning of the part `name` with `reading`.
    pub(super) fn peek<T>(
        &mut self,
        name: &str,
        reading: impl FnOnce(Xml<'_>) -> Result<T, InspectError>,
    ) -> Result<T, InspectError> {
        self.xml(name, false, reading)
    }

    fn xml<T>(
        &mut self,
        name: &str,
        to_the_end: bool,
        reading: impl FnOnce(Xml<'_>) -> Result<T, InspectError>,
    ) -> Result<T, InspectError> {
        let index = match self.by_name.get(name) {
            Some(Some(index)) => *index,
            Some(None) => {
                return Err(InspectError::unread(format_args!(
                    "two parts of the workbook are called {name}"
                )));
            }
            None => {
                return Err(InspectError::unread(format_args!(
                    "the workbook names {name} and does not hold it"
                )));
            }
        };
        let meter = self.meter;
        let explain =
            |error: io::Error| meter.explain(|| InspectError::cut_off(format_args!("{name}: {error}")));
        let mut part = BufReader::with_capacity(CHUNK, meter.inflated(self.archive.part(index)?));
        let beginning = part.fill_buf().map_err(explain)?;
        // As XML in UTF-16 begins: with a byte order mark, or with `<`.
        let utf16 = match beginning {
            [0xff, 0xfe, ..] => Some((false, 2)),
            [0xfe, 0xff, ..] => Some((true, 2)),
            [b'<', 0, ..] => Some((false, 0)),
            [0, b'<', ..] => Some((true, 0)),
            _ => None,
        };
        let outcome = match utf16 {
            None => reading(Xml::new(&mut part, name, meter))?,
            Some((big_endian, mark)) => {
                part.consume(mark);
                let mut text = BufReader::with_capacity(CHUNK, Utf16::new(&mut part, big_endian, meter));
                let outcome = reading(Xml::new(&mut text, name, meter))?;
                if to_the_end {
                    io::copy(&mut text, &mut io::sink()).map_err(explain)?;
                }
                outcome
            }
        };
        if to_the_end {
            io::copy(&mut part, &mut io::sink()).map_err(explain)?;
        }
        Ok(outcome)
    }

    /// Reads every part that has not been read yet.
    pub(super) fn drain(&mut self) -> Result<(), InspectError> {
        (0..self.read.len())
            .filter(|&index| !self.read[index])
            .collect::<Vec<_>>()
            .into_iter()
            .try_for_each(|index| self.check(index))
    }

    /// Whether the reason why the workbook cannot be read is damage to a part: reads every part, and returns what is
    /// wrong with the first that is damaged, else `unread`.
    pub(super) fn blame(&mut self, unread: InspectError) -> InspectError {
        let damage = (0..self.read.len())
            .find_map(|index| self.check(index).err().filter(|error| error.wholeness() != Wholeness::Unread));
        damage.unwrap_or(unread)
    }

    fn check(&mut self, index: usize) -> Result<(), InspectError> {
        let meter = self.meter;
        let part = self.archive.part(index)?;
        let mut part = BufReader::with_capacity(CHUNK, meter.inflated(part));
        io::copy(&mut part, &mut io::sink())
            .map_err(|error| meter.explain(|| InspectError::cut_off(error)))?;
        Ok(())
    }

    /// The name by which the part is read that `path` names; `None` where there is none. A path may be written as a
    /// part of an address, with `%20` for a blank.
    pub(super) fn find(&self, path: &str) -> Option<String> {
        let decoded = || percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
        let known = |name: String| self.by_name.contains_key(&name).then_some(name);
        known(normal(path)).or_else(|| known(normal(&decoded())))
    }

    /// The names of all parts, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Whether the part `name` was read.
    pub(super) fn was_read(&self, name: &str) -> bool {
        self.by_name.get(name).is_some_and(|index| index.is_some_and(|index| self.read[index]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_paths_without_case() {
        for path in [
            "xl/Worksheets/Sheet1.xml",
            "/xl/worksheets/sheet1.xml",
            "xl\\worksheets\\sheet1.xml",
            "xl/../xl/./worksheets//sheet1.xml",
            "../xl/worksheets/sheet1.xml",
        ] {
            assert_eq!(normal(path), "xl/worksheets/sheet1.xml", "{path}");
        }
    }
}
