//! The ledger follows the log, and keeps what it learnt.

use std::slice::from_ref;

use connvault::domain::confirmed_time::{Confirmation, KnownTime};
use connvault::domain::content::Content;
use connvault::domain::count::CountVerdict;
use connvault::domain::digest::Sha256;
use connvault::domain::log_entry::SealedEntry;
use connvault::domain::object_key::{Revision, Seq};
use connvault::domain::snapshot::{
    AcknowledgeRequest, Acknowledgement, Fingerprint, Resource, Snapshot, WindowState,
};
use connvault::ports::ledger::{Disposition, LedgerError};

use super::chain::{Chain, key};
use super::failures::{failure, hold_of_store};
use super::{Adapter, day, leased, minute, state, state_of, stream};

fn archived(seq: u64, revision: u32) -> Option<WindowState> {
    Some(WindowState::Archived {
        count: CountVerdict::Uncounted,
        content: Content::default(),
        seq: Seq::new(seq).unwrap(),
        revision: Revision::new(revision).unwrap(),
        last_pulled_at: minute(0),
        failures: 0,
        corrupt: 0,
        retry_at: None,
        leased_until: None,
    })
}

pub async fn what_was_applied_is_passed_over<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    assert_eq!(ledger.snapshot().await.unwrap(), Snapshot::default());
    assert_eq!(ledger.stream(&stream()).await.unwrap(), None);
    let (mut chain, first) = Chain::opened();
    let entries = [first, chain.archives(day(1), 1, &[]), chain.loses(day(2))];
    ledger.apply(&stream(), &entries).await.unwrap();
    let once = ledger.snapshot().await.unwrap();
    for again in [&entries[..], &entries[1..], &entries[2..], &[]] {
        ledger.apply(&stream(), again).await.unwrap();
    }
    assert_eq!(ledger.snapshot().await.unwrap(), once);
    let known = ledger.stream(&stream()).await.unwrap().unwrap();
    assert_eq!(known.head, entries[2].head());
    assert_eq!(known.definition.start, day(1).start());
    assert_eq!(once.streams[&stream()], known);
    // Some that are known, and one that is not.
    let fourth = chain.archives(day(3), 1, &[]);
    ledger.apply(&stream(), &[entries[2].clone(), fourth]).await.unwrap();
    assert_eq!(state_of(&*ledger, day(3)).await, archived(4, 1));
}

pub async fn the_date_of_the_last_entry_and_the_confirmed_time_are_kept<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (_, first) = Chain::opened();
    ledger.apply(&stream(), &[first]).await.unwrap();
    for (at, host) in [(5, "source"), (7, "store"), (6, "store")] {
        ledger.confirm(&Confirmation { at: minute(at), host: host.to_owned() }).await.unwrap();
    }
    drop(ledger);
    let adapter = adapter.reopen().await;
    let known = adapter.ledger().snapshot().await.unwrap().known_time();
    let confirmed = Confirmation { at: minute(6), host: "store".to_owned() };
    assert_eq!(known, KnownTime { confirmed: Some(confirmed), recorded: Some(minute(0)) });
}

pub async fn an_acknowledgement_is_kept_with_the_entry_that_it_names_and_ends_the_request<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    ledger.apply(&stream(), &[first, chain.loses(day(1)), chain.loses(day(2))]).await.unwrap();
    let request = |entry| AcknowledgeRequest {
        entry: Seq::new(entry).unwrap(),
        by: "Ada".into(),
        reason: "an outage".into(),
    };
    let asked = async || ledger.snapshot().await.unwrap().to_acknowledge;
    assert_eq!(ledger.acknowledgements_asked_for().await.unwrap(), 0);
    let both = [(day(1), request(2)), (day(2), request(3))];
    ledger.ask_to_acknowledge(&stream(), &both).await.unwrap();
    ledger.ask_to_acknowledge(&stream(), &both[..1]).await.unwrap();
    assert_eq!(asked().await[&stream()], both.clone().into());
    assert_eq!(ledger.acknowledgements_asked_for().await.unwrap(), 3);

    let acknowledged = chain.acknowledges(day(1), 2);
    ledger.apply(&stream(), from_ref(&acknowledged)).await.unwrap();
    assert_eq!(asked().await[&stream()], both[1..].iter().cloned().collect());
    // What is archived after all has nothing to be acknowledged.
    ledger.apply(&stream(), from_ref(&chain.archives(day(2), 1, &[]))).await.unwrap();
    assert!(asked().await.is_empty());
    let known = Acknowledgement {
        seq: Seq::new(4).unwrap(),
        entry: Seq::new(2).unwrap(),
        by: "Ada".into(),
        reason: "an outage".into(),
        at: minute(0),
    };
    assert_eq!(ledger.snapshot().await.unwrap().acknowledged[&stream()], [(day(1), known)].into());
    let again = chain.acknowledges(day(1), 2);
    ledger.apply(&stream(), from_ref(&again)).await.unwrap();
    let newest = &ledger.snapshot().await.unwrap().acknowledged[&stream()][&day(1)];
    assert_eq!(newest.seq, Seq::new(6).unwrap());
    assert_eq!(ledger.acknowledgements_asked_for().await.unwrap(), 3, "a number is not given twice");
}

