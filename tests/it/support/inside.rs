//! The program's own parts run inside the test: a session over a world, by a clock that the test moves.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use connvault::app::compose::Injected;
use connvault::app::daemon::Controls;
use connvault::app::object_locks::ObjectLocks;
use connvault::app::observer::{Ending, Event, Observer};
use connvault::app::planning::Look;
use connvault::app::rebuild::{self, Trust};
use connvault::app::reconcile::{Reconciler, Tally, Until};
use connvault::app::selection::Selection;
use connvault::app::session::Session;
use connvault::app::signing::Signing;
use connvault::app::start_error::StartError;
use connvault::app::stream::Stream;
use connvault::app::stream_log::StreamLog;
use connvault::app::survey::{Judged, survey};
use connvault::app::verify::Meter;
use connvault::config::{Config, Secrets};
use connvault::domain::lock::LockPolicy;
use connvault::domain::log_entry::Writer;
use connvault::domain::window::Window;
use connvault::ports::object_store::{ObjectStore, Readback};
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::clock::TestClock;
use super::faulty_store::FaultyStore;
use super::lying_store::LyingStore;

/// Begins a session by the configuration at `config`, in which nothing was looked at yet.
pub async fn only_begin(config: &Path, clock: &TestClock) -> Result<Session, StartError> {
    let config = Config::load(config, std::iter::empty(), Secrets::all(None)).unwrap();
    let injected = Injected { clock: Arc::new(clock.clone()), ..Injected::default() };
    Session::begin(&config, &injected).await
}

/// As [`only_begin`], with stores proven and logs read, as far as they can be.
pub async fn begin(config: &Path, clock: &TestClock) -> Result<Session, StartError> {
    let session = only_begin(config, clock).await?;
    Look::new(Arc::clone(&session.services), Selection::All).open().await.unwrap();
    Ok(session)
}

/// Makes the ledger anew.
pub async fn rebuild(config: &Path, clock: &TestClock) {
    let config = Config::load(config, std::iter::empty(), Secrets::all(None)).unwrap();
    let injected = Injected { clock: Arc::new(clock.clone()), ..Injected::default() };
    let rebuilt = rebuild::rebuild(&config, &injected, Trust::Verified, &Meter::default()).await.unwrap();
    assert!(rebuilt.iter().all(|stream| stream.known.is_some()), "{rebuilt:?}");
}

/// Puts a store that fails when told to in front of the store of the session's only stream.
pub fn with_faults(session: &Session) -> FaultyStore {
    with_faults_signed(session, None)
}

/// As [`with_faults`], with entries that are signed.
pub fn with_faults_signed(session: &Session, signing: Option<Arc<Signing>>) -> FaultyStore {
    let faulty = FaultyStore::new(store_of(session));
    put_store(session, Arc::new(faulty.clone()), Readback::Full, signing);
    faulty
}

/// Puts a store that answers wrongly when told to in front of the store of the session's only stream.
pub fn with_lies(session: &Session) -> LyingStore {
    let lying = LyingStore::new(store_of(session));
    put_store(session, Arc::new(lying.clone()), Readback::Full, None);
    lying
}

/// The store of the session's only stream.
pub fn store_of(session: &Session) -> Arc<dyn ObjectStore> {
    let (_, stream) = session.services.roster.streams().pop_first().unwrap();
    Arc::clone(&stream.store)
}

