//! `verify`: archives held against their logs, from their stores or in a copied folder.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use indicatif::{HumanBytes, MultiProgress};
use serde::Serialize;

use super::backfill::When;
use super::progress::MeterBar;
use super::{CliError, output, retry};
use crate::app::compose::Injected;
use crate::app::signing;
use crate::app::start_error::StartError;
use crate::app::verify::{self, Meter, Report, Sample, Target, targets};
use crate::config::Config;
use crate::domain::audit::{Bound, ExpectedHead, Finding, Note};
use crate::domain::failure::FailureKind;
use crate::domain::log_entry::{Definition, Head};
use crate::domain::name::StreamName;
use crate::exit_code::Exit;

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct Asked {
    /// Only this stream
    #[arg(long, value_name = "STREAM")]
    stream: Option<StreamName>,
    /// Only windows from here on: a date in the stream's time zone (2026-11-01) or an instant (2026-11-01T00:00:00Z)
    #[arg(long, value_name = "WHEN")]
    from: Option<When>,
    /// Only windows up to here, not including it
    #[arg(long, value_name = "WHEN")]
    to: Option<When>,
    /// How much is checked
    #[arg(long, value_enum, default_value_t = Level::Objects)]
    level: Level,
    /// Read the bytes of a part of the objects only, such as 5%
    #[arg(long, value_name = "PERCENT")]
    sample: Option<Percent>,
    /// Draw the part that another run read, by the seed that it printed [default: another part each time]
    #[arg(long, value_name = "SEED", requires = "sample")]
    sample_seed: Option<u64>,
    /// A copied archive, or one stream's folder of it: no network and no configuration are needed
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Whose signatures count, as ssh-keygen(1) describes the file [default: signing.allowed_signers_file]
    #[arg(long, value_name = "FILE")]
    allowed_signers: Option<PathBuf>,
    /// A head that was written down earlier: shows that nothing was cut off the log's end
    #[arg(long, value_name = "SEQ:HASH")]
    expect_head: Option<ExpectedHead>,
}

/// How much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    /// The log: chain, signatures, and a verdict for each window
    Log,
    /// Also that each object is there, with its size
    Objects,
    /// Also every byte
    Bytes,
}

impl From<Level> for verify::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Log => Self::Log,
            Level::Objects => Self::Objects,
            Level::Bytes => Self::Bytes,
        }
    }
}

impl From<When> for Bound {
    fn from(when: When) -> Self {
        match when {
            When::Date(date) => Self::Date(date),
            When::Instant(instant) => Self::Instant(instant),
        }
    }
}

/// A part of a hundred.
#[derive(Debug, Clone, Copy)]
struct Percent {
    in_a_million: u32,
}

impl FromStr for Percent {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
        match number.filter(|number| *number > 0.0 && *number <= 100.0) {
            // Between 0 and a million, as just seen.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Some(number) => Ok(Self { in_a_million: (number * 10_000.0).ceil() as u32 }),
            None => Err("write a percentage above 0 and up to 100, such as 5%".to_owned()),
        }
    }
}

/// All that was found, for programs.
#[derive(Serialize)]
struct Document<'a> {
    /// By what the part was drawn whose bytes were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    sample_seed: Option<u64>,
    streams: Vec<StreamDocument<'a>>,
    /// Whether every stream could be read, and nothing is wrong.
    ok: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum StreamDocument<'a> {
    Read {
        stream: &'a StreamName,
        head: Option<Head>,
        /// What the log says that the stream is.
        definition: Option<&'a Definition>,
        entries: u64,
        windows: u64,
        lost: u64,
        parked: u64,
        /// Lost and unread windows that are acknowledged; absent where none is.
        #[serde(skip_serializing_if = "Option::is_none")]
        acknowledged: Option<u64>,
        objects_checked: u64,
        objects_hashed: u64,
        bytes_hashed: u64,
        findings: Vec<Told<'a, Finding>>,
        notes: Vec<Told<'a, Note>>,
        unread: Vec<UnreadDocument<'a>>,
    },
    Unread {
        stream: &'a StreamName,
        /// Why nothing can be said of it.
        error: String,
    },
}

