//! One run of one process over one state directory: everything that must be so before the first window is touched.
//!
//! The order matters. The lock comes first: after it, nobody else uses this ledger, so leases that it still holds are
//! of processes that died, and what lies in the scratch folder is nobody's. Only what this machine lacks ends a start.
//! Stores are proven, and logs opened, while the run goes on ([`super::proving`], [`super::planning`]): what is wrong with one
//! of them holds up what needs it.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::adapters::end_mark::EndMark;
use crate::adapters::spool::Spool;
use crate::adapters::sqlite_ledger::SqliteLedger;
use crate::adapters::state_dir::StateDir;
use crate::adapters::workspace::upkeep;
use crate::config::{Config, WrittenConfig};
use crate::domain::crashes::{self, Treatment};
use crate::domain::snapshot::{Hold, Resource, Snapshot, WindowState};
use crate::domain::verdict::StreamRules;
use crate::ports::ledger::{Ledger, LedgerError};
use crate::ports::notebook::Notebook;

use super::archive::UnprovenPuts;
use super::clock_watch::{ClockWatch, Teller};
use super::compose::{self, Injected, Parts, Streams};
use super::machine::Machine;
use super::open_work::InWork;
use super::projects;
use super::proving::Proofs;
use super::recovery::sound_ledger;
use super::roster::Roster;
use super::run_record::RunRecord;
use super::scratch::Scratch;
use super::services::{LastExports, Owed, Services};
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
    /// Makes sure of what a run stands on in this machine: state directory, ledger, spool, keys. What sources and stores need is
    /// found out while the run goes on, each by itself.
    ///
    /// # Errors
    /// When something does not hold, with the exit code that goes with it.
    pub async fn begin(config: &Config, injected: &Injected) -> Result<Self, StartError> {
        let now = injected.clock.now();
        let state_dir = StateDir::lock(&config.daemon.state_dir)?;
        let sqlite = sound_ledger(&state_dir, config, injected).await?;
        take_up(&sqlite, &state_dir.end_mark(), now).await?;
        let ledger: Arc<dyn Ledger> = Arc::new(sqlite.clone());
        let snapshot = ledger.snapshot().await?;
        let digest = injected.written.as_ref().and_then(WrittenConfig::digest);
        let run = RunRecord::new(now, snapshot.run.as_ref(), digest.map(str::to_owned));
        run.begin(&*ledger, false).await;
        let signing = signing::signing(config, now)?.map(Arc::new);
        let watch = Arc::new(ClockWatch::new(Arc::clone(&injected.clock)));
        watch.know(&snapshot);
        let stores = compose::stores(config, &watch.answers())?;
        let proofs = Proofs::of(&stores);
        for store in stores.values() {
            watch.may_ask(Teller::Store(Arc::clone(&store.store)));
        }
        let notebook: Arc<dyn Notebook> = Arc::new(sqlite.clone());
        let configured = config.sources.keys().cloned().collect();
        upkeep::tell_strangers(&*notebook, &configured, now).await?;
        let parts = Parts {
            stores,
            signing,
            ledger: Arc::clone(&ledger),
            notebook,
            injected: injected.clone(),
            watch: Arc::clone(&watch),
        };
        let roster = Roster::new(projects::known_to(&snapshot, config), parts)?;
        let rules = roster.rules();
        end_holds(&*ledger, &rules, &snapshot, now).await?;
        record(&rules, &*ledger).await?;
        let abandon = CancellationToken::new();
        let services = Services {
            spool: open_spool(&state_dir, &roster.streams(), &ledger).await?,
            scratch: Scratch::open(state_dir.scratch(), abandon.clone())
                .map_err(|failure| StartError::from_failure("scratch folder", &failure))?
                .looking_with(Arc::clone(&injected.inspector)),
            ledger,
            roster,
            proofs,
            machine: Machine::default(),
            in_work: InWork::default(),
            exports: LastExports::default(),
            run,
            clock: Arc::clone(&injected.clock),
            watch: Arc::clone(&watch),
            checkpoint: Arc::clone(&injected.checkpoint),
            holder: format!("{}:{}", compose::host(), uuid::Uuid::now_v7()),
            abandon,
            owed: Owed::default(),
            end_mark: state_dir.end_mark(),
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
async fn take_up(ledger: &SqliteLedger, end_mark: &EndMark, now: Timestamp) -> Result<(), StartError> {
    if end_mark.is_announced() {
        // The ledger could not take it down then.
        ledger.give_notice().await?;
    }
    let voided = ledger.void_leases().await?;
    if voided > 0 {
        tracing::info!(
            windows = voided,
            "an earlier run ended in the middle of its work; it is taken up again"
        );
    }
    // Not before the ledger has taken down what the mark said.
    if let Err(error) = end_mark.begin() {
        tracing::debug!(%error, "the end of this run could be announced in the ledger alone");
    }
    park_crashed(ledger, now).await?;
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

/// Ends the holds that were placed under other settings or keys, or on what no stream needs any more. What waits for an operator
/// is tried at once: starting the program may be how one says that it is mended. Should it not be, it has been so since
/// the first failure. A pause that the other side asked for outlasts a restart.
async fn end_holds(
    ledger: &dyn Ledger,
    rules: &[StreamRules],
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<(), StartError> {
    let stands = |resource: &Resource, hold: &Hold| {
        let needs = |rules: &&StreamRules| rules.needs().any(|needed| needed == *resource);
        let has_settings = !matches!(resource, Resource::Daemon | Resource::Clock);
        let rules = rules.iter().find(needs);
        rules.is_some_and(|rules| !has_settings || *rules.fingerprint_of(resource) == hold.fingerprint)
    };
    for (resource, hold) in &snapshot.holds {
        let ended = if !stands(resource, hold) {
            ledger.lift(resource, Timestamp::MAX).await.map(|_| ())
        } else if hold.failure.kind.needs_operator() && hold.until > now {
            ledger.hold(resource, &Hold { until: now, ..hold.clone() }).await
        } else {
            Ok(())
        };
        ended?;
    }
    Ok(())
}

/// Records what commands that only look go by.
async fn record(rules: &[StreamRules], ledger: &dyn Ledger) -> Result<(), StartError> {
    let fingerprints = rules.iter().flat_map(StreamRules::recorded).collect();
    Ok(ledger.record_fingerprints(&fingerprints).await?)
}

async fn open_spool(
    state_dir: &StateDir,
    streams: &Streams,
    ledger: &Arc<dyn Ledger>,
) -> Result<Spool, StartError> {
    let failed = |failure: &_| StartError::from_failure("spool", failure);
    let spool = Spool::open(state_dir.spool()).await.map_err(|error| failed(&error.0))?;
    let snapshot = ledger.snapshot().await?;
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
