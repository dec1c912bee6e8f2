//! The provider's identity service: tokens by password, and the project of a region.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{CONTENT_TYPE, HeaderName};
use reqwest::{Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use url::Url;

use super::client::authorized;
use super::credentials::{Authority, Credentials, CredentialsError, Renewable};
use super::settings::{SettingsError, http_client, usable_host, without_user};
use super::signer::{Request, query_text};
use crate::adapters::remote_text::{cause, clean};
use crate::domain::digest::Sha256;
use crate::ports::clock::Clock;

/// A password that was refused is not shown again for so long, unless it changes: a user whose password is wrong too often is
/// locked, by default after five times in a quarter of an hour.
const REFUSED_FOR: SignedDuration = SignedDuration::from_mins(10);
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
}

/// For which project a token is to be good.
#[derive(Debug, Clone)]
pub enum TokenScope {
    /// The one with this id.
    ProjectId(String),
    /// The one that is called so: a region's.
    ProjectName(String),
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
    refused: LastRefused,
}

/// Passwords that were refused lately, by the service and the user. It is shared by all who log in, for they are counted together.
#[derive(Clone, Default)]
pub struct RefusedPasswords(Arc<Lock<HashMap<Login, LastRefused>>>);

/// Service, account, user.
type Login = (Url, String, String);

/// Of one user: whoever logs in has it to himself.
type LastRefused = Arc<Mutex<Option<RefusedPassword>>>;

struct RefusedPassword {
    password: SecretString,
    error: CredentialsError,
    until: Timestamp,
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
    /// for as long as `connect`.
    ///
    /// # Errors
    /// When the settings cannot work.
    pub fn new(
        endpoint: Url,
        ca_pem: Option<&[u8]>,
        connect: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SettingsError> {
        let host =
            usable_host(&endpoint).ok_or_else(|| SettingsError::BadEndpoint(without_user(&endpoint)))?;
        Ok(Self { http: http_client(&endpoint, ca_pem, connect)?, endpoint, host, clock })
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
            .map_err(|error| CredentialsError::Refused(error.to_string()))?;
        let answer = self.send(self.http.get(url.clone()).headers(headers)).await?;
        let found: Projects = self.json(self.expect(StatusCode::OK, answer, &authority).await?).await?;
        match found.projects.as_slice() {
            [one] => Ok(one.id.clone()),
            [] => Err(CredentialsError::Refused(format!(
                "{} knows no project of region {region} that these credentials may use; check region, or set project_id",
                self.host
            ))),
            several => Err(CredentialsError::Refused(format!(
                "{} knows {} projects of region {region}; set project_id to the one that is meant",
                self.host,
                several.len()
            ))),
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
        let answer = self.send(request.body(body.to_string())).await?;
        let secret = Authority::Token(password.clone());
        let answer = self.expect(StatusCode::CREATED, answer, &secret).await?;
        let token =
            answer.headers().get(SUBJECT_TOKEN).and_then(|token| token.to_str().ok()).map(str::to_owned);
        let token = token.ok_or_else(|| self.odd("without a token"))?;
        let TokenAnswer { token: facts } = self.json(answer).await?;
        Ok((Authority::Token(token.into()), facts.expires_at))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, CredentialsError> {
        request.timeout(TIMEOUT).send().await.map_err(|error| {
            let cause = cause(&error);
            CredentialsError::Unreachable(format!(
                "cannot ask {}: {cause}; check name resolution, network, proxy, iam_endpoint and ca_file",
                self.host
            ))
        })
    }

    /// The answer, if it is what it should be; what is said otherwise is told without the secrets of `shown`.
    async fn expect(
        &self,
        wanted: StatusCode,
        answer: Response,
        shown: &Authority,
    ) -> Result<Response, CredentialsError> {
        let status = answer.status();
        if status == wanted {
            return Ok(answer);
        }
        let said: Refusal = self.json(answer).await.unwrap_or_default();
        let said = said.error.message.or(said.error_msg).unwrap_or_default();
        let hidden =
            shown.secrets().fold(said, |said, secret| said.replace(secret.expose_secret(), "[redacted]"));
        let message = format!("{} answered with {status} ({})", self.host, clean(&hidden));
        Err(if matches!(status.as_u16(), 400 | 401 | 403 | 404) {
            CredentialsError::Refused(format!(
                "{message}; check the credentials' domain, user and files, and the region"
            ))
        } else {
            CredentialsError::Unreachable(format!("{message}; it is tried again"))
        })
    }

    async fn json<T: for<'de> Deserialize<'de>>(&self, mut answer: Response) -> Result<T, CredentialsError> {
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| self.odd(&cause(&error)))? {
            body.extend_from_slice(&piece[..piece.len().min(LARGEST - body.len())]);
        }
        serde_json::from_slice(&body).map_err(|_| self.odd("with something else than it should"))
    }

    fn odd(&self, what: &str) -> CredentialsError {
        CredentialsError::Unreachable(format!("{} answered {what}; check iam_endpoint", self.host))
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
        refused: &RefusedPasswords,
    ) -> Self {
        let refused = refused.of((iam.endpoint.clone(), user.domain.clone(), user.name.clone()));
        Self { iam, user, password: Arc::new(password), token: Mutex::default(), refused }
    }

    async fn fetch(&self) -> Result<(Authority, Timestamp), CredentialsError> {
        let mut refused = self.refused.lock().await;
        let read = Arc::clone(&self.password);
        let read = tokio::task::spawn_blocking(move || read()).await;
        let password =
            read.map_err(|_| CredentialsError::Refused("reading the password was cut short".into()))?;
        let password = password.map_err(CredentialsError::Refused)?;
        let now = self.iam.clock.now();
        if let Some(known) = refused.as_ref().filter(|refused| refused.is_of(&password, now)) {
            return Err(known.error.clone());
        }
        let answered = self.iam.log_in(&self.user, &password).await;
        *refused = match &answered {
            Err(error @ CredentialsError::Refused(_)) => {
                let until = now.saturating_add(REFUSED_FOR).unwrap_or(now);
                Some(RefusedPassword { password, error: error.clone(), until })
            }
            _ => None,
        };
        answered
    }
}

impl RefusedPasswords {
    fn of(&self, login: Login) -> LastRefused {
        Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(login).or_default())
    }
}

impl RefusedPassword {
    fn is_of(&self, password: &SecretString, now: Timestamp) -> bool {
        // More is left than was set only if the clock was set back.
        let left = self.until.duration_since(now);
        let same = self.password.expose_secret() == password.expose_secret();
        same && left.is_positive() && left <= REFUSED_FOR
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
