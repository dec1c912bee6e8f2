//! Whether anything changed that bears on a stream, a source or a store: settings, credentials, certificates.
//!
//! The ledger keeps the digest beside what is parked or held up; another digest means that trying again may help. Files are
//! named in it as the configuration writes them: where `${CREDENTIALS_DIRECTORY}` leads is no part of a configuration.

use std::path::PathBuf;

use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::model::{AkSk, Config, Store};
use super::secret::SecretFile;
use super::show::{show_source, show_store, show_stream};
use crate::domain::name::{SourceName, StoreName, StreamName};

/// Digests of other things, even over the same bytes, are other digests.
const DOMAIN: &[u8] = b"connvault: fingerprint of configuration, version 1";

/// Half of SHA-256: enough to tell configurations apart, too little to be taken for proof of anything.
const BYTES: usize = 16;

/// Stands for the content of a file that cannot be read, whatever the reason and wherever it lies. No secret is a line feed.
const UNREADABLE: &[u8] = b"\n";

impl Config {
    /// A digest, in 32 hex digits, of all settings in force for `stream`, its source and its store, with the contents
    /// of their secret files and certificates as they are now. A file that cannot be read counts as other content,
    /// so that the digest changes when it can. `None` for a stream that is not in the configuration.
    pub fn stream_fingerprint(&self, stream: &StreamName) -> Option<String> {
        let settings = self.streams.get(stream)?;
        let mut digest = Fingerprinter::new();
        digest.add(stream.as_str().as_bytes());
        digest.add_settings(&show_stream(settings));
        digest.add(self.source_fingerprint(&settings.source)?.as_bytes());
        digest.add(self.store_fingerprint(&settings.store)?.as_bytes());
        Some(digest.finish())
    }

    /// As [`Self::stream_fingerprint`], of a source alone.
    pub fn source_fingerprint(&self, source: &SourceName) -> Option<String> {
        let settings = self.sources.get(source)?;
        let mut digest = Fingerprinter::new();
        digest.add_settings(&show_source(settings));
        digest.add_files(settings.credentials.secrets().into_iter(), settings.ca_file.as_ref());
        Some(digest.finish())
    }

    /// As [`Self::stream_fingerprint`], of a store alone.
    pub fn store_fingerprint(&self, store: &StoreName) -> Option<String> {
        let settings = self.stores.get(store)?;
        let (keys, certificates) = match settings {
            Store::S3(store) => (Some(&store.credentials), store.ca_file.as_ref()),
            Store::Directory(_) => (None, None),
        };
        let mut digest = Fingerprinter::new();
        digest.add_settings(&show_store(settings));
        digest.add_files(keys.into_iter().flat_map(AkSk::secrets), certificates);
        Some(digest.finish())
    }
}

struct Fingerprinter(Sha256);

impl Fingerprinter {
    fn new() -> Self {
        let mut new = Self(Sha256::new());
        new.add(DOMAIN);
        new
    }

    /// Each part with its length, so that no two lists of parts run together into the same bytes.
    fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
    }

    fn add_settings(&mut self, shown: &Value) {
        self.add(shown.to_string().as_bytes());
    }

    fn add_files<'s>(
        &mut self,
        secrets: impl Iterator<Item = &'s SecretFile>,
        certificates: Option<&PathBuf>,
    ) {
        for secret in secrets {
            match secret.read() {
                Ok(secret) => self.add(secret.expose_secret().as_bytes()),
                Err(_) => self.add(UNREADABLE),
            }
        }
        if let Some(certificates) = certificates {
            match std::fs::read(certificates) {
                Ok(certificates) => self.add(&certificates),
                Err(_) => self.add(UNREADABLE),
            }
        }
    }

    fn finish(self) -> String {
        hex::encode(&self.0.finalize()[..BYTES])
    }
}
