//! Signs of life of the reconciler, for whoever asks (the status page) or waits for them (the heartbeat).

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

/// The reconciler goes round every ten seconds at the latest, whatever it waits for.
const LONGEST_ROUND: Duration = Duration::from_secs(60);

/// When the reconciler last went round, and how often it looked.
#[derive(Debug)]
pub struct Pulse {
    round: Mutex<Instant>,
    looks: watch::Sender<u64>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { round: Mutex::new(Instant::now()), looks: watch::Sender::new(0) }
    }
}

impl Pulse {
    /// It goes round.
    pub fn alive(&self) {
        *self.round.lock() = Instant::now();
    }

    /// It has looked what is due.
    pub fn looked(&self) {
        self.looks.send_modify(|looks| *looks += 1);
    }

    /// Whether it still goes round.
    pub fn is_alive(&self) -> bool {
        self.round.lock().elapsed() < LONGEST_ROUND
    }

    /// Whether it has looked at all.
    pub fn has_looked(&self) -> bool {
        *self.looks.borrow() > 0
    }

    /// Tells of each look.
    pub fn looks(&self) -> watch::Receiver<u64> {
        self.looks.subscribe()
    }
}
