//! What the environment says of a proxy: the variables that name one, and what an address of one looks like.

/// The variables that name a proxy for `https`, in the order in which they count.
pub const FOR_HTTPS: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Those that name one for `http` alone.
pub const FOR_HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];

/// Whether a variable named `name` names a proxy.
pub fn is_variable(name: &str) -> bool {
    FOR_HTTPS.contains(&name) || FOR_HTTP.contains(&name)
}

/// Whether `text` is the address of a proxy that can be asked: `http://HOST:PORT`, where `https` may stand for `http`, a user and
/// a password before the host, and the scheme may be left out. The HTTP clients pass over everything else without a word.
pub fn is_address(text: &str) -> bool {
    let Ok(address) = text.parse::<http::Uri>() else { return false };
    let is_http = address.scheme_str().is_none_or(|scheme| ["http", "https"].contains(&scheme));
    let Some(authority) = address.authority() else { return false };
    let has_port = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, place)| place);
    let is_port = has_port.len() == authority.host().len() || authority.port_u16().is_some();
    is_http && is_port && !authority.host().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_proxy_has_a_host_and_perhaps_a_scheme_a_user_and_a_port() {
        let good = [
            "http://gate.example:3128",
            "https://gate.example",
            "gate.example:3128",
            "gate",
            "http://10.0.0.1:3128/",
            "http://[::1]:3128",
            "http://user:pass%40word@gate:3128",
        ];
        for text in good {
            assert!(is_address(text), "{text}");
        }
        let bad = [
            "http//gate:3128",
            "http:/gate:3128",
            "http://",
            "http://:3128",
            "http://gate:port",
            "http://gate:99999",
            "http://user:s3cret@[gate",
            "ftp://gate:21",
            "socks5://gate:1080",
            "gate example",
            " http://gate:3128",
            "/gate",
        ];
        for text in bad {
            assert!(!is_address(text), "{text}");
        }
    }
}
