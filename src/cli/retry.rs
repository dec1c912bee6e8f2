//! `retry`: makes windows that are parked or pausing due at once. A running daemon takes them up at its next look.

use serde_json::json;

use super::ledger_view::{failed, lift_holds, open};
use super::{CliError, output};
use crate::app::compose;
use crate::config::Config;
use crate::domain::name::StreamName;
use crate::domain::window::Window;
use crate::exit_code::Exit;
use crate::ports::ledger::Ledger;

pub(super) async fn run(
    config: &Config,
    stream: Option<StreamName>,
    window: Option<Window>,
    as_json: bool,
) -> Result<Exit, CliError> {
    if let Some(stream) = stream.as_ref().filter(|stream| !config.streams.contains_key(stream)) {
        return Err(unknown_stream(config, stream));
    }
    let windows = match open(config).await? {
        None => 0,
        Some(ledger) => {
            let windows = ledger.retry(stream.as_ref(), window).await.map_err(failed)?;
            let rules = compose::rules(config);
            let concerned =
                rules.iter().filter(|rules| stream.as_ref().is_none_or(|name| rules.name == *name));
            lift_holds(&ledger, concerned).await?;
            ledger.close().await;
            windows
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
    output::text(&format!("{windows} windows are due now; {next}"))
}

/// The stream is not in the configuration.
pub(super) fn unknown_stream(config: &Config, stream: &StreamName) -> CliError {
    let known: Vec<_> = config.streams.keys().map(StreamName::as_str).collect();
    let message = format!("there is no stream {stream} in the configuration; it has: {}", known.join(", "));
    CliError::new(Exit::Usage, message)
}
