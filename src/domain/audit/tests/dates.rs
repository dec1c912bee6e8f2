//! What the audit says of dates that contradict each other.

use super::known_gaps::dated;
use super::*;

/// A log that is opened on 2 November, as a machine with a right clock knows it on the 20th.
fn audited(entries: Vec<(EntryBody, &str)>) -> Audit {
    let mut terms = terms();
    terms.now = "2026-11-20T12:00:00Z".parse().unwrap();
    terms.to = Some(Bound::Instant("2026-11-01T00:00:00Z".parse().unwrap()));
    let mut all = vec![(opened("2026-11-01T00:00:00Z", "UTC"), "2026-11-02T03:00:00Z")];
    all.extend(entries);
    audit(&terms, &found(&folder(&dated(all)), None))
}

fn ahead(audit: &Audit) -> Vec<u64> {
    let seqs = |note: &Note| match note {
        Note::DatedAhead { seqs } => Some(seqs.iter().map(|seq| seq.get()).collect()),
        _ => None,
    };
    audit.notes.iter().find_map(seqs).unwrap_or_default()
}

fn back(audit: &Audit) -> Vec<u64> {
    let seq = |finding: &Finding| match finding {
        Finding::DatedBack { seq, .. } | Finding::DatedBeforeItsWindow { seq, .. } => seq.get(),
        other => panic!("{other}"),
    };
    audit.findings.iter().map(seq).collect()
}

fn empty(day: u8) -> EntryBody {
    let EntryBody::Archived(mut body) = archived(day, 1, None) else { unreachable!("it is archived") };
    body.object.rows = Some(0);
    EntryBody::Archived(body)
}

#[test]
fn entries_that_a_clock_wrote_which_was_ahead_are_noted_however_many_they_are() {
    let right = audited(vec![(archived(1, 1, None), "2026-11-02T03:00:00Z")]);
    assert_eq!((ahead(&right), back(&right)), (vec![], vec![]));
    for date in ["2026-11-19T03:00:00Z", "2027-12-02T03:00:00Z"] {
        let audit = audited(vec![
            (archived(1, 1, None), date),
            (archived(2, 1, None), date),
            (archived(3, 1, None), date),
            (archived(4, 1, None), "2026-11-05T03:00:00Z"),
        ]);
        assert_eq!((ahead(&audit), back(&audit)), (vec![2, 3, 4], vec![]), "{:?}", audit.notes);
    }
    // A quarter of an hour is what clocks may differ by.
    let close = audited(vec![(empty(1), "2026-11-02T03:15:00Z"), (empty(1), "2026-11-02T03:00:00Z")]);
    assert_eq!(ahead(&close), Vec::<u64>::new());
    let first = audited(vec![(empty(1), "2026-11-02T02:44:59Z")]);
    assert_eq!((ahead(&first), back(&first)), (vec![1], vec![]));
}

#[test]
fn an_entry_is_dated_back_where_windows_with_records_were_over_only_later() {
    let on_time = || (archived(5, 1, None), "2026-11-06T03:00:00Z");
    let early = "2026-11-04T03:00:00Z";
    let forged = audited(vec![on_time(), (archived(3, 1, None), early)]);
    assert_eq!((back(&forged), ahead(&forged)), (vec![3], vec![]));
    assert!(forged.findings[0].to_string().contains("window 20261105T000000Z"), "{}", forged.findings[0]);
    // It proves nothing itself, and what comes after it is held against the same window.
    let twice = audited(vec![on_time(), (archived(2, 1, None), early), (archived(3, 1, None), early)]);
    assert_eq!(back(&twice), [3, 4]);
    let own = audited(vec![(archived(5, 1, None), early)]);
    assert_eq!(back(&own), [2]);
    // There may be no records of a window that was not over.
    let no_records = audited(vec![(empty(5), "2026-11-06T03:00:00Z"), (archived(3, 1, None), early)]);
    assert_eq!((back(&no_records), ahead(&no_records)), (vec![], vec![2]));
    // A part of the window was archived by a clock that was ahead; its revision holds the rest.
    let revised = audited(vec![
        on_time(),
        (archived(3, 1, None), early),
        (archived(5, 2, Some(2)), "2026-11-08T03:00:00Z"),
    ]);
    assert_eq!((back(&revised), ahead(&revised)), (vec![], vec![2]));
    // Entries that are dated later than now were dated by a wrong clock.
    let of_the_future =
        audited(vec![(archived(5, 1, None), "2026-11-21T03:00:00Z"), (archived(3, 1, None), early)]);
    assert_eq!((back(&of_the_future), ahead(&of_the_future)), (vec![], vec![2]));
}

#[test]
fn an_entry_that_nothing_vouches_for_dates_no_other_one_in_a_signed_log() {
    let entries = vec![
        (opened("2026-11-01T00:00:00Z", "UTC"), "2026-11-02T03:00:00Z"),
        (archived(9, 1, None), "2026-11-10T03:00:00Z"),
        (archived(1, 1, None), "2026-11-03T03:00:00Z"),
    ];
    let mut log: Vec<SealedEntry> = Vec::new();
    for entry in dated(entries) {
        let mut entry = entry.entry().clone();
        entry.previous = after(log.last().map(SealedEntry::head)).1;
        entry.writer.key_fingerprint = (entry.seq != seq(2)).then(|| "SHA256:key".to_owned());
        log.push(SealedEntry::seal(entry));
    }
    let signed: Vec<_> = log.iter().filter(|entry| entry.entry().seq != seq(2)).cloned().collect();
    let mut terms = terms();
    terms.now = "2026-11-20T12:00:00Z".parse().unwrap();
    terms.to = Some(Bound::Instant("2026-11-01T00:00:00Z".parse().unwrap()));
    let told = told(&terms, &found(&folder(&log), Some(&signed)));
    begins(&told, &["entry 2 is not signed, though entry 1 before it is"]);
}
