//! How a Workspace project is reached: settings that are checked, and the HTTP client that is made of them.

use std::time::Duration;

use reqwest::{Certificate, redirect, retry};
use url::Url;

use crate::adapters::host_names::SystemNames;
use crate::adapters::least_rate::LeastRate;
use crate::adapters::remote_text::cause;
use crate::domain::loopback::{is_loopback, is_private};

const USER_AGENT: &str = concat!("connvault/", env!("CARGO_PKG_VERSION"));
/// A connection that rested longer may be closed by the other side just as it is used again.
const IDLE: Duration = Duration::from_secs(10);

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until there is a connection, TLS included.
    pub connect: Duration,
    /// From sending the request (connecting included) until the head of the answer: the provider makes the file
    /// meanwhile.
    pub first_byte: Duration,
    /// Between two pieces of the answer.
    pub stall: Duration,
    /// The least that an answer must bring.
    pub least_rate: LeastRate,
}

/// How a Workspace project is reached.
#[derive(Debug, Clone)]
pub struct WorkspaceSettings {
    /// `https://workspace.{region}.myhuaweicloud.com`, or a private cloud's. Cleartext only to loopback.
    pub endpoint: Url,
    /// The project, as the provider's console shows it: letters, digits, `-` and `_`.
    pub project_id: String,
    /// At most so many requests a second, evenly spaced.
    pub requests_per_second: f64,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// The largest export that is taken, in bytes.
    pub max_body: u64,
    /// Certificates (PEM) to trust besides the system's: a private cloud's.
    pub ca_pem: Option<Vec<u8>>,
}

/// Settings that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Neither `https`, nor `http` to loopback; or credentials, a query or a fragment in it.
    #[error(
        "endpoint {0} cannot be used: write https://HOST (http only to loopback), without user, query or fragment"
    )]
    BadEndpoint(String),
    /// Empty, or not made of letters, digits, `-` and `_`.
    #[error("project_id {0:?} is none: it is made of letters, digits, `-` and `_`")]
    BadProjectId(String),
    /// Zero, negative, or no number.
    #[error("requests_per_second = {0} is no rate: use a positive number")]
    BadRate(f64),
    /// No certificates in PEM form.
    #[error("ca_file holds no usable certificate in PEM form: {0}")]
    BadCa(String),
    /// The TLS library did not start.
    #[error("the HTTP client does not start: {0}")]
    NoClient(String),
}

/// A client that does as `client` says: HTTP/1.1, no redirects, no repetitions.
pub(super) fn http_client(
    endpoint: &Url,
    ca_pem: Option<&[u8]>,
    connect: Duration,
) -> Result<reqwest::Client, SettingsError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .http1_only()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .connect_timeout(connect)
        .pool_idle_timeout(IDLE)
        .dns_resolver(SystemNames);
    if is_loopback(endpoint) {
        builder = builder.no_proxy();
    }
    if let Some(pem) = ca_pem {
        let certificates =
            Certificate::from_pem_bundle(pem).map_err(|error| SettingsError::BadCa(error.to_string()))?;
        if certificates.is_empty() {
            return Err(SettingsError::BadCa("there is none in it".to_owned()));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| SettingsError::NoClient(cause(&error).into()))
}

/// The `Host` header of an endpoint that requests may be signed for.
pub(super) fn usable_host(endpoint: &Url) -> Option<String> {
    let plain = endpoint.username().is_empty() && endpoint.password().is_none();
    let bare = endpoint.query().is_none() && endpoint.fragment().is_none();
    let host = endpoint.host_str().filter(|_| is_private(endpoint) && plain && bare)?;
    Some(match endpoint.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

/// For messages: a password in an address is a secret.
pub(super) fn without_user(endpoint: &Url) -> String {
    format!("{}://{}{}", endpoint.scheme(), endpoint.host_str().unwrap_or_default(), endpoint.path())
}
