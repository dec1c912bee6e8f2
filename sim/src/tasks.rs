//! Export tasks, as they stand in the export centre, and what becomes of each.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use jiff::Timestamp;

use crate::seed::SplitMix;

/// How a task is getting on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskStatus {
    /// Its file is being made.
    Creating,
    /// Its file is there.
    Success,
    /// Its file could not be made.
    Fail,
    /// Its file was kept no longer.
    Expired,
    /// It waits, under a status that nobody documents.
    Queued,
}

impl TaskStatus {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Success => "SUCCESS",
            Self::Fail => "FAIL",
            Self::Expired => "EXPIRED",
            Self::Queued => "QUEUED",
        }
    }
}

/// What becomes of a task, once it was listed as being made often enough.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// Its file is there.
    Success,
    /// Its file cannot be made.
    Fail {
        /// `error_code` of its item in the list.
        error_code: String,
        /// `fail_reason` of its item in the list.
        reason: String,
    },
    /// Its file was there and is gone before anybody could fetch it.
    Expired,
    /// Its file is there until somebody wants to fetch it.
    ExpiresOnDownload,
    /// Its file is made for ever.
    Never,
    /// It waits for ever, under a status that nobody documents.
    Queued,
    /// Somebody else deletes it.
    Vanishes,
}

/// A task that stands in the export centre.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Task {
    /// 32 hex digits.
    pub id: String,
    /// What its file is called.
    pub file_name: String,
    /// How it is getting on.
    pub status: TaskStatus,
    /// When it was created.
    pub created: Timestamp,
    /// Whether its file was fetched.
    pub downloaded: bool,
    /// The bounds that it was asked for.
    pub start_time: Option<Timestamp>,
    /// The bounds that it was asked for.
    pub end_time: Option<Timestamp>,
}

/// A task with what only the simulator knows of it.
pub(crate) struct Entry {
    pub(crate) task: Task,
    pub(crate) fate: Fate,
    /// In so many lists it is not there yet.
    lag_left: u32,
    /// In so many lists it is still being made.
    polls_left: u32,
    /// Since when it has its fate.
    pub(crate) finished: Option<Timestamp>,
    /// The file; none where it is made while it is sent.
    pub(crate) file: Option<Bytes>,
    /// The parameters that it was asked for with.
    pub(crate) pairs: Vec<(String, String)>,
}

/// A task that is to be created.
pub(crate) struct Order {
    pub(crate) created: Timestamp,
    pub(crate) bounds: Option<(Timestamp, Timestamp)>,
    pub(crate) extension: &'static str,
    pub(crate) polls: u32,
    pub(crate) lag: u32,
    pub(crate) file: Option<Bytes>,
    pub(crate) pairs: Vec<(String, String)>,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    fates: VecDeque<Fate>,
    created: u64,
    /// How many of somebody else's were put there.
    foreign: u64,
    strict: bool,
    /// Tasks that are never deleted.
    kept: Vec<String>,
}

/// The export centre's tasks.
#[derive(Default)]
pub struct Tasks(Mutex<State>);

impl Tasks {
    /// Every task that stands, in order of its creation.
    pub fn all(&self) -> Vec<Task> {
        self.state().entries.iter().map(|entry| entry.task.clone()).collect()
    }

    /// How many were ever created by requests.
    pub fn created(&self) -> u64 {
        self.state().created
    }

    /// What becomes of the next task that is created and has no fate yet. Without one, its file is made.
    pub fn fate(&self, fate: Fate) {
        self.state().fates.push_back(fate);
    }

    /// Puts a finished task of somebody else there; says its id.
    pub fn put_foreign(&self, file_name: &str, created: Timestamp) -> String {
        let mut state = self.state();
        state.foreign += 1;
        // Counted from the other end: no task has the id of another, not even of one that is gone.
        let id = id_of(u64::MAX - state.foreign);
        let task = Task {
            id: id.clone(),
            file_name: file_name.to_owned(),
            status: TaskStatus::Success,
            created,
            downloaded: false,
            start_time: None,
            end_time: None,
        };
        let file = Some(Bytes::from_static(b"somebody else's"));
        let (fate, finished) = (Fate::Success, Some(created));
        state.entries.push(Entry {
            task,
            fate,
            lag_left: 0,
            polls_left: 0,
            finished,
            file,
            pairs: Vec::new(),
        });
        id
    }

