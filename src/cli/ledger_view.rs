//! What commands that only look see: the ledger beside a running daemon, or nothing where there is none yet.

use jiff::Timestamp;

use super::{CliError, output};
use crate::adapters::sqlite_ledger::SqliteLedger;
use crate::adapters::state_dir::ledger_path;
use crate::app::compose::{self, Injected};
use crate::app::projects;
use crate::app::status::ApiChoices;
use crate::config::Config;
use crate::domain::snapshot::Snapshot;
use crate::domain::verdict::StreamRules;
use crate::exit_code::Exit;
use crate::ports::ledger::{Ledger, LedgerError};

/// One look.
pub(super) struct View {
    /// The rules of every stream.
    pub(super) rules: Vec<StreamRules>,
    /// Which API each source is to be asked through.
    pub(super) apis: ApiChoices,
    /// What the ledger knows.
    pub(super) snapshot: Snapshot,
    /// When it was looked.
    pub(super) now: Timestamp,
    /// Whether there is a ledger at all.
    pub(super) has_ledger: bool,
}

/// Looks.
pub(super) async fn look(config: &Config, injected: &Injected) -> Result<View, CliError> {
    let ledger = open(config).await?;
    let has_ledger = ledger.is_some();
    let snapshot = match ledger {
        None => Snapshot::default(),
        Some(ledger) => {
            let snapshot = ledger.snapshot().await.map_err(failed)?;
            ledger.close().await;
            snapshot
        }
    };
    let rules = compose::rules(&projects::known_to(&snapshot, config));
    let apis = compose::api_choices(config);
    Ok(View { rules, apis, snapshot, now: injected.clock.now(), has_ledger })
}

/// The ledger, if there is one.
pub(super) async fn open(config: &Config) -> Result<Option<SqliteLedger>, CliError> {
    SqliteLedger::open_beside(&ledger_path(&config.daemon.state_dir)).await.map_err(failed)
}

/// Ends every hold on what these streams need: an operator says that it is mended.
pub(super) async fn lift_holds(
    ledger: &dyn Ledger,
    rules: impl Iterator<Item = &StreamRules>,
) -> Result<(), CliError> {
    for resource in rules.flat_map(StreamRules::needs) {
        ledger.lift(&resource, Timestamp::MAX).await.map_err(failed)?;
    }
    Ok(())
}

/// A ledger's error, for the end of a command.
pub(super) fn failed(error: LedgerError) -> CliError {
    let exit = if matches!(error, LedgerError::Storage(_)) { Exit::Temporary } else { Exit::Failed };
    CliError::new(exit, error.to_string())
}

impl View {
    /// Says that nothing is known yet, where that is so.
    pub(super) fn hint(&self) {
        if !self.has_ledger {
            output::say(
                "there is no ledger yet; what is archived already is found out when the daemon (or `once`) starts",
            );
        }
    }
}
