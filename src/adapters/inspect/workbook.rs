//! Reads a spreadsheet (Office Open XML) as one table: the sheets that belong to it, in the workbook's order.
//!
//! Order: the archive's relations say which part is the workbook, the workbook says which parts are sheets, the shared
//! texts are read before the sheets that name them, the beginning of every sheet before any is read whole, and at last
//! every part that was not needed is read as well, so that damage to any part is noticed. Where the workbook cannot be
//! read, every part is checked too: what looks like bad XML may be damage on the way.

use std::collections::BTreeSet;
use std::io::{Read, Seek};
use std::path::Path;

use csv::ByteRecord;

use super::Limits;
use super::body::Body;
use super::error::{InspectError, Wholeness, may_be_message};
use super::header::{Beginning, Layout};
use super::message::{LONGEST_MESSAGE, MOST_WORDS};
use super::meter::Meter;
use super::parts::Parts;
use super::relations::{MAX_LISTED, Relations, folder, main_part, relations, resolve};
use super::rows::{Charset, Head, RowVisitor, size};
use super::shared_strings::SharedStrings;
use super::sheet::Sheet;
use super::sheets::{Order, Role, Table, reorder};
use super::words::{is_prose, say_failure, say_none};
use super::xml::{Node, Xml};

/// Longer than the name or the id of any sheet, in bytes.
const MAX_NAME: usize = 255;

/// Reads every record of the workbook in `file`, which begins at byte `start`.
///
/// # Errors
/// When it is no workbook, was cut off, or cannot be read; and what `visitor` returns.
pub(super) fn read<R: Read + Seek>(
    file: R,
    start: u64,
    scratch: &Path,
    limits: &Limits,
    meter: &Meter<'_>,
    visitor: &mut dyn RowVisitor,
) -> Result<(), InspectError> {
    let mut parts = Parts::open(file, start, meter)?;
    match table(&mut parts, scratch, limits, meter, visitor) {
        Err(error) if error.wholeness() == Wholeness::Unread => Err(parts.blame(error)),
        outcome => outcome,
    }
}

fn table<R: Read + Seek>(
    parts: &mut Parts<'_, R>,
    scratch: &Path,
    limits: &Limits,
    meter: &Meter<'_>,
    visitor: &mut dyn RowVisitor,
) -> Result<(), InspectError> {
    let main = main_part(parts)?;
    let main = main.ok_or_else(|| InspectError::unread("it is a ZIP archive without a workbook in it"))?;
    let Contents { sheets, strings, dates_from_1904 } = contents(parts, &main)?;
    let mut strings = match strings {
        Some(name) => {
            parts.read(&name, |part| SharedStrings::read(part, scratch, limits.strings_in_memory))?
        }
        None => SharedStrings::none(),
    };
    if let Some(table) = find_table(parts, &sheets, &mut strings, meter)? {
        // No sheet is read before all are known to fit together. What each of them is to the table is found out again when
        // it is read: thousands of sheets would fill the memory with their columns.
        for sheet in &sheets {
            let role = table.role(&beginning(parts, sheet, &mut strings)?)?;
            if role == Role::Other {
                parts.peek(&sheet.part, |part| table.leave_out(Sheet::new(part, &mut strings)))?;
            }
            if matches!(role, Role::Other | Role::OtherTable) {
                meter.note(format!("sheet {:?} is not of the table and was left out", sheet.name));
            }
        }
        let head = Head { names: &table.names, charsets: &[Charset::Utf8], dates_from_1904 };
        let mut body = Body::under(&head, Layout::Sheet, meter, visitor)?;
        for sheet in &sheets {
            let role = table.role(&beginning(parts, sheet, &mut strings)?)?;
            if let Role::Records { above, has_header, order } = role {
                note_titles(meter, &sheet.name, above - usize::from(has_header));
                parts.read(&sheet.part, |part| {
                    records(Sheet::new(part, &mut strings), above, order.as_ref(), &mut body)
                })?;
            }
        }
    }
    note_unlisted(parts, &main, &sheets, meter);
    parts.drain()
}

