//! What the log says of windows that it cannot name an object for: lost ones, and parked ones once for each reason in a row.
//!
//! That a window is lost is its last word, so it is said under a lease, like an object. That it is parked is not: its entry
//! takes nothing from a window that somebody archives meanwhile, so it needs none.

use std::time::Duration;

use jiff::SignedDuration;

use crate::adapters::spool::SpooledExport;
use crate::domain::crashes::Treatment;
use crate::domain::duration::spelled;
use crate::domain::export::PastHorizon;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::log_entry::{EntryBody, LastAttempt, Lost, Parked};
use crate::domain::message::Message;
use crate::domain::snapshot::{Resource, WindowState};
use crate::domain::verdict::is_for_a_day;
use crate::ports::ledger::{Attempt as PastAttempt, AttemptOutcome};

use super::counting::Terms;
use super::{Attempt, Job};
use crate::app::failure_policy::{hold_on, shared};
use crate::app::observer::Ending;
use crate::app::stream_log::Appended;

/// What came of asking for a window that the provider need not have any more.
enum Tried {
    /// It had records.
    Had(Box<SpooledExport>),
    /// It had none, or did not say, in words.
    InVain(String),
    /// Nobody asked.
    Not,
}

/// No answer to the one question for a window past the horizon counts as one after so many tries …
const LAST_TRIES: usize = 3;
/// … and so long after the first of them: what was only away for a while has answered by then.
const LAST_CHANCE: SignedDuration = SignedDuration::from_hours(1);

/// Whether it says nothing of the window's records, and may be over soon.
fn may_pass(kind: FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::Transient | FailureKind::Throttled | FailureKind::Corrupt | FailureKind::Unread
    )
}

/// What the log says of an attempt. What failed on this machine, or at the log itself, is told by its kind alone: such a message
/// is for whoever mends it, and names keys and commands of today.
fn told(attempt: &PastAttempt) -> &str {
    match attempt.failure {
        Some(kind @ (FailureKind::Local | FailureKind::Clock | FailureKind::Damaged)) => kind.as_str(),
        _ => attempt.message.as_ref().map(|message| message.cause().as_str()).unwrap_or_default(),
    }
}

impl Attempt<'_> {
    /// Says in the log that an expired window is lost, unless its export was pulled in time and lies in the spool.
    pub(super) async fn attest_lost(&self) -> Result<Ending, Failure> {
        let Job { services, stream, window } = self.job;
        let found = services.spool.find(stream.name(), window, stream.definition_digest).await?;
        if let Some(export) = found {
            return self.commit(&export, None).await;
        }
        self.job.is_expired().await?;
        let tried = match self.job.past_horizon().await? {
            Tried::Had(export) => return self.commit(&export, None).await,
            Tried::InVain(why) => format!("; asked once more, {why}"),
            Tried::Not => String::new(),
        };
        let snapshot = services.ledger.snapshot().await?;
        if !stream.rules.accepts_loss(window, &snapshot) {
            return Err(self.job.unaccepted(&tried));
        }
        let attempts = services.ledger.attempts(stream.name(), window).await?;
        let last_attempt = attempts.iter().rev().find_map(|attempt| {
            let at = attempt.ended_at?;
            let outcome = attempt.outcome?.as_str();
            Some(LastAttempt { at, outcome: format!("{outcome}: {}", told(attempt)).into() })
        });
        let kept = spelled(stream.rules.horizon);
        let since = stream.rules.expires_at(window);
        let reason = format!(
            "the provider keeps records for {kept}, and the window was not archived before {since}{tried}"
        );
        let body = EntryBody::Lost(Lost { window, reason: reason.into(), last_attempt });
        match stream.log.append(body, Some((&self.lease, AttemptOutcome::Lost))).await? {
            Appended::Committed(head) => Ok(Ending::Lost { head }),
            // What the others wrote may have been this window: the next plan knows.
            Appended::Overtaken => {
                self.release(AttemptOutcome::Interrupted).await?;
                Ok(Ending::HeldElsewhere)
            }
        }
    }
}

