//! What a failure tells a person: the cause, which is a fact, and the advice, which is not.
//!
//! Log entries are signed and kept for years, so only the cause goes into one. Advice names today's keys and commands; people
//! read it where they can act on it: in the journal, in `status` and on the page.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text::Line;

/// Stands between cause and advice in the ledger. It is a control character, which no [`Line`] holds.
const SEPARATOR: char = '\u{1f}';

/// A cause, and perhaps advice after it, in one line. It reads as the whole line.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Message {
    cause: Line,
    whole: Line,
}

impl Message {
    /// What happened, and where. No advice in it.
    pub fn new(cause: impl Into<Line>) -> Self {
        let cause = cause.into();
        Self { whole: cause.clone(), cause }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn advise(mut self, advice: impl AsRef<str>) -> Self {
        self.whole += "; ";
        self.whole += advice.as_ref();
        self
    }

    /// Says first where it happened, in cause and whole.
    #[must_use]
    pub fn at(self, place: &str) -> Self {
        let at = |line: Line| Line::from(format!("{place}: {line}"));
        Self { cause: at(self.cause), whole: at(self.whole) }
    }

    /// What happened, without advice: all that may be kept for good.
    pub fn cause(&self) -> &Line {
        &self.cause
    }

    /// Cause and advice.
    pub fn whole(&self) -> &Line {
        &self.whole
    }

    /// For the ledger; [`Self::read`] takes it apart again.
    pub fn stored(&self) -> String {
        match self.whole.strip_prefix(self.cause.as_str()) {
            Some("") | None => self.whole.to_string(),
            Some(advice) => format!("{}{SEPARATOR}{advice}", self.cause),
        }
    }

    /// What [`Self::stored`] wrote. Of what earlier versions wrote all counts as the cause.
    pub fn read(stored: &str) -> Self {
        match stored.split_once(SEPARATOR) {
            Some((cause, advice)) => Self { cause: cause.into(), whole: format!("{cause}{advice}").into() },
            None => Self::new(stored),
        }
    }
}

impl From<&str> for Message {
    fn from(cause: &str) -> Self {
        Self::new(cause)
    }
}

impl From<String> for Message {
    fn from(cause: String) -> Self {
        Self::new(cause)
    }
}

impl From<Line> for Message {
    fn from(cause: Line) -> Self {
        Self::new(cause)
    }
}

impl From<Message> for String {
    fn from(message: Message) -> Self {
        message.whole.into()
    }
}

impl From<Message> for Line {
    fn from(message: Message) -> Self {
        message.whole
    }
}

impl Deref for Message {
    type Target = Line;

    fn deref(&self) -> &Line {
        &self.whole
    }
}

/// Adds to the advice.
impl std::ops::AddAssign<&str> for Message {
    fn add_assign(&mut self, more: &str) {
        self.whole += more;
    }
}

impl PartialEq<str> for Message {
    fn eq(&self, other: &str) -> bool {
        self.whole == *other
    }
}

impl PartialEq<&str> for Message {
    fn eq(&self, other: &&str) -> bool {
        self.whole == *other
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.whole.fmt(f)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.whole, f)
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.whole.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Line::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_as_a_whole_and_its_cause_stands_by_itself() {
        let message = Message::new("the disk is full").advise("free some space");
        assert_eq!(message, "the disk is full; free some space");
        assert_eq!(*message.cause(), "the disk is full");
        let placed = message.at("store a");
        assert_eq!(placed, "store a: the disk is full; free some space");
        assert_eq!(*placed.cause(), "store a: the disk is full");
    }

    #[test]
    fn a_message_comes_out_of_the_ledger_as_it_went_in() {
        let advised = Message::new("no key").advise("mend it");
        let long = Message::new("x".repeat(5000)).advise("mend it");
        for message in [advised, Message::new("no key"), Message::default(), long] {
            assert_eq!(Message::read(&message.stored()), message);
        }
    }

    #[test]
    fn what_an_earlier_version_stored_is_a_cause_and_foreign_text_parts_nothing() {
        let old = Message::read("no key; mend it");
        assert_eq!(
            (old.cause(), old.whole()),
            (&Line::from("no key; mend it"), &Line::from("no key; mend it"))
        );
        let foreign = Message::new("they say \u{1f}x").advise("mend it");
        assert_eq!(*Message::read(&foreign.stored()).cause(), "they say  x");
    }
}
