//! What the ledger keeps of the content of archived windows.

use std::slice::from_ref;

use connvault::domain::content::{Content, Marks};
use connvault::domain::count::{CountVerdict, Counted};
use connvault::domain::digest::{ContentDigest, Sha256};
use connvault::domain::export::Format;
use connvault::domain::log_entry::{Archived, EntryBody, Inspected, SealedEntry};
use connvault::domain::object_key::{Revision, Seq};
use connvault::domain::snapshot::WindowState;
use connvault::domain::window::Window;
use connvault::ports::ledger::{Ledger, Purpose};

use super::chain::Chain;
use super::{Adapter, day, leased_for, minute, state_of, stream};

/// An entry of the chain, changed before it is sealed.
fn changed(
    chain: &mut Chain,
    window: Window,
    revision: u32,
    change: impl FnOnce(&mut Archived),
) -> SealedEntry {
    let EntryBody::Archived(mut archived) =
        chain.clone().archives(window, revision, &[]).entry().body.clone()
    else {
        unreachable!()
    };
    change(&mut archived);
    chain.next(EntryBody::Archived(archived))
}

fn unread(chain: &mut Chain, window: Window, revision: u32) -> SealedEntry {
    changed(chain, window, revision, |archived| {
        archived.object.rows = None;
        archived.object.content_digest = None;
        archived.export.unread = Some("it cannot be read".into());
    })
}

fn inspected(chain: &mut Chain, window: Window, revision: u32, digest: ContentDigest) -> SealedEntry {
    chain.next(EntryBody::Inspected(Box::new(Inspected {
        window,
        revision: Revision::new(revision).unwrap(),
        sha256: Sha256::of(b"an export"),
        format: Format::Csv,
        rows: 5,
        content_digest: digest,
        counted: Some(Counted { before: 5, after: 5 }),
        count_mismatch: false,
        open_records: Some(2),
        records: None,
        out_of_bounds: true,
        same_content_as: Some(Seq::FIRST),
        notes: Vec::new(),
    })))
}

async fn content(ledger: &dyn Ledger, window: Window) -> (Content, CountVerdict) {
    match state_of(ledger, window).await {
        Some(WindowState::Archived { content, count, .. }) => (content, count),
        other => panic!("{other:?}"),
    }
}

fn digest(digit: &str) -> ContentDigest {
    digit.repeat(64).parse().unwrap()
}

pub async fn an_unread_window_is_known_as_such_until_its_bytes_are_read_or_a_revision_is<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    let entries = [first, unread(&mut chain, day(1), 1), unread(&mut chain, day(2), 1)];
    ledger.apply(&stream(), &entries).await.unwrap();
    let reason = Content::Unread { reason: "it cannot be read".into() };
    assert_eq!(content(&*ledger, day(1)).await, (reason.clone(), CountVerdict::Uncounted));
    let named = ledger.named_objects(&stream(), day(1)).await.unwrap();
    assert!(named[0].is_export && named[0].content_digest.is_none());

    ledger.apply(&stream(), from_ref(&inspected(&mut chain, day(1), 1, digest("7")))).await.unwrap();
    let marks = Marks { open_records: Some(2), out_of_bounds: true, same_content_as: Some(Seq::FIRST) };
    assert_eq!(content(&*ledger, day(1)).await, (Content::Read(marks), CountVerdict::Matched));
    let named = ledger.named_objects(&stream(), day(1)).await.unwrap();
    assert_eq!(named[0].content_digest, Some(digest("7")));

    let revision = changed(&mut chain, day(2), 2, |archived| archived.export.open_records = Some(1));
    ledger.apply(&stream(), from_ref(&revision)).await.unwrap();
    let marks = Marks { open_records: Some(1), ..Marks::default() };
    assert_eq!(content(&*ledger, day(2)).await.0, Content::Read(marks));
    // What is said of the first one now changes nothing of the second.
    ledger.apply(&stream(), from_ref(&inspected(&mut chain, day(2), 1, digest("7")))).await.unwrap();
    assert_eq!(content(&*ledger, day(2)).await.0, Content::Read(marks));
    let adapter = adapter.reopen().await;
    assert_eq!(content(&*adapter.ledger(), day(2)).await.0, Content::Read(marks));
}

pub async fn other_windows_with_the_same_records_are_found_newest_first<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    let mut entries = vec![first];
    for (number, digit, rows) in
        [(1, "7", 3), (2, "7", 3), (3, "8", 3), (4, "0", 0), (5, "0", 0), (6, "7", 3)]
    {
        entries.push(changed(&mut chain, day(number), 1, |archived| {
            archived.object.content_digest = Some(digest(digit));
            archived.object.rows = Some(rows);
        }));
    }
    ledger.apply(&stream(), &entries).await.unwrap();
    let same = async |number, digit| {
        let same = ledger.same_content(&stream(), day(number), digest(digit)).await.unwrap();
        same.into_iter().map(|(window, seq)| (window, seq.get())).collect::<Vec<_>>()
    };
    assert_eq!(same(2, "7").await, [(day(6), 7), (day(1), 2)]);
    assert_eq!(same(9, "8").await, [(day(3), 4)]);
    assert_eq!(same(4, "0").await, [], "without records all look the same");
    let other = "others".parse().unwrap();
    assert_eq!(ledger.same_content(&other, day(9), digest("7")).await.unwrap(), []);
}

pub async fn an_unread_window_that_is_asked_for_is_due_until_its_export_has_come<A: Adapter>() {
    let adapter = A::open().await;
    let ledger = adapter.ledger();
    let (mut chain, first) = Chain::opened();
    let entries = [first, unread(&mut chain, day(1), 1), chain.archives(day(2), 1, &[])];
    ledger.apply(&stream(), &entries).await.unwrap();
    assert_eq!(ledger.retry(Some(&stream()), Some(day(2))).await.unwrap(), 0);
    assert_eq!(ledger.retry(Some(&stream()), Some(day(1))).await.unwrap(), 1);
    let asked = async || match state_of(&*ledger, day(1)).await {
        Some(WindowState::Archived { retry_at, .. }) => retry_at.is_some(),
        other => panic!("{other:?}"),
    };
    assert!(asked().await);
    let lease = leased_for(Purpose::Revisit, &*ledger, day(1), "a", (0, 30)).await;
    assert!(asked().await, "whoever began may die");
    ledger.revisited(&lease, minute(5), minute(5)).await.unwrap();
    assert!(!asked().await);
}
