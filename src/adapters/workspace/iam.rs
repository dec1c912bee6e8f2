//! The provider's identity service: tokens by password, and the project of a region.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex as Lock;
use reqwest::header::{CONTENT_TYPE, HeaderName};
use reqwest::{Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use url::Url;

use super::client::authorized;
use super::credentials::{Authority, Credentials, CredentialsError, Renewable, unread};
use super::errors::{SET_CLOCK, clock_differs};
use super::logins::{IdentityMemory, Logins};
use super::pacer::{Closed, Gate, UNSAID};
use super::said::{clock_skew, retry_after};
use super::settings::{SettingsError, http_client, usable_host, without_user};
use super::signer::{Request, query_text};
use super::unanswered::{AGAIN, not_reached};
use crate::adapters::remote_text::cause;
use crate::domain::digest::Sha256;
use crate::domain::duration::spelled_std;
use crate::domain::message::Message;
use crate::domain::text::ForeignText;
use crate::ports::clock::Clock;

const TIMEOUT: Duration = Duration::from_secs(30);
const SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");
const LARGEST: usize = 1 << 20;

/// The identity service, as one source reaches it.
#[derive(Clone)]
pub struct Iam {
    http: reqwest::Client,
    endpoint: Url,
    host: String,
    clock: Arc<dyn Clock>,
    /// Shared by all who ask it.
    gate: Arc<Lock<Gate>>,
}

/// For which project a token is to be good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenScope {
    /// The one with this id.
    ProjectId(String),
    /// The one that is called so: a region's.
    ProjectName(String),
}

impl fmt::Display for TokenScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProjectId(id) => write!(f, "project {id}"),
            Self::ProjectName(region) => write!(f, "the project of region {region}"),
        }
    }
}

/// A user of the identity service.
pub struct User {
    /// The account.
    pub domain: String,
    /// The user's name in it.
    pub name: String,
    /// For what the tokens are.
    pub scope: TokenScope,
}

type ReadPassword = dyn Fn() -> Result<SecretString, String> + Send + Sync;

/// Tokens that a user gets for a password.
pub struct TokenLogin {
    iam: Iam,
    user: User,
    password: Arc<ReadPassword>,
    token: Mutex<Renewable>,
    logins: Arc<Mutex<Logins>>,
}

/// A question, as messages name it, and what answers it.
struct Ask<'a> {
    /// After "the".
    what: String,
    wanted: StatusCode,
    /// What it shows to be let in, which is kept out of messages.
    shown: &'a Authority,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Token,
}

#[derive(Deserialize)]
struct Token {
    expires_at: Timestamp,
}

#[derive(Deserialize)]
struct Projects {
    projects: Vec<FoundProject>,
}

#[derive(Deserialize)]
struct FoundProject {
    id: String,
}

#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: Said,
    #[serde(default)]
    error_msg: Option<String>,
}

#[derive(Default, Deserialize)]
struct Said {
    #[serde(default)]
    message: Option<String>,
}

impl Iam {
    /// The identity service at `endpoint`. Certificates in `ca_pem` are trusted besides the system's; a connection is waited
    /// for as long as `connect`. Whoever asks it with the same `memory` leaves it alone together.
    ///
    /// # Errors
    /// When the settings cannot work.
    pub fn new(
        endpoint: Url,
        ca_pem: Option<&[u8]>,
        connect: Duration,
        clock: Arc<dyn Clock>,
        memory: &IdentityMemory,
    ) -> Result<Self, SettingsError> {
        let host =
            usable_host(&endpoint).ok_or_else(|| SettingsError::BadEndpoint(without_user(&endpoint)))?;
        let (http, gate) = (http_client(&endpoint, ca_pem, connect)?, memory.gate(&endpoint));
        Ok(Self { http, endpoint, host, clock, gate })
    }

