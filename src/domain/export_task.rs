//! Export tasks of the v3 API: what is known of one between the wish for it and its end in the provider's export centre.
//!
//! Creating a task is not idempotent, so the wish for one is written down first. Whatever comes between, a wish without
//! an id says that there may be a task that nobody knows: an orphan.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

use super::digest::Sha256;
use super::export::Bounds;
use super::name::{SourceName, StreamName};
use super::window::Window;

/// The longest id that is taken; the provider's have 32 characters.
const LONGEST_ID: usize = 128;

/// The provider's id of a task. It becomes a part of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(String);

impl TaskId {
    /// As the provider spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no task's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a task's id has 1 to {LONGEST_ID} letters, digits, `-` and `_`")]
pub struct BadTaskId;

impl FromStr for TaskId {
    type Err = BadTaskId;
    fn from_str(text: &str) -> Result<Self, BadTaskId> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let good = (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(plain);
        good.then(|| Self(text.to_owned())).ok_or(BadTaskId)
    }
}

/// The number under which this machine keeps a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskNumber(pub i64);

/// What a task is for. Only a task for the very same pull is gone on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Whose export centre it stands in.
    pub source: SourceName,
    /// For which stream.
    pub stream: StreamName,
    /// For which of its windows.
    pub window: Window,
    /// What was asked for.
    pub bounds: Bounds,
    /// Of what decides which records it holds: project and filters.
    pub definition: Sha256,
}

/// How far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    /// It is being asked for; whether it exists is not known.
    Asked,
    /// It stands in the export centre, and its file is wanted.
    Created(TaskId),
    /// Whoever asked for it never learnt its id: it may stand there, unknown.
    Lost,
    /// Its file is wanted no more: it is to be deleted.
    Finished(TaskId),
}

/// A task, as this machine knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportTask {
    /// Its number here.
    pub number: TaskNumber,
    /// What for.
    pub pull: Pull,
    /// When it was asked for, by this machine's clock.
    pub asked_at: Timestamp,
    /// How far it has come.
    pub state: TaskState,
}

/// What a source's files are called, apart from numbers: how a task of ours is known from somebody else's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameShape(String);

impl NameShape {
    /// Of a file's name: every run of digits becomes one `0`.
    pub fn of(file_name: &str) -> Self {
        let mut shape = String::with_capacity(file_name.len());
        for c in file_name.chars() {
            match c {
                '0'..='9' if shape.ends_with('0') => {}
                '0'..='9' => shape.push('0'),
                c => shape.push(c),
            }
        }
        Self(shape)
    }

    /// As it is kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A task that stands in the export centre, as far as it matters for finding an orphan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its id.
    pub id: TaskId,
    /// What its file is called.
    pub name: NameShape,
    /// When it was created, by the provider's clock.
    pub created_at: Timestamp,
}

/// When an orphan can have been created: by the provider's clock, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birth {
    /// Not before.
    pub from: Timestamp,
    /// Not after.
    pub to: Timestamp,
}

impl Birth {
    /// Of a task asked for at `asked_at`, where the provider's clock is `ahead` of ours, an answer is waited for so long,
    /// and times are known no better than `slack`.
    pub fn of(
        asked_at: Timestamp,
        ahead: SignedDuration,
        answer: SignedDuration,
        slack: SignedDuration,
    ) -> Self {
        let at = asked_at.saturating_add(ahead).unwrap_or(asked_at);
        Self {
            from: at.saturating_sub(slack).unwrap_or(Timestamp::MIN),
            to: at.saturating_add(answer).and_then(|at| at.saturating_add(slack)).unwrap_or(Timestamp::MAX),
        }
    }
}

/// Of the tasks that stand there, none of which this machine knows, the one that is taken for the orphan: called as ours are,
/// born when it can have been, and of several the one born first. Never more than one: each wish made one task at most.
pub fn orphan<'t>(standing: &'t [Standing], names: &[NameShape], birth: Birth) -> Option<&'t Standing> {
    let fits = |task: &&Standing| {
        names.contains(&task.name) && birth.from <= task.created_at && task.created_at <= birth.to
    };
    standing.iter().filter(fits).min_by_key(|task| (task.created_at, &task.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn standing(id: &str, name: &str, created_at: &str) -> Standing {
        Standing { id: id.parse().unwrap(), name: NameShape::of(name), created_at: at(created_at) }
    }

    #[test]
    fn an_id_that_could_lead_elsewhere_is_none() {
        assert!("0123abcDEF-_".parse::<TaskId>().is_ok());
        for text in ["", "a/b", "..", "a?b", "a b", "a%2f", &"a".repeat(129)] {
            assert_eq!(text.parse::<TaskId>(), Err(BadTaskId), "{text}");
        }
    }

    #[test]
    fn names_differ_by_more_than_their_numbers_or_not() {
        let ours = NameShape::of("records_20261123120000_7.xlsx");
        assert_eq!(ours, NameShape::of("records_19991231_12345.xlsx"));
        assert_ne!(ours, NameShape::of("desktops_20261123120000_7.xlsx"));
        assert_eq!(NameShape::of("桌面1.csv").as_str(), "桌面0.csv");
    }

    #[test]
    fn an_orphan_is_one_task_that_is_called_as_ours_are_and_was_born_then() {
        let names = [NameShape::of("records_1.xlsx")];
        let seconds = SignedDuration::from_secs;
        let birth = Birth::of(at("2026-11-23T02:00:00Z"), seconds(60), seconds(120), seconds(5));
        let tasks = [
            standing("early", "records_1.xlsx", "2026-11-23T02:00:54Z"),
            standing("other", "users_2.xlsx", "2026-11-23T02:01:00Z"),
            standing("second", "records_3.xlsx", "2026-11-23T02:02:00Z"),
            standing("first", "records_4.xlsx", "2026-11-23T02:00:55Z"),
            standing("late", "records_5.xlsx", "2026-11-23T02:03:06Z"),
        ];
        assert_eq!(orphan(&tasks, &names, birth).unwrap().id.as_str(), "first");
        assert_eq!(orphan(&tasks[..2], &names, birth), None);
        assert_eq!(orphan(&tasks[4..], &names, birth), None);
        assert_eq!(orphan(&tasks, &[], birth), None, "before a name is known, nothing is taken for ours");
    }
}
