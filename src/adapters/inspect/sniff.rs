//! What a file is, by its first bytes: names, extensions and content types are not to be trusted.

use csv::ByteRecord;
use serde_json::Value;

use super::columns::Columns;
use super::error::{InspectError, JsonAnswer, NotAnExport};
use super::notes::clean;
use super::rows::Charset;

/// How many bytes are looked at.
pub(super) const PREFIX: usize = 64 << 10;

/// An error message is cut to this many characters.
const MESSAGE: usize = 200;

/// Lines that are looked at for the delimiter.
const LINES: usize = 32;

/// What may stand between cells, the likeliest first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// What the first bytes can be the beginning of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sniffed {
    /// Nothing, or white space only.
    Empty,
    /// A ZIP archive that begins at this byte: a spreadsheet, or not.
    Zip(u64),
    /// A gzip stream around something.
    Gzip,
    /// Text in UTF-16, after a byte order mark of two bytes.
    Utf16 {
        /// Whether the first byte of a unit is its higher half.
        big_endian: bool,
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
}

/// Looks at the first bytes of a file, [`PREFIX`] of them or all.
///
/// # Errors
/// When no export that could be read begins like that.
pub(super) fn sniff(prefix: &[u8]) -> Result<Sniffed, InspectError> {
    if let Some(known) = known_binary(prefix) {
        return known;
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
    if text.contains(&0) {
        return Err(InspectError::unread("there is a NUL in it; it is neither a spreadsheet nor text"));
    }
    if let Some((delimiter, line)) = delimiter_line(text) {
        return Ok(Sniffed::Text(TextKind { delimiter, skip: mark + blanks + line, charsets }));
    }
    let first = lines(text).next().unwrap_or_default();
    if matches!(text.first(), Some(b'<' | b'{' | b'[')) && known_delimiter(first).is_none() {
        refuse_messages(text)?;
    }
    let delimiter = known_delimiter(text).unwrap_or_else(|| commonest_delimiter(text));
    Ok(Sniffed::Text(TextKind { delimiter, skip: mark, charsets }))
}

/// The length of the byte order marks of UTF-8 at the beginning: joined files may have several.
fn byte_order_marks(prefix: &[u8]) -> usize {
    3 * prefix.chunks(3).take_while(|bytes| *bytes == b"\xef\xbb\xbf").count()
}

/// A first line such as `sep=;`, by which spreadsheet programs name the delimiter: the delimiter, and the line's length.
fn delimiter_line(text: &[u8]) -> Option<(u8, usize)> {
    let length = text.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(text.len());
    let line = text[..length].strip_prefix(b"\"").unwrap_or(&text[..length]);
    let delimiter = *line.get(4).filter(|_| line[..4].eq_ignore_ascii_case(b"sep="))?;
    let alone = matches!(line[5..].trim_ascii(), b"" | b"\"");
    (alone && delimiter.is_ascii() && !delimiter.is_ascii_alphanumeric() && delimiter != b'"')
        .then_some((delimiter, length))
}

/// Files that are known by their first bytes, and are not text.
fn known_binary(prefix: &[u8]) -> Option<Result<Sniffed, InspectError>> {
    let unread = |what: &str| Some(Err(InspectError::unread(what)));
    match prefix {
        [b'P', b'K', 3, 4, ..] => Some(Ok(Sniffed::Zip(0))),
        [0x1f, 0x8b, ..] => Some(Ok(Sniffed::Gzip)),
        [0xff, 0xfe, ..] => Some(Ok(Sniffed::Utf16 { big_endian: false })),
        [0xfe, 0xff, ..] => Some(Ok(Sniffed::Utf16 { big_endian: true })),
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

/// Whether a text without a known header is something else than a table.
fn refuse_messages(text: &[u8]) -> Result<(), InspectError> {
    match text.first() {
        Some(b'<') => refuse_markup(text),
        Some(b'{' | b'[') => refuse_json(text),
        _ => Ok(()),
    }
}

fn refuse_markup(text: &[u8]) -> Result<(), InspectError> {
    let has = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
    if has(b"urn:schemas-microsoft-com:office:spreadsheet") {
        return Err(InspectError::unread("it is a spreadsheet in the XML of Excel 2003"));
    }
    Err(InspectError::NotAnExport(NotAnExport::Html))
}

/// A text that begins like JSON is JSON if it can be parsed, or if it is cut off and has the shape of an object.
fn refuse_json(text: &[u8]) -> Result<(), InspectError> {
    let answer = |whole: &Value| Err(InspectError::NotAnExport(NotAnExport::Json(read_error(whole))));
    match serde_json::from_slice::<Value>(text) {
        Ok(whole) if holds_records(&whole) => Err(InspectError::unread("it is JSON that holds a list")),
        Ok(whole) => answer(&whole),
        Err(_) if is_several_objects(text) => Err(InspectError::unread("it is several objects in JSON")),
        Err(_) => {
            let next = text[1..].trim_ascii_start().first();
            match (text[0], next) {
                (b'{', Some(b'"')) | (b'[', Some(b'{')) if text.len() < PREFIX - 64 => answer(&Value::Null),
                (b'{', Some(b'"')) | (b'[', Some(b'{')) => {
                    Err(InspectError::unread("it is a long text in JSON"))
                }
                _ => Ok(()),
            }
        }
    }
}

/// Whether a text is JSON objects one after the other, of which the first says nothing of an error.
fn is_several_objects(text: &[u8]) -> bool {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
    let is_record = |value: &Value| value.is_object() && read_error(value) == JsonAnswer::default();
    let first = values.next().and_then(Result::ok).is_some_and(|value| is_record(&value));
    first && text[values.byte_offset()..].trim_ascii_start().first() == Some(&b'{')
}

/// Whether a value is a list of objects, or has one in it, and says nothing of an error.
fn holds_records(whole: &Value) -> bool {
    let is_list = |value: &Value| value.as_array().is_some_and(|list| list.iter().any(Value::is_object));
    let inside = whole.as_object().is_some_and(|object| object.values().any(is_list));
    (is_list(whole) || inside) && read_error(whole) == JsonAnswer::default()
}

/// Reads the shapes of error that the provider's services answer with: `{"error_code", "error_msg"}`, and
/// `{"error": {"code", "message"}}` from IAM, whose code may be a number.
fn read_error(whole: &Value) -> JsonAnswer {
    let body = whole.get("error").filter(|inner| inner.is_object()).unwrap_or(whole);
    let field = |names: [&str; 2]| names.into_iter().find_map(|name| one_line(body.get(name)?));
    JsonAnswer { error_code: field(["error_code", "code"]), error_msg: field(["error_msg", "message"]) }
}

fn one_line(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(clean(text, MESSAGE)),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The lines at the beginning of a text.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n' || byte == b'\r')
        .filter(|line| !line.trim_ascii().is_empty())
        .take(LINES)
}

/// The delimiter by which one of the first lines names known columns; of several the one that finds most.
fn known_delimiter(text: &[u8]) -> Option<u8> {
    let known = |delimiter: u8| {
        let columns = |line: &[u8]| {
            let cells: ByteRecord = line.split(|&byte| byte == delimiter).collect();
            Columns::find_in_any(&cells)
        };
        lines(text).map(columns).filter(Columns::are_a_header).map(|columns| columns.len()).max().unwrap_or(0)
    };
    // `max_by_key` takes the last of equals, and the comma is to win.
    let counts = DELIMITERS.into_iter().rev().map(|delimiter| (delimiter, known(delimiter)));
    counts.max_by_key(|(_, known)| *known).filter(|(_, known)| *known > 0).map(|(delimiter, _)| delimiter)
}

/// The delimiter that the first line with any has most of outside quotes. A bar counts only where a line has no other.
fn commonest_delimiter(text: &[u8]) -> u8 {
    let bar = |line: &[u8]| line.contains(&b'|').then_some(b'|');
    lines(text).find_map(|line| in_line(line).or_else(|| bar(line))).unwrap_or(b',')
}

fn in_line(line: &[u8]) -> Option<u8> {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for &byte in line {
        quoted ^= byte == b'"';
        if let Some((_, count)) = counts.iter_mut().find(|(delimiter, _)| !quoted && *delimiter == byte) {
            *count += 1;
        }
    }
    let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
    most.filter(|(_, count)| *count > 0).map(|(delimiter, _)| delimiter)
}
