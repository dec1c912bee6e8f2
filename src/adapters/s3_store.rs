//! An S3-compatible bucket as an [`ObjectStore`].
//!
//! What keeps objects safe here, and why in this order:
//! 1. Nothing is put before the store has shown how it refuses to overwrite ([`prove`](ObjectStore::prove)); a put
//!    that comes earlier proves first. A way that the operator asked for by name and that the store does not honour
//!    is an error: nothing is ever weaker than configured.
//! 2. A put is one request with a condition, so the store decides, and decides at once. A file is read anew from its
//!    path on every attempt. If the answer to an attempt is lost, the next one is refused by the condition; if
//!    all are lost, a HEAD says whether the key is taken. Either way the caller hears
//!    [`PutOutcome::AlreadyExists`] and looks at what is there.
//! 3. Every put carries `Content-MD5`, the one check that every store makes; its payload is unsigned and never
//!    `aws-chunked`, because several stores, OBS among them, take no other form.
//!
//! Credentials and endpoint come from [`S3Settings`] and [`ReadKeys`] alone: neither the environment, nor profiles, nor a metadata
//! service are looked at. The proxy variables (`HTTPS_PROXY` and its kin) are obeyed, except to this machine itself.

mod client;
mod dates;
mod errors;
mod keys;
mod limit;
mod list;
mod lock;
mod outflow;
mod prove;
mod put;
mod survey;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::ServerSideEncryption;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use secrecy::SecretString;
use tokio::time::Instant;
use url::Url;

use self::dates::Dates;
use self::errors::{Place, Trouble};
pub use self::keys::{ReadKeys, StoreKeys};
pub use self::survey::{BucketSurvey, Deleting, Property, Untold};
use crate::adapters::least_rate::{LeastRate, Meter};
use crate::domain::digest::Md5;
use crate::domain::failure::Failure;
use crate::domain::lock::Lock;
use crate::domain::object_key::{KeyPrefix, ObjectKey};
use crate::domain::text::{ForeignText, Line};
use crate::ports::clock::{AnswerWatch, NoAnswerWatch};
use crate::ports::object_store::{
    Content, CreateOnly, LONGEST_SILENCE, ObjectBody, ObjectMeta, ObjectStore, PutOutcome, StoreError,
};

