//! What the provider's refusals mean, as types: decided here, from status, error code and headers, and nowhere later.
//!
//! Whatever the other side says is a stranger's text. It reaches a message only in one line, without control
//! characters, cut to a length, and without our own keys: the gateway is known to quote the request that it
//! refuses, headers and all.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use super::credentials::{Authority, CredentialsError};
use super::said::{Said, clock_skew};
use crate::adapters::remote_text::cause;
use crate::domain::failure::{Failure, FailureKind, Scope};

/// What was asked, in words for messages.
#[derive(Debug)]
pub(super) struct Operation {
    /// After "the": `v2 export`.
    pub name: &'static str,
    /// The permission that the provider's identity policies call it by.
    pub permission: &'static str,
    /// What is not there where the service answers that something is not.
    pub subject: Subject,
}

/// What an operation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// The project and what is in it.
    Project,
    /// The same, through an API that is announced to be withdrawn.
    DeprecatedApi,
    /// One export task. It was there a moment ago, so whatever is said against it, another one may do.
    Task,
    /// Export tasks that are wanted no more.
    Leftovers,
}

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Refusal<'a> {
    pub operation: &'a Operation,
    pub host: &'a str,
    pub project_id: &'a str,
    pub status: StatusCode,
    pub headers: &'a HeaderMap,
    /// As much of it as was read.
    pub body: &'a [u8],
    /// What the request showed to be let in: kept out of the message.
    pub authority: &'a Authority,
    /// How long it asks us to stay away.
    pub retry_after: Option<Duration>,
    /// When the answer came, by our clock.
    pub now: Timestamp,
}

/// Kind, scope, and what to do next.
type Verdict = (FailureKind, Scope, String);

impl Refusal<'_> {
    /// The failure that it is, without request ids.
    pub(super) fn failure(&self) -> Failure {
        let said = Said::read(self.body, self.authority);
        let (kind, scope, advice) = self.verdict(&said);
        let Self { operation, host, status, .. } = self;
        let message = format!("{host} answered the {} with {status}{said}: {advice}", operation.name);
        Failure { retry_after: self.retry_after, ..Failure::new(kind, scope, message) }
    }

    fn verdict(&self, said: &Said) -> Verdict {
        use FailureKind::{Corrupt, Gone, Rejected, Throttled, Transient};
        let gateway = said.gateway_code();
        let status = self.status.as_u16();
        match status {
            _ if gateway == Some("0101") => (Gone, Scope::Source, self.gone()),
            _ if gateway == Some("0308") => (Throttled, Scope::Source, SLOW_DOWN.to_owned()),
            429 => (Throttled, Scope::Source, SLOW_DOWN.to_owned()),
            401 | 403 => self.unauthorized(said),
            400..=499 if self.operation.subject == Subject::Task && !matches!(status, 405 | 408) => (
                Corrupt,
                Scope::Window,
                "the task's file is not to be had (any more); another task is asked for".to_owned(),
            ),
            404 if said.is_from_service() && self.operation.subject == Subject::DeprecatedApi => (
                Gone,
                Scope::Source,
                format!("it knows no project {}, or this API no more; check project_id and region; {GO_ON}", self.project_id),
            ),
            404 if said.is_from_service() => (
                Rejected,
                Scope::Source,
                format!("it knows no project {}; check project_id and region", self.project_id),
            ),
            404 | 405 | 410 => (Gone, Scope::Source, self.gone()),
            300..=399 => (
                Rejected,
                Scope::Source,
                "a redirect is not followed, because the signature holds for one address only; check region, \
                 endpoint and any proxy between"
                    .to_owned(),
            ),
            408 | 500..=599 if self.retry_after.is_some() => {
                (Transient, Scope::Source, "it says when to come again, and is left alone until then".to_owned())
            }
            408 | 500..=599 => (Transient, Scope::Window, "it is tried again".to_owned()),
            400..=499 if self.operation.subject == Subject::Leftovers => (
                Rejected,
                Scope::Window,
                "one that is still being made may not be deleted yet; it is tried again later".to_owned(),
            ),
            400..=499 => (Rejected, Scope::Window, "check the stream's filters and the window".to_owned()),
            _ => (Corrupt, Scope::Window, "only 200 brings an export".to_owned()),
        }
    }

    fn gone(&self) -> String {
        let advice = "the API is not there (any more); check region and endpoint";
        match self.operation.subject {
            Subject::DeprecatedApi => format!("{advice}; {GO_ON}"),
            Subject::Project | Subject::Task | Subject::Leftovers => advice.to_owned(),
        }
    }

    /// Wrong clock, wrong key or missing permission: one status for many causes, told apart as far as can be.
    fn unauthorized(&self, said: &Said) -> Verdict {
        let skew = clock_skew(self.headers, self.now);
        let advice = match said.gateway_code() {
            Some("0303") => clock_advice(skew.as_deref()),
            _ if skew.is_some() => clock_advice(skew.as_deref()),
            Some("0301") => "the signature was refused: access key and secret key do not belong together, or the \
                             clock of this machine is wrong; check both key files, and run timedatectl"
                .to_owned(),
            _ if self.status == StatusCode::FORBIDDEN => format!(
                "the permission {} is missing; grant it to the user of the access key{}",
                self.operation.permission,
                if said.has_authorization_message {
                    " (the answer holds an encoded authorization message, which STS can decode)"
                } else {
                    ""
                }
            ),
            _ => "the access key was refused; check the key files, and whether the key was revoked or has run out"
                .to_owned(),
        };
        (FailureKind::Auth, Scope::Source, advice)
    }
}

