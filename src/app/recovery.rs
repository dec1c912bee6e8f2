//! A ledger that SQLite calls damaged is made anew from the logs in the stores, at a start and by the daemon itself.
//!
//! The order: the state directory is locked, so nobody else uses the ledger. Every log is verified before anything is touched; where
//! one does not verify, or a store does not answer, the damaged ledger stays as it is and the start fails with what to do. Only then the
//! new ledger takes the place of the damaged one, which is kept beside it.

use jiff::Timestamp;

use crate::adapters::sqlite_ledger::SqliteLedger;
use crate::adapters::state_dir::StateDir;
use crate::config::Config;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::ports::ledger::LedgerError;

use super::compose::Injected;
use super::failure_policy::of_ledger;
use super::rebuild::{Trust, remake};
use super::start_error::StartError;
use super::verify::Meter;

/// The ledger of a locked state directory, made anew where it is damaged.
///
/// # Errors
/// When it cannot be opened; when it is damaged and a log does not verify or cannot be read.
pub(super) async fn sound_ledger(
    state_dir: &StateDir,
    config: &Config,
    injected: &Injected,
) -> Result<SqliteLedger, StartError> {
    let failed = |error| StartError::from_failure("ledger", &of_ledger(error));
    match SqliteLedger::open(&state_dir.ledger()).await {
        Err(LedgerError::Damaged(why)) => {
            make_anew(state_dir, config, injected, &why).await?;
            SqliteLedger::open(&state_dir.ledger()).await.map_err(failed)
        }
        opened => opened.map_err(failed),
    }
}

async fn make_anew(
    state_dir: &StateDir,
    config: &Config,
    injected: &Injected,
    why: &str,
) -> Result<(), StartError> {
    tracing::error!("the ledger is damaged and is made anew from the logs in the stores: {why}");
    let kept_as = kept_as(injected.clock.now());
    let meter = Meter::default();
    let remade = remake(state_dir, config, injected, Trust::Verified, &meter, Some(&kept_as)).await?;
    if let Some((stream, finding)) =
        remade.iter().find_map(|stream| Some((&stream.stream, stream.findings.first()?)))
    {
        let message = format!(
            "it is damaged, and is not made anew since the log of stream {stream} does not verify ({finding}): see connvault verify, \
             then run: connvault rebuild (--accept-unverified goes on with the log as it is)"
        );
        let failure = Failure::new(FailureKind::Damaged, Scope::Daemon, message);
        return Err(StartError::from_failure("ledger", &failure));
    }
    tracing::warn!(
        kept_as,
        streams = remade.len(),
        "the ledger was made anew; the damaged one is kept beside it"
    );
    Ok(())
}

/// The end of the name of a ledger that was found damaged at `now`.
fn kept_as(now: Timestamp) -> String {
    now.strftime("corrupt-%Y%m%dT%H%M%SZ").to_string()
}
