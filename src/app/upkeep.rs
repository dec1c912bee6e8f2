//! When each source's upkeep runs: at every look, unless it is running, the source is on hold, or the last run has failed a moment
//! ago.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::Id;
use tokio::time::Instant;

use crate::domain::backoff::pause;
use crate::domain::failure::Failure;
use crate::domain::name::SourceName;
use crate::ports::record_source::Upkeep;

use super::failure_policy::OPERATOR_PAUSE;

/// The upkeep of every source, as one run of the reconciler knows it.
#[derive(Debug, Default)]
pub struct Upkeeps {
    sources: BTreeMap<SourceName, OfSource>,
    /// Whether the last look let no upkeep begin, so that none is waited for.
    suspended: bool,
}

#[derive(Debug, Default)]
struct OfSource {
    running: Option<Running>,
    /// When more can be done than the last run could do.
    next: Option<Instant>,
    /// Failures in a row.
    failures: u32,
    /// The upkeep does not run before, for its last failure.
    not_before: Option<Instant>,
    /// Until when the source is on hold, as of the last look.
    held_until: Option<Instant>,
}

#[derive(Debug)]
struct Running {
    by: Id,
    /// Whether there was a look meanwhile.
    again: bool,
}

impl OfSource {
    fn waits_until(&self) -> Option<Instant> {
        self.not_before.max(self.held_until)
    }
}

impl Upkeeps {
    /// A look lets upkeeps begin, or (while nothing may be done at all) does not.
    pub fn suspend(&mut self, suspended: bool) {
        self.suspended = suspended;
    }

    /// Whether the upkeep of `source` is to begin now, at a look that finds the source on hold until `held_until`. An upkeep that is
    /// running is run again after its end.
    pub fn is_due(&mut self, source: &SourceName, held_until: Option<Instant>, now: Instant) -> bool {
        let of_source = self.sources.entry(source.clone()).or_default();
        of_source.held_until = held_until.filter(|then| *then > now);
        of_source.not_before = of_source.not_before.filter(|then| *then > now);
        match &mut of_source.running {
            Some(running) => {
                running.again = true;
                false
            }
            None => of_source.waits_until().is_none(),
        }
    }

    /// The upkeep of `source` has begun, as the task with this id.
    pub fn begun(&mut self, source: SourceName, by: Id) {
        self.sources.entry(source).or_default().running = Some(Running { by, again: false });
    }

    /// The upkeep of `source` is over. Returns whether there is to be a look at once.
    pub fn ended(&mut self, source: &SourceName, outcome: &Result<Upkeep, Failure>, now: Instant) -> bool {
        let Some(of_source) = self.sources.get_mut(source) else { return false };
        let Some(Running { again, .. }) = of_source.running.take() else { return false };
        match outcome {
            Ok(upkeep) => {
                of_source.failures = 0;
                of_source.next = upkeep.next.map(|wait| now + wait);
                again
            }
            Err(failure) => {
                of_source.failures = of_source.failures.saturating_add(1);
                let least = if failure.kind.needs_operator() { OPERATOR_PAUSE } else { Duration::ZERO };
                let asked_for = failure.retry_after.unwrap_or_default();
                let wait = pause(of_source.failures, source.as_str()).max(asked_for).max(least);
                of_source.not_before = Some(now + wait);
                false
            }
        }
    }

    /// The task with this id broke off.
    pub fn broke_off(&mut self, id: Id) {
        for of_source in self.sources.values_mut() {
            of_source.running.take_if(|running| running.by == id);
        }
    }

    /// The number of sources whose upkeep is running.
    pub fn running(&self) -> usize {
        self.sources.values().filter(|of_source| of_source.running.is_some()).count()
    }

