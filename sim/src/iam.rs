//! The identity service: tokens by password, and projects by name.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::http::{HeaderName, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{answer::Answer, instant, seed::SplitMix};

/// What a request shows instead of a signature.
pub(crate) const AUTH_TOKEN: &str = "x-auth-token";
const SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");

/// A user of the identity service.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) domain: String,
    pub(crate) name: String,
    pub(crate) password: String,
}

/// What the identity service knows.
pub(crate) struct Iam {
    pub(crate) users: Vec<User>,
    /// How long a token is good.
    pub(crate) validity: Duration,
    /// What the project is called: as its region.
    pub(crate) region: String,
    pub(crate) project_id: String,
    tokens: Mutex<Tokens>,
}

#[derive(Default)]
struct Tokens {
    good_until: HashMap<String, Timestamp>,
    issued: u64,
}

impl Iam {
    pub(crate) fn new(users: Vec<User>, validity: Duration, region: String, project_id: String) -> Self {
        Self { users, validity, region, project_id, tokens: Mutex::default() }
    }

    /// How many tokens were ever given out.
    pub(crate) fn issued(&self) -> u64 {
        self.tokens().issued
    }

    /// No token that was given out is good any more.
    pub(crate) fn revoke(&self) {
        self.tokens().good_until.clear();
    }

    pub(crate) fn is_good(&self, token: &str, now: Timestamp) -> bool {
        self.tokens().good_until.get(token).is_some_and(|until| now < *until)
    }

    /// `POST /v3/auth/tokens`, by password, for the one project.
    pub(crate) fn log_in(&self, body: &[u8], now: Timestamp) -> Answer {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let identity = &body["auth"]["identity"];
        let user = &identity["password"]["user"];
        let said = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let claimed = User {
            domain: said(&user["domain"]["name"]),
            name: said(&user["name"]),
            password: said(&user["password"]),
        };
        if identity["methods"] != json!(["password"]) {
            return refusal(StatusCode::BAD_REQUEST, "The authentication method is not supported.");
        }
        if !self.users.contains(&claimed) {
            return refusal(StatusCode::UNAUTHORIZED, "The username or password is wrong.");
        }
        let project = &body["auth"]["scope"]["project"];
        if project["id"] != self.project_id.as_str() && project["name"] != self.region.as_str() {
            return refusal(StatusCode::UNAUTHORIZED, "The project does not exist or is not the user's.");
        }
        let until = now.checked_add(self.validity).unwrap_or(Timestamp::MAX);
        let mut tokens = self.tokens();
        tokens.issued += 1;
        let token = format!("MIIsim{:016x}{}", SplitMix::new(tokens.issued).next(), tokens.issued);
        tokens.good_until.insert(token.clone(), until);
        let shown = json!({ "token": {
            "methods": ["password"],
            "issued_at": instant::micros(now),
            "expires_at": instant::micros(until),
            "project": { "id": self.project_id, "name": self.region },
        }});
        Answer::json(StatusCode::CREATED, &shown).with_header(SUBJECT_TOKEN, token)
    }

    /// `GET /v3/projects`, by name.
    pub(crate) fn projects(&self, name: Option<&str>) -> Answer {
        let found = name.is_none_or(|name| name == self.region);
        let project = json!({
            "id": self.project_id, "name": self.region, "enabled": true, "domain_id": "sim-domain",
            "is_domain": false, "parent_id": "sim-domain", "description": "",
        });
        let projects = if found { vec![project] } else { Vec::new() };
        Answer::json(StatusCode::OK, &json!({ "projects": projects, "links": { "self": "/v3/projects" } }))
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As this service says no: in another form than the others.
fn refusal(status: StatusCode, message: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or_default();
    Answer::json(status, &json!({ "error": { "code": status.as_u16(), "message": message, "title": title } }))
}
