//! What inspection takes for an export, what it refuses, and that equal content has an equal digest.

mod cut_off;
mod damage;
mod delta;
mod memory;
mod no_table;
mod odd_files;
mod odd_workbooks;
mod refusals;
mod same_content;
mod split_sheets;
mod text;
mod workbooks;

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Workbook};
use zip::write::{SimpleFileOptions, ZipWriter};

use super::{InspectError, Inspection, Limits, Wholeness, inspect_within};
use crate::domain::digest::ContentDigest;
use crate::domain::failure::FailureKind;

/// A table with all that is awkward in one format or the other; the first row is the header.
fn records() -> Vec<Vec<String>> {
    let rows = [
        ["User name", "Computer", "Address", "Remark"],
        ["li.wei", "desk-01", "10.0.0.7", ""],
        ["王小明", "桌面-02", "10.0.0.8", "said \"hello, world\""],
        ["o'neil", "desk;03", "", "two\nlines & a <tag>"],
        ["li.wei", "desk-01", "10.0.0.7", ""],
        ["", "", "", "_x0041_ stays as it is, and so do spaces  "],
        ["赵", "desk-04", "fe80::1", "tab\there"],
    ];
    rows.iter().map(|row| row.iter().map(|&cell| cell.to_owned()).collect()).collect()
}

/// Delimited text, every cell in quotes.
fn text_of(rows: &[Vec<String>], delimiter: &str) -> String {
    let quoted = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
    let line = |row: &Vec<String>| row.iter().map(quoted).collect::<Vec<_>>().join(delimiter) + "\r\n";
    rows.iter().map(line).collect()
}

/// A spreadsheet as a maker of spreadsheets writes it, created in `year`.
fn xlsx_of(rows: &[Vec<String>], year: u16) -> Vec<u8> {
    let mut workbook = Workbook::new();
    let created = ExcelDateTime::from_ymd(year, 1, 2).unwrap();
    workbook.set_properties(&DocProperties::new().set_creation_datetime(&created));
    let sheet = workbook.add_worksheet();
    for (y, row) in rows.iter().enumerate() {
        for (x, cell) in row.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
            sheet.write_string(y as u32, x as u16, cell).unwrap();
        }
    }
    workbook.save_to_buffer().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zip_of(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in parts {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(content.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn look_within(limits: Limits, bytes: &[u8]) -> Result<Inspection, InspectError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spooled");
    std::fs::write(&path, bytes).unwrap();
    let outcome = inspect_within(limits, &path, folder.path(), &|| false);
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "scratch files are left behind");
    outcome
}

fn look(bytes: &[u8]) -> Result<Inspection, InspectError> {
    look_within(Limits::default(), bytes)
}

fn digest(bytes: &[u8]) -> ContentDigest {
    look(bytes).unwrap().content_digest
}

/// What the refusal of a corrupt file says.
fn refusal(bytes: &[u8]) -> String {
    let error = look(bytes).unwrap_err();
    assert_eq!(error.kind(), FailureKind::Corrupt, "{error}");
    let text = error.to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// Asserts that a file is refused as one that came whole and cannot be read, with a message that holds `word`.
#[track_caller]
fn assert_unread(bytes: &[u8], word: &str) {
    assert_refused(bytes, word);
    assert_eq!(look(bytes).unwrap_err().wholeness(), Wholeness::Unread, "{word}");
}

/// Asserts that a file is refused as one that was cut off, with a message that holds `word`.
#[track_caller]
fn assert_cut_off(bytes: &[u8], word: &str) {
    assert_refused(bytes, word);
    assert_eq!(look(bytes).unwrap_err().wholeness(), Wholeness::CutOff, "{word}");
}

/// Asserts that a file is refused with a message that holds `word`.
#[track_caller]
fn assert_refused(bytes: &[u8], word: &str) {
    let text = refusal(bytes);
    assert!(text.contains(word), "{text:?} does not say {word:?}");
}
