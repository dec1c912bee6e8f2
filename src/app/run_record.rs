//! The note in the ledger of which process works here, and when it last looked: `status` says so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::domain::failure::Failure;
use crate::domain::snapshot::Run;
use crate::ports::ledger::Ledger;

/// A look is written down no sooner than this after the last one: looks may follow one another closely.
const APART: Duration = Duration::from_secs(30);

/// This run.
#[derive(Debug)]
pub struct RunRecord {
    is_daemon: AtomicBool,
    started_at: Timestamp,
    config: Option<String>,
    /// When a run before this one last looked.
    before: Option<Timestamp>,
    written: Mutex<Option<Instant>>,
    /// When this run last looked, while the ledger does not take that down.
    unwritten: Mutex<Option<Timestamp>>,
}

impl RunRecord {
    /// A run that begins at `started_at` after the one `before`, with a configuration file of this digest.
    pub fn new(started_at: Timestamp, before: Option<&Run>, config: Option<String>) -> Self {
        let before = before.and_then(|run| run.looked_at);
        // As the ledger keeps it.
        let started_at = Timestamp::from_millisecond(started_at.as_millisecond()).unwrap_or(started_at);
        Self {
            is_daemon: AtomicBool::new(false),
            started_at,
            config,
            before,
            written: Mutex::default(),
            unwritten: Mutex::default(),
        }
    }

    /// Writes down that the run has begun. A ledger that cannot be written to shows at the first look.
    pub async fn begin(&self, ledger: &dyn Ledger, is_daemon: bool) {
        self.is_daemon.store(is_daemon, Ordering::Relaxed);
        if let Err(error) = ledger.note_run(&self.run(self.before)).await {
            tracing::debug!(%error, "the begin of this run is not written down");
        }
    }

    /// Writes down that it was looked at `now`, unless that was done a moment ago and need not be seen to work.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn looked(&self, ledger: &dyn Ledger, now: Timestamp, must_write: bool) -> Result<(), Failure> {
        let must_write = must_write || self.unwritten().is_some();
        let written = *self.written.lock();
        if !must_write && written.is_some_and(|then| then.elapsed() < APART) {
            return Ok(());
        }
        let noted = ledger.note_run(&self.run(Some(now))).await.map_err(Failure::from);
        *self.unwritten.lock() = noted.is_err().then_some(now);
        noted?;
        *self.written.lock() = Some(Instant::now());
        Ok(())
    }

    /// This run looked `now`, and the ledger took nothing down, not even what comes before the look.
    pub fn not_noted(&self, now: Timestamp) {
        *self.unwritten.lock() = Some(now);
    }

    /// When this run last looked, where the ledger could not be told, and knows of an earlier look only.
    pub fn unwritten(&self) -> Option<Timestamp> {
        *self.unwritten.lock()
    }

    /// This run, where it last looked then.
    pub fn run(&self, looked_at: Option<Timestamp>) -> Run {
        Run {
            is_daemon: self.is_daemon.load(Ordering::Relaxed),
            pid: std::process::id(),
            started_at: self.started_at,
            looked_at,
            config: self.config.clone(),
        }
    }
}
