//! Whether an address is this machine's own: cleartext may go there, and no proxy is asked for it.

use url::{Host, Url};

/// Whether `url` leads nowhere else than to this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether nobody on the way reads what is sent there: it is `https`, or `http` to this machine.
pub fn is_private(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.host().is_some(),
        "http" => is_loopback(url),
        _ => false,
    }
}
