//! Files as some program in the field writes them, each with its right value: `tests/fixtures/odd-files`.

use std::path::PathBuf;

use proptest::prelude::*;

use super::{look, look_within};
use crate::adapters::inspect::{Inspection, Limits, Wholeness};
use crate::domain::digest::ContentDigest;
use crate::domain::export::Format;

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    /// It is read, with so many records.
    Read(u64),
    /// It came whole, and cannot be read.
    Unread,
}
use Value::{Read, Unread};

const FILES: [(&str, Value); 26] = [
    ("c05-sep-comma.csv", Read(3)),
    ("c12-short-rows.csv", Read(3)),
    ("c14-footer.csv", Read(3)),
    ("c16-ctrl-z.csv", Read(3)),
    ("c22c-one-bad-byte-3char-names.csv", Read(500)),
    ("c26-empty-body.csv", Read(0)),
    ("c28c-gz-trailing-garbage.csv", Read(3)),
    ("c32-header-bracket.csv", Read(3)),
    ("c39-vt-in-header.csv", Read(3)),
    ("x02b-inlineStr-v-only-some.xlsx", Read(3)),
    ("x06-cells-out-of-order.xlsx", Read(3)),
    ("x07-SharedStrings-case.xlsx", Read(3)),
    ("x10-target-dotdot.xlsx", Read(3)),
    ("x11-backslash-names.xlsx", Read(3)),
    ("x13-workbook2.xlsx", Read(3)),
    ("x17-utf16-part.xlsx", Read(3)),
    ("x22-two-sheets-no-header.xlsx", Read(3)),
    ("x23b-hidden-dict.xlsx", Read(3)),
    ("x30b-leading-bom.xlsx", Read(3)),
    ("x32-zip-of-csv.xlsx", Unread),
    ("x37-empty-sheet.xlsx", Read(0)),
    ("x44c-charref-nul.xlsx", Unread),
    ("x45c-cesu8.xlsx", Unread),
    ("x47-r-lowercase.xlsx", Read(3)),
    ("x57-sst-rel-no-part.xlsx", Read(3)),
    ("x62b-bzip2.xlsx", Unread),
];

/// The three records that most of the files hold, as plain text.
const PLAIN: &str = "transaction_id,user_name,computer_name,terminal_type,terminal_ip,desktop_ip,connection_start_time,\
    connection_setup_time,connection_end_time,is_reconnect,connection_failure_reason\r\n\
    tx-00000,alice,PC000,Windows,10.0.0.1,172.16.0.9,2026-11-01T00:00:00Z,2026-11-01T00:00:00Z,2026-11-01T00:00:00Z,false,\r\n\
    tx-00001,张三,PC001,Windows,10.0.0.1,172.16.0.9,2026-11-01T00:00:00Z,2026-11-01T00:00:00Z,2026-11-01T00:00:00Z,false,\r\n\
    tx-00002,bob,PC002,Windows,10.0.0.1,172.16.0.9,2026-11-01T00:00:00Z,2026-11-01T00:00:00Z,2026-11-01T00:00:00Z,false,\r\n";

fn bytes_of(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/odd-files");
    std::fs::read(folder.join(name)).unwrap()
}

