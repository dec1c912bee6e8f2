//! How a store refuses to overwrite, found out with real puts.
//!
//! Stores that do not know a condition ignore it and say 200, so only a refusal proves anything: the probe is put
//! twice under the same condition, and the second put has to be refused. The first may be refused already, when the
//! probe stands there from an earlier start; then that is the proof, and it costs one refused put. The probe is
//! read back last, so that a store that refuses everything proves nothing. It has no lock: it stays for good anyway,
//! and one under a lock could not be put again.

use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use md5::Digest;

use super::errors::Trouble;
use super::{CreateOnlySetting, S3Store};
use crate::domain::digest::Md5;
use crate::domain::failure::{FailureKind, Scope};
use crate::domain::lock::Lock;
use crate::domain::object_key::ObjectKey;
use crate::ports::object_store::{Content, CreateOnly, ObjectStore, PutOutcome, StoreError};

/// What the probe holds.
const PROBE: &[u8] = b"connvault puts this object to find out whether this store refuses to overwrite.\n";

/// The pauses before the probe is read again.
const PROBE_PAUSES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1500)];

/// One answer of the store for the probe.
enum ProbeRead {
    /// The bytes that were put, with the ETag of the answer.
    Whole(Option<Md5>),
    /// Other bytes, or fewer.
    Other,
    /// No such object.
    Absent,
}

/// What a store does with a put to a taken key, under a condition.
enum Manner {
    /// It refuses, as it should.
    Refuses,
    /// It overwrites.
    Ignores,
    /// It does not know the condition, and says so.
    Unsupported(Trouble),
}

impl S3Store {
    /// Proves the configured way, or finds the best there is.
    pub(super) async fn find_create_only(&self) -> Result<CreateOnly, StoreError> {
        let found = match self.settings.create_only {
            CreateOnlySetting::Auto => self.find_best().await,
            CreateOnlySetting::IfNoneMatch => self.insist_on(CreateOnly::IfNoneMatch).await,
            CreateOnlySetting::ObsForbidOverwrite => self.insist_on(CreateOnly::ObsForbidOverwrite).await,
            CreateOnlySetting::Head => self.look_then_put_probe().await,
        };
        // Nothing of one window is at stake here: what fails, fails for the whole store.
        found.map_err(|mut error| {
            error.0.scope = if error.0.scope == Scope::Window { Scope::Store } else { error.0.scope };
            error
        })
    }

    async fn find_best(&self) -> Result<CreateOnly, StoreError> {
        for mode in [CreateOnly::IfNoneMatch, CreateOnly::ObsForbidOverwrite] {
            if let Manner::Refuses = self.manner(mode).await? {
                self.read_probe_back().await?;
                return Ok(mode);
            }
        }
        self.look_then_put_probe().await
    }

    async fn insist_on(&self, mode: CreateOnly) -> Result<CreateOnly, StoreError> {
        let (word, header) = match mode {
            CreateOnly::ObsForbidOverwrite => ("obs-forbid-overwrite", "x-obs-forbid-overwrite: true"),
            _ => ("if-none-match", "If-None-Match: *"),
        };
        let how = match self.manner(mode).await? {
            Manner::Refuses => {
                self.read_probe_back().await?;
                return Ok(mode);
            }
            Manner::Ignores => "it took the same key twice".to_owned(),
            Manner::Unsupported(trouble) => self.place.error("put the probe object", trouble).to_string(),
        };
        let message = format!(
            "{} does not honour `{header}`: {how}; set create_only = \"auto\" instead of \"{word}\", or use a store \
             that does",
            self.place
        );
        Err(StoreError::of_store(FailureKind::Rejected, message))
    }

    /// What the store does with puts of the probe under `mode`.
    async fn manner(&self, mode: CreateOnly) -> Result<Manner, StoreError> {
        let (key, content) = (ObjectKey::probe(), probe());
        for _ in 0..2 {
            match self.try_put(&key, &content, mode, &Lock::NONE).await? {
                Ok(PutOutcome::AlreadyExists) => return Ok(Manner::Refuses),
                Ok(PutOutcome::Created { .. }) => {}
                Err(trouble) if trouble.says_unsupported() => return Ok(Manner::Unsupported(trouble)),
                Err(trouble) => return Err(self.place.error("put the probe object", trouble)),
            }
        }
        Ok(Manner::Ignores)
    }

    /// The way for stores that refuse nothing: the probe is put if it is not there, and read back.
    async fn look_then_put_probe(&self) -> Result<CreateOnly, StoreError> {
        if self.look(&ObjectKey::probe()).await?.is_none() {
            self.put(&ObjectKey::probe(), &probe(), CreateOnly::HeadThenPut, &Lock::NONE).await?;
        }
        self.read_probe_back().await?;
        Ok(CreateOnly::HeadThenPut)
    }

    /// Reads the probe back. One answer is a claim: an answer that is wrong, or comes too early, is asked for again.
    async fn read_probe_back(&self) -> Result<(), StoreError> {
        for pause in PROBE_PAUSES {
            if let Ok(ProbeRead::Whole(etag)) = self.read_probe().await {
                return self.note_etags(etag).await;
            }
            tokio::time::sleep(pause).await;
        }
        let how = match self.read_probe().await? {
            ProbeRead::Whole(etag) => return self.note_etags(etag).await,
            ProbeRead::Absent => "was taken, or refused as taken, and is not there",
            ProbeRead::Other => "holds other bytes than were put",
        };
        let key = self.full_key(&ObjectKey::probe());
        let message = format!("{}: the probe {key} {how}; this store cannot be trusted", self.place);
        Err(StoreError::of_store(FailureKind::Rejected, message))
    }

    async fn read_probe(&self) -> Result<ProbeRead, StoreError> {
        let Some(body) = self.get(&ObjectKey::probe()).await? else { return Ok(ProbeRead::Absent) };
        // An endless answer is another object too: no more than one byte beyond the probe is waited for.
        let (mut bytes, mut chunks) = (Vec::new(), body.bytes);
        while bytes.len() <= PROBE.len()
            && let Some(chunk) = chunks.try_next().await?
        {
            bytes.extend_from_slice(&chunk);
        }
        Ok(if bytes == PROBE { ProbeRead::Whole(body.meta.md5) } else { ProbeRead::Other })
    }

    /// Takes note of whether the ETags of this store are MD5s, as the probe's shows.
    async fn note_etags(&self, etag: Option<Md5>) -> Result<(), StoreError> {
        let md5 = Md5::from(<[u8; 16]>::from(md5::Md5::digest(PROBE)));
        let is_md5 = |etag: Option<Md5>| etag.map(|etag| etag == md5);
        let mut seen = is_md5(etag);
        if seen == Some(false) {
            // One answer is a claim.
            let again = self.look(&ObjectKey::probe()).await?;
            seen = is_md5(again.and_then(|meta| meta.md5));
        }
        if seen == Some(false) {
            tracing::warn!(
                store.place = %self.place,
                "the ETags of this store are no MD5s: they are compared with nothing, and readback = \"metadata\" compares sizes alone"
            );
        }
        *self.md5_etags.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(())
    }
}

fn probe() -> Content {
    Content::Bytes(Bytes::from_static(PROBE))
}
