//! What requests show to be let in, and where it comes from: keys in files here, keys of a machine's agency and tokens beside it.
//!
//! Who reads the key files is the composition root's affair: it hands in a function. They are read for each request: a
//! rotated key is taken up without a restart, and without a request that is refused first.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};

use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::message::Message;

/// What could not be renewed is tried again after this.
const RENEW_AGAIN: SignedDuration = SignedDuration::from_mins(1);

/// An access key, permanent or temporary. Shows none of it in debug output.
#[derive(Debug, Clone)]
pub struct AccessKeys {
    /// The access key id. No secret to the provider, yet nobody's business in a log.
    pub access_key: SecretString,
    /// The secret access key.
    pub secret_key: SecretString,
    /// Of a temporary key.
    pub security_token: Option<SecretString>,
}

/// There is nothing to show to be let in: one line that says why and where, never a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// An operator must look.
    #[error("{0}")]
    Refused(Message),
    /// Whoever gives it did not answer; it may later.
    #[error("{0}")]
    Unreachable(Message),
    /// Whoever gives it has asked to be left alone for so long.
    #[error("{0}")]
    Closed(Message, Duration),
}

impl CredentialsError {
    /// Cause and advice.
    pub fn message(&self) -> &Message {
        match self {
            Self::Refused(message) | Self::Unreachable(message) | Self::Closed(message, _) => message,
        }
    }

    /// What it holds up.
    pub fn failure(&self) -> Failure {
        let (kind, retry_after) = match self {
            Self::Refused(_) => (FailureKind::Auth, None),
            Self::Unreachable(_) => (FailureKind::Transient, None),
            Self::Closed(_, pause) => (FailureKind::Throttled, Some(*pause)),
        };
        Failure { retry_after, ..Failure::new(kind, Scope::Source, self.message().clone()) }
    }
}

/// Of secrets in files that are not as they must be: what is wrong with a file, and what to do, is of today.
pub(super) fn unread(what: &str, why: &str) -> Message {
    Message::new(format!("the {what} cannot be read")).advise(why)
}

/// What a request shows to be let in.
#[derive(Debug, Clone)]
pub enum Authority {
    /// It is signed with these.
    Keys(AccessKeys),
    /// It carries this token.
    Token(SecretString),
}

impl Authority {
    fn is(&self, other: &Self) -> bool {
        self.secrets().map(ExposeSecret::expose_secret).eq(other.secrets().map(ExposeSecret::expose_secret))
    }

    /// All of it that must be in no message.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        let secrets = match self {
            Self::Keys(keys) => {
                [Some(&keys.secret_key), keys.security_token.as_ref(), Some(&keys.access_key)]
            }
            Self::Token(token) => [Some(token), None, None],
        };
        secrets.into_iter().flatten()
    }
}

/// What runs out, and is fetched anew in good time: a quarter of its life before its end.
#[derive(Default)]
pub(super) struct Renewable(Option<Known>);

struct Known {
    authority: Authority,
    until: Timestamp,
    renew_at: Timestamp,
}

impl Renewable {
    /// What is good at `now`: what is known, or what `fetch` brings, with its end. Where nothing comes, what is known is
    /// used to its end.
    pub(super) async fn current(
        &mut self,
        now: Timestamp,
        fetch: impl AsyncFnOnce() -> Result<(Authority, Timestamp), CredentialsError>,
    ) -> Result<Authority, CredentialsError> {
        if let Some(known) = self.0.as_ref().filter(|known| now < known.renew_at) {
            return Ok(known.authority.clone());
        }
        match (fetch().await, &mut self.0) {
            (Ok((authority, until)), known) => {
                let quarter = until.duration_since(now).max(SignedDuration::ZERO) / 4;
                let renew_at = until.saturating_sub(quarter).unwrap_or(until);
                *known = Some(Known { authority: authority.clone(), until, renew_at });
                Ok(authority)
            }
            (Err(error), Some(known)) if now < known.until => {
                tracing::warn!(%error, good_until = %known.until, "credentials are not renewed yet");
                known.renew_at = now.saturating_add(RENEW_AGAIN).unwrap_or(known.until);
                Ok(known.authority.clone())
            }
            (Err(error), _) => Err(error),
        }
    }

