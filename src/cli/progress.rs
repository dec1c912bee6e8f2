//! A progress bar, where a person watches.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::app::observer::{Ending, Event, Observer};
use crate::app::verify::Meter;

/// Room for bars, where standard error is a terminal and nobody asked for JSON.
pub(super) fn bars(json: bool) -> Option<MultiProgress> {
    (!json && std::io::stderr().is_terminal()).then(MultiProgress::new)
}

/// One bar over all windows.
pub(super) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A bar in `bars`.
    pub(super) fn new(bars: &MultiProgress) -> Self {
        let bar = bars.add(ProgressBar::new(0));
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} windows  {wide_msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar }
    }
}

impl Observer for Bar {
    fn on(&self, event: &Event) {
        match event {
            Event::Planned { queued, in_flight, .. } => {
                self.bar.set_length(self.bar.position() + (queued + in_flight) as u64);
            }
            Event::Started { stream, window } => self.bar.set_message(format!("{stream} {window}")),
            Event::Finished {
                ending:
                    Ending::Archived { .. }
                    | Ending::AlreadyArchived
                    | Ending::Unchanged
                    | Ending::Lost { .. }
                    | Ending::Parked { .. }
                    | Ending::Acknowledged { .. },
                ..
            } => {
                self.bar.inc(1);
            }
            Event::Finished { .. } | Event::LookedUp { .. } | Event::Proven { .. } | Event::Alive => {}
            Event::Idle { .. } => self.bar.set_message("waiting"),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A bar over what a meter says, as long as this lives.
pub(super) struct MeterBar {
    bar: ProgressBar,
    looking: tokio::task::JoinHandle<()>,
}

impl MeterBar {
    /// A bar in `bars`.
    pub(super) fn new(bars: &MultiProgress, meter: Arc<Meter>) -> Self {
        let bar = bars.add(ProgressBar::new(0));
        let style = ProgressStyle::with_template("{bar:30} {percent}%  {wide_msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let shown = bar.clone();
        let looking = tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(100));
            loop {
                tick.tick().await;
                let (what, done, total) = meter.read();
                shown.set_length(total);
                shown.set_position(done);
                shown.set_message(what);
            }
        });
        Self { bar, looking }
    }
}

impl Drop for MeterBar {
    fn drop(&mut self) {
        self.looking.abort();
        self.bar.finish_and_clear();
    }
}
