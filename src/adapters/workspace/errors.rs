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
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::message::Message;

/// What was asked, in words for messages.
#[derive(Debug)]
pub(super) struct Operation {
    /// After "the": `v2 export`.
    pub name: &'static str,
    /// The permission that the provider's identity policies call it by; `None` where its documentation names none, and says
    /// that roles decide.
    pub permission: Option<&'static str>,
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

/// What an answer means.
struct Verdict {
    kind: FailureKind,
    scope: Scope,
    /// In words, where the status does not say it all.
    means: Option<String>,
    /// What to do next.
    advice: Option<String>,
    /// The key was let in, and may not ask for this.
    lacks_permission: bool,
}

impl Verdict {
    fn new(kind: FailureKind, scope: Scope, means: &str, advice: &str) -> Self {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Self { kind, scope, means: given(means), advice: given(advice), lacks_permission: false }
    }
}

impl Refusal<'_> {
    /// The failure that it is, without request ids.
    pub(super) fn failure(&self) -> Failure {
        let said = Said::read(self.body, self.authority);
        let Verdict { kind, scope, means, advice, lacks_permission } = self.verdict(&said);
        let Self { operation, host, status, .. } = self;
        let means = means.map(|means| format!(": {means}")).unwrap_or_default();
        let cause =
            Message::new(format!("{host} answered the {} with {status}{said}{means}", operation.name));
        let message = match advice {
            Some(advice) => cause.advise(advice),
            None => cause,
        };
        Failure { retry_after: self.retry_after, lacks_permission, ..Failure::new(kind, scope, message) }
    }

    fn verdict(&self, said: &Said) -> Verdict {
        use FailureKind::{Corrupt, Gone, Rejected, Throttled, Transient};
        use Scope::{Source, Window};
        let is = Verdict::new;
        let (gateway, status, subject) = (said.gateway_code(), self.status.as_u16(), self.operation.subject);
        let unknown = format!("it knows no project {}", self.project_id);
        match status {
            _ if gateway == Some("0101") => self.gone(),
            _ if gateway == Some("0308") => is(Throttled, Source, TOO_MANY, SLOW_DOWN),
            429 => is(Throttled, Source, TOO_MANY, SLOW_DOWN),
            401 | 403 => self.unauthorized(said),
            400..=499 if subject == Subject::Task && !matches!(status, 405 | 408) => is(
                Corrupt,
                Window,
                "the task's file is not to be had (any more)",
                "another task is asked for",
            ),
            404 if said.is_from_service() && subject == Subject::DeprecatedApi => is(
                Gone,
                Source,
                &format!("{unknown}, or this API no more"),
                &format!("check project_id and region; {GO_ON}"),
            ),
            404 if said.is_from_service() => is(Rejected, Source, &unknown, "check project_id and region"),
            404 | 405 | 410 => self.gone(),
            300..=399 => is(
                Rejected,
                Source,
                "a redirect is not followed, because the signature holds for one address only",
                "check region, endpoint and any proxy between",
            ),
            408 | 500..=599 if self.retry_after.is_some() => {
                is(Transient, Source, "it says when to come again", "it is left alone until then")
            }
            408 | 500..=599 => is(Transient, Window, "", "it is tried again"),
            400..=499 if subject == Subject::Leftovers => is(
                Rejected,
                Window,
                "a task that is still being made may not be deleted yet",
                "its deletion is tried again later",
            ),
            400..=499 => is(Rejected, Window, "", "check the stream's filters and the window"),
            _ => is(Corrupt, Window, "only 200 brings an export", ""),
        }
    }

    fn gone(&self) -> Verdict {
        let advice = "check region and endpoint";
        let advice = match self.operation.subject {
            Subject::DeprecatedApi => format!("{advice}; {GO_ON}"),
            Subject::Project | Subject::Task | Subject::Leftovers => advice.to_owned(),
        };
        Verdict::new(FailureKind::Gone, Scope::Source, "the API is not there (any more)", &advice)
    }

