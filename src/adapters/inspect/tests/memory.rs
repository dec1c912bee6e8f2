//! Whatever a file holds, inspection takes no more than 64 MiB.

use std::io::Write;

use zip::write::{SimpleFileOptions, ZipWriter};

use super::{look_within, zip_of};
use crate::adapters::inspect::{Limits, Wholeness};

/// A part's name, and what writes it bit by bit.
type Part<'p> = (&'p str, &'p dyn Fn(&mut dyn Write));

/// A workbook of such parts.
fn workbook(parts: &[Part<'_>]) -> Vec<u8> {
    let mut archive = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, write) in parts {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        let mut part = std::io::BufWriter::new(&mut archive);
        write(&mut part);
        part.flush().unwrap();
    }
    archive.finish().unwrap().into_inner()
}

const BOOK: &str = r#"<workbook><sheets><sheet name="s" r:id="r1"/></sheets></workbook>"#;
const RELATIONS: &str = r#"<Relationships><Relationship Id="r1" Type="x/worksheet" Target="worksheets/sheet1.xml"/>
    <Relationship Id="r2" Type="x/sharedStrings" Target="sharedStrings.xml"/></Relationships>"#;
const ROW: &str =
    r#"<row><c t="inlineStr"><is><t>User</t></is></c><c t="inlineStr"><is><t>Desktop</t></is></c></row>"#;

/// A workbook of one sheet, and another part.
fn sheet(write: &dyn Fn(&mut dyn Write), other: Part<'_>) -> Vec<u8> {
    workbook(&[
        ("xl/workbook.xml", &|part| part.write_all(BOOK.as_bytes()).unwrap()),
        ("xl/_rels/workbook.xml.rels", &|part| part.write_all(RELATIONS.as_bytes()).unwrap()),
        ("xl/worksheets/sheet1.xml", &|part| {
            write!(part, "<worksheet><sheetData>{ROW}").unwrap();
            write(part);
            write!(part, "</sheetData></worksheet>").unwrap();
        }),
        other,
    ])
}

