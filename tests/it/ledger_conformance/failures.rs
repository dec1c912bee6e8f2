//! What becomes of windows after failures, and what is remembered of them.

use connvault::domain::failure::{Failure, FailureKind, Scope};
use connvault::domain::message::Message;
use connvault::domain::snapshot::{FailureNote, Fingerprint, Hold, Resource, WindowState};
use connvault::domain::text::ForeignText;
use connvault::domain::window::Window;
use connvault::ports::ledger::{AttemptOutcome, Disposition, Ledger};

use super::chain::Chain;
use super::{Adapter, day, leased, minute, state_of, stream};

pub fn failure() -> Failure {
    Failure {
        request_ids: ["request-1", "request-2"].map(ForeignText::new).to_vec(),
        ..Failure::new(FailureKind::Transient, Scope::Window, message())
    }
}

/// Cause and advice, which stay apart.
fn message() -> Message {
    Message::new("it did not answer").advise("it is tried again")
}

fn note(at: i64) -> FailureNote {
    FailureNote { kind: FailureKind::Transient, message: message(), at: minute(at) }
}

fn fingerprint() -> Fingerprint {
    Fingerprint("config and keys".to_owned())
}

/// A store that everything waits for.
pub fn hold_of_store() -> (Resource, Hold) {
    let hold = Hold {
        until: minute(60),
        since: minute(1),
        failures: 3,
        failure: note(2),
        fingerprint: fingerprint(),
    };
    (Resource::Store("archive".parse().unwrap()), hold)
}

/// Leases `window` at `at` and fails a minute later.
async fn fail(ledger: &dyn Ledger, window: Window, at: i64, failure: &Failure, disposition: &Disposition) {
    let lease = leased(ledger, window, "a", at, at + 30).await;
    ledger.fail(&lease, failure, disposition, minute(at + 1)).await.unwrap();
}

pub async fn a_failure_is_charged_and_the_window_waits<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    fail(&*ledger, day(1), 0, &failure(), &Disposition::Retry { at: minute(10) }).await;
    fail(&*ledger, day(1), 20, &failure(), &Disposition::Retry { at: minute(40) }).await;
    let expected = WindowState::Open {
        failures: 2,
        corrupt: 0,
        retry_at: Some(minute(40)),
        last_failure: Some(note(21)),
        leased_until: None,
    };
    assert_eq!(state_of(&*ledger, day(1)).await, Some(expected));
}

pub async fn a_corrupt_export_is_counted_apart<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let corrupt = Failure::new(FailureKind::Corrupt, Scope::Window, "a page of HTML");
    let retry = Disposition::Retry { at: minute(10) };
    fail(&*ledger, day(1), 0, &corrupt, &retry).await;
    fail(&*ledger, day(1), 10, &failure(), &retry).await;
    fail(&*ledger, day(1), 20, &corrupt, &retry).await;
    let state = state_of(&*ledger, day(1)).await;
    assert!(matches!(state, Some(WindowState::Open { failures: 3, corrupt: 2, .. })), "{state:?}");
}

pub async fn a_parked_window_that_is_leased_is_open_again<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let park = Disposition::Park { fingerprint: fingerprint() };
    fail(&*ledger, day(1), 0, &failure(), &park).await;
    let parked = WindowState::Parked {
        since: minute(1),
        failure: note(1),
        fingerprint: Some(fingerprint()),
        seq: None,
    };
    assert_eq!(state_of(&*ledger, day(1)).await, Some(parked));
    leased(&*ledger, day(1), "a", 2, 32).await;
    let open = WindowState::Open {
        failures: 1,
        corrupt: 0,
        retry_at: None,
        last_failure: Some(note(1)),
        leased_until: Some(minute(32)),
    };
    assert_eq!(state_of(&*ledger, day(1)).await, Some(open));
}

pub async fn a_failure_that_is_not_charged_leaves_the_window_as_it_was<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    fail(&*ledger, day(1), 0, &failure(), &Disposition::NotCharged).await;
    let untouched =
        WindowState::Open { failures: 0, corrupt: 0, retry_at: None, last_failure: None, leased_until: None };
    assert_eq!(state_of(&*ledger, day(1)).await, Some(untouched));
    fail(&*ledger, day(1), 10, &failure(), &Disposition::Retry { at: minute(20) }).await;
    let attempts = ledger.attempts(&stream(), day(1)).await.unwrap();
    let ends: Vec<_> = attempts.iter().map(|attempt| (attempt.outcome, attempt.charged)).collect();
    assert_eq!(ends, [(Some(AttemptOutcome::Failed), false), (Some(AttemptOutcome::Failed), true)]);
}

pub async fn a_lost_window_can_be_tried_and_stays_lost<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    let entries = [first, chain.loses(day(1))];
    ledger.apply(&stream(), &entries).await.unwrap();
    let lost = state_of(&*ledger, day(1)).await;
    assert!(matches!(lost, Some(WindowState::Lost { seq, .. }) if seq.get() == 2), "{lost:?}");
    let dispositions = [
        Disposition::Retry { at: minute(10) },
        Disposition::Park { fingerprint: fingerprint() },
        Disposition::NotCharged,
    ];
    for (number, disposition) in dispositions.iter().enumerate() {
        fail(&*ledger, day(1), 10 * number as i64, &failure(), disposition).await;
        assert_eq!(state_of(&*ledger, day(1)).await, lost, "{disposition:?}");
    }
    assert_eq!(ledger.retry(None, None).await.unwrap(), 0);
    let archives = chain.archives(day(1), 1, &[]);
    ledger.apply(&stream(), &[archives]).await.unwrap();
    assert!(matches!(state_of(&*ledger, day(1)).await, Some(WindowState::Archived { .. })));
}

