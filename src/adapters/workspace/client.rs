//! One signed request to the provider, and one more where the first was refused for its credentials.
//!
//! Each attempt sees that it can be let in (which may take a login), waits for its turn, sees once more what it is let in by,
//! takes the time, signs, sends: in this order, so that waiting ages neither a token nor a signature, and whoever waited for
//! a login goes on no sooner than its turn comes. Decisions that bear on every operation of a source:
//! - HTTP/1.1, one export to a connection, so that a stalled export holds up no other.
//! - Redirects are not followed: a signature covers host and path, and an export from elsewhere proves nothing.
//! - No compression is asked for: what is archived is what was sent. No cookies are kept.
//! - `HTTPS_PROXY` and its kin are honoured, as company networks need it; loopback addresses are asked directly.
//! - The client repeats nothing by itself: repetitions are the reconciler's, and are signed anew.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use secrecy::ExposeSecret;
use tokio::time::{Instant, timeout};
use url::Url;

use super::credentials::{Authority, Credentials, CredentialsError};
use super::errors::{Operation, Refusal, SET_CLOCK, SLOW_DOWN, Subject, clock_differs, no_keys};
use super::pacer::{Closed, Pacer};
use super::said::{date, request_id, retry_after};
use super::settings::{SettingsError, Timeouts, WorkspaceSettings, http_client, usable_host, without_user};
use super::signer::{BadKey, Request, encode, query_text, sensitive, sign};
use super::skew::{Skew, Skewed};
use super::trail::{Reached, Trail};
use super::unanswered::{AGAIN, no_answer};
use crate::domain::digest::Sha256;
use crate::domain::duration::{spelled, spelled_std};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::message::Message;
use crate::ports::clock::{AnswerWatch, Clock};

/// Sent and signed as the vendor's SDK does it: the gateway wants it where an account has several projects.
const PROJECT_ID: &str = "x-project-id";
const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
/// How much of an answer that is no export is read.
const ERROR_BODY_LIMIT: usize = 64 * 1024;

/// One request, as an operation puts it.
pub(super) struct Ask<'a> {
    pub operation: &'a Operation,
    pub method: Method,
    /// Encoded, below the endpoint.
    pub path: &'a str,
    /// Not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// JSON, where it has one.
    pub body: Vec<u8>,
}

impl<'a> Ask<'a> {
    /// A question without a body.
    pub(super) fn get(operation: &'a Operation, path: &'a str, query: &'a [(&'a str, &'a str)]) -> Self {
        Self { operation, method: Method::GET, path, query, body: Vec::new() }
    }
}

/// A turn, and what is shown to be let in: for one request, at once.
pub(super) struct Pass(Authority);

/// The way to one project.
pub(super) struct Client {
    http: reqwest::Client,
    endpoint: Url,
    /// As in the `Host` header, and in messages.
    host: String,
    project_id: String,
    project_header: HeaderValue,
    timeouts: Timeouts,
    max_body: u64,
    pacer: Pacer,
    skew: Skew,
    credentials: Arc<dyn Credentials>,
    clock: Arc<dyn Clock>,
    /// Told the `Date` of every answer.
    answers: Arc<dyn AnswerWatch>,
}

/// A project that requests can go to: one pace, one clock and one set of connections, whatever APIs it is asked through.
#[derive(Clone)]
pub struct Project(Arc<Client>);

impl Project {
    /// The project that `settings` name. Nothing is sent yet.
    ///
    /// # Errors
    /// When the settings cannot work.
    pub fn new(
        settings: &WorkspaceSettings,
        credentials: Arc<dyn Credentials>,
        clock: Arc<dyn Clock>,
        answers: Arc<dyn AnswerWatch>,
    ) -> Result<Self, SettingsError> {
        Ok(Self(Arc::new(Client::new(settings, credentials, clock, answers)?)))
    }

    pub(super) fn client(&self) -> Arc<Client> {
        Arc::clone(&self.0)
    }
}

impl Reached {
    /// Whether it was refused for what it is, so that nothing came of it.
    pub(super) fn is_refusal(self) -> bool {
        matches!(self, Self::Answer(status) if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT)
    }
}

