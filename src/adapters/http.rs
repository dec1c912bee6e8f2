//! A small HTTP server for pages that are only read: GET and HEAD, one request to a connection, each within seconds.
//!
//! Whoever connects can take up a connection for so long and no longer, and all of them together so many. Of those who have no
//! answer yet the one that has waited longest gives way to a new one, and a page that is vital needs none of the places of
//! the others: however many are slow, the health check is answered.

mod own_names;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

pub use self::own_names::OwnNames;
use crate::domain::text::ForeignText;

/// How long a connection may last.
const LONGEST: Duration = Duration::from_secs(15);
/// How many pages may be made and sent at the same time, vital ones not counted.
const MOST: usize = 16;
/// How many connections may wait for their answer.
const MOST_WAITING: usize = 64;
/// Nothing is loaded, and no script runs.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";

/// What kind of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// For browsers.
    Html,
    /// For programs.
    Json,
    /// For anybody.
    Plain,
}

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Whether all is as it should be; if not, the status is 503.
    pub well: bool,
    /// What kind of text.
    pub kind: Kind,
    /// It.
    pub text: String,
}

/// The pages there are.
#[async_trait]
pub trait Site: Send + Sync {
    /// The page at `path`, as it is now; `None` where there is none.
    async fn page(&self, path: &str) -> Option<Page>;

    /// Whether the page at `path` is small, and answered whatever else goes on.
    fn is_vital(&self, path: &str) -> bool;
}

/// A server that has its port.
pub struct Server(TcpListener);

impl Server {
    /// Takes the port.
    ///
    /// # Errors
    /// When it is taken, or not this machine's to take.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Self)
    }

    /// Where it is reached: with the port that was taken where any would do.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Serves `site` to those who ask it by one of `names`, until it is dropped, and with it every connection.
    pub async fn serve(self, site: Arc<dyn Site>, names: OwnNames) {
        let serving = Arc::new(Serving { site, names, room: Arc::new(Semaphore::new(MOST)) });
        let mut connections = JoinSet::new();
        let mut waiting: VecDeque<Waiting> = VecDeque::new();
        loop {
            match self.0.accept().await {
                Ok((socket, _)) => {
                    while connections.try_join_next().is_some() {}
                    waiting.retain(Waiting::is_waiting);
                    if waiting.len() >= MOST_WAITING
                        && let Some(oldest) = waiting.pop_front()
                    {
                        oldest.connection.abort();
                    }
                    let (serving, answered) = (Arc::clone(&serving), Arc::new(AtomicBool::new(false)));
                    let connection = connection(socket, serving, Arc::clone(&answered));
                    let connection = connections.spawn(async { _ = timeout(LONGEST, connection).await });
                    waiting.push_back(Waiting { connection, answered });
                }
                // Out of descriptors, most likely: others must give theirs back first.
                Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
            }
        }
    }
}

/// What is served, and to whom.
struct Serving {
    site: Arc<dyn Site>,
    names: OwnNames,
    room: Arc<Semaphore>,
}

/// A connection that may have no answer yet.
struct Waiting {
    connection: AbortHandle,
    answered: Arc<AtomicBool>,
}

impl Waiting {
    fn is_waiting(&self) -> bool {
        !self.answered.load(Ordering::Relaxed) && !self.connection.is_finished()
    }
}

async fn connection(socket: TcpStream, serving: Arc<Serving>, answered: Arc<AtomicBool>) {
    let Ok(local) = socket.local_addr() else { return };
    // Kept until the answer is sent.
    let place: Arc<Mutex<Option<OwnedSemaphorePermit>>> = Arc::default();
    let service = service_fn(|request: Request<Incoming>| {
        let (serving, answered, place) = (Arc::clone(&serving), Arc::clone(&answered), Arc::clone(&place));
        async move {
            if let Err(name) = serving.names.check(&request, local.ip()) {
                return Ok::<_, Infallible>(misdirected(&name));
            }
            if !serving.site.is_vital(request.uri().path()) {
                let taken = Arc::clone(&serving.room).acquire_owned().await.ok();
                *place.lock() = taken;
            }
            answered.store(true, Ordering::Relaxed);
            Ok(answer(&request, serving.site.as_ref()).await)
        }
    });
    // Whoever asked may be gone.
    _ = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(socket), service).await;
}

fn misdirected(name: &ForeignText) -> Response<Full<Bytes>> {
    let text = format!(
        "this page does not answer to the name \"{name}\": ask it as localhost, or by this machine's address or host name; \
         where it has other names, list them in daemon.page_hosts and restart the daemon\n"
    );
    response(StatusCode::MISDIRECTED_REQUEST, Kind::Plain, text)
}

async fn answer(request: &Request<Incoming>, site: &dyn Site) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused =
            response(StatusCode::METHOD_NOT_ALLOWED, Kind::Plain, "only GET and HEAD\n".to_owned());
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match site.page(request.uri().path()).await {
        Some(Page { well: true, kind, text }) => response(StatusCode::OK, kind, text),
        Some(Page { well: false, kind, text }) => response(StatusCode::SERVICE_UNAVAILABLE, kind, text),
        None => response(StatusCode::NOT_FOUND, Kind::Plain, "there is no such page\n".to_owned()),
    }
}

fn response(status: StatusCode, kind: Kind, text: String) -> Response<Full<Bytes>> {
    let kind = match kind {
        Kind::Html => "text/html; charset=utf-8",
        Kind::Json => "application/json",
        Kind::Plain => "text/plain; charset=utf-8",
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}
