//! How a store refuses to overwrite, found out with real puts.
//!
//! Stores that do not know a condition ignore it and say 200, so only a refusal proves anything: the probe is put
//! twice under the same condition, and the second put has to be refused. The first may be refused already, when the
//! probe stands there from an earlier start; then that is the proof, and it costs one refused put. The probe is
//! read back last, so that a store that refuses everything proves nothing. It has no lock: it stays for good anyway,
//! and one under a lock could not be put again. One that was moved to an archive class cannot be read at once: that the store
//! says so is proof that it is there.
//!
//! A store may answer a put under a condition with an error of its own, each time (500, 304), and work otherwise. `auto` then
//! goes on to the next way, and says so. It does not where the store is in trouble altogether, nor on the word of one try.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use md5::Digest;

use super::errors::Trouble;
use super::{CreateOnlySetting, S3Store};
use crate::domain::digest::Md5;
use crate::domain::failure::{FailureKind, Scope};
use crate::domain::lock::Lock;
use crate::domain::message::Message;
use crate::domain::object_key::ObjectKey;
use crate::domain::text::Line;
use crate::ports::object_store::{Content, CreateOnly, StoreError};

/// What the probe holds.
const PROBE: &[u8] = b"connvault puts this object to find out whether this store refuses to overwrite.\n";

/// The pauses before the probe is read again.
const PROBE_PAUSES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1500)];

/// The pause before a way that failed is tried once more.
const BEFORE_A_SECOND_TRY: Duration = Duration::from_secs(1);

/// One answer of the store for the probe.
enum ProbeRead {
    /// The bytes that were put, with the ETag of the answer.
    Whole(Option<Md5>),
    /// Other bytes, or fewer.
    Other,
    /// It is there, in a storage class that cannot be read at once; with the ETag of another answer.
    Archived(Option<Md5>),
    /// No such object.
    Absent,
}

/// What a store does with a put to a taken key, under a condition.
enum Manner {
    /// It refuses, as it should.
    Refuses,
    /// It refuses with an answer that is none to a put (304), and the object was seen as it was.
    RefusesOddly(Line),
    /// It overwrites.
    Ignores,
    /// It does not know the condition, and says so.
    Unsupported(Trouble),
    /// It fails at it, and not at other questions.
    Fails(Trouble),
}

