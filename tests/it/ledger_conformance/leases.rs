//! Who may work on a window, and what becomes of those who no longer may.

use connvault::domain::snapshot::WindowState;
use connvault::ports::ledger::{
    AttemptOutcome, Disposition, Lease, LeaseOutcome, Ledger, LedgerError, Purpose,
};

use super::chain::Chain;
use super::failures::failure;
use super::{Adapter, day, leased, minute, state_of, stream};

pub async fn a_window_has_one_holder<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let lease = leased(&*ledger, day(1), "a", 0, 30).await;
    // The same holder is somebody else: it is one name for one run, and one run has one attempt at a window.
    for holder in ["b", "a"] {
        let outcome =
            ledger.lease(&stream(), day(1), Purpose::Settle, holder, minute(29), minute(59)).await.unwrap();
        assert_eq!(outcome, LeaseOutcome::HeldElsewhere { until: minute(30) }, "{holder}");
    }
    leased(&*ledger, day(2), "b", 0, 30).await;
    ledger.renew(&lease, minute(60)).await.unwrap();
    let outcome =
        ledger.lease(&stream(), day(1), Purpose::Settle, "b", minute(31), minute(61)).await.unwrap();
    assert_eq!(outcome, LeaseOutcome::HeldElsewhere { until: minute(60) });
    let Some(WindowState::Open { leased_until, failures: 0, .. }) = state_of(&*ledger, day(1)).await else {
        panic!("{:?}", state_of(&*ledger, day(1)).await)
    };
    assert_eq!(leased_until, Some(minute(60)));
}

pub async fn of_many_who_ask_at_once_one_gets_the_lease<A: Adapter>() {
    let adapter = A::open().await;
    for window in [day(1), day(2), day(3)] {
        let mut asking = tokio::task::JoinSet::new();
        for number in 0..16 {
            let ledger = adapter.ledger();
            asking.spawn(async move {
                let holder = format!("holder {number}");
                ledger
                    .lease(&stream(), window, Purpose::Settle, &holder, minute(0), minute(30))
                    .await
                    .unwrap()
            });
        }
        let outcomes = asking.join_all().await;
        let won = outcomes.iter().filter(|outcome| matches!(outcome, LeaseOutcome::Leased(_))).count();
        let lost = |outcome: &&LeaseOutcome| **outcome == LeaseOutcome::HeldElsewhere { until: minute(30) };
        assert_eq!((won, outcomes.iter().filter(lost).count()), (1, 15), "{outcomes:?}");
        assert_eq!(adapter.ledger().attempts(&stream(), window).await.unwrap().len(), 1);
    }
}

pub async fn a_lease_that_ran_out_is_taken_over_with_a_higher_generation<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let first = leased(&*ledger, day(1), "a", 0, 30).await;
    let second = leased(&*ledger, day(1), "b", 30, 60).await;
    let third = leased(&*ledger, day(1), "a", 60, 90).await;
    assert!(first.generation < second.generation && second.generation < third.generation);
    assert!(first.attempt.0 < second.attempt.0 && second.attempt.0 < third.attempt.0);
}

/// Everything that only the holder may say is refused to `stale`, and nothing is other than before.
async fn assert_stale(ledger: &dyn Ledger, stale: &Lease, chain: &Chain) {
    let snapshot = ledger.snapshot().await.unwrap();
    let attempts = ledger.attempts(&stream(), stale.window).await.unwrap();
    let entry = chain.clone().archives(stale.window, 1, &[]);
    let (outcome, retry) = (AttemptOutcome::Archived, Disposition::Retry { at: minute(99) });
    let refused = [
        ("revisited", ledger.revisited(stale, minute(49), minute(50)).await),
        ("renew", ledger.renew(stale, minute(99)).await),
        ("commit", ledger.commit(stale, &entry, outcome, minute(50)).await),
        ("fail", ledger.fail(stale, &failure(), &retry, minute(50)).await),
        ("release", ledger.release(stale, AttemptOutcome::Interrupted, minute(50)).await),
    ];
    for (what, result) in refused {
        assert!(matches!(result, Err(LedgerError::StaleLease { .. })), "{what}: {result:?}");
    }
    assert_eq!(ledger.snapshot().await.unwrap(), snapshot);
    assert_eq!(ledger.attempts(&stream(), stale.window).await.unwrap(), attempts);
    assert_eq!(ledger.named_objects(&stream(), stale.window).await.unwrap(), []);
}

pub async fn a_stale_holder_is_refused_and_changes_nothing<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (chain, first) = Chain::opened();
    ledger.apply(&stream(), &[first]).await.unwrap();
    let stale = leased(&*ledger, day(1), "a", 0, 30).await;
    let other_run = leased(&*ledger, day(1), "b", 40, 70).await;
    assert_stale(&*ledger, &stale, &chain).await;
    // The same name does not help: it is the generation that counts.
    leased(&*ledger, day(1), "a", 80, 110).await;
    assert_stale(&*ledger, &stale, &chain).await;
    assert_stale(&*ledger, &other_run, &chain).await;
    let forged = Lease { generation: 3, ..other_run };
    assert_stale(&*ledger, &forged, &chain).await;
}

pub async fn a_lease_that_was_given_back_is_stale<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (chain, first) = Chain::opened();
    ledger.apply(&stream(), &[first]).await.unwrap();
    let released = leased(&*ledger, day(1), "a", 0, 30).await;
    ledger.release(&released, AttemptOutcome::Interrupted, minute(1)).await.unwrap();
    assert_stale(&*ledger, &released, &chain).await;
    let failed = leased(&*ledger, day(2), "a", 0, 30).await;
    ledger.fail(&failed, &failure(), &Disposition::NotCharged, minute(1)).await.unwrap();
    assert_stale(&*ledger, &failed, &chain).await;
    leased(&*ledger, day(1), "b", 2, 30).await;
}

