//! Makes entries that follow each other.

use connvault::domain::digest::Sha256;
use connvault::domain::export::{Bounds, ExportApi, Filters, Format};
use connvault::domain::failure::FailureKind;
use connvault::domain::lock::Lock;
use connvault::domain::log_entry::{
    Acknowledged, Archived, Definition, EntryBody, ExportFacts, FORMAT, Head, LogEntry, Lost, Orphan, Parked,
    SealedEntry, StoredObject, StreamOpened, Writer, after,
};
use connvault::domain::object_key::{DataKey, Revision, Seq};
use connvault::domain::window::Window;

use super::{day, minute, stream};

/// A log that grows.
#[derive(Debug, Clone, Default)]
pub struct Chain(Option<Head>, Option<String>);

impl Chain {
    /// A log whose first entry is made already, with that entry.
    pub fn opened() -> (Self, SealedEntry) {
        let mut chain = Self::default();
        let entry = chain.opens(day(1));
        (chain, entry)
    }

    /// Names a key in all later entries.
    pub fn sign_with(&mut self, fingerprint: &str) {
        self.1 = Some(fingerprint.to_owned());
    }

    /// The next entry, which says `body`.
    pub fn next(&mut self, body: EntryBody) -> SealedEntry {
        let (seq, previous) = after(self.0);
        let entry = SealedEntry::seal(LogEntry {
            format: FORMAT,
            stream: stream(),
            seq,
            previous,
            recorded_at: minute(0),
            writer: Writer {
                version: "0.1.0".to_owned(),
                host: "archive-1".to_owned(),
                key_fingerprint: self.1.clone(),
            },
            lock: Lock::NONE,
            body,
        });
        self.0 = Some(entry.head());
        entry
    }

    /// A `stream` entry whose first window is `first`.
    pub fn opens(&mut self, first: Window) -> SealedEntry {
        let definition = Definition {
            region: "ap-southeast-3".to_owned(),
            project_id: "0123".to_owned(),
            window: "1d".to_owned(),
            timezone: "UTC".to_owned(),
            start: first.start(),
            filters: Filters::default(),
        };
        self.next(EntryBody::Stream(StreamOpened { definition }))
    }

    /// Pulled at minute 0.
    pub fn archives(&mut self, window: Window, revision: u32, orphans: &[u32]) -> SealedEntry {
        self.archives_at(0, window, revision, orphans)
    }

    /// As [`Self::archives`], pulled at any minute.
    pub fn archives_at(
        &mut self,
        pulled_at: i64,
        window: Window,
        revision: u32,
        orphans: &[u32],
    ) -> SealedEntry {
        let orphan = |revision: &u32| Orphan {
            key: key(window, *revision),
            bytes: 7,
            sha256: Sha256::of(&revision.to_be_bytes()),
        };
        self.next(EntryBody::Archived(Box::new(Archived {
            window,
            revision: Revision::new(revision).unwrap(),
            object: StoredObject {
                key: key(window, revision),
                version_id: None,
                bytes: 7,
                sha256: Sha256::of(b"an export"),
                md5: None,
                etag: None,
                format: Format::Csv,
                rows: Some(3),
                content_digest: Some("0".repeat(64).parse().unwrap()),
            },
            export: ExportFacts::new(
                ExportApi::V2,
                Bounds { start: window.start(), end: window.end() },
                minute(pulled_at),
            ),
            supersedes: None,
            orphans: orphans.iter().map(orphan).collect(),
        })))
    }

    /// Parked since a minute.
    pub fn parks(&mut self, window: Window, since: i64) -> SealedEntry {
        let (failure, reason) = (FailureKind::Rejected, "no such user".into());
        self.next(EntryBody::Parked(Parked { window, failure, reason, since: minute(since) }))
    }

    /// Acknowledges the entry in this place.
    pub fn acknowledges(&mut self, window: Window, entry: u64) -> SealedEntry {
        let (by, reason) = ("Ada".into(), "an outage".into());
        self.next(EntryBody::Acknowledged(Acknowledged {
            window,
            entry: Seq::new(entry).unwrap(),
            by,
            reason,
        }))
    }

    pub fn loses(&mut self, window: Window) -> SealedEntry {
        self.next(EntryBody::Lost(Lost { window, reason: "too old".into(), last_attempt: None }))
    }
}

pub fn key(window: Window, revision: u32) -> DataKey {
    DataKey::new(window, Revision::new(revision).unwrap(), Format::Csv)
}
