//! The chain: every place taken, each entry in its place and after the one that it names, each signed that must be.

use std::collections::{BTreeSet, HashMap};

use super::{Audit, Finding, Found, FoundEntry, Note, Reading, Signature, Terms};
use crate::domain::digest::Sha256;
use crate::domain::log_entry::LogEntry;
use crate::domain::object_key::Seq;
use crate::domain::text::Line;

pub(super) fn check(terms: &Terms, found: &Found, audit: &mut Audit) {
    places(found, audit);
    let mut links = Links { terms, found, by_hash: by_hash(found), blamed: BTreeSet::new(), audit };
    for index in 0..found.entries.len() {
        links.read(index);
    }
    let blamed = links.blamed;
    signatures(terms, found, &blamed, audit);
}

/// The places that nothing stands at.
fn places(found: &Found, audit: &mut Audit) {
    let mut expected = Seq::FIRST;
    for entry in &found.entries {
        if let Some(last) = Seq::new(entry.place.get() - 1).filter(|last| *last >= expected) {
            audit.findings.push(Finding::EntriesMissing { first: expected, last });
        }
        expected = entry.place.next();
    }
    if found.entries.is_empty() {
        audit.findings.push(Finding::NoEntries);
    }
    // A signature is stored before its entry, and after the entry before: the last one may be of a crash.
    match found.signatures.last_key_value() {
        Some((last, _)) if *last > expected => {
            if let Some(last) = Seq::new(last.get() - 1) {
                audit.findings.push(Finding::TailMissing { first: expected, last });
            }
        }
        Some((last, _)) if *last == expected => {
            audit.notes.push(Note::SignatureWithoutEntry { seq: *last });
        }
        _ => {}
    }
}

fn by_hash(found: &Found) -> HashMap<Sha256, &FoundEntry> {
    let mut by_hash = HashMap::new();
    for entry in &found.entries {
        let in_place = entry.entry().is_none_or(|e| e.seq == entry.place);
        if in_place {
            by_hash.insert(entry.hash, entry);
        } else {
            by_hash.entry(entry.hash).or_insert(entry);
        }
    }
    by_hash
}

struct Links<'a> {
    terms: &'a Terms,
    found: &'a Found,
    by_hash: HashMap<Sha256, &'a FoundEntry>,
    /// Entries that a finding names already as changed.
    blamed: BTreeSet<Seq>,
    audit: &'a mut Audit,
}

impl<'a> Links<'a> {
    fn read(&mut self, index: usize) {
        let found = &self.found.entries[index];
        let seq = found.place;
        let entry = match &found.reading {
            Reading::Entry(entry) => entry,
            Reading::OtherFormat(format) => {
                self.blamed.insert(seq);
                return self.audit.findings.push(Finding::EntryOfAnotherFormat { seq, format: *format });
            }
            Reading::Unreadable(error) => {
                self.blamed.insert(seq);
                return self.audit.findings.push(Finding::EntryUnreadable { seq, error: error.clone() });
            }
        };
        if !self.in_place(found) {
            let (stream, says) = (entry.stream.clone(), entry.seq);
            self.audit.findings.push(Finding::EntryMisplaced { seq, stream, says });
        }
        self.link(index, found, entry);
    }

    fn in_place(&self, found: &FoundEntry) -> bool {
        found.entry().is_none_or(|entry| entry.seq == found.place && entry.stream == self.terms.stream)
    }

