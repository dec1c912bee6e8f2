//! What a store's trouble means, decided once, where it arises.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use url::Url;

use super::S3Settings;
use super::keys::Keyless;
use crate::adapters::host_names::Unresolved;
use crate::adapters::proxy::Proxy;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::message::Message;
use crate::domain::text::{ForeignText, Line};
use crate::ports::object_store::StoreError;

/// Which bucket, where: named in every error.
#[derive(Debug, Clone)]
pub(super) struct Place {
    bucket: String,
    endpoint: String,
    /// The host that serves the bucket; nothing where that is AWS's.
    host: Option<String>,
    /// What requests go through, where that is a proxy.
    proxy: Option<Proxy>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket {} at {}", self.bucket, self.endpoint)
    }
}

/// A request that did not end as asked.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The store answered, with a refusal.
    Answered(Answer),
    /// No answer came, or none that could be read.
    NoAnswer(Line),
    /// A host is not known by its name: the store's, or a proxy's.
    Unresolved {
        /// The host name that was looked up.
        host: ForeignText,
        /// What the resolver said.
        why: Line,
    },
    /// What was to be sent could not be read.
    Unsendable(Line),
    /// The request could not even be made.
    Unmakeable(Line),
    /// There are no keys to sign it with.
    Keyless(Line),
}

/// A refusal.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    /// Empty where the store gave none (it cannot, on a HEAD).
    code: ForeignText,
    message: ForeignText,
    request_id: Option<ForeignText>,
    retry_after: Option<Duration>,
    /// Where the bucket is, by the header of this name.
    region: Option<(&'static str, ForeignText)>,
}

impl Trouble {
    /// Reads an error of the SDK.
    pub(super) fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        if let Some(Keyless(why)) = cause_of(&error) {
            return Self::Keyless(why.as_str().into());
        }
        if let Some(unresolved) = cause_of::<Unresolved>(&error) {
            let host = ForeignText::new(&unresolved.host);
            return Self::Unresolved { host, why: unresolved.to_string().into() };
        }
        match &error {
            SdkError::ConstructionFailure(_) => Self::Unmakeable(causes(&error)),
            SdkError::DispatchFailure(failure) if failure.is_user() => Self::Unsendable(causes(&error)),
            SdkError::ServiceError(refusal) => {
                let meta = refusal.err().meta();
                Self::Answered(Answer::of(refusal.raw(), meta.code(), meta.message()))
            }
            // A refusal whose body is no S3 error, such as a proxy's page.
            SdkError::ResponseError(refusal) if refusal.raw().status().as_u16() >= 300 => {
                Self::Answered(Answer::of(refusal.raw(), None, None))
            }
            _ => Self::NoAnswer(causes(&error)),
        }
    }

    /// The HTTP status, where the store answered.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Answered(answer) => Some(answer.status),
            _ => None,
        }
    }

    /// The store's word for it, or the HTTP status.
    pub(super) fn code(&self) -> ForeignText {
        match self {
            Self::Answered(answer) if answer.code.is_empty() => ForeignText::new(answer.status.to_string()),
            Self::Answered(answer) => answer.code.clone(),
            Self::NoAnswer(text)
            | Self::Unsendable(text)
            | Self::Unmakeable(text)
            | Self::Keyless(text)
            | Self::Unresolved { why: text, .. } => ForeignText::new(text),
        }
    }

    /// Whether the store may have done what it was asked: it was not heard, or it only says that something went wrong.
    pub(super) fn may_have_been_done(&self) -> bool {
        match self {
            Self::NoAnswer(_) => true,
            Self::Answered(answer) => matches!(answer.status, 304 | 408 | 409 | 500..=599),
            Self::Unsendable(_) | Self::Unmakeable(_) | Self::Keyless(_) | Self::Unresolved { .. } => false,
        }
    }

    /// Whether it says that nothing stands under the key. A 404 for another reason, such as a bucket that is gone,
    /// is no such answer.
    pub(super) fn says_no_such_key(&self) -> bool {
        matches!(self, Self::Answered(answer)
            if answer.status == 404 && matches!(answer.code.as_str(), "NoSuchKey" | "NotFound" | ""))
    }

    /// Whether a put that asked for a lock may have been refused for that: the bucket has none, or the store.
    pub(super) fn may_refuse_a_lock(&self) -> bool {
        let codes = [
            "InvalidRequest",
            "InvalidArgument",
            "InvalidBucketState",
            "ObjectLockConfigurationNotFoundError",
            "MethodNotAllowed",
            "NotImplemented",
        ];
        matches!(self, Self::Answered(answer) if codes.contains(&answer.code.as_str()))
    }

    /// Whether the store would not let it be done: for want of a right, or because a lock stands against it.
    pub(super) fn says_forbidden(&self) -> bool {
        matches!(self, Self::Answered(answer)
            if answer.status == 403 || matches!(answer.code.as_str(), "ObjectLocked" | "AccessDenied")
                || (answer.code == "InvalidRequest" && answer.message.contains("WORM")))
    }

    /// Whether it says that an object is there, and that its storage class cannot be read at once.
    pub(super) fn says_archived(&self) -> bool {
        matches!(self, Self::Answered(answer) if answer.code == "InvalidObjectState")
    }

    /// Whether the store failed at what it was asked, rather than refused it: it may know no better, or be in trouble.
    pub(super) fn says_failed(&self) -> bool {
        matches!(self, Self::Answered(answer) if matches!(answer.status, 304 | 500 | 502..=599)
            && !answer.is_full() && !answer.asks_for_less())
    }

    /// Whether the store said that it does not know what it was asked for, rather than that it cannot do it now.
    pub(super) fn says_unsupported(&self) -> bool {
        matches!(self, Self::Answered(answer)
            if matches!(answer.status, 400 | 405 | 501) && answer.meaning().kind == FailureKind::Rejected)
    }
}

