//! An S3 server inside this process, over a folder, on a free loopback port. Stands alone: an example may include
//! it by path.
//!
//! It checks signatures, and honours `If-None-Match: *` (though not under a race). As [`Dialect`] it can also play
//! stores that refuse overwriting otherwise, or not at all; requests then go unsigned to the server behind, because
//! their headers are changed on the way.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub const ACCESS_KEY: &str = "AKIN0000000PROCESS00";
pub const SECRET_KEY: &str = "in-process-secret-0123456789abcdefghijkl";

/// How the server refuses to overwrite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `If-None-Match: *` → 412.
    Aws,
    /// `x-obs-forbid-overwrite: true` → 409; `If-None-Match` is ignored.
    Obs,
    /// As [`Self::Obs`], but `If-None-Match` is refused as not implemented.
    ObsAndStrict,
    /// Both are ignored.
    Heedless,
    /// Every put is refused with this status and code.
    Refuses(u16, &'static str),
    /// A put under either condition to a taken key is answered with this status, without a reason.
    FailsWhenTaken(u16),
    /// As [`Self::Aws`], and the probe is in a storage class that cannot be read at once.
    Archives,
    /// Every request is answered with 400, without a reason, and with this region in a header.
    Elsewhere(&'static str),
    /// As [`Self::Obs`], and what has this in its method and address is refused with 403.
    Forbids(&'static str),
}

/// What becomes of puts of data objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(dead_code, reason = "the demo does not use it")]
pub enum Puts {
    /// They are done.
    #[default]
    Work,
    /// They wait until this changes.
    Hang,
    /// They are answered with 503.
    Fail,
}

/// Where puts of data objects hang.
#[derive(Clone)]
struct Gate {
    puts: watch::Sender<Puts>,
    /// Puts that have hung so far, and hang still.
    hanging: Arc<AtomicUsize>,
}

impl Gate {
    /// Waits as long as the request is to hang; says whether it fails then.
    async fn fails(&self, request: &Request<Incoming>) -> bool {
        if request.method() != http::Method::PUT || !request.uri().path().contains("/data/") {
            return false;
        }
        let mut puts = self.puts.subscribe();
        if *puts.borrow() == Puts::Hang {
            self.hanging.fetch_add(1, Ordering::SeqCst);
            let _gone = puts.wait_for(|puts| *puts != Puts::Hang).await;
            self.hanging.fetch_sub(1, Ordering::SeqCst);
        }
        *puts.borrow() == Puts::Fail
    }
}

/// The server, until dropped.
pub struct S3sServer {
    address: SocketAddr,
    root: PathBuf,
    /// Method and path of each request.
    requests: Requests,
    wrong_reads: WrongReads,
    date: Dated,
    gate: Gate,
    task: JoinHandle<()>,
}

/// What the `Date` of an answer says: the text of it, or nothing at all.
pub type Date = Box<dyn Fn() -> Option<String> + Send>;

/// How answers are dated, where it is not by this machine's clock.
type Dated = Arc<Mutex<Option<Date>>>;

/// Method and path of each request.
type Requests = Arc<Mutex<Vec<(http::Method, String)>>>;

/// Which reads are answered wrongly: a part of their paths, one in how many, and how many there were.
type WrongReads = Arc<Mutex<Option<(String, usize, usize)>>>;

impl S3sServer {
    /// Serves `root`, whose folders are the buckets.
    pub async fn start(root: &Path, dialect: Dialect) -> std::io::Result<Self> {
        Self::start_on(root, dialect, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// As [`Self::start`], on an address of the caller's choice.
    pub async fn start_on(root: &Path, dialect: Dialect, address: SocketAddr) -> std::io::Result<Self> {
        let files =
            s3s_fs::FileSystem::new(root).map_err(|error| std::io::Error::other(format!("{error:?}")))?;
        let mut builder = S3ServiceBuilder::new(files);
        if dialect == Dialect::Aws {
            builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        }
        let service = builder.build();
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let requests = Arc::default();
        let wrong_reads = WrongReads::default();
        let date = Dated::default();
        let shared = (Arc::clone(&requests), Arc::clone(&wrong_reads), Arc::clone(&date));
        let gate = Gate { puts: watch::Sender::new(Puts::Work), hanging: Arc::default() };
        let task = tokio::spawn(accept(listener, service, dialect, root.to_owned(), shared, gate.clone()));
        Ok(Self { address, root: root.to_owned(), requests, wrong_reads, date, gate, task })
    }

    /// What becomes of puts of data objects from now on, those that hang among them.
    #[allow(dead_code, reason = "the demo does not use it")]
    pub fn let_puts(&self, puts: Puts) {
        self.gate.puts.send_replace(puts);
    }

    /// How many puts hang.
    #[allow(dead_code, reason = "the demo does not use it")]
    pub fn hanging(&self) -> usize {
        self.gate.hanging.load(Ordering::SeqCst)
    }

    /// Dates answers as `date` says, and no more by this machine's clock.
    #[allow(dead_code, reason = "the demo does not use it")]
    pub fn dated(&self, date: impl Fn() -> Option<String> + Send + 'static) {
        *self.date.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(date));
    }

    /// Answers rightly again; says how many of the reads were looked at.
    pub fn answer_rightly(&self) -> usize {
        let wrong = self.wrong_reads.lock().unwrap_or_else(PoisonError::into_inner).take();
        wrong.map_or(0, |(_, _, reads)| reads)
    }

    /// Answers one GET in `every` or so of the objects whose path contains `of` wrongly from now on: with a changed byte, or with
    /// its end cut off.
    pub fn answer_wrongly(&self, of: &str, every: usize) {
        *self.wrong_reads.lock().unwrap_or_else(PoisonError::into_inner) = Some((of.to_owned(), every, 0));
    }

    /// Makes a bucket.
    pub fn make_bucket(&self, name: &str) -> std::io::Result<()> {
        std::fs::create_dir(self.root.join(name))
    }

    /// How many requests there were so far.
    #[allow(dead_code, reason = "the demo does not use it")]
    pub fn requests(&self) -> usize {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Every request that would change something, so far.
    pub fn writes(&self) -> Vec<(http::Method, String)> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let reads = |method: &http::Method| *method == http::Method::GET || *method == http::Method::HEAD;
        requests.iter().filter(|(method, _)| !reads(method)).cloned().collect()
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for S3sServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    service: S3Service,
    dialect: Dialect,
    root: PathBuf,
    (requests, wrong_reads, date): (Requests, WrongReads, Dated),
    gate: Gate,
) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        // Without it each answer to a put is held back for 40 ms, and the demo waits for a hundred of them.
        let _ = socket.set_nodelay(true);
        let service = service.clone();
        let (root, requests, wrong_reads) = (root.clone(), Arc::clone(&requests), Arc::clone(&wrong_reads));
        let by_itself = date.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        let (date, gate) = (Arc::clone(&date), gate.clone());
        let answer = hyper::service::service_fn(move |request: Request<Incoming>| {
            let asked = (request.method().clone(), request.uri().path().to_owned());
            requests.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
            let there = bucket_is_there(&root, &request);
            let wrong = is_wrong(&wrong_reads, &request);
            let (service, date, gate) = (service.clone(), Arc::clone(&date), gate.clone());
            async move {
                if gate.fails(&request).await {
                    return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"));
                }
                let mut answered = match (there, wrong) {
                    (false, _) => no_bucket(),
                    (true, None) => answer(service, dialect, request).await?,
                    (true, Some(number)) => changed(answer(service, dialect, request).await?, number).await,
                };
                let date = date.lock().unwrap_or_else(PoisonError::into_inner);
                let date = date.as_ref().and_then(|date| date()).and_then(|date| date.parse().ok());
                date.and_then(|date| answered.headers_mut().insert(http::header::DATE, date));
                Ok::<_, Infallible>(answered)
            }
        });
        connections.spawn(async move {
            let mut server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            server.http1().auto_date_header(by_itself);
            // A client that goes away is no concern of the server's.
            let _gone = server.serve_connection(TokioIo::new(socket), answer).await;
        });
    }
}

/// The number of this read, if it is to be answered wrongly.
fn is_wrong(wrong_reads: &WrongReads, request: &Request<Incoming>) -> Option<usize> {
    let mut wrong_reads = wrong_reads.lock().unwrap_or_else(PoisonError::into_inner);
    let (of, every, reads) = wrong_reads.as_mut()?;
    if request.method() != http::Method::GET || !request.uri().path().contains(of.as_str()) {
        return None;
    }
    *reads += 1;
    // Without a rhythm that readers could fall into.
    let drawn = (*reads as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    drawn.is_multiple_of(*every as u64).then_some(*reads)
}

/// The answer with a byte changed, or its end cut off, each time elsewhere; its headers say what they said.
async fn changed(answer: Response<s3s::Body>, number: usize) -> Response<s3s::Body> {
    let (mut head, mut body) = answer.into_parts();
    let mut bytes =
        body.store_all_limited(64 << 20).await.map_or_else(|_| Vec::new(), |bytes| bytes.to_vec());
    if head.status == StatusCode::OK && !bytes.is_empty() {
        if number.is_multiple_of(3) {
            bytes.truncate(bytes.len() / 2 + number % 7);
        } else {
            let at = number * 7919 % bytes.len();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1;
            }
        }
        head.headers.insert(http::header::CONTENT_LENGTH, bytes.len().into());
    }
    Response::from_parts(head, s3s::Body::from(bytes))
}

async fn answer(
    service: S3Service,
    dialect: Dialect,
    mut request: Request<Incoming>,
) -> Result<Response<s3s::Body>, Infallible> {
    if let (Dialect::Refuses(status, code), &http::Method::PUT) = (dialect, request.method()) {
        return Ok(refusal(StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT), code));
    }
    if let Dialect::Forbids(what) = dialect
        && format!("{} {}", request.method(), request.uri()).contains(what)
    {
        return Ok(refusal(StatusCode::FORBIDDEN, "AccessDenied"));
    }
    if let Dialect::Elsewhere(region) = dialect {
        let mut answer = without_a_reason(400);
        answer.headers_mut().insert("x-amz-bucket-region", http::HeaderValue::from_static(region));
        return Ok(answer);
    }
    if dialect == Dialect::Archives
        && request.method() == http::Method::GET
        && request.uri().path().contains("create-only-probe")
    {
        return Ok(refusal(StatusCode::FORBIDDEN, "InvalidObjectState"));
    }
    let mut conflict = StatusCode::PRECONDITION_FAILED;
    if dialect != Dialect::Aws {
        let headers = request.headers_mut();
        headers.remove("authorization");
        headers.remove("x-amz-content-sha256");
        let condition = headers.remove("if-none-match");
        if matches!(dialect, Dialect::Archives | Dialect::FailsWhenTaken(_))
            && let Some(condition) = condition.clone()
        {
            headers.insert("if-none-match", condition);
        }
        if dialect == Dialect::ObsAndStrict && condition.is_some() {
            return Ok(refusal(StatusCode::NOT_IMPLEMENTED, "NotImplemented"));
        }
        if dialect != Dialect::Heedless && headers.remove("x-obs-forbid-overwrite").is_some() {
            headers.insert("if-none-match", http::HeaderValue::from_static("*"));
            if dialect != Dialect::Archives {
                conflict = StatusCode::CONFLICT;
            }
        }
    }
    let mut answer = match hyper::service::Service::call(&service, request).await {
        Ok(answer) => answer,
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
    };
    if answer.status() == StatusCode::PRECONDITION_FAILED {
        if let Dialect::FailsWhenTaken(status) = dialect {
            return Ok(without_a_reason(status));
        }
        *answer.status_mut() = conflict;
    }
    Ok(answer)
}

fn without_a_reason(status: u16) -> Response<s3s::Body> {
    let mut answer = Response::new(s3s::Body::empty());
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT);
    answer
}

/// s3s-fs makes missing buckets on the way of a put; real stores refuse.
fn bucket_is_there(root: &Path, request: &Request<Incoming>) -> bool {
    let path = request.uri().path().trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    key.is_empty() && request.method() == http::Method::PUT || root.join(bucket).is_dir()
}

fn no_bucket() -> Response<s3s::Body> {
    refusal(StatusCode::NOT_FOUND, "NoSuchBucket")
}

fn refusal(status: StatusCode, code: &str) -> Response<s3s::Body> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>no</Message></Error>");
    let mut answer = Response::new(s3s::Body::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert("retry-after", http::HeaderValue::from_static("7"));
    answer.headers_mut().insert("x-amz-request-id", http::HeaderValue::from_static("request-1"));
    answer
}
