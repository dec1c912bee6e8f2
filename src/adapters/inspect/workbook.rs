//! Reads a spreadsheet (Office Open XML) as rows: every sheet that has any, in the workbook's order.
//!
//! Order: the workbook says which parts are sheets, the shared texts are read before the sheets that name them, and
//! at last every part that was not needed is read as well, so that damage to any part is noticed.

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::path::Path;

use csv::ByteRecord;

use super::Limits;
use super::error::{InspectError, NotAnExport};
use super::meter::Meter;
use super::parts::{Parts, WORKBOOK};
use super::rows::{Charset, RowVisitor};
use super::shared_strings::SharedStrings;
use super::sheet::Sheet;
use super::xml::{Node, Xml};

const RELATIONS: &str = "xl/_rels/workbook.xml.rels";
const SHARED_STRINGS: &str = "xl/sharedStrings.xml";
const SHEETS: &str = "xl/worksheets/";

/// More sheets or relations than any export has.
const MAX_LISTED: usize = 4096;

/// Reads every row of the workbook in `file`.
///
/// # Errors
/// When it is no workbook, is damaged, or cannot be read; and what `visitor` returns.
pub(super) fn read<R: Read + Seek>(
    file: R,
    scratch: &Path,
    limits: &Limits,
    meter: &Meter<'_>,
    visitor: &mut dyn RowVisitor,
) -> Result<(), InspectError> {
    let mut parts = Parts::open(file, meter)?;
    let Contents { sheets, strings } = contents(&mut parts)?;
    let mut strings = match &strings {
        Some(name) => {
            parts.read(name, |part| SharedStrings::read(part, scratch, limits.strings_in_memory))?
        }
        None => SharedStrings::none(),
    };
    let mut header: Option<ByteRecord> = None;
    for name in &sheets {
        parts.read(name, |part| rows_of(Sheet::new(part, &mut strings), name, &mut header, visitor))?;
    }
    parts.drain()?;
    header.map(|_| ()).ok_or(InspectError::NotAnExport(NotAnExport::NoHeader))
}

/// Hands on the rows of one sheet. `header` is the header of the sheets before.
fn rows_of(
    mut sheet: Sheet<'_, '_>,
    name: &str,
    header: &mut Option<ByteRecord>,
    visitor: &mut dyn RowVisitor,
) -> Result<(), InspectError> {
    let mut cells = ByteRecord::new();
    if !sheet.next_row(&mut cells)? {
        return Ok(());
    }
    match header {
        Some(header) if *header != cells => {
            return Err(InspectError::damaged(format_args!(
                "{name} has another header than the sheet before"
            )));
        }
        Some(_) => {}
        None if cells.iter().filter(|cell| !cell.is_empty()).count() < 2 => {
            return Err(InspectError::NotAnExport(NotAnExport::NoHeader));
        }
        None => {
            visitor.header(&cells, &[Charset::Utf8])?;
            *header = Some(cells.clone());
        }
    }
    while sheet.next_row(&mut cells)? {
        visitor.row(&cells)?;
    }
    Ok(())
}

/// Which parts hold what.
struct Contents {
    /// The parts that are sheets, in order.
    sheets: Vec<String>,
    /// The part that holds the shared texts.
    strings: Option<String>,
}

fn contents<R: Read + Seek>(parts: &mut Parts<'_, R>) -> Result<Contents, InspectError> {
    let ids = parts.read(WORKBOOK, sheet_ids)?;
    if !parts.has(RELATIONS) {
        return contents_by_name(&parts.names()?, ids.len());
    }
    let relations = parts.read(RELATIONS, relations)?;
    let strings = relations.values().find(|relation| relation.kind == "sharedStrings");
    let mut contents =
        Contents { sheets: Vec::new(), strings: strings.map(|relation| relation.part.clone()) };
    for id in &ids {
        let unknown = || InspectError::damaged("the workbook lists a sheet and does not say where it is");
        let relation = relations.get(id).ok_or_else(unknown)?;
        // Chart sheets and dialogs have no rows.
        if relation.kind == "worksheet" {
            contents.sheets.push(relation.part.clone());
        }
    }
    Ok(contents)
}

/// For a workbook without relations, which spreadsheet programs forgive: the parts that are called like sheets, if
/// they are as many as the workbook lists.
fn contents_by_name(names: &[String], listed: usize) -> Result<Contents, InspectError> {
    let is_sheet = |name: &&String| {
        let file = name.strip_prefix(SHEETS).and_then(|file| file.strip_suffix(".xml"));
        file.is_some_and(|file| !file.contains('/'))
    };
    let mut sheets: Vec<String> = names.iter().filter(is_sheet).cloned().collect();
    sheets.sort_by_key(|name| (name.len(), name.clone()));
    if sheets.len() != listed {
        return Err(InspectError::damaged("the workbook does not hold the sheets that it lists"));
    }
    Ok(Contents { sheets, strings: names.iter().find(|name| *name == SHARED_STRINGS).cloned() })
}

/// The relation ids of the sheets that the workbook lists, in order.
fn sheet_ids(mut workbook: Xml<'_>) -> Result<Vec<String>, InspectError> {
    let mut ids = Vec::new();
    loop {
        match workbook.next()? {
            Node::Start(element) if element.name() == "sheet" => {
                let without = || InspectError::damaged("the workbook lists a sheet without an id");
                ids.push(element.attribute("id")?.ok_or_else(without)?.into_owned());
            }
            Node::Eof => return Ok(ids),
            _ => {}
        }
        limit(ids.len())?;
    }
}

/// What the workbook says of one of its parts.
struct Relation {
    /// The last word of its type: `worksheet`, `sharedStrings`.
    kind: String,
    /// The part's name.
    part: String,
}

fn relations(mut part: Xml<'_>) -> Result<BTreeMap<String, Relation>, InspectError> {
    let mut relations = BTreeMap::new();
    loop {
        match part.next()? {
            Node::Start(element) if element.name() == "Relationship" => {
                let without = || InspectError::damaged("the workbook names a part by half");
                let attribute = |name| element.attribute(name)?.ok_or_else(without);
                let (id, kind, target) = (attribute("Id")?, attribute("Type")?, attribute("Target")?);
                let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
                relations.insert(id.into_owned(), Relation { kind, part: part_name(&target) });
            }
            Node::Eof => return Ok(relations),
            _ => {}
        }
        limit(relations.len())?;
    }
}

/// The name of the part that a relation of the workbook points to: a path from the archive's root, or one from the
/// workbook's folder.
fn part_name(target: &str) -> String {
    match target.strip_prefix('/') {
        Some(absolute) => absolute.to_owned(),
        None => format!("xl/{}", target.trim_start_matches("./")),
    }
}

fn limit(listed: usize) -> Result<(), InspectError> {
    if listed > MAX_LISTED {
        return Err(InspectError::damaged("the workbook lists more parts than any export has"));
    }
    Ok(())
}