/// Has the session's only stream go through `store`, unlocked.
pub fn put_store(
    session: &Session,
    store: Arc<dyn ObjectStore>,
    readback: Readback,
    signing: Option<Arc<Signing>>,
) {
    let (name, stream) = session.services.roster.streams().pop_first().unwrap();
    let unlocked = LockPolicy::default();
    let locks = Arc::new(ObjectLocks::new(Arc::clone(&store), stream.rules.store.clone(), unlocked));
    let services = &session.services;
    let log = StreamLog::new(
        name,
        Arc::clone(&locks),
        Arc::clone(&services.ledger),
        Arc::clone(&services.watch),
        Arc::clone(&services.checkpoint),
        Writer {
            version: "0.0.0".to_owned(),
            host: "test".to_owned(),
            key_fingerprint: signing.as_ref().map(|signing| signing.key.fingerprint()),
        },
        signing,
    );
    let stream = Stream {
        rules: stream.rules.clone(),
        definition: stream.definition.clone(),
        definition_digest: stream.definition_digest,
        source: Arc::clone(&stream.source),
        store,
        readback,
        on_count_mismatch: stream.on_count_mismatch,
        locks,
        log,
    };
    services.roster.put(Arc::new(stream));
}

/// What a run did.
pub struct Ran {
    pub tally: Tally,
    /// Every ending, in order.
    pub endings: Vec<(Window, Ending)>,
}

/// Hands events on.
struct Tell(mpsc::UnboundedSender<Event>);

impl Observer for Tell {
    fn on(&self, event: &Event) {
        let _nobody_listens_any_more = self.0.send(event.clone());
    }
}

/// Runs the reconciler, moving `clock` to whatever it waits for whenever it is idle, until nothing is to be done
/// up to `until`.
pub async fn reconcile(session: &Session, clock: &TestClock, concurrency: usize, until: Timestamp) -> Ran {
    reconcile_selected(session, clock, concurrency, until, Selection::All).await
}

/// As [`reconcile`], of what `selection` chooses.
pub async fn reconcile_selected(
    session: &Session,
    clock: &TestClock,
    concurrency: usize,
    until: Timestamp,
    selection: Selection,
) -> Ran {
    let (tell, mut events) = mpsc::unbounded_channel();
    let controls = Controls::default();
    let look = Look::new(Arc::clone(&session.services), selection);
    let reconciler = Reconciler {
        look: Arc::new(look),
        concurrency: NonZeroUsize::new(concurrency).unwrap(),
        wake: Arc::clone(&controls.wake),
        stop: controls.stop.clone(),
        observer: Arc::new(Tell(tell)),
        alive_every: Duration::from_secs(10),
    };
    let mut endings = Vec::new();
    let watch = async {
        while let Some(event) = events.recv().await {
            match event {
                Event::Finished { window, ending, .. } => endings.push((window, ending)),
                Event::Idle { until: Some(next) } if next <= until => {
                    clock.reach(next);
                    controls.wake.notify_one();
                }
                Event::Idle { .. } => controls.stop.cancel(),
                _ => {}
            }
        }
    };
    let run = async {
        let tally = reconciler.run(Until::Stopped).await;
        drop(reconciler);
        tally
    };
    let (tally, ()) = tokio::join!(run, watch);
    Ran { tally, endings }
}

/// Runs the reconciler until `until`, or until `is_last` says so of an event; says what happened.
pub async fn events(session: &Session, until: Until, is_last: impl Fn(&Event) -> bool) -> Vec<Event> {
    let (tell, mut events) = mpsc::unbounded_channel();
    let controls = Controls::default();
    let reconciler = Reconciler {
        look: Arc::new(Look::new(Arc::clone(&session.services), Selection::All)),
        concurrency: NonZeroUsize::MIN,
        wake: Arc::clone(&controls.wake),
        stop: controls.stop.clone(),
        observer: Arc::new(Tell(tell)),
        alive_every: Duration::from_secs(10),
    };
    let mut heard = Vec::new();
    let watch = async {
        while let Some(event) = events.recv().await {
            if is_last(&event) {
                controls.stop.cancel();
            }
            heard.push(event);
        }
    };
    let run = async {
        reconciler.run(until).await;
        drop(reconciler);
    };
    tokio::join!(run, watch);
    heard
}

/// The verdicts on every window of the session's streams.
pub async fn verdicts(session: &Session) -> Vec<Judged> {
    let rules = session.services.roster.rules();
    let snapshot = session.services.ledger.snapshot().await.unwrap();
    survey(&rules, &snapshot, session.services.clock.now())
}
