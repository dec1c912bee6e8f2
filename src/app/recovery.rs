//! A ledger that SQLite calls damaged is made anew from the logs in the stores, at a start and by the daemon itself.
//!
//! The order: the state directory is locked, so nobody else uses the ledger. Every log is verified before anything is touched. The
//! new ledger is whole before it takes the place of the damaged one, which is kept beside it.
//!
//! A log that does not verify, or whose store does not answer, is left out: it holds up its own stream and no other. For that
//! stream the new ledger is an empty one, and the run reads its log as after any lost ledger: what is wrong with the log
//! puts the stream on hold.

use jiff::Timestamp;

use crate::adapters::sqlite_ledger::SqliteLedger;
use crate::adapters::state_dir::StateDir;
use crate::config::Config;
use crate::ports::ledger::LedgerError;

use super::compose::Injected;
use super::rebuild::{LeftOut, Trust, remake};
use super::start_error::StartError;
use super::verify::Meter;

/// The ledger of a locked state directory, made anew where it is damaged.
///
/// # Errors
/// When it cannot be opened; when it is damaged and a new one cannot be written.
pub(super) async fn sound_ledger(
    state_dir: &StateDir,
    config: &Config,
    injected: &Injected,
) -> Result<SqliteLedger, StartError> {
    match SqliteLedger::open(&state_dir.ledger()).await {
        Err(LedgerError::Damaged(why)) => {
            make_anew(state_dir, config, injected, &why).await?;
            Ok(SqliteLedger::open(&state_dir.ledger()).await?)
        }
        opened => Ok(opened?),
    }
}

async fn make_anew(
    state_dir: &StateDir,
    config: &Config,
    injected: &Injected,
    why: &str,
) -> Result<(), StartError> {
    tracing::error!(error = why, "the ledger is damaged: it is being made anew from the logs in the stores");
    let kept_as = kept_as(injected.clock.now());
    let meter = Meter::default();
    let made = remake(state_dir, config, injected, Trust::EachVerified, &meter, Some(&kept_as)).await?;
    let (remade, left_out) = made;
    for LeftOut { stream, why } in left_out {
        tracing::error!(%stream, "the new ledger knows nothing of this stream yet: {why}; its log is read once more by this run");
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
