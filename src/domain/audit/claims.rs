//! What the entries say together: what the stream is, which windows have a verdict, which objects must be there.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::unread::UnreadObjects;
use super::{Audit, Claimed, Finding, Found, FoundEntry, LockedEntry, Note, Signature, Terms, dates};
use crate::domain::calendar::{Calendar, zones};
use crate::domain::count::CountVerdict;
use crate::domain::lock::Lock;
use crate::domain::log_entry::{Acknowledged, Archived, Definition, EntryBody, Inspected, LogEntry};
use crate::domain::object_key::{Revision, Seq};
use crate::domain::snapshot::{Acknowledgement, is_loss_believed};
use crate::domain::text::ForeignText;
use crate::domain::window::Window;
use crate::domain::window_length::WindowLength;

pub(super) fn check(terms: &Terms, found: &Found, audit: &mut Audit) {
    let entries = in_order(terms, found);
    define(&entries, audit);
    let ahead = dates::check(terms, found, audit);
    let zone = audit.definition.as_ref().and_then(|definition| zones().get(&definition.timezone).ok());
    let length = audit.definition.as_ref().and_then(|d| d.window.parse::<WindowLength>().ok());
    let range = Range::of(terms, zone.as_ref());
    let calendar = zone.zip(length).map(|(zone, length)| Calendar::new(zone, length));
    let calendar = calendar.filter(|_| is_countable(audit.definition.as_ref(), length, terms.now));
    if let (None, Some(definition)) = (&calendar, &audit.definition) {
        let [window, timezone] =
            [&definition.window, &definition.timezone].map(|text| ForeignText::new(text).into());
        audit.findings.push(Finding::DefinitionUnusable { window, timezone });
    }
    let there: BTreeSet<Seq> = entries.iter().map(|(seq, _)| *seq).collect();
    let mut windows = Windows { there, calendar: calendar.as_ref(), range, ..Windows::default() };
    for (seq, entry) in &entries {
        match &entry.body {
            EntryBody::Stream(_) => {}
            EntryBody::Archived(archived) => windows.archived(*seq, archived, &entry.lock, audit),
            EntryBody::Lost(lost) => {
                let believed =
                    !ahead.contains(seq) && is_loss_believed(lost.window, entry.recorded_at, terms.now);
                windows.lost(*seq, lost.window, believed, audit);
            }
            EntryBody::Parked(parked) => {
                windows.of_calendar(*seq, parked.window, audit);
                windows.parked.insert(parked.window);
            }
            EntryBody::Inspected(inspected) => windows.inspected(*seq, inspected, audit),
            EntryBody::Acknowledged(acknowledged) => {
                windows.acknowledged(*seq, acknowledged, entry.recorded_at, audit);
            }
        }
    }
    windows.due(terms, &entries, audit);
    audit.acknowledged = windows.in_force();
    let Windows { newest, lost, not_believed, parked, counts, past_horizon, range, unread, .. } = windows;
    if !not_believed.is_empty() {
        audit.notes.push(Note::LossesNotBelieved { seqs: not_believed.into_iter().collect() });
    }
    unread.note(|window| range.takes(window), audit);
    audit.locked = found.entries.iter().filter_map(|entry| locked(entry, range)).collect();
    audit.archived = newest.keys().copied().filter(|window| range.takes(*window)).collect();
    audit.lost =
        lost.into_iter().filter(|window| !newest.contains_key(window) && range.takes(*window)).collect();
    counted(&counts, range, audit);
    let late = past_horizon.into_iter().filter(|(window, _)| range.takes(*window));
    let seqs: Vec<_> = late.map(|(_, seq)| seq).collect();
    if !seqs.is_empty() {
        audit.notes.push(Note::PulledPastHorizon { seqs });
    }
    let settled = |window: &Window| newest.contains_key(window) || audit.lost.contains(window);
    audit.parked = parked.into_iter().filter(|window| !settled(window) && range.takes(*window)).collect();
    if !audit.parked.is_empty() {
        audit.notes.push(Note::WindowsParked { windows: audit.parked.iter().copied().collect() });
    }
    let nothing = audit.archived.is_empty() && audit.lost.is_empty() && audit.parked.is_empty();
    if nothing && (terms.from.is_some() || terms.to.is_some()) {
        audit.notes.push(Note::NothingInRange);
    }
    if !audit.lost.is_empty() {
        audit.notes.push(Note::WindowsLost { windows: audit.lost.iter().copied().collect() });
    }
    let known = audit.acknowledged.iter().map(|(window, acknowledgement)| Note::Acknowledged {
        window: *window,
        acknowledgement: acknowledgement.clone(),
    });
    audit.notes.extend(known);
}

