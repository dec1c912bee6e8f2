//! Text that another machine sent, made harmless where it enters.
//!
//! A provider, a store or a file may send a megabyte where a word is expected, and bytes that move the cursor of a
//! terminal or turn the reading direction around. Such text reaches logs, terminals, the status page and entries
//! that stay for years. So it becomes a type of its own at the edge, and the types below are all that a
//! [`Failure`](super::failure::Failure) and a log entry take.
//!
//! - [`ForeignText`] is what somebody else wrote: at most 512 bytes.
//! - [`Line`] is a message of ours that may quote foreign text: at most 2,048 bytes.
//!
//! Both are one line without control characters and without the invisible characters that reorder or hide text.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The text of [`clean`] is cut at this many bytes where foreign text enters.
pub const FOREIGN_LIMIT: usize = 512;

/// No message is longer than this many bytes.
pub const LINE_LIMIT: usize = 2048;

/// Text that somebody else wrote: one harmless line of at most [`FOREIGN_LIMIT`] bytes.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForeignText(String);

/// A message of ours, which may quote foreign text: one harmless line of at most [`LINE_LIMIT`] bytes.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line(String);

impl ForeignText {
    /// The harmless form of `text`. Runs of white space become one space, since foreign text is laid out for other eyes.
    pub fn new(text: impl AsRef<str>) -> Self {
        let words = clean(text.as_ref(), usize::MAX);
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        Self(clean(&words, FOREIGN_LIMIT).into_owned())
    }

    /// As [`Self::new`], from bytes that need not be UTF-8.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        // A replaced byte grows to three: more than this is cut off anyway.
        let bytes = bytes.get(..FOREIGN_LIMIT * 4).unwrap_or(bytes);
        Self::new(String::from_utf8_lossy(bytes))
    }
}

impl Line {
    /// The harmless form of `text`.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(clean(text.as_ref(), LINE_LIMIT).into_owned())
    }
}

impl std::ops::AddAssign<&str> for Line {
    /// Adds to the end of the line; what does not fit any more is cut off.
    fn add_assign(&mut self, more: &str) {
        *self = Self::from(format!("{}{more}", self.0));
    }
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        match clean(&text, LINE_LIMIT) {
            Cow::Owned(cleaned) => Self(cleaned),
            Cow::Borrowed(_) => Self(text),
        }
    }
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<ForeignText> for Line {
    fn from(text: ForeignText) -> Self {
        // Foreign text keeps all the rules of a line.
        Self(text.0)
    }
}

macro_rules! reads_as_text {
    ($name:ident) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            /// Cleans what it reads: an entry, a ledger or a file of facts is foreign, too.
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self::new(Cow::<'de, str>::deserialize(deserializer)?))
            }
        }
    };
}

reads_as_text!(ForeignText);
reads_as_text!(Line);

/// `text` as one line that harms no reader: each harmful character becomes a space, and the line ends with `…` where
/// it would be longer than `limit` bytes. Borrowed where nothing had to change.
pub fn clean(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit && !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    const CUT: char = '…';
    let mut cleaned = String::with_capacity(text.len().min(limit));
    let cut_at = limit.saturating_sub(CUT.len_utf8());
    let mut fits = 0;
    for character in text.chars().map(|c| if is_harmful(c) { ' ' } else { c }) {
        if cleaned.len() + character.len_utf8() > limit {
            cleaned.truncate(fits);
            cleaned.push(CUT);
            break;
        }
        cleaned.push(character);
        if cleaned.len() <= cut_at {
            fits = cleaned.len();
        }
    }
    Cow::Owned(cleaned)
}

/// A JSON document with each harmful character in a text escaped: it reads back as the same, and harms no terminal. White
/// space between values stays.
pub fn json_escaped(document: &str) -> Cow<'_, str> {
    let is_to_be_escaped = |c: char| c != '\n' && is_harmful(c);
    if !document.contains(is_to_be_escaped) {
        return Cow::Borrowed(document);
    }
    let mut escaped = String::with_capacity(document.len() + 64);
    for character in document.chars() {
        if is_to_be_escaped(character) {
            let units = &mut [0; 2];
            character.encode_utf16(units).iter().for_each(|unit| escaped += &format!("\\u{unit:04x}"));
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// Control characters, line and paragraph separators, and the invisible characters that reorder or hide text.
pub fn is_harmful(c: char) -> bool {
    let invisible = matches!(
        c,
        '\u{00ad}'
            | '\u{061c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    c.is_control() || invisible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_becomes_one_short_harmless_line() {
        let text = ForeignText::new("a\r\n\tb\u{1b}[31m\u{0}c \u{202e}d\u{2028}e\u{85}f");
        assert_eq!(text, "a b [31m c d e f");
        let long = ForeignText::new("界".repeat(1000));
        assert!(long.len() <= FOREIGN_LIMIT && long.ends_with('…'), "{}", long.len());
        assert_eq!(ForeignText::from_bytes(b"caf\xe9\x9b2J"), "caf\u{fffd}2J");
        assert!(ForeignText::from_bytes(&[0xff; 1 << 20]).len() <= FOREIGN_LIMIT);
    }

    #[test]
    fn a_line_keeps_its_layout_and_its_limit() {
        assert_eq!(Line::from("two  spaces".to_owned()), "two  spaces");
        assert_eq!(Line::from("one\nline\u{202e}"), "one line ");
        let exact = Line::from("x".repeat(LINE_LIMIT));
        assert_eq!(exact.len(), LINE_LIMIT);
        let long = Line::from("x".repeat(LINE_LIMIT + 1));
        assert_eq!(long.len(), LINE_LIMIT);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn an_escaped_document_is_harmless_and_reads_back_as_the_same() {
        let value = serde_json::json!({ "key": "a\u{1b}[2J\u{9b}\u{202e}\u{e0041}b", "n": [1] });
        let document = serde_json::to_string_pretty(&value).unwrap();
        let escaped = json_escaped(&document);
        assert!(!escaped.contains(|c| c != '\n' && is_harmful(c)), "{escaped}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }

    #[test]
    fn text_that_is_read_back_is_cleaned_again() {
        let line: Line = serde_json::from_str(r#""a\u001b[2Jb""#).unwrap();
        assert_eq!(line, "a [2Jb");
        let text: ForeignText = serde_json::from_str(&format!("\"{}\"", "y".repeat(2_000_000))).unwrap();
        assert_eq!(text.len(), FOREIGN_LIMIT);
    }
}
