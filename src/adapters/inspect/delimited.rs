//! Reads delimited text as a table, in the dialect that fits it.
//!
//! Text is read by the strict rules first ([`Dialect::default`]). Where all rows then have as many cells as the header,
//! that is how it is read, with one exception: columns whose filled cells all stand in quotes after a blank
//! (`spacing.rs`). Else, if a quote comes after a blank or after a backslash, the dialects are tried in which that has a
//! meaning; the one is taken in which the rows fit the header best ([`Shape`]).
//!
//! A row may have fewer cells than the header (the others are empty), and more if those are empty; under known names it may
//! have filled ones, too. A text that ends inside a quoted cell was cut off.

use std::io::Read;

use csv::ByteRecord;

use super::body::{Body, is_blank_line};
use super::error::{InspectError, NotAnExport, may_be_message};
use super::header::{Beginning, Choice, Layout};
use super::message::{LONGEST_MESSAGE, MOST_WORDS};
use super::meter::Meter;
use super::rows::{Head, Nobody, RowVisitor, is_empty};
use super::sniff::TextKind;
use super::spacing::Spacing;
use super::splitter::{Dialect, Next, Splitter};
use super::words::{is_prose, say_failure, say_none};

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
    let hints = strict.hints;
    let strictly = strict.fit();
    let mut best = None;
    for (blanks, backslash) in [(true, false), (false, true), (true, true)] {
        let is_hinted = (!blanks || hints.blanks) && (!backslash || hints.backslash);
        if !is_hinted || (strictly == Fit::Regular && backslash) {
            continue;
        }
        let dialect = Dialect { blanks, backslash };
        let found = (Pass { kind, dialect, meter }).run(open()?, &mut Nobody)?;
        if strictly == Fit::Regular {
            let is_meant = found.fit() == Fit::Regular && found.spacing.is_a_habit();
            return Ok(is_meant.then_some(dialect));
        }
        if found.fit() < best.map_or(strictly, |(fit, _)| fit) {
            best = Some((found.fit(), dialect));
        }
    }
    Ok(best.map(|(_, dialect)| dialect))
}

/// How the rows of a table fit its header, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// All have as many cells.
    Regular,
    /// Some have fewer cells, or more that are empty.
    Irregular,
    /// Some have filled cells beyond it.
    Wide,
    /// The text cannot be read.
    Not,
}

/// What a text is in one dialect.
struct Found {
    /// An error here is one that another dialect may not have.
    outcome: Result<Fit, InspectError>,
    hints: Dialect,
    spacing: Spacing,
}

impl Found {
    fn fit(&self) -> Fit {
        *self.outcome.as_ref().unwrap_or(&Fit::Not)
    }
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
        let text = Splitter::new(text, self.kind.delimiter, self.dialect, self.meter);
        let mut text = text.taking_nul(self.kind.takes_nul);
        let mut spacing = Spacing::default();
        let outcome = self.rows(&mut text, &mut spacing, visitor);
        let hints = text.hints();
        match text.nuls() {
            0 => {}
            nuls => self.meter.note(format!("there are NUL bytes in the text: {nuls}")),
        }
        match outcome {
            Ok(outcome) => Ok(Found { outcome, hints, spacing }),
            Err(Ended::Rows(error)) => Ok(Found { outcome: Err(error), hints, spacing }),
            Err(Ended::Bytes(error)) => Err(error),
        }
    }

    fn rows<R: Read>(
        &self,
        text: &mut Splitter<'_, R>,
        spacing: &mut Spacing,
        visitor: &mut dyn RowVisitor,
    ) -> Result<Result<Fit, InspectError>, Ended> {
        let mut row = ByteRecord::new();
        let mut beginning = Beginning::of(Layout::Text);
        let mut lines = Vec::new();
        let mut end = Next::Row;
        while end == Next::Row {
            end = text.next(&mut row).map_err(Ended::Bytes)?;
            if end != Next::Row || is_empty(&row) || is_blank_line(&row) {
                continue;
            }
            lines.push((text.line(), text.after_blanks().to_vec()));
            if beginning.push(&row) {
                break;
            }
        }
        let is_table = |choice: &Choice| choice.known > 0 || !is_sentence(beginning.rows());
        let Some(choice) = beginning.choose().filter(is_table) else {
            return self.no_table(text, end, &beginning);
        };
        if choice.known == 0 && end == Next::End && text.position() <= LONGEST_MESSAGE {
            refuse_failures(beginning.rows(), choice).map_err(Ended::Rows)?;
        }
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
        for (row, (line, after_blanks)) in beginning.rows().iter().zip(lines).skip(choice.index + 1) {
            spacing.add(row, &after_blanks);
            body.push(row, line).map_err(Ended::of)?;
        }
        while end == Next::Row {
            end = text.next(&mut row).map_err(Ended::Bytes)?;
            if end == Next::Row {
                spacing.add(&row, text.after_blanks());
                body.push(&row, text.line()).map_err(Ended::of)?;
            }
        }
        self.whole(text, end)?;
        self.meter.set_last_line_ended(text.last_line_ended());
        let fit = match (body.is_wide(), body.is_regular()) {
            (true, _) => Fit::Wide,
            (false, true) => Fit::Regular,
            (false, false) => Fit::Irregular,
        };
        body.end_part(text.last_line_ended()).map_err(Ended::of)?;
        Ok(Ok(fit))
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

    /// Text without any row holds no records. A few words hold none either, if the provider counts none; a message of a
    /// failure is no export, and longer text without a row of two columns may be anything.
    fn no_table<R: Read>(
        &self,
        text: &mut Splitter<'_, R>,
        end: Next,
        beginning: &Beginning,
    ) -> Result<Result<Fit, InspectError>, Ended> {
        self.whole(text, end)?;
        let rows = beginning.rows();
        if end == Next::End && rows.is_empty() {
            return Ok(Ok(Fit::Regular));
        }
        let is_short = end == Next::End && text.position() <= LONGEST_MESSAGE && rows.len() <= MOST_WORDS;
        if is_short && say_failure(rows) {
            return Err(Ended::Rows(InspectError::NotAnExport(NotAnExport::Message)));
        }
        if is_short {
            self.meter.set_words(rows.len() as u64, say_none(rows));
            return Ok(Ok(Fit::Regular));
        }
        Err(Ended::Rows(InspectError::unread("no row at its beginning has two columns")))
    }
}

/// Whether a text is one line that reads like a sentence with a delimiter in it.
fn is_sentence(rows: &[ByteRecord]) -> bool {
    matches!(rows, [row] if is_prose(row))
}

/// Refuses the rows of a short text under unknown names if they speak of a failure: it is a message with a delimiter in
/// it. Where several rows have two cells, they may be records as well.
fn refuse_failures(rows: &[ByteRecord], choice: Choice) -> Result<(), InspectError> {
    if rows.len() > MOST_WORDS || !say_failure(rows) {
        return Ok(());
    }
    if rows[choice.index + 1..].iter().any(|row| row.len() >= 2) {
        return Err(may_be_message());
    }
    Err(InspectError::NotAnExport(NotAnExport::Message))
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
