//! `gaps`: windows that are due and neither archived nor acknowledged, and streams on hold until an operator looks. Silence
//! and 0 mean that there are none.

use clap::Args;

use super::ledger_view;
use super::status::windows_and_holds;
use super::{CliError, output};
use crate::app::compose::Injected;
use crate::app::status::HeldUp;
use crate::config::Config;
use crate::domain::snapshot::Resource;
use crate::exit_code::Exit;

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct Asked {
    /// Also list windows that are acknowledged; they do not make the command exit 3
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(
    config: &Config,
    injected: &Injected,
    asked: &Asked,
    json: bool,
) -> Result<Exit, CliError> {
    let status = ledger_view::status(config, injected).await?;
    let now = status.now;
    let mut gaps = status.windows;
    gaps.retain(|judged| judged.is_gap(now) || (asked.all && judged.is_known_gap(now)));
    let found = gaps.iter().any(|judged| judged.is_gap(now));
    if json {
        output::json(&gaps)?;
    } else if !gaps.is_empty() {
        output::text(&windows_and_holds(&gaps, now))?;
    }
    // A stream on hold has a gap to come: its next window cannot be archived.
    let mut on_hold = false;
    for stream in &status.streams {
        let resource = Resource::Stream(stream.stream.clone());
        let waits = |hold: &&HeldUp| hold.resource == resource && hold.failure.kind.needs_operator();
        if let Some(hold) = status.holds.iter().find(waits) {
            on_hold = true;
            output::say(&format!("{resource} is on hold: {}", hold.failure.message));
        }
    }
    // With a wrong clock nobody knows what is due.
    if let Some(clock) = &status.clock {
        output::say(&clock.words());
    }
    Ok(if found || on_hold || status.clock.is_some() { Exit::Found } else { Exit::Done })
}