/// The error of this type among those that `error` came from.
fn cause_of<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// An error and what caused it, in one line.
fn causes(error: &dyn Error) -> Line {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let line = error.to_string();
        if !text.ends_with(&line) {
            text = format!("{text}: {line}");
        }
        cause = error.source();
    }
    // A library that reads a store's answer quotes it, at any length.
    ForeignText::new(text).into()
}

/// A store that asks for more is not believed: records would be gone before it is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// What a refusal means.
struct Meaning {
    kind: FailureKind,
    scope: Scope,
    /// What a person can do.
    next: &'static str,
}

impl Answer {
    fn of(raw: &HttpResponse, code: Option<&str>, message: Option<&str>) -> Self {
        let header = |name: &str| raw.headers().get(name);
        let request_id = header("x-amz-request-id").or_else(|| header("x-obs-request-id"));
        let regions = ["x-amz-bucket-region", "x-obs-bucket-location"].into_iter();
        let region = regions.filter_map(|name| Some((name, ForeignText::new(header(name)?)))).next();
        let seconds = header("retry-after").and_then(|seconds| seconds.trim().parse().ok());
        Self {
            status: raw.status().as_u16(),
            code: ForeignText::new(code.unwrap_or_default()),
            message: ForeignText::new(message.unwrap_or_default()),
            request_id: request_id.map(ForeignText::new),
            retry_after: seconds.map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE)),
            region,
        }
    }

    fn is_full(&self) -> bool {
        matches!(self.code.as_str(), "QuotaExceeded" | "InsufficientStorageSpace") || self.status == 507
    }

    fn asks_for_less(&self) -> bool {
        matches!(self.code.as_str(), "SlowDown" | "TooManyRequests" | "RequestLimitExceeded")
            || self.status == 429
    }

    fn meaning(&self) -> Meaning {
        use FailureKind::{Auth, Corrupt, Rejected, Throttled, Transient};
        let of_store = |kind, next| Meaning { kind, scope: Scope::Store, next };
        let of_window = |kind, next| Meaning { kind, scope: Scope::Window, next };
        match (self.code.as_str(), self.status) {
            ("NoSuchBucket", _) => {
                of_store(Rejected, "create the bucket, or correct `bucket` and `endpoint`")
            }
            ("RequestTimeTooSkewed", _) => of_store(Auth, "set this machine's clock right"),
            ("InvalidAccessKeyId" | "NotSignedUp", _) => of_store(Auth, "correct the access key"),
            ("SignatureDoesNotMatch", _) => of_store(Auth, "correct the secret key, or `region`"),
            ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired", _) => {
                of_store(Auth, "renew the temporary keys and their security token")
            }
            ("AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect", _)
            | (_, 301 | 302 | 307) => {
                of_store(Rejected, "the bucket lies elsewhere: correct `region` and `endpoint`")
            }
            _ if self.is_full() => of_store(Transient, "the store is full: make room in it"),
            _ if self.asks_for_less() => of_store(Throttled, "tried again more slowly"),
            // A refusal of a HEAD has no body that could say why.
            ("", 400) => of_store(
                Rejected,
                "a 400 without a reason mostly means another region: correct `region`, or `endpoint` and `path_style`",
            ),
            ("" | "NotFound" | "MethodNotAllowed", 404 | 405) => of_store(
                Rejected,
                "no bucket answers at this address: correct `endpoint`, `bucket` and `path_style`",
            ),
            ("InvalidObjectState", _) => {
                of_store(Rejected, "its storage class cannot be read at once: configure another one")
            }
            ("BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch", _) => {
                of_window(Corrupt, "what arrived is not what was to be sent: the window is pulled again")
            }
            ("EntityTooLarge", _) | (_, 413) => {
                of_window(Rejected, "archive this stream under a new name with a shorter window")
            }
            ("RequestTimeout" | "OperationAborted" | "ConditionalRequestConflict", _)
            | (_, 408 | 409 | 500 | 502..=599) => of_store(Transient, "tried again"),
            // The request went through, and what came back is damaged on its way, or no answer of a store.
            (_, 200..=299) => of_store(Transient, "its answer cannot be read: asked again"),
            (_, 401 | 403) => of_store(
                Auth,
                "let these keys list, get and put there (with locks: set and see retention, too), or use others",
            ),
            _ => of_window(Rejected, "look up the code in the store's manual"),
        }
    }
}

