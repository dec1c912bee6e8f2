//! Exports from a server that says exactly what it was told to.

mod failures;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::AUTHORIZATION;
use url::Url;

use super::super::credentials::{AccessKeys, Credentials, FileKeys};
use super::super::scripted_server::{Script, ScriptedServer, Then, answer, raw};
use super::super::signer::{Request, sign};
use super::super::{SettingsError, Timeouts, WorkspaceSettings};
use super::*;
use crate::adapters::least_rate::LeastRate;
use crate::domain::digest::Sha256;
use crate::domain::export::{Bounds, Filters};
use crate::domain::failure::{FailureKind, Scope};
use crate::ports::clock::{Clock, NoAnswerWatch};

const SECRETS: [&str; 3] = ["AKIDAKID0001", "hush-hush-hush", "tokentoken=="];

struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        "2026-11-23T02:00:05Z".parse().unwrap()
    }
}

#[derive(Default)]
struct Collected {
    bytes: Vec<u8>,
    full: bool,
}

#[async_trait]
impl ByteSink for Collected {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        if self.full {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "free some space under /spool"));
        }
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }
}

fn keys(access_key: &str) -> AccessKeys {
    let [_, secret_key, token] = SECRETS;
    AccessKeys {
        access_key: access_key.into(),
        secret_key: secret_key.into(),
        security_token: Some(token.into()),
    }
}

fn settings(endpoint: &str) -> WorkspaceSettings {
    let long = Duration::from_secs(60);
    WorkspaceSettings {
        endpoint: Url::parse(endpoint).unwrap(),
        project_id: "0123456789abcdef".into(),
        requests_per_second: 1000.0,
        timeouts: Timeouts { connect: long, first_byte: long, stall: long, least_rate: LeastRate::default() },
        max_body: 1000,
        ca_pem: None,
    }
}

fn request() -> ExportRequest {
    let bounds = Bounds {
        start: "2026-11-21T23:59:00Z".parse().unwrap(),
        end: "2026-11-23T00:01:00Z".parse().unwrap(),
    };
    ExportRequest {
        stream: "logins".parse().unwrap(),
        window: "20261122T000000Z_20261123T000000Z".parse().unwrap(),
        definition: Sha256::of(b""),
        bounds,
        filters: Filters { user_name: "a b+~张".into(), ..Filters::default() },
        after: None,
        expires_at: Timestamp::MAX,
    }
}

fn source(settings: &WorkspaceSettings) -> WorkspaceV2 {
    with(settings, FileKeys::new(|| Ok(keys(SECRETS[0])))).unwrap()
}

fn with(settings: &WorkspaceSettings, credentials: FileKeys) -> Result<WorkspaceV2, SettingsError> {
    let credentials: Arc<dyn Credentials> = Arc::new(credentials);
    Ok(WorkspaceV2::of(&Project::new(
        settings,
        credentials,
        Arc::new(StoppedClock),
        Arc::new(NoAnswerWatch),
    )?))
}

struct Outcome {
    result: Result<ExportReceipt, SourceError>,
    bytes: Vec<u8>,
    requests: Vec<String>,
}

impl Outcome {
    fn failure(&self) -> &Failure {
        &self.result.as_ref().unwrap_err().0
    }

    fn typed(&self) -> (FailureKind, Scope) {
        (self.failure().kind, self.failure().scope)
    }
}

/// One export from a server that plays `scripts`, with settings changed by `change`.
async fn export(scripts: Vec<Script>, change: impl FnOnce(&mut WorkspaceSettings)) -> Outcome {
    let server = ScriptedServer::start(scripts).await;
    let mut settings = settings(&format!("http://{}", server.address));
    change(&mut settings);
    let mut sink = Collected::default();
    let result = source(&settings).export(&request(), &mut sink).await;
    if let Err(error) = &result {
        let shown = format!("{error} {error:?}");
        assert!(SECRETS.iter().all(|secret| !shown.contains(secret)), "{shown}");
        assert!(!error.to_string().contains(|c: char| c.is_control()), "{error:?}");
    }
    Outcome { result, bytes: sink.bytes, requests: server.requests() }
}

