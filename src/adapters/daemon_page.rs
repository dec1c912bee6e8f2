//! The page of a running daemon, asked by a command on the same machine that may not read the daemon's ledger.
//!
//! Nobody logs in there, so nothing in an answer is believed but as text for whoever asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{StatusCode, redirect};

use super::remote_text::cause;
use crate::domain::text::ForeignText;

/// For all of an answer.
const LONGEST: Duration = Duration::from_secs(30);
/// The most bytes of an answer: years of quarter hours that nobody has archived.
const LARGEST: usize = 256 << 20;
/// The most of an answer that is quoted.
const QUOTED: usize = 500;

/// Why the page does not say.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// Nobody answers there.
    #[error("nobody answers there ({0})")]
    NotThere(String),
    /// The daemon answers that it cannot say.
    #[error("it answers {status}: {said}")]
    Refused {
        /// The status of its answer.
        status: StatusCode,
        /// What it said.
        said: ForeignText,
    },
    /// The answer ends early, or has no end.
    #[error("its answer cannot be read ({0})")]
    Broken(String),
}

/// The document at `path` of the page that is shown at `address`.
///
/// # Errors
/// When nobody answers, or not with the whole document.
pub async fn get(address: SocketAddr, path: &str) -> Result<Vec<u8>, PageError> {
    let client = reqwest::Client::builder()
        .user_agent(concat!("connvault/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .http1_only()
        .timeout(LONGEST)
        .build()
        .map_err(|error| PageError::NotThere(cause(&error).into()))?;
    let answer = client.get(format!("http://{}{path}", reachable(address))).send().await;
    let answer = answer.map_err(|error| PageError::NotThere(cause(&error).into()))?;
    let status = answer.status();
    let mut body = Vec::new();
    let mut chunks = answer.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk.map_err(|error| PageError::Broken(cause(&error).into()))?);
        if body.len() > LARGEST {
            return Err(PageError::Broken("it has no end".to_owned()));
        }
    }
    if status == StatusCode::OK {
        return Ok(body);
    }
    body.truncate(QUOTED);
    Err(PageError::Refused { status, said: ForeignText::new(String::from_utf8_lossy(&body).trim()) })
}

/// Where a page is reached that is shown at all addresses of this machine.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_shown_everywhere_is_asked_for_on_this_machine() {
        for (shown, asked) in [
            ("0.0.0.0:9464", "127.0.0.1:9464"),
            ("[::]:9464", "[::1]:9464"),
            ("192.0.2.7:80", "192.0.2.7:80"),
        ] {
            assert_eq!(reachable(shown.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
