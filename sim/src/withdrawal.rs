//! The end of the v2 export: from some moment on, the gateway does not know it any more.

use std::{
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use axum::http::StatusCode;

use crate::answer::{Answer, Payload};

/// How the gateway says that an API is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Withdrawal {
    /// 404 with `APIG.0101`.
    NotFound,
    /// 404 with `APIGW.0101`.
    NoSuchApi,
    /// 405 with `APIGW.0106`.
    NotAllowed,
    /// 410 without a body.
    Gone,
    /// 404 with a page of HTML.
    Proxy404,
    /// 404 with a code of the service itself.
    ServiceNotFound,
}

impl Withdrawal {
    const NAMES: [(&'static str, Self); 6] = [
        ("not-found", Self::NotFound),
        ("no-such-api", Self::NoSuchApi),
        ("not-allowed", Self::NotAllowed),
        ("gone", Self::Gone),
        ("proxy-404", Self::Proxy404),
        ("service-not-found", Self::ServiceNotFound),
    ];
}

impl FromStr for Withdrawal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, how)| *how)
            .ok_or_else(|| format!("one of {}", Self::NAMES.map(|(name, _)| name).join(", ")))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Withdrawn(Mutex<Option<(u64, Withdrawal)>>);

impl Withdrawn {
    /// After so many more exports.
    pub(crate) fn after(&self, exports: u64, how: Withdrawal) {
        *self.state() = Some((exports, how));
    }

    /// An export was asked for: how it is refused, if it is.
    pub(crate) fn refuses(&self) -> Option<Withdrawal> {
        match &mut *self.state() {
            Some((0, how)) => Some(*how),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, Option<(u64, Withdrawal)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Withdrawal {
    pub(crate) fn answer(self, request_id: &str) -> Answer {
        let message = "The API does not exist or has not been published in the environment";
        match self {
            Self::NotFound => Answer::error(StatusCode::NOT_FOUND, "APIG.0101", message, request_id),
            Self::NoSuchApi => Answer::error(StatusCode::NOT_FOUND, "APIGW.0101", message, request_id),
            Self::NotAllowed => {
                let message = "The request method is not supported";
                Answer::error(StatusCode::METHOD_NOT_ALLOWED, "APIGW.0106", message, request_id)
            }
            Self::Gone => Answer::empty(StatusCode::GONE),
            Self::ServiceNotFound => {
                let message = "no such resource";
                Answer::error(StatusCode::NOT_FOUND, "WKS.00000404", message, request_id)
            }
            Self::Proxy404 => {
                let page = "<html><body><h1>404 Not Found</h1></body></html>";
                Answer::new(StatusCode::NOT_FOUND, "text/html", Payload::Whole(page.into()))
            }
        }
    }
}
