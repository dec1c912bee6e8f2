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
    Lost {
        /// Since when nobody waits for it any more, at the latest.
        at: Timestamp,
    },
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

/// What a source's files are called, apart from numbers: how a task of ours is known from somebody else's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameShape(String);

impl NameShape {
    /// Of a file's name: of its words, each that may be a number (or, as an id is, one in hex) becomes one `0`.
    pub fn of(file_name: &str) -> Self {
        let mut shape = String::with_capacity(file_name.len());
        let mut rest = file_name;
        while let Some(first) = rest.chars().next() {
            let is_inside = |c: char| c.is_ascii_alphanumeric();
            let length = rest.find(|c| !is_inside(c)).unwrap_or(rest.len()).max(first.len_utf8());
            let (word, after) = rest.split_at(length);
            shape.push_str(if is_number(word) { "0" } else { word });
            rest = after;
        }
        Self(shape)
    }

    /// As it is kept.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a word tells one file from another, and not one kind of file from another.
fn is_number(word: &str) -> bool {
    let hex = word.len() >= 4 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex || word.bytes().any(|byte| byte.is_ascii_digit())
}

/// A task that stands in the export centre, as far as it matters for finding an orphan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its id.
    pub id: TaskId,
    /// What its file is called, once it is called anything.
    pub name: Option<NameShape>,
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
    /// Of a task that was asked for at `asked_at`, on whose answer nobody waited any more at `lost_at`, nor longer than
    /// `patience`; where the provider's clock is `ahead` of ours, and times are known no better than `slack`.
    pub fn of(
        (asked_at, lost_at): (Timestamp, Timestamp),
        patience: SignedDuration,
        ahead: SignedDuration,
        slack: SignedDuration,
    ) -> Self {
        let end = lost_at.min(asked_at.saturating_add(patience).unwrap_or(Timestamp::MAX)).max(asked_at);
        let theirs = |ours: Timestamp| ours.saturating_add(ahead).unwrap_or(ours);
        Self {
            from: theirs(asked_at).saturating_sub(slack).unwrap_or(Timestamp::MIN),
            to: theirs(end).saturating_add(slack).unwrap_or(Timestamp::MAX),
        }
    }

    fn is_of(self, task: &Standing) -> bool {
        self.from <= task.created_at && task.created_at <= self.to
    }
}

/// What is found of a task whose id was never learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sought {
    /// It, or another one that could be taken for it, may have been created so lately that no list shows it yet.
    TooSoon,
    /// This is it.
    Found(TaskId),
    /// One that fits is not called anything yet.
    Unnamed,
    /// More tasks fit than were asked for.
    Unclear,
    /// Nothing fits.
    Missing,
}

/// What the tasks that stand there, none of which this machine knows, are to each wish that left no id: a task is taken for
/// an orphan that is called as ours are and was born when it can have been. Where wishes overlap in time, and more tasks fit
/// them than there are wishes, some are somebody else's: then none is taken. Nor is any taken for a wish while not all that
/// was created up to its end is `listed`: of two, the other may be the orphan.
///
/// Wishes that are listed are judged though newer ones that overlap with them are not: in a row of wishes without a gap it would
/// be too soon for ever. That takes no more than waiting would. All that can be theirs is there; where it is not more than they
/// are, and each of them made a task, it is all theirs. If one made none, a task that is taken for its may be a newer wish's,
/// which is to go as well. Where more fit, the newer wishes may account for them, or somebody else: that is not known yet.
///
/// What cannot be told is a task of somebody else, of our kind and of those moments, where our own request made none.
pub fn orphans(
    standing: &[Standing],
    names: &[NameShape],
    births: &[Birth],
    listed: Timestamp,
) -> Vec<Sought> {
    let mut sought = vec![Sought::Missing; births.len()];
    for group in overlapping(births) {
        let (wishes, newer): (Vec<_>, Vec<_>) =
            group.into_iter().partition(|wish| births[*wish].to <= listed);
        newer.iter().for_each(|wish| sought[*wish] = Sought::TooSoon);
        let fits = |task: &&Standing| {
            let may_be_ours = task.name.as_ref().is_none_or(|name| names.contains(name));
            may_be_ours && wishes.iter().any(|wish| births[*wish].is_of(task))
        };
        let mut candidates: Vec<_> = standing.iter().filter(fits).collect();
        candidates.sort_by_key(|task| (task.created_at, &task.id));
        let instead = match assigned(&candidates, &wishes, births) {
            Some(found) => {
                found.into_iter().for_each(|(wish, id)| sought[wish] = Sought::Found(id));
                continue;
            }
            None if !newer.is_empty() => Sought::TooSoon,
            None if candidates.iter().any(|task| task.name.is_none()) => Sought::Unnamed,
            None => Sought::Unclear,
        };
        wishes.iter().for_each(|wish| sought[*wish] = instead.clone());
    }
    sought
}