impl Place {
    pub(super) fn of(settings: &S3Settings) -> Self {
        let region = &settings.region;
        let endpoint = settings
            .endpoint
            .as_ref()
            .map_or_else(|| format!("AWS region {region}"), |url| url.origin().ascii_serialization());
        let host = settings.endpoint.as_ref().and_then(|url| url.host_str()).map(str::to_owned);
        let of_aws = || Url::parse(&format!("https://s3.{region}.amazonaws.com")).ok();
        let proxy = settings.endpoint.clone().or_else(of_aws).and_then(|url| Proxy::to(&url));
        Self { bucket: settings.bucket.clone(), endpoint, host, proxy }
    }

    /// What helps where `host` is not known by its name.
    fn where_is(&self, host: &str) -> String {
        let at = self.host.as_deref().unwrap_or("amazonaws.com");
        if host == at {
            "correct `endpoint`, or see to name resolution (or set HTTPS_PROXY, where a proxy does it)"
                .to_owned()
        } else if host.strip_suffix(at).is_some_and(|before| before.ends_with('.')) {
            "correct `bucket`, `region` and `endpoint`; where the store has no host name for each bucket, set path_style = true"
                .to_owned()
        } else {
            self.proxy.as_ref().map_or_else(
                || "this is the proxy: correct HTTPS_PROXY, or name the store's host in NO_PROXY".to_owned(),
                |proxy| format!("this is the proxy: {}", proxy.advice(at)),
            )
        }
    }

    /// The error for `trouble` that arose while it was tried to do `doing` ("put x").
    pub(super) fn error(&self, doing: &str, trouble: Trouble) -> StoreError {
        let cause = |why: &str| Message::new(format!("cannot {doing} in {self}: {why}"));
        let failed = |kind, scope, why: &str| StoreError(Failure::new(kind, scope, cause(why)));
        match trouble {
            Trouble::NoAnswer(why) => match &self.proxy {
                None => failed(FailureKind::Transient, Scope::Store, &why),
                Some(proxy) => {
                    let host = self.host.as_deref().unwrap_or("amazonaws.com");
                    let message = cause(&format!("through {proxy}: {why}")).advise(proxy.advice(host));
                    StoreError(Failure::new(FailureKind::Transient, Scope::Store, message))
                }
            },
            Trouble::Unresolved { host, why } => {
                let message = cause(&why).advise(self.where_is(&host));
                StoreError(Failure::new(FailureKind::Transient, Scope::Store, message))
            }
            Trouble::Unsendable(why) => {
                let message = cause(&why).advise("check the disk of the state directory");
                StoreError(Failure::new(FailureKind::Local, Scope::Daemon, message))
            }
            Trouble::Keyless(why) => {
                let message = cause("its keys cannot be read").advise(&*why);
                StoreError(Failure::new(FailureKind::Auth, Scope::Store, message))
            }
            Trouble::Unmakeable(why) => failed(FailureKind::Rejected, Scope::Store, &why),
            Trouble::Answered(answer) => {
                let meaning = answer.meaning();
                let code = if answer.code.is_empty() { String::new() } else { format!(" {}", answer.code) };
                let said =
                    if answer.message.is_empty() { String::new() } else { format!(" ({})", answer.message) };
                let elsewhere = answer.region.as_ref().filter(|_| matches!(answer.status, 300..=499));
                let region = elsewhere.map(|(header, region)| format!(", {header} says {region}"));
                let why = format!("HTTP {}{code}{said}{}", answer.status, region.unwrap_or_default());
                let message = cause(&why).advise(meaning.next);
                let mut error = StoreError(Failure::new(meaning.kind, meaning.scope, message));
                error.0.request_ids = answer.request_id.into_iter().collect();
                error.0.retry_after = answer.retry_after;
                error
            }
        }
    }

