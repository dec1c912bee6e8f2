//! What the audit says of damaged logs, each damage by itself.

mod dates;
mod known_gaps;
mod log_end;

use super::*;
use crate::domain::export::{Bounds, ExportApi, Filters, Format};
use crate::domain::log_entry::*;
use crate::domain::object_key::{HashPrefix, Revision};

fn seq(n: u64) -> Seq {
    Seq::new(n).unwrap()
}

fn window(day: u8) -> Window {
    format!("202611{day:02}T000000Z_202611{:02}T000000Z", day + 1).parse().unwrap()
}

fn archived(day: u8, revision: u32, follows: Option<u64>) -> EntryBody {
    let (window, revision) = (window(day), Revision::new(revision).unwrap());
    EntryBody::Archived(Box::new(Archived {
        window,
        revision,
        object: StoredObject {
            key: DataKey::new(window, revision, Format::Csv),
            version_id: None,
            bytes: 1,
            sha256: Sha256::of(b"1"),
            md5: None,
            etag: None,
            format: Format::Csv,
            rows: Some(1),
            content_digest: Some(crate::domain::digest::ContentDigest::EMPTY),
        },
        export: ExportFacts::new(
            ExportApi::V2,
            Bounds { start: window.start(), end: window.end() },
            window.end(),
        ),
        supersedes: follows.map(|n| Supersedes {
            seq: seq(n),
            rows: Some(RowChanges { rows_added: 1, rows_removed: 0, rows_changed: 0 }),
        }),
        orphans: Vec::new(),
    }))
}

fn opened(start: &str, timezone: &str) -> EntryBody {
    EntryBody::Stream(StreamOpened {
        definition: Definition {
            region: "r".into(),
            project_id: "p".into(),
            window: "1d".into(),
            timezone: timezone.into(),
            start: start.parse().unwrap(),
            filters: Filters::default(),
        },
    })
}

/// A log's stored entries.
fn log(bodies: Vec<EntryBody>, signed: bool) -> Vec<SealedEntry> {
    let mut entries: Vec<SealedEntry> = Vec::new();
    for body in bodies {
        let (seq, previous) = after(entries.last().map(SealedEntry::head));
        entries.push(SealedEntry::seal(LogEntry {
            format: FORMAT,
            stream: "logins".parse().unwrap(),
            seq,
            previous,
            recorded_at: "2026-11-23T02:00:05Z".parse().unwrap(),
            writer: Writer {
                version: "0.1.0".into(),
                host: "archive-1".into(),
                key_fingerprint: signed.then(|| "SHA256:key".to_owned()),
            },
            lock: crate::domain::lock::Lock::NONE,
            body,
        }));
    }
    entries
}

fn whole(signed: bool) -> Vec<SealedEntry> {
    let mut bodies = vec![opened("2026-11-01T00:00:00Z", "UTC")];
    bodies.extend((1..=6).map(|day| archived(day, 1, None)));
    log(bodies, signed)
}

/// What lies in a folder after damage: place and bytes.
type Folder = Vec<(u64, Vec<u8>)>;

fn folder(log: &[SealedEntry]) -> Folder {
    log.iter().map(|entry| (entry.entry().seq.get(), entry.bytes().to_vec())).collect()
}

fn found(folder: &Folder, signed: Option<&[SealedEntry]>) -> Found {
    let mut found = Found::default();
    for entry in signed.into_iter().flatten() {
        found.signatures.entry(entry.entry().seq).or_default().push(HashPrefix::of(&entry.hash()));
    }
    for (place, bytes) in folder {
        let hash = Sha256::of(bytes);
        let good = signed.into_iter().flatten().any(|entry| entry.hash() == hash);
        let signature = if good { Signature::Valid } else { Signature::Absent };
        found.entries.push(FoundEntry { place: seq(*place), hash, reading: Reading::of(bytes), signature });
    }
    found
}

fn terms() -> Terms {
    Terms {
        stream: "logins".parse().unwrap(),
        now: "2026-11-07T12:00:00Z".parse().unwrap(),
        tolerance: SignedDuration::from_hours(2),
        from: None,
        to: None,
        expected_head: None,
        signers_known: false,
    }
}

fn told(terms: &Terms, found: &Found) -> Vec<String> {
    audit(terms, found).findings.iter().map(Finding::to_string).collect()
}

/// What is found in a log of six windows after `damage`, signed and not signed.
fn after_damage(signed: bool, damage: impl Fn(&mut Folder)) -> Vec<String> {
    let log = whole(signed);
    let mut folder = folder(&log);
    damage(&mut folder);
    told(&terms(), &found(&folder, signed.then_some(&log)))
}

