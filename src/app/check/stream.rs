//! A stream: whether its log says what the configuration says, and whether it is on hold until an operator looks.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Check, Checks};
use crate::app::compose::{self, OpenStore};
use crate::app::first_losses::{self, Opened};
use crate::app::log_reader::LogReader;
use crate::app::stream_log::{contradiction, moved_back};
use crate::config::Config;
use crate::domain::duration::spelled;
use crate::domain::first_losses::FirstLosses;
use crate::domain::log_entry::Definition;
use crate::domain::name::{StoreName, StreamName};
use crate::domain::object_key::log_key;
use crate::domain::snapshot::{Resource, Snapshot};
use crate::domain::verdict::StreamRules;
use crate::ports::clock::NoAnswerWatch;
use crate::ports::object_store::StoreError;

const DEFINITION: &str = "definition";
const STORE: &str = "store";
const START: &str = "start";
const HOLD: &str = "hold";

/// Every stream of `config`; `snapshot` is what the ledger knows.
pub(super) async fn check(config: &Config, snapshot: &Snapshot, now: Timestamp) -> Vec<Check> {
    // A store that cannot be set up is said with the stores.
    let stores = compose::stores(config, &(Arc::new(NoAnswerWatch) as _)).unwrap_or_default();
    let rules = compose::recorded_rules(config, snapshot);
    let mut checks = Vec::new();
    for (name, stream) in &config.streams {
        let mut of_stream = Checks::of(format!("stream {name}"));
        if let Some(store) = stores.get(&stream.store)
            && let Some(configured) = compose::definition_of(config, name)
        {
            let known = known(name, store, snapshot).await;
            definition(configured.clone(), &known, &mut of_stream);
            of_its_store(name, &stream.store, store, snapshot, &mut of_stream).await;
            if let (Ok(known), Some(rules)) = (known, rules.iter().find(|rules| rules.name == *name)) {
                let moved = known.as_ref().and_then(|known| moved_back(&configured, known));
                let opened = match &moved {
                    Some((known, _)) => Opened::Later(known),
                    None if known.is_some() => Opened::Yes,
                    None => Opened::No,
                };
                start(rules, opened, snapshot, now, &mut of_stream);
            }
        }
        of_stream.skip_rest(&[DEFINITION, STORE, START], "waits for what failed above");
        hold(name, snapshot, &mut of_stream);
        checks.extend(of_stream.list);
    }
    checks
}

fn definition(
    mut configured: Definition,
    known: &Result<Option<Definition>, StoreError>,
    checks: &mut Checks,
) {
    match known {
        Err(error) => {
            checks.skip_rest(&[DEFINITION], &format!("its log cannot be read: {}", error.0.message));
        }
        Ok(None) => checks.ok(DEFINITION, "there is no log yet; the first start writes its first entry"),
        Ok(Some(known)) => {
            // What the configuration leaves out is looked up, and found in the log first of all.
            if configured.project_id.is_empty() {
                configured.project_id.clone_from(&known.project_id);
            }
            match (contradiction(&configured, known), moved_back(&configured, known)) {
                (None, None) => checks.ok(DEFINITION, known.to_string()),
                (None, Some((start, words))) => checks.note(
                    DEFINITION,
                    format!("{words}: the next start of the daemon adds the windows in between"),
                    &format!(
                        "nothing, where that is meant; else put start = \"{start}\" back before the daemon starts: start may move \
                         back, and never forward again"
                    ),
                ),
                (Some(contradiction), _) => checks.failed(
                    DEFINITION,
                    contradiction,
                    "the stream stays on hold until this is put right; other streams go on",
                ),
            }
        }
    }
}

/// Whether the store has the log that the ledger knows: a stream stays where it was opened.
async fn of_its_store(
    name: &StreamName,
    called: &StoreName,
    store: &OpenStore,
    snapshot: &Snapshot,
    checks: &mut Checks,
) {
    let Some(head) = snapshot.streams.get(name).map(|state| state.head) else {
        return checks.ok(STORE, format!("{called}; this machine knows no log of the stream yet"));
    };
    let reader = LogReader::new(name.clone(), store.store.clone());
    match reader.agreed(&log_key(name, head.seq), None, Some(head.hash)).await {
        Ok(Some(reading)) if reading.hash() == head.hash => {
            checks.ok(STORE, format!("{called}; it has the newest log entry that this machine knows ({})", head.seq));
        }
        Ok(_) => checks.failed(
            STORE,
            format!("{called} does not have log entry {} of the stream, which this machine knows", head.seq),
            "put the stream's store back, or give the stream that goes to another store a new name; where this is its store, \
             see whether somebody has deleted or changed the log (connvault verify)",
        ),
        Err(error) => checks.skip_rest(&[STORE], &format!("its log cannot be read: {}", error.0.message)),
    }
}

/// Whether the first window can still be had when the daemon starts, and is not still to come.
fn start(rules: &StreamRules, opened: Opened<'_>, snapshot: &Snapshot, now: Timestamp, checks: &mut Checks) {
    let said = rules.calendar.spelled(rules.start);
    if rules.start > now {
        return checks.failed(
            START,
            format!("{said} is still to come: nothing that was recorded before is archived"),
            "let start be where the records begin that are to be archived: a window of the last 29 days, mostly",
        );
    }
    // Without the ledger it is not known what the log says of the first windows.
    let is_known = opened == Opened::No || snapshot.streams.contains_key(&rules.name);
    match FirstLosses::of(rules, snapshot, now).filter(|_| is_known) {
        None => checks.ok(START, said),
        Some(losses) => checks.failed(
            START,
            format!(
                "{said}; the provider keeps records for {}: of the windows since then {}",
                spelled(rules.horizon),
                first_losses::words(&losses)
            ),
            &first_losses::advice(&losses, opened),
        ),
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