/// What the provider's own counts say of the windows in `range`.
fn counted(counts: &BTreeMap<Window, (Seq, CountVerdict)>, range: Range, audit: &mut Audit) {
    let of = |wanted: CountVerdict| {
        let taken =
            counts.iter().filter(move |(window, (_, count))| range.takes(**window) && *count == wanted);
        taken.map(|(_, (seq, _))| *seq).collect::<Vec<_>>()
    };
    let (seqs, uncounted) = (of(CountVerdict::Mismatched), of(CountVerdict::Uncounted));
    if !seqs.is_empty() {
        audit.notes.push(Note::CountsDiffer { seqs });
    }
    if !uncounted.is_empty() {
        audit.notes.push(Note::NotCounted { windows: uncounted.len() as u64 });
    }
}

/// An entry that says that it was put under a lock, if it is about a window in `range` or about none.
fn locked(found: &FoundEntry, range: Range) -> Option<LockedEntry> {
    let entry = found.entry().filter(|entry| !entry.lock.is_none())?;
    entry.body.window().is_none_or(|window| range.takes(window)).then(|| LockedEntry {
        seq: found.place,
        hash: found.hash,
        signed: found.signature != Signature::Absent,
        lock: entry.lock,
    })
}

/// The stream's own entries by the place that they say is theirs, each place once.
fn in_order<'f>(terms: &Terms, found: &'f Found) -> Vec<(Seq, &'f LogEntry)> {
    let mut by_seq: BTreeMap<Seq, &FoundEntry> = BTreeMap::new();
    for entry in &found.entries {
        if let Some(says) = entry.entry().filter(|says| says.stream == terms.stream) {
            if entry.place == says.seq {
                by_seq.insert(says.seq, entry);
            } else {
                by_seq.entry(says.seq).or_insert(entry);
            }
        }
    }
    by_seq.into_iter().filter_map(|(seq, entry)| Some((seq, entry.entry()?))).collect()
}

/// More windows than any stream has: whoever wrote such a start wants the audit never to end.
const MOST_WINDOWS: i64 = 20_000_000;

fn is_countable(definition: Option<&Definition>, length: Option<WindowLength>, now: Timestamp) -> bool {
    let minutes = match length {
        Some(WindowLength::Minutes(minutes)) => i64::from(minutes.get()),
        Some(WindowLength::Day) => 24 * 60,
        None => 1,
    };
    definition.is_none_or(|d| now.duration_since(d.start).as_secs() / 60 / minutes <= MOST_WINDOWS)
}

/// What the stream is: fixed by the first `stream` entry, but for a `start` that moves back.
fn define(entries: &[(Seq, &LogEntry)], audit: &mut Audit) {
    for (seq, entry) in entries {
        let EntryBody::Stream(opened) = &entry.body else {
            if *seq == Seq::FIRST {
                audit.findings.push(Finding::NotOpened);
            }
            continue;
        };
        let new = &opened.definition;
        match &mut audit.definition {
            known @ None => *known = Some(new.clone()),
            Some(known) => {
                if let Some(difference) = new.contradiction(known) {
                    let field = match difference.field {
                        "start" => "start, to a later instant,",
                        field => field,
                    };
                    audit.findings.push(Finding::DefinitionChanged { seq: *seq, field: field.to_owned() });
                }
                known.start = known.start.min(new.start);
            }
        }
    }
    if audit.definition.is_none() && audit.entries > 0 {
        audit.findings.push(Finding::NotDefined);
    }
}

/// A stretch of time: windows that start in it.
#[derive(Debug, Default, Clone, Copy)]
struct Range {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl Range {
    fn of(terms: &Terms, zone: Option<&TimeZone>) -> Self {
        let zone = zone.cloned().unwrap_or(TimeZone::UTC);
        let instant = |bound: Option<super::Bound>| bound.and_then(|bound| bound.instant(&zone));
        Self { from: instant(terms.from), to: instant(terms.to) }
    }