#[derive(Serialize)]
struct UnreadDocument<'a> {
    key: &'a str,
    error: String,
}

impl<'a> UnreadDocument<'a> {
    fn of(unread: &'a verify::Unread) -> Self {
        Self { key: unread.key.as_str(), error: output::printable(&unread.error.to_string()) }
    }
}

#[derive(Serialize)]
pub(super) struct Told<'a, T> {
    #[serde(flatten)]
    what: &'a T,
    message: String,
}

pub(super) fn tell<T: std::fmt::Display>(all: &[T]) -> Vec<Told<'_, T>> {
    all.iter().map(|what| Told { what, message: output::printable(&what.to_string()) }).collect()
}

type Outcome = (StreamName, Result<Report, StartError>);

pub(super) async fn run(
    config: impl FnOnce() -> Result<Config, CliError>,
    injected: &Injected,
    asked: &Asked,
    json: bool,
    bars: Option<MultiProgress>,
) -> Result<Exit, CliError> {
    if asked.sample.is_some() && asked.level != Level::Bytes {
        return Err(usage("--sample says whose bytes are read: it goes with --level bytes"));
    }
    let given = asked.allowed_signers.as_deref().map(targets::signers).transpose()?;
    let (mut targets, signers) = match &asked.dir {
        Some(folder) => (targets::of_folder(folder)?, given),
        None => {
            let config = config()?;
            if let Some(stream) = asked.stream.as_ref().filter(|name| !config.streams.contains_key(name)) {
                return Err(retry::unknown_stream(&config, stream));
            }
            let signers = if given.is_some() { given } else { signing::allowed_signers(&config)? };
            (targets::of_config(&config)?, signers)
        }
    };
    if let Some(stream) = &asked.stream {
        choose(&mut targets, stream)?;
    }
    if let (Some(from), Some(to)) = (asked.from, asked.to)
        && from.is_not_before(to)
    {
        return Err(usage("--from is not before --to, so there is nothing between them"));
    }
    if asked.expect_head.is_some() && targets.len() > 1 {
        return Err(usage("--expect-head is of one stream: name it with --stream"));
    }
    let sample = asked.sample.map(|Percent { in_a_million }| Sample {
        in_a_million,
        seed: asked.sample_seed.unwrap_or_else(|| uuid::Uuid::now_v7().as_u64_pair().1),
    });
    let wanted = verify::Asked {
        level: asked.level.into(),
        from: asked.from.map(Bound::from),
        to: asked.to.map(Bound::from),
        sample,
        expected_head: asked.expect_head.clone(),
        now: injected.clock.now(),
        signers: signers.map(Arc::new),
    };
    let meter = Arc::new(Meter::default());
    let bar = bars.map(|bars| MeterBar::new(&bars, Arc::clone(&meter)));
    let mut outcomes: Vec<Outcome> = Vec::new();
    for target in &targets {
        let report = verify::verify(target, &wanted, &meter).await;
        let failed = |failure| StartError::from_failure(target.stream.as_str(), &failure);
        outcomes.push((target.stream.clone(), report.map_err(failed)));
    }
    drop(bar);
    if json {
        output::json(&document(&outcomes, sample))?;
    } else {
        let again = sample
            .map(|sample| format!("the same objects are read again with --sample-seed {}\n", sample.seed));
        output::text(&(text(&outcomes) + &again.unwrap_or_default()))?;
    }
    for (stream, outcome) in &outcomes {
        match outcome {
            Err(error) => output::say(&error.to_string()),
            Ok(report) => {
                for verify::Unread { error, .. } in &report.unread {
                    output::say(&format!("{stream}: not read, so nothing is said of it: {error}"));
                }
            }
        }
    }
    Ok(exit(&outcomes))
}

fn usage(message: &str) -> CliError {
    CliError::new(Exit::Usage, message)
}

fn choose(targets: &mut Vec<Target>, stream: &StreamName) -> Result<(), CliError> {
    let known: Vec<_> = targets.iter().map(|target| target.stream.to_string()).collect();
    targets.retain(|target| target.stream == *stream);
    if targets.is_empty() {
        return Err(usage(&format!("there is no stream {stream} there; it has: {}", known.join(", "))));
    }
    Ok(())
}