fn begins(told: &[String], starts: &[&str]) {
    assert_eq!(told.len(), starts.len(), "{told:#?}");
    for (told, start) in told.iter().zip(starts) {
        assert!(told.starts_with(start), "{told} does not begin with {start}");
    }
}

fn change(bytes: &mut Vec<u8>, from: &str, to: &str) {
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.contains(from));
    *bytes = text.replacen(from, to, 1).into_bytes();
}

#[test]
fn a_whole_log_has_no_finding_and_claims_its_objects() {
    for signed in [false, true] {
        let log = whole(signed);
        let audit = audit(&terms(), &found(&folder(&log), signed.then_some(&log)));
        assert_eq!(audit.findings, []);
        assert_eq!((audit.entries, audit.archived.len(), audit.objects.len()), (7, 6, 6));
        assert_eq!(audit.head, Some(log[6].head()));
    }
}

#[test]
fn missing_entries_are_named_by_their_numbers_and_their_windows() {
    for signed in [false, true] {
        begins(
            &after_damage(signed, |f| drop(f.remove(3))),
            &["entry 4 is missing", "no entry says what became of window 20261103"],
        );
        begins(
            &after_damage(signed, |f| drop(f.drain(2..4))),
            &[
                "entries 3 and 4 are missing",
                "no entry says what became of the 2 windows from 20261102T000000Z_",
            ],
        );
        begins(
            &after_damage(signed, |f| drop(f.remove(0))),
            &["entry 1 is missing", "no entry says what the stream is"],
        );
    }
}

#[test]
fn a_changed_entry_is_named_and_not_its_neighbours() {
    let host = |f: &mut Folder| change(&mut f[3].1, "archive-1", "archive-2");
    let previous = |f: &mut Folder| change(&mut f[3].1, "\"previous\": \"", "\"previous\": \"0");
    let named = |f: &mut Folder| {
        let at = String::from_utf8(f[3].1.clone()).unwrap().find("previous").unwrap() + 12;
        f[3].1[at] = if f[3].1[at] == b'0' { b'1' } else { b'0' };
    };
    for signed in [false, true] {
        begins(&after_damage(signed, host), &["entry 4 was changed: its SHA-256"]);
        begins(&after_damage(signed, named), &["entry 4 was changed or forged"]);
        let unreadable = after_damage(signed, previous);
        assert!(unreadable[0].starts_with("entry 4 was changed: it does not read"), "{unreadable:?}");
        assert_eq!(unreadable.len(), 2, "its window has no verdict then: {unreadable:?}");
    }
    let last = |f: &mut Folder| change(&mut f[6].1, "archive-1", "archive-2");
    begins(&after_damage(true, last), &["entry 7 was changed: its signature is on other bytes"]);
    let before_last = |f: &mut Folder| change(&mut f[5].1, "archive-1", "archive-2");
    begins(&after_damage(false, before_last), &["entry 6 was changed, or entry 7 is forged"]);
    begins(&after_damage(true, before_last), &["entry 6 was changed: its SHA-256"]);
    let format = |f: &mut Folder| change(&mut f[3].1, "\"format\": 1", "\"format\": 2");
    assert!(after_damage(true, format)[0].starts_with("entry 4 has format 2"));
}

#[test]
fn swapped_and_copied_entries_are_named_by_place_and_number() {
    for signed in [false, true] {
        let swapped = after_damage(signed, |f| {
            let bytes = f[2].1.clone();
            f[2].1 = std::mem::replace(&mut f[3].1, bytes);
        });
        begins(
            &swapped,
            &[
                "entry 4 of stream logins stands in the place of entry 3",
                "entry 3 of stream logins stands in the place of entry 4",
            ],
        );
        let copied = after_damage(signed, |f| f[3].1 = f[2].1.clone());
        begins(&copied, &["entry 3 of stream logins stands in the place of entry 4", "no entry says"]);
    }
}

#[test]
fn an_entry_that_follows_another_than_the_one_before_it_is_a_fork() {
    let log = whole(false);
    let mut entry = log[6].entry().clone();
    entry.previous = log[3].hash();
    let forked = SealedEntry::seal(entry);
    let told = after_damage(false, |f| f[6].1 = forked.bytes().to_vec());
    begins(&told, &["the chain is forked: entry 7 follows entry 4"]);
}

#[test]
fn an_entry_that_nobody_signed_after_signed_ones_is_a_finding() {
    let log = whole(true);
    let mut entry = log[6].entry().clone();
    (entry.seq, entry.previous) = after(Some(log[6].head()));
    entry.writer.key_fingerprint = None;
    entry.body = archived(7, 1, None);
    let forged = SealedEntry::seal(entry);
    let told = after_damage(true, |f| f.push((8, forged.bytes().to_vec())));
    begins(&told, &["entry 8 is not signed, though entry 7 before it is"]);
}