    fn takes(&self, window: Window) -> bool {
        self.from.is_none_or(|from| window.start() >= from) && self.to.is_none_or(|to| window.start() < to)
    }
}

#[derive(Default)]
struct Windows<'a> {
    there: BTreeSet<Seq>,
    calendar: Option<&'a Calendar>,
    range: Range,
    /// The entry of each archived window's newest revision.
    newest: BTreeMap<Window, Seq>,
    /// What the provider's own count says of it.
    counts: BTreeMap<Window, (Seq, CountVerdict)>,
    /// Its entry, where it was pulled past the provider's horizon.
    past_horizon: BTreeMap<Window, Seq>,
    revisions: BTreeMap<(Window, Revision), Seq>,
    lost: BTreeSet<Window>,
    /// Entries that say that a window is lost, and were dated by a clock that was ahead.
    not_believed: BTreeSet<Seq>,
    parked: BTreeSet<Window>,
    /// The entry that each window's state rests on, where a person can take note of it: lost, or archived unread.
    acknowledgeable: BTreeMap<Window, Seq>,
    /// Every such entry, superseded ones too.
    may_be_acknowledged: BTreeSet<(Window, Seq)>,
    acknowledged: BTreeMap<Window, Acknowledgement>,
    unread: UnreadObjects,
}

