//! One request from arrival to answer.
//!
//! The order is the gateway's: the signature first, then the project and the operation. A scripted fault comes
//! between the operation's answer and the wire. The log is written before any delay, so that a request that its
//! client gives up on is still seen.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, Method, Response, StatusCode, header},
};
use jiff::Timestamp;

use crate::{
    answer::Answer,
    connections::{self, Failure},
    endpoint::{Endpoint, Target},
    export_centre,
    fault_effect::{self, Scene, StopSignal},
    faults::{Fault, Faults},
    iam::{AUTH_TOKEN, Iam},
    keys::Keys,
    metadata::MetadataService,
    records::Records,
    render::Format,
    request_log::{LoggedRequest, RequestLog},
    seed::SplitMix,
    selection::{Bounds, parameter},
    signature::{self, SignedRequest},
    tasks::Tasks,
    uri,
    wire::Wire,
    withdrawal::Withdrawn,
};

/// Tells the time; the simulator asks it once for every request.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// No operation takes a body anywhere near as large.
const BODY_LIMIT_BYTES: usize = 1 << 20;

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) project_id: String,
    pub(crate) keys: Keys,
    pub(crate) records: Arc<Records>,
    pub(crate) faults: Faults,
    pub(crate) log: RequestLog,
    pub(crate) clock: Clock,
    pub(crate) bounds: Bounds,
    pub(crate) format: Format,
    pub(crate) content_type: String,
    pub(crate) horizon: Option<Duration>,
    pub(crate) bulk_rows: Option<u64>,
    pub(crate) chunked: bool,
    pub(crate) tasks: Tasks,
    /// In so many lists a task is still being made.
    pub(crate) task_polls: u32,
    pub(crate) task_lag: u32,
    pub(crate) withdrawn: Withdrawn,
    pub(crate) iam: Iam,
    pub(crate) metadata: MetadataService,
    /// Creation time of the last file, in Unix seconds.
    pub(crate) last_created: AtomicI64,
    /// Request ids are counted from here.
    pub(crate) next_id: AtomicU64,
    pub(crate) stop: StopSignal,
}

impl Shared {
    /// A creation time that no file before had: the clock's second, or the one after the last.
    pub(crate) fn creation_time(&self, now: Timestamp) -> i64 {
        let mut created = now.as_second();
        // The closure always gives a value, so that the update cannot fail.
        let _ = self.last_created.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
            created = now.as_second().max(last.saturating_add(1));
            Some(created)
        });
        created
    }

    fn request_id(&self) -> String {
        let n = self.next_id.fetch_add(1, Ordering::Relaxed);
        // A step of splitmix64 maps distinct numbers to distinct numbers.
        format!("{:016x}{:016x}", SplitMix::new(n).next(), n)
    }
}

/// Answers one request.
pub(crate) async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    request: Request,
) -> Response<Body> {
    let now = (shared.clock)();
    let request_id = shared.request_id();
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let raw_query = parts.uri.query().unwrap_or_default();
    let target = Target::of_path(path);
    let endpoint = target.endpoint;
    let query = uri::decoded_pairs(raw_query);

    let arrival = Arrival {
        target: &target,
        method: &parts.method,
        headers: &parts.headers,
        query: &query,
        request_id: &request_id,
        now,
    };
    let (answer, fault) = match to_bytes(body, BODY_LIMIT_BYTES).await {
        Err(_) => (arrival.bad_request("the body cannot be read or is too large"), None),
        Ok(body) => {
            let signed = SignedRequest {
                method: parts.method.as_str(),
                path,
                query: raw_query,
                headers: &parts.headers,
                body: &body,
            };
            match admit(&shared, endpoint, &signed, now) {
                Err((code, message)) => (arrival.refuse(StatusCode::UNAUTHORIZED, code, &message), None),
                Ok(()) => arrival.answer_or_fault(&shared, wire, &body).await,
            }
        }
    };

    let dropped = fault == Some(Fault::DropConnection);
    tracing::debug!(
        http.method = %parts.method,
        http.path = path,
        http.status = answer.status.as_u16(),
        request_id,
        fault = ?fault,
        "answered"
    );
    shared.log.record(LoggedRequest {
        time: now,
        method: parts.method.to_string(),
        path: path.to_owned(),
        query,
        endpoint,
        access_key: signature::claimed_access(&parts.headers),
        status: (!dropped).then_some(answer.status.as_u16()),
        request_id: request_id.clone(),
        fault: fault.clone(),
    });
    if let Some(Fault::DelayFirstByte(delay)) = fault {
        fault_effect::wait(delay, &shared.stop).await;
    }
    answer
        .with_header(REQUEST_ID, request_id)
        .with_header(header::DATE, fault_effect::http_date(now))
        .into_response()
}

