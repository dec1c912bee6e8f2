//! Equal content has an equal digest, whatever the bytes.

use csv::ByteRecord;
use encoding_rs::GB18030;
use proptest::prelude::*;

use super::{digest, gzip, look, records, text_of, xlsx_of};
use crate::adapters::inspect::{Charset, Head, Header, InspectError, RowVisitor, read_rows};
use crate::domain::digest::{ContentDigest, Sha256};
use crate::domain::export::Format;

#[test]
fn the_digest_is_the_documented_one() {
    let sum = |canonical: &[&str]| {
        let mut digest = ContentDigest::EMPTY;
        canonical.iter().for_each(|row| digest.add(Sha256::of(row.as_bytes())));
        digest
    };
    let found = look("User,Note,Age\n李,,7\n,,\nwang,a b,10\n".as_bytes()).unwrap();
    let rows = ["3:Age,1:7,4:User,3:李,", "3:Age,2:10,4:Note,3:a b,4:User,4:wang,"];
    assert_eq!((found.format, found.rows, found.content_digest), (Format::Csv, 2, sum(&rows)));
    // Columns without a name, and two of the same name.
    assert_eq!(digest(b"User,,User,\nab,x,c,y\n"), sum(&["0:,1:x,0:,1:y,4:User,2:ab,4:User,1:c,"]));
}

#[test]
fn every_format_and_charset_of_the_same_records_has_the_same_digest() {
    let table = records();
    let xlsx = xlsx_of(&table, 2026);
    let expected = look(&xlsx).unwrap();
    assert_eq!((expected.rows, expected.format), (6, Format::Xlsx));

    let utf8 = text_of(&table, ",").into_bytes();
    let with_mark = [b"\xef\xbb\xbf", utf8.as_slice()].concat();
    let gb18030 = GB18030.encode(std::str::from_utf8(&utf8).unwrap()).0.into_owned();
    let gb18030_with_mark = [b"\x84\x31\x95\x33", gb18030.as_slice()].concat();
    let cases = [
        (Format::XlsxGz, gzip(&xlsx)),
        (Format::CsvGz, gzip(&with_mark)),
        (Format::CsvGz, [gzip(&utf8[..100]), gzip(&utf8[100..])].concat()),
        (Format::CsvGz, gzip(&gb18030)),
        (Format::Csv, text_of(&table, ";").into_bytes()),
        (Format::Csv, text_of(&table, "\t").into_bytes()),
        (Format::Csv, utf8.strip_suffix(b"\r\n").unwrap().to_vec()),
        (Format::Csv, utf8),
        (Format::Csv, with_mark),
        (Format::Csv, gb18030),
        (Format::Csv, gb18030_with_mark),
    ];
    for (number, (format, bytes)) in cases.into_iter().enumerate() {
        let found = look(&bytes).unwrap_or_else(|error| panic!("case {number}: {error}"));
        assert_eq!(found.format, format, "case {number}");
        assert_eq!((found.rows, found.content_digest), (6, expected.content_digest), "case {number}");
    }
}

#[test]
fn two_spreadsheets_of_the_same_records_differ_in_bytes_only() {
    let mut table = records();
    let first = xlsx_of(&table, 2025);
    table[1..].reverse();
    let second = xlsx_of(&table, 2026);
    assert_ne!(first, second);
    assert_eq!(digest(&first), digest(&second));
}

#[test]
fn another_cell_a_lost_row_or_a_doubled_row_changes_the_digest() {
    let table = records();
    let original = digest(text_of(&table, ",").as_bytes());
    for change in [
        |table: &mut Vec<Vec<String>>| table[1][0].push('.'),
        |table: &mut Vec<Vec<String>>| table.truncate(6),
        |table: &mut Vec<Vec<String>>| table.push(table[1].clone()),
        |table: &mut Vec<Vec<String>>| table[1].swap(0, 1),
        |table: &mut Vec<Vec<String>>| table[0][0].push('.'),
    ] {
        let mut changed = table.clone();
        change(&mut changed);
        assert_ne!(digest(text_of(&changed, ",").as_bytes()), original);
    }
}

