//! The charsets that text is written in, and which of them a file is in.

use std::borrow::Cow;

use csv::ByteRecord;
use encoding_rs::GB18030;

/// A charset that exports come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// UTF-8. A character beyond U+FFFF may also be written as two surrogates of three bytes each (CESU-8).
    Utf8,
    /// GB18030, as the WHATWG Encoding Standard decodes it; GBK and GB2312 are parts of it.
    Gb18030,
}

impl Charset {
    /// Every charset. UTF-8 first: text of another charset is hardly ever valid UTF-8 by accident.
    pub const ALL: [Self; 2] = [Self::Utf8, Self::Gb18030];

    /// The text of a cell; `None` when its bytes are not in this charset.
    pub fn read(self, cell: &[u8]) -> Option<Cow<'_, str>> {
        match self {
            Self::Utf8 => match std::str::from_utf8(cell) {
                Ok(text) => Some(Cow::Borrowed(text)),
                Err(_) => joined_surrogates(cell).map(Cow::Owned),
            },
            Self::Gb18030 => GB18030.decode_without_bom_handling_and_without_replacement(cell),
        }
    }

    /// The text of a cell as UTF-8, and `true`; the cell's bytes as they are, and `false`, when they are not in this
    /// charset.
    pub(super) fn read_or_raw(self, cell: &[u8]) -> (Cow<'_, [u8]>, bool) {
        match self.read(cell) {
            Some(Cow::Borrowed(text)) => (Cow::Borrowed(text.as_bytes()), true),
            Some(Cow::Owned(text)) => (Cow::Owned(text.into_bytes()), true),
            None => (Cow::Borrowed(cell), false),
        }
    }

    /// The text of a cell for people, with a mark in place of bytes that are not in this charset.
    pub(super) fn read_lossy(self, cell: &[u8]) -> Cow<'_, str> {
        self.read(cell).unwrap_or_else(|| String::from_utf8_lossy(cell))
    }
}

/// Text in UTF-8 in which pairs of surrogates, of three bytes each, stand for characters beyond U+FFFF.
fn joined_surrogates(bytes: &[u8]) -> Option<String> {
    let mut text = String::new();
    let mut rest = bytes;
    loop {
        let error = match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                return Some(text);
            }
            Err(error) => error,
        };
        let (valid, from) = rest.split_at(error.valid_up_to());
        text.push_str(std::str::from_utf8(valid).ok()?);
        let &[0xed, high @ 0xa0..=0xaf, a @ 0x80..=0xbf, 0xed, low @ 0xb0..=0xbf, b @ 0x80..=0xbf, ..] = from
        else {
            return None;
        };
        let unit = |second: u8, third: u8| 0xd000 | u16::from(second & 0x3f) << 6 | u16::from(third & 0x3f);
        text.push(char::decode_utf16([unit(high, a), unit(low, b)]).next()?.ok()?);
        rest = &from[6..];
    }
}

/// A charset that is this many cells behind another one is given up, so that a long file is not read twice to its end.
const HOPELESS: u64 = 1000;

/// Finds out which charset a file is written in: the one that fewer cells do not fit. Where both fit as many, UTF-8.
#[derive(Debug, Default)]
pub(super) struct Contest {
    /// The charsets that may still win, the likeliest first, and the cells that do not fit each.
    entrants: Vec<(Charset, u64)>,
}

impl Contest {
    /// A contest between `charsets`, the likeliest first.
    pub(super) fn between(charsets: &[Charset]) -> Self {
        Self { entrants: charsets.iter().map(|&charset| (charset, 0)).collect() }
    }

    /// Counts cells that do not fit `charset`.
    pub(super) fn add(&mut self, charset: Charset, unfit: u64) {
        if let Some(entrant) = self.entrants.iter_mut().find(|(entrant, _)| *entrant == charset) {
            entrant.1 += unfit;
        }
    }

    /// Counts the cells of a row that do not fit each charset.
    pub(super) fn add_row(&mut self, cells: &ByteRecord) {
        if cells.as_slice().is_ascii() {
            return;
        }
        for (charset, unfit) in &mut self.entrants {
            *unfit +=
                cells.iter().filter(|cell| !cell.is_ascii() && charset.read(cell).is_none()).count() as u64;
        }
        self.give_up();
    }

    /// Gives up the charsets that are far behind, after a row was counted.
    pub(super) fn give_up(&mut self) {
        let fewest = self.winner().map_or(0, |(_, unfit)| unfit);
        self.entrants.retain(|(_, unfit)| *unfit <= fewest + HOPELESS);
    }

    /// Whether `charset` may still win.
    pub(super) fn has(&self, charset: Charset) -> bool {
        self.entrants.iter().any(|(entrant, _)| *entrant == charset)
    }

    /// The charset that fewest cells do not fit, and how many those are.
    pub(super) fn winner(&self) -> Option<(Charset, u64)> {
        // The first of equals: `min_by_key` takes it.
        self.entrants.iter().copied().min_by_key(|(_, unfit)| *unfit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_of_surrogates_of_three_bytes_each_is_the_character() {
        let cesu8 = b"a\xed\xa0\xbd\xed\xb8\x80\xe4\xb8\xad\xed\xa0\xbd\xed\xb8\x81";
        assert_eq!(Charset::Utf8.read(cesu8).unwrap(), "a😀中😁");
        for broken in
            [&cesu8[..4], &cesu8[4..], b"\xed\xb8\x80\xed\xa0\xbd", b"\xed\xa0\xbd\xed\xa0\xbd", b"\xff"]
        {
            assert_eq!(Charset::Utf8.read(broken), None, "{broken:x?}");
        }
    }

    #[test]
    fn the_charset_that_more_cells_fit_wins_and_utf8_where_both_fit_as_many() {
        let contest = |cells: &[&[u8]]| {
            let mut contest = Contest::between(&Charset::ALL);
            contest.add_row(&ByteRecord::from(cells.to_vec()));
            contest.winner().unwrap()
        };
        assert_eq!(contest(&[b"li", "王小明".as_bytes()]), (Charset::Utf8, 0));
        assert_eq!(contest(&["王小明".as_bytes(), b"\xe7\x8e"]), (Charset::Utf8, 1));
        assert_eq!(contest(&[&[0xcd, 0xf5], &[0xcd, 0xf5], &[0xcd]]), (Charset::Gb18030, 1));
        assert_eq!(contest(&[b"\xff"]), (Charset::Utf8, 1));
    }
}