    pub(crate) fn create(&self, order: Order) -> String {
        let mut state = self.state();
        state.created += 1;
        let id = id_of(state.created);
        let stamp = order.created.strftime("%Y%m%d%H%M%S");
        let (start_time, end_time) = order.bounds.unzip();
        let task = Task {
            id: id.clone(),
            file_name: format!("connection_records_{stamp}_{}.{}", state.created, order.extension),
            status: TaskStatus::Creating,
            created: order.created,
            downloaded: false,
            start_time,
            end_time,
        };
        let fate = state.fates.pop_front().unwrap_or(Fate::Success);
        let Order { polls: polls_left, lag: lag_left, file, pairs, .. } = order;
        state.entries.push(Entry { task, fate, lag_left, polls_left, finished: None, file, pairs });
        id
    }

    /// A list is made: of each task that `shown` lets in, `item`. A task gets on by being looked at, whichever page
    /// it is on, and whatever status the list is about.
    pub(crate) fn list<T>(
        &self,
        now: Timestamp,
        shown: impl Fn(&Task) -> bool,
        item: impl Fn(&Entry) -> T,
    ) -> Vec<T> {
        let mut state = self.state();
        let mut items = Vec::new();
        let mut vanished = Vec::new();
        for entry in &mut state.entries {
            if !shown(&entry.task) {
                continue;
            }
            if entry.lag_left > 0 {
                entry.lag_left -= 1;
                continue;
            }
            if entry.task.status == TaskStatus::Creating {
                if entry.polls_left > 0 {
                    entry.polls_left -= 1;
                } else if entry.fate == Fate::Vanishes {
                    vanished.push(entry.task.id.clone());
                    continue;
                } else {
                    entry.task.status = entry.fate.status();
                    entry.finished = (entry.task.status != TaskStatus::Creating).then_some(now);
                }
            }
            items.push(item(entry));
        }
        state.entries.retain(|entry| !vanished.contains(&entry.task.id));
        items
    }

    /// Does something with one task; `None` where it is not there.
    pub(crate) fn with<T>(&self, id: &str, then: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut state = self.state();
        let entry = state.entries.iter_mut().find(|entry| entry.task.id == id)?;
        Some(then(entry))
    }

    /// From now on, a deletion that names a task which is not there, or is being made, deletes nothing and is refused.
    pub fn delete_strictly(&self) {
        self.state().strict = true;
    }

    /// In so many more lists, what stands now is not there.
    pub fn unlist(&self, lists: u32) {
        self.state().entries.iter_mut().for_each(|entry| entry.lag_left = lists);
    }

    /// From now on, a deletion that names this task deletes nothing and is refused.
    pub fn refuse_to_delete(&self, id: &str) {
        self.state().kept.push(id.to_owned());
    }

    /// Says whether it was done.
    pub(crate) fn delete(&self, ids: &[String]) -> bool {
        let mut state = self.state();
        let deletable = |id: &String| {
            let task = state.entries.iter().map(|entry| &entry.task).find(|task| task.id == *id);
            task.is_some_and(|task| task.status != TaskStatus::Creating)
        };
        let is_kept = ids.iter().any(|id| state.kept.contains(id));
        if is_kept || state.strict && !ids.iter().all(deletable) {
            return false;
        }
        state.entries.retain(|entry| !ids.contains(&entry.task.id));
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fate {
    fn status(&self) -> TaskStatus {
        match self {
            Self::Success | Self::ExpiresOnDownload => TaskStatus::Success,
            Self::Fail { .. } => TaskStatus::Fail,
            Self::Expired | Self::Vanishes => TaskStatus::Expired,
            Self::Never => TaskStatus::Creating,
            Self::Queued => TaskStatus::Queued,
        }
    }
}

fn id_of(n: u64) -> String {
    format!("{:016x}{:016x}", SplitMix::new(n).next(), SplitMix::new(!n).next())
}
