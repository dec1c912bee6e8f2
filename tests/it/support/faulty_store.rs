//! A store in front of a store, that fails when told to: before a call is carried out, or after (a lost answer). It also gives
//! wrong answers when told to: changed or cut bytes, lists that are old, objects that are shown late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use connvault::domain::failure::{Failure, FailureKind, Scope};
use connvault::domain::lock::Lock;
use connvault::domain::object_key::{KeyPrefix, ObjectKey};
use connvault::ports::object_store::{
    Content, CreateOnly, ObjectBody, ObjectMeta, ObjectStore, PutOutcome, StoreError,
};
use futures_util::stream::{self, BoxStream, StreamExt};

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Prove,
    Put,
    Head,
    Get,
    List,
}

/// When a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Nothing was done.
    Before,
    /// It was done, and nobody heard of it.
    After,
}

#[derive(Debug, Clone)]
struct Fault {
    call: Call,
    /// The n-th such call from now on, from 1; 0 once it has come.
    countdown: usize,
    /// How many calls fail from there on.
    times: usize,
    when: When,
    failure: Failure,
}

/// Reads of keys that contain `of` are wrong, one in `every`.
#[derive(Debug, Clone)]
struct WrongReads {
    of: String,
    every: usize,
    /// How many more are wrong.
    times: usize,
    reads: usize,
}

/// Reads of keys that contain `of` find nothing, so often.
#[derive(Debug, Clone)]
struct Hidden {
    of: String,
    times: usize,
}

#[derive(Debug, Default)]
struct Script {
    faults: Vec<Fault>,
    calls: BTreeMap<Call, usize>,
    wrong: Vec<WrongReads>,
    hidden: Vec<Hidden>,
    /// Of the keys that begin so, lists show no others than these.
    listed: Option<(String, BTreeSet<ObjectKey>)>,
    /// Lists show no keys that contain one of these.
    left_out: Vec<String>,
    /// Wrong answers that were given.
    lies: usize,
}

/// The wrapper; clones share one script.
#[derive(Clone)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    script: Arc<Mutex<Script>>,
}

