//! Whether an address is this machine's own: cleartext may go there, and no proxy is asked for it.

use url::{Host, Url};

/// Whether `url` leads nowhere else than to this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
