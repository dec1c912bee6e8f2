//! The access keys that the simulator accepts; they can be added and revoked while it runs.

use std::{
    collections::HashMap,
    fmt,
    sync::{PoisonError, RwLock},
};

/// One access key with its secret; a temporary one also has a security token.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// The public half, sent in every request.
    pub access: String,
    /// The HMAC key; never sent.
    pub secret: String,
    /// What a request with a temporary key must carry, signed, in `X-Security-Token`.
    pub security_token: Option<String>,
}

impl Key {
    /// A key without a token.
    pub fn permanent(access: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { access: access.into(), secret: secret.into(), security_token: None }
    }

    /// A key that is only good together with its token.
    pub fn temporary(
        access: impl Into<String>,
        secret: impl Into<String>,
        security_token: impl Into<String>,
    ) -> Self {
        Self { security_token: Some(security_token.into()), ..Self::permanent(access, secret) }
    }

    /// The key a simulator accepts when it was given none; it is published, hence no secret.
    pub fn example() -> Self {
        Self::permanent("CONNVAULTSIMACCESS01", "connvault-sim-published-example-secret")
    }
}

/// Shows the access key alone.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("access", &self.access)
            .field("temporary", &self.security_token.is_some())
            .finish_non_exhaustive()
    }
}

/// The set of keys accepted at this moment.
#[derive(Default)]
pub struct Keys(RwLock<HashMap<String, Key>>);

impl Keys {
    /// Accepts `key` from now on, in place of an earlier one of the same access key.
    pub fn add(&self, key: Key) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key.access.clone(), key);
    }

    /// Refuses the access key from now on; `false` when it was not known.
    pub fn revoke(&self, access: &str) -> bool {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(access).is_some()
    }

    pub(crate) fn find(&self, access: &str) -> Option<Key> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(access).cloned()
    }
}

impl FromIterator<Key> for Keys {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        let keys = keys.into_iter().map(|key| (key.access.clone(), key));
        Self(RwLock::new(keys.collect()))
    }
}

/// Shows the access keys alone.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(keys.keys()).finish()
    }
}
