//! At which sources export tasks are being cleared away, and when it is tried again where that failed or was too soon.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::Id;
use tokio::time::Instant;

use crate::domain::backoff::pause;
use crate::domain::failure::Failure;
use crate::domain::name::SourceName;

use super::export_tasks::Untidy;
use super::failure_policy::OPERATOR_PAUSE;

/// What a run remembers of it. What is to be cleared away stands in the ledger.
#[derive(Debug, Default)]
pub struct Tidying {
    going_on: BTreeMap<SourceName, Id>,
    /// More was found to do there while it was going on.
    more: BTreeSet<SourceName>,
    again: BTreeMap<SourceName, Again>,
}

#[derive(Debug)]
struct Again {
    /// Failures in a row.
    failures: u32,
    at: Instant,
}

impl Tidying {
    /// What is untidy now: where nothing is, nothing is tried again.
    pub fn found(&mut self, untidy: &Untidy) {
        self.again.retain(|source, _| untidy.contains_key(source));
    }

    /// Whether to begin at `source` now. Where it is going on, it is remembered that there is more.
    pub fn may_begin(&mut self, source: &SourceName, now: Instant) -> bool {
        if self.going_on.contains_key(source) {
            self.more.insert(source.clone());
            return false;
        }
        self.again.get(source).is_none_or(|again| again.at <= now)
    }

    /// It is done by the task with this id.
    pub fn begun(&mut self, source: SourceName, by: Id) {
        self.going_on.insert(source, by);
    }

    /// It is over; says whether there is more to do at once.
    pub fn ended(
        &mut self,
        source: &SourceName,
        outcome: &Result<Option<Duration>, Failure>,
        now: Instant,
    ) -> bool {
        self.going_on.remove(source);
        let more = self.more.remove(source);
        let before = self.again.remove(source);
        let (failures, wait) = match outcome {
            Ok(None) => return more,
            Ok(Some(wait)) => (0, *wait),
            Err(failure) => {
                let failures = before.map_or(1, |again| again.failures.saturating_add(1));
                let least = if failure.kind.needs_operator() { OPERATOR_PAUSE } else { Duration::ZERO };
                let asked_for = failure.retry_after.unwrap_or_default();
                (failures, pause(failures, source.as_str()).max(asked_for).max(least))
            }
        };
        self.again.insert(source.clone(), Again { failures, at: now + wait });
        false
    }

    /// The task with this id broke off.
    pub fn broke_off(&mut self, id: Id) {
        self.going_on.retain(|_, by| *by != id);
    }

    /// How long it is until it is tried again somewhere. Where it is being tried, its end tells more.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let pausing = self.again.iter().filter(|(source, _)| !self.going_on.contains_key(source));
        let next = pausing.map(|(_, again)| again.at).min()?;
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

    fn failed(kind: FailureKind) -> Result<Option<Duration>, Failure> {
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
        assert!(tidying.may_begin(&hq(), now));
        tidying.begun(hq(), id().await);
        assert!(!tidying.may_begin(&hq(), now));
        assert!(tidying.ended(&hq(), &Ok(None), now), "there is more");
        tidying.begun(hq(), id().await);
        assert!(!tidying.ended(&hq(), &Ok(None), now));
    }

    #[tokio::test]
    async fn where_it_failed_it_is_tried_again_after_a_growing_pause_and_not_before() {
        let (mut tidying, mut now) = (Tidying::default(), Instant::now());
        let mut before = Duration::ZERO;
        for _ in 0..3 {
            tidying.begun(hq(), id().await);
            assert!(!tidying.ended(&hq(), &failed(FailureKind::Transient), now));
            assert!(!tidying.may_begin(&hq(), now));
            let wait = tidying.wait(now).unwrap();
            assert!(wait > before);
            (before, now) = (wait, now + wait);
            assert!(tidying.may_begin(&hq(), now));
            tidying.begun(hq(), id().await);
            assert_eq!(tidying.wait(now), None, "it is being tried");
        }
        tidying.ended(&hq(), &failed(FailureKind::Auth), now);
        assert!(tidying.wait(now).unwrap() >= OPERATOR_PAUSE);
        tidying.found(&Untidy::new());
        assert_eq!(tidying.wait(now), None, "there is nothing left to be cleared away");
    }

    #[tokio::test]
    async fn where_it_was_too_soon_it_is_done_again_when_it_no_longer_is() {
        let (mut tidying, now) = (Tidying::default(), Instant::now());
        let wait = Duration::from_secs(35);
        tidying.begun(hq(), id().await);
        assert!(!tidying.ended(&hq(), &Ok(Some(wait)), now));
        assert!(!tidying.may_begin(&hq(), now));
        assert_eq!(tidying.wait(now), Some(wait));
        assert!(tidying.may_begin(&hq(), now + wait));
    }

    #[tokio::test]
    async fn where_it_broke_off_it_can_begin_again() {
        let mut tidying = Tidying::default();
        let by = id().await;
        tidying.begun(hq(), by);
        tidying.broke_off(by);
        assert!(tidying.may_begin(&hq(), Instant::now()));
    }
}
