//! Workbooks as other makers write them, put together by hand.

use super::{assert_unread, digest, look, look_within, records, xlsx_of, zip_of};
use crate::adapters::inspect::Limits;

const RELATION: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";

/// A workbook of these sheets (what stands inside `<sheetData>`) and these shared texts (inside `<sst>`).
fn workbook(sheets: &[&str], texts: Option<&str>) -> Vec<u8> {
    let sheets: Vec<String> =
        sheets.iter().map(|rows| format!("<worksheet><sheetData>{rows}</sheetData></worksheet>")).collect();
    raw_workbook(&sheets, texts.map(|texts| format!("<sst>{texts}</sst>")))
}

fn raw_workbook(sheets: &[String], texts: Option<String>) -> Vec<u8> {
    let mut listed = String::new();
    let mut relations = String::new();
    let mut parts = vec![("[Content_Types].xml".to_owned(), "<Types/>".to_owned())];
    for (number, sheet) in sheets.iter().enumerate() {
        // As makers do, relations are written from the workbook's folder and from the root.
        let root = if number % 2 == 0 { "" } else { "/xl/" };
        listed += &format!(r#"<sheet name="S{number}" sheetId="{number}" r:id="rId{number}"/>"#);
        relations += &format!(
            r#"<Relationship Id="rId{number}" Type="{RELATION}/worksheet" Target="{root}worksheets/s{number}.xml"/>"#
        );
        parts.push((format!("xl/worksheets/s{number}.xml"), sheet.clone()));
    }
    if let Some(texts) = texts {
        relations +=
            &format!(r#"<Relationship Id="t" Type="{RELATION}/sharedStrings" Target="sharedStrings.xml"/>"#);
        parts.push(("xl/sharedStrings.xml".into(), texts));
    }
    parts.push(("xl/workbook.xml".into(), format!("<workbook><sheets>{listed}</sheets></workbook>")));
    parts.push(("xl/_rels/workbook.xml.rels".into(), format!("<Relationships>{relations}</Relationships>")));
    let parts: Vec<(&str, &str)> =
        parts.iter().map(|(name, content)| (name.as_str(), content.as_str())).collect();
    zip_of(&parts)
}

fn inline(text: &str) -> String {
    format!(r#"<c t="inlineStr"><is><t>{text}</t></is></c>"#)
}

fn header() -> String {
    format!("<row>{}{}{}</row>", inline("A"), inline("B"), inline("C"))
}

#[test]
fn cells_of_every_type_count_with_their_stored_text() {
    let row = r#"<row r="7"><c r="A7" s="1"><v>45987.5</v></c><c r="B7" t="b"><v>1</v></c>
        <c r="C7" t="d"><v> 2026-11-22T00:00:00Z </v></c></row>
        <row r="8"><c r="A8" t="str"><f>A1&amp;"x"</f><v> ax</v></c><c r="B8" t="e"><v>#N/A</v></c>
        <c r="C8" t="s"><v>1</v></c></row>"#;
    let bytes = workbook(&[&(header() + row)], Some("<si><t>zero</t></si><si><t>one</t></si>"));
    assert_eq!(digest(&bytes), digest(b"A,B,C\n45987.5,1,2026-11-22T00:00:00Z\n ax,#N/A,one\n"));
}

#[test]
fn a_text_is_its_runs_without_phonetic_guides() {
    let texts = r#"<si><r><rPr><b/></rPr><t xml:space="preserve">two </t></r><r><t>runs</t></r></si>
        <si><t>&#x6771;&#20140;</t><rPh sb="0" eb="2"><t>トウキョウ</t></rPh><phoneticPr fontId="1"/></si>
        <si><t> trimmed
        </t></si><si><t><![CDATA[<&]]>&lt;&amp;&gt;&quot;&apos;_x000D__xZZZZ__x005F_x0041_</t></si><si/>"#;
    let cell = |number: u32| format!(r#"<c t="s"><v>{number}</v></c>"#);
    let rows =
        format!("{}<row>{}{}{}</row><row>{}{}</row>", header(), cell(0), cell(1), cell(2), cell(3), cell(4));
    let expected = "A,B,C\ntwo runs,東京,trimmed\n\"<&<&>\"\"'\r_xZZZZ__x0041_\",,\n";
    assert_eq!(digest(&workbook(&[&rows], Some(texts))), digest(expected.as_bytes()));
}

#[test]
fn cells_that_were_left_out_are_empty_and_those_beside_the_header_have_no_name() {
    let rows = header()
        + r#"<row/><row r="3"><c r="C3"><v>3</v></c><c r="AA3"><v>27</v></c></row>
        <row r="4"><c r="A4" s="3"/><c r="B4"><v></v></c></row>"#;
    let commas = ",".repeat(24);
    let text = format!("A,B,C{commas}\n,,3{commas}27\n");
    let found = look(&workbook(&[&rows], None)).unwrap();
    assert_eq!((found.rows, found.content_digest), (1, digest(text.as_bytes())));
}

#[test]
fn all_sheets_of_the_table_count() {
    let row = |number: u32| format!("<row><c><v>{number}</v></c></row>");
    let (first, second) = (header() + &row(1), header() + &row(2) + &row(1));
    let found = look(&workbook(&[&first, "", &second, &header()], None)).unwrap();
    assert_eq!((found.rows, found.content_digest), (3, digest(b"A,B,C\n1,,\n1,,\n2,,\n")));
    // Without a header of its own a sheet goes on with the table, where its rows are like those of the table.
    let found = look(&workbook(&[&first, &row(1)], None)).unwrap();
    assert_eq!((found.rows, found.content_digest), (2, digest(b"A,B,C\n1,,\n1,,\n")));
}

#[test]
fn prefixes_and_what_stands_beside_the_rows_do_not_matter() {
    let sheet = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?><!-- made by hand -->
        <x:worksheet xmlns:x="main"><x:cols><x:col/></x:cols><x:sheetData><x:row><x:c t="inlineStr"><x:is><x:t>A</x:t></x:is></x:c>
        <x:c t="inlineStr"><x:is><x:t>B</x:t></x:is></x:c></x:row><x:row><x:c><x:v>1</x:v></x:c></x:row></x:sheetData>
        <x:extLst><row><c><v>5</v></c></row></x:extLst></x:worksheet>"#;
    assert_eq!(digest(&raw_workbook(&[sheet.into()], None)), digest(b"A,B\n1,\n"));
}

#[test]
fn a_workbook_without_relations_is_read_by_the_names_of_its_parts() {
    let sheet =
        format!("<worksheet><sheetData>{}<row><c><v>1</v></c></row></sheetData></worksheet>", header());
    let whole = [
        ("[Content_Types].xml", ""),
        ("xl/workbook.xml", r#"<workbook><sheets><sheet r:id="a"/></sheets></workbook>"#),
        ("xl/worksheets/sheet1.xml", &sheet),
    ];
    assert_eq!(digest(&zip_of(&whole)), digest(b"A,B,C\n1,,\n"));
    assert_unread(&zip_of(&whole[..2]), "does not hold the sheets");
}

#[test]
fn a_table_of_texts_on_disk_reads_like_one_in_memory() {
    let text = |number: usize| format!("{number} {}", "中x".repeat(number * 37 % 700));
    let header = vec!["A".to_owned(), "B".to_owned()];
    let rows = (0..3000).map(|number| vec![text(number), text(number * 7919 % 3000)]);
    let bytes = xlsx_of(&[vec![header], rows.collect()].concat(), 2026);
    let in_memory =
        look_within(Limits { strings_in_memory: usize::MAX, ..Limits::default() }, &bytes).unwrap();
    for strings_in_memory in [0, 1, 5000, 1 << 20] {
        let limits = Limits { strings_in_memory, ..Limits::default() };
        assert_eq!(look_within(limits, &bytes).unwrap(), in_memory, "{strings_in_memory}");
    }
    assert_eq!(in_memory.rows, 3000);
}

#[test]
fn a_workbook_that_contradicts_itself_cannot_be_read() {
    let sheet =
        |cells: &str| workbook(&[&format!("{}<row>{cells}</row>", header())], Some("<si><t>a</t></si>"));
    assert_unread(&sheet(r#"<c t="s"><v>1</v></c>"#), "not in the table");
    assert_unread(&sheet(r#"<c t="s"><v>x</v></c>"#), "by no number");
    assert_unread(&sheet(r#"<c t="what"><v>x</v></c>"#), "type that is not known");
    for place in ["1", "A", "XFE1", "AAAA1", "A1B"] {
        assert_unread(&sheet(&format!(r#"<c r="{place}"/>"#)), "cell");
    }
    assert_unread(&sheet("<c><v>&unknown;</v></c>"), "unknown entity");
    assert_unread(&sheet("<c><v>1</c>"), "ill-formed");
    assert_unread(&sheet(&"<a>".repeat(1000)), "deeper");
    assert_unread(&sheet(&format!("<c><v>{}</v></c>", "1".repeat(2 << 20))), "does not end");
    assert_unread(&sheet(&format!("<c><v>{}</v></c>", "1&lt;".repeat(1 << 20))), "more than a row");
    let unclosed = raw_workbook(&["<worksheet><sheetData>".into()], None);
    assert_unread(&unclosed, "ends inside an element");
    let entities = raw_workbook(&["<!DOCTYPE a [<!ENTITY b \"c\">]><worksheet/>".into()], None);
    assert_unread(&entities, "document type");
    let without_texts = workbook(&[&(header() + r#"<row><c t="s"><v>0</v></c></row>"#)], None);
    assert_unread(&without_texts, "not in the table");
}

#[test]
fn a_workbook_that_names_parts_it_does_not_hold_cannot_be_read() {
    let relations = format!(
        r#"<Relationships><Relationship Id="a" Type="{RELATION}/worksheet" Target="worksheets/gone.xml"/></Relationships>"#
    );
    let listing = |id: &str| format!(r#"<workbook><sheets><sheet r:id="{id}"/></sheets></workbook>"#);
    let with = |workbook: &str| {
        zip_of(&[
            ("[Content_Types].xml", ""),
            ("xl/workbook.xml", workbook),
            ("xl/_rels/workbook.xml.rels", &relations),
        ])
    };
    assert_unread(&with(&listing("a")), "names \"worksheets/gone.xml\" and does not hold it");
    assert_unread(&with(&listing("b")), "does not say where its sheet");
}

#[test]
fn a_hundred_copies_of_the_records_count_a_hundredfold() {
    let table = records();
    let rows = (0..100).flat_map(|_| table[1..].to_vec()).collect();
    let found = look(&xlsx_of(&[vec![table[0].clone()], rows].concat(), 2026)).unwrap();
    assert_eq!(found.rows, 600);
}