#[test]
fn a_visitor_finds_cells_by_the_names_of_their_columns() {
    #[derive(Default)]
    struct Seen(Option<Header>, Vec<String>);
    impl RowVisitor for Seen {
        fn header(&mut self, head: &Head<'_>) -> Result<(), InspectError> {
            self.0 = Some(Header::read(head.names, Charset::Utf8));
            Ok(())
        }
        fn row(&mut self, cells: &ByteRecord) -> Result<(), InspectError> {
            let text = |cell| Charset::Utf8.read(cell).unwrap().into_owned();
            let cells = self.0.as_ref().unwrap().cells(cells);
            self.1.extend(cells.map(|(column, cell)| format!("{}={}", column.name(), text(cell))));
            Ok(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spooled");
    std::fs::write(&path, "User,Age,Note\nli,7,\n").unwrap();
    let mut seen = Seen::default();
    assert_eq!(read_rows(&path, folder.path(), &|| false, &mut seen).unwrap(), Format::Csv);
    assert_eq!(seen.1, ["Age=7", "User=li"]);
}

/// A cell of any text that both formats can hold.
fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just(String::new()),
        5 => "[ -~é中国\u{20ac}\u{1f600}\n]{0,12}",
        1 => "(_x00[0-9A-F]{2}_?| ){1,3}",
    ]
}

fn table() -> impl Strategy<Value = Vec<Vec<String>>> {
    (2..6usize).prop_flat_map(|width| {
        let header = prop::collection::vec("[A-D中 ]{1,3}", width);
        let rows = prop::collection::vec(prop::collection::vec(cell(), width), 0..12);
        (header, rows).prop_map(|(header, rows)| [vec![header], rows].concat())
    })
}

/// Puts in quotes what must be, and of the rest the cells that `style` has a bit for.
fn text_in_style(rows: &[Vec<String>], style: u64) -> String {
    let mut bits = (0..64).cycle().map(|bit| style >> bit & 1 == 1);
    let mut text = String::new();
    for row in rows {
        for (place, cell) in row.iter().enumerate() {
            text += if place > 0 { "," } else { "" };
            let needed = cell.contains([',', '"', '\n', '\r']);
            if needed || bits.next() == Some(true) {
                text += &format!("\"{}\"", cell.replace('"', "\"\""));
            } else {
                text += cell;
            }
        }
        text += if bits.next() == Some(true) { "\n" } else { "\r\n" };
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn neither_order_nor_columns_nor_quoting_nor_format_change_the_digest(
        (original, shuffled) in table().prop_flat_map(|table| {
            (Just(table.clone()), Just(table[1..].to_vec()).prop_shuffle().prop_map(move |rows| {
                [vec![table[0].clone()], rows].concat()
            }))
        }),
        style: u64,
        turn: prop::sample::Index,
    ) {
        let expected = look(text_of(&original, ",").as_bytes()).unwrap();
        let found = look(text_in_style(&shuffled, style).as_bytes()).unwrap();
        prop_assert_eq!((found.rows, found.content_digest), (expected.rows, expected.content_digest));

        let spreadsheet = look(&xlsx_of(&shuffled, 2026)).unwrap();
        prop_assert_eq!((spreadsheet.rows, spreadsheet.content_digest), (expected.rows, expected.content_digest));

        // Columns may change places and empty ones may come, as long as equal names keep their order.
        let mut wider = original;
        let names: std::collections::BTreeSet<_> = wider[0].iter().collect();
        if names.len() == wider[0].len() {
            let turn = turn.index(wider[0].len());
            wider.iter_mut().for_each(|row| row.rotate_left(turn));
        }
        wider.iter_mut().for_each(|row| row.push(String::new()));
        let found = look(text_of(&wider, ";").as_bytes()).unwrap();
        prop_assert_eq!((found.rows, found.content_digest), (expected.rows, expected.content_digest));
    }
}
