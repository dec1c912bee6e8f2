//! The names that a server answers to.
//!
//! A page of somebody else can have its own name lead to this machine (DNS rebinding), and the browser would then let it read
//! what is served here. Its requests still name it, so whoever is asked by a foreign name does not answer.

use std::collections::BTreeSet;
use std::net::IpAddr;

use http::uri::Authority;
use http::{Request, Version, header};

use crate::domain::text::ForeignText;

/// Names that are this server's, besides the addresses of this machine.
#[derive(Debug, Clone, Default)]
pub struct OwnNames(BTreeSet<String>);

impl OwnNames {
    /// These names, and `localhost`.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let names = names.into_iter().chain(["localhost".to_owned()]);
        Self(names.map(|name| plain(&name)).collect())
    }

    /// Whether a request that came in at the address `local` is meant for this server.
    ///
    /// # Errors
    /// The name that it asks for, where that is another one.
    pub fn check<B>(&self, request: &Request<B>, local: IpAddr) -> Result<(), ForeignText> {
        let named = request.headers().get_all(header::HOST).iter().map(|value| value.as_bytes());
        let mut named: Vec<_> = named.collect();
        if named.is_empty() && request.version() >= Version::HTTP_11 {
            return Err(ForeignText::default());
        }
        named.extend(request.uri().authority().map(|authority| authority.as_str().as_bytes()));
        let foreign = named.into_iter().find(|name| !self.is_own(name, local));
        foreign.map_or(Ok(()), |name| Err(ForeignText::from_bytes(name)))
    }

    fn is_own(&self, named: &[u8], local: IpAddr) -> bool {
        let Ok(authority) = Authority::try_from(named) else { return false };
        let host = authority.host();
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => address.is_loopback() || address.to_canonical() == local.to_canonical(),
            Err(_) => self.0.contains(&plain(host)),
        }
    }
}

/// A name as it is compared: names know no case, and may end in a dot.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: Option<&str>, version: Version, local: &str) -> Result<(), String> {
        let mut request = Request::builder().version(version).uri("/");
        if let Some(host) = host {
            request = request.header(header::HOST, host);
        }
        let names = OwnNames::new(["Vault.Example".to_owned()]);
        names.check(&request.body(()).unwrap(), local.parse().unwrap()).map_err(|name| name.to_string())
    }

    #[test]
    fn own_names_and_addresses_are_answered_and_no_others() {
        for host in
            ["localhost:9464", "vault.example", "VAULT.example.:80", "127.0.0.1", "[::1]:9464", "10.0.0.7:1"]
        {
            assert_eq!(check(Some(host), Version::HTTP_11, "10.0.0.7"), Ok(()), "{host}");
        }
        for host in ["evil.example", "10.0.0.8", "localhost@evil.example", "10.0.0.7.evil.example"] {
            assert_eq!(check(Some(host), Version::HTTP_11, "::ffff:10.0.0.7"), Err(host.to_owned()));
        }
        assert_eq!(check(None, Version::HTTP_11, "127.0.0.1"), Err(String::new()));
        assert_eq!(check(None, Version::HTTP_10, "127.0.0.1"), Ok(()), "no browser asks so");
    }
}