    /// The error for a bucket that is not there.
    pub(super) fn no_such_bucket(&self) -> StoreError {
        let message = Message::new(format!("{self} does not exist"))
            .advise("create the bucket, or correct `bucket` and `endpoint`");
        StoreError::of_store(FailureKind::Rejected, message)
    }

    /// The error for a body that broke off on its way to us.
    pub(super) fn broken_off(&self, doing: &str, error: &dyn Error) -> StoreError {
        self.error(doing, Trouble::NoAnswer(format!("the body broke off: {}", causes(error)).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        let host = Some("obs.test".to_owned());
        Place { bucket: "audit".to_owned(), endpoint: "https://obs.test".to_owned(), host, proxy: None }
    }

    fn answered(status: u16, code: &str) -> StoreError {
        let (message, request_id) = (ForeignText::new("said so"), Some(ForeignText::new("id-1")));
        let (code, retry_after, region) = (ForeignText::new(code), None, None);
        let answer = Answer { status, code, message, request_id, retry_after, region };
        place().error("put a/b", Trouble::Answered(answer))
    }

    #[test]
    fn a_refusal_is_classified_by_its_code_and_then_by_its_status() {
        use FailureKind::{Auth, Corrupt, Rejected, Throttled, Transient};
        for (status, code, kind, scope) in [
            (404, "NoSuchBucket", Rejected, Scope::Store),
            (403, "InvalidAccessKeyId", Auth, Scope::Store),
            (403, "SignatureDoesNotMatch", Auth, Scope::Store),
            (403, "RequestTimeTooSkewed", Auth, Scope::Store),
            (403, "AccessDenied", Auth, Scope::Store),
            (403, "", Auth, Scope::Store),
            (403, "QuotaExceeded", Transient, Scope::Store),
            (503, "SlowDown", Throttled, Scope::Store),
            (429, "", Throttled, Scope::Store),
            (503, "ServiceUnavailable", Transient, Scope::Store),
            (500, "InternalError", Transient, Scope::Store),
            (400, "RequestTimeout", Transient, Scope::Store),
            (409, "ConditionalRequestConflict", Transient, Scope::Store),
            (400, "BadDigest", Corrupt, Scope::Window),
            (400, "EntityTooLarge", Rejected, Scope::Window),
            (400, "InvalidArgument", Rejected, Scope::Window),
            (400, "", Rejected, Scope::Store),
            (501, "NotImplemented", Rejected, Scope::Window),
            (301, "PermanentRedirect", Rejected, Scope::Store),
        ] {
            let error = answered(status, code).0;
            assert_eq!((error.kind, error.scope), (kind, scope), "{status} {code}");
        }
    }

    #[test]
    fn a_host_that_is_not_found_is_named_with_what_helps_against_it() {
        for (host, word) in [
            ("obs.test", "correct `endpoint`"),
            ("audit.obs.test", "path_style = true"),
            ("gate.example", "HTTPS_PROXY"),
            ("notobs.test", "HTTPS_PROXY"),
        ] {
            let why = format!("the host name {host} cannot be looked up (no)").into();
            let error = place().error("put a/b", Trouble::Unresolved { host: ForeignText::new(host), why }).0;
            assert_eq!((error.kind, error.scope), (FailureKind::Transient, Scope::Store));
            assert!(error.message.contains(host) && error.message.contains(word), "{}", error.message);
            assert!(!error.message.cause().contains(word), "{}", error.message.cause());
        }
    }

    #[test]
    fn an_error_names_what_where_and_what_next_in_one_line() {
        let error = answered(404, "NoSuchBucket").0;
        assert_eq!(
            error.message,
            "cannot put a/b in bucket audit at https://obs.test: HTTP 404 NoSuchBucket (said so); create the bucket, \
             or correct `bucket` and `endpoint`"
        );
        assert_eq!(error.request_ids, ["id-1"]);
    }
}
