//! Whatever a file holds, inspection takes no more than 64 MiB, nor does the comparison of two files.

use std::io::Write;
use std::path::Path;

use zip::write::{SimpleFileOptions, ZipWriter};

use super::{gzip, look_within, zip_of};
use crate::adapters::inspect::{Delta, Limits, Wholeness, delta, inspect};

/// A part's name, and what writes it bit by bit.
type Part<'p> = (&'p str, &'p dyn Fn(&mut dyn Write));

/// Files, and what is too much of in each.
type Files = Vec<(&'static str, Vec<u8>)>;

/// A workbook of such parts.
fn workbook(parts: &[Part<'_>]) -> Vec<u8> {
    let mut archive = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, write) in parts {
        archive.start_file(*name, SimpleFileOptions::default().compression_level(Some(1))).unwrap();
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

/// A workbook of one sheet.
fn of_sheet(write: &dyn Fn(&mut dyn Write)) -> Vec<u8> {
    sheet(write, ("docProps/app.xml", &|_| {}))
}

/// Files of which a careless reader holds much more than they are long, by what is too much of in them. Each list is made when the
/// one before is done with: they are large.
const HOSTILE: [fn() -> Files; 3] = [hostile_parts, hostile_sheets, hostile_texts];

/// What a workbook says of its parts.
fn hostile_parts() -> Files {
    let long = "x".repeat(1_000_000);
    let ids = |part: &mut dyn Write| {
        write!(part, "<workbook><sheets>").unwrap();
        (0..70).for_each(|number| write!(part, r#"<sheet name="{long}" r:id="{number}{long}"/>"#).unwrap());
        write!(part, "</sheets></workbook>").unwrap();
    };
    let relations = |part: &mut dyn Write| {
        write!(part, "<Relationships>").unwrap();
        let mut relation = |id: &str| {
            write!(part, r#"<Relationship Id="{id}" Type="{long}" Target="{long}"/>"#).unwrap();
        };
        (0..50).for_each(|number| relation(&format!("{number}{long}")));
        (0..50).for_each(|number| relation(&number.to_string()));
        write!(part, "</Relationships>").unwrap();
    };
    let shorter = "x".repeat(1000);
    let many_relations = |part: &mut dyn Write| {
        write!(part, "<Relationships>").unwrap();
        (0..40_000).for_each(|number| {
            write!(part, r#"<Relationship Id="{number}" Type="{shorter}" Target="{shorter}"/>"#).unwrap();
        });
    };
    let book: Part<'_> = ("xl/workbook.xml", &|part| part.write_all(BOOK.as_bytes()).unwrap());
    let named = |count: usize, length: usize| {
        let names: Vec<String> =
            (0..count).map(|number| format!("{number}/{}", "\u{130}/".repeat(length))).collect();
        let named: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
        zip_of(&named)
    };
    vec![
        ("ids of sheets", workbook(&[("xl/workbook.xml", &ids)])),
        ("relations", workbook(&[book, ("xl/_rels/workbook.xml.rels", &relations)])),
        ("many relations", workbook(&[book, ("xl/_rels/workbook.xml.rels", &many_relations)])),
        ("names of parts", named(20_000, 20)),
        ("a long name of a part", named(15, 20_000)),
        ("sheets with columns in another order", of_wide_sheets(550)),
        (
            "shared texts",
            sheet(
                &|_| {},
                ("xl/sharedStrings.xml", &|part| {
                    write!(part, "<sst>").unwrap();
                    (0..300_000).for_each(|_| part.write_all(b"<si/>").unwrap());
                    (0..70).for_each(|_| write!(part, "<si><t>{long}</t></si>").unwrap());
                    write!(part, "</sst>").unwrap();
                }),
            ),
        ),
        (
            "one shared text",
            sheet(
                &|_| {},
                ("xl/sharedStrings.xml", &|part| {
                    write!(part, "<sst><si>").unwrap();
                    (0..70).for_each(|_| write!(part, "<r><t>{long}</t></r>").unwrap());
                }),
            ),
        ),
    ]
}

/// A workbook of so many sheets whose two columns stand as far from one another as a sheet allows.
fn of_wide_sheets(count: usize) -> Vec<u8> {
    let (mut listed, mut related) = (String::new(), String::new());
    for number in 0..count {
        listed += &format!(r#"<sheet name="s" r:id="r{number}"/>"#);
        related += &format!(r#"<Relationship Id="r{number}" Type="x/worksheet" Target="s{number}.xml"/>"#);
    }
    let book = format!("<workbook><sheets>{listed}</sheets></workbook>");
    let related = format!("<Relationships>{related}</Relationships>");
    let turned = r#"<row><c r="A1"><v>Desktop</v></c><c r="XFD1"><v>User</v></c></row>"#;
    let turned = format!("<worksheet><sheetData>{turned}</sheetData></worksheet>");
    let straight = format!("<worksheet><sheetData>{ROW}</sheetData></worksheet>");
    let names: Vec<String> = (0..count).map(|number| format!("xl/s{number}.xml")).collect();
    let mut parts =
        vec![("xl/workbook.xml", book.as_str()), ("xl/_rels/workbook.xml.rels", related.as_str())];
    parts.extend(names.iter().enumerate().map(|(number, name)| {
        (name.as_str(), if number == 0 { straight.as_str() } else { turned.as_str() })
    }));
    zip_of(&parts)
}

/// What stands in a sheet.
fn hostile_sheets() -> Files {
    let long = "x".repeat(1_000_000);
    let row = |cell: &str, times: usize| {
        of_sheet(&|part| {
            write!(part, "<row>").unwrap();
            (0..times).for_each(|_| part.write_all(cell.as_bytes()).unwrap());
            write!(part, "</row>").unwrap();
        })
    };
    let attributes: String = (0..100_000).map(|number| format!(r#" a{number}="x""#)).collect();
    vec![
        (
            "deep elements with long names",
            of_sheet(&|part| {
                (0..60).for_each(|number| write!(part, "<a{number}{}>", &long[..900_000]).unwrap())
            }),
        ),
        ("deep elements", of_sheet(&|part| (0..300_000).for_each(|_| part.write_all(b"<a>").unwrap()))),
        ("cells at one place", row(r#"<c r="A1"><v>1</v></c>"#, 100_000)),
        ("cells without a place", row("<c><v>1</v></c>", 100_000)),
        ("empty cells", row("<c/>", 300_000)),
        (
            "wide rows",
            of_sheet(&|part| {
                let row = format!(r#"<row><c r="XFD1"><v>{long}</v></c></row>"#);
                (0..70).for_each(|_| part.write_all(row.as_bytes()).unwrap());
            }),
        ),
        ("one cell in pieces", row(&format!("<c><v>{}</v></c>", "x&amp;".repeat(100_000)), 5)),
        (
            "one cell",
            of_sheet(&|part| {
                write!(part, "<row><c><v>").unwrap();
                (0..70).for_each(|_| part.write_all(long.as_bytes()).unwrap());
            }),
        ),
        (
            "text in pieces",
            of_sheet(&|part| {
                write!(part, "<row><c><is>").unwrap();
                (0..70).for_each(|_| write!(part, "<t>{long}</t>").unwrap());
            }),
        ),
        (
            "a comment",
            of_sheet(&|part| {
                write!(part, "<!--").unwrap();
                (0..70).for_each(|_| part.write_all(long.as_bytes()).unwrap());
            }),
        ),
        ("attributes", of_sheet(&|part| write!(part, "<row{attributes}><c{attributes}/></row>").unwrap())),
        (
            "merged cells",
            of_sheet(&|part| {
                write!(part, "</sheetData><mergeCells>").unwrap();
                (0..300_000).for_each(|_| part.write_all(br#"<mergeCell ref="A1:B2"/>"#).unwrap());
                write!(part, "</mergeCells><sheetData>").unwrap();
            }),
        ),
        ("empty rows", of_sheet(&|part| (0..300_000).for_each(|_| part.write_all(b"<row/>").unwrap()))),
    ]
}

/// What stands in a text.
fn hostile_texts() -> Files {
    let long = "x".repeat(900_000);
    let lines = |line: &str, times: usize| format!("{line}\n").repeat(times).into_bytes();
    // The header of gzip may hold a name.
    let mut named = b"\x1f\x8b\x08\x08\0\0\0\0\0\x03".to_vec();
    named.extend(vec![b'n'; 70 << 20]);
    let json = ["[".repeat(60_000), "]".repeat(10)].concat().into_bytes();
    vec![
        ("cells of a line", ["User,Desktop\n", &",".repeat(900_000), "\n"].concat().into_bytes()),
        (
            "columns of a header",
            [&"名,".repeat(16_000), "\n", &"li,".repeat(16_000), "\n"].concat().into_bytes(),
        ),
        ("titles", lines(&long, 80)),
        ("titles in quotes", ["\"", &long.repeat(80), "\n"].concat().into_bytes()),
        ("footers", ["User,Desktop,a,b\n", &"Total: 1\n".repeat(200_000)].concat().into_bytes()),
        ("an open quote", ["User,Desktop\nli,\"", &"x,y\n".repeat(20_000_000)].concat().into_bytes()),
        ("a name in gzip", named),
        ("members of gzip", gzip(b"").repeat(50_000)),
        ("gzip that unpacks to one line", gzip(&vec![b'x'; 70 << 20])),
        ("gzip that unpacks to blanks", gzip(&vec![b' '; 70 << 20])),
        ("brackets", json),
        ("rows", {
            let rows: String = (0..300_000).map(|number| format!("{number}\n")).collect();
            format!("Transaction ID,User\n{rows}").into_bytes()
        }),
        ("rows of one identity", {
            let rows: String = (0..300_000).map(|number| format!("t,{number}\n")).collect();
            format!("Transaction ID,User\n{rows}").into_bytes()
        }),
        ("rows without an identity in GB18030", {
            let rows = (0..100_000)
                .flat_map(|number| [b"\xcd\xf5,".to_vec(), format!("{number}\n").into()].concat());
            [b"A,B\n".to_vec(), rows.collect()].concat()
        }),
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

/// Bytes that looking into a file may take.
const MOST: u64 = 64 << 20;

/// Names the file that a process of its own looks into.
const ALONE: &str = "CONNVAULT_TEST_HOSTILE_FILE";

/// Looks into one file, and compares it with itself: the outcome, and the memory that it took.
fn look_alone(path: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let before = peak(true);
    let outcome = inspect(path, folder.path(), &|| false);
    let outcome = outcome.map(|found| found.rows).map_err(|error| (error.wholeness(), error.to_string()));
    if outcome.is_ok() {
        assert_eq!(delta(path, path, folder.path(), &|| false).unwrap(), Delta::default());
    }
    let took = (peak(false) - before) << 10;
    println!("took {} KiB: {outcome:?}", took >> 10);
    assert!(took < MOST, "{} KiB", took >> 10);
    assert!(matches!(outcome, Ok(_) | Err((Wholeness::Unread | Wholeness::CutOff, _))), "{outcome:?}");
}

#[test]
#[ignore = "takes a minute or two"]
fn no_file_makes_inspection_take_more_than_64_mib() {
    if let Some(path) = std::env::var_os(ALONE) {
        return look_alone(path.as_ref());
    }
    let folder = tempfile::tempdir().unwrap();
    // What is measured is a whole process, so each file has one of its own.
    let module = module_path!().trim_start_matches("connvault::");
    let test = format!("{module}::no_file_makes_inspection_take_more_than_64_mib");
    for (name, bytes) in HOSTILE.iter().flat_map(|list| list()) {
        let path = folder.path().join("hostile");
        std::fs::write(&path, &bytes).unwrap();
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let alone =
            alone.args([test.as_str(), "--exact", "--include-ignored", "--nocapture"]).env(ALONE, &path);
        let alone = alone.output().unwrap();
        let said = String::from_utf8_lossy(&alone.stdout).into_owned();
        let took = said.lines().find(|line| line.starts_with("took")).unwrap_or("it died");
        println!("{name}, {} KiB: {took}", bytes.len() >> 10);
        let failed = || format!("{name}: {said}{}", String::from_utf8_lossy(&alone.stderr));
        assert!(alone.status.success() && said.contains("1 passed"), "{}", failed());
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
