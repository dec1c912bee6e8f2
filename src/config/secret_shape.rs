//! What a secret may look like, and what stands around it by mistake: put there by an editor, a shell or a clipboard.

use std::fmt;

use crate::domain::text::is_harmful;

/// What a secret may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A key, a token, a URL: one word without blanks, which no quote begins and ends.
    Word,
    /// A password: one line of anything.
    Line,
    /// A private key: lines.
    Text,
}

/// Something in a secret's file that would be taken for a part of the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blemish {
    /// UTF-8's, in front.
    ByteOrderMark,
    /// The text is UTF-16.
    Utf16,
    /// More than one line.
    SecondLine,
    /// Quotes around it.
    Quotes,
    /// Brackets around it.
    Brackets,
    /// A character that no key has: this one.
    Foreign(char),
    /// `NAME=` or `export NAME=` in front.
    Assignment,
    /// A control character, or one that nobody sees: this one.
    Invisible(char),
    /// In front.
    LeadingBlank,
    /// At the end.
    TrailingBlank,
    /// Elsewhere.
    InnerBlank,
}

impl Blemish {
    /// What the first bytes of a file show.
    pub(super) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"\xef\xbb\xbf") {
            return Some(Self::ByteOrderMark);
        }
        (bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff")).then_some(Self::Utf16)
    }
}

impl fmt::Display for Blemish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ByteOrderMark => {
                "begins with a byte order mark, which an editor has put there: save it as UTF-8 without one"
            }
            Self::Utf16 => "is UTF-16 text: save it as UTF-8 without a byte order mark",
            Self::SecondLine => "has a second line: leave nothing in it but the secret, in one line",
            Self::Quotes => "is in quotes, which would be sent as a part of the secret: take them out",
            Self::Brackets => {
                "stands in brackets, which would be sent as a part of the secret: leave nothing in it but the secret"
            }
            Self::Foreign(character) => {
                return write!(
                    f,
                    "holds the character U+{:04X}, which no key has: copy the secret anew, or type it",
                    u32::from(*character)
                );
            }
            Self::Assignment => {
                "begins with the name of a variable and \"=\", as a shell has it: leave nothing in it but the secret"
            }
            Self::Invisible(character) => {
                return write!(
                    f,
                    "holds the invisible character U+{:04X}, which an editor or a clipboard has put there: type the secret anew",
                    u32::from(*character)
                );
            }
            Self::LeadingBlank => "begins with a blank: take it out",
            Self::TrailingBlank => "ends with a blank: take it out",
            Self::InnerBlank => {
                "has a blank in the middle, which no key has: leave nothing in it but the secret"
            }
        })
    }
}

impl Shape {
    /// Why `text` cannot be a secret of this shape.
    pub(super) fn blemish(self, text: &str) -> Option<Blemish> {
        match self {
            Self::Text => None,
            Self::Line | Self::Word if text.contains(['\n', '\r']) => Some(Blemish::SecondLine),
            Self::Line => text.chars().find(|c| c.is_control() && *c != '\t').map(Blemish::Invisible),
            Self::Word => around(text)
                .or_else(|| text.contains(char::is_whitespace).then_some(Blemish::InnerBlank))
                .or_else(|| around_a_word(text)),
        }
    }

    /// What a secret of this shape may have, and hardly ever has.
    pub(super) fn doubt(self, text: &str) -> Option<Blemish> {
        if self == Self::Line { around(text) } else { None }
    }
}

/// Quotes that a text editor sets in place of the plain ones. No key begins or ends with one.
const TYPOGRAPHIC: [char; 13] = [
    '\u{201c}', '\u{201d}', '\u{201e}', '\u{201f}', '\u{2018}', '\u{2019}', '\u{201a}', '\u{201b}', '\u{ab}',
    '\u{bb}', '\u{2039}', '\u{203a}', '\u{ff02}',
];

/// Blanks, quotes or a variable's name around a text, and what nobody sees anywhere in it.
fn around(text: &str) -> Option<Blemish> {
    if is_assignment(text) {
        return Some(Blemish::Assignment);
    }
    if text.starts_with(char::is_whitespace) {
        return Some(Blemish::LeadingBlank);
    }
    if text.ends_with(char::is_whitespace) {
        return Some(Blemish::TrailingBlank);
    }
    let quoted = |quote: char| text.len() > 1 && text.starts_with(quote) && text.ends_with(quote);
    if quoted('"') || quoted('\'') || text.starts_with(TYPOGRAPHIC) || text.ends_with(TYPOGRAPHIC) {
        return Some(Blemish::Quotes);
    }
    // Other blanks have words of their own.
    text.chars().find(|c| is_harmful(*c) && !c.is_whitespace()).map(Blemish::Invisible)
}

/// Half a pair of quotes, or brackets, around a key, and what stands in no key: a letter or a sign that looks like one of ASCII.
fn around_a_word(text: &str) -> Option<Blemish> {
    if text.len() > 1 && (text.starts_with(['"', '\'', '`']) || text.ends_with(['"', '\'', '`'])) {
        return Some(Blemish::Quotes);
    }
    let pairs = [('<', '>'), ('{', '}'), ('[', ']'), ('(', ')')];
    if pairs.iter().any(|(open, close)| text.starts_with(*open) && text.ends_with(*close)) {
        return Some(Blemish::Brackets);
    }
    text.chars().find(|c| !c.is_ascii()).map(Blemish::Foreign)
}

/// Whether the text is a line of a shell or an environment file that gives the secret to a variable. Base64 ends in `=`, and a
/// key may hold one: so a name counts that is written in capitals with an underscore, or after `export`, and has a value.
fn is_assignment(text: &str) -> bool {
    let (exported, text) = match text.strip_prefix("export ") {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    let Some((name, value)) = text.split_once('=') else { return false };
    let is_name = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let words: Vec<_> = name.split('_').collect();
    let is_of_a_key = words.len() > 1
        && words.iter().all(|word| !word.is_empty())
        && !name.contains(|c: char| c.is_ascii_lowercase());
    is_name && (exported || is_of_a_key) && value.contains(|c| c != '=')
}
