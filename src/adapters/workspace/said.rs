//! What an answer says of itself: error code and message in its body, times in its headers. Read with distrust.

use crate::domain::duration::spelled;
use crate::domain::text::ForeignText;
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{AGE, DATE, HeaderMap, HeaderName, RETRY_AFTER};
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::credentials::Authority;
use crate::ports::clock::date_of;

/// The API reference's own limit for codes, in characters.
const CODE_LIMIT: usize = 12;
const REQUEST_ID_LIMIT: usize = 64;
/// No asked-for pause is longer: a provider's slip must not silence a source until its records are gone.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);
/// The gateway tolerates 15 minutes; an answer takes a while to arrive.
const NOTABLE_SKEW: SignedDuration = SignedDuration::from_mins(14);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The provider's error body, as far as it could be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    code: Option<ForeignText>,
    message: Option<ForeignText>,
    /// Whether an encoded authorization message came along.
    pub has_authorization_message: bool,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    error_code: Option<String>,
    #[serde(default)]
    error_msg: Option<String>,
    #[serde(default)]
    encoded_authorization_message: Option<String>,
}

impl Said {
    /// Reads an error body; of one that is not the provider's JSON nothing is known. The secrets of
    /// `authority` are kept out.
    pub(super) fn read(body: &[u8], authority: &Authority) -> Self {
        let Ok(body) = serde_json::from_slice::<Body>(body) else {
            return Self::default();
        };
        let code = body.error_code.filter(|code| is_code(code)).map(ForeignText::new);
        let message = body.error_msg.map(|text| ForeignText::new(without_secrets(&text, authority)));
        let encoded = body.encoded_authorization_message.unwrap_or_default();
        Self {
            code,
            message: message.filter(|text| !text.is_empty()),
            has_authorization_message: !encoded.is_empty(),
        }
    }

    /// The digits of an error code of the gateway in front of the service: `0301` of `APIGW.0301` and `APIG.0301`.
    pub(super) fn gateway_code(&self) -> Option<&str> {
        let code = self.code.as_deref()?;
        code.strip_prefix("APIGW.").or_else(|| code.strip_prefix("APIG."))
    }

    /// Whether the service itself answered, from behind the gateway.
    pub(super) fn is_from_service(&self) -> bool {
        self.code.is_some() && self.gateway_code().is_none()
    }
}

fn is_code(code: &str) -> bool {
    let fits = (1..=CODE_LIMIT).contains(&code.len());
    fits && code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// In brackets after the status: ` (WKS.00211102, "…")`, or nothing.
impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.code, &self.message) {
            (Some(code), Some(message)) => write!(f, " ({code}, \"{message}\")"),
            (Some(only), None) => write!(f, " ({only})"),
            (None, Some(only)) => write!(f, " (\"{only}\")"),
            (None, None) => Ok(()),
        }
    }
}

/// Takes out our keys. A security token may have been quoted in part, so all after its header's name goes too.
fn without_secrets(text: &str, authority: &Authority) -> String {
    let mut text = text.to_owned();
    for secret in authority.secrets().map(|secret| secret.expose_secret().trim()) {
        if !secret.is_empty() {
            text = text.replace(secret, "[redacted]");
        }
    }
    if let Some(at) = text.to_ascii_lowercase().find("x-security-token") {
        text.truncate(at);
    }
    text
}

/// The provider's name for a request, for its support.
pub(super) fn request_id(headers: &HeaderMap) -> Option<ForeignText> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let id: String = id.chars().filter(|c| c.is_ascii_graphic()).take(REQUEST_ID_LIMIT).collect();
    (!id.is_empty()).then(|| ForeignText::new(id))
}

/// How long `Retry-After` asks us to stay away: seconds, or until a date, which is reckoned by the clock of whoever wrote it
/// where the answer is dated, else by ours. An hour at most.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().map_or(LONGEST_PAUSE, Duration::from_secs)
    } else {
        // A date that has passed means now.
        let now = date(headers).unwrap_or(now);
        Duration::try_from(http_date(text)?.duration_since(now)).unwrap_or_default()
    };
    Some(pause.min(LONGEST_PAUSE))
}

