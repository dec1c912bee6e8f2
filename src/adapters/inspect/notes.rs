//! Notes about a file, for the log's entry: few, short, and without anything that could take over a terminal.

use crate::domain::text;

/// Notes that are kept of one file. A last one says how many more there were.
const MOST: usize = 16;
/// Characters of a note.
const LENGTH: usize = 200;

/// The notes of one file.
#[derive(Debug, Default)]
pub(super) struct Notes {
    kept: Vec<String>,
    /// Notes beyond those that are kept.
    more: u64,
}

impl Notes {
    /// Adds a note. A note that is already there is not repeated.
    pub(super) fn add(&mut self, note: &str) {
        let note = clean(note, LENGTH);
        if self.kept.contains(&note) {
            return;
        }
        if self.kept.len() < MOST - 1 {
            self.kept.push(note);
        } else {
            self.more += 1;
        }
    }

    /// These notes and then `others`.
    pub(super) fn and(mut self, others: Self) -> Self {
        others.kept.iter().for_each(|note| self.add(note));
        self.more += others.more;
        self
    }

    /// The notes, in the order in which they were added.
    pub(super) fn finish(self) -> Vec<String> {
        let mut notes = self.kept;
        if self.more > 0 {
            notes.push(format!("there are {} more notes", self.more));
        }
        notes
    }
}

/// `text` as one harmless line of at most `most` characters.
pub(super) fn clean(text: &str, most: usize) -> String {
    let mut clean = text::clean(text, usize::MAX).into_owned();
    if clean.chars().nth(most).is_some() {
        clean = clean.chars().take(most - 1).chain(['…']).collect();
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_few_short_and_of_one_line() {
        let mut notes = Notes::default();
        notes.add("sheet \u{1b}[31m\u{202e}x\ny");
        for number in 0..100 {
            notes.add(&format!("{number} {}", "中".repeat(1000)));
        }
        let notes = notes.finish();
        assert_eq!(notes.len(), MOST);
        assert_eq!(notes[0], "sheet  [31m x y");
        assert!(notes.iter().all(|note| note.chars().count() <= LENGTH), "{notes:?}");
        assert_eq!(notes[MOST - 1], "there are 86 more notes");
    }

    #[test]
    fn a_note_is_said_once() {
        let mut notes = Notes::default();
        notes.add("first");
        notes.add("second");
        notes.add("first");
        assert_eq!(notes.finish(), ["first", "second"]);
    }
}