const GO_ON: &str =
    "where the provider has withdrawn it, api = \"auto\" (the default) goes on through the other one";

/// What helps against being throttled.
pub(super) const SLOW_DOWN: &str = "it asks for fewer requests; lower requests_per_second where this goes on";

/// What to do about a clock that is wrong, by so much if that is known.
pub(super) fn clock_advice(skew: Option<&str>) -> String {
    let by = skew.map(|skew| format!(" by {skew}")).unwrap_or_default();
    format!(
        "the clock of this machine differs from the provider's{by}, and more than 15 minutes are refused; \
         run timedatectl and set up time synchronisation"
    )
}

/// Nothing to be let in with.
pub(super) fn no_keys(error: &CredentialsError) -> Failure {
    error.failure()
}

/// No answer came: the request did not get through, or nothing came back.
pub(super) fn no_answer(operation: &Operation, host: &str, error: &reqwest::Error) -> Failure {
    let cause = cause(error);
    if error.is_connect() {
        let message =
            format!("cannot reach {host}: {cause}; check name resolution, network, proxy and ca_file");
        Failure::new(FailureKind::Transient, Scope::Source, message)
    } else if error.is_builder() {
        let message = format!("cannot ask {host} for the {}: {cause}; check endpoint", operation.name);
        Failure::new(FailureKind::Rejected, Scope::Source, message)
    } else {
        let message = format!("no answer from {host} to the {}: {cause}; it is tried again", operation.name);
        Failure::new(FailureKind::Transient, Scope::Window, message)
    }
}

