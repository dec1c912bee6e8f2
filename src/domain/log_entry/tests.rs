//! Entries as they are stored and read back.

use super::*;

fn entry(seq: u64, previous: Sha256, body: EntryBody) -> SealedEntry {
    SealedEntry::seal(LogEntry {
        format: FORMAT,
        stream: "logins".parse().unwrap(),
        seq: Seq::new(seq).unwrap(),
        previous,
        recorded_at: "2026-11-23T02:00:05Z".parse().unwrap(),
        writer: Writer { version: "0.1.0".into(), host: "archive-1".into(), key_fingerprint: None },
        lock: Lock::NONE,
        body,
    })
}

fn opened() -> EntryBody {
    EntryBody::Stream(StreamOpened {
        definition: Definition {
            region: "ap-southeast-3".into(),
            project_id: "0123456789abcdef".into(),
            window: "1d".into(),
            timezone: "Asia/Shanghai".into(),
            start: "2026-10-31T16:00:00Z".parse().unwrap(),
            filters: Filters::default(),
        },
    })
}

fn lost() -> EntryBody {
    EntryBody::Lost(Lost {
        window: "20261121T160000Z_20261122T160000Z".parse().unwrap(),
        reason: "the provider keeps 30 days".into(),
        last_attempt: None,
    })
}

#[test]
fn a_chain_reads_back_and_a_changed_byte_breaks_it() {
    let stream: StreamName = "logins".parse().unwrap();
    let first = entry(1, Sha256::ZERO, opened());
    let second = entry(2, first.hash(), lost());
    let (seq, previous) = after(None);
    let read = SealedEntry::open(first.bytes().to_vec(), &stream, seq, previous).unwrap();
    assert_eq!(read, first);
    let (seq, previous) = after(Some(read.head()));
    assert_eq!(SealedEntry::open(second.bytes().to_vec(), &stream, seq, previous).unwrap(), second);

    let changed = String::from_utf8(first.bytes().to_vec()).unwrap().replace("0123", "0124");
    let changed = SealedEntry::open(changed.into_bytes(), &stream, Seq::FIRST, Sha256::ZERO).unwrap();
    let broken = SealedEntry::open(second.bytes().to_vec(), &stream, seq, changed.hash());
    assert!(matches!(broken, Err(BadEntry::BrokenChain { .. })));
    let misplaced = SealedEntry::open(second.bytes().to_vec(), &stream, Seq::new(3).unwrap(), first.hash());
    assert!(matches!(misplaced, Err(BadEntry::Misplaced { .. })));
}

#[test]
fn what_an_entry_says_of_an_unread_object_reads_back() {
    let inspected = EntryBody::Inspected(Box::new(Inspected {
        window: "20261121T160000Z_20261122T160000Z".parse().unwrap(),
        revision: Revision::FIRST,
        sha256: Sha256::ZERO,
        format: Format::Xlsx,
        rows: 3,
        content_digest: "0".repeat(64).parse().unwrap(),
        counted: Some(Counted { before: 3, after: 3 }),
        count_mismatch: false,
        open_records: Some(1),
        records: None,
        out_of_bounds: true,
        same_content_as: Some(Seq::FIRST),
        notes: vec!["a footer".into()],
    }));
    let acknowledged = EntryBody::Acknowledged(Acknowledged {
        window: "20261121T160000Z_20261122T160000Z".parse().unwrap(),
        entry: Seq::FIRST,
        by: "li".into(),
        reason: "seen".into(),
    });
    let stream: StreamName = "logins".parse().unwrap();
    for body in [inspected, acknowledged] {
        let sealed = entry(2, Sha256::ZERO, body);
        let seq = sealed.entry().seq;
        let read = SealedEntry::open(sealed.bytes().to_vec(), &stream, seq, Sha256::ZERO);
        assert_eq!(read.unwrap(), sealed);
    }
}

#[test]
fn the_stored_form_is_the_documented_one() {
    insta::assert_snapshot!(String::from_utf8(entry(1, Sha256::ZERO, opened()).bytes().to_vec()).unwrap());
}

#[test]
fn a_field_of_a_later_version_is_tolerated_and_a_later_format_is_not() {
    let stream: StreamName = "logins".parse().unwrap();
    let text = String::from_utf8(entry(1, Sha256::ZERO, opened()).bytes().to_vec()).unwrap();
    let with_more = text.replacen('{', "{\n  \"colour\": \"blue\",", 1);
    assert!(SealedEntry::open(with_more.into_bytes(), &stream, Seq::FIRST, Sha256::ZERO).is_ok());
    let later = text.replace("\"format\": 1", "\"format\": 2");
    let refused = SealedEntry::open(later.into_bytes(), &stream, Seq::FIRST, Sha256::ZERO);
    assert!(matches!(refused, Err(BadEntry::UnknownFormat(2))));
}