    /// As [`Self::current`], after `refused` was refused. Of several who were refused with the same, one fetches.
    pub(super) async fn refresh(
        &mut self,
        refused: &Authority,
        now: Timestamp,
        fetch: impl AsyncFnOnce() -> Result<(Authority, Timestamp), CredentialsError>,
    ) -> Result<Authority, CredentialsError> {
        self.0.take_if(|known| known.authority.is(refused));
        self.current(now, fetch).await
    }
}

/// Gives what requests show to be let in.
#[async_trait]
pub trait Credentials: Send + Sync {
    /// What is good now, as far as is known.
    ///
    /// # Errors
    /// When there is nothing to be had.
    async fn current(&self) -> Result<Authority, CredentialsError>;

    /// What is good after `refused` was refused.
    ///
    /// # Errors
    /// When there is nothing to be had.
    async fn refresh(&self, refused: &Authority) -> Result<Authority, CredentialsError>;
}

type Load = dyn Fn() -> Result<AccessKeys, String> + Send + Sync;

/// Keys in files, read for each request: whoever replaces them need tell nobody.
pub struct FileKeys(Arc<Load>);

impl FileKeys {
    /// Keys that `load` reads. It may block (it reads files), and its error says which file and why.
    pub fn new(load: impl Fn() -> Result<AccessKeys, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(load))
    }
}

impl fmt::Debug for FileKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileKeys").finish_non_exhaustive()
    }
}

#[async_trait]
impl Credentials for FileKeys {
    async fn current(&self) -> Result<Authority, CredentialsError> {
        let load = Arc::clone(&self.0);
        let read = tokio::task::spawn_blocking(move || load()).await;
        let read =
            read.map_err(|_| CredentialsError::Refused("reading the access keys was cut short".into()))?;
        read.map(Authority::Keys).map_err(|why| CredentialsError::Refused(unread("access keys", &why)))
    }

    async fn refresh(&self, _refused: &Authority) -> Result<Authority, CredentialsError> {
        self.current().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn keys(access_key: String) -> AccessKeys {
        AccessKeys {
            access_key: access_key.into(),
            secret_key: "hush".into(),
            security_token: Some("tok".into()),
        }
    }

    fn access_key(authority: &Authority) -> &str {
        match authority {
            Authority::Keys(keys) => keys.access_key.expose_secret(),
            Authority::Token(_) => panic!("a token"),
        }
    }

    #[test]
    fn keys_show_nothing_in_debug_output() {
        let authority = Authority::Keys(keys("AKID".into()));
        let debug = format!("{authority:?} {:?}", Authority::Token("tok-en".into()));
        assert!(!["AKID", "hush", "tok\"", "tok-en"].iter().any(|secret| debug.contains(secret)), "{debug}");
    }

    #[tokio::test]
    async fn of_several_that_were_refused_with_the_same_token_one_fetches_another() {
        let now: Timestamp = "2026-11-23T02:00:00Z".parse().unwrap();
        let (fetched, mut known) = (AtomicUsize::new(0), Renewable::default());
        let fetch = async || {
            let number = fetched.fetch_add(1, Ordering::SeqCst);
            let token = Authority::Token(format!("token {number}").into());
            Ok((token, now + SignedDuration::from_hours(24)))
        };
        let first = known.current(now, fetch).await.unwrap();
        for _ in 0..3 {
            let second = known.refresh(&first, now, fetch).await.unwrap();
            assert!(second.is(&Authority::Token("token 1".into())));
        }
        assert_eq!(fetched.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn keys_are_those_that_stand_in_the_files_now() {
        let reads = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&reads);
        let source = FileKeys::new(move || match counter.fetch_add(1, Ordering::SeqCst) {
            0 => Err("secret_key_file is not there".to_owned()),
            n => Ok(keys(format!("AK{n}"))),
        });
        let error = source.current().await.unwrap_err();
        assert_eq!(error.to_string(), "the access keys cannot be read; secret_key_file is not there");
        assert_eq!(*error.message().cause(), "the access keys cannot be read");
        let first = source.current().await.unwrap();
        assert_eq!(access_key(&first), "AK1");
        assert_eq!(access_key(&source.refresh(&first).await.unwrap()), "AK2");
        assert_eq!(access_key(&source.current().await.unwrap()), "AK3");
    }
}