/// An export that broke off: worth another try, and no other window's affair.
pub(super) fn broken_off(host: &str, received: u64, cause: &str) -> Failure {
    let message =
        format!("the export from {host} broke off after {received} bytes: {cause}; it is tried again");
    Failure::new(FailureKind::Transient, Scope::Window, message)
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::super::credentials::AccessKeys;
    use super::super::said::retry_after;
    use super::*;
    use FailureKind::{Auth, Corrupt, Gone, Rejected, Throttled, Transient};

    const NOW: &str = "2026-11-23T02:00:00Z";
    const OPERATION: Operation = Operation {
        name: "query",
        permission: "workspace:connections:securityExport",
        subject: Subject::Project,
    };

    fn refuse(status: u16, headers: &[(&'static str, &str)], body: &str) -> Failure {
        refuse_of(Subject::Project, status, headers, body)
    }

    fn refuse_of(subject: Subject, status: u16, headers: &[(&'static str, &str)], body: &str) -> Failure {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        let (headers, now) = (headers.collect(), NOW.parse().unwrap());
        Refusal {
            operation: &Operation { subject, ..OPERATION },
            host: "workspace.example",
            project_id: "0123",
            status: StatusCode::from_u16(status).unwrap(),
            headers: &headers,
            body: body.as_bytes(),
            authority: &Authority::Keys(AccessKeys {
                access_key: "AKIDAKIDAKID".into(),
                secret_key: "hush-hush-hush".into(),
                security_token: Some("tokentokentoken==".into()),
            }),
            retry_after: retry_after(&headers, now),
            now,
        }
        .failure()
    }

    fn coded(code: &str) -> String {
        format!(r#"{{"error_code":"{code}","error_msg":"no"}}"#)
    }

    #[test]
    fn status_and_code_decide_what_is_done() {
        let cases = [
            (400, coded("WKS.00000001"), Rejected, Scope::Window),
            (401, coded("APIGW.0301"), Auth, Scope::Source),
            (401, coded("APIGW.0303"), Auth, Scope::Source),
            (401, String::new(), Auth, Scope::Source),
            (403, coded("WKS.00000403"), Auth, Scope::Source),
            (404, coded("APIGW.0101"), Gone, Scope::Source),
            (404, coded("APIG.0101"), Gone, Scope::Source),
            (404, coded("WKS.00211102"), Rejected, Scope::Source),
            (404, "<html>".to_owned(), Gone, Scope::Source),
            (405, coded("WKS.00211102"), Gone, Scope::Source),
            (410, String::new(), Gone, Scope::Source),
            (408, String::new(), Transient, Scope::Window),
            (409, String::new(), Rejected, Scope::Window),
            (429, String::new(), Throttled, Scope::Source),
            (429, coded("APIG.0308"), Throttled, Scope::Source),
            (503, coded("APIGW.0308"), Throttled, Scope::Source),
            (500, coded("WKS.00000500"), Transient, Scope::Window),
            (502, String::new(), Transient, Scope::Window),
            (503, String::new(), Transient, Scope::Window),
            (504, coded("APIGW.0201"), Transient, Scope::Window),
            (301, String::new(), Rejected, Scope::Source),
            (307, String::new(), Rejected, Scope::Source),
            (204, String::new(), Corrupt, Scope::Window),
        ];
        for (status, body, kind, scope) in cases {
            let failure = refuse(status, &[], &body);
            assert_eq!((failure.kind, failure.scope), (kind, scope), "{status} {body}: {}", failure.message);
        }
    }

    #[test]
    fn what_is_said_against_a_task_costs_that_task_and_no_more() {
        for (status, body) in [
            (400, coded("WKS.00000400")),
            (404, coded("WKS.00010404")),
            (404, "<html>".to_owned()),
            (409, coded("WKS.1")),
            (410, String::new()),
        ] {
            let failure = refuse_of(Subject::Task, status, &[], &body);
            assert_eq!((failure.kind, failure.scope), (Corrupt, Scope::Window), "{status} {body}");
        }
        // The gateway does not even know the operation.
        let failure = refuse_of(Subject::Task, 404, &[], &coded("APIGW.0101"));
        assert_eq!((failure.kind, failure.scope), (Gone, Scope::Source));
    }

    #[test]
    fn a_deprecated_api_that_is_not_found_may_be_gone_or_the_project_unknown() {
        let failure = refuse_of(Subject::DeprecatedApi, 404, &[], &coded("WKS.00000404"));
        assert_eq!((failure.kind, failure.scope), (Gone, Scope::Source));
        for word in ["no project 0123", "api = \"auto\""] {
            assert!(failure.message.contains(word), "{}", failure.message);
        }
    }

    #[test]
    fn only_the_deprecated_api_is_said_to_have_a_successor() {
        for (subject, has_one) in
            [(Subject::DeprecatedApi, true), (Subject::Project, false), (Subject::Task, false)]
        {
            let message = refuse_of(subject, 404, &[], &coded("APIGW.0101")).message;
            assert_eq!(message.contains("api = \"auto\""), has_one, "{message}");
        }
    }

    #[test]
    fn a_missing_permission_is_named_and_the_encoded_message_is_not_shown() {
        let body =
            r#"{"error_code":"WKS.0403","error_msg":"denied","encoded_authorization_message":"b64b64"}"#;
        let message = refuse(403, &[], body).message;
        assert!(message.contains("workspace:connections:securityExport"), "{message}");
        assert!(message.contains("encoded authorization message"), "{message}");
        assert!(!message.contains("b64b64"), "{message}");
    }

    #[test]
    fn a_wrong_clock_is_called_a_wrong_clock() {
        let by_code = refuse(401, &[], &coded("APIGW.0303")).message;
        assert!(
            by_code.contains("clock of this machine differs") && by_code.contains("timedatectl"),
            "{by_code}"
        );
        let by_date = [("date", "Mon, 23 Nov 2026 03:01:00 GMT")];
        let message = refuse(401, &by_date, &coded("APIGW.0301")).message;
        assert!(message.contains("differs from the provider's by 1h 1m"), "{message}");
        let right = [("date", "Mon, 23 Nov 2026 02:00:03 GMT")];
        let message = refuse(401, &right, &coded("APIGW.0301")).message;
        assert!(message.contains("do not belong together") && message.contains("timedatectl"), "{message}");
    }

    #[test]
    fn the_pause_that_was_asked_for_is_kept() {
        let failure = refuse(429, &[("retry-after", "17")], "");
        assert_eq!(failure.retry_after.unwrap().as_secs(), 17);
        let failure = refuse(503, &[("retry-after", "Mon, 23 Nov 2026 02:00:09 GMT")], "");
        assert_eq!(failure.retry_after.unwrap().as_secs(), 9);
    }

    #[test]
    fn a_service_that_says_when_to_come_again_says_it_to_every_window() {
        for status in [408, 503] {
            let failure = refuse(status, &[("retry-after", "17")], "");
            assert_eq!((failure.kind, failure.scope), (Transient, Scope::Source));
        }
    }

    #[test]
    fn keys_quoted_by_the_gateway_stay_out_of_the_message() {
        let quoted =
            "verify failed: GET|/v2|host:h|x-security-token:tokentokentoken==|AKIDAKIDAKID hush-hush-hush";
        let body = format!(r#"{{"error_code":"APIGW.0301","error_msg":"{quoted}"}}"#);
        let failure = format!("{:?}", refuse(401, &[], &body));
        for secret in ["tokentoken", "AKIDAKID", "hush"] {
            assert!(!failure.contains(secret), "{failure}");
        }
    }
}
