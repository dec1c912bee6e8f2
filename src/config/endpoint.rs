//! Where a source or a store is reached: `https://host[:port]`, and `http://` on this machine only.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use url::{Host, Url};

use crate::domain::loopback::{is_loopback, is_private};

/// A scheme, a host and perhaps a port; never a user, a path, a query or a fragment.
///
/// Cleartext `http` is taken for loopback only: requests carry signatures and answers carry personal data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

/// Why a text is no endpoint.
///
/// None of the messages holds the text: a URL can hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    /// Not a URL, or not an absolute one.
    #[error("must be a URL such as \"https://obs.ap-southeast-3.myhuaweicloud.com\"")]
    NotAUrl,
    /// Another scheme than https (and http).
    #[error("must begin with https://")]
    Scheme,
    /// `http` to another machine.
    #[error("cleartext http:// is allowed to this machine only (127.0.0.0/8, ::1, localhost); use https://")]
    Cleartext,
    /// A user or a password in the URL.
    #[error("must not hold a user or a password; credentials have keys of their own")]
    Credentials,
    /// Another address than the metadata service's.
    #[error("must be http://169.254.169.254, or http:// to this machine")]
    Elsewhere,
    /// A path, a query or a fragment.
    #[error("must end after the host or port, without a path, a query or a fragment")]
    More,
}

impl Endpoint {
    /// The URL, with `/` as its path.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The URL without the slash at its end.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        let url = Url::parse(text).map_err(|_| BadEndpoint::NotAUrl)?;
        match (url.scheme(), url.host()) {
            ("http" | "https", Some(_)) => {}
            ("http" | "https", None) => return Err(BadEndpoint::NotAUrl),
            _ => return Err(BadEndpoint::Scheme),
        }
        if !is_private(&url) {
            return Err(BadEndpoint::Cleartext);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadEndpoint::Credentials);
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(BadEndpoint::More);
        }
        Ok(Self(url))
    }
}

/// Where a virtual machine's metadata service is: cleartext, since it never leaves the machine it runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataEndpoint(Url);

/// The address that every virtual machine finds its metadata at.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

impl MetadataEndpoint {
    /// The URL, with `/` as its path.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The URL without the slash at its end.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }
}

impl FromStr for MetadataEndpoint {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        let url = Url::parse(text).map_err(|_| BadEndpoint::NotAUrl)?;
        let plain = url.username().is_empty() && url.password().is_none();
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let there = url.host() == Some(Host::Ipv4(METADATA)) || is_loopback(&url);
        if url.scheme() == "http" && there && plain && bare {
            Ok(Self(url))
        } else {
            Err(BadEndpoint::Elsewhere)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleartext_goes_to_this_machine_only() {
        for good in [
            "http://127.0.0.1:8333",
            "http://127.9.9.9",
            "http://[::1]:80",
            "http://localhost:1",
            "https://a.b",
        ] {
            assert!(good.parse::<Endpoint>().is_ok(), "{good}");
        }
        // The last ones only look like this machine.
        for bad in [
            "http://obs.example.com",
            "http://10.0.0.1",
            "http://127.0.0.1.example.com",
            "http://localhost.example",
        ] {
            assert_eq!(bad.parse::<Endpoint>(), Err(BadEndpoint::Cleartext), "{bad}");
        }
    }

    #[test]
    fn an_endpoint_is_a_scheme_a_host_and_a_port() {
        for (bad, why) in [
            ("obs.example.com", BadEndpoint::NotAUrl),
            ("", BadEndpoint::NotAUrl),
            ("https://", BadEndpoint::NotAUrl),
            ("ftp://example.com", BadEndpoint::Scheme),
            ("https://user:pass@example.com", BadEndpoint::Credentials),
            ("https://example.com/path", BadEndpoint::More),
            ("https://example.com?x=1", BadEndpoint::More),
            ("https://example.com#x", BadEndpoint::More),
        ] {
            assert_eq!(bad.parse::<Endpoint>(), Err(why), "{bad}");
        }
        assert_eq!("https://example.com/".parse::<Endpoint>().unwrap().to_string(), "https://example.com");
    }
}
