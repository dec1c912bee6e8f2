//! The machine's own clock.

use jiff::Timestamp;

use crate::ports::clock::Clock;

/// What the machine says.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the machine is asked what time it is")]
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        // Milliseconds are what the ledger keeps; more would only make entries harder to read.
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }
}
