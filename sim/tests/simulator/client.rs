//! A small signing client, and a simulator whose clock stands still.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use connvault_sim::{Builder, DEFAULT_PROJECT_ID, Key, Record, Records, Simulator};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, RequestBuilder, Response};
use sha2::{Digest, Sha256};

pub const NOW: &str = "2026-11-23T12:00:00Z";

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A simulator at [`NOW`] with the example key.
pub fn builder() -> Builder {
    Simulator::builder().clock(|| at(NOW))
}

/// A clock that stands at [`NOW`] until it is moved.
#[derive(Clone)]
pub struct Hand(Arc<AtomicI64>);

impl Hand {
    pub fn at_now() -> Self {
        Self(Arc::new(AtomicI64::new(at(NOW).as_second())))
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }

    pub fn forward(&self, by: SignedDuration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    /// As [`builder`], by this clock.
    pub fn builder(&self) -> Builder {
        let hand = self.clone();
        Simulator::builder().clock(move || hand.now())
    }
}

/// Three days of 40 records, the last of them half over at [`NOW`].
pub fn three_days() -> Records {
    Records::seeded(7, at("2026-11-21T00:00Z"), at("2026-11-24T00:00Z"), 40)
}

/// Records that start at these instants and differ in nothing else that matters.
pub fn starting_at(starts: &[&str]) -> Records {
    let records = (0u64..).zip(starts).map(|(n, start)| Record::at(at(start), n));
    Records::from_vec(records.collect())
}

pub fn export_path() -> String {
    format!("/v2/{DEFAULT_PROJECT_ID}/connections/desktops/export")
}

pub fn query_path() -> String {
    format!("/v2/{DEFAULT_PROJECT_ID}/connections/desktops")
}

pub fn create_path() -> String {
    format!("/v3/{DEFAULT_PROJECT_ID}/desktops/connections/export")
}

pub fn tasks_path() -> String {
    format!("/v2/{DEFAULT_PROJECT_ID}/export-tasks")
}

pub fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => write!(encoded, "%{byte:02X}").unwrap(),
        }
        encoded
    })
}

pub fn query_string(parameters: &[(&str, &str)]) -> String {
    let mut pairs = parameters.to_vec();
    pairs.sort();
    let pairs: Vec<String> = pairs.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect();
    pairs.join("&")
}

/// Asks without a proxy, and without a signature.
pub fn unsigned() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Signs as a client that gets everything right.
pub struct Client {
    address: SocketAddr,
    http: reqwest::Client,
    pub key: Key,
    pub date: Timestamp,
    pub method: Method,
}

impl Client {
    pub fn of(sim: &Simulator) -> Self {
        Self::to(sim.address())
    }

    pub fn to(address: SocketAddr) -> Self {
        Self { address, http: unsigned(), key: Key::example(), date: at(NOW), method: Method::GET }
    }

    /// `query` is signed in one form and sent in another only where a test wants so.
    pub fn request(&self, path: &str, signed_query: &str, sent_query: &str) -> RequestBuilder {
        self.request_with(path, signed_query, sent_query, b"")
    }

    fn request_with(&self, path: &str, signed_query: &str, sent_query: &str, body: &[u8]) -> RequestBuilder {
        let date = self.date.strftime("%Y%m%dT%H%M%SZ").to_string();
        let host = self.address.to_string();
        let mut headers = vec![("host", host.as_str()), ("x-sdk-date", &date)];
        if let Some(token) = &self.key.security_token {
            headers.push(("x-security-token", token));
        }
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let names = names.join(";");
        let digest = hex::encode(Sha256::digest(body));
        let canonical = format!("{}\n{path}/\n{signed_query}\n{lines}\n{names}\n{digest}", self.method);
        let hash = hex::encode(Sha256::digest(canonical));
        let mut hmac = Hmac::<Sha256>::new_from_slice(self.key.secret.as_bytes()).unwrap();
        hmac.update(format!("SDK-HMAC-SHA256\n{date}\n{hash}").as_bytes());
        let signature = hex::encode(hmac.finalize().into_bytes());
        let authorization = format!(
            "SDK-HMAC-SHA256 Access={}, SignedHeaders={names}, Signature={signature}",
            self.key.access
        );
        let mut request = self
            .http
            .request(self.method.clone(), format!("http://{host}{path}?{sent_query}"))
            .body(body.to_vec())
            .header("X-Sdk-Date", &date)
            .header("Authorization", authorization);
        if let Some(token) = &self.key.security_token {
            request = request.header("X-Security-Token", token);
        }
        request
    }

    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> reqwest::Result<Response> {
        let query = query_string(parameters);
        self.request(path, &query, &query).send().await
    }

    /// Whatever the client's method is.
    pub async fn post(&self, path: &str, body: &str) -> Response {
        let client = Self { method: Method::POST, http: self.http.clone(), key: self.key.clone(), ..*self };
        client.request_with(path, "", "", body.as_bytes()).send().await.unwrap()
    }

    pub async fn export(&self, parameters: &[(&str, &str)]) -> reqwest::Result<Response> {
        self.get(&export_path(), parameters).await
    }

    pub async fn export_bytes(&self, parameters: &[(&str, &str)]) -> Vec<u8> {
        let response = self.export(parameters).await.unwrap();
        assert_eq!(response.status(), 200);
        response.bytes().await.unwrap().to_vec()
    }

    pub async fn query(&self, parameters: &[(&str, &str)]) -> serde_json::Value {
        let response = self.get(&query_path(), parameters).await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }

    /// Status and `error_code` of a refusal.
    pub async fn refusal(&self, path: &str, parameters: &[(&str, &str)]) -> (u16, String) {
        error_of(self.get(path, parameters).await.unwrap()).await
    }
}

/// Status and `error_code`; every error body also names the request.
pub async fn error_of(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let request_id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body: serde_json::Value = response.json().await.unwrap();
    assert_eq!(body["request_id"], request_id.as_str());
    assert!(body["error_code"].as_str().unwrap().len() <= 12);
    (status, body["error_code"].as_str().unwrap().to_owned())
}
