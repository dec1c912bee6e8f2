//! Requests that no answer came to: the host was not reached, or the answer broke off. What a proxy on the way may have to do with
//! it is said.

use url::Url;

use super::errors::Operation;
use crate::adapters::proxy::Proxy;
use crate::adapters::remote_text::cause;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::message::Message;

/// No answer came: the request did not get through, or nothing came back.
pub(super) fn no_answer(operation: &Operation, host: &str, error: &reqwest::Error) -> Failure {
    let (cause, name) = (cause(error), operation.name);
    let (kind, scope, cause, advice) = if error.is_connect() {
        return unreached(&format!("cannot reach {host}"), host, error.url(), &cause);
    } else if error.is_builder() {
        let cause = format!("cannot ask {host} for the {name}: {cause}");
        (FailureKind::Rejected, Scope::Source, cause, "check endpoint")
    } else {
        let cause = format!("no answer from {host} to the {name}: {cause}");
        (FailureKind::Transient, Scope::Window, cause, AGAIN)
    };
    Failure::new(kind, scope, Message::new(cause).advise(advice))
}

/// No connection to `host`, which serves `url`, came about: what could not be done, and why.
fn unreached(what: &str, host: &str, url: Option<&Url>, why: &str) -> Failure {
    let message = not_reached(what, host, url, why, "endpoint");
    Failure::new(FailureKind::Transient, Scope::Source, message)
}

/// As [`unreached`]: cause and advice; `endpoint` is the setting that names the host.
pub(super) fn not_reached(what: &str, host: &str, url: Option<&Url>, why: &str, endpoint: &str) -> Message {
    match url.and_then(Proxy::to) {
        Some(proxy) => Message::new(format!("{what} through {proxy}: {why}")).advise(proxy.advice(host)),
        None => Message::new(format!("{what}: {why}")).advise(format!(
            "check name resolution, network, {endpoint}, ca_file, and whether a proxy is wanted (HTTPS_PROXY)"
        )),
    }
}

/// What helps against a failure that passes.
pub(super) const AGAIN: &str = "it is tried again";

/// An export that broke off: worth another try, and no other window's affair.
pub(super) fn broken_off(what: &str, host: &str, received: u64, cause: &str) -> Failure {
    let cause = format!("the {what} from {host} broke off after {received} bytes: {cause}");
    Failure::new(FailureKind::Transient, Scope::Window, Message::new(cause).advise(AGAIN))
}