/// Whether a request is let in, by its signature or its token; else code and message.
fn admit(
    shared: &Shared,
    endpoint: Endpoint,
    signed: &SignedRequest<'_>,
    now: Timestamp,
) -> Result<(), (&'static str, String)> {
    if !endpoint.is_guarded() {
        return Ok(());
    }
    if let Some(token) = signed.headers.get(AUTH_TOKEN) {
        let good = token.to_str().is_ok_and(|token| shared.iam.is_good(token, now));
        let message = "Incorrect IAM authentication information: token expires or is invalid";
        return if good { Ok(()) } else { Err(("APIGW.0307", message.to_owned())) };
    }
    match signature::verify(signed, &shared.keys, now) {
        Ok(key) if shared.metadata.has_expired(&key.access, now) => {
            let message = "Incorrect IAM authentication information: the temporary key has expired";
            Err(("APIGW.0301", message.to_owned()))
        }
        Ok(_) => Ok(()),
        Err(refusal) => Err((refusal.code(), refusal.message())),
    }
}

/// A request, as far as its answer depends on it.
struct Arrival<'a> {
    target: &'a Target,
    method: &'a Method,
    headers: &'a HeaderMap,
    query: &'a [(String, String)],
    request_id: &'a str,
    now: Timestamp,
}

impl Arrival<'_> {
    /// The answer to a request that was let in, as the fault it meets leaves it.
    async fn answer_or_fault(&self, shared: &Shared, wire: Wire, body: &[u8]) -> (Answer, Option<Fault>) {
        let fault = shared.faults.take(self.target.endpoint, self.query);
        let answer = match &fault {
            // What the answer would have been does not show.
            Some(fault) if fault.forestalls() => Answer::empty(StatusCode::OK),
            _ => self.answer(shared, fault.as_ref(), body).await,
        };
        let Some(fault) = fault else {
            return (answer, None);
        };
        let scene =
            Scene { request_id: self.request_id.to_owned(), now: self.now, wire, stop: shared.stop.clone() };
        (fault_effect::apply(&fault, answer, scene), Some(fault))
    }

    async fn answer(&self, shared: &Shared, fault: Option<&Fault>, body: &[u8]) -> Answer {
        let endpoint = self.target.endpoint;
        if endpoint != Endpoint::Unknown && *self.method != endpoint.method() {
            let message = format!("only {} is allowed here", endpoint.method());
            return self.refuse(StatusCode::METHOD_NOT_ALLOWED, "WKS.00000405", &message);
        }
        match (endpoint, &self.target.project) {
            (Endpoint::IamTokens, _) => shared.iam.log_in(body, self.now),
            (Endpoint::IamProjects, _) => shared.iam.projects(parameter(self.query, "name")),
            (Endpoint::MetadataToken, _) => shared.metadata.token(self.headers, self.now),
            (Endpoint::SecurityKey, _) => shared.metadata.security_key(self.headers, &shared.keys, self.now),
            (_, Some(project)) if *project != shared.project_id => {
                self.refuse(StatusCode::NOT_FOUND, "WKS.00000404", "the project does not exist")
            }
            (_, Some(_)) => self.of_project(shared, fault, body).await,
            (_, None) => {
                let message = "The API does not exist or has not been published in the environment";
                self.refuse(StatusCode::NOT_FOUND, "APIGW.0101", message)
            }
        }
    }

    /// An operation on the project's records and tasks.
    async fn of_project(&self, shared: &Shared, fault: Option<&Fault>, body: &[u8]) -> Answer {
        let omitted = match fault {
            Some(Fault::OmitRecords { records }) => *records,
            _ => 0,
        };
        let (query, now) = (self.query, self.now);
        let answer = match self.target.endpoint {
            Endpoint::Query => connections::query(shared, query, now, omitted),
            Endpoint::CreateTask => export_centre::create(shared, query, now, omitted).await,
            Endpoint::ListTasks => export_centre::list(shared, query, now),
            Endpoint::DeleteTasks => export_centre::delete(shared, body),
            Endpoint::Download => {
                let task = self.target.task.as_deref().unwrap_or_default();
                match export_centre::download(shared, task, omitted) {
                    Ok(None) => {
                        return self.refuse(StatusCode::NOT_FOUND, "WKS.00010404", "the task does not exist");
                    }
                    Ok(Some(answer)) => Ok(answer),
                    Err(failure) => Err(failure),
                }
            }
            // No other path has a project.
            _ => match shared.withdrawn.refuses() {
                Some(how) => return how.answer(self.request_id),
                None => connections::export(shared, query, now, omitted).await,
            },
        };
        match answer {
            Ok(answer) => answer,
            Err(Failure::BadRequest(error)) => self.bad_request(&error.0),
            Err(Failure::Internal(error)) => {
                tracing::error!(%error, "the export could not be made");
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                self.refuse(status, "WKS.00000500", "internal error")
            }
        }
    }

    fn bad_request(&self, message: &str) -> Answer {
        self.refuse(StatusCode::BAD_REQUEST, "WKS.00000400", message)
    }

    fn refuse(&self, status: StatusCode, code: &str, message: &str) -> Answer {
        Answer::error(status, code, message, self.request_id)
    }
}
