//! Whether anything changed that bears on a stream: settings, credentials, certificates.
//!
//! The ledger keeps the digest beside what is parked; another digest means that trying again may help.

use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::model::{AkSk, Config, Credentials, Store};
use super::secret::SecretFile;
use super::show::{show_source, show_store, show_stream};
use crate::domain::name::StreamName;

/// Digests of other things, even over the same bytes, are other digests.
const DOMAIN: &[u8] = b"connvault: fingerprint of a stream's configuration, version 1";

/// Half of SHA-256: enough to tell configurations apart, too little to be taken for proof of anything.
const BYTES: usize = 16;

impl Config {
    /// A digest, in 32 hex digits, of all settings in force for `stream`, its source and its store, with the contents
    /// of their secret files and certificates as they are now. A file that cannot be read counts as other content,
    /// so that the digest changes when it can. `None` for a stream that is not in the configuration.
    pub fn fingerprint(&self, stream: &StreamName) -> Option<String> {
        let settings = self.streams.get(stream)?;
        let source = self.sources.get(&settings.source)?;
        let store = self.stores.get(&settings.store)?;
        let mut digest = Sha256::new();
        let mut add = |part: &[u8]| {
            // Each part with its length, so that no two lists of parts run together into the same bytes.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        };
        add(DOMAIN);
        add(stream.as_str().as_bytes());
        for shown in [show_stream(settings), show_source(source), show_store(store)] {
            add(shown.to_string().as_bytes());
        }
        let Credentials::AkSk(source_keys) = &source.credentials;
        let (store_keys, store_ca) = match store {
            Store::S3(store) => (Some(&store.credentials), store.ca_file.as_ref()),
            Store::Directory(_) => (None, None),
        };
        for secret in [Some(source_keys), store_keys]
            .into_iter()
            .flatten()
            .flat_map(secrets)
        {
            match secret.read() {
                Ok(secret) => add(secret.expose_secret().as_bytes()),
                Err(error) => add(error.to_string().as_bytes()),
            }
        }
        for certificates in [source.ca_file.as_ref(), store_ca].into_iter().flatten() {
            match std::fs::read(certificates) {
                Ok(certificates) => add(&certificates),
                Err(error) => add(error.to_string().as_bytes()),
            }
        }
        Some(hex::encode(&digest.finalize()[..BYTES]))
    }
}

fn secrets(keys: &AkSk) -> impl Iterator<Item = &SecretFile> {
    [&keys.access_key, &keys.secret_key]
        .into_iter()
        .chain(&keys.security_token)
}