impl Windows<'_> {
    fn lost(&mut self, seq: Seq, window: Window, believed: bool, audit: &mut Audit) {
        self.of_calendar(seq, window, audit);
        self.may_be_acknowledged.insert((window, seq));
        if !believed {
            self.not_believed.insert(seq);
            return;
        }
        self.lost.insert(window);
        // A window that is archived stays archived, whatever comes after.
        if !self.newest.contains_key(&window) {
            self.acknowledgeable.insert(window, seq);
        }
    }

    /// Takes an acknowledgement for what it is; that it names an entry that says no such thing is a finding.
    fn acknowledged(
        &mut self,
        seq: Seq,
        acknowledged: &Acknowledged,
        recorded_at: Timestamp,
        audit: &mut Audit,
    ) {
        let Acknowledged { window, entry, by, reason } = acknowledged;
        self.of_calendar(seq, *window, audit);
        if self.may_be_acknowledged.contains(&(*window, *entry)) {
            let (by, reason) = (by.clone(), reason.clone());
            let known = Acknowledgement { seq, entry: *entry, by, reason, at: recorded_at };
            self.acknowledged.insert(*window, known);
        } else if *entry >= seq || self.there.contains(entry) {
            // An entry that is missing may be what was meant; that it is missing is a finding already.
            audit.findings.push(Finding::NothingAcknowledged { seq, entry: *entry, window: *window });
        }
    }

    /// The acknowledgements that still count: of windows in range whose state rests on the entry that was acknowledged.
    fn in_force(&self) -> BTreeMap<Window, Acknowledgement> {
        let counts = |(window, known): &(&Window, &Acknowledgement)| {
            self.range.takes(**window) && self.acknowledgeable.get(window) == Some(&known.entry)
        };
        let counting = self.acknowledged.iter().filter(counts);
        counting.map(|(window, known)| (*window, known.clone())).collect()
    }

    fn archived(&mut self, seq: Seq, archived: &Archived, lock: &Lock, audit: &mut Audit) {
        let Archived { window, revision, object, .. } = archived;
        self.of_calendar(seq, *window, audit);
        self.unread.archived(seq, archived);
        if archived.export.unread.is_some() {
            let before = self.acknowledgeable.insert(*window, seq);
            let is_unread_still = before.is_some() && before == self.newest.get(window).copied();
            // Other bytes that cannot be read either are the same gap.
            if let Some(known) = self.acknowledged.get_mut(window)
                && is_unread_still
                && before == Some(known.entry)
            {
                known.entry = seq;
            }
            self.may_be_acknowledged.insert((*window, seq));
        } else {
            self.acknowledgeable.remove(window);
        }
        let mut twice = false;
        if let Some(first) = self.revisions.insert((*window, *revision), seq) {
            twice = true;
            audit.findings.push(Finding::RevisionTwice { seq, first, window: *window, revision: *revision });
        }
        if archived.export.past_horizon {
            self.past_horizon.insert(*window, seq);
        } else {
            self.past_horizon.remove(window);
        }
        if archived.export.unread.is_some() {
            // Its number of records is unknown, so a count can be compared with nothing.
            self.counts.remove(window);
        } else {
            self.counts.insert(*window, (seq, CountVerdict::of(archived.export.counted, object.rows)));
        }
        let newest = self.newest.insert(*window, seq);
        let says = archived.supersedes.map(|supersedes| supersedes.seq);
        // An entry that is missing may be what was meant; that it is missing is said already.
        let of_missing = says.is_some_and(|says| says < seq && !self.there.contains(&says));
        if says != newest && !of_missing && !(twice && says.is_none()) {
            audit.findings.push(Finding::SupersedesWrong { seq, window: *window, says, newest });
        }
        if (object.key.window(), object.key.revision()) != (*window, *revision) {
            audit.findings.push(Finding::KeyOfAnother {
                seq,
                key: object.key.clone(),
                window: *window,
                revision: *revision,
            });
        }
        for orphan in archived.orphans.iter().filter(|orphan| orphan.key.window() != *window) {
            let (key, revision) = (orphan.key.clone(), orphan.key.revision());
            audit.findings.push(Finding::KeyOfAnother { seq, key, window: *window, revision });
        }
        let in_range = self.range.takes(*window);
        audit.objects.push(Claimed {
            seq,
            key: object.key.clone(),
            version_id: object.version_id.clone(),
            bytes: object.bytes,
            sha256: object.sha256,
            md5: object.md5,
            etag: object.etag,
            lock: *lock,
            in_range,
        });
        // A crash left it: nobody vouches for more of it than its bytes.
        audit.objects.extend(archived.orphans.iter().map(|orphan| Claimed {
            seq,
            key: orphan.key.clone(),
            version_id: None,
            bytes: orphan.bytes,
            sha256: orphan.sha256,
            md5: None,
            etag: None,
            lock: Lock::NONE,
            in_range,
        }));
    }

    fn inspected(&mut self, seq: Seq, inspected: &Inspected, audit: &mut Audit) {
        let window = inspected.window;
        self.of_calendar(seq, window, audit);
        let is_whole = self.there.range(..seq).count() as u64 == seq.get() - 1;
        self.unread.inspected(seq, inspected, is_whole, audit);
        let archived = self.revisions.get(&(window, inspected.revision));
        if let Some(archived) = archived.filter(|archived| self.newest.get(&window) == Some(*archived)) {
            self.acknowledgeable.remove(&window);
            self.counts
                .insert(window, (*archived, CountVerdict::of(inspected.counted, Some(inspected.rows))));
        }
    }

    fn has_verdict(&self, window: &Window) -> bool {
        self.newest.contains_key(window) || self.lost.contains(window) || self.parked.contains(window)
    }

    fn of_calendar(&self, seq: Seq, window: Window, audit: &mut Audit) {
        if self.calendar.is_some_and(|calendar| calendar.window_at(window.start()) != Some(window)) {
            audit.findings.push(Finding::WindowNotOfCalendar { seq, window });
        }
    }

    /// The windows that must have a verdict by now and have none, neighbours in one finding.
    fn due(&self, terms: &Terms, entries: &[(Seq, &LogEntry)], audit: &mut Audit) {
        let (Some(calendar), Some(definition)) = (self.calendar, &audit.definition) else { return };
        let is_over = |window: &Window| {
            window.end().saturating_add(terms.tolerance).is_ok_and(|by| by <= terms.now)
                && self.range.to.is_none_or(|to| window.start() < to)
        };
        let mut stretches: Vec<(Window, Window, u64)> = Vec::new();
        let mut last = None;
        for window in calendar.windows_from(definition.start).take_while(is_over) {
            last = Some(window);
            if !self.range.takes(window) || self.has_verdict(&window) {
                continue;
            }
            match stretches.last_mut() {
                Some((_, last, windows)) if last.end() == window.start() => {
                    *last = window;
                    *windows += 1;
                }
                _ => stretches.push((window, window, 1)),
            }
        }
        // The verdicts that lack at the end may be of a copy that is older.
        let at_end = stretches.last().is_some_and(|(_, end, _)| Some(*end) == last);
        if let (true, Some((_, entry))) = (at_end, entries.last()) {
            audit.notes.push(Note::LastWritten { at: entry.recorded_at });
        }
        for (first, last, windows) in stretches {
            audit.findings.push(Finding::WindowsWithoutVerdict { first, last, windows });
        }
    }
}
