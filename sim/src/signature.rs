//! The gateway's check of `SDK-HMAC-SHA256` signatures, written from the vendor's description alone.
//!
//! It must never share code with the daemon's signer: two independent readings of the same rules are what makes
//! a test of one against the other worth something.

use std::fmt::Write as _;

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::{
    instant,
    keys::{Key, Keys},
    uri,
};

const ALGORITHM: &str = "SDK-HMAC-SHA256";
const DATE: &str = "x-sdk-date";
const TOKEN: &str = "x-security-token";

/// How far the request's date may lie from the gateway's clock, either way; exactly this far still passes.
pub const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(15);

/// A request as it came over the wire.
#[derive(Debug, Clone, Copy)]
pub struct SignedRequest<'a> {
    /// In upper case.
    pub method: &'a str,
    /// Still percent-encoded, without the query.
    pub path: &'a str,
    /// Still percent-encoded, without the `?`.
    pub query: &'a str,
    /// All of them, signed or not.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: &'a [u8],
}

/// Why a request is not let in; every one is answered with 401.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No `Authorization`, or one that cannot be read.
    NoAuthorization,
    /// No `X-Sdk-Date`, one that cannot be read, or one that was not signed.
    NoDate,
    /// The access key is not, or no longer, accepted.
    UnknownKey {
        /// As the request gave it.
        access: String,
    },
    /// The request's date is more than [`CLOCK_TOLERANCE`] off.
    Expired {
        /// The request's date.
        signed: Timestamp,
        /// The gateway's clock.
        now: Timestamp,
    },
    /// A temporary key without its own token, signed; or a token with a permanent key.
    Token,
    /// A pair of the query is not encoded on the wire as it is for signing.
    QueryEncoding,
    /// The signature is not that of this request under this key.
    Mismatch,
}

impl Refusal {
    /// The gateway's `error_code`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "APIGW.0303",
            _ => "APIGW.0301",
        }
    }

    /// The gateway's `error_msg`.
    pub fn message(&self) -> String {
        let detail = match self {
            Self::NoAuthorization => "x-auth-token not found".to_owned(),
            Self::NoDate => "x-sdk-date is missing, malformed or not signed".to_owned(),
            Self::UnknownKey { access } => format!("Get secretKey failed,ak:{access},err:ak not exist"),
            Self::Expired { signed, now } => format!(
                "Signature expired, signature time:{}, server time:{}",
                instant::signing_date(*signed),
                instant::signing_date(*now)
            ),
            Self::Token => "the security token does not fit the access key".to_owned(),
            Self::QueryEncoding | Self::Mismatch => "verify aksk signature fail".to_owned(),
        };
        format!("Incorrect IAM authentication information: {detail}")
    }
}

struct Authorization<'a> {
    access: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn read(headers: &'a HeaderMap) -> Option<Self> {
        let text = headers.get("authorization")?.to_str().ok()?;
        let fields = text.strip_prefix(ALGORITHM)?.strip_prefix(' ')?;
        let (mut access, mut signed_headers, mut signature) = (None, None, None);
        for field in fields.split(',') {
            match field.trim().split_once('=')? {
                ("Access", value) => access = Some(value),
                ("SignedHeaders", value) => signed_headers = Some(value.split(';').collect()),
                ("Signature", value) => signature = Some(value),
                _ => return None,
            }
        }
        Some(Self { access: access?, signed_headers: signed_headers?, signature: signature? })
    }

    fn signs(&self, header: &str) -> bool {
        self.signed_headers.contains(&header)
    }
}

/// The access key that a request claims, whether or not it is let in.
pub(crate) fn claimed_access(headers: &HeaderMap) -> Option<String> {
    Authorization::read(headers).map(|authorization| authorization.access.to_owned())
}

/// Lets a request in that was signed, within [`CLOCK_TOLERANCE`] of `now`, by one of `keys`.
///
/// # Errors
/// The first reason found to refuse it.
pub fn verify(request: &SignedRequest<'_>, keys: &Keys, now: Timestamp) -> Result<Key, Refusal> {
    let authorization = Authorization::read(request.headers).ok_or(Refusal::NoAuthorization)?;
    let date = header(request.headers, DATE).filter(|_| authorization.signs(DATE));
    let date = date.ok_or(Refusal::NoDate)?;
    let signed = instant::parse_signing_date(&date).ok_or(Refusal::NoDate)?;
    let key = keys
        .find(authorization.access)
        .ok_or_else(|| Refusal::UnknownKey { access: authorization.access.to_owned() })?;
    if now.duration_since(signed).abs() > CLOCK_TOLERANCE {
        return Err(Refusal::Expired { signed, now });
    }
    let token = header(request.headers, TOKEN);
    if token != key.security_token || (token.is_some() && !authorization.signs(TOKEN)) {
        return Err(Refusal::Token);
    }
    let query = uri::canonical_query(request.query).ok_or(Refusal::QueryEncoding)?;
    let canonical =
        canonical_request(request, &query, &authorization.signed_headers).ok_or(Refusal::Mismatch)?;
    let to_sign = format!("{ALGORITHM}\n{date}\n{}", hex::encode(Sha256::digest(canonical)));
    let given = hex::decode(authorization.signature).map_err(|_| Refusal::Mismatch)?;
    let mut hmac = Hmac::<Sha256>::new_from_slice(key.secret.as_bytes()).map_err(|_| Refusal::Mismatch)?;
    hmac.update(to_sign.as_bytes());
    hmac.verify_slice(&given).map_err(|_| Refusal::Mismatch)?;
    Ok(key)
}

/// `None` when a header that is said to be signed is not there.
fn canonical_request(request: &SignedRequest<'_>, query: &str, signed_headers: &[&str]) -> Option<String> {
    let mut names: Vec<String> = signed_headers.iter().map(|name| name.to_ascii_lowercase()).collect();
    names.sort();
    let mut headers = String::new();
    for name in &names {
        // Writing to a String cannot fail; a header that is absent can.
        let _ = writeln!(headers, "{name}:{}", header(request.headers, name)?);
    }
    Some(format!(
        "{}\n{}\n{query}\n{headers}\n{}\n{}",
        request.method,
        uri::canonical_path(request.path),
        names.join(";"),
        hex::encode(Sha256::digest(request.body)),
    ))
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the vendor's "API Request Signing Guide", whose pages print the hash of the request.
    #[test]
    fn the_canonical_request_of_the_published_example_has_the_published_hash() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("host", "service.region.example.com".parse().unwrap());
        headers.insert(DATE, "20191115T033655Z".parse().unwrap());
        let request = SignedRequest {
            method: "GET",
            path: "/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs",
            query: "",
            headers: &headers,
            body: b"",
        };
        let query = "limit=2&marker=13551d6b-755d-4757-b956-536f674975c0";
        let canonical = canonical_request(&request, query, &["content-type", "host", DATE]).unwrap();
        assert_eq!(
            hex::encode(Sha256::digest(canonical)),
            "b25362e603ee30f4f25e7858e8a7160fd36e803bb2dfe206278659d71a9bcd7a"
        );
    }
}
