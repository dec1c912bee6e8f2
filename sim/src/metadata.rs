//! The metadata service of a virtual machine, which gives out temporary keys of the machine's agency.
//!
//! There are two generations of it. The second wants a token of its own, so that nobody gets keys who can make the
//! machine send a plain GET, and no more.

use std::{
    collections::HashMap,
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    answer::{Answer, Payload},
    instant,
    keys::{Key, Keys},
    seed::SplitMix,
};

/// Which generation of the service there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Metadata {
    /// None: 404 for both paths.
    #[default]
    Off,
    /// The first, which knows no tokens: 405 when asked for one.
    WithoutTokens,
    /// The second: 401 without a token, or with one that was not given out or is good no more.
    WithTokens,
}

impl FromStr for Metadata {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "without-tokens" => Ok(Self::WithoutTokens),
            "with-tokens" => Ok(Self::WithTokens),
            _ => Err("off, without-tokens or with-tokens".to_owned()),
        }
    }
}

/// What the service was set up with, and what it has given out.
pub(crate) struct MetadataService {
    generation: Metadata,
    /// How long a key is good.
    validity: Duration,
    issued: Mutex<Issued>,
}

/// Everything is good until the instant beside it.
#[derive(Default)]
struct Issued {
    tokens: HashMap<String, Timestamp>,
    keys: HashMap<String, Timestamp>,
}

impl MetadataService {
    pub(crate) fn new(generation: Metadata, validity: Duration) -> Self {
        Self { generation, validity, issued: Mutex::default() }
    }

    /// How many keys were ever given out.
    pub(crate) fn keys_issued(&self) -> u64 {
        self.issued().keys.len() as u64
    }

    /// Whether the key is one of those given out that is good no more.
    pub(crate) fn has_expired(&self, access: &str, now: Timestamp) -> bool {
        self.issued().keys.get(access).is_some_and(|until| *until <= now)
    }

    /// `PUT /meta-data/latest/api/token`
    pub(crate) fn token(&self, headers: &HeaderMap, now: Timestamp) -> Answer {
        match self.generation {
            Metadata::Off => return Answer::empty(StatusCode::NOT_FOUND),
            Metadata::WithoutTokens => return Answer::empty(StatusCode::METHOD_NOT_ALLOWED),
            Metadata::WithTokens => {}
        }
        let asked = header(headers, "x-metadata-token-ttl-seconds").and_then(|text| text.parse().ok());
        let Some(seconds) = asked.filter(|seconds| (1..=21_600).contains(seconds)) else {
            return Answer::empty(StatusCode::BAD_REQUEST);
        };
        let mut issued = self.issued();
        let n = issued.tokens.len() as u64;
        let token = format!("sim-metadata-{:016x}", SplitMix::new(n).next());
        issued.tokens.insert(token.clone(), after(now, SignedDuration::from_secs(seconds)));
        Answer::new(StatusCode::OK, "text/plain", Payload::Whole(token.into()))
    }

    /// `GET /openstack/latest/securitykey`: another key each time, good at once.
    pub(crate) fn security_key(&self, headers: &HeaderMap, keys: &Keys, now: Timestamp) -> Answer {
        let mut issued = self.issued();
        match self.generation {
            Metadata::Off => return Answer::empty(StatusCode::NOT_FOUND),
            Metadata::WithoutTokens => {}
            Metadata::WithTokens => {
                let token = header(headers, "x-metadata-token").and_then(|token| issued.tokens.get(token));
                if token.is_none_or(|until| *until <= now) {
                    return Answer::empty(StatusCode::UNAUTHORIZED);
                }
            }
        }
        let until = after(now, SignedDuration::try_from(self.validity).unwrap_or(SignedDuration::MAX));
        let n = issued.keys.len() + 1;
        let (access, secret, token) =
            (format!("SIMAGENCY{n:04}"), format!("sim-agency-secret-{n}"), format!("sim-agency-token-{n}=="));
        keys.add(Key::temporary(&access, &secret, &token));
        issued.keys.insert(access.clone(), until);
        let credential = json!({
            "access": access, "secret": secret, "securitytoken": token, "expires_at": instant::micros(until),
        });
        Answer::json(StatusCode::OK, &json!({ "credential": credential }))
    }

    fn issued(&self) -> MutexGuard<'_, Issued> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn after(now: Timestamp, delay: SignedDuration) -> Timestamp {
    now.checked_add(delay).unwrap_or(Timestamp::MAX)
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}
