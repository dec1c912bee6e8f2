//! `acknowledge`: a person takes note of windows that are lost or unread, and the log says so from then on.
//!
//! Only whoever holds the state directory appends to logs. While a daemon runs, the command leaves its request in the ledger
//! and waits for the daemon to write the entries; without one it writes them in a run of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::backfill::{When, check_order};
use super::ledger_view::{failed, open};
use super::{CliError, output, reconcile, retry, signals};
use crate::adapters::state_dir::{StateDir, StateDirError, is_closed_to_us};
use crate::app::clock_watch::Standing;
use crate::app::compose::{self, Injected};
use crate::app::selection::Selection;
use crate::app::status::WrongClock;
use crate::app::survey::{Judged, survey};
use crate::config::Config;
use crate::domain::name::StreamName;
use crate::domain::snapshot::{AcknowledgeRequest, Acknowledgement, Snapshot};
use crate::domain::text::Line;
use crate::domain::verdict::StreamRules;
use crate::domain::window::Window;
use crate::exit_code::Exit;
use crate::ports::ledger::Ledger;

/// A running daemon looks again at least once a minute; after so long something keeps it from writing.
const LONGEST_WAIT: Duration = Duration::from_secs(90);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct Asked {
    /// Whose windows
    stream: StreamName,
    /// Which windows, as `gaps` prints them (20261122T000000Z_20261123T000000Z)
    #[arg(value_name = "WINDOW", required_unless_present = "from", conflicts_with_all = ["from", "to"])]
    windows: Vec<Window>,
    /// In place of windows: all that are lost or unread, from here on: a date in the stream's time zone or an instant
    #[arg(long, value_name = "WHEN")]
    from: Option<When>,
    /// Up to here, not including it [default: now]
    #[arg(long, value_name = "WHEN", requires = "from")]
    to: Option<When>,
    /// The person who takes note
    #[arg(long, value_name = "NAME")]
    by: Remark,
    /// The reason why the gap is accepted, or what was done about it
    #[arg(long, value_name = "TEXT")]
    reason: Remark,
}

/// A line that a person wrote, which stands in the log for good.
#[derive(Debug, Clone)]
struct Remark(Line);

/// Room for a name or a sentence or two.
const LONGEST_REMARK: usize = 1000;

impl std::str::FromStr for Remark {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let line = Line::from(text);
        match text {
            "" => Err("write something: it stands in the log for good".to_owned()),
            _ if line != *text => Err("write one line, without control characters".to_owned()),
            _ if text.len() > LONGEST_REMARK => Err(format!("write at most {LONGEST_REMARK} bytes")),
            _ => Ok(Self(line)),
        }
    }
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Outcome {
    stream: StreamName,
    /// Windows that are acknowledged now.
    acknowledged: Vec<Row>,
    /// Windows that were acknowledged before.
    already: Vec<Row>,
    /// Windows whose entry is not written yet: the request stays.
    waiting: Vec<Window>,
}

#[derive(Debug, Serialize)]
struct Row {
    window: Window,
    #[serde(flatten)]
    acknowledgement: Acknowledgement,
}

/// What is to be written, and what the log says already.
struct Choice {
    requests: Vec<(Window, AcknowledgeRequest)>,
    already: Vec<Row>,
}

pub(super) async fn run(
    config: &Config,
    with_secrets: impl FnOnce() -> Result<Config, CliError>,
    injected: &Injected,
    asked: &Asked,
    json: bool,
) -> Result<Exit, CliError> {
    if !config.streams.contains_key(&asked.stream) {
        return Err(retry::unknown_stream(config, &asked.stream));
    }
    if is_closed_to_us(&config.daemon.state_dir) {
        return Err(retry::not_allowed(config, "acknowledge"));
    }
    // Root may not work in a daemon's directory, but it may leave a request there. Whatever else is wrong with the directory,
    // the session says when it locks it.
    let is_held = matches!(
        StateDir::lock(&config.daemon.state_dir),
        Err(StateDirError::InUse(_) | StateDirError::OfAnotherUser { .. })
    );
    let outcome = if is_held {
        through_daemon(config, injected, asked).await?
    } else {
        let Some(outcome) = in_own_run(&with_secrets()?, injected, asked).await? else {
            return Ok(Exit::Temporary);
        };
        outcome
    };
    let exit = if outcome.waiting.is_empty() { Exit::Done } else { Exit::Temporary };
    if json {
        output::json(&outcome)?;
    } else {
        output::text(&words(&outcome))?;
    }
    Ok(exit)
}

