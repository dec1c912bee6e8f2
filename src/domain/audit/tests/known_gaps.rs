//! What the audit says of windows that are lost, unread or acknowledged.

use super::*;

/// A log whose entries are dated as given.
pub(super) fn dated(entries: Vec<(EntryBody, &str)>) -> Vec<SealedEntry> {
    let mut log: Vec<SealedEntry> = Vec::new();
    for (body, recorded_at) in entries {
        let mut entry = self::log(vec![body], false).remove(0).entry().clone();
        (entry.seq, entry.previous) = after(log.last().map(SealedEntry::head));
        entry.recorded_at = recorded_at.parse().unwrap();
        log.push(SealedEntry::seal(entry));
    }
    log
}

#[test]
fn losses_that_a_clock_recorded_which_was_ahead_are_noted_and_date_nothing_back() {
    let open = || (opened("2026-11-01T00:00:00Z", "UTC"), "2026-11-02T03:00:00Z");
    let lost =
        |day, at| (EntryBody::Lost(Lost { window: window(day), reason: "".into(), last_attempt: None }), at);
    let audited = |entries| {
        let mut terms = terms();
        terms.to = Some(Bound::Instant("2026-11-03T00:00:00Z".parse().unwrap()));
        audit(&terms, &found(&folder(&dated(entries)), None))
    };
    let note = |seqs: &[u64]| Note::LossesNotBelieved { seqs: seqs.iter().map(|n| seq(*n)).collect() };
    let (ahead, right) = ("2027-11-02T03:00:00Z", "2026-11-04T03:00:00Z");
    // The windows were archived afterwards.
    let mended = audited(vec![
        open(),
        lost(1, ahead),
        lost(2, ahead),
        (archived(1, 1, None), right),
        (archived(2, 1, None), right),
    ]);
    assert_eq!(mended.findings, []);
    assert!(mended.notes.contains(&note(&[2, 3])), "{:?}", mended.notes);
    // They were not: nothing says what became of them.
    let open_still = audited(vec![open(), lost(1, ahead), (archived(2, 1, None), right)]);
    assert!(
        matches!(open_still.findings[..], [Finding::WindowsWithoutVerdict { windows: 1, .. }]),
        "{:?}",
        open_still.findings
    );
    assert!(open_still.lost.is_empty());
    // Dated before its window was over.
    let early = audited(vec![open(), lost(2, "2026-11-02T12:00:00Z"), (archived(1, 1, None), right)]);
    assert!(early.notes.contains(&note(&[2])) && early.lost.is_empty(), "{:?}", early.notes);
    // A right one stands, and whatever is dated before all of them is dated back.
    let right_one = audited(vec![open(), lost(1, right), (archived(2, 1, None), right)]);
    assert_eq!((right_one.findings, right_one.lost.len()), (vec![], 1));
    let back = audited(vec![open(), lost(1, ahead), (archived(2, 1, None), "2026-11-01T00:00:00Z")]);
    assert!(back.findings.iter().any(|finding| matches!(finding, Finding::DatedBack { .. })));
}

fn lost(day: u8) -> EntryBody {
    EntryBody::Lost(Lost { window: window(day), reason: "too old".into(), last_attempt: None })
}

fn unread(day: u8, revision: u32, follows: Option<u64>) -> EntryBody {
    let EntryBody::Archived(mut body) = archived(day, revision, follows) else {
        unreachable!("it is archived")
    };
    body.export.unread = Some("a name is cut".into());
    (body.object.rows, body.object.content_digest) = (None, None);
    EntryBody::Archived(body)
}

fn acknowledged(day: u8, entry: u64) -> EntryBody {
    let (by, reason) = ("Ada".into(), "an outage".into());
    EntryBody::Acknowledged(Acknowledged { window: window(day), entry: seq(entry), by, reason })
}

/// The findings on a log of one day's entries, and the entries that are acknowledged.
fn known(bodies: Vec<EntryBody>) -> (Vec<String>, Vec<u64>) {
    let mut terms = terms();
    // Later than the entries are dated, else their losses are not believed.
    terms.now = "2026-11-23T12:00:00Z".parse().unwrap();
    terms.to = Some(Bound::Instant("2026-11-02T00:00:00Z".parse().unwrap()));
    let mut all = vec![opened("2026-11-01T00:00:00Z", "UTC")];
    all.extend(bodies);
    let audit = audit(&terms, &found(&folder(&log(all, false)), None));
    let noted = audit.notes.iter().filter(|note| matches!(note, Note::Acknowledged { .. })).count();
    assert_eq!(noted, audit.acknowledged.len());
    let findings = audit.findings.iter().map(Finding::to_string).collect();
    (findings, audit.acknowledged.values().map(|known| known.entry.get()).collect())
}