/// Wishes, by their places in `births`, in groups that share no moment with each other.
fn overlapping(births: &[Birth]) -> Vec<Vec<usize>> {
    let mut wishes: Vec<_> = (0..births.len()).collect();
    wishes.sort_by_key(|wish| births[*wish].from);
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut end = Timestamp::MIN;
    for wish in wishes {
        match groups.last_mut() {
            Some(group) if births[wish].from <= end => group.push(wish),
            _ => groups.push(vec![wish]),
        }
        end = end.max(births[wish].to);
    }
    groups
}

/// A wish for each of `candidates`, which are in the order of their birth; `None` unless each has one, and a name. The wish that ends
/// first takes the task: whatever another choice would match, this one does.
fn assigned(candidates: &[&Standing], wishes: &[usize], births: &[Birth]) -> Option<Vec<(usize, TaskId)>> {
    let mut free = wishes.to_vec();
    let assign = |task: &&Standing| {
        task.name.as_ref()?;
        let fitting = free.iter().enumerate().filter(|(_, wish)| births[**wish].is_of(task));
        let (at, _) = fitting.min_by_key(|(_, wish)| births[**wish].to)?;
        Some((free.swap_remove(at), task.id.clone()))
    };
    candidates.iter().map(assign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn standing(id: &str, name: &str, created_at: &str) -> Standing {
        let name = (!name.is_empty()).then(|| NameShape::of(name));
        Standing { id: id.parse().unwrap(), name, created_at: at(created_at) }
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
        let by_id = NameShape::of("records-3f2a9bc0-ffee-4abc.xlsx");
        assert_eq!(by_id.as_str(), "records-0-0-0.xlsx");
        assert_eq!(NameShape::of(by_id.as_str()), by_id, "the shape of a shape is itself");
    }

    const OURS: &str = "records_1.xlsx";

    fn birth(asked_at: &str, lost_at: &str) -> Birth {
        let seconds = SignedDuration::from_secs;
        Birth::of((at(asked_at), at(lost_at)), seconds(120), seconds(60), seconds(5))
    }

    fn sought(tasks: &[Standing], births: &[Birth]) -> Vec<String> {
        sought_when(tasks, births, Timestamp::MAX)
    }

    fn sought_when(tasks: &[Standing], births: &[Birth], listed: Timestamp) -> Vec<String> {
        let word = |sought| match sought {
            Sought::Found(id) => id.to_string(),
            Sought::Unclear => "?".to_owned(),
            Sought::Unnamed => "…".to_owned(),
            Sought::Missing => "-".to_owned(),
            Sought::TooSoon => "!".to_owned(),
        };
        orphans(tasks, &[NameShape::of(OURS)], births, listed).into_iter().map(word).collect()
    }

    #[test]
    fn an_orphan_can_have_been_born_until_nobody_waited_for_it_any_more() {
        let of = |lost_at| {
            let Birth { from, to } = birth("2026-11-23T02:00:00Z", lost_at);
            (from, to)
        };
        let from = at("2026-11-23T02:00:55Z");
        assert_eq!(of("2026-11-23T02:00:10Z"), (from, at("2026-11-23T02:01:15Z")));
        assert_eq!(
            of("2026-11-24T00:00:00Z"),
            (from, at("2026-11-23T02:03:05Z")),
            "no longer than an answer takes"
        );
        assert_eq!(
            of("2026-11-22T00:00:00Z"),
            (from, at("2026-11-23T02:01:05Z")),
            "a clock that was set back"
        );
    }

    #[test]
    fn an_orphan_is_a_task_that_is_called_as_ours_are_and_was_born_then() {
        let births = [birth("2026-11-23T02:00:00Z", "2026-11-23T03:00:00Z")];
        let tasks = [
            standing("early", OURS, "2026-11-23T02:00:54Z"),
            standing("other", "users_2.xlsx", "2026-11-23T02:01:00Z"),
            standing("it", "records_4.xlsx", "2026-11-23T02:00:55Z"),
            standing("late", "records_5.xlsx", "2026-11-23T02:03:06Z"),
        ];
        assert_eq!(sought(&tasks, &births), ["it"]);
        assert_eq!(sought(&tasks[..2], &births), ["-"]);
        assert_eq!(
            orphans(&tasks, &[], &births, Timestamp::MAX),
            [Sought::Missing],
            "before a name is known, nothing is ours"
        );
    }

    #[test]
    fn more_tasks_than_wishes_are_somebody_elses_too_and_none_is_taken() {
        let (early, late) = (
            birth("2026-11-23T02:00:00Z", "2026-11-23T02:00:10Z"),
            birth("2026-11-23T02:00:12Z", "2026-11-23T02:00:20Z"),
        );
        let apart = birth("2026-11-23T05:00:00Z", "2026-11-23T05:00:10Z");
        let tasks = [
            standing("a", OURS, "2026-11-23T02:01:00Z"),
            standing("b", OURS, "2026-11-23T02:01:13Z"),
            standing("c", OURS, "2026-11-23T02:01:14Z"),
            standing("d", OURS, "2026-11-23T05:01:05Z"),
        ];
        assert_eq!(sought(&tasks, &[late, early, apart]), ["?", "?", "d"]);
        assert_eq!(sought(&tasks[..2], &[late, early, apart]), ["b", "a", "-"]);
        assert_eq!(sought(&tasks[..1], &[late, early, apart]), ["-", "a", "-"]);
    }

    #[test]
    fn while_the_list_may_lack_the_orphan_no_other_task_is_taken_for_it() {
        let births = [
            birth("2026-11-23T02:00:00Z", "2026-11-23T02:00:10Z"),
            birth("2026-11-23T02:00:12Z", "2026-11-23T02:00:20Z"),
            birth("2026-11-23T05:00:00Z", "2026-11-23T05:00:10Z"),
        ];
        let foreign = [standing("a", OURS, "2026-11-23T02:01:00Z")];
        let when = |listed| sought_when(&foreign, &births, at(listed));
        assert_eq!(when("2026-11-23T02:01:14Z"), ["!", "!", "!"]);
        assert_eq!(when("2026-11-23T02:01:15Z"), ["a", "!", "!"]);
        assert_eq!(when("2026-11-23T02:01:25Z"), ["a", "-", "!"]);
        assert_eq!(when("2026-11-23T05:01:15Z"), ["a", "-", "-"]);
    }

    #[test]
    fn wishes_that_are_listed_do_not_wait_for_newer_ones_unless_those_may_account_for_what_fits() {
        // Each overlaps with the next, without an end.
        let births: Vec<_> = (0..50)
            .map(|i| {
                let asked_at = at("2026-11-23T02:00:00Z") + SignedDuration::from_secs(20 * i);
                birth(&asked_at.to_string(), &(asked_at + SignedDuration::from_secs(30)).to_string())
            })
            .collect();
        let listed = at("2026-11-23T02:02:20Z");
        let mut tasks = vec![
            standing("a", OURS, "2026-11-23T02:01:10Z"),
            standing("b", OURS, "2026-11-23T02:01:30Z"),
            // After all that is listed: the newer ones', or somebody else's, and no hindrance.
            standing("c", OURS, "2026-11-23T02:02:18Z"),
            standing("d", OURS, "2026-11-23T02:02:19Z"),
        ];
        assert_eq!(sought_when(&tasks, &births, listed)[..5], ["a", "b", "-", "!", "!"]);
        // The third wish and two that are newer could each have made these.
        tasks.extend(["e", "f"].map(|id| standing(id, OURS, "2026-11-23T02:02:14Z")));
        assert_eq!(sought_when(&tasks, &births, listed)[..4], ["!", "!", "!", "!"]);
    }

    #[test]
    fn a_task_that_is_not_called_anything_yet_is_waited_for() {
        let births = [birth("2026-11-23T02:00:00Z", "2026-11-23T02:00:10Z")];
        let tasks = [standing("a", "", "2026-11-23T02:01:00Z")];
        assert_eq!(sought(&tasks, &births), ["…"]);
    }
}