fn note_titles(meter: &Meter<'_>, sheet: &str, titles: usize) {
    match titles {
        0 => {}
        1 => meter.note(format!("a row above the header of sheet {sheet:?} was left out")),
        rows => meter.note(format!("{rows} rows above the header of sheet {sheet:?} were left out")),
    }
}

/// Names parts that look like sheets and that the workbook does not list: no program shows them.
fn note_unlisted<R: Read + Seek>(parts: &Parts<'_, R>, main: &str, sheets: &[Listed], meter: &Meter<'_>) {
    let listed: BTreeSet<&str> = sheets.iter().map(|sheet| sheet.part.as_str()).collect();
    for name in parts.names().filter(|name| sheet_number(name, main).is_some() && !listed.contains(name)) {
        if !parts.was_read(name) {
            meter.note(format!("part {name:?} is a sheet that the workbook does not list; it was left out"));
        }
    }
}

/// The rows at the beginning of a sheet.
fn beginning<R: Read + Seek>(
    parts: &mut Parts<'_, R>,
    sheet: &Listed,
    strings: &mut SharedStrings,
) -> Result<Beginning, InspectError> {
    parts.peek(&sheet.part, |part| {
        let mut sheet = Sheet::new(part, strings);
        let (mut beginning, mut cells) = (Beginning::of(Layout::Sheet), ByteRecord::new());
        while !beginning.is_full() && sheet.next_row(&mut cells)? {
            beginning.push(&cells);
        }
        Ok(beginning)
    })
}

/// The table of records; `None` where no sheet has a row, or none but a few words.
fn find_table<R: Read + Seek>(
    parts: &mut Parts<'_, R>,
    sheets: &[Listed],
    strings: &mut SharedStrings,
    meter: &Meter<'_>,
) -> Result<Option<Table>, InspectError> {
    let (mut best, mut first, mut are_all) = (None, Vec::new(), true);
    for sheet in sheets {
        let beginning = beginning(parts, sheet, strings)?;
        let room = (MOST_WORDS + 1) - first.len();
        are_all &= beginning.rows().len() <= room;
        first.extend(beginning.rows().iter().take(room).cloned());
        if let Some(choice) = beginning.choose()
            && best.as_ref().is_none_or(|(known, _)| choice.known > *known)
        {
            best = Some((choice.known, Table::of(&beginning, choice)));
        }
    }
    let are_few = are_all && first.len() <= MOST_WORDS;
    let is_short = are_few && first.iter().map(size).sum::<usize>() as u64 <= LONGEST_MESSAGE;
    match best {
        Some((known, table)) if known > 0 => return Ok(Some(table)),
        _ if is_short && say_failure(&first) => return Err(may_be_message()),
        Some((_, table)) if first.len() > 1 || !first.iter().all(is_prose) => return Ok(Some(table)),
        _ => {}
    }
    if !are_few {
        return Err(InspectError::unread("no row at the beginning of its sheets has two columns"));
    }
    if !first.is_empty() {
        meter.set_words(first.len() as u64, say_none(&first));
    }
    Ok(None)
}

/// Hands on the rows of one sheet below the first `above`.
fn records(
    mut sheet: Sheet<'_, '_>,
    above: usize,
    order: Option<&Order>,
    body: &mut Body<'_>,
) -> Result<(), InspectError> {
    let (mut cells, mut ordered) = (ByteRecord::new(), ByteRecord::new());
    for _ in 0..above {
        sheet.next_row(&mut cells)?;
    }
    while sheet.next_row(&mut cells)? {
        match order {
            None => body.push(&cells, 0)?,
            Some(order) => {
                reorder(&cells, order, &mut ordered);
                body.push(&ordered, 0)?;
            }
        }
    }
    body.end_part(true)
}

/// A sheet that the workbook lists.
#[derive(Debug)]
struct Listed {
    name: String,
    /// The name of its part.
    part: String,
}

/// Which parts hold what.
struct Contents {
    /// The sheets, in order.
    sheets: Vec<Listed>,
    /// The part that holds the shared texts.
    strings: Option<String>,
    dates_from_1904: bool,
}

