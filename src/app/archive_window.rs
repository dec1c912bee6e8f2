//! The way of one window: lease → export into the spool → inspect → data object → log entry → ledger → spool cleared.
//!
//! Why the order is safe. Each step leaves something that the next run finds and goes on from: facts in the spool (no
//! second download), an object under the window's key (adopted), an entry in the log (the window is archived). The
//! entry is written only after the object was read back, so an entry never promises more than the store holds; and
//! the spool is cleared only after the entry, so nothing is thrown away that has not been committed. A crash between
//! any two steps, or right after the last, repeats at most work, never an effect.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::adapters::spool::{SpoolError, SpooledExport};
use crate::domain::content::{Content, Marks};
use crate::domain::count::CountVerdict;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::log_entry::{Archived, EntryBody, ExportFacts, Supersedes};
use crate::domain::message::Message;
use crate::domain::object_key::Seq;
use crate::domain::planner::Task;
use crate::domain::snapshot::WindowState;
use crate::domain::verdict::DueReason;
use crate::domain::window::Window;
use crate::ports::checkpoint::Step;
use crate::ports::ledger::{AttemptOutcome, Lease, LeaseOutcome, Purpose};

use super::acknowledge::acknowledge;
use super::attest::{attest_lost, attest_parked};
use super::counting::Terms;
use super::data_object;
use super::duplicates::{Records, same_content_as};
use super::failure_policy::{consequence, of_ledger, of_source};
use super::intake::{pull, request};
use super::observer::Ending;
use super::revisit::revisit;
use super::services::Services;
use super::stream::Stream;
use super::stream_log::{Appended, ROUNDS};

/// How long a lease lasts when nobody renews it: only a process that died lets it run out.
const LEASE: SignedDuration = SignedDuration::from_mins(30);
/// A peer that sends a byte now and then could keep an attempt going for ever.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(12 * 60 * 60);
/// How often it is renewed.
const RENEWAL: Duration = Duration::from_secs(10 * 60);

/// Does `task` with `window`: one attempt, recorded in the ledger with what follows from it.
pub async fn work(services: &Services, stream: &Stream, window: Window, task: Task) -> Ending {
    // The plan may be old by now: after its expiry the source may answer short, and nobody would notice.
    let expired = stream.rules.expires_at(window) <= services.clock.now();
    let (task, purpose) = match task {
        Task::Archive { reason: DueReason::Asked } => (task, Purpose::Settle),
        Task::Archive { .. } | Task::AttestLost if expired => (Task::AttestLost, Purpose::Settle),
        Task::Archive { .. } | Task::AttestLost => (task, Purpose::Settle),
        Task::Revisit { .. } if expired => return Ending::AlreadyArchived,
        Task::Revisit { .. } => (task, Purpose::Revisit),
        Task::AttestParked => return attest_parked(services, stream, window).await,
        Task::Acknowledge => return acknowledge(services, stream, window).await,
    };
    let lease = match take_lease(services, stream, window, purpose).await {
        Ok(Ok(lease)) => lease,
        Ok(Err(ending)) => return ending,
        Err(failure) => return Ending::Failed(failure),
    };
    services.checkpoint.reached(Step::Leased);
    let attempt = async {
        match task {
            Task::Archive { .. } => archive(services, stream, &lease).await,
            Task::Revisit { .. } => revisit(services, stream, &lease).await,
            Task::AttestLost | Task::AttestParked | Task::Acknowledge => {
                attest_lost(services, stream, &lease).await
            }
        }
    };
    let outcome = tokio::select! {
        outcome = attempt => outcome,
        () = tokio::time::sleep(LONGEST_ATTEMPT) => Err(too_long(&lease)),
        failure = keep_lease(services, &lease) => Err(failure),
        () = services.abandon.cancelled() => return interrupted(services, &lease).await,
    };
    match outcome {
        Ok(ending) => ending,
        Err(_) if services.abandon.is_cancelled() => interrupted(services, &lease).await,
        Err(failure) => failed(services, stream, &lease, failure).await,
    }
}

