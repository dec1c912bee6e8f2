//! `check`: a table of everything that was tried, with the fix beside each failure.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use comfy_table::{ColumnConstraint, Width};
use tokio_util::sync::CancellationToken;

use super::{CliError, output, signals};
use crate::adapters::sqlite_ledger::SqliteLedger;
use crate::adapters::state_dir::ledger_path;
use crate::app::check::{self, Check, Outcome};
use crate::app::compose::Injected;
use crate::config::{Config, ConfigError};
use crate::domain::snapshot::Snapshot;
use crate::exit_code::Exit;
use crate::ports::ledger::{Ledger, LedgerError};

/// How long clearing away may take.
const GRACE: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct Asked {
    /// The user that the daemon runs as, who must be able to read the configuration [default: connvault, if there is one]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

pub(super) async fn run(
    file: &Path,
    asked: &Asked,
    config: Result<Config, ConfigError>,
    injected: &Injected,
    json: bool,
) -> Result<Exit, CliError> {
    let stop = signals::controls()?.stop;
    let asked = check::Asked { file, user: asked.user.as_deref() };
    let is_usable = config.is_ok();
    let checks = tokio::select! {
        checks = check::check(asked, config, known, injected, &stop) => checks,
        () = too_long(&stop) => {
            let left = "stopped in the middle of a step that did not end in time; if it was the v3 export, see the export centre \
                        for a task of these minutes";
            return Err(CliError::new(Exit::Temporary, left));
        }
    };
    // What was skipped was skipped for something that is told, or is of no use.
    let well = checks.iter().all(|check| check.outcome != Outcome::Failed);
    let exit = match (stop.is_cancelled(), well) {
        _ if !is_usable => Exit::Usage,
        (true, _) => Exit::Temporary,
        (false, true) => Exit::Done,
        (false, false) => Exit::Failed,
    };
    if json {
        output::json(&serde_json::json!({ "ok": exit == Exit::Done, "checks": checks }))?;
    } else {
        output::text(&table(&checks, stop.is_cancelled()))?;
    }
    Ok(exit)
}

/// Whoever stops it waits no longer than clearing away takes.
async fn too_long(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

/// What the ledger knows, if there is one.
async fn known(config: &Config) -> Result<Option<Snapshot>, LedgerError> {
    let ledger = SqliteLedger::open_beside(&ledger_path(&config.daemon.state_dir)).await?;
    let Some(ledger) = ledger else { return Ok(None) };
    let snapshot = ledger.snapshot().await;
    ledger.close().await;
    snapshot.map(Some)
}

const ANY: ColumnConstraint = ColumnConstraint::ContentWidth;

/// Whole sentences stand in these columns, and are to be read beside one another.
fn at_most(letters: u16) -> ColumnConstraint {
    ColumnConstraint::UpperBoundary(Width::Fixed(letters))
}

fn table(checks: &[Check], stopped: bool) -> String {
    let mut table = output::table(["of", "check", "result", "details", "what to do"]);
    table.set_constraints([ANY, ANY, ANY, at_most(60), at_most(52)]);
    for check in checks {
        table.add_row([
            output::printable(&check.subject),
            check.check.to_owned(),
            check.outcome.as_str().to_owned(),
            output::printable(&check.detail),
            check.fix.as_deref().map(output::printable).unwrap_or_default(),
        ]);
    }
    let failed = checks.iter().filter(|check| check.outcome == Outcome::Failed).count() as u64;
    let end = match failed {
        _ if stopped => "stopped before everything was tried: run it again".to_owned(),
        0 => "all is well".to_owned(),
        failed => format!("{} failed", output::count(failed, "check")),
    };
    format!("{}\n{end}\n", output::lines(&table))
}
