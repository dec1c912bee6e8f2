//! How long to wait after the n-th failure in a row: exponential, capped, jittered.
//!
//! The jitter comes from what failed and how often, not from a random source: the same ledger always gives the
//! same plan, and a hundred windows that failed in one second still spread out.

use std::time::Duration;

use sha2::{Digest, Sha256};

const FIRST: Duration = Duration::from_secs(5);
/// A wait in vain for at least so long has kept a place from others, and the pause after it is as long as the wait.
pub const LONG_WAIT: Duration = Duration::from_secs(10);
/// The longest pause.
pub const CAP: Duration = Duration::from_secs(15 * 60);

/// The pause after `failures` failures in a row (at least 1) of the thing called `what`, between half of the full
/// step and the full step: 5 s, 10 s, 20 s … up to 15 minutes.
pub fn pause(failures: u32, what: &str) -> Duration {
    pause_after(failures, what, Duration::ZERO)
}

/// As [`pause`], where the last failure came after the other side was `waited` for: a wait that was long is the first step, and
/// no pause is shorter, up to 15 minutes. So what wastes a place has it for half of the time at the most.
pub fn pause_after(failures: u32, what: &str, waited: Duration) -> Duration {
    let least = if waited < LONG_WAIT { Duration::ZERO } else { waited.min(CAP) };
    let step =
        FIRST.max(least).saturating_mul(2u32.saturating_pow(failures.saturating_sub(1).min(16))).min(CAP);
    let hash = Sha256::new().chain_update(what).chain_update(failures.to_be_bytes()).finalize();
    let fraction = f64::from(u16::from_be_bytes([hash[0], hash[1]])) / 65536.0;
    step.mul_f64(0.5 + fraction / 2.0).max(least)
}

/// No pause that the other side asks for (`Retry-After`) is obeyed for longer: a slip must not silence a source or a store until
/// records are gone.
pub const LONGEST_ASKED_FOR: Duration = Duration::from_secs(60 * 60);

/// When a thing that needs an operator is looked at again all the same.
pub const PARKED_RETRY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_is_capped_and_never_falls_below_half_a_step() {
        for failures in 1..100 {
            let step = (5.0 * 2f64.powi(failures - 1)).min(900.0);
            let pause = pause(failures as u32, "w").as_secs_f64();
            assert!(pause >= step / 2.0 && pause <= step, "{failures}: {pause}");
        }
    }

    #[test]
    fn no_pause_is_shorter_than_a_long_wait_in_vain_and_it_grows_from_there() {
        let minutes = |number: u64| Duration::from_secs(60 * number);
        for failures in 1..20 {
            for wait in [minutes(1), minutes(5), minutes(30)] {
                let pause = pause_after(failures, "w", wait);
                assert!(pause >= wait.min(CAP) && pause <= CAP, "{failures} {wait:?}: {pause:?}");
            }
            let short = Duration::from_secs(9);
            assert_eq!(pause_after(failures, "w", short), pause(failures, "w"));
        }
        assert!(pause_after(4, "w", minutes(1)) >= minutes(4));
    }

    #[test]
    fn windows_that_fail_together_come_back_apart() {
        let pauses: std::collections::BTreeSet<_> =
            (0..100).map(|i| pause(3, &format!("w{i}")).as_millis()).collect();
        assert!(pauses.len() > 90, "{pauses:?}");
    }
}
