//! What a secret may look like, and what stands around it by mistake: put there by an editor, a shell or a clipboard.

use std::fmt;

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
    /// A quote at either end.
    Quotes,
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
            Self::Line => None,
            Self::Word => {
                around(text).or_else(|| text.contains(char::is_whitespace).then_some(Blemish::InnerBlank))
            }
        }
    }

    /// What a secret of this shape may have, and hardly ever has.
    pub(super) fn doubt(self, text: &str) -> Option<Blemish> {
        if self == Self::Line { around(text) } else { None }
    }
}

/// Blanks or quotes around a text.
fn around(text: &str) -> Option<Blemish> {
    if text.starts_with(char::is_whitespace) {
        return Some(Blemish::LeadingBlank);
    }
    if text.ends_with(char::is_whitespace) {
        return Some(Blemish::TrailingBlank);
    }
    let quoted = |quote: char| text.len() > 1 && text.starts_with(quote) && text.ends_with(quote);
    (quoted('"') || quoted('\'')).then_some(Blemish::Quotes)
}
