//! `retry`: makes windows that are parked or pausing due at once. A running daemon takes them up at its next look.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;

use super::ledger_view::{failed, lift_holds, open};
use super::{CliError, output};
use crate::adapters::sqlite_ledger::SqliteLedger;
use crate::app::compose::{self, Injected};
use crate::app::projects;
use crate::app::survey::survey;
use crate::config::{Config, nearest};
use crate::domain::name::StreamName;
use crate::domain::planner::plan;
use crate::domain::verdict::{StreamRules, Verdict, Waiting};
use crate::domain::window::Window;
use crate::exit_code::Exit;
use crate::ports::ledger::Ledger;

pub(super) async fn run(
    config: &Config,
    injected: &Injected,
    stream: Option<StreamName>,
    window: Option<Window>,
    as_json: bool,
) -> Result<Exit, CliError> {
    if let Some(stream) = stream.as_ref().filter(|stream| !config.streams.contains_key(stream)) {
        return Err(unknown_stream(config, stream));
    }
    let rules = compose::rules(config);
    if let (Some(stream), Some(window)) = (&stream, window) {
        check_window(&rules, stream, window)?;
    }
    let windows = match open(config).await? {
        None => 0,
        Some(ledger) => {
            let known = ledger.snapshot().await.map_err(failed)?;
            let rules = compose::rules(&projects::known_to(&known, config));
            let before = due(&rules, &ledger, injected.clock.now()).await?;
            ledger.retry(stream.as_ref(), window).await.map_err(failed)?;
            let concerned =
                rules.iter().filter(|rules| stream.as_ref().is_none_or(|name| rules.name == *name));
            lift_holds(&ledger, concerned).await?;
            let after = due(&rules, &ledger, injected.clock.now()).await?;
            ledger.close().await;
            after.difference(&before).count() as u64
        }
    };
    if as_json {
        return output::json(&json!({ "windows": windows }));
    }
    let next = if windows == 0 {
        "nothing was parked or pausing there (`connvault gaps` lists what is not archived)"
    } else {
        "a running daemon takes them up at its next look, or at once: systemctl reload connvault"
    };
    let are = if windows == 1 { "is" } else { "are" };
    output::text(&format!("{} {are} due again; {next}", output::count(windows, "window")))
}

/// What the plan would pull, and what a running daemon has taken up already. The end of a hold makes windows due of which
/// the ledger knows nothing by itself, so what a retry frees is the difference between two looks.
async fn due(
    rules: &[StreamRules],
    ledger: &SqliteLedger,
    now: Timestamp,
) -> Result<BTreeSet<(StreamName, Window)>, CliError> {
    let snapshot = ledger.snapshot().await.map_err(failed)?;
    let planned = plan(rules, &snapshot, now).actions.into_iter().filter(|action| !action.task.is_attest());
    let taken_up = survey(rules, &snapshot, now)
        .into_iter()
        .filter(|judged| matches!(judged.verdict, Verdict::Waiting { why: Waiting::Attempt, .. }));
    let planned = planned.map(|action| (action.stream, action.window));
    Ok(planned.chain(taken_up.map(|judged| (judged.stream, judged.window))).collect())
}

/// A window that the stream's calendar does not cut was mistyped, and trying it again would do nothing.
pub(super) fn check_window(
    rules: &[StreamRules],
    stream: &StreamName,
    window: Window,
) -> Result<(), CliError> {
    let own = rules.iter().find(|rules| rules.name == *stream);
    match own.and_then(|rules| rules.calendar.window_at(window.start())) {
        Some(cut) if cut != window => {
            let message = format!("stream {stream} has no window {window}; around its start it has {cut}");
            Err(CliError::new(Exit::Usage, message))
        }
        _ => Ok(()),
    }
}

/// The stream is not in the configuration.
pub(super) fn unknown_stream(config: &Config, stream: &StreamName) -> CliError {
    let known: Vec<_> = config.streams.keys().map(StreamName::as_str).collect();
    let has = match nearest(stream.as_str(), known.iter().copied()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("it has: {}", known.join(", ")),
    };
    CliError::new(Exit::Usage, format!("there is no stream {stream} in the configuration; {has}"))
}
