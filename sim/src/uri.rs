//! Paths and queries as they stand on the wire, and in the one form the signature is computed over.
//!
//! Nothing here knows form encoding: only `%XX` is an escape, and a `+` is a plus sign.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// Everything but `A-Z a-z 0-9 - . _ ~` is escaped (RFC 3986's unreserved set).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn encode(bytes: &[u8]) -> String {
    percent_encode(bytes, ESCAPED).to_string()
}

fn decode(raw: &str) -> Vec<u8> {
    percent_decode_str(raw).collect()
}

fn raw_pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|part| !part.is_empty()).map(|part| part.split_once('=').unwrap_or((part, "")))
}

/// The path decoded, each segment encoded again, with a `/` at its end.
pub(crate) fn canonical_path(path: &str) -> String {
    // Decoded as a whole before it is split, as the vendor does: an escaped slash separates like a plain one.
    let decoded = decode(path);
    let mut canonical = decoded.split(|byte| *byte == b'/').map(encode).collect::<Vec<_>>().join("/");
    if !canonical.ends_with('/') {
        canonical.push('/');
    }
    canonical
}

/// The query sorted by decoded name, then decoded value, both encoded again; `None` when a pair on the wire was
/// not itself encoded that way (the order on the wire is free).
pub(crate) fn canonical_query(query: &str) -> Option<String> {
    let mut pairs = Vec::new();
    for (name, value) in raw_pairs(query) {
        let pair = (decode(name), decode(value));
        if encode(&pair.0) != name || encode(&pair.1) != value {
            return None;
        }
        pairs.push(pair);
    }
    pairs.sort();
    let encoded: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    Some(encoded.join("&"))
}

/// The query's pairs in the order of the wire, decoded; bytes that are not UTF-8 become U+FFFD.
pub(crate) fn decoded_pairs(query: &str) -> Vec<(String, String)> {
    let text = |raw| String::from_utf8_lossy(&decode(raw)).into_owned();
    raw_pairs(query).map(|(name, value)| (text(name), text(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plus_on_the_wire_is_a_plus_and_never_canonical() {
        assert_eq!(canonical_query("user_name=a+b"), None);
        assert_eq!(decoded_pairs("user_name=a+b%20c"), [("user_name".to_owned(), "a+b c".to_owned())]);
    }

    #[test]
    fn pairs_are_sorted_by_name_then_value() {
        assert_eq!(canonical_query("b=2&b=1&a-b=x&a=y&B=z").as_deref(), Some("B=z&a=y&a-b=x&b=1&b=2"));
    }

    #[test]
    fn lower_case_escapes_and_unescaped_colons_are_not_canonical() {
        assert_eq!(canonical_query("t=a%3ab"), None);
        assert_eq!(canonical_query("t=a:b"), None);
        assert_eq!(canonical_query("t=a%3Ab").as_deref(), Some("t=a%3Ab"));
    }

    #[test]
    fn a_path_is_encoded_by_segment_and_ends_with_a_slash() {
        assert_eq!(canonical_path("/v2/a%20b+c~"), "/v2/a%20b%2Bc~/");
        assert_eq!(canonical_path("/"), "/");
    }
}