    /// Wrong clock, wrong key or missing permission: one status for many causes, told apart as far as can be.
    fn unauthorized(&self, said: &Said) -> Verdict {
        let skew = clock_skew(self.headers, self.now);
        let is = |means: &str, advice| Verdict::new(FailureKind::Auth, Scope::Source, means, advice);
        match said.gateway_code() {
            Some("0303") => is(&clock_differs(skew.as_deref()), SET_CLOCK),
            _ if skew.is_some() => is(&clock_differs(skew.as_deref()), SET_CLOCK),
            Some("0301") => is(
                "the signature was refused: access key and secret key do not belong together, or the clock of this \
                 machine is wrong",
                "check both key files, and run timedatectl",
            ),
            _ if self.status == StatusCode::FORBIDDEN => {
                let decodable = match said.has_authorization_message {
                    true => " (the answer holds an encoded authorization message, which STS can decode)",
                    false => "",
                };
                let (means, advice) = match self.operation.permission {
                    Some(permission) => (
                        format!("the permission {permission} is missing{decodable}"),
                        "grant it to the user of the access key",
                    ),
                    None => (
                        format!("the user of the access key may not ask for it{decodable}"),
                        "give that user a role that may: the provider's documentation names no permission for this call",
                    ),
                };
                Verdict { lacks_permission: true, ..is(&means, advice) }
            }
            _ => is(
                "the access key was refused",
                "check the key files, and whether the key was revoked or has run out",
            ),
        }
    }
}

const GO_ON: &str =
    "where the provider has withdrawn it, api = \"auto\" (the default) goes on through the other one";

const TOO_MANY: &str = "it asks for fewer requests";

/// What helps against being throttled.
pub(super) const SLOW_DOWN: &str = "lower requests_per_second where this goes on";

/// What helps against a clock that is wrong.
pub(super) const SET_CLOCK: &str = "run timedatectl and set up time synchronisation";

/// That the clock is wrong, by so much if that is known.
pub(super) fn clock_differs(skew: Option<&str>) -> String {
    let by = skew.map(|skew| format!(" by {skew}")).unwrap_or_default();
    format!("the clock of this machine differs from the provider's{by}, and more than 15 minutes are refused")
}

/// Nothing to be let in with.
pub(super) fn no_keys(error: &CredentialsError) -> Failure {
    error.failure()
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
        permission: Some("workspace:connections:securityExport"),
        subject: Subject::Project,
    };

    fn refuse(status: u16, headers: &[(&'static str, &str)], body: &str) -> Failure {
        refuse_of(Subject::Project, status, headers, body)
    }

    fn refuse_of(subject: Subject, status: u16, headers: &[(&'static str, &str)], body: &str) -> Failure {
        refuse_to(&Operation { subject, ..OPERATION }, status, headers, body)
    }

    fn refuse_to(
        operation: &Operation,
        status: u16,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Failure {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        let (headers, now) = (headers.collect(), NOW.parse().unwrap());
        Refusal {
            operation,
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
    fn where_the_documentation_names_no_permission_none_is_made_up() {
        let message = refuse_to(&super::super::export_centre::CREATE, 403, &[], &coded("WKS.0403")).message;
        assert!(message.contains("names no permission for this call"), "{message}");
        assert!(message.contains("a role"), "{message}");
        assert!(!message.contains("ExportUserConnection") && !message.contains("workspace:"), "{message}");
        assert!(!message.cause().contains("role"), "{message}");
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
        assert!(message.contains("differs from the provider's by 1h1m"), "{message}");
        let right = [("date", "Mon, 23 Nov 2026 02:00:03 GMT")];
        let message = refuse(401, &right, &coded("APIGW.0301")).message;
        assert!(message.contains("do not belong together") && message.contains("timedatectl"), "{message}");
    }

    #[test]
    fn advice_is_no_part_of_the_cause() {
        let cases = [
            (400, coded("WKS.1")),
            (401, coded("APIGW.0301")),
            (401, coded("APIGW.0303")),
            (401, String::new()),
            (403, coded("WKS.1")),
            (404, coded("WKS.1")),
            (404, String::new()),
            (429, String::new()),
            (503, String::new()),
            (307, String::new()),
        ];
        for subject in [Subject::Project, Subject::DeprecatedApi, Subject::Task, Subject::Leftovers] {
            for (status, body) in &cases {
                let message = refuse_of(subject, *status, &[], body).message;
                let cause = message.cause();
                assert!(cause.starts_with("workspace.example answered the query with"), "{cause}");
                for advice in ["check", "grant", "run timedatectl", "lower ", "tried again", "asked for"] {
                    assert!(!cause.contains(advice), "{cause}");
                }
                assert!(message.starts_with(&format!("{cause}; ")), "{message}");
            }
        }
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