    /// The id of the project that is called `region`.
    ///
    /// # Errors
    /// When the service does not say, or there is not exactly one.
    pub async fn project_of(
        &self,
        region: &str,
        credentials: &dyn Credentials,
    ) -> Result<String, CredentialsError> {
        let authority = credentials.current().await?;
        let query = [("name", region)];
        let mut url = self.url("v3/projects");
        url.set_query(Some(&query_text(&query)));
        let request = Request {
            method: "GET",
            host: &self.host,
            path: url.path(),
            query: &query,
            headers: &[],
            body: Sha256::of(b""),
        };
        let headers = authorized(&authority, &request, self.clock.now())
            .map_err(|error| CredentialsError::Refused(error.to_string().into()))?;
        let ask = Ask {
            what: format!("search for the project of region {region}"),
            wanted: StatusCode::OK,
            shown: &authority,
        };
        let answer = self.ask(&ask, self.http.get(url.clone()).headers(headers)).await?;
        let found: Projects = self.json(answer).await?;
        let refused = |cause: String, advice| CredentialsError::Refused(Message::new(cause).advise(advice));
        match found.projects.as_slice() {
            [one] => Ok(ForeignText::new(&one.id).into()),
            [] => {
                let cause = format!(
                    "{} knows no project of region {region} that these credentials may use",
                    self.host
                );
                Err(refused(cause, "check region, or set project_id"))
            }
            several => {
                let cause = format!("{} knows {} projects of region {region}", self.host, several.len());
                Err(refused(cause, "set project_id to the one that is meant"))
            }
        }
    }

    async fn log_in(
        &self,
        user: &User,
        password: &SecretString,
    ) -> Result<(Authority, Timestamp), CredentialsError> {
        let project = match &user.scope {
            TokenScope::ProjectId(id) => json!({ "id": id }),
            TokenScope::ProjectName(name) => json!({ "name": name }),
        };
        let named = json!({ "domain": { "name": user.domain }, "name": user.name, "password": password.expose_secret() });
        let identity = json!({ "methods": ["password"], "password": { "user": named } });
        let body = json!({ "auth": { "identity": identity, "scope": { "project": project } } });
        let request = self.http.post(self.url("v3/auth/tokens")).header(CONTENT_TYPE, "application/json");
        let shown = &Authority::Token(password.clone());
        let ask = Ask { what: format!("login for {}", user.scope), wanted: StatusCode::CREATED, shown };
        let answer = self.ask(&ask, request.body(body.to_string())).await?;
        let token =
            answer.headers().get(SUBJECT_TOKEN).and_then(|token| token.to_str().ok()).map(str::to_owned);
        let token = token.ok_or_else(|| self.odd("without a token"))?;
        let TokenAnswer { token: facts } = self.json(answer).await?;
        Ok((Authority::Token(token.into()), facts.expires_at))
    }

    /// Sends a question, and gives back the answer that is wanted, its body still to come. Nothing is sent in a pause that was
    /// asked for.
    async fn ask(
        &self,
        ask: &Ask<'_>,
        request: reqwest::RequestBuilder,
    ) -> Result<Response, CredentialsError> {
        let open = self.gate.lock().open(self.clock.now());
        open.map_err(|Closed(left)| {
            let (host, left_over) = (&self.host, spelled_std(left + Duration::from_secs(1)));
            let message =
                format!("{host} has asked for a pause: nothing is sent to it for another {left_over}");
            CredentialsError::Closed(message.into(), left)
        })?;
        let answer = request.timeout(TIMEOUT).send().await.map_err(|error| {
            let (what, why) = (format!("cannot ask {}", self.host), cause(&error));
            let endpoint = "iam_endpoint";
            CredentialsError::Unreachable(not_reached(&what, &self.host, error.url(), &why, endpoint))
        })?;
        if answer.status() == ask.wanted { Ok(answer) } else { Err(self.refused(ask, answer).await) }
    }