impl Job<'_> {
    /// A loss in the log is for good. One that was there before the stream was opened is mostly a mistake in `start`, and is
    /// recorded once the configuration says that it is none. The window is parked until then.
    fn unaccepted(self, tried: &str) -> Failure {
        let cause = format!(
            "{self} expired at {:.0}, before the stream was opened{tried}",
            self.stream.rules.expires_at(self.window)
        );
        let advice =
            format!("the loss is recorded once accept_lost_before in [streams.{}] covers it", self.name());
        let message = Message::new(cause).advise(advice);
        Failure::new(FailureKind::Rejected, Scope::Window, message)
    }

    /// The clock alone proves no loss: by every host that can be asked for the time, the window must have expired.
    async fn is_expired(self) -> Result<(), Failure> {
        let Self { services, stream, window } = self;
        let confirmed = services.watch.confirm_for_loss(stream.name()).await?;
        let expires_at = stream.rules.expires_at(window).max(window.end());
        let left = expires_at.duration_since(confirmed.at());
        if !left.is_positive() {
            return Ok(());
        }
        let message = format!(
            "{self} expires at {expires_at:.0}, and by the Date of a source or a store it is {:.0}: it is not recorded as lost yet",
            confirmed.at()
        );
        let failure = Failure::new(FailureKind::Transient, Scope::Window, message);
        Err(Failure { retry_after: Duration::try_from(left).ok(), ..failure })
    }

    /// Asks once for a window past the horizon, where that is wanted and the source may answer, or was asked in time already: then
    /// whatever came of that is all that can be had. What fails for others as well is no answer, nor is what may pass: it is tried
    /// again when that is over. But a source that never comes back must not keep the log from saying what is lost: not for more
    /// than a day (of a daemon, or of runs that come each day), nor with one window for more than an hour or so.
    async fn past_horizon(self) -> Result<Tried, Failure> {
        let Self { services, stream, window } = self;
        let (rules, now, request) = (&stream.rules, services.clock.now(), self.request());
        let remains = stream.source.remains(&request).await?;
        let in_time = remains.is_in_time(&request);
        let may_answer = remains.may_answer && rules.past_horizon == PastHorizon::Try;
        if !in_time && !may_answer {
            return Ok(Tried::Not);
        }
        let snapshot = services.ledger.snapshot().await?;
        let crashes = snapshot.crashes_of(stream.name(), window);
        if Treatment::after(crashes) == Treatment::Parked {
            return Ok(Tried::InVain(format!("{crashes} attempts in a row ended with the process")));
        }
        if let Some(hold) = rules.source_held_by(&snapshot, now).filter(|hold| is_for_a_day(hold, now)) {
            return Ok(Tried::InVain(hold.failure.message.cause().to_string()));
        }
        match self.export(&request, Terms::of_pull(stream, &request, in_time, now)).await {
            Ok(export) => Ok(Tried::Had(Box::new(export))),
            Err(failure) if shared(rules, &failure).is_some() => Err(failure),
            // Nobody is waited for, however it failed: it is not parked.
            Err(failure) if may_pass(failure.kind) && self.is_worth_another_try().await? => {
                Err(Failure { kind: FailureKind::Transient, ..failure })
            }
            Err(failure) => Ok(Tried::InVain(failure.message.cause().to_string())),
        }
    }

    /// Whether the window, which expired and was asked for in vain once more just now, is asked for again. A try counts that was
    /// answered by nothing but what may pass, and was the window's own affair.
    async fn is_worth_another_try(self) -> Result<bool, Failure> {
        let Self { services, stream, window } = self;
        let expired_at = stream.rules.expires_at(window);
        let attempts = services.ledger.attempts(stream.name(), window).await?;
        let now = services.clock.now();
        // What is dated later than now was tried by a clock that was ahead, and before the window had expired.
        let in_vain = |attempt: &&PastAttempt| {
            (expired_at..=now).contains(&attempt.started_at)
                && attempt.charged
                && attempt.failure.is_some_and(may_pass)
        };
        let in_vain: Vec<_> = attempts.iter().filter(in_vain).collect();
        let first = in_vain.iter().map(|attempt| attempt.started_at).min();
        let since = first.map(|first| now.duration_since(first)).unwrap_or_default();
        Ok(in_vain.len() + 1 < LAST_TRIES || since < LAST_CHANCE)
    }

    /// Says in the log that a window is parked, if it still is and no entry says so for this reason.
    pub(super) async fn attest_parked(self) -> Ending {
        self.without_lease(self.say_parked()).await
    }

    /// Runs `saying`, which appends to the log without a lease on the window. A stop ends it at any point, since it may be
    /// repeated. A failure holds the resource that it concerns.
    pub(super) async fn without_lease(self, saying: impl Future<Output = Result<Ending, Failure>>) -> Ending {
        let said = tokio::select! {
            said = saying => said,
            () = self.services.abandon.cancelled() => return Ending::Interrupted,
        };
        match said {
            Ok(ending) => ending,
            Err(failure) => Ending::Failed(match self.hold(&failure).await {
                Ok(()) => failure,
                Err(worse) => worse,
            }),
        }
    }

    async fn say_parked(self) -> Result<Ending, Failure> {
        let Self { services, stream, window } = self;
        let state = services.ledger.window(stream.name(), window).await?;
        let Some(WindowState::Parked { since, failure, seq: None, .. }) = state else {
            return Ok(Ending::HeldElsewhere);
        };
        let (kind, reason) = (failure.kind, failure.message.cause().clone());
        let body = EntryBody::Parked(Parked { window, failure: kind, reason, since });
        Ok(match stream.log.append(body, None).await? {
            Appended::Committed(head) => Ending::Parked { head },
            Appended::Overtaken => Ending::HeldElsewhere,
        })
    }

    /// Nothing can be charged to a window that only waits for its entry: whatever failed, the stream waits at least.
    async fn hold(self, failure: &Failure) -> Result<(), Failure> {
        let Self { services, stream, .. } = self;
        if failure.scope == Scope::Daemon {
            return Ok(());
        }
        let resource =
            shared(&stream.rules, failure).unwrap_or_else(|| Resource::Stream(stream.name().clone()));
        let snapshot = services.ledger.snapshot().await?;
        let hold = hold_on(&stream.rules, &resource, failure, &snapshot, services.clock.now());
        services.ledger.hold(&resource, &hold).await.map_err(Failure::from)
    }
}
