//! Proving stores: no stream is worked on before its store has shown how it refuses to overwrite.
//!
//! Level, not edge: a store that has shown nothing yet is asked whenever nothing holds it up, beside all other work. What
//! fails is a hold on that store, like any other. One that has not answered for a while is listed as such a hold, whose pause is
//! over: it is being tried. A store that was proven stays so for the run: a directory whose disk is
//! gone would be made anew by another proof, and be taken for the archive.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::clock_watch::Standing;
use super::compose::OpenStore;
use super::failure_policy::hold_on;
use super::services::Services;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::message::Message;
use crate::domain::name::StoreName;
use crate::domain::snapshot::{Hold, Resource};
use crate::domain::verdict::StreamRules;
use crate::ports::ledger::Ledger;
use crate::ports::object_store::{CreateOnly, LONGEST_SILENCE, ObjectStore, StoreError};

/// A store that takes longer is held up. Its answer counts all the same when the store is asked the next time.
const LONGEST_PROOF: Duration = Duration::from_secs(2 * LONGEST_SILENCE.as_secs());
/// A store that takes longer is named, and still asked.
const NAMED_AFTER: Duration = Duration::from_secs(10);

type GoingOn = JoinHandle<Result<CreateOnly, StoreError>>;

/// Which stores have shown in this run how they refuse to overwrite.
pub struct Proofs {
    stores: BTreeMap<StoreName, Arc<dyn ObjectStore>>,
    proven: Mutex<BTreeSet<StoreName>>,
    /// Proofs that nobody waits for any more. A file system that hangs keeps its thread, and no second one is spent on it.
    going_on: Mutex<BTreeMap<StoreName, GoingOn>>,
}

impl Proofs {
    /// None of `stores` has shown anything yet.
    pub fn of(stores: &BTreeMap<StoreName, OpenStore>) -> Self {
        let stores = stores.iter().map(|(name, open)| (name.clone(), Arc::clone(&open.store))).collect();
        Self { stores, proven: Mutex::default(), going_on: Mutex::default() }
    }

    /// Whether the store has shown how it refuses to overwrite.
    pub fn is_proven(&self, store: &StoreName) -> bool {
        self.proven.lock().contains(store)
    }

    async fn prove(&self, name: &StoreName) -> Result<(), Failure> {
        // The configuration is checked: every stream's store is in it.
        let Some(store) = self.stores.get(name).map(Arc::clone) else { return Ok(()) };
        let before = self.going_on.lock().remove(name);
        let mut proof = before.unwrap_or_else(|| tokio::spawn(async move { store.prove().await }));
        let outcome = tokio::time::timeout(LONGEST_PROOF, &mut proof).await;
        let create_only = match outcome {
            Ok(Ok(proven)) => proven?,
            Ok(Err(broken)) => return Err(not_proven(name, &format!("its proof broke off: {broken}"))),
            Err(_) => {
                self.going_on.lock().insert(name.clone(), proof);
                let seconds = LONGEST_PROOF.as_secs();
                return Err(not_proven(name, &format!("it has not answered the probe within {seconds} s")));
            }
        };
        say(name, create_only);
        self.proven.lock().insert(name.clone());
        Ok(())
    }
}

fn not_proven(store: &StoreName, why: &str) -> Failure {
    let message =
        format!("store {store}: {why}; see to the store and the way to it; it is tried again by itself");
    Failure::new(FailureKind::Transient, Scope::Store, message)
}

fn say(store: &StoreName, create_only: CreateOnly) {
    if create_only == CreateOnly::HeadThenPut {
        tracing::warn!(
            %store,
            "this store refuses no overwriting: connvault looks before it puts, and two daemons must not share it"
        );
    } else {
        tracing::info!(%store, ?create_only, "store proven");
    }
}

/// What came of asking a store.
#[derive(Debug)]
pub enum Proof {
    /// It may be put to.
    Given,
    /// It may not, which holds it up.
    Refused(Failure),
    /// Nobody was asked: it is proven, or not to be asked now.
    NotAsked,
}

