//! Export tasks of the v3 API: what this machine knows of a task, from the intent to create it to its deletion in the
//! provider's export centre.
//!
//! Creating a task is not idempotent, so the intent is written down first. An intent without an id means that the provider may
//! have made a task whose id never arrived. Such a task is not searched for and never deleted: no list proves that it is ours.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

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
    /// The request for the task is on its way, or its answer was lost: the task may exist, and its id is not known.
    Asked,
    /// The task stands in the export centre, and its file is wanted.
    Created(TaskId),
    /// The task's file is wanted no more: the task is to be deleted.
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

/// A task that stands in the export centre, and whose file is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its number here.
    pub number: TaskNumber,
    /// Its id there.
    pub id: TaskId,
    /// When it was asked for, by this machine's clock.
    pub asked_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_lead_elsewhere_is_none() {
        assert!("0123abcDEF-_".parse::<TaskId>().is_ok());
        for text in ["", "a/b", "..", "a?b", "a b", "a%2f", &"a".repeat(129)] {
            assert_eq!(text.parse::<TaskId>(), Err(BadTaskId), "{text}");
        }
    }
}