impl FaultyStore {
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, script: Arc::default() }
    }

    /// Makes the `nth` such call from now (from 1) fail, and those after it, `times` in all, with `kind`.
    pub fn fail(&self, call: Call, nth: usize, times: usize, when: When, kind: FailureKind) {
        let failure = Failure::new(kind, Scope::Store, format!("injected: {call:?} fails {when:?}"));
        self.fail_with(call, nth, times, when, failure);
    }

    /// As [`Self::fail`], with a failure of any scope.
    pub fn fail_with(&self, call: Call, nth: usize, times: usize, when: When, failure: Failure) {
        let fault = Fault { call, countdown: nth, times, when, failure };
        self.script.lock().unwrap().faults.push(fault);
    }

    /// Makes one read in `every` or so of the keys that contain `of` wrong, `times` in all: a byte is changed, or the end is cut.
    pub fn wrong_reads(&self, of: &str, every: usize, times: usize) {
        let wrong = WrongReads { of: of.to_owned(), every, times, reads: 0 };
        self.script.lock().unwrap().wrong.push(wrong);
    }

    /// Lets the next `times` reads (GET or HEAD) of the keys that contain `of` find nothing.
    pub fn hide(&self, of: &str, times: usize) {
        self.script.lock().unwrap().hidden.push(Hidden { of: of.to_owned(), times });
    }

    /// From now on lists show no more than the keys below `prefix` that are there now.
    pub async fn freeze_lists(&self, prefix: &KeyPrefix) {
        use futures_util::TryStreamExt;
        let keys: BTreeSet<_> = self.inner.list(prefix, None).try_collect().await.unwrap();
        self.script.lock().unwrap().listed = Some((prefix.as_str().to_owned(), keys));
    }

    /// From now on lists leave out the keys that contain `of`.
    pub fn leave_out_of_lists(&self, of: &str) {
        self.script.lock().unwrap().left_out.push(of.to_owned());
    }

    /// How many wrong answers were given.
    pub fn lies(&self) -> usize {
        self.script.lock().unwrap().lies
    }

    /// Whether `key` is not shown this time.
    fn is_hidden(&self, key: &ObjectKey) -> bool {
        let mut script = self.script.lock().unwrap();
        let hit =
            script.hidden.iter_mut().find(|hidden| hidden.times > 0 && key.as_str().contains(&hidden.of));
        let Some(hidden) = hit else { return false };
        hidden.times -= 1;
        script.lies += 1;
        true
    }

    /// Which number a wrong read of `key` has, if this one is to be wrong.
    fn is_wrong(&self, key: &ObjectKey) -> Option<usize> {
        let mut script = self.script.lock().unwrap();
        let mut hit = false;
        for wrong in script.wrong.iter_mut().filter(|wrong| key.as_str().contains(&wrong.of)) {
            wrong.reads += 1;
            if wrong.times > 0 && is_drawn(wrong.reads, wrong.every) {
                wrong.times -= 1;
                hit = true;
            }
        }
        script.lies += usize::from(hit);
        hit.then_some(script.lies)
    }

    /// How often `call` was made.
    pub fn calls(&self, call: Call) -> usize {
        self.script.lock().unwrap().calls.get(&call).copied().unwrap_or_default()
    }

    /// Counts a call, and says how it fails, if it does.
    fn next(&self, call: Call) -> Option<(When, StoreError)> {
        let mut script = self.script.lock().unwrap();
        *script.calls.entry(call).or_default() += 1;
        let mut hit = None;
        for fault in script.faults.iter_mut().filter(|fault| fault.call == call && fault.times > 0) {
            fault.countdown = fault.countdown.saturating_sub(1);
            if fault.countdown == 0 && hit.is_none() {
                fault.times -= 1;
                hit = Some((fault.when, StoreError(fault.failure.clone())));
            }
        }
        hit
    }

    async fn through<T>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match self.next(call) {
            None => work.await,
            Some((When::Before, error)) => Err(error),
            Some((When::After, error)) => work.await.and(Err(error)),
        }
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn prove(&self) -> Result<CreateOnly, StoreError> {
        self.through(Call::Prove, self.inner.prove()).await
    }

    async fn put_if_absent(
        &self,
        key: &ObjectKey,
        content: &Content,
        lock: &Lock,
    ) -> Result<PutOutcome, StoreError> {
        self.through(Call::Put, self.inner.put_if_absent(key, content, lock)).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        let meta = self.through(Call::Head, self.inner.head(key)).await?;
        Ok(meta.filter(|_| !self.is_hidden(key)))
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<ObjectBody>, StoreError> {
        let body = self.through(Call::Get, self.inner.get(key)).await?;
        let Some(body) = body.filter(|_| !self.is_hidden(key)) else { return Ok(None) };
        match self.is_wrong(key) {
            None => Ok(Some(body)),
            Some(number) => changed(body, number).await.map(Some),
        }
    }

    fn list(
        &self,
        prefix: &KeyPrefix,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectKey, StoreError>> {
        let (listed, left_out) = {
            let script = self.script.lock().unwrap();
            (script.listed.clone(), script.left_out.clone())
        };
        let shown = move |key: &ObjectKey| {
            listed.as_ref().is_none_or(|(of, keys)| keys.contains(key) || !key.as_str().starts_with(of))
                && !left_out.iter().any(|of| key.as_str().contains(of))
        };
        let keys = self.inner.list(prefix, after);
        let keys = keys.filter(move |key| std::future::ready(key.as_ref().map_or(true, &shown))).boxed();
        match self.next(Call::List) {
            None => keys,
            Some((When::Before, error)) => stream::once(async { Err(error) }).boxed(),
            Some((When::After, error)) => keys.chain(stream::once(async { Err(error) })).boxed(),
        }
    }
}

/// Whether the `number`th of many is one of those that are drawn, one in `every`: without a rhythm that readers could fall into.
fn is_drawn(number: usize, every: usize) -> bool {
    ((number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33).is_multiple_of(every as u64)
}

/// The body, with a byte changed or its end cut off, each time elsewhere.
async fn changed(body: ObjectBody, number: usize) -> Result<ObjectBody, StoreError> {
    let chunks: Vec<_> = body.bytes.collect().await;
    let chunks: Vec<_> = chunks.into_iter().collect::<Result<_, _>>()?;
    let mut bytes = chunks.concat();
    if number.is_multiple_of(3) {
        bytes.truncate(bytes.len() * 2 / 3 + number % 7);
    } else if !bytes.is_empty() {
        let at = number * 7919 % bytes.len();
        bytes[at] ^= 1;
    }
    Ok(ObjectBody { meta: body.meta, bytes: stream::once(async { Ok(bytes::Bytes::from(bytes)) }).boxed() })
}
