//! The keys of a store, read for each request: whoever replaces them need tell nobody.

use std::fmt;
use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use secrecy::{ExposeSecret, SecretString};

/// An access key, permanent or temporary. Shows none of it in debug output.
#[derive(Debug, Clone)]
pub struct StoreKeys {
    /// Whose requests they are.
    pub access_key: SecretString,
    /// What they are signed with.
    pub secret_key: SecretString,
    /// Goes with temporary keys.
    pub security_token: Option<SecretString>,
}

/// Reads the keys as they are now. It may block (it reads files); its error says which file and why, never what is in it.
pub trait ReadKeys: Fn() -> Result<StoreKeys, String> + Send + Sync + 'static {}

impl<F: Fn() -> Result<StoreKeys, String> + Send + Sync + 'static> ReadKeys for F {}

/// The keys could not be read.
#[derive(Debug)]
pub(super) struct Keyless(pub(super) String);

impl fmt::Display for Keyless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Keyless {}

/// What the SDK asks for keys.
pub(super) struct FreshKeys(pub(super) Arc<dyn ReadKeys>);

impl fmt::Debug for FreshKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreshKeys").finish_non_exhaustive()
    }
}

impl ProvideCredentials for FreshKeys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let read = Arc::clone(&self.0);
        future::ProvideCredentials::new(async move {
            let read = tokio::task::spawn_blocking(move || read()).await;
            let read = read.unwrap_or_else(|_| Err("reading the keys was cut short".to_owned()));
            let keys = read.map_err(|why| CredentialsError::provider_error(Keyless(why)))?;
            Ok(Credentials::new(
                keys.access_key.expose_secret(),
                keys.secret_key.expose_secret(),
                keys.security_token.as_ref().map(|token| token.expose_secret().to_owned()),
                None,
                "connvault",
            ))
        })
    }
}
