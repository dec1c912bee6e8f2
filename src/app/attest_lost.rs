//! The end of a window that the provider no longer has: the log says so, once.

use crate::domain::failure::Failure;
use crate::domain::log_entry::{EntryBody, LastAttempt, Lost};
use crate::ports::ledger::{AttemptOutcome, Lease};

use super::archive_window::{commit, of_spool};
use super::failure_policy::of_ledger;
use super::observer::Ending;
use super::services::Services;
use super::stream::Stream;
use super::stream_log::Appended;

/// Says in the log that an expired window is lost, unless its export was pulled in time and lies in the spool.
pub(super) async fn attest_lost(
    services: &Services,
    stream: &Stream,
    lease: &Lease,
) -> Result<Ending, Failure> {
    let window = lease.window;
    let found =
        services.spool.find(stream.name(), window, stream.definition_digest).await.map_err(of_spool)?;
    if let Some(export) = found {
        return commit(services, stream, lease, &export, None).await;
    }
    let attempts = services.ledger.attempts(stream.name(), window).await.map_err(of_ledger)?;
    let last_attempt = attempts.iter().rev().find_map(|attempt| {
        let at = attempt.ended_at?;
        let outcome = attempt.outcome?.as_str();
        let message = attempt.message.as_deref().unwrap_or_default();
        Some(LastAttempt { at, outcome: format!("{outcome}: {message}") })
    });
    let days = stream.rules.horizon.as_hours() / 24;
    let since = stream.rules.expires_at(window);
    let reason =
        format!("the provider keeps records for {days} days, and the window was not pulled before {since}");
    let body = EntryBody::Lost(Lost { window, reason, last_attempt });
    match stream.log.append(body, Some((lease, AttemptOutcome::Lost))).await? {
        Appended::Committed(head) => Ok(Ending::Lost { head }),
        // What the others wrote may have been this window: the next plan knows.
        Appended::Overtaken => {
            let now = services.clock.now();
            services.ledger.release(lease, AttemptOutcome::Interrupted, now).await.map_err(of_ledger)?;
            Ok(Ending::HeldElsewhere)
        }
    }
}
