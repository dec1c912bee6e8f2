//! Logs: one event a line, to the journal where systemd runs us, else to standard error.
//!
//! The names of events and fields are an interface (docs/architecture.md lists them); secrets never get here, because
//! they are wrapped from the moment they are read, and because the crates below us do not get to say much.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use tracing::field::{Field, Visit, display};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber, Value};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::domain::text::{clean, is_harmful};

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
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    if stderr_is_the_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        return Harmless(journal.with_syslog_identifier("connvault".to_owned())).boxed();
    }
    let writer = AroundBars { bars: bars.cloned() };
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
    match format {
        LogFormat::Text => Harmless(layer.with_ansi(io::stderr().is_terminal())).boxed(),
        LogFormat::Json => Harmless(layer.json().flatten_event(true)).boxed(),
    }
}

/// A layer that writes no event as it is whose message or fields would move a terminal's cursor, or turn the reading
/// direction around: what a store or the provider calls things gets that far. Everything else passes as it is.
struct Harmless<L>(L);

impl<S, L> Layer<S> for Harmless<L>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    L: Layer<S>,
{
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if !fields.harmful {
            return self.0.on_event(event, context);
        }
        let Some((first, _)) = fields.values.first() else { return };
        let mut values: [(&Field, Option<&dyn Value>); MOST_FIELDS] = [(first, None); MOST_FIELDS];
        for (place, (field, value)) in values.iter_mut().zip(&fields.values) {
            *place = (field, Some(&**value));
        }
        let values = event.metadata().fields().value_set(&values);
        self.0.on_event(&Event::new(event.metadata(), &values), context);
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.0.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.0.on_record(id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.0.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.0.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.0.on_close(id, context);
    }
}

/// The most fields that an event has, its message included: tracing takes no more of any event.
const MOST_FIELDS: usize = 32;

/// The fields of an event, texts made harmless.
#[derive(Default)]
struct Fields {
    values: Vec<(Field, Box<dyn Value>)>,
    /// Whether there was anything to be made harmless.
    harmful: bool,
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl Value + 'static) {
        self.values.push((field.clone(), Box::new(value)));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        self.harmful |= text.contains(is_harmful);
        self.add(field, display(clean(&text, usize::MAX).into_owned()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.harmful |= value.contains(is_harmful);
        self.add(field, clean(value, usize::MAX).into_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.add(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is written, for the test to look at.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(layer: impl FnOnce(Written) -> Boxed<Registry>) -> String {
        let written = Written::default();
        let subscriber = Registry::default().with(layer(written.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let key = "data/\u{1b}[2J\u{202e}x";
            let error = io::Error::other(key);
            tracing::warn!(
                object.key = key,
                %key,
                ?error,
                error2 = &error as &dyn std::error::Error,
                bytes = 7_u64,
                is = true,
                "passed over:\n{key}"
            );
            tracing::info!(bytes = 8_u64, "harmless");
        });
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_log_line_holds_what_a_terminal_would_obey() {
        let text = written(|to| {
            let layer = tracing_subscriber::fmt::layer().with_writer(Mutex::new(to)).without_time();
            Harmless(layer.with_ansi(false)).boxed()
        });
        assert_eq!(text.lines().count(), 2, "{text:?}");
        assert!(!text.contains(|c| c != '\n' && is_harmful(c)), "{text:?}");
        assert!(text.contains("passed over: data/ [2J x") && text.contains("bytes=7"), "{text:?}");
        let json = written(|to| {
            let layer = tracing_subscriber::fmt::layer().with_writer(Mutex::new(to)).json();
            Harmless(layer.flatten_event(true)).boxed()
        });
        let lines: Vec<serde_json::Value> = json.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!((&lines[0]["bytes"], &lines[0]["is"]), (&7.into(), &true.into()), "{json}");
        assert_eq!(lines[0]["object.key"], "data/ [2J x");
        assert_eq!(lines[1]["message"], "harmless");
        let read_back = lines[0].as_object().unwrap().values().filter_map(|value| value.as_str());
        assert!(read_back.into_iter().all(|value| !value.contains(is_harmful)), "{json}");
    }
}