/// Files of a few megabytes that unpack to gigabytes in a careless reader.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let long = "x".repeat(1_000_000);
    let nothing: Part<'_> = ("docProps/app.xml", &|_| {});
    let ids = |part: &mut dyn Write| {
        write!(part, "<workbook><sheets>").unwrap();
        (0..200).for_each(|number| write!(part, r#"<sheet name="{long}" r:id="{number}{long}"/>"#).unwrap());
        write!(part, "</sheets></workbook>").unwrap();
    };
    let relations = |part: &mut dyn Write| {
        write!(part, "<Relationships>").unwrap();
        let mut relation = |id: &str| {
            write!(part, r#"<Relationship Id="{id}" Type="{long}" Target="{long}"/>"#).unwrap();
        };
        (0..100).for_each(|number| relation(&format!("{number}{long}")));
        (0..100).for_each(|number| relation(&number.to_string()));
        write!(part, "</Relationships>").unwrap();
    };
    let names: Vec<String> = (0..60_000).map(|number| format!("part-{number}-{}", "n".repeat(100))).collect();
    let named: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    vec![
        ("ids of sheets", workbook(&[("xl/workbook.xml", &ids)])),
        (
            "relations",
            workbook(&[
                ("xl/workbook.xml", &|part| part.write_all(BOOK.as_bytes()).unwrap()),
                ("xl/_rels/workbook.xml.rels", &relations),
            ]),
        ),
        ("names of parts", zip_of(&named)),
        (
            "deep elements with long names",
            sheet(
                &|part| (0..60).for_each(|number| write!(part, "<a{number}{}>", &long[..900_000]).unwrap()),
                nothing,
            ),
        ),
        (
            "cells at one place",
            sheet(
                &|part| {
                    write!(part, "<row>").unwrap();
                    (0..2_000_000).for_each(|_| write!(part, r#"<c r="A1"><v>1</v></c>"#).unwrap());
                    write!(part, "</row>").unwrap();
                },
                nothing,
            ),
        ),
        (
            "wide rows",
            sheet(
                &|part| {
                    (0..100)
                        .for_each(|_| write!(part, r#"<row><c r="XFD1"><v>{}</v></c></row>"#, &long).unwrap())
                },
                nothing,
            ),
        ),
        (
            "shared texts",
            sheet(
                &|_| {},
                ("xl/sharedStrings.xml", &|part| {
                    write!(part, "<sst>").unwrap();
                    (0..5_000_000).for_each(|_| part.write_all(b"<si/>").unwrap());
                    (0..100).for_each(|_| write!(part, "<si><t>{long}</t></si>").unwrap());
                    write!(part, "</sst>").unwrap();
                }),
            ),
        ),
        ("cells of a line", ["User,Desktop\n", &",".repeat(900_000), "\n"].concat().into_bytes()),
        (
            "columns of a header",
            [&"名,".repeat(16_000), "\n", &"li,".repeat(16_000), "\n"].concat().into_bytes(),
        ),
        ("titles", (0..100).map(|_| format!("{}\n", &long[..900_000])).collect::<String>().into_bytes()),
        ("footers", ["User,Desktop,a,b\n", &"Total: 1\n".repeat(1_000_000)].concat().into_bytes()),
    ]
}

/// The most memory that this process has used since `forget` was last called, in KiB.
fn peak(forget: bool) -> u64 {
    if forget {
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[ignore = "takes some minutes"]
fn no_file_makes_inspection_take_more_than_64_mib() {
    const ALONE: &str = "CONNVAULT_TEST_HOSTILE_FILE";
    let folder = tempfile::tempdir().unwrap();
    if let Some(path) = std::env::var_os(ALONE) {
        let before = peak(true);
        let outcome = super::super::inspect(path.as_ref(), folder.path(), &|| false);
        let outcome = outcome.map(|found| found.rows).map_err(|error| error.wholeness());
        println!("{outcome:?}, {} KiB more than {before}", peak(false) - before);
        assert!(peak(false) - before < 64 << 10, "{} KiB", peak(false) - before);
        assert!(matches!(outcome, Ok(_) | Err(Wholeness::Unread)), "{outcome:?}");
        return;
    }
    // What is measured is a whole process, so each file has one of its own.
    let module = module_path!().trim_start_matches("connvault::");
    let test = format!("{module}::no_file_makes_inspection_take_more_than_64_mib");
    for (name, bytes) in hostile() {
        let path = folder.path().join("hostile");
        std::fs::write(&path, &bytes).unwrap();
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let alone =
            alone.args([test.as_str(), "--exact", "--include-ignored", "--nocapture"]).env(ALONE, &path);
        let alone = alone.output().unwrap();
        let said = String::from_utf8_lossy(&alone.stdout).into_owned();
        println!("{name}, {} KiB: {}", bytes.len() >> 10, said.lines().nth(2).unwrap_or_default());
        assert!(alone.status.success() && said.contains("1 passed"), "{name}: {said}");
    }
}

#[test]
fn names_and_ids_that_no_workbook_has_are_refused() {
    let long = "x".repeat(10_000);
    let book = format!(r#"<workbook><sheets><sheet name="s" r:id="{long}"/></sheets></workbook>"#);
    super::assert_unread(&zip_of(&[("xl/workbook.xml", &book)]), "without an id");
    let sheets: String = (0..5000).map(|number| format!(r#"<sheet r:id="{number}"/>"#)).collect();
    let book = format!("<workbook><sheets>{sheets}</sheets></workbook>");
    super::assert_unread(&zip_of(&[("xl/workbook.xml", &book)]), "more sheets than any export");
    let relations: String =
        (0..5000).map(|number| format!(r#"<Relationship Id="{number}" Type="a" Target="b"/>"#)).collect();
    let relations = format!("<Relationships>{relations}</Relationships>");
    let parts = [("xl/workbook.xml", BOOK), ("xl/_rels/workbook.xml.rels", relations.as_str())];
    super::assert_unread(&zip_of(&parts), "more relations than any export");
    let found =
        look_within(Limits::default(), &sheet(&|part| write!(part, "<{long}/>").unwrap(), ("a", &|_| {})));
    assert!(found.unwrap_err().to_string().contains("longer name"));
}