    /// How long it is until an upkeep is due by itself. The end of a running one tells more.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let idle = self.sources.values().filter(|of_source| !self.suspended && of_source.running.is_none());
        let next = idle.filter_map(|of_source| of_source.waits_until().or(of_source.next)).min()?;
        Some(next.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::failure::{FailureKind, Scope};

    fn hq() -> SourceName {
        "hq".parse().unwrap()
    }

    /// Begins the upkeep, if it is due.
    async fn begins(upkeeps: &mut Upkeeps, held_until: Option<Instant>, now: Instant) -> bool {
        let due = upkeeps.is_due(&hq(), held_until, now);
        if due {
            upkeeps.begun(hq(), id().await);
        }
        due
    }

    fn done(next: Option<u64>) -> Result<Upkeep, Failure> {
        Ok(Upkeep { answered: true, next: next.map(Duration::from_secs), refused: None })
    }

    fn failed(kind: FailureKind) -> Result<Upkeep, Failure> {
        Err(Failure::new(kind, Scope::Source, "no"))
    }

    async fn id() -> Id {
        let task = tokio::spawn(async {});
        let id = task.id();
        task.await.unwrap();
        id
    }

    #[tokio::test]
    async fn a_look_while_the_upkeep_runs_has_another_look_follow_its_end() {
        let (mut upkeeps, now) = (Upkeeps::default(), Instant::now());
        assert!(begins(&mut upkeeps, None, now).await);
        assert!(!begins(&mut upkeeps, None, now).await);
        assert!(upkeeps.ended(&hq(), &done(None), now), "there was a look");
        assert!(begins(&mut upkeeps, None, now).await);
        assert!(!upkeeps.ended(&hq(), &done(None), now), "there was none");
        assert_eq!(upkeeps.wait(now), None);
    }

    #[tokio::test]
    async fn an_upkeep_that_failed_runs_again_after_a_growing_pause_and_not_before() {
        let (mut upkeeps, mut now) = (Upkeeps::default(), Instant::now());
        let mut before = Duration::ZERO;
        assert!(begins(&mut upkeeps, None, now).await);
        for _ in 0..3 {
            assert!(!upkeeps.ended(&hq(), &failed(FailureKind::Transient), now));
            assert!(!begins(&mut upkeeps, None, now).await);
            let wait = upkeeps.wait(now).unwrap();
            assert!(wait > before);
            (before, now) = (wait, now + wait);
            assert!(begins(&mut upkeeps, None, now).await);
            assert_eq!(upkeeps.wait(now), None, "it is running");
        }
        upkeeps.ended(&hq(), &failed(FailureKind::Auth), now);
        assert!(upkeeps.wait(now).unwrap() >= OPERATOR_PAUSE);
    }

    #[tokio::test]
    async fn what_is_left_for_later_is_waited_for_and_delays_no_look() {
        let (mut upkeeps, now) = (Upkeeps::default(), Instant::now());
        assert!(begins(&mut upkeeps, None, now).await);
        upkeeps.ended(&hq(), &done(Some(35)), now);
        assert_eq!(upkeeps.wait(now), Some(Duration::from_secs(35)));
        assert!(begins(&mut upkeeps, None, now).await, "a look may find more to do");
        upkeeps.ended(&hq(), &done(None), now);
        assert_eq!(upkeeps.wait(now), None);
    }

    #[tokio::test]
    async fn while_the_source_is_on_hold_no_upkeep_begins_and_the_end_of_the_hold_is_waited_for() {
        let (mut upkeeps, now) = (Upkeeps::default(), Instant::now());
        let wait = Duration::from_secs(10);
        assert!(!begins(&mut upkeeps, Some(now + wait), now).await);
        assert_eq!(upkeeps.wait(now), Some(wait));
        assert!(begins(&mut upkeeps, Some(now + wait), now + wait).await, "it is over");
    }

    #[tokio::test]
    async fn an_upkeep_that_no_look_lets_begin_is_not_waited_for() {
        let (mut upkeeps, now) = (Upkeeps::default(), Instant::now());
        assert!(begins(&mut upkeeps, None, now).await);
        upkeeps.ended(&hq(), &failed(FailureKind::Transient), now);
        let later = now + Duration::from_secs(3600);
        assert_eq!(upkeeps.wait(later), Some(Duration::ZERO));
        upkeeps.suspend(true);
        assert_eq!(upkeeps.wait(later), None);
        upkeeps.suspend(false);
        assert!(begins(&mut upkeeps, None, later).await);
    }

    #[tokio::test]
    async fn an_upkeep_that_broke_off_can_begin_again() {
        let (mut upkeeps, now) = (Upkeeps::default(), Instant::now());
        let by = id().await;
        upkeeps.begun(hq(), by);
        upkeeps.broke_off(by);
        assert!(begins(&mut upkeeps, None, now).await);
    }
}
