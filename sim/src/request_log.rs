//! What was asked and what was answered, for a test to look at afterwards.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use crate::{endpoint::Endpoint, faults::Fault};

/// How many requests are kept; the oldest go first. The counters go on.
const KEPT: usize = 100_000;

/// One request and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedRequest {
    /// When it came, by the simulator's clock.
    pub time: Timestamp,
    /// For example `GET`.
    pub method: String,
    /// As on the wire, without the query.
    pub path: String,
    /// The query's pairs, decoded, in the order of the wire.
    pub query: Vec<(String, String)>,
    /// What the path means.
    pub endpoint: Endpoint,
    /// The access key that the request claimed.
    pub access_key: Option<String>,
    /// The status answered, even if the body then broke off; none when the connection was dropped unanswered.
    pub status: Option<u16>,
    /// The answer's `X-Request-Id`.
    pub request_id: String,
    /// The scripted fault that it met.
    pub fault: Option<Fault>,
}

impl LoggedRequest {
    /// The first value of a query parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, value) = self.query.iter().find(|(key, _)| key == name)?;
        Some(value)
    }
}

#[derive(Debug, Default)]
struct Entries {
    requests: VecDeque<LoggedRequest>,
    counts: BTreeMap<Endpoint, u64>,
}

#[derive(Debug, Default)]
pub(crate) struct RequestLog(Mutex<Entries>);

impl RequestLog {
    pub(crate) fn record(&self, request: LoggedRequest) {
        let mut entries = self.entries();
        *entries.counts.entry(request.endpoint).or_default() += 1;
        if entries.requests.len() == KEPT {
            entries.requests.pop_front();
        }
        entries.requests.push_back(request);
    }

    pub(crate) fn all(&self) -> Vec<LoggedRequest> {
        self.entries().requests.iter().cloned().collect()
    }

    pub(crate) fn count(&self, endpoint: Endpoint) -> u64 {
        self.entries().counts.get(&endpoint).copied().unwrap_or(0)
    }

    pub(crate) fn clear(&self) {
        *self.entries() = Entries::default();
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
