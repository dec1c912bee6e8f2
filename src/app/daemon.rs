//! The daemon: a session, a reconciler that never ends by itself, and those who wake, stop and watch it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::adapters::cron::Cron;
use crate::adapters::http::OwnNames;
use crate::adapters::systemd::ServiceManager;
use crate::config::Config;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::snapshot::Resource;
use crate::domain::text::Line;

use super::archive::wake_when_asked;
use super::compose::{self, Injected};
use super::heartbeat::Beats;
use super::observer::{Ending, Event, Observer};
use super::planning::Look;
use super::pulse::Pulse;
use super::reconcile::{Reconciler, Until};
use super::selection::Selection;
use super::session::Session;
use super::start_error::StartError;
use super::status_page::StatusPage;

/// How often the reconciler shows itself where no watchdog asks for more.
const ALIVE_EVERY: Duration = Duration::from_secs(10);

/// Who wakes and who stops the daemon.
#[derive(Debug, Clone, Default)]
pub struct Controls {
    /// Look again.
    pub wake: Arc<Notify>,
    /// Stop.
    pub stop: CancellationToken,
}

/// Runs until told to stop. `observer` sees what happens, besides systemd.
///
/// # Errors
/// When the run cannot begin.
pub async fn run(
    config: &Config,
    injected: &Injected,
    controls: &Controls,
    observer: Arc<dyn Observer>,
) -> Result<(), StartError> {
    let manager = ServiceManager;
    manager.status("opening the ledger");
    let session = tokio::select! {
        session = Session::begin(config, injected) => session?,
        () = controls.stop.cancelled() => return Ok(()),
    };
    session.services.run.begin(&*session.services.ledger, true).await;
    let schedule = config.daemon.schedule.as_str();
    let cron = Cron::start(schedule, Arc::clone(&controls.wake)).await;
    let cron = cron.map_err(|error| StartError::config(format!("daemon.schedule {schedule:?}: {error}")))?;
    manager.ready();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        streams = session.services.roster.streams().len(),
        "ready"
    );
    let pulse = Arc::new(Pulse::default());
    let mut onlookers = onlookers(config, injected, &session, &pulse);
    onlookers.spawn(wake_when_asked(Arc::clone(&session.services.ledger), Arc::clone(&controls.wake)));
    let reconciler = Reconciler {
        look: Arc::new(Look::new(Arc::clone(&session.services), Selection::All)),
        concurrency: config.daemon.concurrency.into(),
        wake: Arc::clone(&controls.wake),
        stop: controls.stop.clone(),
        observer: Arc::new(Supervised { manager, inner: observer, pulse, seen: Mutex::default() }),
        alive_every: manager.watchdog().map_or(ALIVE_EVERY, |limit| (limit / 3).min(ALIVE_EVERY)),
    };
    let tally = reconciler.run(Until::Stopped).await;
    drop(reconciler);
    manager.stopping();
    onlookers.shutdown().await;
    cron.stop().await;
    session.end().await;
    if tally.ledger_damaged {
        return Err(damaged_ledger());
    }
    tracing::info!(archived = tally.archived, lost = tally.lost, failed = tally.failed, "stopped");
    Ok(())
}

/// Why a run ended that found its ledger damaged.
pub fn damaged_ledger() -> StartError {
    let message = "it is damaged; the next start makes it anew from the logs in the stores";
    StartError::from_failure("ledger", &Failure::new(FailureKind::Local, Scope::Daemon, message))
}

/// Who is shown, and who is told, how it goes. They only read, and end when they are dropped.
fn onlookers(config: &Config, injected: &Injected, session: &Session, pulse: &Arc<Pulse>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let services = || Arc::clone(&session.services);
    if let Some(address) = config.daemon.listen {
        let page = StatusPage {
            services: services(),
            sources: compose::source_statuses(config),
            pulse: Arc::clone(pulse),
            written: injected.written.clone(),
        };
        let names = config.daemon.page_hosts.iter().cloned().chain([compose::host()]);
        tasks.spawn(page.run(address, OwnNames::new(names)));
    }
    if let Some(url) = config.alerts.heartbeat_url.clone() {
        let beats = Beats { url, services: services() };
        tasks.spawn(beats.run(pulse.looks()));
    }
    tasks
}

/// Tells systemd what the reconciler does, and feeds its watchdog with the reconciler's own rounds.
struct Supervised {
    manager: ServiceManager,
    inner: Arc<dyn Observer>,
    pulse: Arc<Pulse>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    queued: usize,
    in_flight: usize,
    archived: u64,
    /// What went wrong since the last success.
    trouble: Option<Line>,
    /// Why projects are not found, and stores not proven.
    down: BTreeMap<Resource, Line>,
    status: String,
}

impl Observer for Supervised {
    fn on(&self, event: &Event) {
        self.inner.on(event);
        let mut seen = self.seen.lock();
        let mut until = None;
        match event {
            Event::Alive => {
                self.pulse.alive();
                return self.manager.alive();
            }
            Event::Planned { queued, in_flight, whole } => {
                if *whole {
                    self.pulse.looked();
                }
                (seen.queued, seen.in_flight) = (*queued, *in_flight);
            }
            Event::Started { .. } => {
                seen.queued = seen.queued.saturating_sub(1);
                seen.in_flight += 1;
            }
            Event::Finished { ending, .. } => {
                seen.in_flight = seen.in_flight.saturating_sub(1);
                match ending {
                    Ending::Archived { .. } => {
                        seen.archived += 1;
                        seen.trouble = None;
                    }
                    Ending::Failed(failure) => seen.trouble = Some(failure.message.whole().clone()),
                    _ => {}
                }
            }
            Event::LookedUp { source, failure: Some(failure) } => {
                seen.down.insert(Resource::Source(source.clone()), failure.message.whole().clone());
            }
            Event::LookedUp { source, failure: None } => {
                _ = seen.down.remove(&Resource::Source(source.clone()));
            }
            Event::Proven { store, failure: Some(failure) } => {
                seen.down.insert(Resource::Store(store.clone()), failure.message.whole().clone());
            }
            Event::Proven { store, failure: None } => {
                _ = seen.down.remove(&Resource::Store(store.clone()));
            }
            Event::Idle { until: next } => until = *next,
        }
        let status = match (seen.queued + seen.in_flight, until) {
            (0, Some(next)) if let Some(trouble) = seen.trouble.as_ref().or(seen.down.values().next()) => {
                format!("not all is archived, next look at {next:.0}: {trouble}")
            }
            (0, Some(next)) => {
                format!("nothing to do until {next:.0}; {} archived since the start", seen.archived)
            }
            (0, None) => format!("nothing to do; {} archived since the start", seen.archived),
            _ => format!(
                "{} windows in flight, {} waiting; {} archived since the start",
                seen.in_flight, seen.queued, seen.archived
            ),
        };
        if seen.status != status {
            self.manager.status(&status);
            seen.status = status;
        }
    }
}
