//! The machine's own clock.

use jiff::Timestamp;

use crate::ports::clock::Clock;

/// What the machine says.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the machine is asked what time it is"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
