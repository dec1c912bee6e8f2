//! What all who ask an identity service remember together: passwords that it refused, and pauses that it asked for.
//!
//! A user whose password is wrong too often is locked, by default after five times in a quarter of an hour, and wherever he is
//! known: users are not a region's. So a login that was refused is not tried again for ten minutes, unless the password
//! changes. The service says in the same way that a project is not the user's: what is refused for one project alone is no
//! reason to keep others from being asked for. While none lets in, a project that was never tried is, unless three were refused in
//! a quarter of an hour; and one that was refused is tried again only when none was for ten minutes. So with a password that is
//! wrong for all of them there are four refusals in a quarter of an hour at the most.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex as Lock;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use url::Url;

use super::credentials::CredentialsError;
use super::iam::TokenScope;
use super::pacer::Gate;
use crate::domain::message::Message;

/// A login that was refused is not tried again for so long.
const REFUSED_FOR: SignedDuration = SignedDuration::from_mins(10);
/// For so long the service counts refusals.
const COUNTED: SignedDuration = SignedDuration::from_mins(15);
/// A password that was refused for so many projects, and for none accepted, is tried for no other one.
const PROJECTS: usize = 3;

/// By user and by service; clones are one memory.
#[derive(Clone, Default)]
pub struct IdentityMemory(Arc<Lock<Known>>);

#[derive(Default)]
struct Known {
    /// By account and name.
    users: HashMap<(String, String), Arc<Mutex<Logins>>>,
    gates: HashMap<Url, Arc<Lock<Gate>>>,
}

/// What came of one user's logins lately. Whoever logs in has it to himself.
#[derive(Default)]
pub(super) struct Logins(Vec<Login>);

struct Login {
    password: SecretString,
    scope: TokenScope,
    /// Why and when it was refused; `None` where it was let in.
    refused: Option<(CredentialsError, Timestamp)>,
}

impl IdentityMemory {
    /// Of the user `name` of the account `domain`.
    pub(super) fn user(&self, domain: &str, name: &str) -> Arc<Mutex<Logins>> {
        Arc::clone(self.0.lock().users.entry((domain.to_owned(), name.to_owned())).or_default())
    }

    /// Of the service at `endpoint`.
    pub(super) fn gate(&self, endpoint: &Url) -> Arc<Lock<Gate>> {
        Arc::clone(self.0.lock().gates.entry(endpoint.clone()).or_default())
    }
}

impl Logins {
    /// What a login for `scope` would be answered with, where that is known without trying.
    pub(super) fn foreseen(
        &self,
        password: &SecretString,
        scope: &TokenScope,
        now: Timestamp,
    ) -> Option<CredentialsError> {
        let own = self.with(password).find(|login| login.scope == *scope);
        if let Some(error) = own.and_then(|login| login.refused_within(REFUSED_FOR, now)) {
            return Some(error.clone());
        }
        let is_right = self.with(password).any(|login| login.refused.is_none());
        let (time, most) = if own.is_some() { (REFUSED_FOR, 1) } else { (COUNTED, PROJECTS) };
        let refused: Vec<_> =
            self.with(password).filter_map(|login| login.refused_within(time, now)).collect();
        let error = refused.last().filter(|_| !is_right && refused.len() >= most)?;
        let error = error.message();
        let cause = format!(
            "no token is asked for {scope}, as the password is refused for others: {}",
            error.cause()
        );
        Some(CredentialsError::Refused(Message::new(cause).advise("check the password's file and the user")))
    }

    /// A login was answered at `now`. An error that refuses nothing says nothing.
    pub(super) fn note(
        &mut self,
        password: SecretString,
        scope: TokenScope,
        error: Option<&CredentialsError>,
        now: Timestamp,
    ) {
        let is_same = |login: &Login| login.is_of(&password) && login.scope == scope;
        let refused = match error {
            // There is one right password: what was so before is so no longer.
            None => {
                self.0.retain(|login| login.is_of(&password) || login.refused.is_some());
                None
            }
            Some(error @ CredentialsError::Refused(_)) => {
                // What let this project in once, and no longer does, may be an old password.
                if self.0.iter().any(|login| is_same(login) && login.refused.is_none()) {
                    self.0.retain(|login| !login.is_of(&password) || login.refused.is_some());
                }
                Some((error.clone(), now))
            }
            Some(_) => return,
        };
        let is_of_use = |login: &Login| {
            login.is_of(&password) || login.refused.is_none() || login.refused_within(COUNTED, now).is_some()
        };
        self.0.retain(|login| !is_same(login) && is_of_use(login));
        self.0.push(Login { password, scope, refused });
    }

    fn with(&self, password: &SecretString) -> impl Iterator<Item = &Login> {
        self.0.iter().filter(move |login| login.is_of(password))
    }
}

impl Login {
    fn is_of(&self, password: &SecretString) -> bool {
        self.password.expose_secret() == password.expose_secret()
    }

