//! Keeps requests to one source apart, so that the provider's throttle is not reached.
//!
//! Whoever waits holds the (first come, first served) lock while it sleeps. A turn is taken after the sleep, in one
//! step without an await: a waiter that is cancelled gives its place up and no turn is lost.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// Gives out turns that are at least a fixed interval apart.
#[derive(Debug)]
pub(super) struct Pacer {
    interval: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pacer {
    /// Turns at `requests_per_second`; `None` unless that is a positive number of at least one a day.
    pub(super) fn new(requests_per_second: f64) -> Option<Self> {
        let interval = Duration::try_from_secs_f64(1.0 / requests_per_second).ok()?;
        let sound = requests_per_second.is_finite() && interval <= Duration::from_secs(24 * 60 * 60);
        sound.then(|| Self { interval, next: Mutex::new(None) })
    }

    /// Waits for a turn and takes it.
    pub(super) async fn turn(&self) {
        let mut next = self.next.lock().await;
        if let Some(next) = *next {
            sleep_until(next).await;
        }
        *next = Some(Instant::now() + self.interval);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_rate_that_is_no_rate_is_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e-9] {
            assert!(Pacer::new(bad).is_none(), "{bad}");
        }
        for good in [0.001, 5.0, 1000.0] {
            assert!(Pacer::new(good).is_some(), "{good}");
        }
    }

    #[tokio::test]
    async fn the_first_turn_comes_at_once_and_the_next_one_waits() {
        let pacer = Pacer::new(0.001).unwrap();
        assert!(pacer.turn().now_or_never().is_some());
        assert!(pacer.turn().now_or_never().is_none());
    }

    #[tokio::test]
    async fn turns_keep_their_distance() {
        let pacer = Pacer::new(50.0).unwrap();
        pacer.turn().await;
        let booked = pacer.next.lock().await.unwrap();
        pacer.turn().await;
        assert!(pacer.next.lock().await.unwrap() >= booked + pacer.interval);
    }

    #[tokio::test]
    async fn a_waiter_that_gives_up_costs_nobody_a_turn() {
        let pacer = Pacer::new(0.001).unwrap();
        pacer.turn().await;
        let booked = *pacer.next.lock().await;
        for _ in 0..3 {
            assert!(pacer.turn().now_or_never().is_none());
        }
        assert_eq!(*pacer.next.lock().await, booked);
    }
}