impl Client {
    fn new(
        settings: &WorkspaceSettings,
        credentials: Arc<dyn Credentials>,
        clock: Arc<dyn Clock>,
        answers: Arc<dyn AnswerWatch>,
    ) -> Result<Self, SettingsError> {
        let WorkspaceSettings { endpoint, project_id, requests_per_second, timeouts, .. } = settings;
        let host = usable_host(endpoint).ok_or_else(|| SettingsError::BadEndpoint(without_user(endpoint)))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let bad_project_id = || SettingsError::BadProjectId(project_id.clone());
        if project_id.is_empty() || !project_id.chars().all(plain) {
            return Err(bad_project_id());
        }
        let project_header = HeaderValue::from_str(project_id).map_err(|_| bad_project_id())?;
        let pacer = Pacer::new(*requests_per_second, Arc::clone(&clock))
            .ok_or(SettingsError::BadRate(*requests_per_second))?;
        Ok(Self {
            http: http_client(endpoint, settings.ca_pem.as_deref(), timeouts.connect)?,
            endpoint: endpoint.clone(),
            host,
            project_id: project_id.clone(),
            project_header,
            timeouts: *timeouts,
            max_body: settings.max_body,
            pacer,
            skew: Skew::default(),
            credentials,
            clock,
            answers,
        })
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn project_id(&self) -> &str {
        &self.project_id
    }

    pub(super) fn max_body(&self) -> u64 {
        self.max_body
    }

    pub(super) fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Asks, and gives back a 200 or a 204 (of a POST any success), its body still to come: a 204 has an empty one. A 401 is answered once with credentials fetched anew.
    pub(super) async fn ask(&self, ask: &Ask<'_>, trail: &mut Trail) -> Result<Response, Failure> {
        trail.last = Reached::Nobody;
        let pass = self.pass().await?;
        let answered = self.ask_with(&pass, ask, trail).await;
        match self.pass_after(&pass, trail).await? {
            Some(pass) => self.ask_with(&pass, ask, trail).await,
            None => answered,
        }
    }

    /// Waits until one request may be sent.
    pub(super) async fn pass(&self) -> Result<Pass, Failure> {
        self.admit(self.credentials.current()).await
    }

    /// As [`Self::pass`], where the request with `pass` was refused with a 401; `None` where it was not.
    pub(super) async fn pass_after(&self, pass: &Pass, trail: &Trail) -> Result<Option<Pass>, Failure> {
        if trail.last != Reached::Answer(StatusCode::UNAUTHORIZED) {
            return Ok(None);
        }
        self.admit(self.credentials.refresh(&pass.0)).await.map(Some)
    }

    async fn admit(
        &self,
        login: impl Future<Output = Result<Authority, CredentialsError>>,
    ) -> Result<Pass, Failure> {
        login.await.map_err(|error| no_keys(&error))?;
        self.pacer.turn().await.map_err(|closed| self.closed(closed))?;
        // What was good before the turn may have run out, and while it is renewed the source may ask for a pause.
        let authority = self.credentials.current().await.map_err(|error| no_keys(&error))?;
        self.pacer.open().map_err(|closed| self.closed(closed))?;
        Ok(Pass(authority))
    }

    /// As [`Self::ask`], now, once, and as `pass` lets it in.
    pub(super) async fn ask_with(
        &self,
        Pass(authority): &Pass,
        ask: &Ask<'_>,
        trail: &mut Trail,
    ) -> Result<Response, Failure> {
        trail.last = Reached::Nobody;
        let answer = self.send(ask, authority, trail).await?;
        // What a deletion is answered with beyond that it is done, nobody documents.
        let done = ask.method == Method::POST && answer.status().is_success();
        if matches!(answer.status(), StatusCode::OK | StatusCode::NO_CONTENT) || done {
            self.pacer.recover();
            return Ok(answer);
        }
        // Before the body is read: meanwhile others would go on asking.
        let asked_for = retry_after(answer.headers(), self.clock.now());
        let complains = asked_for.is_some() || answer.status() == StatusCode::TOO_MANY_REQUESTS;
        if complains {
            self.pacer.slow_down(asked_for);
        }
        let failure = self.refused(ask.operation, answer, authority, asked_for).await;
        if failure.kind == FailureKind::Throttled && !complains {
            self.pacer.slow_down(asked_for);
        }
        Err(failure)
    }

    async fn send(
        &self,
        ask: &Ask<'_>,
        authority: &Authority,
        trail: &mut Trail,
    ) -> Result<Response, Failure> {
        self.skew.may_sign().map_err(|skewed| self.wrong_clock(skewed))?;
        let (sent_at, sent) = (self.clock.now(), self.answers.reading());
        let request = self.request(ask, authority, sent_at)?;
        trail.last = Reached::Perhaps;
        let asked = Instant::now();
        let answer = match timeout(self.timeouts.first_byte, request.send()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                if error.is_connect() {
                    trail.last = Reached::Nobody;
                }
                return Err(no_answer(ask.operation, &self.host, &error).after(asked.elapsed()));
            }
            Err(_) => return Err(self.silent(ask.operation).after(asked.elapsed())),
        };
        trail.last = Reached::Answer(answer.status());
        trail.noted(request_id(answer.headers()));
        let theirs = date(answer.headers());
        self.answers.answered(&self.host, theirs, sent);
        if let Some(theirs) = theirs {
            let measured = self.skew.measure(theirs, (sent_at, self.clock.now()));
            measured.map_err(|skewed| self.wrong_clock(skewed))?;
        }
        Ok(answer)
    }