    /// Why it was refused, where that is not so long ago.
    fn refused_within(&self, time: SignedDuration, now: Timestamp) -> Option<&CredentialsError> {
        let (error, at) = self.refused.as_ref()?;
        // It lies ahead only if the clock was set back.
        let ago = now.duration_since(*at);
        (!ago.is_negative() && ago < time).then_some(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The logins of one user, one after the other.
    struct Tried {
        logins: Logins,
        now: Timestamp,
    }

    impl Tried {
        fn new() -> Self {
            Self { logins: Logins::default(), now: "2026-11-23T02:00:00Z".parse().unwrap() }
        }

        fn foreseen(&self, password: &str, project: &str) -> Option<String> {
            let scope = TokenScope::ProjectId(project.to_owned());
            self.logins.foreseen(&password.into(), &scope, self.now).map(|error| error.to_string())
        }

        /// Whether the service was asked; it is answered by `error`.
        fn tries(&mut self, password: &str, project: &str, error: Option<CredentialsError>) -> bool {
            let is_tried = self.foreseen(password, project).is_none();
            if is_tried {
                let scope = TokenScope::ProjectId(project.to_owned());
                self.logins.note(password.into(), scope, error.as_ref(), self.now);
            }
            is_tried
        }

        fn is_refused(&mut self, password: &str, project: &str) -> bool {
            self.tries(
                password,
                project,
                Some(CredentialsError::Refused(format!("{password} for {project}").into())),
            )
        }

        fn is_let_in(&mut self, password: &str, project: &str) -> bool {
            self.tries(password, project, None)
        }
    }

    #[test]
    fn what_is_refused_for_one_project_is_tried_for_another() {
        let mut user = Tried::new();
        assert!(user.is_refused("p", "mistyped"));
        assert!(!user.is_let_in("p", "mistyped"));
        assert_eq!(user.foreseen("p", "mistyped").unwrap(), "p for mistyped");
        assert!(user.is_let_in("p", "right"));
        // The password is right, so that each refusal is its project's own.
        assert!(user.is_refused("p", "another"));
        assert!(user.is_let_in("p", "a third"));
        assert!(!user.is_let_in("p", "mistyped"));
    }

    #[test]
    fn what_is_refused_for_three_projects_is_tried_for_no_other() {
        let mut user = Tried::new();
        assert!(["a", "b", "c"].into_iter().all(|project| user.is_refused("p", project)));
        let told = user.foreseen("p", "d").unwrap();
        assert!(told.contains("project d") && told.contains("p for c"), "{told}");
        assert!(user.is_let_in("q", "d"), "another password is another matter");
    }

    #[test]
    fn a_project_that_was_never_tried_goes_before_those_that_were_refused() {
        let mut user = Tried::new();
        assert!(user.is_refused("p", "a") && user.is_refused("p", "b"));
        user.now += SignedDuration::from_mins(10);
        assert!(user.is_refused("p", "a"), "nothing was refused for ten minutes");
        assert!(!user.is_refused("p", "b"), "one after the other");
        assert!(user.is_let_in("p", "c"));
        assert!(user.is_refused("p", "b"), "the password is right");
    }

    #[test]
    fn however_many_sources_ask_how_often_a_user_is_not_locked() {
        let (mut user, mut refused) = (Tried::new(), Vec::new());
        for _minute in 0..180 {
            for project in ["a", "b", "c", "d", "e"] {
                if user.is_refused("p", project) {
                    refused.push(user.now);
                }
            }
            user.now += SignedDuration::from_mins(1);
        }
        let within = |from: &Timestamp| {
            let until = *from + SignedDuration::from_mins(15);
            refused.iter().filter(|at| (*from..until).contains(*at)).count()
        };
        assert_eq!(refused.iter().map(within).max(), Some(4), "the fifth locks it");
    }

    #[test]
    fn two_wrong_passwords_are_known_both() {
        let mut user = Tried::new();
        assert!(user.is_refused("p", "a") && user.is_refused("q", "a"));
        assert!(!user.is_refused("p", "a") && !user.is_refused("q", "a"));
        assert!(user.is_let_in("r", "a"));
        assert!(!user.is_refused("p", "a"), "another one that is right makes it no better");
    }

    #[test]
    fn a_password_that_lets_in_no_longer_is_taken_for_a_wrong_one() {
        let mut user = Tried::new();
        assert!(["a", "b", "c", "d"].into_iter().all(|project| user.is_let_in("p", project)));
        assert!(["a", "b", "c"].into_iter().all(|project| user.is_refused("p", project)));
        assert!(!user.is_refused("p", "d"));
    }

    #[test]
    fn ten_minutes_later_it_is_tried_again_and_so_it_is_when_the_clock_was_set_back() {
        let mut user = Tried::new();
        assert!(["a", "b", "c"].into_iter().all(|project| user.is_refused("p", project)));
        let began = user.now;
        let foreseen = |user: &mut Tried, minutes| {
            user.now = began + SignedDuration::from_mins(minutes);
            ["a", "d"].map(|project| user.foreseen("p", project).is_some())
        };
        assert_eq!(foreseen(&mut user, 9), [true, true]);
        assert_eq!(foreseen(&mut user, 10), [false, true]);
        assert_eq!(foreseen(&mut user, 15), [false, false]);
        assert_eq!(foreseen(&mut user, -1), [false, false]);
    }

    #[test]
    fn a_service_that_does_not_answer_says_nothing_of_a_password() {
        let mut user = Tried::new();
        let away = || Some(CredentialsError::Unreachable("away".into()));
        assert!(user.tries("p", "a", away()) && user.tries("p", "b", away()) && user.is_let_in("p", "c"));
    }
}
