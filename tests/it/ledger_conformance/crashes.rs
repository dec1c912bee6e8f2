//! Attempts that end with the process, whose leases are found at the next start.

use connvault::domain::snapshot::WindowState;
use connvault::domain::window::Window;
use connvault::ports::ledger::{AttemptOutcome, Disposition, Ledger, Purpose};

use super::chain::Chain;
use super::failures::failure;
use super::{Adapter, day, leased, leased_for, minute, state_of, stream};

async fn crashes(ledger: &dyn Ledger, window: Window) -> u32 {
    ledger.snapshot().await.unwrap().crashes_of(&stream(), window)
}

/// Has the process end in the middle of an attempt at `window`, and start again.
async fn crash<A: Adapter>(adapter: A, window: Window, from: i64) -> A {
    leased(&*adapter.ledger(), window, "a", from, from + 30).await;
    let adapter = adapter.reopen().await;
    adapter.ledger().void_leases().await.unwrap();
    adapter
}

pub async fn an_attempt_that_ended_with_the_process_is_counted_and_any_other_end_forgets_it<A: Adapter>() {
    let mut adapter = A::open().await;
    for number in 1..=3 {
        leased(&*adapter.ledger(), day(2), "a", 0, 30).await;
        adapter = crash(adapter, day(1), 0).await;
        assert_eq!(crashes(&*adapter.ledger(), day(1)).await, number);
    }
    let ledger = adapter.ledger();
    assert_eq!(crashes(&*ledger, day(2)).await, 3, "each window that was in work is suspected");
    assert_eq!(crashes(&*ledger, day(3)).await, 0);
    assert_eq!(ledger.void_leases().await.unwrap(), 0);
    assert_eq!(crashes(&*ledger, day(1)).await, 3, "nothing was in work");
    let lease = leased(&*ledger, day(1), "b", 40, 70).await;
    ledger.renew(&lease, minute(90)).await.unwrap();
    assert_eq!(crashes(&*ledger, day(1)).await, 3);
    ledger.fail(&lease, &failure(), &Disposition::Retry { at: minute(60) }, minute(50)).await.unwrap();
    assert_eq!(crashes(&*ledger, day(1)).await, 0, "the process outlived it");
    assert_eq!(crashes(&*ledger, day(2)).await, 3);
}

pub async fn an_interruption_and_an_end_that_was_announced_count_nothing<A: Adapter>() {
    let adapter = crash(A::open().await, day(1), 0).await;
    let ledger = adapter.ledger();
    let lease = leased(&*ledger, day(1), "b", 40, 70).await;
    ledger.release(&lease, AttemptOutcome::Interrupted, minute(41)).await.unwrap();
    assert_eq!(crashes(&*ledger, day(1)).await, 1, "an interruption says nothing either way");
    leased(&*ledger, day(1), "b", 42, 70).await;
    ledger.give_notice().await.unwrap();
    drop(ledger);
    let adapter = adapter.reopen().await;
    let ledger = adapter.ledger();
    assert_eq!(ledger.void_leases().await.unwrap(), 1);
    assert_eq!(crashes(&*ledger, day(1)).await, 1);
    drop(ledger);
    let adapter = crash(adapter, day(1), 80).await;
    assert_eq!(crashes(&*adapter.ledger(), day(1)).await, 2, "notice is given for one run");
}

pub async fn an_entry_that_archives_the_window_forgets_it<A: Adapter>() {
    let adapter = crash(A::open().await, day(1), 0).await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    ledger.apply(&stream(), &[first, chain.archives(day(1), 1, &[])]).await.unwrap();
    assert_eq!(crashes(&*ledger, day(1)).await, 0);
    leased_for(Purpose::Revisit, &*ledger, day(1), "a", (40, 70)).await;
    ledger.void_leases().await.unwrap();
    assert_eq!(crashes(&*ledger, day(1)).await, 1, "a revisit counts as well");
}

pub async fn a_window_is_parked_while_it_is_open_and_nobody_holds_it<A: Adapter>() {
    let adapter = crash(A::open().await, day(1), 0).await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    let archived = chain.archives(day(2), 1, &[]);
    ledger.apply(&stream(), &[first, archived]).await.unwrap();
    let held = leased(&*ledger, day(3), "b", 40, 70).await;
    for window in [day(1), day(2), day(3), day(4)] {
        ledger.park(&stream(), window, &failure(), minute(45)).await.unwrap();
    }
    let Some(WindowState::Parked { since, failure: note, fingerprint: None, seq: None }) =
        state_of(&*ledger, day(1)).await
    else {
        panic!("{:?}", state_of(&*ledger, day(1)).await)
    };
    assert_eq!((since, note.at, note.message), (minute(45), minute(45), failure().message));
    assert!(matches!(state_of(&*ledger, day(2)).await, Some(WindowState::Archived { .. })));
    assert!(matches!(state_of(&*ledger, day(3)).await, Some(WindowState::Open { .. })));
    assert_eq!(state_of(&*ledger, day(4)).await, None);
    ledger.release(&held, AttemptOutcome::Interrupted, minute(46)).await.unwrap();
    leased(&*ledger, day(1), "b", 50, 80).await;
    assert!(matches!(state_of(&*ledger, day(1)).await, Some(WindowState::Open { .. })));
}

pub async fn retry_forgets_ends_of_the_process<A: Adapter>() {
    let adapter = crash(A::open().await, day(1), 0).await;
    let adapter = crash(adapter, day(2), 0).await;
    let ledger = adapter.ledger();
    ledger.park(&stream(), day(1), &failure(), minute(45)).await.unwrap();
    assert_eq!(ledger.retry(Some(&stream()), Some(day(1))).await.unwrap(), 1);
    assert_eq!((crashes(&*ledger, day(1)).await, crashes(&*ledger, day(2)).await), (0, 1));
    assert!(matches!(state_of(&*ledger, day(1)).await, Some(WindowState::Open { retry_at: None, .. })));
    assert_eq!(ledger.retry(None, None).await.unwrap(), 1);
    assert_eq!(ledger.retry(None, None).await.unwrap(), 0);
}