fn contents<R: Read + Seek>(parts: &mut Parts<'_, R>, main: &str) -> Result<Contents, InspectError> {
    let book = parts.read(main, Book::read)?;
    let relations = relations(parts, main)?;
    let named = relations.as_ref().and_then(|relations| relations.of_kind("sharedStrings"));
    let strings = named.and_then(|relation| resolve(parts, main, &relation.target));
    let strings = strings.or_else(|| parts.find(&format!("{}sharedStrings.xml", folder(main))));
    let sheets = match relations {
        Some(relations) => listed(parts, main, book.sheets, &relations)?,
        None => listed_by_name(parts, main, book.sheets)?,
    };
    Ok(Contents { sheets, strings, dates_from_1904: book.dates_from_1904 })
}

fn listed<R: Read + Seek>(
    parts: &Parts<'_, R>,
    main: &str,
    sheets: Vec<(String, String)>,
    relations: &Relations,
) -> Result<Vec<Listed>, InspectError> {
    let (mut listed, mut known): (Vec<Listed>, BTreeSet<String>) = Default::default();
    for (name, id) in sheets {
        let unknown =
            || InspectError::unread(format_args!("the workbook does not say where its sheet {name:?} is"));
        let relation = relations.get(&id).ok_or_else(unknown)?;
        // Chart sheets and dialogs have no rows.
        if relation.kind != "worksheet" {
            continue;
        }
        let missing = || {
            InspectError::unread(format_args!(
                "the workbook names {:?} and does not hold it",
                relation.target
            ))
        };
        let part = resolve(parts, main, &relation.target).ok_or_else(missing)?;
        // A sheet that is listed twice is read once.
        if known.insert(part.clone()) {
            listed.push(Listed { name, part });
        }
    }
    Ok(listed)
}

/// For a workbook without relations, which spreadsheet programs forgive: the parts that are called like sheets, if
/// they are as many as the workbook lists.
fn listed_by_name<R: Read + Seek>(
    parts: &Parts<'_, R>,
    main: &str,
    sheets: Vec<(String, String)>,
) -> Result<Vec<Listed>, InspectError> {
    let mut names: Vec<(usize, String)> =
        parts.names().filter_map(|name| Some((sheet_number(name, main)?, name.to_owned()))).collect();
    names.sort();
    if names.len() != sheets.len() {
        return Err(InspectError::unread("the workbook does not hold the sheets that it lists"));
    }
    Ok(sheets.into_iter().zip(names).map(|((name, _), (_, part))| Listed { name, part }).collect())
}

/// The number in the name of a part that is called like a sheet of the workbook `main`.
fn sheet_number(part: &str, main: &str) -> Option<usize> {
    let file = part.strip_prefix(folder(main))?.strip_prefix("worksheets/")?.strip_suffix(".xml")?;
    let digits = file.trim_start_matches(|c: char| !c.is_ascii_digit());
    (!file.contains('/')).then(|| digits.parse().unwrap_or(0))
}

/// What the workbook's main part says.
#[derive(Debug, Default)]
struct Book {
    /// The name and the relation's id of each sheet, in order.
    sheets: Vec<(String, String)>,
    dates_from_1904: bool,
}

impl Book {
    fn read(mut part: Xml<'_>) -> Result<Self, InspectError> {
        let mut book = Self::default();
        loop {
            match part.next()? {
                Node::Start(element) if element.name() == "sheet" => {
                    let without = || InspectError::unread("the workbook lists a sheet without an id");
                    let id = element.text("id", MAX_NAME)?.ok_or_else(without)?;
                    book.sheets.push((element.text("name", MAX_NAME)?.unwrap_or_default(), id));
                }
                Node::Start(element) if element.name() == "workbookPr" => {
                    book.dates_from_1904 =
                        matches!(element.attribute("date1904")?.as_deref(), Some("1" | "true" | "on"));
                }
                Node::Eof => return Ok(book),
                _ => {}
            }
            if book.sheets.len() > MAX_LISTED {
                return Err(InspectError::unread("the workbook lists more sheets than any export has"));
            }
        }
    }
}
