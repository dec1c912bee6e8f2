//! What is part of a log, of all that lies in its folder.

use super::*;

/// Takes out what is no part of the log that `damage` leaves, and says its places; and where the log ends then.
fn left_out(signature: Option<&Signature>, damage: impl Fn(&mut Folder)) -> (Vec<u64>, Option<u64>) {
    let log = whole(signature.is_some());
    let mut folder = folder(&log);
    damage(&mut folder);
    let mut found = found(&folder, signature.map(|_| &log[..]));
    for entry in &mut found.entries {
        if let (Signature::Valid, Some(signature)) = (&entry.signature, signature) {
            entry.signature = signature.clone();
        }
    }
    let foreign = found.leave_out_foreign(&terms().stream);
    let end = found.entries.last().map(|entry| entry.place.get());
    (foreign.iter().map(|foreign| foreign.seq.get()).collect(), end)
}

const SIGNED: [Option<Signature>; 3] = [None, Some(Signature::Valid), Some(Signature::OfSomebody)];

#[test]
fn an_entry_that_is_missing_in_a_log_does_not_end_it() {
    for signature in &SIGNED {
        let signature = signature.as_ref();
        assert_eq!(left_out(signature, |_| ()), (vec![], Some(7)));
        assert_eq!(left_out(signature, |f| drop(f.remove(2))), (vec![], Some(7)));
        assert_eq!(left_out(signature, |f| drop(f.drain(1..5))), (vec![], Some(7)));
        // Two gaps, and garbage in the place of an entry.
        let two = |f: &mut Folder| {
            f.remove(4);
            f.remove(1);
        };
        assert_eq!(left_out(signature, two), (vec![], Some(7)));
        let garbage = |f: &mut Folder| {
            f[3].1 = b"{".to_vec();
            f.remove(2);
        };
        assert_eq!(left_out(signature, garbage), (vec![], Some(7)));
    }
    let last_but_one = |f: &mut Folder| drop(f.remove(5));
    assert_eq!(left_out(Some(&Signature::Valid), last_but_one), (vec![], Some(7)));
    assert_eq!(left_out(Some(&Signature::OfSomebody), last_but_one), (vec![], Some(7)));
    assert_eq!(left_out(None, last_but_one), (vec![7], Some(5)), "nothing links it to the log");
    // Of a first entry that is gone nobody knows whether it was signed.
    for signature in &SIGNED {
        assert_eq!(left_out(signature.as_ref(), |f| drop(f.remove(0))), (vec![], Some(7)));
    }
}

#[test]
fn what_shows_nothing_beyond_a_gap_is_left_out() {
    let moved = |place: u64, previous: Sha256| {
        let mut entry = whole(false)[6].entry().clone();
        (entry.seq, entry.previous) = (seq(place), previous);
        SealedEntry::seal(entry)
    };
    for signature in &SIGNED {
        let signature = signature.as_ref();
        let copied = |f: &mut Folder| f.push((9, f[2].1.clone()));
        assert_eq!(left_out(signature, copied), (vec![9], Some(7)));
        let garbage = |f: &mut Folder| f.extend([(9, b"{".to_vec()), (10, Vec::new())]);
        assert_eq!(left_out(signature, garbage), (vec![9, 10], Some(7)));
        // It is damage where it stands in the next place.
        assert_eq!(left_out(signature, |f| f.push((8, b"{".to_vec()))), (vec![], Some(8)));
        let alone = |f: &mut Folder| f.push((9, moved(9, Sha256::ZERO).bytes().to_vec()));
        assert_eq!(left_out(signature, alone), (vec![9], Some(7)));
        let first = moved(9, Sha256::ZERO);
        let second = moved(10, first.hash());
        let pair = |f: &mut Folder| f.extend([(9, first.bytes().to_vec()), (10, second.bytes().to_vec())]);
        let expected = if signature.is_some() { (vec![9, 10], Some(7)) } else { (vec![], Some(10)) };
        assert_eq!(left_out(signature, pair), expected);
    }
    let only = |f: &mut Folder| *f = vec![(9, b"{".to_vec())];
    assert_eq!(left_out(None, only), (vec![9], None));
}
