//! Objects that were archived unread, and the entries that say what was found in them later.

use std::collections::BTreeMap;

use super::{Audit, Finding, Note, UnreadObject};
use crate::domain::digest::Sha256;
use crate::domain::log_entry::{Archived, Inspected};
use crate::domain::object_key::{Revision, Seq};
use crate::domain::window::Window;

/// The unread objects of a log, as its entries are gone through in order.
#[derive(Default)]
pub(super) struct UnreadObjects {
    /// By window and revision, each with the digest of its bytes.
    unread: BTreeMap<(Window, Revision), (UnreadObject, Sha256)>,
    /// Those that were read later, with the entries that say so.
    read: BTreeMap<(Window, Revision), Seq>,
}

impl UnreadObjects {
    /// An entry archives a revision.
    pub(super) fn archived(&mut self, seq: Seq, archived: &Archived) {
        let Some(reason) = &archived.export.unread else { return };
        let object = UnreadObject { seq, key: archived.object.key.clone(), reason: reason.clone() };
        self.unread.insert((archived.window, archived.revision), (object, archived.object.sha256));
    }

    /// An entry says what was found in an object. `is_whole` says that no entry before it is missing.
    pub(super) fn inspected(&mut self, seq: Seq, inspected: &Inspected, is_whole: bool, audit: &mut Audit) {
        let Inspected { window, revision, sha256, .. } = inspected;
        match self.unread.get(&(*window, *revision)) {
            Some((_, archived)) if archived == sha256 => {
                self.read.insert((*window, *revision), seq);
            }
            // The entry that is missing may be the one that archived it.
            None if !is_whole => {}
            _ => {
                let (window, revision) = (*window, *revision);
                audit.findings.push(Finding::InspectedWrong { seq, window, revision });
            }
        }
    }

    /// Notes what is still unread, and what was read later, of the windows that `takes` chooses.
    pub(super) fn note(self, takes: impl Fn(Window) -> bool, audit: &mut Audit) {
        let Self { mut unread, read } = self;
        unread.retain(|place, _| takes(place.0) && !read.contains_key(place));
        let seqs: Vec<_> =
            read.into_iter().filter(|((window, _), _)| takes(*window)).map(|(_, seq)| seq).collect();
        if !unread.is_empty() {
            let objects = unread.into_values().map(|(object, _)| object).collect();
            audit.notes.push(Note::ArchivedUnread { objects });
        }
        if !seqs.is_empty() {
            audit.notes.push(Note::ReadLater { seqs });
        }
    }
}
