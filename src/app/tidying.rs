//! At which sources export tasks are being cleared away, and when it is tried again where that failed or was too soon.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::Id;
use tokio::time::Instant;

use crate::domain::backoff::pause;
use crate::domain::export_task::{ExportTask, TaskNumber};
use crate::domain::failure::Failure;
use crate::domain::name::SourceName;
use crate::ports::record_source::Left;

use super::export_tasks::Untidy;
use super::failure_policy::OPERATOR_PAUSE;

/// What a run remembers of it, by source. What is to be cleared away stands in the ledger.
#[derive(Debug, Default)]
pub struct Tidying(BTreeMap<SourceName, At>);

/// At one source.
#[derive(Debug, Default)]
struct At {
    going_on: Option<GoingOn>,
    /// Tasks that are left for later; they keep no other.
    later: BTreeMap<TaskNumber, Instant>,
    /// Failures of the source in a row.
    failures: u32,
    /// Nothing is begun there before, for its last failure.
    not_before: Option<Instant>,
    /// Until when something holds it up, as of the last look.
    held_until: Option<Instant>,
}

#[derive(Debug)]
struct GoingOn {
    by: Id,
    tasks: BTreeSet<TaskNumber>,
    /// More was found to do meanwhile.
    more: bool,
}

impl At {
    fn waits_until(&self) -> Option<Instant> {
        self.not_before.max(self.held_until)
    }
}

impl Tidying {
    /// What is untidy now: where nothing is, nothing is tried again.
    pub fn found(&mut self, untidy: &Untidy) {
        self.0.retain(|source, at| at.going_on.is_some() || untidy.contains_key(source));
        for (source, at) in &mut self.0 {
            let tasks = untidy.get(source).map_or(&[][..], Vec::as_slice);
            at.later.retain(|number, _| tasks.iter().any(|task| task.number == *number));
        }
    }

    /// Until when the source is held up: nothing is begun there before then.
    pub fn held_up(&mut self, source: &SourceName, until: Option<Instant>) {
        self.0.entry(source.clone()).or_default().held_until = until;
    }

    /// Those of `tasks` to begin with at `source` now. Where it is going on, it is remembered that there are others.
    pub fn due(&mut self, source: &SourceName, mut tasks: Vec<ExportTask>, now: Instant) -> Vec<ExportTask> {
        let at = self.0.entry(source.clone()).or_default();
        at.not_before = at.not_before.filter(|then| *then > now);
        at.held_until = at.held_until.filter(|then| *then > now);
        tasks.retain(|task| at.later.get(&task.number).is_none_or(|then| *then <= now));
        if let Some(going_on) = &mut at.going_on {
            going_on.more |= tasks.iter().any(|task| !going_on.tasks.contains(&task.number));
        }
        let waits = at.going_on.is_some() || at.waits_until().is_some();
        if waits { Vec::new() } else { tasks }
    }

    /// `tasks` are being cleared away by the task with this id.
    pub fn begun(&mut self, source: SourceName, tasks: BTreeSet<TaskNumber>, by: Id) {
        self.0.entry(source).or_default().going_on = Some(GoingOn { by, tasks, more: false });
    }

    /// It is over; says whether there is more to do at once.
    pub fn ended(&mut self, source: &SourceName, outcome: &Result<Left, Failure>, now: Instant) -> bool {
        let Some(at) = self.0.get_mut(source) else { return false };
        let Some(GoingOn { tasks, more, .. }) = at.going_on.take() else { return false };
        match outcome {
            Ok(left) => {
                at.failures = 0;
                at.later.retain(|number, _| !tasks.contains(number));
                at.later.extend(left.later.iter().map(|(number, wait)| (*number, now + *wait)));
                more
            }
            Err(failure) => {
                at.failures = at.failures.saturating_add(1);
                let least = if failure.kind.needs_operator() { OPERATOR_PAUSE } else { Duration::ZERO };
                let asked_for = failure.retry_after.unwrap_or_default();
                let wait = pause(at.failures, source.as_str()).max(asked_for).max(least);
                at.not_before = Some(now + wait);
                false
            }
        }
    }

    /// The task with this id broke off.
    pub fn broke_off(&mut self, id: Id) {
        for at in self.0.values_mut() {
            at.going_on.take_if(|going_on| going_on.by == id);
        }
    }

    /// At how many sources it is going on.
    pub fn going_on(&self) -> usize {
        self.0.values().filter(|at| at.going_on.is_some()).count()
    }

