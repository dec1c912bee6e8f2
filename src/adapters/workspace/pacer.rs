//! Keeps requests to one source apart, so that the provider's throttle is not reached, and away for as long as it asks.
//!
//! One for each source, shared by all of its streams. Whoever waits holds the (first come, first served) lock while it
//! sleeps. A turn is taken after the sleep, in one step without an await: a waiter that is cancelled gives its place up and
//! no turn is lost. After the sleep it is looked once more whether the source was closed meanwhile: nothing is sent inside
//! a pause, by whoever waited before it was asked for either. Pauses go by the clock on the wall, as the holds do that the
//! reconciler keeps for them.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex as Lock;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::ports::clock::Clock;

/// Where a throttled source does not say for how long: the vendor's advice is two to five seconds.
pub(super) const UNSAID: Duration = Duration::from_secs(3);
/// A source that throttles again and again is asked so many times more slowly, at the most ...
const SLOWEST: f64 = 64.0;
/// ... and its interval is not drawn out further than this.
const LONGEST: Duration = Duration::from_secs(30);
/// No pause is longer.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(1);
/// What each answer gives back of the pace: it is doubled by some fourteen of them.
const RECOVERY: f64 = 0.95;

/// Gives out turns that are at least an interval apart.
pub(super) struct Pacer {
    interval: Duration,
    next: Mutex<Option<Instant>>,
    pace: Lock<Pace>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Pace {
    /// How many times longer than configured the interval is.
    slowness: f64,
    gate: Gate,
}

/// Until when somebody has asked to be left alone, if at all.
#[derive(Debug, Default)]
pub(super) struct Gate(Option<Timestamp>);

/// A pause was asked for, and so much of it is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed(pub Duration);

impl Gate {
    /// Whether something may be sent at `now`.
    ///
    /// # Errors
    /// When a pause that was asked for is not over.
    pub(super) fn open(&self, now: Timestamp) -> Result<(), Closed> {
        let left = self.0.map(|until| until.duration_since(now));
        // More is left than can have been asked for only if the clock was set back.
        match left.filter(|left| left.is_positive() && *left <= LONGEST_PAUSE) {
            Some(left) => Err(Closed(left.unsigned_abs())),
            None => Ok(()),
        }
    }

    /// A pause is asked for at `now`. A shorter one ends no longer one.
    pub(super) fn close(&mut self, pause: Duration, now: Timestamp) {
        let pause = SignedDuration::try_from(pause).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
        let until = now.saturating_add(pause).unwrap_or(Timestamp::MAX);
        self.0 = Some(self.0.map_or(until, |known| known.max(until)));
    }
}

impl Pacer {
    /// Turns at `requests_per_second`; `None` unless that is a positive number of at least one a day.
    pub(super) fn new(requests_per_second: f64, clock: Arc<dyn Clock>) -> Option<Self> {
        let interval = Duration::try_from_secs_f64(1.0 / requests_per_second).ok()?;
        let sound = requests_per_second.is_finite() && interval <= Duration::from_secs(24 * 60 * 60);
        let pace = Lock::new(Pace { slowness: 1.0, gate: Gate::default() });
        sound.then(|| Self { interval, next: Mutex::new(None), pace, clock })
    }

    /// Waits for a turn and takes it.
    ///
    /// # Errors
    /// At once where the source is closed: the wait may be long, and is the reconciler's.
    pub(super) async fn turn(&self) -> Result<(), Closed> {
        self.open()?;
        let mut next = self.next.lock().await;
        self.open()?;
        if let Some(next) = *next {
            sleep_until(next).await;
        }
        self.open()?;
        *next = Some(Instant::now() + self.interval());
        Ok(())
    }

    /// The source was too much asked, or asks for a pause: nothing is sent during it, and less afterwards. Answers to requests
    /// that were under way together are one complaint.
    pub(super) fn slow_down(&self, pause: Option<Duration>) {
        let now = self.clock.now();
        let mut pace = self.pace.lock();
        if pace.gate.open(now).is_ok() {
            pace.slowness = (pace.slowness * 2.0).min(SLOWEST);
        }
        pace.gate.close(pause.unwrap_or(UNSAID), now);
    }