#[test]
fn a_cut_end_shows_in_later_signatures_or_in_the_head_that_was_written_down() {
    begins(
        &after_damage(true, |f| f.truncate(5)),
        &["entry 6 is missing from the end of the log", "no entry says"],
    );
    let log = whole(false);
    let mut terms = terms();
    terms.to = Some(Bound::Date("2026-11-05".parse().unwrap()));
    let cut = found(&folder(&log[..5]), None);
    assert_eq!(told(&terms, &cut), Vec::<String>::new());
    let head = format!("7:{}", log[6].hash());
    terms.expected_head = Some(head[..20].parse().unwrap());
    let begin =
        format!("entry 7 ({}), which was the head, is missing: the log's end was cut off", &head[2..20]);
    begins(&told(&terms, &cut), &[&begin]);
    terms.expected_head = Some(format!("5:{}", log[3].hash()).parse().unwrap());
    begins(&told(&terms, &cut), &["entry 5 was changed: it had SHA-256"]);
    for bad in ["7", "7:", "0:0123456789abcdef", "7:0123456789ABCDEF", "7:0123"] {
        assert!(bad.parse::<ExpectedHead>().is_err(), "{bad}");
    }
}

#[test]
fn what_entries_say_must_fit_together() {
    let told_of = |bodies: Vec<EntryBody>| {
        let mut terms = terms();
        terms.to = Some(Bound::Instant("2026-11-02T00:00:00Z".parse().unwrap()));
        told(&terms, &found(&folder(&log(bodies, false)), None))
    };
    let open = || opened("2026-11-01T00:00:00Z", "UTC");
    let first = || archived(1, 1, None);
    assert_eq!(told_of(vec![open(), first(), archived(1, 2, Some(2))]), Vec::<String>::new());
    begins(&told_of(vec![open(), first(), first()]), &["entries 2 and 3 both are r1"]);
    begins(&told_of(vec![open(), first(), archived(1, 2, None)]), &["entry 3 of window 20261101"]);
    begins(&told_of(vec![open(), first(), archived(1, 2, Some(1))]), &["entry 3 of window 20261101"]);
    begins(&told_of(vec![open(), archived(1, 2, Some(2))]), &["entry 2 of window 20261101"]);
    begins(&told_of(vec![first()]), &["entry 1 does not say", "no entry says what the stream is"]);
    let earlier = opened("2026-10-31T00:00:00Z", "UTC");
    begins(&told_of(vec![open(), first(), earlier]), &["no entry says what became of window 20261031"]);
    let later = opened("2026-11-02T00:00:00Z", "UTC");
    begins(&told_of(vec![open(), first(), later]), &["entry 3 changes the stream's start"]);
    let moved = opened("2026-11-01T00:00:00Z", "Asia/Shanghai");
    begins(&told_of(vec![open(), first(), moved]), &["entry 3 changes the stream's timezone"]);
    let shanghai = opened("2026-10-31T16:00:00Z", "Asia/Shanghai");
    let told = told_of(vec![shanghai, first()]);
    assert!(told[0].starts_with("entry 2 is about window 20261101"), "{told:?}");
    begins(&told_of(vec![opened("2026-11-01T00:00:00Z", "Atlantis"), first()]), &["the stream's windows"]);
}

#[test]
fn signers_that_are_named_must_have_signed_something() {
    let log = whole(false);
    let mut terms = terms();
    terms.signers_known = true;
    begins(&told(&terms, &found(&folder(&log), None)), &["no entry is signed"]);
}

#[test]
fn a_key_that_signs_from_some_entry_on_is_named_where_nobody_said_who_may_sign() {
    let mut log = whole(true);
    let last = log.pop().unwrap();
    let mut entry = last.entry().clone();
    entry.writer.key_fingerprint = Some("SHA256:stranger".to_owned());
    log.push(SealedEntry::seal(entry));
    let found = found(&folder(&log), Some(&log));
    let changes = |terms: &Terms| {
        let notes = audit(terms, &found).notes;
        notes
            .iter()
            .map(Note::to_string)
            .filter(|note| note.contains("signing key changes"))
            .collect::<Vec<_>>()
    };
    let mut terms = terms();
    let [said] = &changes(&terms)[..] else { panic!("not said once") };
    assert!(said.contains("from entry 1 on SHA256:key, from entry 7 on SHA256:stranger"), "{said}");
    terms.signers_known = true;
    assert_eq!(changes(&terms), Vec::<String>::new());
}
