//! The heartbeat: while no window is past its deadline, somebody else is told so after each look, with the head of every log.
//!
//! Silence is the alarm, so nothing is sent that is not known at that moment: no look, a ledger that cannot be read, a clock
//! that nobody else has confirmed, a late window, a stream on hold until an operator looks (its log is damaged, or not signed as
//! it must be), and there is no heartbeat. Heads that are kept elsewhere show later whether a log's end was cut off.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::compose::host;
use super::services::Services;
use super::survey::{StreamSummary, summarize};
use crate::adapters::heartbeat::post;
use crate::config::SecretFile;
use crate::domain::log_entry::Head;
use crate::domain::name::StreamName;

/// At most one in so long.
const APART: Duration = Duration::from_secs(60);

/// What it goes by.
pub struct Beats {
    /// Holds the URL. Read anew each time, so that it can be changed.
    pub url: SecretFile,
    /// What the daemon goes by.
    pub services: Arc<Services>,
}

#[derive(Serialize)]
struct Body {
    version: &'static str,
    host: String,
    now: Timestamp,
    streams: Vec<StreamHead>,
}

#[derive(Serialize)]
struct StreamHead {
    stream: StreamName,
    head: Option<Head>,
}

impl Beats {
    /// Beats after the looks that it is told of, until it is dropped. Whatever fails is said once, and disturbs nothing else.
    pub async fn run(self, mut looks: watch::Receiver<u64>) {
        let mut failed = false;
        while looks.changed().await.is_ok() {
            let begun = Instant::now();
            let beat = self.beat().await;
            let fails = beat.is_err();
            match beat {
                // The next look may find that nothing is late any more.
                Ok(false) => continue,
                Ok(true) if failed => tracing::info!("heartbeat sent again"),
                Err(error) if !failed => tracing::warn!(%error, "heartbeat not sent; archiving goes on"),
                _ => {}
            }
            failed = fails;
            tokio::time::sleep_until(begun + APART).await;
        }
    }

    /// One of them, if all is well; says whether it was sent.
    async fn beat(&self) -> Result<bool, String> {
        let Services { ledger, clock, roster, watch, .. } = &*self.services;
        // Whether something is late is said by the clock.
        if !watch.is_believed() {
            return Ok(false);
        }
        let now = clock.now();
        let snapshot = ledger.snapshot().await.map_err(|error| error.to_string())?;
        let rules = roster.rules();
        let streams = summarize(&rules, &snapshot, now);
        let on_hold = rules.iter().any(|rules| rules.needs_operator(&snapshot).is_some());
        if on_hold || streams.iter().any(|stream| stream.late > 0) {
            return Ok(false);
        }
        let head = |StreamSummary { stream, head, .. }| StreamHead { stream, head };
        let streams = streams.into_iter().map(head).collect();
        let body = Body { version: env!("CARGO_PKG_VERSION"), host: host(), now, streams };
        let url = self.url.read_url().map_err(|error| error.to_string())?;
        post(&url, &body).await.map(|()| true)
    }
}
