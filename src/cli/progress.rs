//! A progress bar, where a person watches.

use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::app::observer::{Ending, Event, Observer};

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
            Event::Planned { queued, in_flight } => {
                self.bar.set_length(self.bar.position() + (queued + in_flight) as u64);
            }
            Event::Started { stream, window } => self.bar.set_message(format!("{stream} {window}")),
            Event::Finished {
                ending: Ending::Archived { .. } | Ending::AlreadyArchived | Ending::Unchanged | Ending::Lost,
                ..
            } => {
                self.bar.inc(1);
            }
            Event::Finished { .. } | Event::Alive => {}
            Event::Idle { .. } => self.bar.set_message("waiting"),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
