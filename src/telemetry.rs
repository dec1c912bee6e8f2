//! Logs: one event a line, to the journal where systemd runs us, else to standard error.
//!
//! The names of events and fields are an interface (docs/architecture.md lists them); secrets never get here, because
//! they are wrapped from the moment they are read, and because the crates below us do not get to say much.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// How a line is written where it does not go to the journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Warnings of the store's client repeat what the store's adapter says better.
const QUIET: &str = ",aws_smithy_runtime=error,aws_sdk_s3=error";

/// Whose events are written, whatever the filter asks for. The crates below us are heard only when something is wrong:
/// at lower levels some of them write whole requests, with tokens and the ids of keys.
fn may_be_written(event: &Metadata<'_>) -> bool {
    let ours = event.target().split("::").next() == Some(env!("CARGO_CRATE_NAME"));
    ours || *event.level() <= Level::WARN
}

/// Begins to write logs of `filter` (as in `RUST_LOG`), around `bars`, if there are any on the screen.
///
/// # Errors
/// When the filter does not read.
pub fn init(filter: &str, format: LogFormat, bars: Option<&indicatif::MultiProgress>) -> Result<(), String> {
    let words = format!("{filter}{QUIET}");
    let filter = EnvFilter::try_new(words).map_err(|e| format!("--log {filter:?}: {e}"))?;
    let registry = Registry::default().with(filter).with(filter_fn(may_be_written)).with(layer(format, bars));
    // A second run in one process (a test, the demo) goes on with the first one's.
    _ = registry.try_init();
    Ok(())
}

type Boxed<S> = Box<dyn Layer<S> + Send + Sync>;

fn layer<S>(format: LogFormat, bars: Option<&indicatif::MultiProgress>) -> Boxed<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    if stderr_is_the_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        return journal.with_syslog_identifier("connvault".to_owned()).boxed();
    }
    let writer = AroundBars { bars: bars.cloned() };
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
    match format {
        LogFormat::Text => layer.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

/// `JOURNAL_STREAM` names the device and inode of the journal's socket (systemd.exec(5)); somebody may have
/// redirected standard error since.
fn stderr_is_the_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(stat) = rustix::fs::fstat(io::stderr().as_fd()) else {
        return false;
    };
    named == format!("{}:{}", stat.st_dev, stat.st_ino)
}

/// Standard error, with progress bars out of the way while a line is written.
#[derive(Clone)]
struct AroundBars {
    bars: Option<indicatif::MultiProgress>,
}

impl Write for AroundBars {
    /// Whoever read standard error may be gone, and the work goes on all the same.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        _ = match &self.bars {
            Some(bars) => bars.suspend(|| io::stderr().write_all(line)),
            None => io::stderr().write_all(line),
        };
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for AroundBars {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