#[test]
fn an_acknowledgement_counts_while_the_window_rests_on_the_entry_that_it_names() {
    let none = Vec::<String>::new;
    assert_eq!(known(vec![lost(1), acknowledged(1, 2)]), (none(), vec![2]));
    assert_eq!(known(vec![unread(1, 1, None), acknowledged(1, 2)]), (none(), vec![2]));
    assert_eq!(known(vec![lost(1), acknowledged(1, 2), lost(1)]), (none(), vec![]));
    assert_eq!(known(vec![lost(1), acknowledged(1, 2), archived(1, 1, None)]), (none(), vec![]));
    assert_eq!(known(vec![lost(1), acknowledged(1, 2), unread(1, 1, None)]), (none(), vec![]));
    assert_eq!(
        known(vec![unread(1, 1, None), acknowledged(1, 2), archived(1, 2, Some(2))]),
        (none(), vec![])
    );
    // Other bytes that cannot be read either are the same gap, until some can be read.
    let unread_again = vec![unread(1, 1, None), acknowledged(1, 2), unread(1, 2, Some(2))];
    assert_eq!(known(unread_again.clone()), (none(), vec![4]));
    let read = [unread_again, vec![archived(1, 3, Some(4)), unread(1, 4, Some(5))]].concat();
    assert_eq!(known(read), (none(), vec![]));
    // It was lost when the person looked, and one more entry said so before the person's own.
    assert_eq!(known(vec![lost(1), lost(1), acknowledged(1, 2)]), (none(), vec![]));
    assert_eq!(known(vec![lost(1), acknowledged(1, 2), acknowledged(1, 2)]), (none(), vec![2]));
}

#[test]
fn an_acknowledgement_of_anything_but_a_loss_or_an_unread_object_of_its_window_is_a_finding() {
    for (entry, bodies) in [
        (1, vec![lost(1)]),
        (3, vec![lost(1)]),
        (9, vec![lost(1)]),
        (2, vec![archived(1, 1, None)]),
        (3, vec![lost(1), lost(2)]),
    ] {
        let mut bodies = bodies;
        bodies.push(acknowledged(1, entry));
        let (findings, counting) = known(bodies);
        let says = format!("acknowledges entry {entry} for window");
        assert!(findings.len() == 1 && findings[0].contains(&says), "{entry}: {findings:?}");
        assert_eq!(counting, Vec::<u64>::new());
    }
    // That the entry is missing is said already.
    let mut terms = terms();
    // Later than the entries are dated, else their losses are not believed.
    terms.now = "2026-11-23T12:00:00Z".parse().unwrap();
    terms.to = Some(Bound::Instant("2026-11-02T00:00:00Z".parse().unwrap()));
    let all = log(vec![opened("2026-11-01T00:00:00Z", "UTC"), lost(1), lost(1), acknowledged(1, 2)], false);
    let mut folder = folder(&all);
    folder.remove(1);
    begins(&told(&terms, &found(&folder, None)), &["entry 2 is missing"]);
}

fn archived_unread(day: u8) -> EntryBody {
    let EntryBody::Archived(mut archived) = archived(day, 1, None) else { unreachable!() };
    archived.object = StoredObject { rows: None, content_digest: None, ..archived.object };
    archived.export.unread = Some("it cannot be read".into());
    EntryBody::Archived(archived)
}

fn inspected(day: u8, sha256: Sha256) -> EntryBody {
    EntryBody::Inspected(Box::new(Inspected {
        window: window(day),
        revision: Revision::FIRST,
        sha256,
        format: Format::Csv,
        rows: 3,
        content_digest: "0".repeat(64).parse().unwrap(),
        counted: None,
        count_mismatch: false,
        open_records: None,
        records: None,
        out_of_bounds: false,
        same_content_as: None,
        notes: Vec::new(),
    }))
}

#[test]
fn what_was_found_in_an_unread_object_counts_only_for_the_bytes_that_were_archived_unread() {
    let with = |more: Vec<EntryBody>| {
        let mut bodies = vec![opened("2026-11-01T00:00:00Z", "UTC"), archived_unread(1)];
        bodies.extend((2..=6).map(|day| archived(day, 1, None)));
        bodies.extend(more);
        audit(&terms(), &found(&folder(&log(bodies, false)), None))
    };
    let notes = |audit: &Audit| audit.notes.iter().map(Note::to_string).collect::<Vec<_>>();
    let unread = with(Vec::new());
    assert_eq!(unread.findings, []);
    assert!(
        notes(&unread).iter().any(|note| note.contains("r1.csv (entry 2: it cannot be read)")),
        "{unread:?}"
    );
    let read = with(vec![inspected(1, Sha256::of(b"1"))]);
    assert_eq!(read.findings, []);
    assert!(notes(&read).contains(&"archived unread and read later, by entries 8".to_owned()), "{read:?}");
    assert!(!notes(&read).iter().any(|note| note.contains("until somebody")), "{read:?}");
    for wrong in
        [inspected(1, Sha256::of(b"2")), inspected(2, Sha256::of(b"1")), inspected(7, Sha256::of(b"1"))]
    {
        let window = wrong.window().unwrap();
        let audit = with(vec![wrong]);
        let finding = Finding::InspectedWrong { seq: seq(8), window, revision: Revision::FIRST };
        assert_eq!(audit.findings, [finding]);
    }
}
