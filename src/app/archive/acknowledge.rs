//! Acknowledgements: a person has taken note of a window that stays a gap for good, and the log says so.
//!
//! The person's command leaves a request in the ledger; whoever holds the state directory, a running daemon or the command
//! itself, finds it in the plan and appends the entry like any other. A request ends with the entry, so a crash in between
//! repeats nothing: the entry is either in the log, and following the log ends the request, or it is still to be written.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::domain::failure::Failure;
use crate::domain::log_entry::{Acknowledged, EntryBody};
use crate::domain::verdict::judge;
use crate::ports::ledger::Ledger;

use super::Job;
use crate::app::observer::Ending;
use crate::app::stream_log::Appended;

impl Job<'_> {
    /// Says in the log that a person has taken note of a window, if that is still asked for and to be said.
    pub(super) async fn acknowledge(self) -> Ending {
        self.without_lease(self.say_acknowledged()).await
    }

    async fn say_acknowledged(self) -> Result<Ending, Failure> {
        let Self { services, stream, window } = self;
        // The log was followed by the look that planned this. What the ledger knows by now decides.
        let snapshot = services.ledger.snapshot().await?;
        let asked = snapshot.to_acknowledge.get(stream.name()).and_then(|windows| windows.get(&window));
        let verdict = judge(&stream.rules, window, &snapshot, services.clock.now());
        let Some(asked) = asked.filter(|asked| verdict.acknowledgeable() == Some(asked.entry)) else {
            return Ok(Ending::HeldElsewhere);
        };
        let (entry, by, reason) = (asked.entry, asked.by.clone(), asked.reason.clone());
        let body = EntryBody::Acknowledged(Acknowledged { window, entry, by, reason });
        Ok(match stream.log.append(body, None).await? {
            Appended::Committed(head) => Ending::Acknowledged { head },
            // Another entry came first. The next look decides with what it says.
            Appended::Overtaken => Ending::HeldElsewhere,
        })
    }
}

/// How long a person waits at most before a running daemon notices a request.
const NOTICED_AFTER: Duration = Duration::from_secs(2);

/// Wakes the daemon when acknowledgements were asked for since the last time, until it is dropped. The plan is made without
/// this, too: at the next look.
pub async fn wake_when_asked(ledger: Arc<dyn Ledger>, wake: Arc<Notify>) {
    let mut seen = 0;
    loop {
        // A ledger that fails is the reconciler's affair.
        if let Ok(asked_for) = ledger.acknowledgements_asked_for().await
            && asked_for > seen
        {
            seen = asked_for;
            wake.notify_one();
        }
        tokio::time::sleep(NOTICED_AFTER).await;
    }
}