fn too_long(lease: &Lease) -> Failure {
    let hours = LONGEST_ATTEMPT.as_secs() / 3600;
    let message =
        format!("window {} of stream {}: broken off after {hours} hours", lease.window, lease.stream);
    Failure::new(FailureKind::Transient, Scope::Window, message)
}

async fn take_lease(
    services: &Services,
    stream: &Stream,
    window: Window,
    purpose: Purpose,
) -> Result<Result<Lease, Ending>, Failure> {
    let (ledger, now) = (&services.ledger, services.clock.now());
    let outcome = ledger.lease(stream.name(), window, purpose, &services.holder, now, lease_end(now)).await;
    Ok(match outcome.map_err(of_ledger)? {
        LeaseOutcome::Leased(lease) => Ok(lease),
        LeaseOutcome::HeldElsewhere { .. } => Err(Ending::HeldElsewhere),
        LeaseOutcome::Settled => Err(Ending::AlreadyArchived),
    })
}

fn lease_end(now: Timestamp) -> Timestamp {
    now.saturating_add(LEASE).unwrap_or(Timestamp::MAX)
}

/// Renews the lease now and then; ends only when that fails.
async fn keep_lease(services: &Services, lease: &Lease) -> Failure {
    loop {
        tokio::time::sleep(RENEWAL).await;
        if let Err(error) = services.ledger.renew(lease, lease_end(services.clock.now())).await {
            return of_ledger(error);
        }
    }
}

async fn archive(services: &Services, stream: &Stream, lease: &Lease) -> Result<Ending, Failure> {
    let found =
        services.spool.find(stream.name(), lease.window, stream.definition_digest).await.map_err(of_spool)?;
    let export = match found {
        Some(export) => {
            tracing::info!(stream = %stream.name(), window = %lease.window, "export of an earlier run found in the spool");
            export
        }
        None => {
            let (request, now) = (request(stream, lease.window), services.clock.now());
            let in_time = request.expires_at <= now
                && stream.source.remains(&request).await.map_err(of_source)?.is_in_time(&request);
            pull(services, stream, &request, Terms::of_pull(stream, &request, in_time, now)).await?
        }
    };
    commit(services, stream, lease, &export, None).await
}

/// Stores the export and says so in the log: from there on the window is archived. A revision says what it follows.
pub(super) async fn commit(
    services: &Services,
    stream: &Stream,
    lease: &Lease,
    export: &SpooledExport,
    supersedes: Option<Supersedes>,
) -> Result<Ending, Failure> {
    let follows = supersedes.map(|supersedes| supersedes.seq);
    for _ in 0..ROUNDS {
        // In this order: what is archived after its names were read is found unnamed, and looked into.
        let named = services.ledger.named_objects(stream.name(), lease.window).await.map_err(of_ledger)?;
        if is_overtaken(services, stream, lease.window, follows).await? {
            return archived_elsewhere(services, lease).await;
        }
        let stored = data_object::store(services, stream, (lease.window, follows), export, &named).await?;
        let Some(stored) = stored else { return archived_elsewhere(services, lease).await };
        // Nothing after this can be taken back: a holder that slept must not go on.
        services.ledger.renew(lease, lease_end(services.clock.now())).await.map_err(of_ledger)?;
        let same_content_as = match Records::of(&export.facts) {
            Some(records) => same_content_as(services, stream, lease.window, records).await?,
            None => None,
        };
        let facts = ExportFacts { same_content_as, ..export.facts.export.clone() };
        let (object, content) = (stored.object.clone(), content(&facts));
        let ending = |head| Ending::Archived {
            key: object.key.in_stream(stream.name()).to_string(),
            rows: object.rows,
            bytes: object.bytes,
            sha256: object.sha256,
            supersedes,
            count: CountVerdict::of(export.facts.export.counted, export.facts.rows),
            content: content.clone(),
            head,
        };
        let body = EntryBody::Archived(Box::new(Archived {
            window: lease.window,
            revision: stored.revision,
            object: stored.object,
            export: facts,
            supersedes,
            orphans: stored.orphans,
        }));
        match stream.log.append(body, Some((lease, AttemptOutcome::Archived))).await? {
            Appended::Committed(head) => {
                services.checkpoint.reached(Step::LedgerUpdated);
                clear_spool(services, lease).await;
                return Ok(ending(head));
            }
            Appended::Overtaken => {}
        }
    }
    let (stream, window) = (stream.name(), lease.window);
    let cause = format!("window {window} of stream {stream}: others keep taking the next place of the log");
    let message = Message::new(cause).advise("it is tried again");
    Err(Failure::new(FailureKind::Transient, Scope::Window, message))
}