pub async fn an_entry_that_does_not_follow_is_refused<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    let mut fork = chain.clone();
    let (second, third) = (chain.archives(day(1), 1, &[]), chain.archives(day(2), 1, &[]));
    let refused = async |entry: &SealedEntry, why: &str| {
        let before = ledger.snapshot().await.unwrap();
        let error = ledger.apply(&stream(), from_ref(entry)).await.unwrap_err();
        assert!(matches!(error, LedgerError::NotNext { .. }), "{why}: {error}");
        assert_eq!(ledger.snapshot().await.unwrap(), before, "{why}");
    };
    refused(&second, "nothing is known yet").await;
    refused(&Chain::default().archives(day(1), 1, &[]), "a first entry opens the stream").await;
    ledger.apply(&stream(), &[first]).await.unwrap();
    refused(&third, "a gap").await;
    ledger.apply(&stream(), &[second]).await.unwrap();
    fork.loses(day(1));
    refused(&fork.loses(day(2)), "a fork: it follows another second entry").await;
    ledger.apply(&stream(), &[third]).await.unwrap();
}

pub async fn a_batch_with_a_gap_changes_nothing<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    let second = chain.archives(day(1), 1, &[]);
    chain.archives(day(2), 1, &[]);
    let fourth = chain.archives(day(3), 1, &[]);
    let error = ledger.apply(&stream(), &[first, second, fourth]).await.unwrap_err();
    assert!(matches!(&error, LedgerError::NotNext { seq, .. } if seq.get() == 4), "{error}");
    assert_eq!(ledger.snapshot().await.unwrap(), Snapshot::default());
}

pub async fn an_entry_settles_whatever_the_ledger_thought<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    ledger.apply(&stream(), &[first]).await.unwrap();
    let fail = async |window, disposition| {
        let lease = leased(&*ledger, window, "a", 0, 30).await;
        ledger.fail(&lease, &failure(), &disposition, minute(1)).await.unwrap();
    };
    fail(day(1), Disposition::Retry { at: minute(60) }).await;
    let fingerprint = Fingerprint("now".to_owned());
    fail(day(2), Disposition::Park { fingerprint }).await;
    fail(day(3), Disposition::NotCharged).await;
    let loses = chain.loses(day(4));
    ledger.apply(&stream(), &[loses]).await.unwrap();
    leased(&*ledger, day(5), "a", 0, 30).await;
    let entries: Vec<_> = (1..=6).map(|number| chain.archives(day(number), 1, &[])).collect();
    ledger.apply(&stream(), &entries).await.unwrap();
    for number in 1..=6 {
        let mut expected = archived(2 + number as u64, 1);
        if let (5, Some(WindowState::Archived { leased_until, .. })) = (number, &mut expected) {
            *leased_until = Some(minute(30));
        }
        assert_eq!(state_of(&*ledger, day(number)).await, expected, "{number}");
    }
}

pub async fn an_archived_window_is_never_lost_again<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    let entries = [first, chain.archives(day(1), 1, &[]), chain.loses(day(1))];
    ledger.apply(&stream(), &entries).await.unwrap();
    assert_eq!(state_of(&*ledger, day(1)).await, archived(2, 1));
    assert_eq!(ledger.stream(&stream()).await.unwrap().unwrap().head, entries[2].head());
}

pub async fn a_later_revision_takes_the_place_of_the_first<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    let entries = [first, chain.archives(day(1), 1, &[]), chain.archives(day(1), 2, &[])];
    ledger.apply(&stream(), &entries).await.unwrap();
    assert_eq!(state_of(&*ledger, day(1)).await, archived(3, 2));
    let named = ledger.named_objects(&stream(), day(1)).await.unwrap();
    let keys: Vec<_> = named.iter().map(|object| (object.key.clone(), object.seq.get())).collect();
    assert_eq!(keys, [(key(day(1), 1), 2), (key(day(1), 2), 3)]);
}

