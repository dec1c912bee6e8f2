//! Keeps a reading stoppable and bounded, and remembers why it came to an end.
//!
//! The bytes of a file pass through decoders of other crates (gzip, deflate, XML), and each of them wraps, copies
//! or drops the errors of what it reads from. So the true cause is written down here, at the place where it
//! arises, before a decoder sees it; whatever error comes out at the other end, [`Meter::explain`] looks here
//! first. A cause that nobody wrote down was found by a decoder, and its caller knows what that means.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Seek, SeekFrom};

use super::error::InspectError;
use super::notes::Notes;

/// What is common to all readers of one inspection.
pub(super) struct Meter<'a> {
    stop: &'a dyn Fn() -> bool,
    /// Bytes that decompression may still make.
    inflated_left: Cell<u64>,
    cause: RefCell<Option<InspectError>>,
    notes: RefCell<Notes>,
    last_line_ended: Cell<bool>,
    words: Cell<Option<(u64, bool)>>,
}

impl<'a> Meter<'a> {
    pub(super) fn new(stop: &'a dyn Fn() -> bool, inflated: u64) -> Self {
        Self {
            stop,
            inflated_left: Cell::new(inflated),
            cause: RefCell::new(None),
            notes: RefCell::new(Notes::default()),
            last_line_ended: Cell::new(true),
            words: Cell::new(None),
        }
    }

    /// Notes whether the last line of the text that was read has an end.
    pub(super) fn set_last_line_ended(&self, ended: bool) {
        self.last_line_ended.set(ended);
    }

    /// Whether the last line of the text has an end; `true` for a workbook.
    pub(super) fn last_line_ended(&self) -> bool {
        self.last_line_ended.get()
    }

    /// Notes that the file has no table, but so many rows of words, and whether they say that there are no records.
    pub(super) fn set_words(&self, rows: u64, say_none: bool) {
        self.words.set(Some((rows, say_none)));
        self.note(match rows {
            1 => "it has no table; its only row was left out".to_owned(),
            rows => format!("it has no table; its {rows} rows were left out"),
        });
    }

    /// The rows of words of a file that has no table, and whether they say that there are no records.
    pub(super) fn words(&self) -> Option<(u64, bool)> {
        self.words.get()
    }

    /// Writes down why reading ends, and makes the error that stands for it.
    pub(super) fn fail(&self, cause: InspectError) -> io::Error {
        self.cause.borrow_mut().get_or_insert(cause);
        io::Error::other("the inspection ended here")
    }

    /// Why reading ended: the cause that was written down, else `symptom`.
    pub(super) fn explain(&self, symptom: impl FnOnce() -> InspectError) -> InspectError {
        self.cause.borrow_mut().take().unwrap_or_else(symptom)
    }

    /// Adds a note about the file.
    pub(super) fn note(&self, note: impl AsRef<str>) {
        self.notes.borrow_mut().add(note.as_ref());
    }

    /// Takes the notes out, and leaves none.
    pub(super) fn take_notes(&self) -> Notes {
        self.notes.take()
    }

    /// Puts back what [`Self::take_notes`] took.
    pub(super) fn put_notes(&self, notes: Notes) {
        *self.notes.borrow_mut() = notes;
    }

    /// Reads from this machine's disk: errors are local.
    pub(super) fn source<R>(&self, inner: R) -> Source<'_, R> {
        Source { inner, meter: self }
    }

    /// Counts what a decompressor makes.
    pub(super) fn inflated<R>(&self, inner: R) -> Inflated<'_, R> {
        Inflated { inner, meter: self }
    }

    fn check_stop(&self) -> io::Result<()> {
        if (self.stop)() { Err(self.fail(InspectError::Stopped)) } else { Ok(()) }
    }
}

/// A file on this machine.
pub(super) struct Source<'m, R> {
    inner: R,
    meter: &'m Meter<'m>,
}

impl<R> Source<'_, R> {
    fn local<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        outcome.map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => self.meter.fail(InspectError::Io(error)),
        })
    }
}

impl<R: Read> Read for Source<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.meter.check_stop()?;
        let outcome = self.inner.read(buf);
        self.local(outcome)
    }
}

impl<R: Seek> Seek for Source<'_, R> {
    /// A place that cannot be sought to was named by the file's content, so a failure here is the file's.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// What a decompressor makes.
pub(super) struct Inflated<'m, R> {
    inner: R,
    meter: &'m Meter<'m>,
}

impl<R: Read> Read for Inflated<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.meter.check_stop()?;
        let count = self.inner.read(buf)?;
        match self.meter.inflated_left.get().checked_sub(count as u64) {
            Some(left) => self.meter.inflated_left.set(left),
            None => {
                let cause = InspectError::unread("it unpacks to more than any export holds");
                return Err(self.meter.fail(cause));
            }
        }
        Ok(count)
    }
}