    /// What an answer that was not wanted says, without the secrets that were shown.
    async fn refused(&self, ask: &Ask<'_>, answer: Response) -> CredentialsError {
        let (status, now) = (answer.status(), self.clock.now());
        let unsaid = (status == StatusCode::TOO_MANY_REQUESTS).then_some(UNSAID);
        let pause = retry_after(answer.headers(), now).or(unsaid);
        if let Some(pause) = pause {
            // Before the body is read: meanwhile others would ask.
            self.gate.lock().close(pause, now);
        }
        let skew = clock_skew(answer.headers(), now);
        let said: Refusal = self.json(answer).await.unwrap_or_default();
        let said = said.error.message.or(said.error_msg).unwrap_or_default();
        let hidden =
            ask.shown.secrets().fold(said, |said, secret| said.replace(secret.expose_secret(), "[redacted]"));
        let hidden = ForeignText::new(&hidden);
        let said = if hidden.is_empty() { String::new() } else { format!(" ({hidden})") };
        let cause = format!("{} answered the {} with {status}{said}", self.host, ask.what);
        match (status.as_u16(), pause, skew) {
            (400 | 401 | 403 | 404, _, Some(skew)) => {
                let cause = format!("{cause}: {}", clock_differs(Some(&skew)));
                CredentialsError::Refused(Message::new(cause).advise(SET_CLOCK))
            }
            (400 | 401 | 403 | 404, _, None) => CredentialsError::Refused(
                Message::new(cause).advise("check the credentials' domain, user and files, and the region"),
            ),
            (_, Some(pause), _) => {
                let message = Message::new(cause).advise("it is left alone for as long as it asks");
                CredentialsError::Closed(message, pause)
            }
            (_, None, _) => CredentialsError::Unreachable(Message::new(cause).advise(AGAIN)),
        }
    }

    async fn json<T: for<'de> Deserialize<'de>>(&self, mut answer: Response) -> Result<T, CredentialsError> {
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| self.odd(&cause(&error)))? {
            body.extend_from_slice(&piece[..piece.len().min(LARGEST - body.len())]);
        }
        serde_json::from_slice(&body).map_err(|_| self.odd("with something else than it should"))
    }

    fn odd(&self, what: &str) -> CredentialsError {
        let message = Message::new(format!("{} answered {what}", self.host)).advise("check iam_endpoint");
        CredentialsError::Unreachable(message)
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.endpoint.clone();
        url.set_path(path);
        url
    }
}

impl TokenLogin {
    /// Tokens for `user`. `password` may block (it reads a file), and its error says which file and why.
    pub fn new(
        iam: Iam,
        user: User,
        password: impl Fn() -> Result<SecretString, String> + Send + Sync + 'static,
        memory: &IdentityMemory,
    ) -> Self {
        let logins = memory.user(&user.domain, &user.name);
        Self { iam, user, password: Arc::new(password), token: Mutex::default(), logins }
    }

    async fn fetch(&self) -> Result<(Authority, Timestamp), CredentialsError> {
        let mut logins = self.logins.lock().await;
        let read = Arc::clone(&self.password);
        let read = tokio::task::spawn_blocking(move || read()).await;
        let password =
            read.map_err(|_| CredentialsError::Refused("reading the password was cut short".into()))?;
        let password = password.map_err(|why| CredentialsError::Refused(unread("password", &why)))?;
        let scope = &self.user.scope;
        if let Some(error) = logins.foreseen(&password, scope, self.iam.clock.now()) {
            return Err(error);
        }
        let answered = self.iam.log_in(&self.user, &password).await;
        logins.note(password, scope.clone(), answered.as_ref().err(), self.iam.clock.now());
        answered
    }
}

#[async_trait]
impl Credentials for TokenLogin {
    async fn current(&self) -> Result<Authority, CredentialsError> {
        let mut token = self.token.lock().await;
        token.current(self.iam.clock.now(), async || self.fetch().await).await
    }

    async fn refresh(&self, refused: &Authority) -> Result<Authority, CredentialsError> {
        let mut token = self.token.lock().await;
        token.refresh(refused, self.iam.clock.now(), async || self.fetch().await).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::credentials::{AccessKeys, FileKeys};
    use super::super::scripted_server::{ScriptedServer, answer};
    use super::*;
    use crate::adapters::system_clock::SystemClock;

    #[tokio::test]
    async fn what_is_given_as_an_id_is_cut_to_a_line() {
        let body = json!({ "projects": [{ "id": format!("\u{1b}{}", "0".repeat(10_000)) }] }).to_string();
        let server = ScriptedServer::start(vec![answer("200 OK", "", &body)]).await;
        let endpoint = Url::parse(&format!("http://{}", server.address)).unwrap();
        let memory = IdentityMemory::default();
        let iam = Iam::new(endpoint, None, TIMEOUT, Arc::new(SystemClock), &memory).unwrap();
        let keys = || AccessKeys { access_key: "a".into(), secret_key: "b".into(), security_token: None };
        let id = iam.project_of("here", &FileKeys::new(move || Ok(keys()))).await.unwrap();
        assert!(id.len() < 1000 && id.starts_with('0'), "{id:?}");
    }
}
