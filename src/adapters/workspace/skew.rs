//! How far this machine's clock is from the source's, measured on every answer by its `Date`.
//!
//! The gateway refuses requests that are dated 15 minutes off, and windows are cut by the clock: one that is wrong pulls them
//! too early. So past [`INTOLERABLE`] nothing is signed: an answer counts no more, and the next request is sent only after
//! [`SILENCE`], to see whether the clock was set right. Whether the clock is believed is decided elsewhere, by the answers of
//! all sources and stores (`app/clock_watch.rs`).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Worth a warning: networks and servers are never this slow.
pub const NOTABLE: SignedDuration = SignedDuration::from_mins(5);
/// Nothing is signed any more.
pub const INTOLERABLE: SignedDuration = SignedDuration::from_mins(14);
/// How long it is not even asked.
const SILENCE: Duration = Duration::from_secs(60);

/// By how much the clocks differ, where that is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Skewed(pub SignedDuration);

/// What was measured last of one source.
#[derive(Debug, Default)]
pub(super) struct Skew(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By how much their clock was ahead of ours.
    ahead: Option<SignedDuration>,
    /// By how much, and until when nothing is sent.
    stopped: Option<(SignedDuration, Instant)>,
}

impl Skew {
    /// Whether a request may be signed.
    ///
    /// # Errors
    /// When the last answer showed a clock that is too far off, and that is not long ago.
    pub(super) fn may_sign(&self) -> Result<(), Skewed> {
        match self.0.lock().stopped {
            Some((by, until)) if until > Instant::now() => Err(Skewed(by)),
            _ => Ok(()),
        }
    }

    /// An answer was dated `theirs`, between `sent` and `received` by this clock.
    ///
    /// # Errors
    /// When the clocks are too far apart for anything to be signed.
    pub(super) fn measure(
        &self,
        theirs: Timestamp,
        (sent, received): (Timestamp, Timestamp),
    ) -> Result<(), Skewed> {
        let by = outside(theirs, sent, received);
        let mut state = self.0.lock();
        state.ahead = Some(if theirs < sent { -by } else { by });
        if by > INTOLERABLE {
            state.stopped = Some((by, Instant::now() + SILENCE));
            return Err(Skewed(by));
        }
        state.stopped = None;
        Ok(())
    }

    /// By how much the source's clock was ahead of this machine's at its last answer; `None` before the first.
    pub(super) fn ahead(&self) -> Option<SignedDuration> {
        self.0.lock().ahead
    }
}

/// How far `theirs`, in whole seconds, lies outside the time that the request took: no more is known of when it was written.
fn outside(theirs: Timestamp, sent: Timestamp, received: Timestamp) -> SignedDuration {
    let second = SignedDuration::from_secs(1);
    let before = sent.duration_since(theirs) - second;
    let after = theirs.duration_since(received);
    before.max(after).max(SignedDuration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(skew: &Skew, minutes: i64) -> Result<(), Skewed> {
        let now: Timestamp = "2026-11-23T02:00:00Z".parse().unwrap();
        skew.measure(now + SignedDuration::from_mins(minutes), (now, now))
    }

    #[test]
    fn past_fourteen_minutes_nothing_is_signed_until_an_answer_shows_a_clock_that_is_right() {
        let skew = Skew::default();
        for minutes in [0, 4, -4, 6, -6, 14, -14] {
            assert_eq!(measured(&skew, minutes), Ok(()), "{minutes}");
            assert_eq!(skew.may_sign(), Ok(()));
        }
        assert_eq!(measured(&skew, 15), Err(Skewed(SignedDuration::from_mins(15))));
        assert_eq!(skew.may_sign(), Err(Skewed(SignedDuration::from_mins(15))));
        assert!(measured(&skew, -15).is_err());
        assert_eq!(measured(&skew, 1), Ok(()));
        assert_eq!(skew.may_sign(), Ok(()));
    }

    #[test]
    fn what_a_slow_answer_took_is_no_difference_of_clocks() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (sent, received) = (at("2026-11-23T02:00:00.9Z"), at("2026-11-23T02:20:00Z"));
        for theirs in ["2026-11-23T02:00:00Z", "2026-11-23T02:10:00Z", "2026-11-23T02:20:00Z"] {
            assert_eq!(outside(at(theirs), sent, received), SignedDuration::ZERO);
        }
        assert_eq!(outside(at("2026-11-23T02:21:00Z"), sent, received), SignedDuration::from_mins(1));
    }
}
