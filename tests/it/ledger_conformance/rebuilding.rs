//! What a ledger learns from a log alone: parked windows, and logs that are damaged.

use std::slice::from_ref;

use connvault::domain::failure::{Failure, FailureKind, Scope};
use connvault::domain::log_entry::{EntryBody, SealedEntry};
use connvault::domain::object_key::Seq;
use connvault::domain::snapshot::{FailureNote, Fingerprint, WindowState};
use connvault::ports::ledger::{Disposition, LedgerError};

use super::chain::Chain;
use super::{Adapter, day, leased, minute, state_of, stream};

/// As [`Chain::parks`] says it.
fn parked(since: i64, fingerprint: Option<&str>, seq: Option<u64>) -> Option<WindowState> {
    let failure =
        FailureNote { kind: FailureKind::Rejected, message: "no such user".into(), at: minute(since) };
    let fingerprint = fingerprint.map(|text| Fingerprint(text.to_owned()));
    Some(WindowState::Parked { since: minute(since), failure, fingerprint, seq: seq.and_then(Seq::new) })
}

pub async fn a_window_that_the_log_says_is_parked_is_and_what_settles_it_is_the_last_word<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    let entries = [first, chain.parks(day(1), 5), chain.parks(day(2), 6), chain.parks(day(1), 1500)];
    ledger.apply(&stream(), &entries).await.unwrap();
    assert_eq!(state_of(&*ledger, day(1)).await, parked(1500, None, Some(4)));
    assert_eq!(state_of(&*ledger, day(2)).await, parked(6, None, Some(3)));
    let settled = [chain.archives(day(1), 1, &[]), chain.loses(day(2))];
    ledger.apply(&stream(), &settled).await.unwrap();
    // Said too late, by one who had not read on.
    let late = [chain.parks(day(1), 5), chain.parks(day(2), 6)];
    ledger.apply(&stream(), &late).await.unwrap();
    assert!(matches!(state_of(&*ledger, day(1)).await, Some(WindowState::Archived { .. })));
    assert!(matches!(state_of(&*ledger, day(2)).await, Some(WindowState::Lost { .. })));
}

pub async fn what_this_machine_found_out_counts_more_than_what_it_reads_of_a_parked_window<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    ledger.apply(&stream(), &[first]).await.unwrap();
    let park_for = async |at: i64, why: &str| {
        let lease = leased(&*ledger, day(1), "a", at, at + 30).await;
        let failure = Failure::new(FailureKind::Rejected, Scope::Window, why);
        let disposition = Disposition::Park { fingerprint: Fingerprint("own".to_owned()) };
        ledger.fail(&lease, &failure, &disposition, minute(at + 1)).await.unwrap();
    };
    park_for(0, "no such user").await;
    assert_eq!(state_of(&*ledger, day(1)).await, parked(1, Some("own"), None));
    let said = chain.parks(day(1), 1);
    ledger.apply(&stream(), from_ref(&said)).await.unwrap();
    assert_eq!(state_of(&*ledger, day(1)).await, parked(1, Some("own"), Some(2)));
    // Parked again for the same reason: the entry still says so, and since when.
    park_for(1500, "no such user").await;
    let Some(WindowState::Parked { since, failure, seq, .. }) = state_of(&*ledger, day(1)).await else {
        panic!("not parked")
    };
    assert_eq!((since, failure.at, seq), (minute(1), minute(1501), Seq::new(2)));
    // For another reason, which no entry says yet.
    park_for(3000, "no such project").await;
    let Some(WindowState::Parked { since, seq, .. }) = state_of(&*ledger, day(1)).await else {
        panic!("not parked")
    };
    assert_eq!((since, seq), (minute(3001), None));
    // An operator asked for it: it stays due.
    ledger.retry(None, None).await.unwrap();
    let late = chain.parks(day(1), 1501);
    ledger.apply(&stream(), from_ref(&late)).await.unwrap();
    assert!(matches!(state_of(&*ledger, day(1)).await, Some(WindowState::Open { .. })));
}

