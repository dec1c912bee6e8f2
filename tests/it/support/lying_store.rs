//! A store in front of a store, that answers wrongly when told to.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use connvault::domain::digest::Md5;
use connvault::domain::failure::{FailureKind, Scope};
use connvault::domain::lock::Lock;
use connvault::domain::object_key::{KeyPrefix, ObjectKey};
use connvault::ports::object_store::{
    Content, CreateOnly, ObjectBody, ObjectMeta, ObjectStore, PutOutcome, StoreError,
};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use md5::Digest;

/// A wrong answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// A read arrives with one bit flipped, another one each time.
    Flip,
    /// A read arrives with its first bit flipped.
    FlipFirst,
    /// An object that is there is "not there".
    Absent,
    /// A list leaves the keys out.
    Unlisted,
    /// A put is done, and its answer never arrives.
    PutAnswerLost,
    /// The ETag is the MD5 of the bytes.
    Md5Etag,
    /// The ETag has the form of an MD5 and is none.
    OtherEtag,
    /// The size is another one.
    Size,
}

#[derive(Debug)]
struct Told {
    lie: Lie,
    /// In the keys that it is about.
    part: &'static str,
    times: usize,
}

/// The wrapper; clones share what they were told.
#[derive(Clone)]
pub struct LyingStore {
    inner: Arc<dyn ObjectStore>,
    told: Arc<Mutex<Vec<Told>>>,
    puts: Arc<Mutex<Vec<String>>>,
    /// What is said of ETags.
    pub has_md5_etags: Option<bool>,
}

impl LyingStore {
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, told: Arc::default(), puts: Arc::default(), has_md5_etags: None }
    }

    /// Tells `lie` of keys with `part` in them, the next so many times.
    pub fn tell(&self, lie: Lie, part: &'static str, times: usize) {
        self.told.lock().unwrap().push(Told { lie, part, times });
    }

    /// The keys with `part` in them that were put, in order.
    pub fn puts(&self, part: &str) -> Vec<String> {
        self.puts.lock().unwrap().iter().filter(|key| key.contains(part)).cloned().collect()
    }

    /// How many of a lie are left to be told.
    pub fn left(&self, lie: Lie) -> usize {
        self.told.lock().unwrap().iter().filter(|told| told.lie == lie).map(|told| told.times).sum()
    }

    /// Whether `lie` is told of `key` now, and which time from the last it is.
    fn lies(&self, lie: Lie, key: &ObjectKey) -> Option<usize> {
        let mut all = self.told.lock().unwrap();
        let told = all.iter_mut().find(|t| t.lie == lie && t.times > 0 && key.as_str().contains(t.part))?;
        told.times -= 1;
        Some(told.times)
    }

    /// What is said of an object whose bytes have this MD5.
    fn bent(&self, key: &ObjectKey, mut meta: ObjectMeta, md5: Md5) -> ObjectMeta {
        if self.lies(Lie::Md5Etag, key).is_some() {
            meta.md5 = Some(md5);
        }
        if self.lies(Lie::OtherEtag, key).is_some() {
            meta.md5 = Some(md5_of(md5.as_bytes()));
        }
        if self.lies(Lie::Size, key).is_some() {
            meta.bytes += 1;
        }
        meta
    }

    async fn whole(&self, key: &ObjectKey) -> Result<Option<(ObjectMeta, Vec<u8>)>, StoreError> {
        if self.lies(Lie::Absent, key).is_some() {
            return Ok(None);
        }
        let Some(body) = self.inner.get(key).await? else { return Ok(None) };
        let chunks: Vec<Bytes> = body.bytes.try_collect().await?;
        Ok(Some((body.meta, chunks.concat())))
    }
}

fn md5_of(bytes: &[u8]) -> Md5 {
    Md5::from(<[u8; 16]>::from(md5::Md5::digest(bytes)))
}

#[async_trait]
impl ObjectStore for LyingStore {
    async fn prove(&self) -> Result<CreateOnly, StoreError> {
        self.inner.prove().await
    }

    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        content: &Content,
        lock: &Lock,
    ) -> Result<PutOutcome, StoreError> {
        let outcome = self.inner.put_if_absent(key, content, lock).await?;
        if matches!(outcome, PutOutcome::Created { .. }) {
            self.puts.lock().unwrap().push(key.to_string());
        }
        if self.lies(Lie::PutAnswerLost, key).is_some() {
            let mut error = StoreError::of_store(FailureKind::Transient, "injected: no answer");
            error.0.scope = Scope::Window;
            return Err(error);
        }
        Ok(outcome)
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        Ok(self.whole(key).await?.map(|(meta, bytes)| self.bent(key, meta, md5_of(&bytes))))
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<ObjectBody>, StoreError> {
        let Some((meta, mut bytes)) = self.whole(key).await? else { return Ok(None) };
        let meta = self.bent(key, meta, md5_of(&bytes));
        if let Some(left) = self.lies(Lie::Flip, key) {
            let at = left % bytes.len();
            bytes[at] ^= 1;
        }
        if self.lies(Lie::FlipFirst, key).is_some() {
            bytes[0] ^= 1;
        }
        let bytes = stream::once(async { Ok(Bytes::from(bytes)) }).boxed();
        Ok(Some(ObjectBody { meta, bytes }))
    }

    fn list(
        &self,
        prefix: &KeyPrefix,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectKey, StoreError>> {
        let keys = self.inner.list(prefix, after);
        let is_shown = |key: &ObjectKey| self.lies(Lie::Unlisted, key).is_none();
        keys.try_filter(move |key| std::future::ready(is_shown(key))).boxed()
    }

    fn has_md5_etags(&self) -> Option<bool> {
        self.has_md5_etags
    }
}