/// Leaves the requests to whoever holds the state directory, and waits for the entries.
async fn through_daemon(config: &Config, injected: &Injected, asked: &Asked) -> Result<Outcome, CliError> {
    let Some(ledger) = open(config).await? else {
        let message = "there is no ledger yet, so no window is known to be lost; start the daemon first";
        return Err(CliError::new(Exit::Failed, message));
    };
    let snapshot = ledger.snapshot().await.map_err(failed)?;
    if let Some(clock) = WrongClock::of(&snapshot, injected.clock.now()) {
        return Err(by_a_wrong_clock(&clock.wrong));
    }
    let rules = compose::recorded_rules(config, &snapshot);
    let choice = choose(config, injected, asked, &rules, &snapshot)?;
    ledger.ask_to_acknowledge(&asked.stream, &choice.requests).await.map_err(failed)?;
    let until = Instant::now() + LONGEST_WAIT;
    let outcome = loop {
        let snapshot = ledger.snapshot().await.map_err(failed)?;
        let outcome = Outcome::of(asked, &choice, &snapshot);
        if outcome.waiting.is_empty() || until <= Instant::now() {
            break outcome;
        }
        sleep(LOOK_AGAIN).await;
    };
    ledger.close().await;
    Ok(Outcome { already: choice.already, ..outcome })
}

/// Writes the entries in a run of this process; `None` where it was told to stop before the run began.
async fn in_own_run(
    config: &Config,
    injected: &Injected,
    asked: &Asked,
) -> Result<Option<Outcome>, CliError> {
    let controls = signals::controls()?;
    let Some(session) = reconcile::begin_and_open(config, injected, &controls).await? else {
        return Ok(None);
    };
    let ledger = std::sync::Arc::clone(&session.services.ledger);
    let mut snapshot = ledger.snapshot().await.map_err(failed)?;
    let standing = session.services.watch.look_and_record(&*ledger, &mut snapshot).await;
    match standing {
        Ok(Standing::Confirmed(_) | Standing::Unknown) => {}
        Ok(Standing::Wrong(failure)) => {
            session.end().await;
            return Err(by_a_wrong_clock(&failure.message));
        }
        Err(failure) => return Err(CliError::new(Exit::Temporary, failure.message.to_string())),
    }
    let choice = choose(config, injected, asked, &session.services.roster.rules(), &snapshot)?;
    if !choice.requests.is_empty() {
        ledger.ask_to_acknowledge(&asked.stream, &choice.requests).await.map_err(failed)?;
        let windows: BTreeSet<_> = choice.requests.iter().map(|(window, _)| *window).collect();
        let selection = Selection::Acknowledging { stream: asked.stream.clone(), windows };
        reconcile::quietly(config, &session, selection, &controls).await;
    }
    let snapshot = ledger.snapshot().await.map_err(failed)?;
    let outcome = Outcome::of(asked, &choice, &snapshot);
    session.end().await;
    Ok(Some(Outcome { already: choice.already, ..outcome }))
}

/// By a wrong clock other windows are over than by the right one, so none is looked for.
fn by_a_wrong_clock(wrong: &str) -> CliError {
    CliError::new(Exit::Temporary, format!("{wrong}; nothing was acknowledged: try again then"))
}

