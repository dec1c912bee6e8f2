//! A stream at work: its rules, and the adapters that it goes through.

use std::sync::Arc;

use crate::domain::count::OnCountMismatch;
use crate::domain::digest::Sha256;
use crate::domain::log_entry::Definition;
use crate::domain::name::StreamName;
use crate::domain::verdict::StreamRules;
use crate::ports::object_store::{ObjectStore, Readback};
use crate::ports::record_source::RecordSource;

use super::object_locks::ObjectLocks;
use super::stream_log::StreamLog;

/// One stream, ready to be worked on.
pub struct Stream {
    /// When its windows are due, and what they wait for.
    pub rules: StreamRules,
    /// What it is, as its log must say.
    pub definition: Definition,
    /// The digest of what decides which records an export holds.
    pub definition_digest: Sha256,
    /// Where its records come from.
    pub source: Arc<dyn RecordSource>,
    /// What is done with an export whose number of records is not the counted one.
    pub on_count_mismatch: OnCountMismatch,
    /// Where its archives go.
    pub store: Arc<dyn ObjectStore>,
    /// How much is read back before an object counts as stored.
    pub readback: Readback,
    /// How something is put there.
    pub locks: Arc<ObjectLocks>,
    /// Its log.
    pub log: StreamLog,
}

impl Stream {
    /// Its name.
    pub fn name(&self) -> &StreamName {
        &self.rules.name
    }
}
