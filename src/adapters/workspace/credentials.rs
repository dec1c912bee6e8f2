//! The keys that requests are signed with, and where they come from.
//!
//! Who reads the key files is the composition root's affair: it hands in a function. Keys are read once and kept;
//! when the provider refuses them they are read again, so that a rotated key is taken up without a restart.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::sync::Mutex;

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

/// Gives the keys to sign with.
#[async_trait]
pub trait Credentials: Send + Sync {
    /// The keys as last known.
    ///
    /// # Errors
    /// When there are none to be had.
    async fn keys(&self) -> Result<AccessKeys, CredentialsError>;

    /// Keys as they are now, after the last known ones were refused.
    ///
    /// # Errors
    /// When there are none to be had.
    async fn refresh(&self) -> Result<AccessKeys, CredentialsError>;
}

/// Keys that never change.
#[derive(Debug)]
pub struct StaticKeys(pub AccessKeys);

#[async_trait]
impl Credentials for StaticKeys {
    async fn keys(&self) -> Result<AccessKeys, CredentialsError> {
        Ok(self.0.clone())
    }

    async fn refresh(&self) -> Result<AccessKeys, CredentialsError> {
        Ok(self.0.clone())
    }
}

type Load = dyn Fn() -> Result<AccessKeys, String> + Send + Sync;

/// Keys that are read from somewhere, and read again when they are refused.
pub struct ReloadingKeys {
    load: Arc<Load>,
    known: Mutex<Option<AccessKeys>>,
}

impl ReloadingKeys {
    /// Keys that `load` reads. It may block (it reads files), and its error says which file and why.
    pub fn new(load: impl Fn() -> Result<AccessKeys, String> + Send + Sync + 'static) -> Self {
        Self { load: Arc::new(load), known: Mutex::new(None) }
    }

    /// Reads into `known`, which is left empty when that fails: the next request reads again.
    async fn read_into(&self, known: &mut Option<AccessKeys>) -> Result<AccessKeys, CredentialsError> {
        *known = None;
        let load = Arc::clone(&self.load);
        let read = tokio::task::spawn_blocking(move || load()).await;
        let read = read.map_err(|_| CredentialsError("reading the access keys was cut short".to_owned()))?;
        let keys = read.map_err(CredentialsError)?;
        *known = Some(keys.clone());
        Ok(keys)
    }
}

impl fmt::Debug for ReloadingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReloadingKeys").finish_non_exhaustive()
    }
}

#[async_trait]
impl Credentials for ReloadingKeys {
    async fn keys(&self) -> Result<AccessKeys, CredentialsError> {
        let mut known = self.known.lock().await;
        match known.clone() {
            Some(keys) => Ok(keys),
            None => self.read_into(&mut known).await,
        }
    }

    async fn refresh(&self) -> Result<AccessKeys, CredentialsError> {
        let mut known = self.known.lock().await;
        self.read_into(&mut known).await
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

    #[test]
    fn keys_show_nothing_in_debug_output() {
        let debug = format!("{:?} {:?}", keys("AKID".into()), StaticKeys(keys("AKID".into())));
        assert!(!debug.contains("AKID") && !debug.contains("hush") && !debug.contains("tok\""), "{debug}");
    }

    #[tokio::test]
    async fn keys_that_cannot_be_read_are_tried_again_and_good_ones_are_read_once() {
        let reads = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&reads);
        let source = ReloadingKeys::new(move || match counter.fetch_add(1, Ordering::SeqCst) {
            0 => Err("secret_key_file is not there".to_owned()),
            n => Ok(keys(format!("AK{n}"))),
        });
        assert_eq!(source.keys().await.unwrap_err().to_string(), "secret_key_file is not there");
        assert_eq!(source.keys().await.unwrap().access_key.expose_secret(), "AK1");
        assert_eq!(source.keys().await.unwrap().access_key.expose_secret(), "AK1");
        assert_eq!(source.refresh().await.unwrap().access_key.expose_secret(), "AK2");
        assert_eq!(source.keys().await.unwrap().access_key.expose_secret(), "AK2");
        assert_eq!(reads.load(Ordering::SeqCst), 3);
    }
}