fn document(outcomes: &[Outcome], sample: Option<Sample>) -> Document<'_> {
    let streams = outcomes.iter().map(|(stream, outcome)| match outcome {
        Ok(report) => StreamDocument::Read {
            stream,
            head: report.head,
            definition: report.definition.as_ref(),
            entries: report.entries,
            windows: report.windows,
            lost: report.lost,
            parked: report.parked,
            acknowledged: Some(report.acknowledged).filter(|number| *number > 0),
            objects_checked: report.objects_checked,
            objects_hashed: report.objects_hashed,
            bytes_hashed: report.bytes_hashed,
            findings: tell(&report.findings),
            notes: tell(&report.notes),
            unread: report.unread.iter().map(UnreadDocument::of).collect(),
        },
        Err(error) => StreamDocument::Unread { stream, error: error.to_string() },
    });
    Document {
        sample_seed: sample.map(|sample| sample.seed),
        streams: streams.collect(),
        ok: exit(outcomes) == Exit::Done,
    }
}

/// What is wrong with each stream, one finding a line; nothing where nothing is.
pub(super) fn wrong<'a>(streams: impl Iterator<Item = (&'a StreamName, &'a [Finding])>) -> String {
    let mut table = output::table(["stream", "what is wrong"]);
    for (stream, findings) in streams {
        for finding in findings {
            table.add_row([stream.to_string(), output::printable(&finding.to_string())]);
        }
    }
    if table.is_empty() { String::new() } else { output::lines(&table) + "\n" }
}

/// Findings first, one a line; then what is worth knowing; then each stream in one line.
fn text(outcomes: &[Outcome]) -> String {
    let read = || outcomes.iter().filter_map(|(stream, outcome)| Some((stream, outcome.as_ref().ok()?)));
    let mut text = wrong(read().map(|(stream, report)| (stream, report.findings.as_slice())));
    for (stream, report) in read() {
        for note in &report.notes {
            text += &format!("{stream}: note: {}\n", output::printable(&note.to_string()));
        }
    }
    for (stream, report) in read() {
        if let Some(definition) = &report.definition {
            text += &format!("{stream}: {}\n", output::printable(&definition.to_string()));
        }
        text += &summary(stream, report);
    }
    text
}

fn summary(stream: &StreamName, report: &Report) -> String {
    let entries = match report.entries {
        1 => "1 entry".to_owned(),
        entries => format!("{entries} entries"),
    };
    let mut text = format!("{stream}: {entries}, {} archived", output::count(report.windows, "window"));
    let more = [(report.lost, "lost"), (report.parked, "parked"), (report.acknowledged, "acknowledged")];
    for (number, word) in more {
        if number > 0 {
            text += &format!(", {number} {word}");
        }
    }
    if report.objects_checked > 0 {
        text += &format!(", {} looked at", output::count(report.objects_checked, "object"));
    }
    if report.bytes_hashed > 0 {
        let objects = output::count(report.objects_hashed, "object");
        text += &format!(", {objects} with {} hashed", HumanBytes(report.bytes_hashed));
    }
    if !report.unread.is_empty() {
        text += &format!(", {} not read", output::count(report.unread.len() as u64, "object"));
    }
    text += &match report.findings.len() as u64 {
        0 if !report.unread.is_empty() => "; nothing is wrong with the rest".to_owned(),
        0 => "; nothing is wrong".to_owned(),
        findings => format!("; {}", output::count(findings, "finding")),
    };
    match report.head {
        Some(head) => text + &format!("; head {head}\n"),
        None => text + "\n",
    }
}

/// Damage weighs more than a store that could not be read.
fn exit(outcomes: &[Outcome]) -> Exit {
    let found = outcomes.iter().any(|(_, o)| o.as_ref().is_ok_and(|report| !report.findings.is_empty()));
    let unread = outcomes.iter().find_map(|(_, outcome)| match outcome {
        Ok(report) => report.unread.first().map(|unread| match unread.error.kind() {
            FailureKind::Transient | FailureKind::Throttled => Exit::Temporary,
            _ => Exit::Failed,
        }),
        Err(error) => Some(error.exit()),
    });
    if found { Exit::Found } else { unread.unwrap_or(Exit::Done) }
}
