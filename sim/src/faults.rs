//! Scripted faults: what shall go wrong, for which requests, how many times.
//!
//! Faults meet requests that were let in; one with a bad signature is refused and uses up no rule. Operations that
//! nobody signs (tokens, and a machine's metadata) let everybody in.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;

use crate::endpoint::Endpoint;

/// A `Retry-After` header, in one of its two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// As a number of seconds.
    Seconds(u64),
    /// As a date, this many seconds after the simulator's clock.
    HttpDate(u64),
}

/// What goes wrong. Byte positions count the body; where the body's length is known, a position at or past its
/// end means its last byte, so that the fault is always felt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// An error of the API. With 4xx (save 408) the gateway refuses, and nothing is done; with any other status the
    /// operation is done and its answer lost, so that a task is created, and a download counts.
    Status {
        /// HTTP status.
        code: u16,
        /// `error_code` of the body.
        error_code: String,
        /// Sent when given.
        retry_after: Option<RetryAfter>,
    },
    /// 429 with `APIGW.0308`; nothing is done.
    Throttle {
        /// Sent when given.
        retry_after: Option<RetryAfter>,
    },
    /// The right answer, its first byte only after this long.
    DelayFirstByte(Duration),
    /// So many bytes, then nothing more on an open connection.
    StallAfter {
        /// Bytes of the body that are sent.
        bytes: u64,
    },
    /// The right body, a byte at a time with this pause before each.
    Drip(Duration),
    /// A `Content-Length` for the whole body, yet the connection is closed in order after so many bytes.
    TruncateAfter {
        /// Bytes of the body that are sent.
        bytes: u64,
    },
    /// A chunked body that ends in order after so many bytes: nothing on the wire shows that it was cut.
    TruncateCleanly {
        /// Bytes of the body that are sent.
        bytes: u64,
    },
    /// The connection is reset (TCP RST) after so many bytes.
    ResetAfter {
        /// Bytes of the body that are sent.
        bytes: u64,
    },
    /// 200 with a proxy's HTML page.
    HtmlBody,
    /// 200 with the API's JSON error body.
    JsonErrorBody,
    /// 200 without a single byte of body.
    EmptyBody,
    /// 204, which has no body.
    NoContent,
    /// 200 with these bytes for a body.
    Body(Bytes),
    /// The right body under the content type `text/html`.
    WrongContentType,
    /// The connection is closed without an answer.
    DropConnection,
    /// A well-formed answer that silently lacks the last so many records (and counts that many less). A task's file
    /// lacks what its creation left out; only bulk rows are made, and left out, by its download.
    OmitRecords {
        /// How many are missing.
        records: u64,
    },
}

impl Fault {
    /// An error of the API with the error code that usually comes with the status, and no `Retry-After`.
    pub fn status(code: u16) -> Self {
        let error_code = match code {
            401 => "APIGW.0301".to_owned(),
            429 => "APIGW.0308".to_owned(),
            504 => "APIGW.0201".to_owned(),
            _ => format!("WKS.00000{code}"),
        };
        Self::Status { code, error_code, retry_after: None }
    }

    /// Whether the operation is not done at all.
    pub(crate) fn forestalls(&self) -> bool {
        match self {
            Self::Throttle { .. } => true,
            Self::Status { code, .. } => (400..500).contains(code) && *code != 408,
            _ => false,
        }
    }
}

/// One fault, and the requests that meet it: all of them unless narrowed down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    fault: Fault,
    endpoint: Option<Endpoint>,
    parameters: Vec<(String, String)>,
    skip: u64,
    times: Option<u64>,
}

impl Rule {
    /// Every request meets `fault`, without end.
    pub fn new(fault: Fault) -> Self {
        Self { fault, endpoint: None, parameters: Vec::new(), skip: 0, times: None }
    }

    /// Only requests to this operation.
    #[must_use]
    pub fn on(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Only requests whose query has this pair (decoded).
    #[must_use]
    pub fn with_parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// Only requests for the window that starts here, written as in the query: `2016-08-20T21:11Z`.
    #[must_use]
    pub fn for_start_time(self, start_time: impl Into<String>) -> Self {
        self.with_parameter("start_time", start_time)
    }

    /// Lets the first `requests` that match go by unharmed.
    #[must_use]
    pub fn skip(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Only for so many of the requests that match; then the rule is spent.
    #[must_use]
    pub fn times(mut self, requests: u64) -> Self {
        self.times = Some(requests);
        self
    }

    fn matches(&self, endpoint: Endpoint, query: &[(String, String)]) -> bool {
        self.endpoint.is_none_or(|wanted| wanted == endpoint)
            && self.parameters.iter().all(|pair| query.contains(pair))
    }
}

/// The rules in force. A request meets at most one fault: that of the oldest rule that matches and is not spent.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Rule>>);

impl Faults {
    /// Adds a rule, behind those there are.
    pub fn add(&self, rule: Rule) {
        self.rules().push(rule);
    }

    /// The next `times` requests of any kind meet `fault`.
    pub fn next(&self, times: u64, fault: Fault) {
        self.add(Rule::new(fault).times(times));
    }

    /// All requests meet `fault`, until [`Faults::clear`].
    pub fn always(&self, fault: Fault) {
        self.add(Rule::new(fault));
    }

    /// Removes every rule.
    pub fn clear(&self) {
        self.rules().clear();
    }

    /// Whether no rule is left: those limited in number are gone once spent.
    pub fn is_spent(&self) -> bool {
        self.rules().is_empty()
    }

    pub(crate) fn take(&self, endpoint: Endpoint, query: &[(String, String)]) -> Option<Fault> {
        let mut rules = self.rules();
        let mut met = None;
        for rule in rules.iter_mut().filter(|rule| rule.matches(endpoint, query)) {
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            match &mut rule.times {
                Some(0) => continue,
                Some(left) => *left -= 1,
                None => {}
            }
            met = Some(rule.fault.clone());
            break;
        }
        rules.retain(|rule| rule.times != Some(0));
        met
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_met_in_order_and_only_by_requests_that_match() {
        let faults = Faults::default();
        let start = |value: &str| vec![("start_time".to_owned(), value.to_owned())];
        faults.add(Rule::new(Fault::EmptyBody).on(Endpoint::Export).for_start_time("a").times(1));
        faults.add(Rule::new(Fault::HtmlBody).on(Endpoint::Export).skip(1).times(1));
        assert_eq!(faults.take(Endpoint::Query, &start("a")), None);
        assert_eq!(faults.take(Endpoint::Export, &start("b")), None, "skipped");
        assert_eq!(faults.take(Endpoint::Export, &start("a")), Some(Fault::EmptyBody));
        assert_eq!(faults.take(Endpoint::Export, &start("a")), Some(Fault::HtmlBody));
        assert!(faults.is_spent());
    }
}
