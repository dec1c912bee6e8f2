//! A store in front of a store, that fails when told to: before a call is carried out, or after (a lost answer).

use std::collections::BTreeMap;
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

#[derive(Debug, Default)]
struct Script {
    faults: Vec<Fault>,
    calls: BTreeMap<Call, usize>,
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
        self.through(Call::Head, self.inner.head(key)).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Option<ObjectBody>, StoreError> {
        self.through(Call::Get, self.inner.get(key)).await
    }

    fn list(
        &self,
        prefix: &KeyPrefix,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectKey, StoreError>> {
        let keys = self.inner.list(prefix, after);
        match self.next(Call::List) {
            None => keys,
            Some((When::Before, error)) => stream::once(async { Err(error) }).boxed(),
            Some((When::After, error)) => keys.chain(stream::once(async { Err(error) })).boxed(),
        }
    }
}
