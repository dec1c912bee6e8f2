//! `gaps`: windows that are due and not archived, and streams on hold until an operator looks. Silence and 0 mean that there
//! are none.

use super::ledger_view::look;
use super::status::windows_and_holds;
use super::{CliError, output};
use crate::app::compose::Injected;
use crate::app::survey::survey;
use crate::config::Config;
use crate::exit_code::Exit;

pub(super) async fn run(config: &Config, injected: &Injected, json: bool) -> Result<Exit, CliError> {
    let view = look(config, injected).await?;
    let mut gaps = survey(&view.rules, &view.snapshot, view.now);
    gaps.retain(|judged| judged.is_gap(view.now));
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
    Ok(if gaps.is_empty() && !on_hold { Exit::Done } else { Exit::Found })
}
