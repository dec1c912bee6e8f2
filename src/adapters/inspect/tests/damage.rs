//! A spreadsheet with any byte changed or cut off never passes for one with other content.

use super::{digest, gzip, look, records, xlsx_of, zip_of};
use crate::adapters::inspect::Limits;

#[test]
fn a_truncated_spreadsheet_is_no_export() {
    let whole = xlsx_of(&records(), 2026);
    let ends = whole.len() - 40..whole.len();
    for cut in (1..whole.len()).step_by(97).chain(ends) {
        assert!(look(&whole[..cut]).is_err(), "cut at {cut} of {}", whole.len());
    }
    let packed = gzip(&whole);
    for cut in (1..packed.len()).step_by(311).chain([packed.len() - 1]) {
        assert!(look(&packed[..cut]).is_err(), "cut at {cut} of {}", packed.len());
    }
}

#[test]
fn a_changed_byte_is_noticed_or_does_not_matter() {
    let whole = xlsx_of(&records(), 2026);
    let expected = digest(&whole);
    let directory = whole.len() - 1200..whole.len();
    let mut noticed = 0;
    for (position, change) in
        (0..whole.len()).step_by(11).chain(directory).zip([1u8, 0x20, 0x80, 0xff].into_iter().cycle())
    {
        let mut changed = whole.clone();
        changed[position] ^= change;
        match look(&changed) {
            Ok(found) => assert_eq!(found.content_digest, expected, "byte {position} ^ {change:#x}"),
            Err(_) => noticed += 1,
        }
    }
    assert!(noticed > whole.len() / 20, "only {noticed} changes of {} were noticed", whole.len());
}

#[test]
fn a_changed_byte_in_a_part_that_is_not_needed_is_noticed() {
    let mut parts = records_in_parts();
    parts.push(("docProps/app.xml", "<Application>exporter</Application>".repeat(50)));
    let parts: Vec<(&str, &str)> = parts.iter().map(|(name, content)| (*name, content.as_str())).collect();
    let whole = zip_of(&parts);
    assert!(look(&whole).is_ok());
    let name = whole.windows(16).position(|bytes| bytes == b"docProps/app.xml").unwrap();
    let mut changed = whole;
    changed[name + 30] ^= 4;
    assert!(look(&changed).is_err());
}

fn records_in_parts() -> Vec<(&'static str, String)> {
    let cell = |text| format!(r#"<c t="inlineStr"><is><t>{text}</t></is></c>"#);
    let sheet =
        format!("<worksheet><sheetData><row>{}{}</row></sheetData></worksheet>", cell("A"), cell("B"));
    vec![
        ("[Content_Types].xml", String::new()),
        ("xl/workbook.xml", r#"<workbook><sheets><sheet id="a"/></sheets></workbook>"#.into()),
        ("xl/worksheets/sheet1.xml", sheet),
    ]
}

#[test]
fn what_unpacks_without_end_is_refused() {
    let limits = Limits { inflated: 100_000, ..Limits::default() };
    let padding = "x".repeat(200_000);
    let parts =
        [("xl/workbook.xml", "<workbook/>"), ("[Content_Types].xml", ""), ("xl/media/image1.png", &padding)];
    for bytes in [zip_of(&parts), gzip(format!("User,Age\n{}", "li,7\n".repeat(50_000)).as_bytes())] {
        let error = super::look_within(limits, &bytes).unwrap_err();
        assert!(error.to_string().contains("unpacks to more"), "{error}");
    }
}

#[test]
fn a_directory_of_parts_without_end_is_refused() {
    let names: Vec<String> = (0..20_000).map(|number| format!("part-{number}")).collect();
    let parts: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    super::assert_refused(&zip_of(&parts), "directory is larger");
}
