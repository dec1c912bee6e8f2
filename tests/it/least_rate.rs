//! Transfers that drip: a byte now and then keeps every other time-out from passing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use connvault::adapters::least_rate::LeastRate;
use connvault::adapters::s3_store::{S3Settings, S3Store, Timeouts as StoreTimeouts};
use connvault::adapters::system_clock::SystemClock;
use connvault::adapters::workspace::credentials::{AccessKeys, FileKeys};
use connvault::adapters::workspace::probe::SourceProbe;
use connvault::adapters::workspace::{Project, Timeouts, WorkspaceSettings};
use connvault::domain::digest::Sha256;
use connvault::domain::export::{Bounds, Filters};
use connvault::domain::failure::{Failure, FailureKind, Scope};
use connvault::domain::lock::Lock;
use connvault::ports::clock::NoAnswerWatch;
use connvault::ports::object_store::{CreateOnly, ObjectStore};
use connvault::ports::record_source::{ByteSink, ExportRequest};
use connvault_sim::{Endpoint, Fault, Key, Records, Rule, Simulator};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::support::buckets::settings;
use crate::support::content::{file, key, noise};
use crate::support::vault::{ACCESS_KEY, SECRET_KEY, days_ago};

/// Any byte at all is too few for it, in the time of a few drips.
fn strict() -> LeastRate {
    LeastRate { bytes_per_second: 1 << 30, span: Duration::from_millis(1200) }
}

fn assert_is_too_slow(failure: &Failure, scope: Scope) {
    assert_eq!((failure.kind, failure.scope), (FailureKind::Transient, scope), "{failure:?}");
    let message = &failure.message;
    assert!(
        message.contains("too slow") && message.contains("1073741824 bytes a second are wanted"),
        "{message}"
    );
    assert!(failure.waited() >= Duration::from_secs(1), "it was waited for in vain: {failure:?}");
}

struct Sink;

#[async_trait::async_trait]
impl ByteSink for Sink {
    async fn write(&mut self, _: Bytes) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_and_a_count_that_drip_are_ended() {
    let start = days_ago(2);
    let day = jiff::SignedDuration::from_hours(24);
    let records = Records::seeded(7, start, start + day, 40);
    let sim = Simulator::builder().key(Key::permanent(ACCESS_KEY, SECRET_KEY)).records(records);
    let sim = sim.start().await.unwrap();
    sim.faults().add(Rule::new(Fault::Drip(Duration::from_millis(20))));
    let long = Duration::from_secs(60);
    let settings = WorkspaceSettings {
        endpoint: Url::parse(&sim.endpoint()).unwrap(),
        project_id: sim.project_id().to_owned(),
        requests_per_second: 1000.0,
        timeouts: Timeouts { connect: long, first_byte: long, stall: long, least_rate: strict() },
        max_body: 1 << 30,
        ca_pem: None,
    };
    let keys = FileKeys::new(|| {
        Ok(AccessKeys { access_key: ACCESS_KEY.into(), secret_key: SECRET_KEY.into(), security_token: None })
    });
    let project =
        Project::new(&settings, Arc::new(keys), Arc::new(SystemClock), Arc::new(NoAnswerWatch)).unwrap();
    let probe = SourceProbe::of(&project);
    let request = ExportRequest {
        stream: "logins".parse().unwrap(),
        window: "20261122T000000Z_20261123T000000Z".parse().unwrap(),
        definition: Sha256::of(b""),
        bounds: Bounds { start, end: start + day },
        filters: Filters::default(),
        after: None,
        expires_at: Timestamp::MAX,
    };
    assert_is_too_slow(&probe.export_v2(&request, &mut Sink).await.unwrap_err().failure, Scope::Window);
    assert_is_too_slow(&probe.query(&request).await.unwrap_err().failure, Scope::Window);
    assert_eq!(sim.request_count(Endpoint::Export), 1);
}

/// A store that takes and gives a byte at a time, on one connection after the other.
async fn dripping_store() -> (S3Store, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            open.spawn(drip(client));
        }
    });
    let timeouts = StoreTimeouts { least_rate: strict(), ..StoreTimeouts::default() };
    let create_only = connvault::adapters::s3_store::CreateOnlySetting::Head;
    let settings = settings(&endpoint, "audit", "access", "secret");
    (S3Store::new(S3Settings { timeouts, create_only, ..settings }).unwrap(), task)
}

async fn drip(mut client: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    if head.starts_with("HEAD ") {
        let status = if head.contains("probe") { "200 OK" } else { "404 Not Found" };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 80\r\nConnection: close\r\n\r\n");
        let _gone = client.write_all(answer.as_bytes()).await;
    } else if head.starts_with("PUT ") {
        while client.read_u8().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    } else if head.contains("probe") {
        let probe = "connvault puts this object to find out whether this store refuses to overwrite.\n";
        let answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{probe}", probe.len());
        let _gone = client.write_all(answer.as_bytes()).await;
    } else {
        let _gone = client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
        while client.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_comes_by_drips_is_given_up() {
    let (store, server) = dripping_store().await;
    let body = store.get(&key("s/data/1")).await.unwrap().unwrap();
    let error = body.bytes.try_collect::<Vec<_>>().await.unwrap_err();
    assert_is_too_slow(&error.0, Scope::Store);
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_taken_by_drips_is_given_up() {
    let (store, server) = dripping_store().await;
    assert_eq!(store.prove().await.unwrap(), CreateOnly::HeadThenPut);
    let folder = tempfile::tempdir().unwrap();
    // More than all the buffers on the way hold.
    let content = file(folder.path(), ".file", &noise(64 << 20));
    let error = store.put_if_absent(&key("s/data/1"), &content, &Lock::NONE).await.unwrap_err();
    assert_is_too_slow(&error.0, Scope::Store);
    server.abort();
}
