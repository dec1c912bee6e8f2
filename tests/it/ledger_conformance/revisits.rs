//! Archived windows that are pulled again: what is remembered of it, and that they stay archived.

use connvault::domain::failure::{Failure, FailureKind, Scope};
use connvault::domain::log_entry::SealedEntry;
use connvault::domain::snapshot::{Fingerprint, WindowState};
use connvault::ports::ledger::{
    AttemptOutcome, Disposition, Lease, LeaseOutcome, Ledger, LedgerError, Purpose,
};
use jiff::{SignedDuration, Timestamp};

use super::chain::Chain;
use super::failures::failure;
use super::{Adapter, day, leased_for, minute, state_of, stream};

/// A log in which day 1 was archived at minute 0.
async fn archived(ledger: &dyn Ledger) -> Chain {
    let (mut chain, first) = Chain::opened();
    let entries: [SealedEntry; 2] = [first, chain.archives(day(1), 1, &[])];
    ledger.apply(&stream(), &entries).await.unwrap();
    chain
}

async fn revisit(ledger: &dyn Ledger, from: i64) -> Lease {
    leased_for(Purpose::Revisit, ledger, day(1), "a", (from, from + 30)).await
}

/// What is known of day 1, which must be archived.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    seq: u64,
    revision: u32,
    last_pulled_at: Timestamp,
    failures: u32,
    corrupt: u32,
    retry_at: Option<Timestamp>,
    leased_until: Option<Timestamp>,
}

const fn known(last_pulled_at: Timestamp) -> Known {
    Known { seq: 2, revision: 1, last_pulled_at, failures: 0, corrupt: 0, retry_at: None, leased_until: None }
}

async fn look(ledger: &dyn Ledger) -> Known {
    match state_of(ledger, day(1)).await {
        Some(WindowState::Archived {
            seq,
            revision,
            last_pulled_at,
            failures,
            corrupt,
            retry_at,
            leased_until,
            ..
        }) => {
            let (seq, revision) = (seq.get(), revision.get());
            Known { seq, revision, last_pulled_at, failures, corrupt, retry_at, leased_until }
        }
        other => panic!("{other:?}"),
    }
}

pub async fn an_archived_window_is_leased_to_be_pulled_again_and_stays_archived<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    archived(&*ledger).await;
    let lease = revisit(&*ledger, 100).await;
    assert_eq!(look(&*ledger).await, Known { leased_until: Some(minute(130)), ..known(minute(0)) });
    let other =
        ledger.lease(&stream(), day(1), Purpose::Revisit, "b", minute(101), minute(131)).await.unwrap();
    assert_eq!(other, LeaseOutcome::HeldElsewhere { until: minute(130) });
    let other =
        ledger.lease(&stream(), day(1), Purpose::Settle, "b", minute(101), minute(131)).await.unwrap();
    assert_eq!(other, LeaseOutcome::Settled);
    ledger.renew(&lease, minute(160)).await.unwrap();
    assert_eq!(look(&*ledger).await, Known { leased_until: Some(minute(160)), ..known(minute(0)) });
}

pub async fn a_revisit_that_found_nothing_new_is_remembered<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    archived(&*ledger).await;
    let lease = revisit(&*ledger, 100).await;
    let head = ledger.stream(&stream()).await.unwrap().unwrap().head;
    ledger.revisited(&lease, minute(101), minute(102)).await.unwrap();
    assert_eq!(look(&*ledger).await, known(minute(101)));
    assert_eq!(ledger.stream(&stream()).await.unwrap().unwrap().head, head, "nothing is in the log");
    let attempts = ledger.attempts(&stream(), day(1)).await.unwrap();
    let ended = (attempts[0].ended_at, attempts[0].outcome);
    assert_eq!((attempts.len(), ended), (1, (Some(minute(102)), Some(AttemptOutcome::Unchanged))));
    assert!(matches!(ledger.renew(&lease, minute(200)).await, Err(LedgerError::StaleLease { .. })));
    drop(ledger);
    assert_eq!(look(&*adapter.reopen().await.ledger()).await, known(minute(101)));
}

pub async fn a_revision_ends_the_revisit_and_says_when_it_was_pulled<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let mut chain = archived(&*ledger).await;
    let lease = revisit(&*ledger, 100).await;
    let entry = chain.archives_at(101, day(1), 2, &[]);
    ledger.commit(&lease, &entry, AttemptOutcome::Archived, minute(102)).await.unwrap();
    assert_eq!(look(&*ledger).await, Known { seq: 3, revision: 2, ..known(minute(101)) });
}