fn unchanged(_: &mut WorkspaceSettings) {}

fn impatient(settings: &mut WorkspaceSettings) {
    settings.timeouts.first_byte = Duration::from_millis(50);
    settings.timeouts.stall = Duration::from_millis(50);
}

#[tokio::test]
async fn an_export_is_asked_for_signed_and_handed_on_as_it_is() {
    let ok = answer("200 OK", "X-Request-Id: r-1\r\nContent-Type: multipart/form-data\r\n", "a,b\n1,2\n");
    let outcome = export(vec![ok], unchanged).await;
    let receipt = outcome.result.unwrap();
    assert_eq!(outcome.bytes, b"a,b\n1,2\n");
    assert_eq!(receipt.api, ExportApi::V2);
    assert_eq!(receipt.request_ids, ["r-1"]);
    assert_eq!(receipt.pulled_at, StoppedClock.now());

    let head = &outcome.requests[0];
    let path = "/v2/0123456789abcdef/connections/desktops/export";
    let target = "end_time=2026-11-23T00%3A01Z&language=en_US&start_time=2026-11-21T23%3A59Z\
                  &user_name=a%20b%2B~%E5%BC%A0";
    assert!(head.starts_with(&format!("GET {path}?{target} HTTP/1.1\r\n")), "{head}");
    let field = |name: &str| {
        let line = head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}: ")))?;
        Some(line.split_once(": ")?.1)
    };
    assert_eq!(field("user-agent"), Some(concat!("connvault/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(field("accept-encoding"), None);
    assert_eq!(field("x-security-token"), Some("tokentoken=="));
    let expected = Request {
        method: "GET",
        host: field("host").unwrap(),
        path,
        query: &[
            ("start_time", "2026-11-21T23:59Z"),
            ("end_time", "2026-11-23T00:01Z"),
            ("language", "en_US"),
            ("user_name", "a b+~张"),
        ],
        headers: &[("x-project-id", field("x-project-id").unwrap())],
        body: Sha256::of(b""),
    };
    let expected = sign(&expected, &keys(SECRETS[0]), StoppedClock.now()).unwrap();
    assert_eq!(field("authorization"), Some(expected[AUTHORIZATION].to_str().unwrap()));
}

#[tokio::test]
async fn a_page_of_html_passes_because_looking_into_it_is_not_done_here() {
    let page = answer("200 OK", "Content-Type: text/html\r\n", "<html>Welcome</html>");
    let outcome = export(vec![page], unchanged).await;
    assert!(outcome.result.is_ok());
    assert_eq!(outcome.bytes, b"<html>Welcome</html>");
}

#[test]
fn settings_that_cannot_work_are_refused_when_they_are_read() {
    let refused = |change: fn(&mut WorkspaceSettings)| {
        let mut settings = settings("https://workspace.example");
        change(&mut settings);
        with(&settings, FileKeys::new(|| Ok(keys(SECRETS[0])))).err().map(|error| error.to_string())
    };
    assert_eq!(refused(|_| ()), None);
    assert_eq!(refused(|s| s.endpoint = Url::parse("http://[::1]:8080/base/").unwrap()), None);
    for endpoint in ["http://workspace.example", "ftp://h", "https://u:hush@h", "https://h?a=b"] {
        let mut settings = settings(endpoint);
        settings.project_id = "p".into();
        let credentials = FileKeys::new(|| Ok(keys(SECRETS[0])));
        let error = with(&settings, credentials).err().unwrap().to_string();
        assert!(error.contains("endpoint") && !error.contains("hush"), "{error}");
    }
    assert!(refused(|s| s.project_id = "../x".into()).unwrap().contains("project_id"));
    assert!(refused(|s| s.project_id = String::new()).unwrap().contains("project_id"));
    assert!(refused(|s| s.requests_per_second = 0.0).unwrap().contains("requests_per_second"));
    assert!(refused(|s| s.ca_pem = Some(b"no certificate".to_vec())).unwrap().contains("ca_file"));
}
