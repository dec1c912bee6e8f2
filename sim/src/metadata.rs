//! The metadata service of a virtual machine, which gives out temporary keys of the machine's agency.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    answer::{Answer, Payload},
    instant,
    keys::{Key, Keys},
};

/// Which generation of the service there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Metadata {
    /// None.
    #[default]
    Off,
    /// The first, which knows no tokens of its own.
    WithoutTokens,
    /// The second, which wants one.
    WithTokens,
}

const TOKEN: &str = "sim-metadata-token";

pub(crate) struct MetadataService {
    pub(crate) generation: Metadata,
    /// How long a key is good.
    pub(crate) validity: Duration,
    issued: Mutex<HashMap<String, Timestamp>>,
}

impl MetadataService {
    pub(crate) fn new(generation: Metadata, validity: Duration) -> Self {
        Self { generation, validity, issued: Mutex::default() }
    }

    /// How many keys were ever given out.
    pub(crate) fn issued(&self) -> u64 {
        self.keys().len() as u64
    }

    /// Whether the key is one of those given out that is good no more.
    pub(crate) fn has_expired(&self, access: &str, now: Timestamp) -> bool {
        self.keys().get(access).is_some_and(|until| *until <= now)
    }

    /// `PUT /meta-data/latest/api/token`
    pub(crate) fn token(&self, headers: &HeaderMap) -> Answer {
        match self.generation {
            Metadata::Off => nothing(StatusCode::NOT_FOUND),
            Metadata::WithoutTokens => nothing(StatusCode::METHOD_NOT_ALLOWED),
            Metadata::WithTokens => {
                let seconds =
                    header(headers, "x-metadata-token-ttl-seconds").and_then(|text| text.parse().ok());
                if seconds.is_some_and(|seconds: u32| (1..=21_600).contains(&seconds)) {
                    Answer::new(StatusCode::OK, "text/plain", Payload::Whole(TOKEN.into()))
                } else {
                    nothing(StatusCode::BAD_REQUEST)
                }
            }
        }
    }

    /// `GET /openstack/latest/securitykey`: another key each time, good at once.
    pub(crate) fn security_key(&self, headers: &HeaderMap, keys: &Keys, now: Timestamp) -> Answer {
        match self.generation {
            Metadata::Off => return nothing(StatusCode::NOT_FOUND),
            Metadata::WithTokens if header(headers, "x-metadata-token") != Some(TOKEN) => {
                return nothing(StatusCode::UNAUTHORIZED);
            }
            _ => {}
        }
        let until = now.checked_add(self.validity).unwrap_or(Timestamp::MAX);
        let mut issued = self.keys();
        let n = issued.len() + 1;
        let (access, secret, token) =
            (format!("SIMAGENCY{n:04}"), format!("sim-agency-secret-{n}"), format!("sim-agency-token-{n}=="));
        keys.add(Key::temporary(&access, &secret, &token));
        issued.insert(access.clone(), until);
        let credential = json!({
            "access": access, "secret": secret, "securitytoken": token, "expires_at": instant::micros(until),
        });
        Answer::json(StatusCode::OK, &json!({ "credential": credential }))
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn nothing(status: StatusCode) -> Answer {
    Answer::new(status, "text/plain", Payload::Whole("".into()))
}
