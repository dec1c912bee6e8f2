//! What a file is, by its first bytes: names, extensions and content types are not to be trusted.

use super::delimiter::{delimiter_line, known_delimiter, likeliest_delimiter, lines};
use super::error::InspectError;
use super::message::refuse_messages;
use super::rows::Charset;

/// How many bytes are looked at.
pub(super) const PREFIX: usize = 64 << 10;

/// Where one byte of so many is a NUL, or more are, a text is not read by single bytes.
const MOST_NULS: usize = 8;

/// What the first bytes can be the beginning of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sniffed {
    /// Nothing, or white space only, or JSON that holds nothing.
    Empty,
    /// A ZIP archive that begins at this byte: a spreadsheet, or not.
    Zip(u64),
    /// A gzip stream around something.
    Gzip,
    /// Text in UTF-16.
    Utf16 {
        /// Whether the first byte of a unit is its higher half.
        big_endian: bool,
        /// Bytes of the byte order mark: two, or none where the bytes themselves show what they are.
        mark: usize,
    },
    /// Delimited text.
    Text(TextKind),
}

/// How delimited text is written, as far as its beginning tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TextKind {
    /// What stands between the cells.
    pub(super) delimiter: u8,
    /// Bytes before the table: a byte order mark, and a first line that names the delimiter.
    pub(super) skip: usize,
    /// The charsets that the bytes can be in.
    pub(super) charsets: &'static [Charset],
    /// Whether a NUL is a character like any other: only where known columns show that it is text.
    pub(super) takes_nul: bool,
}

/// Looks at the first bytes of a file, [`PREFIX`] of them or all.
///
/// # Errors
/// When no export that could be read begins like that.
pub(super) fn sniff(prefix: &[u8]) -> Result<Sniffed, InspectError> {
    if let Some(known) = known_binary(prefix) {
        return known;
    }
    if let Some(big_endian) = unmarked_utf16(prefix) {
        return Ok(Sniffed::Utf16 { big_endian, mark: 0 });
    }
    let (mark, charsets): (usize, &'static [Charset]) = match prefix {
        [0xef, 0xbb, 0xbf, ..] => (byte_order_marks(prefix), &[Charset::Utf8]),
        [0x84, 0x31, 0x95, 0x33, ..] => (4, &[Charset::Gb18030]),
        _ => (0, &Charset::ALL),
    };
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x1a;
    let blanks = prefix[mark..].iter().take_while(|byte| blank(byte)).count();
    let text = &prefix[mark + blanks..];
    if text.starts_with(b"PK\x03\x04") {
        return Ok(Sniffed::Zip((mark + blanks) as u64));
    }
    if matches!(text, b"P" | b"PK" | b"PK\x03") && prefix.len() < PREFIX {
        return Err(InspectError::cut_off("it ends after its first bytes"));
    }
    if text.is_empty() && prefix.len() < PREFIX {
        return Ok(Sniffed::Empty);
    }
    let known = known_delimiter(text);
    if text.contains(&0) && known.is_none() {
        return Err(InspectError::unread("there is a NUL in it; it is neither a spreadsheet nor text"));
    }
    if known.is_some() && is_wide(text) {
        return Err(InspectError::unread(
            "many of its bytes are NUL: its characters take two or four bytes each",
        ));
    }
    let takes_nul = known.is_some();
    if let Some((delimiter, line)) = delimiter_line(text) {
        return Ok(Sniffed::Text(TextKind { delimiter, skip: mark + blanks + line, charsets, takes_nul }));
    }
    let first = lines(text).next().unwrap_or_default();
    if matches!(text.first(), Some(b'<' | b'{' | b'[')) && known_delimiter(first).is_none() {
        let holds_nothing = refuse_messages(text)?;
        if holds_nothing && prefix.len() < PREFIX {
            return Ok(Sniffed::Empty);
        }
    }
    let delimiter = known.unwrap_or_else(|| likeliest_delimiter(text));
    Ok(Sniffed::Text(TextKind { delimiter, skip: mark, charsets, takes_nul }))
}

/// The length of the byte order marks of UTF-8 at the beginning: joined files may have several.
fn byte_order_marks(prefix: &[u8]) -> usize {
    3 * prefix.chunks(3).take_while(|bytes| *bytes == b"\xef\xbb\xbf").count()
}

/// Whether so many bytes before the last that is no NUL are NUL that the text is in wide characters. NULs after it are
/// padding.
fn is_wide(text: &[u8]) -> bool {
    let end = text.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let nuls = text[..end].iter().filter(|byte| **byte == 0).count();
    nuls * MOST_NULS > end
}

/// Whether bytes with a NUL among them are UTF-16 without a byte order mark, and then whether the higher half of a unit comes
/// first: read so, they name known columns, or are ASCII for the most part.
fn unmarked_utf16(prefix: &[u8]) -> Option<bool> {
    if !prefix.contains(&0) {
        return None;
    }
    [false, true].into_iter().find(|&big_endian| {
        let unit = |pair: &[u8]| if big_endian { [pair[0], pair[1]] } else { [pair[1], pair[0]] };
        let units = || prefix.chunks_exact(2).map(|pair| u16::from_be_bytes(unit(pair)));
        let text: String =
            char::decode_utf16(units()).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        let ascii = text.bytes().filter(|byte| (1..0x80).contains(byte)).count();
        let is_text = text.chars().any(|c| matches!(c, ',' | ';' | '\t' | '|' | '\n' | '<' | '{'));
        // Where every other unit is a NUL, the text is in UTF-32.
        let named = || !is_wide(text.as_bytes()) && known_delimiter(text.as_bytes()).is_some();
        is_text && (named() || (!text.contains('\0') && ascii * 4 > prefix.len()))
    })
}

/// Files that are known by their first bytes, and are not text.
fn known_binary(prefix: &[u8]) -> Option<Result<Sniffed, InspectError>> {
    let unread = |what: &str| Some(Err(InspectError::unread(what)));
    match prefix {
        [b'P', b'K', 3, 4, ..] => Some(Ok(Sniffed::Zip(0))),
        [0x1f, 0x8b, ..] => Some(Ok(Sniffed::Gzip)),
        [0xff, 0xfe, ..] => Some(Ok(Sniffed::Utf16 { big_endian: false, mark: 2 })),
        [0xfe, 0xff, ..] => Some(Ok(Sniffed::Utf16 { big_endian: true, mark: 2 })),
        [0x1f] => Some(Err(InspectError::cut_off("it ends after its first bytes"))),
        [b'P', b'K', 5, 6, ..] => unread("it is a ZIP archive without a workbook in it"),
        [0xd0, 0xcf, 0x11, 0xe0, ..] => unread("it is an old (.xls) or password-protected spreadsheet"),
        [b'%', b'P', b'D', b'F', ..] => unread("it is a PDF document"),
        [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..] => unread("it is compressed by bzip2"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => unread("it is compressed by zstd"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => unread("it is compressed by xz"),
        [b'7', b'z', 0xbc, 0xaf, ..] => unread("it is a 7z archive"),
        _ => None,
    }
}
