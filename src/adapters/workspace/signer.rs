//! `SDK-HMAC-SHA256`: how the provider's gateway wants requests signed.
//!
//! A pure function of the request, the keys and the time. A signature is good for minutes only (the gateway refuses
//! a clock more than 15 minutes off), so every attempt is signed anew. [`query_text`] makes both the query that is
//! signed and the one that is sent: they can never differ by an encoder's taste.
//!
//! Held in the tests against vectors made with the vendor's own SDK (`scripts/signature-vectors.py`).

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;

use super::credentials::AccessKeys;
use crate::domain::digest::Sha256;

const ALGORITHM: &str = "SDK-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-sdk-date");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-security-token");

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request as it will be sent, before it is signed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    /// In upper case.
    pub method: &'a str,
    /// As in the `Host` header: with a port where it is not the scheme's own.
    pub host: &'a str,
    /// As on the wire: encoded, beginning with `/`.
    pub path: &'a str,
    /// Not encoded, in any order.
    pub query: &'a [(&'a str, &'a str)],
    /// Further headers that the signature is to cover; sent by the caller.
    pub headers: &'a [(&'a str, &'a str)],
    /// Of the body; that of no bytes where there is none.
    pub body: Sha256,
}

/// A key holds characters that no header can carry, a line break for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {0} holds characters that no key has")]
pub(super) struct BadKey(&'static str);

/// The headers that make `request` a signed one: the time, the temporary key's token, the signature.
///
/// # Errors
/// When a key cannot stand in a header.
pub(super) fn sign(request: &Request<'_>, keys: &AccessKeys, now: Timestamp) -> Result<HeaderMap, BadKey> {
    let date = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let token = keys.security_token.as_ref().map(|token| token.expose_secret().trim());

    let mut covered = vec![("host".to_owned(), request.host), (DATE.to_string(), date.as_str())];
    covered.extend(token.map(|token| (SECURITY_TOKEN.to_string(), token)));
    // The gateway leaves out names with an underscore when it checks.
    let signable = request.headers.iter().filter(|(name, _)| !name.contains('_'));
    covered.extend(signable.map(|(name, value)| (name.to_ascii_lowercase(), value.trim())));
    covered.sort();

    let names = covered.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
    let text = string_to_sign(&canonical_request(request, &covered, &names), &date);
    let access_key = keys.access_key.expose_secret();
    let signature = hmac(keys.secret_key.expose_secret(), &text);
    let authorization =
        format!("{ALGORITHM} Access={access_key}, SignedHeaders={names}, Signature={signature}");

    let mut headers = HeaderMap::new();
    headers.insert(DATE, sensitive(&date, "time")?);
    if let Some(token) = token {
        headers.insert(SECURITY_TOKEN, sensitive(token, "security token")?);
    }
    headers.insert(AUTHORIZATION, sensitive(&authorization, "access key")?);
    Ok(headers)
}

/// Query pairs as text: sorted, each name and value encoded, a space as `%20`. Empty for no pairs.
pub(super) fn query_text(pairs: &[(&str, &str)]) -> String {
    let mut pairs = pairs.to_vec();
    pairs.sort_unstable();
    pairs
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// `text` with everything but `A-Z a-z 0-9 - . _ ~` percent-encoded.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

fn canonical_request(request: &Request<'_>, covered: &[(String, &str)], names: &str) -> String {
    let headers: String = covered.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let Request { method, path, query, body, .. } = request;
    format!("{method}\n{}\n{}\n{headers}\n{names}\n{body}", canonical_path(path), query_text(query))
}

/// Decoded, encoded our way, and ended with `/` although the request is sent without.
fn canonical_path(path: &str) -> String {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let mut canonical = decoded.split('/').map(encode).collect::<Vec<_>>().join("/");
    if !canonical.ends_with('/') {
        canonical.push('/');
    }
    canonical
}

fn string_to_sign(canonical_request: &str, date: &str) -> String {
    format!("{ALGORITHM}\n{date}\n{}", Sha256::of(canonical_request.as_bytes()))
}

fn hmac(key: &str, text: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes())
        .expect("HMAC takes keys of every length (RFC 2104), so there is no slice that it refuses");
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

pub(super) fn sensitive(value: &str, what: &'static str) -> Result<HeaderValue, BadKey> {
    let mut value = HeaderValue::from_str(value).map_err(|_| BadKey(what))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vectors {
        vectors: Vec<Vector>,
    }

    #[derive(Deserialize)]
    struct Vector {
        name: String,
        method: String,
        host: String,
        path: String,
        query: Vec<(String, String)>,
        headers: BTreeMap<String, String>,
        body: String,
        at: String,
        access_key: String,
        secret_key: String,
        security_token: Option<String>,
        expected: Expected,
    }

    #[derive(Deserialize)]
    struct Expected {
        query: String,
        authorization: String,
    }

    fn vectors() -> Vec<Vector> {
        let text = include_str!("../../../tests/vectors/signatures.json");
        serde_json::from_str::<Vectors>(text).unwrap().vectors
    }

    fn signed(vector: &Vector) -> (String, HeaderMap) {
        let query: Vec<_> =
            vector.query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let headers: Vec<_> =
            vector.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let request = Request {
            method: &vector.method,
            host: &vector.host,
            path: &vector.path,
            query: &query,
            headers: &headers,
            body: Sha256::of(vector.body.as_bytes()),
        };
        let keys = AccessKeys {
            access_key: vector.access_key.clone().into(),
            secret_key: vector.secret_key.clone().into(),
            security_token: vector.security_token.clone().map(Into::into),
        };
        let at = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", &vector.at).unwrap();
        let at = jiff::tz::TimeZone::UTC.to_timestamp(at).unwrap();
        (query_text(&query), sign(&request, &keys, at).unwrap())
    }

    #[test]
    fn every_request_is_signed_as_the_vendors_sdk_signs_it() {
        let vectors = vectors();
        assert!(vectors.len() > 40, "{}", vectors.len());
        for vector in vectors {
            let (query, headers) = signed(&vector);
            assert_eq!(query, vector.expected.query, "{}", vector.name);
            assert_eq!(headers[AUTHORIZATION], vector.expected.authorization.as_str(), "{}", vector.name);
            assert_eq!(headers[DATE], vector.at.as_str(), "{}", vector.name);
            let token = headers.get(SECURITY_TOKEN).map(|token| token.to_str().unwrap());
            assert_eq!(token, vector.security_token.as_deref(), "{}", vector.name);
        }
    }

    #[test]
    fn the_published_example_has_its_published_signature() {
        let vectors = vectors();
        let published = vectors.iter().find(|vector| vector.name.starts_with("published")).unwrap();
        let (_, headers) = signed(published);
        assert_eq!(
            headers[AUTHORIZATION],
            "SDK-HMAC-SHA256 Access=QTWAOYTTINDUT2QVKYUC, SignedHeaders=content-type;host;x-sdk-date, \
             Signature=7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe"
        );
    }

    #[test]
    fn signed_headers_do_not_show_in_debug_output() {
        let vectors = vectors();
        let temporary = vectors.iter().find(|vector| vector.security_token.is_some()).unwrap();
        let (_, headers) = signed(temporary);
        let debug = format!("{headers:?}");
        assert!(
            !debug.contains("Signature") && !debug.contains(temporary.security_token.as_deref().unwrap())
        );
    }

    #[test]
    fn a_key_with_a_line_break_inside_is_refused_without_being_shown() {
        let keys =
            AccessKeys { access_key: "AK\r\nX-Evil: 1".into(), secret_key: "s".into(), security_token: None };
        let request =
            Request { method: "GET", host: "h", path: "/", query: &[], headers: &[], body: Sha256::of(b"") };
        let refused = sign(&request, &keys, Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(refused.to_string(), "the access key holds characters that no key has");
    }
}
