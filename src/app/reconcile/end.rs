//! How a run ends: whether one that ends by itself waits once more, and what becomes of what is in flight.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Run;
use crate::app::observer::Event;
use crate::ports::ledger::LedgerError;

/// How long windows in flight may go on after the word to stop, and how long abandoning them may take then.
const GRACE: Duration = Duration::from_secs(12);
const ABANDON: Duration = Duration::from_secs(4);
/// How long the ledger may take to note that the process is about to end, and the state directory after it.
const NOTICE: Duration = Duration::from_secs(2);
/// A run that is to end by itself waits for the end of a pause so often before it leaves the rest to the next run.
const PATIENCE: u32 = 4;
/// … and never for a longer one than this.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How long a run that is to end by itself goes on for nothing but upkeep.
pub(super) const LONGEST_UPKEEP: Duration = Duration::from_secs(5);

impl Run<'_> {
    /// Whether a run that is to end by itself waits once more, for work that is due but pauses.
    pub(super) fn worth_waiting(&mut self) -> bool {
        // A log that is still being read may show what is due.
        if self.waiting || self.reconciler.look.readings.any_goes_on() {
            return true;
        }
        let now = self.reconciler.look.services.clock.now();
        let left = |until: Timestamp| Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO);
        let held = self.not_before.is_some_and(|instant| instant > Instant::now());
        let pauses_until = self.reconciler.look.pauses_until();
        let pausing = held || pauses_until.is_some_and(|until| left(until) <= LONGEST_WAIT);
        self.waits += 1;
        self.waiting = pausing && self.waits <= PATIENCE;
        self.waiting
    }

    /// Whether nothing but upkeep has been in flight for a while.
    pub(super) fn has_kept_up_long_enough(&mut self) -> bool {
        let only_upkeep = !self.tasks.is_empty() && self.tasks.len() == self.upkeeps.running();
        if !only_upkeep {
            self.only_upkeep = None;
            return false;
        }
        self.only_upkeep.get_or_insert_with(Instant::now).elapsed() >= LONGEST_UPKEEP
    }

    /// Whether the ledger is damaged, where something has failed as if it were: then nothing can be done before the next start.
    pub(super) async fn has_damaged_ledger(&mut self) -> bool {
        if !std::mem::take(&mut self.doubts_ledger) {
            return false;
        }
        let checked = self.reconciler.look.services.ledger.check().await;
        self.tally.ledger_damaged = matches!(checked, Err(LedgerError::Damaged(_)));
        self.tally.ledger_damaged
    }

    /// However the process ends from here on, that is nothing against the windows that it holds: those in flight, and those that
    /// it could not give back.
    async fn announce(&self) {
        let services = &self.reconciler.look.services;
        let holds_none = self.working.is_empty() && services.owed.is_empty();
        // A damaged ledger is made anew at the next start, without leases.
        if holds_none || self.tally.ledger_damaged {
            return;
        }
        let noticed = tokio::time::timeout(NOTICE, services.ledger.give_notice()).await;
        if !matches!(noticed, Ok(Ok(()))) {
            let mark = services.end_mark.clone();
            let announced = tokio::task::spawn_blocking(move || mark.announce());
            let announced = tokio::time::timeout(NOTICE, announced).await;
            tracing::debug!(?noticed, ?announced, "the end was not announced in the ledger");
        }
    }

    /// Lets windows in flight finish, then abandons them.
    pub(super) async fn wind_up(&mut self) {
        self.queue.clear();
        self.announce().await;
        if !self.reconciler.stop.is_cancelled() {
            // It ended by itself. In flight is at most upkeep, which the next run goes on with, or work that no
            // ledger takes note of any more.
            return self.tasks.shutdown().await;
        }
        let services = Arc::clone(&self.reconciler.look.services);
        for (grace, last) in [(GRACE, false), (ABANDON, true)] {
            let deadline = Instant::now() + grace;
            while !self.tasks.is_empty() {
                tokio::select! {
                    Some(done) = self.tasks.join_next_with_id() => self.take(done),
                    () = tokio::time::sleep_until(deadline) => break,
                }
                self.reconciler.observer.on(&Event::Alive);
            }
            if !last && !self.tasks.is_empty() {
                services.abandon.cancel();
            }
        }
        self.tasks.shutdown().await;
    }
}
