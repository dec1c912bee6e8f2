//! A clock that a test moves.

use std::sync::{Arc, Mutex};

use connvault::app::clock_watch::ClockWatch;
use connvault::ports::clock::Clock;
use jiff::Timestamp;

/// Stands still until it is moved; clones are one clock.
#[derive(Debug, Clone)]
pub struct TestClock(Arc<Mutex<Timestamp>>);

impl TestClock {
    pub fn at(instant: &str) -> Self {
        Self(Arc::new(Mutex::new(instant.parse().unwrap())))
    }

    /// Moves it to `instant`, never back.
    pub fn reach(&self, instant: Timestamp) {
        let mut now = self.0.lock().unwrap();
        *now = instant.max(*now);
    }

    /// A watch over it that somebody else has confirmed.
    pub fn confirmed(&self) -> Arc<ClockWatch> {
        let watch = ClockWatch::new(Arc::new(self.clone()));
        let answers = watch.answers();
        answers.answered("a host of the test", Some(self.now()), answers.reading());
        Arc::new(watch)
    }

    /// Sets it to `instant`, back too.
    pub fn set(&self, instant: Timestamp) {
        *self.0.lock().unwrap() = instant;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}