pub async fn retry_makes_due_what_is_asked_for_and_nothing_else<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (retry, park) =
        (Disposition::Retry { at: minute(600) }, Disposition::Park { fingerprint: fingerprint() });
    fail(&*ledger, day(1), 0, &failure(), &park).await;
    fail(&*ledger, day(2), 0, &failure(), &retry).await;
    fail(&*ledger, day(3), 0, &failure(), &park).await;
    let (resource, hold) = hold_of_store();
    ledger.hold(&resource, &hold).await.unwrap();
    let other = "others".parse().unwrap();
    assert_eq!(ledger.retry(Some(&other), None).await.unwrap(), 0);
    assert_eq!(ledger.retry(Some(&stream()), Some(day(9))).await.unwrap(), 0);
    let parked = async |window| matches!(state_of(&*ledger, window).await, Some(WindowState::Parked { .. }));
    assert!(parked(day(1)).await && parked(day(3)).await);

    assert_eq!(ledger.retry(Some(&stream()), Some(day(1))).await.unwrap(), 1);
    let due = |state: Option<WindowState>| {
        matches!(
            state,
            Some(WindowState::Open { failures: 0, corrupt: 0, retry_at: None, leased_until: None, .. })
        )
    };
    assert!(due(state_of(&*ledger, day(1)).await) && parked(day(3)).await);
    assert!(!ledger.snapshot().await.unwrap().holds.is_empty(), "what is shared is lifted by name");
    assert_eq!(ledger.retry(Some(&stream()), None).await.unwrap(), 2);
    assert!(due(state_of(&*ledger, day(2)).await) && due(state_of(&*ledger, day(3)).await));
    assert_eq!(ledger.retry(None, None).await.unwrap(), 0);
}

pub async fn a_hold_is_put_replaced_and_lifted<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (store, hold) = hold_of_store();
    let all = [
        store.clone(),
        Resource::Source("archive".parse().unwrap()),
        Resource::Stream("archive".parse().unwrap()),
        Resource::Daemon,
    ];
    for resource in &all {
        ledger.hold(resource, &hold).await.unwrap();
    }
    let longer = Hold { until: minute(120), failures: 4, ..hold.clone() };
    ledger.hold(&store, &longer).await.unwrap();
    let holds = ledger.snapshot().await.unwrap().holds;
    assert_eq!(holds.len(), all.len(), "{holds:?}");
    assert_eq!((&holds[&store], &holds[&Resource::Daemon]), (&longer, &hold));
    assert!(!ledger.lift(&store, minute(119)).await.unwrap(), "it still runs");
    assert!(ledger.lift(&store, minute(120)).await.unwrap());
    assert!(!ledger.lift(&store, minute(120)).await.unwrap());
    let holds = ledger.snapshot().await.unwrap().holds;
    assert!(!holds.contains_key(&store) && holds.len() == all.len() - 1, "{holds:?}");
}

pub async fn a_hold_out_of_reach_is_lifted_like_one_that_is_over<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (store, hold) = hold_of_store();
    let year = 365 * 24 * 60;
    let resources = [store, Resource::Clock];
    for resource in &resources {
        ledger.hold(resource, &Hold { until: minute(year), ..hold.clone() }).await.unwrap();
        assert!(!ledger.lift(resource, minute(year - 60)).await.unwrap(), "it still runs");
        assert!(ledger.lift(resource, minute(0)).await.unwrap(), "no pause is so long");
    }
    assert!(ledger.snapshot().await.unwrap().holds.is_empty());
}

pub async fn every_attempt_is_kept_with_how_it_ended<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    fail(&*ledger, day(1), 0, &failure(), &Disposition::NotCharged).await;
    let lease = leased(&*ledger, day(1), "a", 2, 32).await;
    ledger.release(&lease, AttemptOutcome::AlreadyArchived, minute(3)).await.unwrap();
    leased(&*ledger, day(1), "a", 4, 34).await;
    leased(&*ledger, day(2), "a", 4, 34).await;
    let attempts = ledger.attempts(&stream(), day(1)).await.unwrap();
    let outcomes: Vec<_> =
        attempts.iter().map(|attempt| (attempt.started_at, attempt.ended_at, attempt.outcome)).collect();
    assert_eq!(
        outcomes,
        [
            (minute(0), Some(minute(1)), Some(AttemptOutcome::Failed)),
            (minute(2), Some(minute(3)), Some(AttemptOutcome::AlreadyArchived)),
            (minute(4), None, None),
        ]
    );
    assert_eq!(attempts[0].failure, Some(FailureKind::Transient));
    assert_eq!(attempts[0].message, Some(message()));
    assert_eq!(attempts[0].request_ids, ["request-1", "request-2"]);
    assert!(attempts[1].message.is_none() && attempts[1].request_ids.is_empty());
    assert!(attempts.is_sorted_by_key(|attempt| attempt.id.0));
}

pub async fn old_attempts_that_have_ended_are_forgotten<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    fail(&*ledger, day(1), 0, &failure(), &Disposition::NotCharged).await;
    fail(&*ledger, day(1), 10, &failure(), &Disposition::NotCharged).await;
    leased(&*ledger, day(2), "a", 0, 30).await;
    assert_eq!(ledger.forget_attempts(minute(0)).await.unwrap(), 0);
    assert_eq!(ledger.forget_attempts(minute(10)).await.unwrap(), 1);
    let kept = ledger.attempts(&stream(), day(1)).await.unwrap();
    assert_eq!(kept.iter().map(|attempt| attempt.started_at).collect::<Vec<_>>(), [minute(10)]);
    assert_eq!(ledger.attempts(&stream(), day(2)).await.unwrap().len(), 1, "it goes on");
    ledger.check().await.unwrap();
}