/// Has a store prove itself, unless it has, or something holds it up. What fails holds the store up.
///
/// # Errors
/// When the ledger or this machine fails.
pub async fn prove(services: &Services, store: &StoreName) -> Result<Proof, Failure> {
    let Services { roster, ledger, clock, proofs, watch, .. } = services;
    let rules = roster.rules();
    let Some(rules) = rules.iter().find(|rules| rules.store == *store) else { return Ok(Proof::NotAsked) };
    // The plan that asks may be older than the last look.
    let snapshot = ledger.snapshot().await?;
    if proofs.is_proven(store) || rules.store_held_by(&snapshot, clock.now()).is_some() {
        return Ok(Proof::NotAsked);
    }
    let mut proof = pin!(proofs.prove(store));
    let (outcome, named) = match tokio::time::timeout(NAMED_AFTER, &mut proof).await {
        Ok(outcome) => (outcome, None),
        Err(_) => {
            let named = name_silent(services, rules, store).await?;
            (proof.await, Some(named))
        }
    };
    match outcome {
        Ok(()) => {
            if let Some(named) = named {
                named.take_back(&*services.ledger).await?;
            }
            Ok(Proof::Given)
        }
        Err(failure) if failure.scope == Scope::Daemon => Err(failure),
        // Stores refuse requests of a wrong clock. The next look holds everything up for it, and says so.
        Err(error) if matches!(watch.look().await, Standing::Wrong(_)) => {
            tracing::debug!(%store, error = %error.message, "store not proven");
            Ok(Proof::NotAsked)
        }
        Err(failure) => {
            match named {
                Some(named) => named.failed(services, rules, &failure).await?,
                None => services.hold_up(&Resource::Store(store.clone()), &failure).await?,
            }
            Ok(Proof::Refused(failure))
        }
    }
}

/// A store is listed as one that has not answered yet.
struct Named {
    resource: Resource,
    since: Timestamp,
    /// The hold that was on it before.
    before: Option<Hold>,
}

/// Lists a store as one that has not answered yet, as a hold whose pause is over: it is being tried.
async fn name_silent(services: &Services, rules: &StreamRules, store: &StoreName) -> Result<Named, Failure> {
    let (seconds, now) = (NAMED_AFTER.as_secs(), services.clock.now());
    let cause = format!("store {store}: it has not answered for {seconds} s and is still asked");
    let message = Message::new(cause).advise("see to the store and the way to it");
    let failure = Failure::new(FailureKind::Transient, Scope::Store, message);
    let resource = Resource::Store(store.clone());
    let snapshot = services.ledger.snapshot().await?;
    let hold = hold_on(rules, &resource, &failure, &snapshot, now);
    let before = snapshot.holds.get(&resource).filter(|before| before.since == hold.since).cloned();
    if before.is_none() {
        tracing::warn!(%store, "not proven yet: {}", failure.message);
    }
    let failures = before.as_ref().map_or(hold.failures, |before| before.failures);
    let hold = Hold { until: now, failures, ..hold };
    services.ledger.hold(&resource, &hold).await?;
    Ok(Named { resource, since: hold.since, before })
}

impl Named {
    /// It has answered. What held it up before does so until something has worked.
    async fn take_back(self, ledger: &dyn Ledger) -> Result<(), Failure> {
        let taken_back = match self.before {
            Some(before) => ledger.hold(&self.resource, &before).await,
            None => ledger.lift(&self.resource, Timestamp::MAX).await.map(|_| ()),
        };
        taken_back.map_err(Failure::from)
    }

    /// It has failed, which is one failure: that it was named is none.
    async fn failed(
        self,
        services: &Services,
        rules: &StreamRules,
        failure: &Failure,
    ) -> Result<(), Failure> {
        let Self { resource, since, before } = self;
        let mut snapshot = services.ledger.snapshot().await?;
        snapshot.holds.remove(&resource);
        snapshot.holds.extend(before.map(|before| (resource.clone(), before)));
        let hold = hold_on(rules, &resource, failure, &snapshot, services.clock.now());
        services.ledger.hold(&resource, &Hold { since, ..hold }).await.map_err(Failure::from)
    }
}

/// Has every store that is asked for prove itself, all at the same time.
///
/// # Errors
/// As [`prove`].
pub async fn prove_all(services: &Services, stores: impl Iterator<Item = StoreName>) -> Result<(), Failure> {
    let stores: Vec<_> = stores.collect();
    let proofs = futures_util::future::join_all(stores.iter().map(|store| prove(services, store))).await;
    proofs.into_iter().try_for_each(|proof| proof.map(|_| ()))
}
