//! Workbooks that are put together in odd ways, and what becomes of them.

use std::io::Write;

use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::{assert_cut_off, assert_unread, digest, look, zip_of};

const TYPE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const STRICT: &str = "http://purl.oclc.org/ooxml/officeDocument/relationships";

fn cells(row: &str) -> String {
    let cell = |text: &str| format!(r#"<c t="inlineStr"><is><t>{text}</t></is></c>"#);
    row.split(',').map(|text| if text.is_empty() { "<c/>".to_owned() } else { cell(text) }).collect()
}

/// What stands in a sheet: a row for each line.
fn rows(lines: &str) -> String {
    lines.lines().map(|line| format!("<row>{}</row>", cells(line))).collect()
}

fn sheet(rows: &str) -> String {
    format!("<worksheet><sheetData>{rows}</sheetData></worksheet>")
}

fn relation(kind: &str, id: &str, target: &str) -> String {
    format!(r#"<Relationship Id="{id}" Type="{kind}" Target="{target}"/>"#)
}

fn relations(inside: &str) -> String {
    format!("<Relationships>{inside}</Relationships>")
}

const TABLE: &str = "User,Desktop,Started,Note\nli,d1,2026-11-22 08:00:00,a\n";

/// A workbook of one sheet with two records, of which the workbook says that it is at `target`.
fn at(part: &str, target: &str, kind: &str) -> Vec<u8> {
    zip_of(&[
        ("xl/workbook.xml", r#"<workbook><sheets><sheet name="a" r:id="r1"/></sheets></workbook>"#),
        ("xl/_rels/workbook.xml.rels", &relations(&relation(kind, "r1", target))),
        (part, &sheet(&rows(TABLE))),
    ])
}

/// A workbook of several sheets, each of which has these lines.
pub(super) fn of_sheets(sheets: &[&str]) -> Vec<u8> {
    let (mut listed, mut related, mut parts) = (String::new(), String::new(), Vec::new());
    for (number, lines) in sheets.iter().enumerate() {
        listed += &format!(r#"<sheet name="S{number}" r:id="r{number}"/>"#);
        related += &relation(
            &format!("{TYPE}/worksheet"),
            &format!("r{number}"),
            &format!("worksheets/s{number}.xml"),
        );
        parts.push((format!("xl/worksheets/s{number}.xml"), sheet(&rows(lines))));
    }
    let (book, related) = (format!("<workbook><sheets>{listed}</sheets></workbook>"), relations(&related));
    let mut all = vec![("xl/workbook.xml", book.as_str()), ("xl/_rels/workbook.xml.rels", related.as_str())];
    all.extend(parts.iter().map(|(name, part)| (name.as_str(), part.as_str())));
    zip_of(&all)
}

/// A workbook of one sheet with a header and what `rows` says.
fn of_rows(rows_below: &str, texts: Option<&str>) -> Vec<u8> {
    let part = sheet(&(rows("User,Desktop,Note") + rows_below));
    let mut parts = vec![
        ("xl/workbook.xml", r#"<workbook><sheets><sheet name="a" r:id="r1"/></sheets></workbook>"#),
        ("xl/worksheets/sheet1.xml", part.as_str()),
    ];
    parts.extend(texts.map(|texts| ("xl/sharedStrings.xml", texts)));
    zip_of(&parts)
}

#[test]
fn a_sheet_is_found_however_its_place_is_written() {
    let expected = digest(TABLE.as_bytes());
    let worksheet = format!("{TYPE}/worksheet");
    for (part, target) in [
        ("xl/worksheets/sheet1.xml", "worksheets/sheet1.xml"),
        ("xl/worksheets/sheet1.xml", "/xl/worksheets/sheet1.xml"),
        ("xl/worksheets/sheet1.xml", "xl/worksheets/sheet1.xml"),
        ("xl/worksheets/sheet1.xml", "./worksheets/../worksheets/Sheet1.XML"),
        ("xl/worksheets/sheet1.xml", r"\xl\worksheets\sheet1.xml"),
        ("/XL/Worksheets/Sheet1.xml", "worksheets/sheet1.xml"),
        (r"xl\worksheets\sheet1.xml", "../xl/worksheets/sheet1.xml"),
        ("sheets/my sheet.xml", "../sheets/my%20sheet.xml"),
        ("xl/worksheets/a&b.xml", "worksheets/a&amp;b.xml"),
    ] {
        let found = look(&at(part, target, &worksheet)).unwrap_or_else(|error| panic!("{target}: {error}"));
        assert_eq!((found.rows, found.content_digest), (1, expected), "{target}");
    }
    let strict = at("xl/worksheets/sheet1.xml", "worksheets/sheet1.xml", &format!("{STRICT}/worksheet"));
    assert_eq!(digest(&strict), expected);
    assert_unread(&at("xl/worksheets/sheet1.xml", "worksheets/sheet2.xml", &worksheet), "does not hold it");
}

#[test]
fn the_workbook_is_the_part_that_the_archive_names() {
    let book = r#"<workbook><sheets><sheet name="a" r:id="r1"/></sheets></workbook>"#;
    let main = relations(&relation(&format!("{STRICT}/officeDocument"), "m", "/other/Book.xml"));
    let sheets = relations(&relation(&format!("{TYPE}/worksheet"), "r1", "one.xml"));
    let parts = [
        ("_rels/.rels", main.as_str()),
        ("other/book.xml", book),
        ("other/_rels/book.xml.rels", sheets.as_str()),
        ("other/one.xml", &sheet(&rows(TABLE))),
    ];
    assert_eq!(digest(&zip_of(&parts)), digest(TABLE.as_bytes()));
}

#[test]
fn a_sheet_or_relation_that_is_named_twice_counts_once() {
    let once = relation(&format!("{TYPE}/worksheet"), "r1", "worksheets/sheet1.xml");
    let again = relation(&format!("{TYPE}/worksheet"), "r2", "/xl/worksheets/sheet1.xml");
    let book = |ids: &[&str]| {
        let sheets: String = ids.iter().map(|id| format!(r#"<sheet name="a" r:id="{id}"/>"#)).collect();
        format!("<workbook><sheets>{sheets}</sheets></workbook>")
    };
    let with = |ids: &[&str], related: &str| {
        zip_of(&[
            ("xl/workbook.xml", &book(ids)),
            ("xl/_rels/workbook.xml.rels", &relations(related)),
            ("xl/worksheets/sheet1.xml", &sheet(&rows(TABLE))),
        ])
    };
    for bytes in [
        with(&["r1"], &(once.clone() + &once)),
        with(&["r1", "r1"], &once),
        with(&["r1", "r2"], &(once.clone() + &again)),
    ] {
        let found = look(&bytes).unwrap();
        assert_eq!((found.rows, found.content_digest), (1, digest(TABLE.as_bytes())));
    }
    let other = relation(&format!("{TYPE}/worksheet"), "r1", "worksheets/sheet2.xml");
    assert_unread(&with(&["r1"], &(once + &other)), "two parts by the same id");
}

#[test]
fn cells_count_wherever_they_stand_and_whatever_their_type_says() {
    let expected = digest(b"User,Desktop,Note\nli,d1,x\n");
    for row in [
        r#"<row><c r="C2"><is><t>x</t></is></c><c r="a2" t=""><v>li</v></c><c r="b2" t="str"><is><t>d1</t></is></c></row>"#,
        r#"<row><c r="A2"><v>old</v></c><c r="B2"><v>d1</v></c><c r="C2"><v>x</v></c><c r="A2"><v>li</v></c><c r="A2"/></row>"#,
        r#"<row><c r="$C$2"><v>x</v></c><c r="$A2"><v>li</v></c><c r="B$2"><v>d1</v></c></row>"#,
        r#"<row><c t="inlineStr"><v>li</v></c><c t="n"><t>d1</t></c><c t="e"><v>x</v></c></row>"#,
        r#"<row><c r=""><v>li</v></c><c><f>1+1</f><v>d1</v><extLst><ext>y</ext></extLst></c><c t="str"><f>A1</f><v>x</v></c></row>"#,
    ] {
        assert_eq!(digest(&of_rows(row, None)), expected, "{row}");
    }
    let both = r#"<row><c t="inlineStr"><is><t>l</t></is><v>i</v></c><c><v>d1</v></c><c><v>x</v></c></row>"#;
    assert_eq!(digest(&of_rows(both, None)), expected);
    assert_unread(&of_rows("<row><c>li</c></row>", None), "text at a place");
    assert_unread(&of_rows("<row><c><is>li</is></c></row>", None), "text at a place");
    let shared = r#"<row><c t="s"><v>0</v></c></row>"#;
    assert_unread(&of_rows(shared, None), "not in the table");
    assert_unread(&of_rows(shared, Some("<sst><si>li</si></sst>")), "text at a place");
    assert_eq!(
        digest(&of_rows(r#"<row><c t="s"><v></v></c><c><v>7</v></c></row>"#, None)),
        digest(b"User,Desktop\n,7\n")
    );
}

#[test]
fn two_references_to_the_halves_of_a_character_are_the_character() {
    let cell = |text: &str| of_rows(&format!(r#"<row><c t="str"><v>{text}</v></c></row>"#), None);
    assert_eq!(
        digest(&cell("a&#xD83D;&#xDE00;b&#55357;&#56833;")),
        digest("User,Desktop\na😀b😁,\n".as_bytes())
    );
    let shared = "<sst><si><t>&#xd83d;&#xde00;</t></si></sst>";
    let named = of_rows(r#"<row><c t="s"><v>0</v></c></row>"#, Some(shared));
    assert_eq!(digest(&named), digest("User,Desktop\n😀,\n".as_bytes()));
    for half in ["&#xD83D;", "&#xDE00;", "&#xD83D;x&#xDE00;", "&#xDE00;&#xD83D;", "&#0;", "&#x110000;"] {
        assert_unread(&cell(half), "xl/worksheets/sheet1.xml");
    }
}

#[test]
fn a_table_goes_on_in_other_sheets_and_other_sheets_are_left_out() {
    let more = "wang,d2,2026-11-22 09:00:00,b\n";
    let whole = digest(format!("{TABLE}{more}").as_bytes());
    let header = "User,Desktop,Started,Note\n";
    let turned = "Note,User,Desktop,Started\nb,wang,d2,2026-11-22 09:00:00\n";
    for (sheets, notes) in [
        (vec![TABLE, more], 0),
        (vec![TABLE, &format!("{header}{more}")], 0),
        (vec![TABLE, &format!("Connection records\n{header}{more}Total: 1\n")], 2),
        (vec![TABLE, turned], 0),
        (vec![more, TABLE], 0),
        (vec![&format!("Report\nfrom,to\n{TABLE}"), "", more], 1),
        (vec!["Read me\nThis is a report,of all\n", TABLE, more, "Windows\nLinux\n"], 2),
        (vec![TABLE, "User,Logins\nli,1\nwang,1\n", more], 1),
        (vec!["User,Desktop,Sum\nli,d1,1\n", TABLE, more], 1),
    ] {
        let found = look(&of_sheets(&sheets)).unwrap_or_else(|error| panic!("{sheets:?}: {error}"));
        assert_eq!((found.rows, found.content_digest), (2, whole), "{sheets:?}");
        assert_eq!(found.notes.len(), notes, "{sheets:?}: {:?}", found.notes);
    }
}

#[test]
fn sheets_that_hold_records_under_different_headers_cannot_be_read() {
    let other = "User,Computer Name,Start Time,Transaction ID\nli,d1,2026-11-22 08:00:00,t1\n";
    assert_unread(&of_sheets(&[TABLE, other]), "different headers");
    assert_unread(&of_sheets(&["A,B\n1,2\n", "1,2,3\n"]), "different headers");
    assert_eq!(look(&of_sheets(&["A,B\n1,2\n", "3,4\n"])).unwrap().rows, 2);
}

#[test]
fn titles_above_and_a_footer_below_a_sheet_are_no_records() {
    let table = "User,Desktop,Started,Note\nli,d1,45987.5,a\nwang,d2,45987.5,\n";
    let found = look(&of_sheets(&[&format!("Report\nfrom,2026\n{table}Total: 2\n")])).unwrap();
    assert_eq!((found.rows, found.content_digest, found.notes.len()), (2, digest(table.as_bytes()), 2));
    let times = found.times.unwrap();
    assert_eq!((times.first.to_string(), times.zoned), ("2025-11-26T12:00:00Z".to_owned(), false));
}

#[test]
fn bytes_before_and_after_the_archive_do_not_matter() {
    let whole = of_sheets(&[TABLE]);
    for before in [b"\xef\xbb\xbf".as_slice(), b"\r\n", b"\n \t"] {
        let found = look(&[before, &whole].concat()).unwrap();
        assert_eq!((found.rows, found.notes.len()), (1, 0));
        // The offsets may count from the file's beginning, too.
        let at = before.len();
        let mut file = std::io::Cursor::new(before.to_vec());
        file.set_position(at as u64);
        let mut archive = ZipWriter::new(file);
        for (name, part) in [
            ("xl/workbook.xml", r#"<workbook><sheets><sheet r:id="a"/></sheets></workbook>"#),
            ("xl/worksheets/sheet1.xml", &sheet(&rows(TABLE))),
        ] {
            archive.start_file(name, SimpleFileOptions::default()).unwrap();
            archive.write_all(part.as_bytes()).unwrap();
        }
        let bytes = archive.finish().unwrap().into_inner();
        assert!(bytes.starts_with(before));
        assert_eq!(look(&bytes).unwrap().rows, 1);
    }
    // Of the bytes after it, some look like an end.
    let end = b"PK\x05\x06".as_slice();
    let garbage = [vec![0; 70_000], end.to_vec(), vec![0; 100_000], end.to_vec(), vec![7; 200_000]].concat();
    for after in [b"\r\n".as_slice(), &vec![b'\n'; 70_000], &garbage] {
        let found = look(&[&whole, after].concat()).unwrap();
        assert_eq!((found.rows, found.notes.len()), (1, 1), "{}", after.len());
        assert!(found.notes[0].contains(&after.len().to_string()), "{:?}", found.notes);
    }
    // What comes after it is another archive, which is cut off.
    assert_cut_off(&[&whole, &whole[..whole.len() - 30]].concat(), "another");
    assert_cut_off(&[&whole[..whole.len() - 30], garbage.as_slice()].concat(), "end record");
}

#[test]
fn bad_xml_in_an_archive_that_came_whole_is_told_from_damage() {
    let parts = |part: &str, method| {
        let mut archive = ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(method);
        for (name, part) in [
            ("xl/workbook.xml", r#"<workbook><sheets><sheet r:id="a"/></sheets></workbook>"#),
            ("xl/worksheets/sheet1.xml", part),
        ] {
            archive.start_file(name, options).unwrap();
            archive.write_all(part.as_bytes()).unwrap();
        }
        archive.finish().unwrap().into_inner()
    };
    let good = sheet(&rows(TABLE));
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        assert_eq!(look(&parts(&good, method)).unwrap().rows, 1);
        assert_unread(&parts(&good.replace("</row>", "</raw>"), method), "ill-formed");
    }
    let mut damaged = parts(&good, CompressionMethod::Stored);
    let place = damaged.windows(6).position(|bytes| bytes == b"</row>").unwrap();
    damaged[place + 3] ^= 1;
    assert_cut_off(&damaged, "check sum");
}

#[test]
fn an_archive_with_wide_numbers_is_read_and_one_with_a_password_is_not() {
    let mut archive = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().large_file(true);
    for (name, part) in [
        ("xl/workbook.xml", r#"<workbook><sheets><sheet r:id="a"/></sheets></workbook>"#.to_owned()),
        ("xl/worksheets/sheet1.xml", sheet(&rows(TABLE))),
    ] {
        archive.start_file(name, options).unwrap();
        archive.write_all(part.as_bytes()).unwrap();
    }
    let whole = archive.finish().unwrap().into_inner();
    assert_eq!(digest(&whole), digest(TABLE.as_bytes()));
    let mut locked = whole;
    let entry = locked.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    locked[entry + 8] |= 1;
    assert_unread(&locked, "password");
}

#[test]
fn rows_out_of_order_or_twice_came_whole_and_cannot_be_read() {
    let of = |numbers: [u32; 3]| {
        let lines = ["User,Desktop,Started", "li,d1,2026-11-22 08:00:00", "wang,d2,2026-11-22 09:00:00"];
        let row = |(number, line): (&u32, &str)| format!(r#"<row r="{number}">{}</row>"#, cells(line));
        let rows: String = numbers.iter().zip(lines).map(row).collect();
        zip_of(&[
            ("xl/workbook.xml", r#"<workbook><sheets><sheet name="a" r:id="r1"/></sheets></workbook>"#),
            (
                "xl/_rels/workbook.xml.rels",
                &relations(&relation(&format!("{TYPE}/worksheet"), "r1", "worksheets/s.xml")),
            ),
            ("xl/worksheets/s.xml", &sheet(&rows)),
        ])
    };
    assert_eq!(look(&of([1, 3, 7])).unwrap().rows, 2);
    assert_unread(&of([2, 3, 1]), "row 1 stands after row 3");
    assert_unread(&of([1, 2, 2]), "row 2 stands after row 2");
}
