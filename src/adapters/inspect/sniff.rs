//! What a file is, by its first bytes: names, extensions and content types are not to be trusted.

use serde_json::Value;

use super::error::{JsonAnswer, NotAnExport};
use super::rows::Charset;

/// How many bytes are looked at.
pub(super) const PREFIX: usize = 64 << 10;

/// An error message is cut to this many characters.
const MESSAGE: usize = 200;

/// What the first bytes can be the beginning of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sniffed {
    /// A ZIP archive: a spreadsheet, or not.
    Zip,
    /// A gzip stream around something.
    Gzip,
    /// Delimited text.
    Text(TextKind),
}

/// How delimited text is written, as far as its beginning tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TextKind {
    /// What stands between the cells.
    pub(super) delimiter: u8,
    /// How many bytes a byte order mark takes.
    pub(super) mark: usize,
    /// What the bytes can be.
    pub(super) charsets: &'static [Charset],
}

/// Looks at the first bytes of a file, [`PREFIX`] of them or all.
///
/// # Errors
/// When no export begins like that.
pub(super) fn sniff(prefix: &[u8]) -> Result<Sniffed, NotAnExport> {
    match prefix {
        [b'P', b'K', 3, 4, ..] => return Ok(Sniffed::Zip),
        [0x1f, 0x8b, ..] => return Ok(Sniffed::Gzip),
        [0xd0, 0xcf, 0x11, 0xe0, ..] => return Err(NotAnExport::OldSpreadsheet),
        [b'P', b'K', 5, 6, ..] => return Err(NotAnExport::OtherZip),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            return Err(NotAnExport::OtherBinary { what: "text in UTF-16, which connvault does not read" });
        }
        _ => {}
    }
    let (mark, charsets): (usize, &'static [Charset]) = match prefix {
        [0xef, 0xbb, 0xbf, ..] => (3, &[Charset::Utf8]),
        [0x84, 0x31, 0x95, 0x33, ..] => (4, &[Charset::Gb18030]),
        _ => (0, &Charset::ALL),
    };
    let text = prefix[mark..].trim_ascii_start();
    let line = text.split(|&byte| byte == b'\n' || byte == b'\r').next().unwrap_or_default();
    match text.first() {
        None => Err(NotAnExport::Empty),
        Some(b'<') => Err(NotAnExport::Html),
        Some(b'{' | b'[') => Err(NotAnExport::Json(read_json(text))),
        _ if text.contains(&0) || line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') => {
            Err(NotAnExport::OtherBinary { what: "neither a spreadsheet nor text" })
        }
        _ => Ok(Sniffed::Text(TextKind { delimiter: delimiter(line), mark, charsets })),
    }
}

/// The one of `,`, `;` and tab that the first line has most of outside quotes; a comma where it has none.
fn delimiter(line: &[u8]) -> u8 {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    for &byte in line {
        quoted ^= byte == b'"';
        if let Some((_, count)) = counts.iter_mut().find(|(delimiter, _)| !quoted && *delimiter == byte) {
            *count += 1;
        }
    }
    // `max_by_key` takes the last of equals, and the comma is to win.
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(delimiter, _)| delimiter)
}

/// Reads the shapes of error that the provider's services answer with: `{"error_code", "error_msg"}`, and
/// `{"error": {"code", "message"}}` from IAM, whose code may be a number.
fn read_json(text: &[u8]) -> JsonAnswer {
    let whole: Value = serde_json::from_slice(text).unwrap_or_default();
    let body = whole.get("error").filter(|inner| inner.is_object()).unwrap_or(&whole);
    let field = |names: [&str; 2]| names.into_iter().find_map(|name| one_line(body.get(name)?));
    JsonAnswer { error_code: field(["error_code", "code"]), error_msg: field(["error_msg", "message"]) }
}

fn one_line(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let blank = |c: char| if c.is_control() { ' ' } else { c };
    Some(text.chars().map(blank).take(MESSAGE).collect())
}