pub async fn a_pull_is_never_forgotten_for_an_earlier_one<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let mut chain = archived(&*ledger).await;
    let lease = revisit(&*ledger, 100).await;
    ledger.revisited(&lease, minute(101), minute(102)).await.unwrap();
    // A revision that another machine pulled before, and wrote into the log after.
    let entry = chain.archives_at(90, day(1), 2, &[]);
    ledger.apply(&stream(), &[entry]).await.unwrap();
    assert_eq!(look(&*ledger).await, Known { seq: 3, revision: 2, ..known(minute(101)) });
    let lease = revisit(&*ledger, 200).await;
    ledger.revisited(&lease, minute(95), minute(201)).await.unwrap();
    assert_eq!(look(&*ledger).await.last_pulled_at, minute(101));
}

pub async fn a_revisit_that_fails_pauses_and_the_window_stays_archived<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let mut chain = archived(&*ledger).await;
    let fail = async |from, disposition: Disposition| {
        let lease = revisit(&*ledger, from).await;
        ledger.fail(&lease, &failure(), &disposition, minute(from + 1)).await.unwrap();
        look(&*ledger).await
    };
    assert_eq!(fail(100, Disposition::NotCharged).await, known(minute(0)));
    let paused = Known { failures: 1, retry_at: Some(minute(150)), ..known(minute(0)) };
    assert_eq!(fail(110, Disposition::Retry { at: minute(150) }).await, paused);
    // Parking is for windows that are in no archive: this one only waits for as long as a parked one does.
    let fingerprint = Fingerprint("now".to_owned());
    let day_later = minute(161) + SignedDuration::from_hours(24);
    let parked = Known { failures: 2, retry_at: Some(day_later), ..known(minute(0)) };
    assert_eq!(fail(160, Disposition::Park { fingerprint: fingerprint.clone() }).await, parked);
    assert_eq!(ledger.retry(Some(&stream()), Some(day(1))).await.unwrap(), 1);
    assert_eq!(look(&*ledger).await, known(minute(0)));
    assert_eq!(ledger.retry(None, None).await.unwrap(), 0);
    // Files that are no exports are counted apart.
    let lease = revisit(&*ledger, 190).await;
    let corrupt = Failure::new(FailureKind::Corrupt, Scope::Window, "a page of HTML");
    ledger.fail(&lease, &corrupt, &Disposition::Retry { at: minute(195) }, minute(191)).await.unwrap();
    let counted = Known { failures: 1, corrupt: 1, retry_at: Some(minute(195)), ..known(minute(0)) };
    assert_eq!(look(&*ledger).await, counted);
    // What came after a failure is the end of it.
    fail(200, Disposition::Park { fingerprint }).await;
    let lease = revisit(&*ledger, 210).await;
    assert_eq!(look(&*ledger).await.retry_at, None);
    ledger.revisited(&lease, minute(211), minute(212)).await.unwrap();
    assert_eq!(look(&*ledger).await, known(minute(211)));
    fail(220, Disposition::Retry { at: minute(900) }).await;
    let entry = chain.archives_at(230, day(1), 2, &[]);
    ledger.apply(&stream(), &[entry]).await.unwrap();
    assert_eq!(look(&*ledger).await, Known { seq: 3, revision: 2, ..known(minute(230)) });
}

pub async fn a_revisit_that_was_broken_off_is_due_again<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    archived(&*ledger).await;
    let first = revisit(&*ledger, 100).await;
    ledger.release(&first, AttemptOutcome::Interrupted, minute(101)).await.unwrap();
    assert_eq!(look(&*ledger).await, known(minute(0)));
    let second = revisit(&*ledger, 102).await;
    assert!(second.generation > first.generation);
    assert_eq!(ledger.void_leases().await.unwrap(), 1);
    assert_eq!(look(&*ledger).await, known(minute(0)));
    let attempts = ledger.attempts(&stream(), day(1)).await.unwrap();
    assert!(attempts.iter().all(|attempt| attempt.outcome == Some(AttemptOutcome::Interrupted)));
}

pub async fn a_stale_holder_does_not_end_a_revisit<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    archived(&*ledger).await;
    let stale = revisit(&*ledger, 100).await;
    leased_for(Purpose::Revisit, &*ledger, day(1), "b", (140, 170)).await;
    let refused = ledger.revisited(&stale, minute(101), minute(141)).await;
    assert!(matches!(refused, Err(LedgerError::StaleLease { .. })), "{refused:?}");
    assert_eq!(look(&*ledger).await, Known { leased_until: Some(minute(170)), ..known(minute(0)) });
}
