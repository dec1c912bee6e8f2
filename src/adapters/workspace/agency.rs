//! Temporary keys of an ECS agency: what the metadata service of a virtual machine gives to whatever runs on it.
//!
//! Two generations of the service are about. The second wants a token of its own, which is asked for first; the first does
//! not know that question. Keys are fetched by one request at a time, whoever wants them waits for it, and they are fetched
//! anew long before they run out: while the service is away for a while, the old ones are still good.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Response, StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::credentials::{AccessKeys, Authority, Credentials, CredentialsError, Renewable};
use crate::adapters::remote_text::cause;
use crate::domain::message::Message;
use crate::ports::clock::Clock;

/// The service is on this very machine.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that a token of the service may be good for, in seconds: it is used once, at once.
const TOKEN_SECONDS: &str = "300";
const LARGEST: usize = 64 * 1024;

/// Keys of the machine's agency.
pub struct AgencyKeys {
    http: reqwest::Client,
    endpoint: Url,
    clock: Arc<dyn Clock>,
    known: Mutex<Renewable>,
}

#[derive(Deserialize)]
struct Answer {
    credential: Credential,
}

#[derive(Deserialize)]
struct Credential {
    access: SecretString,
    secret: SecretString,
    securitytoken: SecretString,
    expires_at: Timestamp,
}

impl AgencyKeys {
    /// Keys that the service at `endpoint` gives. Nothing is asked yet.
    ///
    /// # Errors
    /// When the HTTP client does not start, in words.
    pub fn new(endpoint: Url, clock: Arc<dyn Clock>) -> Result<Self, String> {
        // Never through a proxy: the service says who this machine is.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| String::from(cause(&error)))?;
        Ok(Self { http, endpoint, clock, known: Mutex::default() })
    }

    async fn fetch(&self) -> Result<(Authority, Timestamp), CredentialsError> {
        let mut request = self.http.get(self.url("openstack/latest/securitykey"));
        if let Some(token) = self.token().await? {
            request = request.header("X-Metadata-Token", token.expose_secret());
        }
        let answer = request.send().await.map_err(|error| self.away(&error))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                let cause = format!("the metadata service {} has no keys for this machine", self.endpoint);
                let advice = "give the ECS an agency with the permissions that connvault needs";
                return Err(CredentialsError::Refused(Message::new(cause).advise(advice)));
            }
            status => return Err(self.odd(status)),
        }
        let body = text(answer).await.map_err(|error| self.away(&error))?;
        let Answer { credential } = serde_json::from_str(body.expose_secret()).map_err(|error| {
            // Where it is wrong, not what stands there.
            let (endpoint, line, column) = (&self.endpoint, error.line(), error.column());
            let message = format!(
                "the metadata service {endpoint} answered without usable keys (line {line}, column {column})"
            );
            CredentialsError::Unreachable(message.into())
        })?;
        let keys = AccessKeys {
            access_key: credential.access,
            secret_key: credential.secret,
            security_token: Some(credential.securitytoken),
        };
        Ok((Authority::Keys(keys), credential.expires_at))
    }

    /// The token that the second generation of the service wants; the first has none.
    async fn token(&self) -> Result<Option<SecretString>, CredentialsError> {
        let request = self.http.put(self.url("meta-data/latest/api/token"));
        let answer = request.header("X-Metadata-Token-Ttl-Seconds", TOKEN_SECONDS).send().await;
        let answer = answer.map_err(|error| self.away(&error))?;
        match answer.status() {
            StatusCode::OK => text(answer).await.map(Some).map_err(|error| self.away(&error)),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::SERVICE_UNAVAILABLE => {
                Ok(None)
            }
            status => Err(self.odd(status)),
        }
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.endpoint.clone();
        url.set_path(path);
        url
    }

    fn away(&self, error: &reqwest::Error) -> CredentialsError {
        let cause = format!("the metadata service {} gives no keys: {}", self.endpoint, cause(error));
        CredentialsError::Unreachable(
            Message::new(cause).advise("kind = \"ecs-agency\" works on an ECS only"),
        )
    }

    fn odd(&self, status: StatusCode) -> CredentialsError {
        let message = format!("the metadata service {} answered with {status}", self.endpoint);
        CredentialsError::Unreachable(message.into())
    }
}

/// A short answer; a longer one is cut, and then does not read.
async fn text(mut answer: Response) -> Result<SecretString, reqwest::Error> {
    let mut body = Vec::with_capacity(4096);
    while let Some(piece) = answer.chunk().await? {
        body.extend_from_slice(&piece[..piece.len().min(LARGEST - body.len())]);
    }
    Ok(String::from_utf8_lossy(&body).trim().into())
}

#[async_trait]
impl Credentials for AgencyKeys {
    async fn current(&self) -> Result<Authority, CredentialsError> {
        let mut known = self.known.lock().await;
        known.current(self.clock.now(), || self.fetch()).await
    }

    async fn refresh(&self, refused: &Authority) -> Result<Authority, CredentialsError> {
        let mut known = self.known.lock().await;
        known.refresh(refused, self.clock.now(), || self.fetch()).await
    }
}
