//! Everything about a simulator that is settled before it listens.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Duration,
};

use axum::Router;
use jiff::Timestamp;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    faults::Faults,
    iam::{Iam, User},
    instant::system_clock,
    keys::{Key, Keys},
    metadata::{Metadata, MetadataService},
    records::Records,
    render::Format,
    request_log::RequestLog,
    selection::Bounds,
    server::{self, Clock, Shared},
    simulator::Simulator,
    tasks::Tasks,
    wire::{SimListener, Wire},
    withdrawal::Withdrawn,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The one project there is, unless the builder is told another.
pub const DEFAULT_PROJECT_ID: &str = "00000000000000000000000000000001";

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
    task_lag: u32,
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
            task_lag: 0,
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

    /// In so many lists that would show it a new task is not there yet. Default: none.
    #[must_use]
    pub fn task_lag(mut self, lists: u32) -> Self {
        self.task_lag = lists;
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
            task_lag: self.task_lag,
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
        Ok(Simulator::listening(address, shared, stop, task))
    }
}