pub async fn orphans_are_named_objects<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    let entries = [first, chain.archives(day(1), 3, &[1, 2]), chain.archives(day(2), 1, &[])];
    ledger.apply(&stream(), &entries).await.unwrap();
    let named = ledger.named_objects(&stream(), day(1)).await.unwrap();
    let named: Vec<_> =
        named.into_iter().map(|object| (object.key, object.sha256, object.seq.get())).collect();
    let orphan = |revision: u32| (key(day(1), revision), Sha256::of(&revision.to_be_bytes()), 2);
    let ours = (key(day(1), 3), Sha256::of(b"an export"), 2);
    assert_eq!(named, [orphan(1), orphan(2), ours]);
    assert_eq!(ledger.named_objects(&stream(), day(3)).await.unwrap(), []);
}

pub async fn a_stream_can_be_opened_again_with_an_earlier_start<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let mut chain = Chain::default();
    let entries = [chain.opens(day(5)), chain.archives(day(5), 1, &[]), chain.opens(day(2))];
    ledger.apply(&stream(), &entries).await.unwrap();
    let known = ledger.stream(&stream()).await.unwrap().unwrap();
    assert_eq!((known.definition.start, known.head), (day(2).start(), entries[2].head()));
    assert_eq!(state_of(&*ledger, day(5)).await, archived(2, 1));
    let openings = ledger.snapshot().await.unwrap().openings.remove(&stream()).unwrap();
    let recorded_at = |number: usize| entries[number].entry().recorded_at;
    assert_eq!(
        openings.into_iter().collect::<Vec<_>>(),
        [(day(2).start(), recorded_at(2)), (day(5).start(), recorded_at(0))],
        "each start, and when it was promised first"
    );
}

pub async fn the_fingerprints_of_the_last_run_are_kept<A: Adapter>() {
    let adapter = A::open().await;
    let resource = Resource::Stream(stream());
    for text in ["before", "now"] {
        let fingerprints = [(resource.clone(), Fingerprint(text.to_owned()))].into();
        adapter.ledger().record_fingerprints(&fingerprints).await.unwrap();
    }
    let other = [(Resource::Source("hq".parse().unwrap()), Fingerprint("of a source".to_owned()))].into();
    adapter.ledger().record_fingerprints(&other).await.unwrap();
    let known = adapter.reopen().await.ledger().snapshot().await.unwrap().fingerprints;
    assert_eq!((known.len(), &known[&resource]), (2, &Fingerprint("now".to_owned())));
}

pub async fn a_snapshot_is_of_one_instant<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    ledger.apply(&stream(), &[first]).await.unwrap();
    let entries: Vec<_> = (1..=60).map(|number| chain.archives(day(number), 1, &[])).collect();
    let writer = adapter.ledger();
    let writing = tokio::spawn(async move {
        for entry in &entries {
            writer.apply(&stream(), from_ref(entry)).await.unwrap();
        }
    });
    loop {
        let finished = writing.is_finished();
        let snapshot = ledger.snapshot().await.unwrap();
        let head = snapshot.streams[&stream()].head.seq.get();
        let windows = snapshot.windows.get(&stream()).map_or(0, |windows| windows.len() as u64);
        assert_eq!(head, windows + 1, "a head and windows of different instants");
        if finished {
            break assert_eq!(windows, 60);
        }
    }
}

pub async fn everything_is_kept_when_it_is_closed<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    let entries = [first, chain.archives(day(1), 2, &[1]), chain.loses(day(2))];
    ledger.apply(&stream(), &entries).await.unwrap();
    let lease = leased(&*ledger, day(3), "a", 0, 30).await;
    let fingerprint = Fingerprint("now".to_owned());
    let park = Disposition::Park { fingerprint };
    ledger.fail(&lease, &failure(), &park, minute(1)).await.unwrap();
    let held = leased(&*ledger, day(4), "a", 0, 30).await;
    let (resource, hold) = hold_of_store();
    ledger.hold(&resource, &hold).await.unwrap();
    let snapshot = ledger.snapshot().await.unwrap();
    let named = ledger.named_objects(&stream(), day(1)).await.unwrap();
    let attempts = ledger.attempts(&stream(), day(3)).await.unwrap();
    assert_eq!((named.len(), attempts.len()), (2, 1));
    assert!(state(&snapshot, day(4)).is_some());
    drop(ledger);

    let adapter = adapter.reopen().await;
    let ledger = adapter.ledger();
    assert_eq!(ledger.snapshot().await.unwrap(), snapshot);
    assert_eq!(ledger.named_objects(&stream(), day(1)).await.unwrap(), named);
    assert_eq!(ledger.attempts(&stream(), day(3)).await.unwrap(), attempts);
    ledger.renew(&held, minute(60)).await.unwrap();
    let next = leased(&*ledger, day(3), "b", 40, 70).await;
    assert!(next.generation > lease.generation && next.attempt.0 > held.attempt.0, "{next:?}");
}
