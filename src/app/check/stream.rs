//! A stream: whether its log says what the configuration says, and whether it is on hold until an operator looks.

use std::sync::Arc;

use super::{Check, Checks};
use crate::app::compose::{self, OpenStore};
use crate::app::log_reader::LogReader;
use crate::app::stream_log::contradiction;
use crate::config::Config;
use crate::domain::log_entry::Definition;
use crate::domain::name::StreamName;
use crate::domain::snapshot::{Resource, Snapshot};
use crate::ports::clock::NoAnswerWatch;
use crate::ports::object_store::StoreError;

const DEFINITION: &str = "definition";
const HOLD: &str = "hold";

/// Every stream of `config`; `snapshot` is what the ledger knows.
pub(super) async fn check(config: &Config, snapshot: &Snapshot) -> Vec<Check> {
    // A store that cannot be set up is said with the stores.
    let stores = compose::stores(config, &(Arc::new(NoAnswerWatch) as _)).unwrap_or_default();
    let mut checks = Vec::new();
    for (name, stream) in &config.streams {
        let mut of_stream = Checks::of(format!("stream {name}"));
        if let Some(store) = stores.get(&stream.store)
            && let Some(configured) = compose::definition_of(config, name)
        {
            definition(name, configured, store, snapshot, &mut of_stream).await;
        }
        of_stream.skip_rest(&[DEFINITION], "waits for what failed above");
        hold(name, snapshot, &mut of_stream);
        checks.extend(of_stream.list);
    }
    checks
}

async fn definition(
    name: &StreamName,
    mut configured: Definition,
    store: &OpenStore,
    snapshot: &Snapshot,
    checks: &mut Checks,
) {
    match known(name, store, snapshot).await {
        Err(error) => {
            checks.skip_rest(&[DEFINITION], &format!("its log cannot be read: {}", error.0.message));
        }
        Ok(None) => checks.ok(DEFINITION, "there is no log yet; the first start writes its first entry"),
        Ok(Some(known)) => {
            // What the configuration leaves out is looked up, and found in the log first of all.
            if configured.project_id.is_empty() {
                configured.project_id.clone_from(&known.project_id);
            }
            match contradiction(&configured, &known) {
                None => checks.ok(DEFINITION, known.to_string()),
                Some(contradiction) => checks.failed(
                    DEFINITION,
                    contradiction,
                    "the stream stays on hold until this is put right; other streams go on",
                ),
            }
        }
    }
}

fn hold(name: &StreamName, snapshot: &Snapshot, checks: &mut Checks) {
    let hold = snapshot.holds.get(&Resource::Stream(name.clone()));
    match hold.filter(|hold| hold.failure.kind.needs_operator()) {
        None => checks.ok(HOLD, "the stream waits for no operator"),
        Some(hold) => checks.failed(
            HOLD,
            format!("since {:.0}: {}", hold.since, hold.failure.message),
            "do what the message says, then restart the daemon, or run connvault retry",
        ),
    }
}

/// What the stream is: by the ledger, which knows the whole log, else by the log's first entry.
async fn known(
    name: &StreamName,
    store: &OpenStore,
    snapshot: &Snapshot,
) -> Result<Option<Definition>, StoreError> {
    if let Some(state) = snapshot.streams.get(name) {
        return Ok(Some(state.definition.clone()));
    }
    LogReader::new(name.clone(), store.store.clone()).opened_as().await
}
