//! The keys that requests are signed with, and where they come from.
//!
//! Who reads the key files is the composition root's affair: it hands in a function. They are read for each request: a
//! rotated key is taken up without a restart, and without a request that is refused first.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;

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

/// There are no keys to be had: one line that says why and where, never a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CredentialsError(pub String);

/// What a request shows to be let in.
#[derive(Debug, Clone)]
pub enum Authority {
    /// It is signed with these.
    Keys(AccessKeys),
    /// It carries this token.
    Token(SecretString),
}

impl Authority {
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
        let read = read.map_err(|_| CredentialsError("reading the access keys was cut short".to_owned()))?;
        read.map(Authority::Keys).map_err(CredentialsError)
    }

    async fn refresh(&self, _refused: &Authority) -> Result<Authority, CredentialsError> {
        self.current().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use secrecy::ExposeSecret;

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
    async fn keys_are_those_that_stand_in_the_files_now() {
        let reads = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&reads);
        let source = FileKeys::new(move || match counter.fetch_add(1, Ordering::SeqCst) {
            0 => Err("secret_key_file is not there".to_owned()),
            n => Ok(keys(format!("AK{n}"))),
        });
        assert_eq!(source.current().await.unwrap_err().to_string(), "secret_key_file is not there");
        let first = source.current().await.unwrap();
        assert_eq!(access_key(&first), "AK1");
        assert_eq!(access_key(&source.refresh(&first).await.unwrap()), "AK2");
        assert_eq!(access_key(&source.current().await.unwrap()), "AK3");
    }
}
