//! Whether an instant that something waits for is still to come.
//!
//! The ledger keeps such instants by the wall clock, and a clock that was ahead when one was written puts it out of reach:
//! with the clock right again it would be waited for until then. So an instant that no pause can have set counts as over.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::backoff::{CAP, LONGEST_ASKED_FOR, PARKED_RETRY};
use super::confirmed_time::AGREEMENT;

/// The longest pause that this program sets, of any kind: a parked window is tried again after a day.
pub const LONGEST_PAUSE: Duration = PARKED_RETRY;

const _: () = assert!(CAP.as_secs() <= LONGEST_PAUSE.as_secs());
const _: () = assert!(LONGEST_ASKED_FOR.as_secs() <= LONGEST_PAUSE.as_secs());

/// Whether at `now` a pause goes on that ends at `until`. One that ends later than any pause can is over.
pub fn goes_on(until: Timestamp, now: Timestamp) -> bool {
    until > now && !is_out_of_reach(until, now)
}

/// Whether an instant is further ahead of `now` than any that the program sets.
pub fn is_out_of_reach(instant: Timestamp, now: Timestamp) -> bool {
    let longest = SignedDuration::try_from(LONGEST_PAUSE).unwrap_or(SignedDuration::MAX);
    instant.duration_since(now) > longest
}

/// Whether something can have happened at `at`, as seen at `now`: what is dated later was dated by a clock that was ahead.
pub fn has_been(at: Timestamp, now: Timestamp) -> bool {
    at.duration_since(now) <= AGREEMENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_that_ends_later_than_any_can_is_over() {
        let now: Timestamp = "2026-11-23T02:00:00Z".parse().unwrap();
        let hours = SignedDuration::from_hours;
        for (ahead, goes) in [(-1, false), (0, false), (1, true), (24, true), (25, false), (400 * 24, false)]
        {
            assert_eq!(goes_on(now + hours(ahead), now), goes, "{ahead}");
        }
    }
}
