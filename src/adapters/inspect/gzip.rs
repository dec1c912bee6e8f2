//! Reads what is inside gzip: all members, one after the other, each with its check sum. Bytes after the last member that
//! are no further one (padding, a line end) are left out, as gzip(1) does, and noted.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use super::error::InspectError;
use super::meter::Meter;

/// The contents of a gzip stream.
pub(super) struct Gunzip<'m, R: BufRead> {
    /// `None` when the last member has ended.
    member: Option<GzDecoder<R>>,
    meter: &'m Meter<'m>,
}

impl<'m, R: BufRead> Gunzip<'m, R> {
    pub(super) fn new(packed: R, meter: &'m Meter<'m>) -> Self {
        Self { member: Some(GzDecoder::new(packed)), meter }
    }

    /// Goes on to the next member, if there is one.
    fn next_member(&mut self, member: GzDecoder<R>) -> io::Result<()> {
        let mut packed = member.into_inner();
        match packed.fill_buf()? {
            [] => {}
            // Half a mark may be the beginning of a member that was cut off.
            [0x1f] | [0x1f, 0x8b, ..] => self.member = Some(GzDecoder::new(packed)),
            _ => {
                let count = io::copy(&mut packed, &mut io::sink())?;
                self.meter.note(format!("bytes after the end of the gzip data were left out: {count}"));
            }
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Gunzip<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while let Some(mut member) = self.member.take() {
            match member.read(buf) {
                Ok(0) if !buf.is_empty() => self.next_member(member)?,
                Ok(count) => {
                    self.member = Some(member);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => self.member = Some(member),
                Err(error) => {
                    // A cause that was written down before this one stays.
                    return Err(self.meter.fail(InspectError::cut_off(format_args!("gzip: {error}"))));
                }
            }
        }
        Ok(0)
    }
}