/// The windows that are asked for, all of which must be ones that can be acknowledged.
fn choose(
    config: &Config,
    injected: &Injected,
    asked: &Asked,
    rules: &[StreamRules],
    snapshot: &Snapshot,
) -> Result<Choice, CliError> {
    let now = injected.clock.now();
    let own: Vec<_> = rules.iter().filter(|rules| rules.name == asked.stream).cloned().collect();
    let judged = survey(&own, snapshot, now);
    let wanted: Vec<&Judged> = match asked.from {
        None => named(&asked.windows, &asked.stream, &judged)?,
        Some(from) => {
            // The stream was looked for in the configuration above.
            let stream = config.streams.get(&asked.stream);
            let stream = stream.ok_or_else(|| retry::unknown_stream(config, &asked.stream))?;
            let from = from.instant(stream)?;
            let to = asked.to.map_or(Ok(now), |to| to.instant(stream))?;
            check_order(from, to)?;
            let lies_there = |judged: &&Judged| judged.window.start() < to && judged.window.end() > from;
            judged.iter().filter(lies_there).filter(|j| j.verdict.acknowledgeable().is_some()).collect()
        }
    };
    let (mut requests, mut already) = (Vec::new(), Vec::new());
    for judged in wanted {
        match (&judged.acknowledged, judged.verdict.acknowledgeable()) {
            (Some(known), _) => {
                already.push(Row { window: judged.window, acknowledgement: known.clone() });
            }
            (None, Some(entry)) => {
                let (by, reason) = (asked.by.0.clone(), asked.reason.0.clone());
                requests.push((judged.window, AcknowledgeRequest { entry, by, reason }));
            }
            // Refused before, or left out.
            (None, None) => {}
        }
    }
    Ok(Choice { requests, already })
}

/// The windows of these names; if one of them cannot be acknowledged, none is.
fn named<'j>(
    windows: &[Window],
    stream: &StreamName,
    judged: &'j [Judged],
) -> Result<Vec<&'j Judged>, CliError> {
    let (mut found, mut refused) = (Vec::new(), Vec::new());
    for window in windows.iter().collect::<BTreeSet<_>>() {
        match judged.iter().find(|judged| judged.window == *window) {
            Some(judged) if judged.verdict.acknowledgeable().is_some() => found.push(judged),
            Some(judged) => {
                let (_, why) = judged.words();
                refused.push(format!("window {window} is {}: {why}", judged.verdict.word()));
            }
            None => refused.push(format!("stream {stream} has no window {window} that is over")),
        }
    }
    if refused.is_empty() {
        return Ok(found);
    }
    refused.push(
        "only windows that the log records as lost, or archives unread, can be acknowledged; none was"
            .to_owned(),
    );
    Err(CliError::new(Exit::Usage, refused.join("\n")))
}

impl Outcome {
    /// What the ledger knows by now of what was chosen.
    fn of(asked: &Asked, choice: &Choice, snapshot: &Snapshot) -> Self {
        let known = snapshot.acknowledged.get(&asked.stream);
        let (mut acknowledged, mut waiting) = (Vec::new(), Vec::new());
        for (window, request) in &choice.requests {
            let newest = known.and_then(|windows| windows.get(window));
            match newest.filter(|newest| newest.entry == request.entry) {
                Some(newest) => acknowledged.push(Row { window: *window, acknowledgement: newest.clone() }),
                None => waiting.push(*window),
            }
        }
        Self { stream: asked.stream.clone(), acknowledged, already: Vec::new(), waiting }
    }
}

fn words(outcome: &Outcome) -> String {
    let Outcome { stream, acknowledged, already, waiting } = outcome;
    let is = |n: usize| if n == 1 { "is" } else { "are" };
    let count = |n: usize| output::count(n as u64, "window");
    let mut text = String::new();
    for Row { window, acknowledgement } in acknowledged {
        text += &format!("{stream} {window}: acknowledged by log entry {}\n", acknowledgement.seq);
    }
    for Row { window, acknowledgement: Acknowledgement { by, seq, .. } } in already {
        text += &format!("{stream} {window}: acknowledged before by {by}, log entry {seq}\n");
    }
    if !waiting.is_empty() {
        text += &format!(
            "{} {} not acknowledged yet: the request stays, and the daemon writes the entries when the stream's log can be \
             written (`connvault status` says what is held up)\n",
            count(waiting.len()),
            is(waiting.len())
        );
    }
    if text.is_empty() {
        text += "no window that is lost or unread lies there\n";
    }
    text
}