fn read(name: &str) -> Inspection {
    look(&bytes_of(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_odd_file_comes_to_its_right_value() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/odd-files");
    let names =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    let mut listed = FILES.map(|(name, _)| name.to_owned()).to_vec();
    listed.sort();
    assert_eq!(names, listed, "a file without a right value, or a value without a file");
    for (name, value) in FILES {
        let found = match look(&bytes_of(name)) {
            Ok(found) => Read(found.rows),
            Err(error) if error.wholeness() == Wholeness::Unread => Unread,
            Err(error) => panic!("{name}: {error}"),
        };
        assert_eq!(found, value, "{name}");
    }
}

#[test]
fn an_odd_file_of_the_plain_records_has_their_digest() {
    let plain = look(PLAIN.as_bytes()).unwrap();
    // Two files have other header names, and so another content.
    let others = ["c32-header-bracket.csv", "c39-vt-in-header.csv"];
    for (name, value) in FILES.iter().filter(|(name, value)| *value == Read(3) && !others.contains(name)) {
        assert_eq!(read(name).content_digest, plain.content_digest, "{name} {value:?}");
    }
    for name in others {
        assert_ne!(read(name).content_digest, plain.content_digest, "{name}");
    }
}

#[test]
fn times_and_open_records_are_those_of_the_known_columns() {
    for (name, _) in FILES.iter().filter(|(_, value)| *value == Read(3)) {
        let found = read(name);
        let times = found.times.map(|times| (times.first.to_string(), times.last.to_string(), times.zoned));
        let time = "2026-11-01T00:00:00Z".to_owned();
        assert_eq!(times, Some((time.clone(), time, true)), "{name}");
        assert_eq!(found.open_records, Some(0), "{name}");
        assert_eq!(found.columns.len(), 11, "{name}");
    }
    let found = look(PLAIN.replace("2026-11-01T00:00:00Z,false", ",false").as_bytes()).unwrap();
    assert_eq!(found.open_records, Some(3));
}

#[test]
fn what_was_left_out_is_noted_and_nothing_else_is() {
    let notes = [
        ("c14-footer.csv", "a row below the last record"),
        ("c22c-one-bad-byte-3char-names.csv", "the text of 1 cell is in no charset"),
        ("c28c-gz-trailing-garbage.csv", "bytes after the end of the gzip data were left out: 2"),
        ("x23b-hidden-dict.xlsx", "sheet \"dict\" is not of the table"),
    ];
    for (name, value) in FILES {
        if matches!(value, Read(_)) {
            let expected = notes.iter().find_map(|(noted, note)| (*noted == name).then_some(*note));
            let found = read(name).notes;
            assert_eq!(found.len(), usize::from(expected.is_some()), "{name}: {found:?}");
            assert!(expected.is_none_or(|note| found[0].contains(note)), "{name}: {found:?}");
        }
    }
}

#[test]
fn no_bytes_and_a_workbook_without_rows_hold_no_records() {
    let blank: [(&[u8], Format); 5] = [
        (b"", Format::Csv),
        (b"\xef\xbb\xbf\r\n \t\r\n", Format::Csv),
        (b"\xff\xfe", Format::Csv),
        (&bytes_of("x37-empty-sheet.xlsx"), Format::Xlsx),
        (&super::gzip(b"\r\n"), Format::CsvGz),
    ];
    for (bytes, format) in blank {
        let found = look(bytes).unwrap();
        let empty = (format, 0, ContentDigest::EMPTY, None, Vec::<String>::new());
        assert_eq!(
            (found.format, found.rows, found.content_digest, found.open_records, found.columns),
            empty
        );
    }
}

#[test]
fn another_user_name_wherever_it_stands_changes_the_digest() {
    let whole = bytes_of("x02b-inlineStr-v-only-some.xlsx");
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&whole)).unwrap();
    let mut parts = Vec::new();
    for index in 0..archive.len() {
        let mut part = archive.by_index(index).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut part, &mut text).unwrap();
        parts.push((part.name().unwrap().into_owned(), text.replace("<v>alice</v>", "<v>mallory</v>")));
    }
    let parts: Vec<(&str, &str)> = parts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let found = look(&super::zip_of(&parts)).unwrap();
    assert_eq!(found.rows, 3);
    assert_ne!(found.content_digest, read("x02b-inlineStr-v-only-some.xlsx").content_digest);
}

/// More rows than this no file can have that begins like `bytes`: line ends in text, `<row` in sheets.
fn most_rows(bytes: &[u8]) -> u64 {
    let lines = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() as u64;
    // The workbooks here have at most five rows; a byte that changed in what is compressed makes no more of them.
    if bytes.windows(2).any(|two| two == b"PK") { 5 } else { lines + 1 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_changed_odd_file_never_panics_and_never_has_more_rows_than_lines(
        file in prop::sample::select(&FILES[..]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..6),
    ) {
        let mut bytes = bytes_of(file.0);
        let packed = bytes.starts_with(b"\x1f\x8b");
        for (place, byte, kind) in changes {
            if bytes.is_empty() {
                break;
            }
            let place = place.index(bytes.len());
            match kind {
                0 => bytes[place] = byte,
                1 => drop(bytes.remove(place)),
                _ => bytes.insert(place, byte),
            }
        }
        let limits = Limits { inflated: 64 << 20, ..Limits::default() };
        if let Ok(found) = look_within(limits, &bytes) {
            prop_assert!(packed || found.rows <= most_rows(&bytes), "{} rows", found.rows);
            prop_assert!(found.notes.len() <= 16 && found.columns.len() <= 64);
        }
    }
}
