//! Dates: an entry's place in the chain is proven, and its date is what the clock of its writer said.
//!
//! An entry is dated back if windows prove it: its own, or one that an entry before it archives with records, was over only
//! later. No clock has a part in that: there are no records of a window before that window. (A clock that was ahead may have
//! archived the part of a window that was over by then. So a window proves nothing once a later revision has taken the place of
//! that export, and neither does an entry that is dated later than now.) In a signed log an entry that nothing vouches for has no
//! say: its damage is told elsewhere.
//!
//! Where dates merely contradict each other, the earlier entry is the one that is dated ahead: early versions wrote entries by a
//! clock that nobody had confirmed. That is worth knowing, and no damage. What a key may sign at which time is another
//! question: a signature is checked at the date of its entry, and no earlier than the entry before it.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{Audit, Finding, Found, FoundEntry, Note, Terms};
use crate::domain::log_entry::{Archived, EntryBody};
use crate::domain::object_key::Seq;
use crate::domain::window::Window;

/// How far the clocks of two writers may be apart: the provider refuses requests beyond it.
pub const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// Whether an entry of `recorded_at` is dated before `instant`, by more than clocks differ.
fn is_before(recorded_at: Timestamp, instant: Timestamp) -> bool {
    instant.duration_since(recorded_at) > SKEW
}

/// The date of an entry, in a stretch of entries that follow one another.
struct Dated {
    seq: Seq,
    recorded_at: Timestamp,
    stretch: usize,
    is_loss: bool,
}

/// What the entries of a stretch prove about the date of the one after them.
#[derive(Default)]
struct Before {
    /// The latest date, and whose it is.
    latest: Option<(Seq, Timestamp)>,
    /// The latest window of which there were records, and the entry that archives it.
    window: Option<(Seq, Timestamp, Window)>,
}

/// Finds entries that are dated back, and notes those that are dated ahead of entries after them; returns the places of these.
pub(super) fn check(terms: &Terms, found: &Found, audit: &mut Audit) -> BTreeSet<Seq> {
    let superseded = superseded(found);
    let (mut dated, mut stretch, mut is_signed) = (Vec::new(), 0, false);
    let (mut before, mut last): (Before, Option<&FoundEntry>) = (Before::default(), None);
    for here in &found.entries {
        let Some(entry) = here.entry() else { continue };
        let (seq, recorded_at) = (here.place, entry.recorded_at);
        // Neighbours that do not hang together are told elsewhere: the one that was changed may have another date too.
        if last.is_none_or(|last| last.hash != entry.previous) {
            stretch += 1;
            before = Before::default();
        }
        last = Some(here);
        is_signed |= entry.writer.key_fingerprint.is_some();
        if is_signed && !here.is_vouched_for() {
            continue;
        }
        let archived = match &entry.body {
            EntryBody::Archived(archived) => Some(archived.as_ref()),
            _ => None,
        };
        if let Some(finding) = before.dated_back(seq, recorded_at, archived.map(|archived| archived.window)) {
            audit.findings.push(finding);
            continue;
        }
        if !is_before(terms.now, recorded_at) {
            let archived = archived.filter(|_| !superseded.contains(&seq));
            before.add(seq, recorded_at, archived);
        }
        let is_loss = matches!(entry.body, EntryBody::Lost(_));
        dated.push(Dated { seq, recorded_at, stretch, is_loss });
    }
    let (losses, others): (Vec<_>, Vec<_>) = ahead(&dated).into_iter().partition(|dated| dated.is_loss);
    // What becomes of losses is told with them.
    let seqs: Vec<_> = others.iter().rev().map(|dated| dated.seq).collect();
    let all = seqs.iter().copied().chain(losses.iter().map(|dated| dated.seq)).collect();
    if !seqs.is_empty() {
        audit.notes.push(Note::DatedAhead { seqs });
    }
    all
}

/// Entries of which a later revision has taken the place.
fn superseded(found: &Found) -> BTreeSet<Seq> {
    let follows = |entry: &FoundEntry| match &entry.entry()?.body {
        EntryBody::Archived(archived) => archived.supersedes.map(|supersedes| supersedes.seq),
        _ => None,
    };
    found.entries.iter().filter_map(follows).collect()
}

/// Those that are dated ahead of an entry after them, the last one first.
fn ahead(dated: &[Dated]) -> Vec<&Dated> {
    let (mut earliest, mut stretch, mut ahead) = (Timestamp::MAX, 0, Vec::new());
    for here in dated.iter().rev() {
        if here.stretch != stretch {
            (earliest, stretch) = (Timestamp::MAX, here.stretch);
        }
        if is_before(earliest, here.recorded_at) {
            ahead.push(here);
        }
        earliest = earliest.min(here.recorded_at);
    }
    ahead
}

impl Before {
    fn dated_back(&self, seq: Seq, recorded_at: Timestamp, own: Option<Window>) -> Option<Finding> {
        let is_early = |window: &Window| is_before(recorded_at, window.end());
        if let Some((after, after_at, window)) = self.window.filter(|(_, _, window)| is_early(window)) {
            return Some(Finding::DatedBack { seq, recorded_at, after, after_at, window });
        }
        let window = own.filter(is_early)?;
        let later = self.latest.filter(|(_, latest)| is_before(recorded_at, *latest));
        Some(match later {
            Some((after, after_at)) => Finding::DatedBack { seq, recorded_at, after, after_at, window },
            None => Finding::DatedBeforeItsWindow { seq, recorded_at, window },
        })
    }

    fn add(&mut self, seq: Seq, recorded_at: Timestamp, archived: Option<&Archived>) {
        if self.latest.is_none_or(|(_, latest)| latest < recorded_at) {
            self.latest = Some((seq, recorded_at));
        }
        let with_records = archived.filter(|archived| archived.object.rows.is_some_and(|rows| rows > 0));
        if let Some(window) = with_records.map(|archived| archived.window)
            && self.window.is_none_or(|(_, _, latest)| latest.end() < window.end())
        {
            self.window = Some((seq, recorded_at, window));
        }
    }
}
