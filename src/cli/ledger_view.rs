//! What commands that only look see: the ledger beside a running daemon, or nothing where there is none yet. Whoever may not
//! read the ledger is told by the daemon's own page, which says the same.
//!
//! No secret is read. Whether what is parked or held up was so under the configuration in force is decided by what the last
//! run recorded of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::{CliError, output};
use crate::adapters::daemon_page::{self, PageError};
use crate::adapters::sqlite_ledger::SqliteLedger;
use crate::adapters::state_dir::{StateDir, is_closed_to_us, ledger_path};
use crate::app::compose::{self, Injected};
use crate::app::daemon_status::DaemonStatus;
use crate::app::plan_at::PlanAt;
use crate::app::status::{HeldUp, Status};
use crate::app::survey::Judged;
use crate::config::{Config, WrittenConfig};
use crate::domain::snapshot::{Hold, Resource, Snapshot};
use crate::domain::text::ForeignText;
use crate::domain::verdict::{StreamRules, Verdict, Waiting};
use crate::exit_code::Exit;
use crate::ports::ledger::{Ledger, LedgerError};

/// Every stream, window and hold, as they are now.
pub(super) async fn status(config: &Config, injected: &Injected) -> Result<Status, CliError> {
    if is_closed_to_us(&config.daemon.state_dir) {
        return from_page(config, "/status.json").await;
    }
    let View { rules, snapshot, daemon, now } = look(config, injected).await?;
    Ok(Status::of(&rules, &compose::source_statuses(config), &snapshot, daemon, now))
}

/// What would be done now.
pub(super) async fn plan(config: &Config, injected: &Injected) -> Result<PlanAt, CliError> {
    if is_closed_to_us(&config.daemon.state_dir) {
        return from_page(config, "/plan.json").await;
    }
    let View { rules, snapshot, now, .. } = look(config, injected).await?;
    Ok(PlanAt::of(&rules, &snapshot, now))
}

/// One look into the ledger.
pub(super) struct View {
    /// The rules of every stream.
    pub(super) rules: Vec<StreamRules>,
    /// What the ledger knows, and what a running daemon could not tell it.
    pub(super) snapshot: Snapshot,
    /// Whether a daemon runs, and how.
    pub(super) daemon: DaemonStatus,
    /// When it was looked.
    pub(super) now: Timestamp,
}

/// Looks into the ledger, and says so where there is none.
pub(super) async fn look(config: &Config, injected: &Injected) -> Result<View, CliError> {
    let mut snapshot = match open(config).await? {
        None => {
            output::say(
                "there is no ledger yet; what is archived already is found out when the daemon (or `once`) starts",
            );
            Snapshot::default()
        }
        Some(ledger) => {
            let snapshot = ledger.snapshot().await.map_err(failed)?;
            ledger.close().await;
            snapshot
        }
    };
    let written = injected.written.as_ref().and_then(WrittenConfig::digest);
    let is_held = StateDir::is_held(&config.daemon.state_dir);
    if !is_held {
        // The next start voids the leases of a process that died.
        snapshot.void_leases();
    }
    let daemon = DaemonStatus::of(snapshot.run.as_ref(), is_held, written);
    let told = if daemon.runs { told_by_the_page(config).await } else { None };
    let now = injected.clock.now();
    let daemon = match told {
        None => daemon.by_the_ledger_alone(now),
        Some(told) => {
            for held in told.holds.into_iter().filter(|held| held.resource == Resource::Daemon) {
                // The ledger still has the leases of windows that were given up for it.
                let is_in_work =
                    |at: &&Judged| matches!(at.verdict, Verdict::Waiting { why: Waiting::Attempt, .. });
                for given_up in told.windows.iter().filter(|at| !is_in_work(at)) {
                    snapshot.void_lease(&given_up.stream, given_up.window);
                }
                snapshot.holds.entry(Resource::Daemon).or_insert_with(|| held.into_hold());
            }
            daemon.unwritten(told.daemon.looked_at.filter(|_| told.daemon.written_at.is_some()))
        }
    };
    let rules = compose::recorded_rules(config, &snapshot);
    Ok(View { rules, snapshot, daemon, now })
}