    /// How long it is until it is tried again somewhere. Where it is being tried, its end tells more.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let pausing = self.0.values().filter(|at| at.going_on.is_none());
        let next = pausing.filter_map(|at| at.waits_until().or(at.later.values().min().copied())).min()?;
        Some(next.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::export::Bounds;
    use crate::domain::export_task::{Pull, TaskState};
    use crate::domain::failure::{FailureKind, Scope};
    use crate::domain::window::Window;

    const NOTHING: [i64; 0] = [];

    fn hq() -> SourceName {
        "hq".parse().unwrap()
    }

    fn tasks(numbers: &[i64]) -> Vec<ExportTask> {
        let (start, end) = ("2026-11-22T00:00:00Z".parse().unwrap(), "2026-11-23T00:00:00Z".parse().unwrap());
        let task = |number: &i64| ExportTask {
            number: TaskNumber(*number),
            pull: Pull {
                source: hq(),
                stream: "logins".parse().unwrap(),
                window: Window::new(start, end).unwrap(),
                bounds: Bounds { start, end },
                definition: crate::domain::digest::Sha256::of(b""),
            },
            asked_at: end,
            state: TaskState::Finished("a".parse().unwrap()),
        };
        numbers.iter().map(task).collect()
    }

    /// What is begun with of tasks with these numbers.
    async fn begun(tidying: &mut Tidying, numbers: &[i64], now: Instant) -> Vec<i64> {
        let due: Vec<_> =
            tidying.due(&hq(), tasks(numbers), now).into_iter().map(|task| task.number).collect();
        if !due.is_empty() {
            tidying.begun(hq(), due.iter().copied().collect(), id().await);
        }
        due.into_iter().map(|number| number.0).collect()
    }

    fn left(later: &[(i64, u64)]) -> Result<Left, Failure> {
        let later = later.iter().map(|(number, wait)| (TaskNumber(*number), Duration::from_secs(*wait)));
        Ok(Left { later: later.collect(), refused: None })
    }

    fn failed(kind: FailureKind) -> Result<Left, Failure> {
        Err(Failure::new(kind, Scope::Source, "no"))
    }

    async fn id() -> Id {
        let task = tokio::spawn(async {});
        let id = task.id();
        task.await.unwrap();
        id
    }

    #[tokio::test]
    async fn what_is_found_while_it_goes_on_is_done_at_its_end() {
        let (mut tidying, now) = (Tidying::default(), Instant::now());
        assert_eq!(begun(&mut tidying, &[1], now).await, [1]);
        assert_eq!(begun(&mut tidying, &[1, 2], now).await, NOTHING);
        assert!(tidying.ended(&hq(), &left(&[]), now), "there is more");
        assert_eq!(begun(&mut tidying, &[2], now).await, [2]);
        assert_eq!(begun(&mut tidying, &[2], now).await, NOTHING);
        assert!(!tidying.ended(&hq(), &left(&[]), now), "that was all");
    }

    #[tokio::test]
    async fn where_it_failed_it_is_tried_again_after_a_growing_pause_and_not_before() {
        let (mut tidying, mut now) = (Tidying::default(), Instant::now());
        let mut before = Duration::ZERO;
        assert_eq!(begun(&mut tidying, &[1], now).await, [1]);
        for _ in 0..3 {
            assert!(!tidying.ended(&hq(), &failed(FailureKind::Transient), now));
            assert_eq!(begun(&mut tidying, &[1, 2], now).await, NOTHING);
            let wait = tidying.wait(now).unwrap();
            assert!(wait > before);
            (before, now) = (wait, now + wait);
            assert_eq!(begun(&mut tidying, &[1, 2], now).await, [1, 2]);
            assert_eq!(tidying.wait(now), None, "it is being tried");
        }
        tidying.ended(&hq(), &failed(FailureKind::Auth), now);
        assert!(tidying.wait(now).unwrap() >= OPERATOR_PAUSE);
        tidying.found(&Untidy::new());
        assert_eq!(tidying.wait(now), None, "there is nothing left to be cleared away");
    }

    #[tokio::test]
    async fn a_task_that_is_left_for_later_keeps_no_other() {
        let (mut tidying, now) = (Tidying::default(), Instant::now());
        let seconds = Duration::from_secs;
        assert_eq!(begun(&mut tidying, &[1, 2, 3], now).await, [1, 2, 3]);
        assert_eq!(begun(&mut tidying, &[1, 2, 3, 4], now).await, NOTHING);
        assert!(tidying.ended(&hq(), &left(&[(1, 35), (2, 300)]), now), "there is more");
        assert_eq!(begun(&mut tidying, &[1, 2, 4], now).await, [4]);
        assert!(!tidying.ended(&hq(), &left(&[]), now));
        assert_eq!(tidying.wait(now), Some(seconds(35)));
        assert_eq!(begun(&mut tidying, &[1, 2], now + seconds(35)).await, [1]);
        tidying.ended(&hq(), &left(&[]), now);
        assert_eq!(tidying.wait(now), Some(seconds(300)));
        tidying.found(&Untidy::from([(hq(), tasks(&[5]))]));
        assert_eq!(tidying.wait(now), None, "what is not owed any more is not waited for");
    }

    #[tokio::test]
    async fn while_the_source_is_held_up_nothing_is_begun_and_its_end_is_waited_for() {
        let (mut tidying, now) = (Tidying::default(), Instant::now());
        let wait = Duration::from_secs(10);
        assert_eq!(begun(&mut tidying, &[1], now).await, [1]);
        tidying.ended(&hq(), &left(&[(1, 300)]), now);
        tidying.held_up(&hq(), Some(now + wait));
        assert_eq!(begun(&mut tidying, &[2], now).await, NOTHING);
        assert_eq!(tidying.wait(now), Some(wait));
        assert_eq!(begun(&mut tidying, &[1], now + wait).await, NOTHING);
        assert_eq!(tidying.wait(now + wait), Some(Duration::from_secs(290)), "it is over");
    }

    #[tokio::test]
    async fn where_it_broke_off_it_can_begin_again() {
        let (mut tidying, now) = (Tidying::default(), Instant::now());
        let by = id().await;
        tidying.begun(hq(), BTreeSet::from([TaskNumber(1)]), by);
        tidying.broke_off(by);
        assert_eq!(begun(&mut tidying, &[1], now).await, [1]);
    }
}