    /// Asks what time it is, without a signature: whatever the answer is, it is dated. So this works with a wrong clock and
    /// with refused credentials, too. The answer itself means nothing.
    pub(super) async fn tell_time(&self) -> Option<Failure> {
        // Whoever asked for a pause is left alone, and a place in the row is taken like any other.
        if self.pacer.turn().await.is_err() {
            return None;
        }
        let operation = Operation { name: "time of day", permission: None, subject: Subject::Project };
        let mut url = self.endpoint.clone();
        url.set_path("/");
        let sent = self.answers.reading();
        let answer = timeout(self.timeouts.first_byte, self.http.get(url).send()).await;
        match answer {
            Ok(Ok(answer)) => {
                self.answers.answered(&self.host, date(answer.headers()), sent);
                None
            }
            Ok(Err(error)) => Some(no_answer(&operation, &self.host, &error)),
            Err(_) => Some(self.silent(&operation)),
        }
    }

    /// The request as it goes out, signed or with its token.
    fn request(
        &self,
        ask: &Ask<'_>,
        authority: &Authority,
        now: Timestamp,
    ) -> Result<reqwest::RequestBuilder, Failure> {
        let mut url = self.endpoint.clone();
        url.set_path(&format!("{}{}", self.endpoint.path().trim_end_matches('/'), ask.path));
        url.set_query(Some(query_text(ask.query).as_str()).filter(|text| !text.is_empty()));
        let request = Request {
            method: ask.method.as_str(),
            host: &self.host,
            path: url.path(),
            query: ask.query,
            headers: &[(PROJECT_ID, &self.project_id)],
            body: Sha256::of(&ask.body),
        };
        let headers = authorized(authority, &request, now).map_err(|error| {
            let message = Message::new(error.to_string()).advise("check the files of the credentials");
            no_keys(&CredentialsError::Refused(message))
        })?;
        let mut request = self.http.request(ask.method.clone(), url).headers(headers);
        request = request.header(PROJECT_ID, &self.project_header);
        if !ask.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json").body(ask.body.clone());
        }
        Ok(request)
    }

    /// By how much the provider's clock is ahead of this one, as of its last answer; `None` before the first.
    pub(super) fn clock_ahead(&self) -> Option<SignedDuration> {
        self.skew.ahead()
    }

    /// Whether there is something to be let in with.
    pub(super) async fn has_credentials(&self) -> Result<(), Failure> {
        self.credentials.current().await.map(|_| ()).map_err(|error| no_keys(&error))
    }

    /// The provider has asked for a pause; what would have been sent waits for its end.
    fn closed(&self, Closed(left): Closed) -> Failure {
        let (host, left_over) = (&self.host, spelled_std(left + Duration::from_secs(1)));
        let cause = format!("{host} has asked for a pause: nothing is sent to it for another {left_over}");
        let message = Message::new(cause).advise(SLOW_DOWN);
        Failure { retry_after: Some(left), ..Failure::new(FailureKind::Throttled, Scope::Source, message) }
    }

    /// Whatever the answer was: it is not used, and nothing is signed, while the clocks are too far apart.
    fn wrong_clock(&self, Skewed(by): Skewed) -> Failure {
        let by = spelled(SignedDuration::from_mins(by.as_mins()));
        let cause =
            format!("{}: {}, so nothing is signed until it is right", self.host, clock_differs(Some(&by)));
        let message = Message::new(cause).advise(SET_CLOCK);
        Failure::new(FailureKind::Auth, Scope::Source, message)
    }

    fn silent(&self, operation: &Operation) -> Failure {
        let waited = self.timeouts.first_byte;
        let cause = format!("{} did not answer the {} within {waited:?}", self.host, operation.name);
        let message = Message::new(cause).advise(AGAIN);
        Failure::new(FailureKind::Transient, Scope::Window, message)
    }

    async fn refused(
        &self,
        operation: &Operation,
        mut answer: Response,
        authority: &Authority,
        retry_after: Option<Duration>,
    ) -> Failure {
        let mut body = Vec::new();
        // An error body that breaks off or dawdles is used as far as it came.
        let read = async {
            while let Ok(Some(piece)) = answer.chunk().await
                && body.len() < ERROR_BODY_LIMIT
            {
                body.extend_from_slice(&piece[..piece.len().min(ERROR_BODY_LIMIT - body.len())]);
            }
        };
        let _ = timeout(self.timeouts.stall, read).await;
        let refusal = Refusal {
            operation,
            host: &self.host,
            project_id: &self.project_id,
            status: answer.status(),
            headers: answer.headers(),
            body: &body,
            authority,
            retry_after,
            now: self.clock.now(),
        };
        refusal.failure()
    }
}

/// The headers by which `request` is let in.
pub(super) fn authorized(
    authority: &Authority,
    request: &Request<'_>,
    now: Timestamp,
) -> Result<HeaderMap, BadKey> {
    match authority {
        Authority::Keys(keys) => sign(request, keys, now),
        Authority::Token(token) => {
            Ok(HeaderMap::from_iter([(AUTH_TOKEN, sensitive(token.expose_secret(), "token")?)]))
        }
    }
}

/// The path of an operation on `project_id`, encoded.
pub(super) fn project_path(version: &str, project_id: &str, rest: &str) -> String {
    format!("/{version}/{}/{rest}", encode(project_id))
}
