//! Which proxy a request goes through, for messages. The clients of sources and stores obey the same variables by themselves, and
//! say nothing of a proxy that they could not reach.

use std::fmt;

use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

use crate::domain::loopback::is_loopback;
use crate::domain::proxy::{FOR_HTTPS, is_address};

/// A proxy that the environment names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// The variable that names it.
    variable: &'static str,
    /// Its host and port. No user, and no password.
    host: String,
}

impl Proxy {
    /// The one that requests to `url` go through; `None` where they go there directly.
    pub fn to(url: &Url) -> Option<Self> {
        if is_loopback(url) || url.scheme() != "https" {
            return None;
        }
        let destination = url.as_str().parse().ok()?;
        let host = Matcher::from_env().intercept(&destination)?.uri().authority()?.to_string();
        let names_one = |name: &&&'static str| std::env::var(name).is_ok_and(|text| is_address(&text));
        let variable = *FOR_HTTPS.iter().find(names_one)?;
        Some(Self { variable, host })
    }

    /// What helps where it does not let a request through to `host`.
    pub fn advice(&self, host: &str) -> String {
        format!("see whether that proxy is there: correct {}, or name {host} in NO_PROXY", self.variable)
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy {}", self.host)
    }
}