    /// Whether the entry follows the one that stands before it; if not, why that may be.
    fn link(&mut self, index: usize, found: &'a FoundEntry, entry: &LogEntry) {
        let seq = found.place;
        let claimed = entry.previous;
        if seq == Seq::FIRST {
            if claimed != Sha256::ZERO && self.in_place(found) {
                self.blame(Finding::EntryForged { seq, claimed, actual: Sha256::ZERO }, seq);
            }
            return;
        }
        let before = index.checked_sub(1).map(|i| &self.found.entries[i]);
        let before = before.filter(|before| before.place.next() == seq);
        if before.is_some_and(|before| before.hash == claimed) {
            return;
        }
        if let Some(named) = self.by_hash.get(&claimed) {
            // Entries that changed places still follow each other by what they say.
            let moved = !self.in_place(found) || !self.in_place(named);
            let explained = moved && named.entry().is_none_or(|named| named.seq.next() == entry.seq);
            if !explained {
                let follows = named.place;
                self.audit.findings.push(Finding::ChainForked { seq, follows });
            }
            return;
        }
        // What is missing, unreadable or out of place is named already.
        let Some(before) = before.filter(|before| before.entry().is_some() && self.in_place(before)) else {
            return;
        };
        if !self.in_place(found) {
            return;
        }
        let (actual, next) = (before.hash, self.found.entries.get(index + 1));
        let finding = match culprit(before, found, next) {
            Culprit::Before => {
                Finding::EntryChanged { seq: before.place, hash: actual, named: claimed, by: seq }
            }
            Culprit::This => Finding::EntryForged { seq, claimed, actual },
            Culprit::Either => Finding::ChainBroken { seq, before: before.place, claimed, actual },
        };
        let blamed = if matches!(finding, Finding::EntryChanged { .. }) { before.place } else { seq };
        self.blame(finding, blamed);
    }

    /// One finding for each entry that was changed, though both of its links may be broken.
    fn blame(&mut self, finding: Finding, seq: Seq) {
        if self.blamed.insert(seq) {
            self.audit.findings.push(finding);
        }
    }
}

enum Culprit {
    Before,
    This,
    Either,
}

fn culprit(before: &FoundEntry, this: &FoundEntry, next: Option<&FoundEntry>) -> Culprit {
    match (before.is_vouched_for(), this.is_vouched_for()) {
        (false, true) => return Culprit::Before,
        (true, false) => return Culprit::This,
        _ => {}
    }
    let next = next.filter(|next| next.place == this.place.next()).and_then(FoundEntry::entry);
    match next {
        Some(next) if next.previous == this.hash => Culprit::Before,
        Some(_) => Culprit::This,
        None => Culprit::Either,
    }
}

fn signatures(terms: &Terms, found: &Found, blamed: &BTreeSet<Seq>, audit: &mut Audit) {
    let mut signed: Option<Seq> = None;
    let (mut unchecked, mut before) = (0, None);
    let mut keys: Vec<(Seq, Line)> = Vec::new();
    for found_entry in &found.entries {
        let seq = found_entry.place;
        let Some(entry) = found_entry.entry() else { continue };
        if let Some(key) = entry.writer.key_fingerprint.as_deref().map(Line::from)
            && keys.last().is_none_or(|(_, last)| *last != key)
        {
            keys.push((seq, key));
        }
        let named = entry.writer.key_fingerprint.is_some();
        match &found_entry.signature {
            // A changed entry has another hash, so its signature is not looked for under the right name.
            Signature::Absent if named && blamed.contains(&seq) => {}
            Signature::Absent if named => {
                let of_other_bytes = found.signatures.contains_key(&entry.seq);
                let hash = found_entry.hash;
                audit.findings.push(Finding::SignatureMissing { seq, hash, of_other_bytes });
            }
            Signature::Absent => match signed {
                Some(after) => audit.findings.push(Finding::UnsignedAfterSigned { seq, after }),
                None => before = Some(seq),
            },
            Signature::OfSomebody => unchecked += 1,
            Signature::Valid => {}
            Signature::Refused(error) => {
                let (hash, error) = (found_entry.hash, error.clone());
                audit.findings.push(Finding::SignatureRefused { seq, hash, error });
            }
        }
        if named || found_entry.signature != Signature::Absent {
            signed = Some(seq);
        }
    }
    if unchecked > 0 && !terms.signers_known {
        audit.notes.push(Note::SignaturesNotChecked { entries: unchecked });
    }
    if keys.len() > 1 && !terms.signers_known {
        audit.notes.push(Note::SigningKeyChanges { keys });
    }
    if terms.signers_known
        && let Some(last) = before
    {
        if signed.is_none() {
            audit.findings.push(Finding::NotSigned);
        } else {
            audit.notes.push(Note::UnsignedBefore { last });
        }
    }
}