/// The condition of a way, as it stands in a request.
fn header_of(mode: CreateOnly) -> &'static str {
    match mode {
        CreateOnly::ObsForbidOverwrite => "x-obs-forbid-overwrite: true",
        _ => "If-None-Match: *",
    }
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
        let (mut passed_over, mut odd) = (Vec::new(), None);
        for mode in [CreateOnly::IfNoneMatch, CreateOnly::ObsForbidOverwrite] {
            match self.manner(mode).await? {
                Manner::Refuses => {
                    self.read_probe_back().await?;
                    self.note_passed_over(passed_over);
                    return Ok(mode);
                }
                Manner::Ignores | Manner::Unsupported(_) => {}
                Manner::RefusesOddly(how) => {
                    passed_over.push(format!("{}: {how}", header_of(mode)).into());
                    odd = odd.or(Some(mode));
                }
                Manner::Fails(trouble) => {
                    let why = self.place.error("put the probe object", trouble).0.message;
                    passed_over.push(format!("{}: {}", header_of(mode), why.cause()).into());
                }
            }
        }
        // A way that refuses, however oddly, is worth more than a look before each put.
        let found = match odd {
            Some(mode) => self.read_probe_back().await.map(|()| mode)?,
            None => self.look_then_put_probe().await?,
        };
        self.note_passed_over(passed_over);
        Ok(found)
    }

    /// Says which ways the store failed at, and keeps it for `check`.
    fn note_passed_over(&self, ways: Vec<Line>) {
        for why in &ways {
            tracing::warn!(
                store.place = %self.place,
                error = %why,
                "this store fails at a way of refusing to overwrite, again and again: the next one is tried"
            );
        }
        *self.passed_over.lock() = ways;
    }

    async fn insist_on(&self, mode: CreateOnly) -> Result<CreateOnly, StoreError> {
        let header = header_of(mode);
        let word =
            if mode == CreateOnly::ObsForbidOverwrite { "obs-forbid-overwrite" } else { "if-none-match" };
        let how = match self.manner(mode).await? {
            Manner::Refuses | Manner::RefusesOddly(_) => {
                self.read_probe_back().await?;
                return Ok(mode);
            }
            Manner::Ignores => "it took the same key twice".to_owned(),
            Manner::Unsupported(trouble) => {
                self.place.error("put the probe object", trouble).0.message.cause().to_string()
            }
            Manner::Fails(trouble) => {
                let mut error = self.place.error("put the probe object", trouble);
                let advice = format!("where this goes on, set create_only = \"auto\" instead of \"{word}\"");
                error.0.message = error.0.message.advise(advice);
                return Err(error);
            }
        };
        let message = Message::new(format!("{} does not honour `{header}`: {how}", self.place))
            .advise(format!("set create_only = \"auto\" instead of \"{word}\", or use a store that does"));
        Err(StoreError::of_store(FailureKind::Rejected, message))
    }

    /// What the store does with puts of the probe under `mode`. One failure is a claim: it is asked once more.
    async fn manner(&self, mode: CreateOnly) -> Result<Manner, StoreError> {
        let trouble = match self.put_twice(mode).await? {
            Manner::Fails(trouble) => trouble,
            manner => return Ok(manner),
        };
        // What fails at everything says nothing of one way.
        if self.stands(&ObjectKey::probe()).await.is_err() {
            return Err(self.place.error("put the probe object", trouble));
        }
        tokio::time::sleep(BEFORE_A_SECOND_TRY).await;
        self.put_twice(mode).await
    }

    async fn put_twice(&self, mode: CreateOnly) -> Result<Manner, StoreError> {
        let (key, content) = (ObjectKey::probe(), probe());
        for _ in 0..2 {
            let trouble = match self.send_put(&key, &content, mode, &Lock::NONE).await? {
                Ok(_) => continue,
                Err(trouble) => trouble,
            };
            let odd = (trouble.status() == Some(304))
                .then(|| "the store refuses with HTTP 304, which is no answer to a put".into());
            match self.read_refusal(&key, mode, trouble).await? {
                Ok(_) => return Ok(odd.map_or(Manner::Refuses, Manner::RefusesOddly)),
                Err(trouble) if trouble.says_unsupported() => return Ok(Manner::Unsupported(trouble)),
                Err(trouble) if trouble.says_failed() => return Ok(Manner::Fails(trouble)),
                Err(trouble) => return Err(self.place.error("put the probe object", trouble)),
            }
        }
        Ok(Manner::Ignores)
    }

    /// The way for stores that refuse nothing: the probe is put if it is not there, and read back.
    async fn look_then_put_probe(&self) -> Result<CreateOnly, StoreError> {
        if !self.stands(&ObjectKey::probe()).await? {
            self.put(&ObjectKey::probe(), &probe(), CreateOnly::HeadThenPut, &Lock::NONE).await?;
        }
        self.read_probe_back().await?;
        Ok(CreateOnly::HeadThenPut)
    }

    /// Reads the probe back. One answer is a claim: an answer that is wrong, or comes too early, is asked for again.
    async fn read_probe_back(&self) -> Result<(), StoreError> {
        for pause in PROBE_PAUSES {
            if let Ok(ProbeRead::Whole(etag) | ProbeRead::Archived(etag)) = self.read_probe().await {
                return self.note_etags(etag).await;
            }
            tokio::time::sleep(pause).await;
        }
        let how = match self.read_probe().await? {
            ProbeRead::Whole(etag) | ProbeRead::Archived(etag) => return self.note_etags(etag).await,
            ProbeRead::Absent => "was taken, or refused as taken, and is not there",
            ProbeRead::Other => "holds other bytes than were put",
        };
        let key = self.full_key(&ObjectKey::probe());
        let message = format!("{}: the probe {key} {how}; this store cannot be trusted", self.place);
        Err(StoreError::of_store(FailureKind::Rejected, message))
    }

    async fn read_probe(&self) -> Result<ProbeRead, StoreError> {
        let body = match self.open(&ObjectKey::probe()).await {
            Ok(Some(body)) => body,
            Ok(None) => return Ok(ProbeRead::Absent),
            Err(trouble) if trouble.says_archived() => {
                let etag = self.head_of_probe().await?;
                return Ok(etag.map_or(ProbeRead::Absent, ProbeRead::Archived));
            }
            Err(trouble) => return Err(self.place.error("get the probe object", trouble)),
        };
        // An endless answer is another object too: no more than one byte beyond the probe is waited for.
        let (mut bytes, mut chunks) = (Vec::new(), body.bytes);
        while bytes.len() <= PROBE.len()
            && let Some(chunk) = chunks.try_next().await?
        {
            bytes.extend_from_slice(&chunk);
        }
        Ok(if bytes == PROBE { ProbeRead::Whole(body.meta.md5) } else { ProbeRead::Other })
    }

    /// The ETag of the probe, where it is there, by a HEAD.
    async fn head_of_probe(&self) -> Result<Option<Option<Md5>>, StoreError> {
        let head = self.ask_head(&ObjectKey::probe()).await?;
        Ok(head.map(|head| super::md5(head.e_tag(), head.server_side_encryption())))
    }

    /// Takes note of whether the ETags of this store are MD5s, as the probe's shows.
    async fn note_etags(&self, etag: Option<Md5>) -> Result<(), StoreError> {
        let md5 = Md5::from(<[u8; 16]>::from(md5::Md5::digest(PROBE)));
        let is_md5 = |etag: Option<Md5>| etag.map(|etag| etag == md5);
        let mut seen = is_md5(etag);
        if seen == Some(false) {
            // One answer is a claim.
            seen = is_md5(self.head_of_probe().await?.flatten());
        }
        if seen == Some(false) {
            tracing::warn!(
                store.place = %self.place,
                "the ETags of this store are no MD5s: they are compared with nothing, and readback = \"metadata\" compares sizes alone"
            );
        }
        *self.md5_etags.lock() = seen;
        Ok(())
    }
}

fn probe() -> Content {
    Content::Bytes(Bytes::from_static(PROBE))
}
