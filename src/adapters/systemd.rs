//! What systemd is told: READY, STATUS, the watchdog's food, STOPPING. Without systemd every word goes nowhere.

use std::time::Duration;

use sd_notify::NotifyState;

/// The service manager, if there is one.
#[derive(Debug, Clone, Copy, Default)]
pub struct ServiceManager;

impl ServiceManager {
    /// How often the watchdog must be fed at least; `None` where there is none.
    pub fn watchdog(self) -> Option<Duration> {
        sd_notify::watchdog_enabled()
    }

    /// The service is up.
    pub fn ready(self) {
        tell(&[NotifyState::Ready]);
    }

    /// The service goes down.
    pub fn stopping(self) {
        tell(&[NotifyState::Stopping]);
    }

    /// Feeds the watchdog.
    pub fn alive(self) {
        tell(&[NotifyState::Watchdog]);
    }

    /// One line for `systemctl status`.
    pub fn status(self, status: &str) {
        tell(&[NotifyState::Status(status)]);
    }
}

fn tell(words: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(words) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
