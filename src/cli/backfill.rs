//! `backfill`: one stream's windows within a stretch of time, now.

use clap::{Args, ValueEnum};
use indicatif::MultiProgress;
use jiff::Timestamp;
use jiff::civil::Date;

use super::ledger_view::{failed, look, try_at_once};
use super::{CliError, output, plan, reconcile, retry, signals};
use crate::app::compose::Injected;
use crate::app::selection::{self, Selection, Stretch};
use crate::config::{Config, Stream};
use crate::domain::name::StreamName;
use crate::domain::planner;
use crate::domain::snapshot::{Snapshot, WindowState};
use crate::exit_code::Exit;

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct Asked {
    /// Whose windows
    stream: StreamName,
    /// From here on: a date in the stream's time zone (2026-11-01) or an instant (2026-11-01T00:00:00Z)
    #[arg(long, value_name = "WHEN")]
    from: When,
    /// Up to here, not including it [default: now]
    #[arg(long, value_name = "WHEN")]
    to: Option<When>,
    /// Which windows to try again although they failed before
    #[arg(long, value_enum, default_value_t = Redo::None)]
    redo: Redo,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
}

impl Asked {
    /// Whether nothing is to be done but to show what would be.
    pub(super) fn only_looks(&self) -> bool {
        self.dry_run
    }
}

/// Which windows to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Redo {
    /// None: only what is due
    None,
    /// Those that are parked, pausing or lost
    Failed,
    /// Also those that are archived: what has changed is stored as a revision
    All,
}

impl From<Redo> for selection::Redo {
    fn from(redo: Redo) -> Self {
        match redo {
            Redo::None => Self::None,
            Redo::Failed => Self::Failed,
            Redo::All => Self::All,
        }
    }
}

/// A date or an instant.
#[derive(Debug, Clone, Copy)]
pub(super) enum When {
    Date(Date),
    Instant(Timestamp),
}

impl std::str::FromStr for When {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(instant) = text.parse() {
            return Ok(Self::Instant(instant));
        }
        text.parse()
            .map(Self::Date)
            .map_err(|_| "write a date (2026-11-01) or an instant (2026-11-01T00:00:00Z)".into())
    }
}

impl When {
    /// Whether nothing lies between the two; of a date and an instant only a stream's time zone could tell.
    pub(super) fn is_not_before(self, other: Self) -> bool {
        match (self, other) {
            (Self::Date(from), Self::Date(to)) => from >= to,
            (Self::Instant(from), Self::Instant(to)) => from >= to,
            _ => false,
        }
    }

    /// The instant that it means in the stream's time zone.
    pub(super) fn instant(self, stream: &Stream) -> Result<Timestamp, CliError> {
        match self {
            Self::Instant(instant) => Ok(instant),
            Self::Date(date) => {
                let zoned = date.to_zoned_datetime(stream.timezone.clone());
                zoned.map(|zoned| zoned.timestamp()).map_err(|e| usage(format!("{date}: {e}")))
            }
        }
    }
}

fn usage(message: String) -> CliError {
    CliError::new(Exit::Usage, message)
}

pub(super) async fn run(
    config: &Config,
    injected: &Injected,
    asked: &Asked,
    json: bool,
    bars: Option<MultiProgress>,
) -> Result<Exit, CliError> {
    let stretch = stretch(config, injected, asked)?;
    if asked.dry_run {
        return dry_run(config, injected, stretch, asked.redo, json).await;
    }
    let controls = signals::controls()?;
    let Some(session) = reconcile::begin_and_open(config, injected, &controls).await? else {
        return Ok(Exit::Temporary);
    };
    if asked.redo != Redo::None {
        let ledger = &session.services.ledger;
        let rules = session.services.roster.rules();
        let concerned = rules.iter().filter(|rules| rules.name == asked.stream);
        try_at_once(&**ledger, concerned, injected.clock.now()).await?;
        let snapshot = ledger.snapshot().await.map_err(failed)?;
        for window in snapshot.windows.get(&asked.stream).into_iter().flat_map(|windows| windows.keys()) {
            if stretch.includes(&asked.stream, *window) {
                ledger.retry(Some(&asked.stream), Some(*window)).await.map_err(failed)?;
            }
        }
    }
    reconcile::run(config, session, Selection::Stretch(stretch), &controls, json, bars).await
}

fn stretch(config: &Config, injected: &Injected, asked: &Asked) -> Result<Stretch, CliError> {
    let stream =
        config.streams.get(&asked.stream).ok_or_else(|| retry::unknown_stream(config, &asked.stream))?;
    let from = asked.from.instant(stream)?;
    let to = asked.to.map_or_else(|| Ok(injected.clock.now()), |to| to.instant(stream))?;
    check_order(from, to)?;
    if from < stream.start {
        let (name, start) = (&asked.stream, stream.start);
        return Err(usage(format!(
            "stream {name} starts at {start}: to archive earlier windows, move streams.{name}.start back in the configuration"
        )));
    }
    Ok(Stretch::new(asked.stream.clone(), from, to, asked.redo.into()))
}

/// An error where nothing lies between the two.
pub(super) fn check_order(from: Timestamp, to: Timestamp) -> Result<(), CliError> {
    if from >= to { Err(usage(format!("--from {from} is not before --to {to}"))) } else { Ok(()) }
}

async fn dry_run(
    config: &Config,
    injected: &Injected,
    stretch: Stretch,
    redo: Redo,
    json: bool,
) -> Result<Exit, CliError> {
    let mut view = look(config, injected).await?;
    if redo != Redo::None {
        as_if_retried(&mut view.snapshot, &stretch);
    }
    let plan = planner::plan(&view.rules, &view.snapshot, view.now);
    let plan = Selection::Stretch(stretch).choose(plan, &view.rules, &view.snapshot, view.now);
    if json {
        return output::json(&plan);
    }
    plan::print(&plan, view.now)
}

/// What `retry` would do to the ledger, done to a picture of it.
fn as_if_retried(snapshot: &mut Snapshot, stretch: &Stretch) {
    snapshot.holds.clear();
    let windows = snapshot.windows.get_mut(&stretch.stream).into_iter().flatten();
    for (_, state) in windows.filter(|(window, _)| stretch.includes(&stretch.stream, **window)) {
        if matches!(state, WindowState::Parked { .. } | WindowState::Open { leased_until: None, .. }) {
            *state = WindowState::Open {
                failures: 0,
                corrupt: 0,
                retry_at: None,
                last_failure: None,
                leased_until: None,
            };
        }
    }
}