pub async fn entries_that_do_not_follow_one_another_are_taken_over_where_that_is_asked_for<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    let EntryBody::Stream(opened) = &first.entry().body else { unreachable!("it opens the stream") };
    let entries: Vec<SealedEntry> = (1..=5).map(|number| chain.archives(day(number), 1, &[])).collect();
    // Without the first entry, and without the fourth.
    let left = [entries[0].clone(), entries[1].clone(), entries[3].clone(), entries[4].clone()];
    assert!(matches!(ledger.apply(&stream(), &left).await, Err(LedgerError::NotNext { .. })));
    ledger.accept(&stream(), &opened.definition, &left).await.unwrap();
    let known = ledger.stream(&stream()).await.unwrap().unwrap();
    assert_eq!((known.head, &known.definition), (entries[4].head(), &opened.definition));
    assert_eq!(state_of(&*ledger, day(3)).await, None);
    assert!(matches!(state_of(&*ledger, day(5)).await, Some(WindowState::Archived { .. })));
    // From there on the log is followed as any other.
    let next = chain.loses(day(6));
    ledger.apply(&stream(), &[next]).await.unwrap();
}

pub async fn a_damaged_entry_that_is_passed_over_keeps_its_place_and_says_nothing<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    let EntryBody::Stream(opened) = &first.entry().body else { unreachable!("it opens the stream") };
    // The first entry is damaged, and so is the third; the next one follows the bytes of the third as they are.
    ledger.pass_over(&stream(), &opened.definition, first.head()).await.unwrap();
    let known = ledger.stream(&stream()).await.unwrap().unwrap();
    assert_eq!((known.head, &known.definition), (first.head(), &opened.definition));
    let (second, third) = (chain.archives(day(1), 1, &[]), chain.archives(day(2), 1, &[]));
    ledger.accept(&stream(), &opened.definition, from_ref(&second)).await.unwrap();
    ledger.pass_over(&stream(), &opened.definition, third.head()).await.unwrap();
    assert_eq!(state_of(&*ledger, day(2)).await, None);
    ledger.apply(&stream(), &[chain.loses(day(3))]).await.unwrap();
    assert!(matches!(state_of(&*ledger, day(3)).await, Some(WindowState::Lost { .. })));
}

pub async fn a_stream_is_signed_once_an_entry_names_a_key_or_a_daemon_says_so<A: Adapter>() {
    for by_an_entry in [true, false] {
        let adapter = A::open().await;
        let ledger = adapter.ledger();
        let (mut chain, first) = Chain::opened();
        ledger.must_be_signed(&stream()).await.unwrap();
        ledger.apply(&stream(), &[first]).await.unwrap();
        let signed = async || ledger.stream(&stream()).await.unwrap().unwrap().signed;
        assert!(!signed().await, "the stream was not known yet");
        if by_an_entry {
            chain.sign_with("SHA256:abc");
            ledger.apply(&stream(), &[chain.archives(day(1), 1, &[])]).await.unwrap();
        } else {
            ledger.must_be_signed(&stream()).await.unwrap();
        }
        assert!(signed().await);
        ledger.apply(&stream(), &[chain.opens(day(1))]).await.unwrap();
        assert!(signed().await && ledger.snapshot().await.unwrap().streams[&stream()].signed);
    }
}

pub async fn a_rebuilt_ledger_takes_what_was_due_before_the_last_entry_as_done<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    let entries = [
        first,
        chain.archives_at(3, day(1), 1, &[]),
        chain.archives_at(99, day(2), 1, &[]),
        chain.parks(day(3), 5),
        chain.archives_at(4, day(4), 1, &[]),
    ];
    ledger.apply(&stream(), &entries).await.unwrap();
    ledger.rebuilt(&stream(), minute(50), &Fingerprint("now".to_owned()), &[day(4)].into()).await.unwrap();
    let pulled_at = async |window| match state_of(&*ledger, window).await {
        Some(WindowState::Archived { last_pulled_at, .. }) => last_pulled_at,
        other => panic!("{other:?}"),
    };
    assert_eq!((pulled_at(day(1)).await, pulled_at(day(2)).await), (minute(50), minute(99)));
    assert_eq!(pulled_at(day(4)).await, minute(4), "recorded late: a pull that was due meanwhile is due");
    assert_eq!(state_of(&*ledger, day(3)).await, parked(5, Some("now"), Some(4)));
}