/// All that a bucket needs to be used.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The bucket's name.
    pub bucket: String,
    /// The region that requests are signed for.
    pub region: String,
    /// Where the store is; without it, AWS's own endpoint of the region.
    pub endpoint: Option<Url>,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`.
    pub path_style: bool,
    /// What all keys are put below, without slashes at its ends.
    pub prefix: Option<String>,
    /// Whose requests they are.
    pub access_key: SecretString,
    /// What they are signed with.
    pub secret_key: SecretString,
    /// Goes with temporary keys.
    pub security_token: Option<SecretString>,
    /// Certificates, in PEM, that are trusted instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// How the store is to refuse to overwrite.
    pub create_only: CreateOnlySetting,
    /// The storage class of every object, as the store spells it; without it, the bucket's default.
    pub storage_class: Option<String>,
    /// Encryption at rest; without it, the bucket's default.
    pub sse: Option<Sse>,
    /// Tags of every object.
    pub tags: BTreeMap<String, String>,
    /// How long to wait.
    pub timeouts: Timeouts,
}

/// How the store is to refuse to overwrite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CreateOnlySetting {
    /// Found out: `If-None-Match`, else `x-obs-forbid-overwrite`, else looking first.
    #[default]
    Auto,
    /// `If-None-Match: *`, or an error.
    IfNoneMatch,
    /// `x-obs-forbid-overwrite: true`, or an error.
    ObsForbidOverwrite,
    /// Looking first, then putting: the store need not refuse anything.
    Head,
}

/// Encryption at rest, done by the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sse {
    /// With keys of the store.
    Aes256,
    /// With a key of its key service.
    Kms {
        /// Which key; without it, the account's default.
        key_id: Option<String>,
    },
}

/// How long to wait for a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// While a body in either direction does not move at all.
    pub stall: Duration,
    /// For one attempt at one request, until the answer's head is there; what a put sends comes on top.
    pub attempt: Duration,
    /// The least that an object's bytes must bring in either direction. A put as a whole may take `attempt` + size / this.
    pub least_rate: LeastRate,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            attempt: LONGEST_SILENCE,
            least_rate: LeastRate::default(),
        }
    }
}

/// A bucket.
#[derive(Debug)]
pub struct S3Store {
    client: Client,
    settings: S3Settings,
    place: Place,
    /// The store's prefix with its slash, or nothing.
    prefix: String,
    /// Hands on the `Date` of answers.
    dates: Dates,
    /// How the store refuses to overwrite, once it has shown it.
    proven: tokio::sync::Mutex<Option<CreateOnly>>,
    /// Whether the store's ETags are MD5s, once the probe has shown it.
    md5_etags: parking_lot::Mutex<Option<bool>>,
    /// The ways that the store failed at when it was last proven.
    passed_over: parking_lot::Mutex<Vec<Line>>,
}

impl S3Store {
    /// A store that was not asked anything yet.
    ///
    /// # Errors
    /// When the CA certificates cannot be read.
    pub fn new(settings: S3Settings) -> Result<Self, StoreError> {
        let keys = StoreKeys {
            access_key: settings.access_key.clone(),
            secret_key: settings.secret_key.clone(),
            security_token: settings.security_token.clone(),
        };
        Self::with_keys(settings, Arc::new(move || Ok(keys.clone())))
    }

    /// As [`Self::new`], with keys that are read for each request instead of those in `settings`.
    ///
    /// # Errors
    /// When the CA certificates cannot be read.
    pub fn with_keys(settings: S3Settings, keys: Arc<dyn ReadKeys>) -> Result<Self, StoreError> {
        Self::watched(settings, keys, Arc::new(NoAnswerWatch))
    }

    /// As [`Self::with_keys`], where `answers` is told the `Date` of each answer.
    ///
    /// # Errors
    /// When the CA certificates cannot be read.
    pub fn watched(
        settings: S3Settings,
        keys: Arc<dyn ReadKeys>,
        answers: Arc<dyn AnswerWatch>,
    ) -> Result<Self, StoreError> {
        let place = Place::of(&settings);
        let client = client::build(&settings, keys, &place)?;
        let dates = Dates::of(&settings, answers);
        let prefix = settings.prefix.as_deref().unwrap_or_default().trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let (proven, md5_etags, passed_over) = Default::default();
        Ok(Self { client, settings, place, prefix, dates, proven, md5_etags, passed_over })
    }

    /// `key` as the bucket knows it.
    fn full_key(&self, key: &ObjectKey) -> String {
        format!("{}{}", self.prefix, key.as_str())
    }

    /// How to put: as proven, or proven now. Whoever comes while another proves waits for its answer.
    async fn create_only(&self) -> Result<CreateOnly, StoreError> {
        let mut proven = self.proven.lock().await;
        match *proven {
            Some(mode) => Ok(mode),
            None => Ok(*proven.insert(self.find_create_only().await?)),
        }
    }

    /// What stands under `key`, on the word of one HEAD, whose 404 can also mean that the bucket is gone.
    async fn look(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        match self.ask_head(key).await? {
            None => Ok(None),
            Some(head) => Ok(Some(ObjectMeta {
                bytes: match head.content_length() {
                    None => self.listed_size(key).await?,
                    length => size(length),
                },
                md5: md5(head.e_tag(), head.server_side_encryption()),
                version_id: head.version_id().map(ForeignText::new),
                lock: Some(lock::said(
                    head.version_id(),
                    head.object_lock_mode(),
                    head.object_lock_retain_until_date(),
                    head.object_lock_legal_hold_status(),
                )),
            })),
        }
    }

    /// Whether something stands under `key`, on the word of one HEAD, whatever else that says or leaves out.
    async fn stands(&self, key: &ObjectKey) -> Result<bool, StoreError> {
        Ok(self.ask_head(key).await?.is_some())
    }

    async fn ask_head(&self, key: &ObjectKey) -> Result<Option<HeadObjectOutput>, StoreError> {
        let request = self.client.head_object().bucket(&self.settings.bucket).key(self.full_key(key));
        match request.customize().interceptor(self.dates.clone()).send().await.map_err(Trouble::of) {
            Ok(head) => Ok(Some(head)),
            Err(trouble) if trouble.status() == Some(404) => Ok(None),
            Err(trouble) => Err(self.place.error(&format!("look at {key}"), trouble)),
        }
    }

    /// As [`ObjectStore::get`], leaving it to the caller to say what the store's trouble means.
    async fn open(&self, key: &ObjectKey) -> Result<Option<ObjectBody>, Trouble> {
        let request = self.client.get_object().bucket(&self.settings.bucket).key(self.full_key(key));
        let request = request.customize().interceptor(self.dates.clone());
        let answer = match request.send().await.map_err(Trouble::of) {
            Ok(answer) => answer,
            Err(trouble) if trouble.says_no_such_key() => return Ok(None),
            Err(trouble) => return Err(trouble),
        };
        let meta = ObjectMeta {
            bytes: size(answer.content_length()),
            md5: md5(answer.e_tag(), answer.server_side_encryption()),
            version_id: answer.version_id().map(ForeignText::new),
            lock: Some(lock::said(
                answer.version_id(),
                answer.object_lock_mode(),
                answer.object_lock_retain_until_date(),
                answer.object_lock_legal_hold_status(),
            )),
        };
        let meter = Meter::new(self.settings.timeouts.least_rate);
        let coming = (Some(answer.body), meter, self.place.clone(), format!("get {key}"));
        let bytes = stream::unfold(coming, |(body, mut meter, place, doing)| async move {
            // What broke off once, or was given up, is over.
            let mut body = body?;
            let size = |piece: &Option<Result<Bytes, _>>| match piece {
                Some(Ok(bytes)) => bytes.len() as u64,
                _ => 0,
            };
            let piece = match meter.next(body.next(), size).await {
                Ok(piece) => piece?.map_err(|error| place.broken_off(&doing, &error)),
                Err(slow) => Err(place.broken_off(&doing, &slow)),
            };
            let piece = piece.map_err(|StoreError(failure)| StoreError(failure.after(meter.waited_in_all())));
            let rest = piece.is_ok().then_some(body);
            Some((piece, (rest, meter, place, doing)))
        });
        Ok(Some(ObjectBody { meta, bytes: bytes.boxed() }))
    }

    /// Fails if the bucket is gone. Without leave to ask, it counts as there: the put that follows will tell.
    async fn bucket_is_there(&self) -> Result<(), StoreError> {
        match self.client.head_bucket().bucket(&self.settings.bucket).send().await.map_err(Trouble::of) {
            Err(trouble) if trouble.status() == Some(404) => Err(self.place.no_such_bucket()),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn prove(&self) -> Result<CreateOnly, StoreError> {
        let mut proven = self.proven.lock().await;
        *proven = None;
        Ok(*proven.insert(self.find_create_only().await?))
    }

    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        content: &Content,
        lock: &Lock,
    ) -> Result<PutOutcome, StoreError> {
        let mode = self.create_only().await?;
        if mode == CreateOnly::HeadThenPut && self.is_taken(key).await? {
            return Ok(PutOutcome::AlreadyExists);
        }
        let began = Instant::now();
        let outcome = self.put(key, content, mode, lock).await;
        outcome.map_err(|StoreError(failure)| StoreError(failure.after(began.elapsed())))
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        let found = self.look(key).await?;
        if found.is_none() {
            self.bucket_is_there().await?;
        }
        Ok(found)
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<ObjectBody>, StoreError> {
        self.open(key).await.map_err(|trouble| self.place.error(&format!("get {key}"), trouble))
    }

    async fn tell_time(&self) -> Option<Failure> {
        // Whatever the store says of that key, its answer is dated.
        self.stands(&ObjectKey::probe()).await.err().map(|error| error.0)
    }

    fn list(
        &self,
        prefix: &KeyPrefix,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectKey, StoreError>> {
        self.list_keys(prefix, after)
    }

    fn passed_over(&self) -> Vec<Line> {
        self.passed_over.lock().clone()
    }

    fn has_md5_etags(&self) -> Option<bool> {
        *self.md5_etags.lock()
    }
}

/// A length as the SDK gives it; no store sends a negative one.
fn size(length: Option<i64>) -> u64 {
    length.and_then(|length| u64::try_from(length).ok()).unwrap_or_default()
}

/// The ETag as the MD5 that it may be: of an object put in one piece and not encrypted under a KMS key.
fn md5(etag: Option<&str>, sse: Option<&ServerSideEncryption>) -> Option<Md5> {
    if sse.is_some_and(|sse| *sse != ServerSideEncryption::Aes256) {
        return None;
    }
    let mut bytes = [0; 16];
    hex::decode_to_slice(etag?.trim_matches('"'), &mut bytes).ok()?;
    Some(Md5::from(bytes))
}
