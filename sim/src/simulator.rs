//! Starting a simulator, talking to it while it runs, and stopping it.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Duration,
};

use axum::Router;
use jiff::Timestamp;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    endpoint::Endpoint,
    faults::Faults,
    iam::{Iam, User},
    instant::system_clock,
    keys::{Key, Keys},
    metadata::{Metadata, MetadataService},
    records::Records,
    render::Format,
    request_log::{LoggedRequest, RequestLog},
    selection::Bounds,
    server::{self, Clock, Shared},
    tasks::Tasks,
    wire::{SimListener, Wire},
    withdrawal::{Withdrawal, Withdrawn},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The one project there is, unless the builder is told another.
pub const DEFAULT_PROJECT_ID: &str = "00000000000000000000000000000001";

/// How long [`Simulator::stop`] waits for answers under way.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// Sets up a [`Simulator`]; every setting has a default.
pub struct Builder {
    listen: SocketAddr,
    project_id: String,
    keys: Vec<Key>,
    records: Records,
    clock: Clock,
    bounds: Bounds,
    format: Format,
    content_type: String,
    horizon: Option<Duration>,
    bulk_rows: Option<u64>,
    chunked: bool,
    task_polls: u32,
    users: Vec<User>,
    token_validity: Duration,
    region: String,
    metadata: Metadata,
    security_key_validity: Duration,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            project_id: DEFAULT_PROJECT_ID.to_owned(),
            keys: Vec::new(),
            records: Records::default(),
            clock: Arc::new(system_clock),
            bounds: Bounds::default(),
            format: Format::default(),
            content_type: "multipart/form-data".to_owned(),
            horizon: None,
            bulk_rows: None,
            chunked: false,
            task_polls: 1,
            users: Vec::new(),
            token_validity: DAY,
            region: "sim".to_owned(),
            metadata: Metadata::default(),
            security_key_validity: DAY,
        }
    }
}

impl Builder {
    /// Where to listen; a loopback address, by default any free port of 127.0.0.1.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// The project that exists; requests for another get 404. Default: [`DEFAULT_PROJECT_ID`].
    #[must_use]
    pub fn project_id(mut self, project_id: impl Into<String>) -> Self {
        self.project_id = project_id.into();
        self
    }

    /// Accepts one key more. Without any, [`Key::example`] is accepted.
    #[must_use]
    pub fn key(mut self, key: Key) -> Self {
        self.keys.push(key);
        self
    }

    /// The records served, each from the moment of its start by the simulator's clock. Default: none.
    #[must_use]
    pub fn records(mut self, records: Records) -> Self {
        self.records = records;
        self
    }

    /// The clock that requests are dated, signatures judged and records held against. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// How bounds are read. Default: [`Bounds::Exclusive`].
    #[must_use]
    pub fn bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// The format of exports. Default: [`Format::Xlsx`].
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// The content type of exports. Default: `multipart/form-data`, which is what the vendor declares, and wrong.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// Records that started longer ago than this are silently left out. Default: none are.
    #[must_use]
    pub fn horizon(mut self, horizon: Duration) -> Self {
        self.horizon = Some(horizon);
        self
    }

    /// In place of the records, every request finds `rows` generated ones within its bounds, whatever its filters;
    /// exports are CSV in UTF-8, streamed as they are made, without a `Content-Length`.
    #[must_use]
    pub fn bulk_csv_rows(mut self, rows: u64) -> Self {
        self.bulk_rows = Some(rows);
        self
    }

    /// Sends exports in chunks, without a `Content-Length`. Default: with one.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// In so many lists a task is still being made. Default: 1.
    #[must_use]
    pub fn task_polls(mut self, lists: u32) -> Self {
        self.task_polls = lists;
        self
    }

    /// Knows one user more, who may have tokens for the project. Default: none.
    #[must_use]
    pub fn iam_user(
        mut self,
        domain: impl Into<String>,
        name: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        let (domain, name, password) = (domain.into(), name.into(), password.into());
        self.users.push(User { domain, name, password });
        self
    }

    /// How long a token is good. Default: 24 hours.
    #[must_use]
    pub fn token_validity(mut self, validity: Duration) -> Self {
        self.token_validity = validity;
        self
    }