/// What is known of the records of an export with these facts.
fn content(facts: &ExportFacts) -> Content {
    match &facts.unread {
        Some(reason) => Content::Unread { reason: reason.clone() },
        None => Content::Read(Marks {
            open_records: facts.open_records,
            out_of_bounds: facts.out_of_bounds,
            same_content_as: facts.same_content_as,
        }),
    }
}

/// Whether the log has an entry for the window that this work does not follow: for a first pull any, for a revision a
/// later one than that which it `follows`.
pub(super) async fn is_overtaken(
    services: &Services,
    stream: &Stream,
    window: Window,
    follows: Option<Seq>,
) -> Result<bool, Failure> {
    let state = services.ledger.window(stream.name(), window).await.map_err(of_ledger)?;
    Ok(matches!(state, Some(WindowState::Archived { seq, .. }) if Some(seq) != follows))
}

/// Somebody else archived the window meanwhile: what we pulled is of no use.
pub(super) async fn archived_elsewhere(services: &Services, lease: &Lease) -> Result<Ending, Failure> {
    clear_spool(services, lease).await;
    let now = services.clock.now();
    services.ledger.release(lease, AttemptOutcome::AlreadyArchived, now).await.map_err(of_ledger)?;
    Ok(Ending::AlreadyArchived)
}

/// What is left in the spool in spite of this is swept at the next start: the window is archived, come what may.
pub(super) async fn clear_spool(services: &Services, lease: &Lease) {
    match services.spool.remove(&lease.stream, lease.window).await {
        Ok(()) => services.checkpoint.reached(Step::SpoolCleared),
        Err(error) => {
            tracing::warn!(stream = %lease.stream, window = %lease.window, %error, "spool not cleared");
        }
    }
}

async fn interrupted(services: &Services, lease: &Lease) -> Ending {
    let released = services.ledger.release(lease, AttemptOutcome::Interrupted, services.clock.now()).await;
    if let Err(error) = released {
        services.owed.add(lease);
        tracing::debug!(stream = %lease.stream, window = %lease.window, %error, "lease not given back");
    }
    Ending::Interrupted
}

/// Records the failure and what follows from it.
async fn failed(services: &Services, stream: &Stream, lease: &Lease, failure: Failure) -> Ending {
    match record_failure(services, stream, lease, &failure).await {
        Ok(()) => Ending::Failed(failure),
        // The ledger itself fails: that is the worse news, and the caller's hold.
        Err(worse) => {
            services.owed.add(lease);
            Ending::Failed(if failure.kind == FailureKind::Local { failure } else { worse })
        }
    }
}

async fn record_failure(
    services: &Services,
    stream: &Stream,
    lease: &Lease,
    failure: &Failure,
) -> Result<(), Failure> {
    let now = services.clock.now();
    let snapshot = services.ledger.snapshot().await.map_err(of_ledger)?;
    let follows = consequence(&stream.rules, lease.window, failure, &snapshot, now);
    if let Some((resource, hold)) = &follows.hold {
        services.ledger.hold(resource, hold).await.map_err(of_ledger)?;
    }
    services.ledger.fail(lease, failure, &follows.disposition, now).await.map_err(of_ledger)
}

pub(super) fn of_spool(error: SpoolError) -> Failure {
    error.0
}