/// When the answer was written, by the clock of whoever wrote it.
pub(super) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    date_of(text(DATE), text(AGE))
}

/// By how much our clock differs from the one in the `Date` header, where that alone gets a request refused: `1h2m`.
pub(super) fn clock_skew(headers: &HeaderMap, now: Timestamp) -> Option<String> {
    let skew = date(headers)?.duration_since(now).abs();
    (skew > NOTABLE_SKEW).then(|| spelled(SignedDuration::from_mins(skew.as_mins())))
}

/// A date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::super::credentials::AccessKeys;
    use super::*;

    fn keys() -> Authority {
        Authority::Keys(AccessKeys {
            access_key: "AKID".into(),
            secret_key: "hush".into(),
            security_token: None,
        })
    }

    fn header(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn what_is_not_the_providers_json_says_nothing() {
        for body in ["", "<html>", "[]", "null", r#"{"error_code": 7}"#, "{}", r#"{"error_msg":"\n"}"#] {
            assert_eq!(Said::read(body.as_bytes(), &keys()), Said::default(), "{body}");
        }
    }

    #[test]
    fn a_code_that_is_no_code_is_not_shown() {
        for code in ["WKS.002111021", "a b", "\\u001b[2J", ""] {
            let said = Said::read(format!(r#"{{"error_code":"{code}"}}"#).as_bytes(), &keys());
            assert_eq!(said.to_string(), "", "{code}");
        }
        assert_eq!(Said::read(br#"{"error_code":"WKS.00211102"}"#, &keys()).to_string(), " (WKS.00211102)");
    }

    #[test]
    fn a_token_quoted_in_part_is_cut_off_with_its_header() {
        assert_eq!(without_secrets("refused: X-Security-Token:gQpleXRva2", &keys()), "refused: ");
        assert_eq!(without_secrets("AKID and hush", &keys()), "[redacted] and [redacted]");
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_never_believed_for_more_than_an_hour() {
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
        let cases = [
            ("0", Some(0)),
            (" 5 ", Some(5)),
            ("86400", Some(3600)),
            ("99999999999999999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", Some(0)),
            ("Mon, 06 Nov 1995 08:49:37 GMT", Some(3600)),
            ("-5", None),
            ("soon", None),
            ("", None),
        ];
        for (text, seconds) in cases {
            let pause = retry_after(&header(RETRY_AFTER, text), now);
            assert_eq!(pause, seconds.map(Duration::from_secs), "{text:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_date_to_come_again_at_is_reckoned_by_the_clock_of_whoever_wrote_it() {
        let ours = "1994-11-06T09:49:00Z".parse().unwrap();
        let mut headers = header(RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT");
        headers.insert(DATE, "Sun, 06 Nov 1994 08:49:00 GMT".parse().unwrap());
        assert_eq!(retry_after(&headers, ours), Some(Duration::from_secs(37)));
    }

    #[test]
    fn a_request_id_is_kept_without_what_does_not_belong_in_one() {
        assert_eq!(request_id(&header(REQUEST_ID, "a b\tc")).as_deref(), Some("abc"));
        assert_eq!(request_id(&header(REQUEST_ID, &"x".repeat(500))).unwrap().len(), REQUEST_ID_LIMIT);
        assert_eq!(request_id(&header(REQUEST_ID, " ")), None);
    }

    #[test]
    fn a_difference_of_clocks_that_the_gateway_tolerates_is_not_mentioned() {
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
        let skew = |text| clock_skew(&header(DATE, text), now);
        assert_eq!(skew("Sun, 06 Nov 1994 09:02:59 GMT"), None);
        assert_eq!(skew("Sun, 06 Nov 1994 06:49:00 GMT").as_deref(), Some("2h"));
        assert_eq!(skew("yesterday"), None);
    }
}
