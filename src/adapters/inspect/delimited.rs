//! Reads delimited text as a table, in the dialect that fits it.
//!
//! Text is read by the strict rules first ([`Dialect::default`]). Where all rows then have as many cells as the header,
//! that is how it is read, so a text that fits the strict rules is never read in another way. Else, if a quote comes
//! after a blank or after a backslash, the dialects are tried in which that has a meaning; the first in which all rows have
//! as many cells as the header is taken, else the first in which the text can be read at all.
//!
//! A row may have fewer cells than the header (the others are empty), and more if those are empty. A text that ends
//! inside a quoted cell was cut off.

use std::io::Read;

use csv::ByteRecord;

use super::body::{Body, is_blank_line};
use super::error::{InspectError, NotAnExport};
use super::header::{Beginning, Layout};
use super::meter::Meter;
use super::rows::{Head, Nobody, RowVisitor, is_empty};
use super::sniff::TextKind;
use super::splitter::{Dialect, Next, Splitter};

/// Text without a table that has no more bytes is a message, and not a file of some kind.
const LONGEST_MESSAGE: u64 = 4096;

/// Begins to read the text anew, after its byte order mark.
pub(super) type Open<'o> = dyn Fn() -> Result<Box<dyn Read + 'o>, InspectError> + 'o;

/// Reads every record of a text.
///
/// # Errors
/// When the text was cut off, is no table, or cannot be read; and what `visitor` returns.
pub(super) fn read(
    open: &Open<'_>,
    kind: &TextKind,
    meter: &Meter<'_>,
    visitor: &mut dyn RowVisitor,
) -> Result<(), InspectError> {
    let before = meter.take_notes();
    let strict = Pass { kind, dialect: Dialect::default(), meter }.run(open()?, visitor)?;
    let strict_notes = meter.take_notes();
    let found = match better(open, kind, meter, &strict)? {
        Some(dialect) => {
            meter.take_notes();
            Pass { kind, dialect, meter }.run(open()?, visitor)?
        }
        None => {
            meter.put_notes(strict_notes);
            strict
        }
    };
    let notes = meter.take_notes();
    meter.put_notes(before.and(notes));
    found.outcome.map(|_| ())
}

/// The dialect in which a text has to be read again, after it was read by the strict rules.
fn better(
    open: &Open<'_>,
    kind: &TextKind,
    meter: &Meter<'_>,
    strict: &Found,
) -> Result<Option<Dialect>, InspectError> {
    if matches!(strict.outcome, Ok(Shape::Regular)) || strict.hints == Dialect::default() {
        return Ok(None);
    }
    let hints = strict.hints;
    let mut readable = None;
    for (blanks, backslash) in [(true, false), (false, true), (true, true)] {
        if (blanks && !hints.blanks) || (backslash && !hints.backslash) {
            continue;
        }
        let dialect = Dialect { blanks, backslash };
        match (Pass { kind, dialect, meter }).run(open()?, &mut Nobody)?.outcome {
            Ok(Shape::Regular) => return Ok(Some(dialect)),
            Ok(Shape::Irregular) => readable = readable.or(Some(dialect)),
            Err(_) => {}
        }
    }
    Ok(readable.filter(|_| strict.outcome.is_err()))
}

/// Whether the rows of a table have as many cells as its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Regular,
    Irregular,
}

/// What a text is in one dialect.
struct Found {
    /// An error here is one that another dialect may not have.
    outcome: Result<Shape, InspectError>,
    hints: Dialect,
}

/// One reading of a text.
struct Pass<'p> {
    kind: &'p TextKind,
    dialect: Dialect,
    meter: &'p Meter<'p>,
}

impl Pass<'_> {
    /// Reads the text to its end.
    ///
    /// # Errors
    /// When its bytes cannot be read at all, in whatever dialect.
    fn run(&self, text: impl Read, visitor: &mut dyn RowVisitor) -> Result<Found, InspectError> {
        let mut text = Splitter::new(text, self.kind.delimiter, self.dialect, self.meter);
        let outcome = self.rows(&mut text, visitor);
        let hints = text.hints();
        match outcome {
            Ok(outcome) => Ok(Found { outcome, hints }),
            Err(Ended::Rows(error)) => Ok(Found { outcome: Err(error), hints }),
            Err(Ended::Bytes(error)) => Err(error),
        }
    }

    fn rows<R: Read>(
        &self,
        text: &mut Splitter<'_, R>,
        visitor: &mut dyn RowVisitor,
    ) -> Result<Result<Shape, InspectError>, Ended> {
        let mut row = ByteRecord::new();
        let mut beginning = Beginning::of(Layout::Text);
        let mut lines = Vec::new();
        let mut end = Next::Row;
        while end == Next::Row {
            end = text.next(&mut row).map_err(Ended::Bytes)?;
            if end != Next::Row || is_empty(&row) || is_blank_line(&row) {
                continue;
            }
            lines.push(text.line());
            if beginning.push(&row) {
                break;
            }
        }
        let Some(choice) = beginning.choose() else { return self.no_table(text, end, lines.is_empty()) };
        let head = Head {
            names: &beginning.rows()[choice.index],
            charsets: self.kind.charsets,
            dates_from_1904: false,
        };
        match choice.index {
            0 => {}
            1 => self.meter.note("a row above the header was left out"),
            rows => self.meter.note(format!("{rows} rows above the header were left out")),
        }
        let mut body = Body::under(&head, Layout::Text, self.meter, visitor).map_err(Ended::of)?;
        for (row, line) in beginning.rows().iter().zip(lines).skip(choice.index + 1) {
            body.push(row, line).map_err(Ended::of)?;
        }
        while end == Next::Row {
            end = text.next(&mut row).map_err(Ended::Bytes)?;
            if end == Next::Row {
                body.push(&row, text.line()).map_err(Ended::of)?;
            }
        }
        self.whole(text, end)?;
        self.meter.set_last_line_ended(text.last_line_ended());
        body.end_part(text.last_line_ended()).map_err(Ended::of)?;
        Ok(Ok(if body.is_regular() { Shape::Regular } else { Shape::Irregular }))
    }

    fn whole<R: Read>(&self, text: &Splitter<'_, R>, end: Next) -> Result<(), Ended> {
        match end {
            Next::Row | Next::End => Ok(()),
            Next::OpenQuote => Err(Ended::Rows(InspectError::cut_off("it ends inside a quoted field"))),
            Next::Endless => {
                let cause = format!("the record at line {} does not end", text.line());
                Err(Ended::Rows(InspectError::unread(cause)))
            }
        }
    }

    /// Text without any row holds no records; text without a row of two columns is no table.
    fn no_table<R: Read>(
        &self,
        text: &mut Splitter<'_, R>,
        end: Next,
        no_rows: bool,
    ) -> Result<Result<Shape, InspectError>, Ended> {
        self.whole(text, end)?;
        if end == Next::End && no_rows {
            return Ok(Ok(Shape::Regular));
        }
        if end == Next::End && text.position() <= LONGEST_MESSAGE {
            return Err(Ended::Rows(InspectError::NotAnExport(NotAnExport::Message)));
        }
        Err(Ended::Rows(InspectError::unread("no row at its beginning has two columns")))
    }
}

/// Why a reading ended early.
enum Ended {
    /// The rows do not fit together, in this dialect.
    Rows(InspectError),
    /// The bytes cannot be read, in any dialect.
    Bytes(InspectError),
}

impl Ended {
    fn of(error: InspectError) -> Self {
        match error {
            InspectError::CutOff { .. } | InspectError::Unread { .. } => Self::Rows(error),
            _ => Self::Bytes(error),
        }
    }
}
