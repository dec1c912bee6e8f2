//! One run of one process over one state directory: everything that must be so before the first window is touched.
//!
//! The order matters. The lock comes first: after it, nobody else uses this ledger, so leases that it still holds are
//! of processes that died, and what lies in the scratch folder is nobody's. Stores are proven before logs are read,
//! logs before the spool is swept: what a log says is archived needs no spool.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::adapters::spool::Spool;
use crate::adapters::sqlite_ledger::SqliteLedger;
use crate::adapters::state_dir::StateDir;
use crate::config::Config;
use crate::domain::crashes::{self, Treatment};
use crate::domain::failure::Scope;
use crate::domain::snapshot::{Hold, WindowState};
use crate::domain::verdict::StreamRules;
use crate::ports::ledger::{Ledger, LedgerError};
use crate::ports::object_store::CreateOnly;
use crate::ports::source_memory::SourceMemory;

use super::clock_watch::{ClockWatch, Standing, Teller};
use super::compose::{self, Injected, OpenStore, Parts, Streams};
use super::data_object::UnprovenPuts;
use super::failure_policy::{hold_log, of_ledger};
use super::first_losses;
use super::projects;
use super::recovery::sound_ledger;
use super::roster::Roster;
use super::scratch::Scratch;
use super::services::{Owed, Services};
use super::signing;
use super::start_error::StartError;

/// A run that may begin.
pub struct Session {
    /// What windows are worked on with.
    pub services: Arc<Services>,
    ledger: SqliteLedger,
    // Dropped last: the directory is ours until then.
    _state_dir: StateDir,
}

impl Session {
    /// Proves all that a run stands on: state directory, ledger, stores, logs. What sources need is found out while the run
    /// goes on, each by itself.
    ///
    /// # Errors
    /// When something does not hold, with the exit code that goes with it.
    pub async fn begin(config: &Config, injected: &Injected) -> Result<Self, StartError> {
        let state_dir = StateDir::lock(&config.daemon.state_dir)?;
        let sqlite = sound_ledger(&state_dir, config, injected).await?;
        take_up(&sqlite, injected.clock.now()).await?;
        let ledger: Arc<dyn Ledger> = Arc::new(sqlite.clone());
        let snapshot = ledger.snapshot().await;
        let snapshot = snapshot.map_err(|error| StartError::from_failure("ledger", &of_ledger(error)))?;
        let signing = signing::signing(config, injected.clock.now())?.map(Arc::new);
        let watch = Arc::new(ClockWatch::new(Arc::clone(&injected.clock)));
        watch.know(&snapshot);
        let stores = compose::stores(config, &watch.answers())?;
        for (name, store) in &stores {
            watch.may_ask(Teller::Store(Arc::clone(&store.store)));
            prove(name.as_str(), store, &watch).await?;
        }
        let memory: Arc<dyn SourceMemory> = Arc::new(sqlite.clone());
        let parts = Parts {
            stores,
            signing,
            ledger: Arc::clone(&ledger),
            memory: Arc::clone(&memory),
            injected: injected.clone(),
            watch: Arc::clone(&watch),
        };
        let roster = Roster::new(projects::known_to(&snapshot, config), parts)?;
        let streams = roster.streams();
        open_logs(&streams, &*ledger, &watch).await?;
        record(&roster.rules(), &*ledger, injected.clock.now()).await?;
        let abandon = CancellationToken::new();
        let services = Services {
            spool: open_spool(&state_dir, &streams, &ledger).await?,
            scratch: Scratch::open(state_dir.scratch(), abandon.clone())
                .map_err(|failure| StartError::from_failure("scratch folder", &failure))?
                .looking_with(Arc::clone(&injected.inspector)),
            ledger,
            memory,
            roster,
            clock: Arc::clone(&injected.clock),
            watch: Arc::clone(&watch),
            checkpoint: Arc::clone(&injected.checkpoint),
            holder: format!("{}:{}", compose::host(), uuid::Uuid::now_v7()),
            abandon,
            owed: Owed::default(),
            unproven: UnprovenPuts::default(),
            keep_attempts: config.daemon.keep_attempts,
        };
        Ok(Self { services: Arc::new(services), ledger: sqlite, _state_dir: state_dir })
    }

    /// Closes the ledger and gives the state directory back.
    pub async fn end(self) {
        self.ledger.close().await;
    }
}

