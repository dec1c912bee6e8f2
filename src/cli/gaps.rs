//! `gaps`: windows that are due and neither archived nor acknowledged, and streams on hold until an operator looks. Silence
//! and 0 mean that there are none.

use clap::Args;

use super::ledger_view::look;
use super::status::windows_and_holds;
use super::{CliError, output};
use crate::app::compose::Injected;
use crate::app::status::WrongClock;
use crate::app::survey::survey;
use crate::config::Config;
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
    let view = look(config, injected).await?;
    let mut gaps = survey(&view.rules, &view.snapshot, view.now);
    gaps.retain(|judged| judged.is_gap(view.now) || (asked.all && judged.is_known_gap(view.now)));
    let found = gaps.iter().any(|judged| judged.is_gap(view.now));
    if json {
        output::json(&gaps)?;
    } else {
        view.hint();
        if !gaps.is_empty() {
            output::text(&windows_and_holds(&gaps, view.now))?;
        }
    }
    // A stream on hold has a gap to come: its next window cannot be archived.
    let mut on_hold = false;
    for rules in &view.rules {
        if let Some(hold) = rules.needs_operator(&view.snapshot) {
            on_hold = true;
            output::say(&format!("stream {} is on hold: {}", rules.name, hold.failure.message));
        }
    }
    // With a wrong clock nobody knows what is due.
    let clock = WrongClock::of(&view.snapshot, view.now);
    if let Some(clock) = &clock {
        output::say(&clock.words());
    }
    Ok(if found || on_hold || clock.is_some() { Exit::Found } else { Exit::Done })
}