/// What the daemon says of itself.
#[derive(serde::Deserialize)]
struct Told {
    holds: Vec<HeldUp>,
    windows: Vec<Judged>,
    daemon: DaemonStatus,
}

/// A full disk is the one outage that a daemon may be unable to write down: its status page tells it. Without its word there is
/// what the ledger says.
async fn told_by_the_page(config: &Config) -> Option<Told> {
    let document = daemon_page::get(config.daemon.listen?, "/status.json").await.ok()?;
    serde_json::from_slice(&document).ok()
}

/// The ledger, if there is one, for whoever may read it.
pub(super) async fn open(config: &Config) -> Result<Option<SqliteLedger>, CliError> {
    if is_closed_to_us(&config.daemon.state_dir) {
        let message = format!("{}: run this as root, or as the daemon's user", closed(config));
        return Err(CliError::new(Exit::Failed, message));
    }
    SqliteLedger::open_beside(&ledger_path(&config.daemon.state_dir)).await.map_err(failed)
}

fn closed(config: &Config) -> String {
    format!("this user may not read the state directory {}", config.daemon.state_dir.display())
}

/// A document of the daemon's page.
async fn from_page<T: DeserializeOwned>(config: &Config, path: &str) -> Result<T, CliError> {
    let closed = closed(config);
    let Some(address) = config.daemon.listen else {
        let message = format!(
            "{closed}, and the daemon has no page that could be asked instead: run this as root, or set daemon.listen"
        );
        return Err(CliError::new(Exit::Failed, message));
    };
    if address.port() == 0 {
        let message = format!(
            "{closed}, and nobody knows at which port the daemon's page is: run this as root, or name a port in daemon.listen"
        );
        return Err(CliError::new(Exit::Failed, message));
    }
    let document =
        daemon_page::get(address, path).await.map_err(|error| no_page(&closed, address, &error))?;
    serde_json::from_slice(&document).map_err(|error| {
        let error = ForeignText::new(error.to_string());
        let message = format!(
            "{closed}, and the page at http://{} answers in words of another version ({error}): use the version of connvault \
             that the daemon runs",
            daemon_page::reachable(address)
        );
        CliError::new(Exit::Failed, message)
    })
}

/// The page does not say: nothing is known, which is no good news.
fn no_page(closed: &str, address: SocketAddr, error: &PageError) -> CliError {
    let page = daemon_page::reachable(address);
    let advice = match error {
        PageError::NotThere(_) => {
            "start the daemon (systemctl status connvault says why it does not run), or run this as root"
        }
        PageError::Refused { .. } | PageError::Broken(_) => "run this again later, or as root",
    };
    CliError::new(
        Exit::Temporary,
        format!("{closed}, so the daemon's page http://{page} was asked, and {error}: {advice}"),
    )
}

/// Ends the pause of every hold on what these streams need: an operator says that it is mended. Each is listed on until something
/// has worked there. Says which.
pub(super) async fn try_at_once(
    ledger: &dyn Ledger,
    rules: impl Iterator<Item = &StreamRules>,
    now: Timestamp,
) -> Result<BTreeSet<Resource>, CliError> {
    let mut holds = ledger.snapshot().await.map_err(failed)?.holds;
    let mut freed = BTreeSet::new();
    for resource in rules.flat_map(StreamRules::needs) {
        let Some(hold) = holds.remove(&resource) else { continue };
        // A failure that follows is the first after what was mended.
        let over = Hold { until: hold.until.min(now), failures: 1, ..hold };
        ledger.hold(&resource, &over).await.map_err(failed)?;
        freed.insert(resource);
    }
    Ok(freed)
}

/// A ledger's error, for the end of a command.
pub(super) fn failed(error: LedgerError) -> CliError {
    let exit = if matches!(error, LedgerError::Storage(_)) { Exit::Temporary } else { Exit::Failed };
    CliError::new(exit, error.to_string())
}