/// Takes the ledger up where an earlier run left it.
async fn take_up(ledger: &SqliteLedger, now: Timestamp) -> Result<(), StartError> {
    let failed = |error| StartError::from_failure("ledger", &of_ledger(error));
    let voided = ledger.void_leases().await.map_err(failed)?;
    if voided > 0 {
        tracing::info!(
            windows = voided,
            "an earlier run ended in the middle of its work; it is taken up again"
        );
    }
    park_crashed(ledger, now).await.map_err(failed)?;
    // What waits for an operator is tried at once: starting the program may be how one says that it is mended. Should it not
    // be, it has been so since the first failure. A pause that the other side asked for outlasts a restart.
    for (resource, hold) in ledger.snapshot().await.map_err(failed)?.holds {
        if hold.failure.kind.needs_operator() {
            let ended = Hold { until: hold.until.min(now), ..hold };
            ledger.hold(&resource, &ended).await.map_err(failed)?;
        }
    }
    Ok(())
}

/// Windows whose attempts keep ending with the process wait for an operator; before that they go last and alone.
async fn park_crashed(ledger: &SqliteLedger, now: Timestamp) -> Result<(), LedgerError> {
    for (stream, windows) in ledger.snapshot().await?.crashes {
        for (window, crashes) in windows {
            match Treatment::after(crashes) {
                Treatment::Usual => {}
                Treatment::Alone => tracing::warn!(
                    %stream, %window, crashes,
                    "the last attempts at this window ended with the process: it goes last and alone"
                ),
                Treatment::Parked => {
                    let failure = crashes::failure(&stream, window, crashes);
                    ledger.park(&stream, window, &failure, now).await?;
                    tracing::error!(%stream, %window, crashes, "it waits for an operator: {}", failure.message);
                }
            }
        }
    }
    Ok(())
}

async fn prove(name: &str, store: &OpenStore, watch: &ClockWatch) -> Result<(), StartError> {
    let proven = store.store.prove().await;
    if let Err(error) = &proven
        && matches!(watch.look().await, Standing::Wrong(_))
    {
        // Stores refuse requests of a wrong clock. The first look holds everything up and says so; the first put proves.
        tracing::debug!(store = name, %error, "store not proven");
        return Ok(());
    }
    let create_only = proven.map_err(|error| StartError::from_failure(&format!("store {name}"), &error.0))?;
    if create_only == CreateOnly::HeadThenPut {
        tracing::warn!(
            store = name,
            "this store refuses no overwriting: connvault looks before it puts, and two daemons must not share it"
        );
    } else {
        tracing::info!(store = name, ?create_only, "store proven");
    }
    Ok(())
}

/// Opens every log. A stream whose log cannot be opened is on hold with all that shares the cause; the others go on. Only
/// this machine's own failure ends the start.
async fn open_logs(streams: &Streams, ledger: &dyn Ledger, watch: &ClockWatch) -> Result<(), StartError> {
    let mut works = BTreeSet::new();
    let mut failed = Vec::new();
    for (name, stream) in streams {
        match stream.log.open(&stream.definition).await {
            Ok(()) => _ = works.insert(stream.rules.store.clone()),
            // Stores refuse requests of a wrong clock, and no entry is dated by one: the first look holds everything up.
            Err(_) if matches!(watch.look().await, Standing::Wrong(_)) => {}
            Err(failure) if failure.scope == Scope::Daemon => {
                return Err(StartError::from_failure(&format!("stream {name}"), &failure));
            }
            Err(failure) => failed.push((stream, failure)),
        }
    }
    for (stream, failure) in failed {
        let held = hold_log(&stream.rules, &failure, &works, ledger, watch.clock().now()).await;
        held.map_err(|failure| StartError::from_failure("ledger", &failure))?;
    }
    Ok(())
}

/// Records what commands that only look go by, and says what was lost before it was promised.
async fn record(rules: &[StreamRules], ledger: &dyn Ledger, now: Timestamp) -> Result<(), StartError> {
    let failed = |error| StartError::from_failure("ledger", &of_ledger(error));
    let fingerprints = rules.iter().flat_map(StreamRules::recorded).collect();
    ledger.record_fingerprints(&fingerprints).await.map_err(failed)?;
    first_losses::say(rules, &ledger.snapshot().await.map_err(failed)?, now);
    Ok(())
}

async fn open_spool(
    state_dir: &StateDir,
    streams: &Streams,
    ledger: &Arc<dyn Ledger>,
) -> Result<Spool, StartError> {
    let failed = |failure: &_| StartError::from_failure("spool", failure);
    let spool = Spool::open(state_dir.spool()).await.map_err(|error| failed(&error.0))?;
    let snapshot = ledger.snapshot().await.map_err(|error| failed(&of_ledger(error)))?;
    let keep = move |stream: &_, window| {
        let state = snapshot.windows.get(stream).and_then(|windows| windows.get(&window));
        // What belongs to a stream that is not configured now may be wanted again, and so may a lost window's export.
        !matches!(state, Some(WindowState::Archived { .. }))
    };
    let swept = spool.sweep(&keep).await.map_err(|error| failed(&error.0))?;
    if swept > 0 {
        tracing::info!(windows = swept, streams = streams.len(), "spool swept of what is archived");
    }
    Ok(spool)
}
