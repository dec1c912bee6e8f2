//! Host names of sources, stores and proxies, looked up by the system's resolver; one that is not found is named.

use std::net::SocketAddr;

/// A host name that could not be looked up.
#[derive(Debug, thiserror::Error)]
#[error("the host name {host} cannot be looked up ({why})")]
pub struct Unresolved {
    /// As it was asked for.
    pub host: String,
    why: std::io::Error,
}

/// The addresses of `host`, with port 0.
///
/// # Errors
/// When there is none, or nobody who could say.
pub async fn look_up(host: &str) -> Result<Vec<SocketAddr>, Unresolved> {
    match tokio::net::lookup_host((host, 0)).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(why) => Err(Unresolved { host: host.to_owned(), why }),
    }
}

/// For the HTTP client of sources.
#[derive(Debug, Clone, Copy)]
pub struct SystemNames;

impl reqwest::dns::Resolve for SystemNames {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async move {
            let addresses: reqwest::dns::Addrs = Box::new(look_up(name.as_str()).await?.into_iter());
            Ok(addresses)
        })
    }
}
