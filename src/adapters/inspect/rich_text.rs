//! Puts a spreadsheet's text together: plain or in runs of different looks, without the phonetic guides.

use super::error::InspectError;
use super::rows::MAX_ROW;
use super::xml::Element;

/// Collects the `<t>` elements of one `<si>` or `<is>`.
#[derive(Debug, Default)]
pub(super) struct RichText {
    text: String,
    run: String,
    in_run: bool,
    keep_space: bool,
    /// Inside `<rPh>`: how the text is pronounced, not what it says.
    phonetic: bool,
}

impl RichText {
    /// Forgets the text before.
    pub(super) fn begin(&mut self) {
        self.text.clear();
        self.in_run = false;
        self.phonetic = false;
    }

    /// An element begins inside.
    pub(super) fn start(&mut self, element: &Element<'_>) -> Result<(), InspectError> {
        match element.name() {
            "rPh" => self.phonetic = true,
            "t" if !self.phonetic => {
                self.in_run = true;
                self.run.clear();
                self.keep_space = element.attribute("space")?.as_deref() == Some("preserve");
            }
            _ => {}
        }
        Ok(())
    }

    /// Text inside.
    pub(super) fn push(&mut self, text: &str) -> Result<(), InspectError> {
        if self.in_run {
            if self.text.len() + self.run.len() + text.len() > MAX_ROW {
                return Err(InspectError::unread("a text is longer than a cell can hold"));
            }
            self.run.push_str(text);
        }
        Ok(())
    }

    /// Whether text at this place belongs to the cell, or to its phonetic guide.
    pub(super) fn takes_text(&self) -> bool {
        self.in_run || self.phonetic
    }

    /// The element `name` ends inside.
    pub(super) fn end(&mut self, name: &str) {
        match name {
            "rPh" => self.phonetic = false,
            "t" if self.in_run => {
                self.in_run = false;
                let run = if self.keep_space { &*self.run } else { self.run.trim_matches(XML_SPACE) };
                push_unescaped(&mut self.text, run);
            }
            _ => {}
        }
    }

    /// The text so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// What XML calls white space.
pub(super) const XML_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Whether `text` is nothing but white space.
pub(super) fn is_blank(text: &str) -> bool {
    text.trim_matches(XML_SPACE).is_empty()
}

/// Adds `text` with `_xHHHH_`, the way that spreadsheets write characters which XML cannot hold, turned into the
/// characters (ECMA-376 part 1, 22.9.2.19). What is no character (half a surrogate pair) stays as it is.
pub(super) fn push_unescaped(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find("_x") {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        match escaped(from) {
            Some(character) => {
                out.push(character);
                rest = &from[ESCAPE..];
            }
            None => {
                out.push('_');
                rest = &from[1..];
            }
        }
    }
    out.push_str(rest);
}

/// The length of `_xHHHH_`.
const ESCAPE: usize = 7;

fn escaped(text: &str) -> Option<char> {
    let digits = text.get(..ESCAPE)?.strip_prefix("_x")?.strip_suffix('_')?;
    let hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| hex).and_then(char::from_u32)
}