    /// The source answered as it should.
    pub(super) fn recover(&self) {
        let mut pace = self.pace.lock();
        pace.slowness = (pace.slowness * RECOVERY).max(1.0);
    }

    /// Whether the source may be asked now.
    ///
    /// # Errors
    /// When it is closed.
    pub(super) fn open(&self) -> Result<(), Closed> {
        self.pace.lock().gate.open(self.clock.now())
    }

    fn interval(&self) -> Duration {
        self.interval.mul_f64(self.pace.lock().slowness).min(LONGEST).max(self.interval)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::adapters::system_clock::SystemClock;

    fn paced(requests_per_second: f64) -> Option<Pacer> {
        Pacer::new(requests_per_second, Arc::new(SystemClock))
    }

    #[test]
    fn a_rate_that_is_no_rate_is_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e-9] {
            assert!(paced(bad).is_none(), "{bad}");
        }
        for good in [0.001, 5.0, 1000.0] {
            assert!(paced(good).is_some(), "{good}");
        }
    }

    #[tokio::test]
    async fn the_first_turn_comes_at_once_and_the_next_one_waits() {
        let pacer = paced(0.001).unwrap();
        assert!(pacer.turn().now_or_never().is_some());
        assert!(pacer.turn().now_or_never().is_none());
    }

    #[tokio::test]
    async fn turns_keep_their_distance() {
        let pacer = paced(50.0).unwrap();
        pacer.turn().await.unwrap();
        let booked = pacer.next.lock().await.unwrap();
        pacer.turn().await.unwrap();
        assert!(pacer.next.lock().await.unwrap() >= booked + pacer.interval);
    }

    #[tokio::test]
    async fn a_waiter_that_gives_up_costs_nobody_a_turn() {
        let pacer = paced(0.001).unwrap();
        pacer.turn().await.unwrap();
        let booked = *pacer.next.lock().await;
        for _ in 0..3 {
            assert!(pacer.turn().now_or_never().is_none());
        }
        assert_eq!(*pacer.next.lock().await, booked);
    }

    #[tokio::test]
    async fn a_pause_turns_away_whoever_comes_and_whoever_waited_already() {
        let pacer = paced(20.0).unwrap();
        pacer.turn().await.unwrap();
        let mut waiting = Box::pin(pacer.turn());
        assert!(waiting.as_mut().now_or_never().is_none());
        pacer.slow_down(Some(Duration::from_secs(600)));
        for Closed(left) in [waiting.await.unwrap_err(), pacer.turn().await.unwrap_err()] {
            assert!(left > Duration::from_secs(500) && left <= Duration::from_secs(600), "{left:?}");
        }
        pacer.slow_down(Some(Duration::from_secs(1)));
        assert!(
            pacer.turn().await.unwrap_err().0 > Duration::from_secs(500),
            "a shorter one ends no longer one"
        );
    }

    #[tokio::test]
    async fn a_pause_ends_by_itself() {
        let pacer = paced(1000.0).unwrap();
        pacer.slow_down(Some(Duration::from_millis(20)));
        let Closed(left) = pacer.turn().await.unwrap_err();
        tokio::time::sleep(left).await;
        pacer.turn().await.unwrap();
    }

    #[test]
    fn each_complaint_halves_the_pace_and_answers_give_it_back_little_by_little() {
        let pacer = paced(1000.0).unwrap();
        let base = Duration::from_millis(1);
        pacer.slow_down(Some(Duration::ZERO));
        assert_eq!(pacer.interval(), base * 2);
        pacer.slow_down(Some(Duration::from_secs(60)));
        assert_eq!(pacer.interval(), base * 4);
        pacer.slow_down(None);
        assert_eq!(pacer.interval(), base * 4, "answers that were under way together are one complaint");
        pacer.recover();
        assert!(pacer.interval() < base * 4 && pacer.interval() > base * 3);
        (0..200).for_each(|_| pacer.recover());
        assert_eq!(pacer.interval(), base);
        let slow = paced(0.01).unwrap();
        slow.slow_down(None);
        assert_eq!(slow.interval(), Duration::from_secs(100), "never faster than configured");
    }
}