pub async fn a_commit_settles_the_window_and_gives_the_lease_back<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    ledger.apply(&stream(), &[first]).await.unwrap();
    let lease = leased(&*ledger, day(1), "a", 0, 30).await;
    let entry = chain.archives(day(1), 1, &[]);
    ledger.commit(&lease, &entry, AttemptOutcome::Archived, minute(5)).await.unwrap();
    assert!(
        matches!(state_of(&*ledger, day(1)).await, Some(WindowState::Archived { seq, .. }) if seq.get() == 2)
    );
    let attempts = ledger.attempts(&stream(), day(1)).await.unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!(
        (attempts[0].started_at, attempts[0].ended_at, attempts[0].outcome),
        (minute(0), Some(minute(5)), Some(AttemptOutcome::Archived))
    );
    assert!(matches!(ledger.renew(&lease, minute(60)).await, Err(LedgerError::StaleLease { .. })));
    // A lost window is committed too, and stays to be had by those who ask.
    let lease = leased(&*ledger, day(2), "a", 0, 30).await;
    let entry = chain.loses(day(2));
    ledger.commit(&lease, &entry, AttemptOutcome::Lost, minute(5)).await.unwrap();
    assert!(matches!(state_of(&*ledger, day(2)).await, Some(WindowState::Lost { .. })));
    leased(&*ledger, day(2), "a", 6, 30).await;
}

pub async fn a_commit_that_does_not_follow_changes_nothing<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    ledger.apply(&stream(), &[first]).await.unwrap();
    chain.archives(day(9), 1, &[]);
    let lease = leased(&*ledger, day(1), "a", 0, 30).await;
    let before = ledger.snapshot().await.unwrap();
    let after_a_gap = chain.archives(day(1), 1, &[]);
    let result = ledger.commit(&lease, &after_a_gap, AttemptOutcome::Archived, minute(5)).await;
    assert!(matches!(result, Err(LedgerError::NotNext { .. })), "{result:?}");
    assert_eq!(ledger.snapshot().await.unwrap(), before, "the lease is still held, nothing is settled");
    ledger.renew(&lease, minute(60)).await.unwrap();
    assert_eq!(ledger.attempts(&stream(), day(1)).await.unwrap()[0].outcome, None);
}

pub async fn an_archived_window_is_not_leased<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    let entries = [first, chain.archives(day(1), 1, &[])];
    ledger.apply(&stream(), &entries).await.unwrap();
    let outcome = ledger.lease(&stream(), day(1), Purpose::Settle, "a", minute(0), minute(30)).await.unwrap();
    assert_eq!(outcome, LeaseOutcome::Settled);
    assert_eq!(ledger.attempts(&stream(), day(1)).await.unwrap(), []);
}

pub async fn a_window_whose_loss_is_not_believed_is_open_again_when_it_is_leased<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    // Recorded at minute 0.
    let entries = [first, chain.loses(day(1)), chain.loses(day(2)), chain.loses(day(25))];
    ledger.apply(&stream(), &entries).await.unwrap();
    let lost = state_of(&*ledger, day(1)).await;
    assert!(matches!(lost, Some(WindowState::Lost { since, .. }) if since == minute(0)), "{lost:?}");
    leased(&*ledger, day(1), "a", 1, 31).await;
    assert_eq!(state_of(&*ledger, day(1)).await, lost, "an operator asked for it, and it stays lost");
    // By a clock to which the entry is still to come, or of a window that was not over.
    let early = leased(&*ledger, day(2), "a", -60, -30).await;
    leased(&*ledger, day(25), "a", 1, 31).await;
    for window in [day(2), day(25)] {
        let state = state_of(&*ledger, window).await;
        assert!(matches!(state, Some(WindowState::Open { leased_until: Some(_), .. })), "{state:?}");
    }
    let pause = Disposition::Retry { at: minute(-20) };
    ledger.fail(&early, &failure(), &pause, minute(-29)).await.unwrap();
    let state = state_of(&*ledger, day(2)).await;
    assert!(matches!(state, Some(WindowState::Open { failures: 1, retry_at: Some(_), .. })), "{state:?}");
}

pub async fn voided_leases_are_stale_and_their_attempts_interrupted<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (chain, first) = Chain::opened();
    ledger.apply(&stream(), &[first]).await.unwrap();
    let (one, two) = (leased(&*ledger, day(1), "a", 0, 30).await, leased(&*ledger, day(2), "a", 0, 30).await);
    let done = leased(&*ledger, day(3), "a", 0, 30).await;
    ledger.fail(&done, &failure(), &Disposition::NotCharged, minute(1)).await.unwrap();
    assert_eq!(ledger.void_leases().await.unwrap(), 2);
    assert_eq!(ledger.void_leases().await.unwrap(), 0);
    assert_stale(&*ledger, &one, &chain).await;
    assert_stale(&*ledger, &two, &chain).await;
    let outcome = async |window| ledger.attempts(&stream(), window).await.unwrap()[0].outcome;
    assert_eq!(outcome(day(1)).await, Some(AttemptOutcome::Interrupted));
    assert_eq!(outcome(day(3)).await, Some(AttemptOutcome::Failed));
    let next = leased(&*ledger, day(1), "b", 1, 31).await;
    assert!(next.generation > one.generation);
}