    /// The region, which is what the project is called. Default: `sim`.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = region.into();
        self
    }

    /// The metadata service there is. Default: none.
    #[must_use]
    pub fn metadata(mut self, generation: Metadata) -> Self {
        self.metadata = generation;
        self
    }

    /// How long a key from the metadata service is good. Default: 24 hours.
    #[must_use]
    pub fn security_key_validity(mut self, validity: Duration) -> Self {
        self.security_key_validity = validity;
        self
    }

    /// Starts to listen, on the caller's tokio runtime.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for an address that is not loopback; whatever binding the port gives.
    pub async fn start(self) -> io::Result<Simulator> {
        if !self.listen.ip().is_loopback() {
            let message = format!("{} is not a loopback address", self.listen.ip());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let listener = TcpListener::bind(self.listen).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let keys = if self.keys.is_empty() { vec![Key::example()] } else { self.keys };
        let iam = Iam::new(self.users, self.token_validity, self.region, self.project_id.clone());
        let shared = Arc::new(Shared {
            project_id: self.project_id,
            keys: Keys::from_iter(keys),
            records: Arc::new(self.records),
            faults: Faults::default(),
            log: RequestLog::default(),
            clock: self.clock,
            bounds: self.bounds,
            format: self.format,
            content_type: self.content_type,
            horizon: self.horizon,
            bulk_rows: self.bulk_rows,
            chunked: self.chunked,
            tasks: Tasks::default(),
            task_polls: self.task_polls,
            withdrawn: Withdrawn::default(),
            iam,
            metadata: MetadataService::new(self.metadata, self.security_key_validity),
            last_created: AtomicI64::new(0),
            // From the system's clock, so that two runs do not share ids.
            next_id: AtomicU64::new(system_clock().as_microsecond().cast_unsigned()),
            stop: stopped.clone(),
        });
        let service = Router::new()
            .fallback(server::handle)
            .with_state(Arc::clone(&shared))
            .into_make_service_with_connect_info::<Wire>();
        let mut until = stopped;
        let server = axum::serve(SimListener(listener), service).with_graceful_shutdown(async move {
            // An error means that the handle is gone, which is a stop as well.
            let _ = until.wait_for(|stopped| *stopped).await;
        });
        let task = tokio::spawn(async move { server.await });
        Ok(Simulator { address, shared, stop, task })
    }
}

/// A simulator that listens; it stops when dropped.
pub struct Simulator {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: JoinHandle<io::Result<()>>,
}

impl Simulator {
    /// A simulator with the defaults of [`Builder`].
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// `http://127.0.0.1:port`, without a slash at its end.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The project that exists.
    pub fn project_id(&self) -> &str {
        &self.shared.project_id
    }

    /// The keys accepted, to add to and revoke from.
    pub fn keys(&self) -> &Keys {
        &self.shared.keys
    }

    /// The records served, to add to.
    pub fn records(&self) -> &Records {
        &self.shared.records
    }

    /// The scripted faults.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// The export centre's tasks.
    pub fn tasks(&self) -> &Tasks {
        &self.shared.tasks
    }

    /// The v2 export is gone from now on; the query is not.
    pub fn withdraw_v2(&self, how: Withdrawal) {
        self.withdraw_v2_after(0, how);
    }

    /// As [`Self::withdraw_v2`], after so many more exports.
    pub fn withdraw_v2_after(&self, exports: u64, how: Withdrawal) {
        self.shared.withdrawn.after(exports, how);
    }

    /// No token that was given out is good any more.
    pub fn revoke_tokens(&self) {
        self.shared.iam.revoke();
    }

    /// How many tokens were given out.
    pub fn tokens_issued(&self) -> u64 {
        self.shared.iam.issued()
    }

    /// How many keys the metadata service has given out.
    pub fn security_keys_issued(&self) -> u64 {
        self.shared.metadata.issued()
    }

    /// The requests so far, in the order of their answers; of more than 100 000, the latest.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.shared.log.all()
    }

    /// How many requests an operation has had, refused ones included.
    pub fn request_count(&self, endpoint: Endpoint) -> u64 {
        self.shared.log.count(endpoint)
    }

    /// Forgets the requests so far, and their counts.
    pub fn clear_requests(&self) {
        self.shared.log.clear();
    }

    /// Stops listening at once, lets go of whatever a fault holds up, and waits for answers under way, though not
    /// longer than three seconds.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(STOP_GRACE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}
