//! Keeps a reading stoppable and bounded, and remembers why it came to an end.
//!
//! The bytes of a file pass through decoders of other crates (gzip, ZIP, XML, CSV), and each of them wraps, copies
//! or drops the errors of what it reads from. So the true cause is written down here, at the place where it
//! arises, before a decoder sees it; whatever error comes out at the other end, [`Meter::explain`] looks here
//! first. What nobody wrote down was found by a decoder, and is damage.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

use super::error::InspectError;

/// What is common to all readers of one inspection.
pub(super) struct Meter<'a> {
    stop: &'a dyn Fn() -> bool,
    /// Bytes that may still be read from the file itself.
    source_left: Cell<u64>,
    /// Bytes that decompression may still make.
    inflated_left: Cell<u64>,
    cause: RefCell<Option<InspectError>>,
}

impl<'a> Meter<'a> {
    pub(super) fn new(stop: &'a dyn Fn() -> bool, inflated: u64) -> Self {
        Self {
            stop,
            source_left: Cell::new(u64::MAX),
            inflated_left: Cell::new(inflated),
            cause: RefCell::new(None),
        }
    }

    /// Allows only `bytes` more from the file itself.
    pub(super) fn limit_source(&self, bytes: u64) {
        self.source_left.set(bytes);
    }

    /// Ends a limit on the file itself.
    pub(super) fn unlimit_source(&self) {
        self.source_left.set(u64::MAX);
    }

    /// Writes down why reading ends, and makes the error that stands for it.
    pub(super) fn fail(&self, cause: InspectError) -> io::Error {
        self.cause.borrow_mut().get_or_insert(cause);
        io::Error::other("the inspection ended here")
    }

    /// Why reading ended with an error that says `symptom`.
    pub(super) fn explain(&self, symptom: impl fmt::Display) -> InspectError {
        self.cause.borrow_mut().take().unwrap_or_else(|| InspectError::damaged(symptom))
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

    fn spend(&self, budget: &Cell<u64>, bytes: usize, what: &str) -> io::Result<()> {
        match budget.get().checked_sub(bytes as u64) {
            Some(left) => budget.set(left),
            None => return Err(self.fail(InspectError::damaged(what))),
        }
        Ok(())
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
        let count = self.local(outcome)?;
        self.meter.spend(
            &self.meter.source_left,
            count,
            "its ZIP directory is larger than any spreadsheet's",
        )?;
        Ok(count)
    }
}

impl<R: Seek> Seek for Source<'_, R> {
    /// A place that cannot be sought to was named by the file's content, so a failure here is damage.
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
        self.meter.spend(&self.meter.inflated_left, count, "it unpacks to more than any export holds")?;
        Ok(count)
    }
}
