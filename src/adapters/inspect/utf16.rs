//! Turns UTF-16 into UTF-8, as it is read. A surrogate without its other half becomes three bytes that are no UTF-8, so
//! that the cell which holds it is the one that cannot be read.

use std::io::{self, Read};

use super::error::InspectError;
use super::meter::Meter;

const CHUNK: usize = 32 << 10;

/// UTF-16 as UTF-8.
pub(super) struct Utf16<'m, R> {
    inner: R,
    meter: &'m Meter<'m>,
    big_endian: bool,
    /// Half a unit that the chunk before ended with.
    odd: Option<u8>,
    /// The first half of a pair of surrogates.
    high: Option<u16>,
    out: Vec<u8>,
    /// What was already handed out.
    at: usize,
    ended: bool,
}

impl<'m, R: Read> Utf16<'m, R> {
    /// The text in `inner`, which begins after its byte order mark.
    pub(super) fn new(inner: R, big_endian: bool, meter: &'m Meter<'m>) -> Self {
        Self { inner, meter, big_endian, odd: None, high: None, out: Vec::new(), at: 0, ended: false }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.out.clear();
        self.at = 0;
        let mut chunk = vec![0; CHUNK];
        let count = self.inner.read(&mut chunk)?;
        if count == 0 {
            self.ended = true;
            if self.odd.is_some() {
                return Err(self.meter.fail(InspectError::cut_off("it ends inside a character of UTF-16")));
            }
            if let Some(high) = self.high.take() {
                self.push_lone(high);
            }
        }
        for &byte in &chunk[..count] {
            match self.odd.take() {
                None => self.odd = Some(byte),
                Some(first) => {
                    let pair = [first, byte];
                    self.push(if self.big_endian {
                        u16::from_be_bytes(pair)
                    } else {
                        u16::from_le_bytes(pair)
                    });
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, unit: u16) {
        if let Some(high) = self.high.take() {
            if let Some(Ok(character)) =
                char::decode_utf16([high, unit]).next().filter(|_| matches!(unit, 0xdc00..=0xdfff))
            {
                return self.push_char(character);
            }
            self.push_lone(high);
        }
        match char::from_u32(u32::from(unit)) {
            Some(character) => self.push_char(character),
            None if unit < 0xdc00 => self.high = Some(unit),
            None => self.push_lone(unit),
        }
    }

    fn push_char(&mut self, character: char) {
        self.out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn push_lone(&mut self, unit: u16) {
        let low = |bits: u16| 0x80 | (bits & 0x3f) as u8;
        self.out.extend_from_slice(&[0xe0 | (unit >> 12) as u8, low(unit >> 6), low(unit)]);
    }
}

impl<R: Read> Read for Utf16<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.out.len() && !self.ended {
            self.fill()?;
        }
        let count = (&self.out[self.at..]).read(buf)?;
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(units: &[u16], big_endian: bool, more: &[u8]) -> Result<Vec<u8>, InspectError> {
        let bytes = |unit: &u16| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() };
        let bytes: Vec<u8> = units.iter().flat_map(bytes).chain(more.iter().copied()).collect();
        let meter = Meter::new(&|| false, u64::MAX);
        let mut out = Vec::new();
        match Utf16::new(&bytes[..], big_endian, &meter).read_to_end(&mut out) {
            Ok(_) => Ok(out),
            Err(error) => Err(meter.explain(|| InspectError::Io(error))),
        }
    }

    #[test]
    fn text_is_the_same_and_half_a_pair_of_surrogates_is_no_text() {
        let text = "a,中😀\n";
        let units: Vec<u16> = text.encode_utf16().collect();
        for big_endian in [false, true] {
            assert_eq!(read(&units, big_endian, b"").unwrap(), text.as_bytes());
        }
        assert_eq!(
            read(&[0xd83d, 0x61, 0xde00, 0xd83d], false, b"").unwrap(),
            b"\xed\xa0\xbda\xed\xb8\x80\xed\xa0\xbd"
        );
        assert!(matches!(read(&units, false, b"x"), Err(InspectError::CutOff { .. })));
    }
}
