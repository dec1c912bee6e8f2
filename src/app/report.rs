//! What the reconciler logs: each ending once, and what many windows share once, not once a window.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::domain::content::{Content, Marks};
use crate::domain::count::CountVerdict;
use crate::domain::failure::{Failure, Scope};
use crate::domain::log_entry::{RowChanges, Supersedes};
use crate::domain::message::Message;
use crate::domain::name::{SourceName, StreamName};
use crate::domain::snapshot::{Hold, Resource};
use crate::domain::window::Window;
use crate::ports::record_source::Upkeep;

use super::observer::Ending;

/// Remembers what was said, so that it is not said again.
#[derive(Debug, Default)]
pub struct Report {
    /// Of what is held up.
    said: BTreeMap<Resource, Said>,
    /// Whether this machine's failure was said.
    machine: bool,
    /// Streams of which it was said that nobody counts.
    uncounted: BTreeSet<StreamName>,
    /// Sources whose upkeep failed, and why.
    no_upkeep: BTreeMap<SourceName, Message>,
    /// Sources that refused single pieces of their upkeep, and why.
    refused: BTreeMap<SourceName, Message>,
}

/// What was said last of a resource: which words, and at which failure of which row.
#[derive(Debug)]
struct Said {
    message: Message,
    since: Timestamp,
    failures: u32,
}

impl Said {
    fn of(hold: &Hold) -> Self {
        Self { message: hold.failure.message.clone(), since: hold.since, failures: hold.failures }
    }

    /// Windows that fail together fail each in its own words: one round of failures is one piece of news.
    fn covers(&self, hold: &Hold) -> bool {
        let same_round = self.since == hold.since && self.failures >= hold.failures;
        same_round || self.message == hold.failure.message
    }
}

impl Report {
    /// One window's ending.
    pub fn ending(&mut self, stream: &StreamName, window: Window, ending: &Ending) {
        match ending {
            Ending::Archived { key, rows, bytes, sha256, supersedes, count, content, head } => {
                if content.is_unread() {
                    // Its number of records is unknown, so its count was compared with nothing.
                    return content_of(stream, window, key, content);
                }
                let count = self.count(stream, window, *count);
                match supersedes {
                    None => {
                        tracing::info!(%stream, %window, key, rows, bytes, %sha256, count, %head, "window archived");
                    }
                    Some(Supersedes { rows: None, .. }) => {
                        tracing::info!(%stream, %window, key, rows, bytes, %sha256, count, %head,
                            "window revised: one of its two revisions could not be read");
                    }
                    Some(Supersedes { rows: Some(changes), .. }) => {
                        let RowChanges { rows_added, rows_removed, rows_changed } = changes;
                        tracing::info!(%stream, %window, key, rows, bytes, %sha256, count, %head, rows_added, rows_removed, rows_changed,
                            "window revised: its records have changed since it was archived");
                    }
                }
                content_of(stream, window, key, content);
            }
            Ending::Unchanged => {
                tracing::info!(%stream, %window, "window pulled again: its records are the same")
            }
            Ending::AlreadyArchived => tracing::info!(%stream, %window, "window is in the log already"),
            Ending::Lost { head } => {
                tracing::error!(%stream, %window, %head, "window lost: the provider no longer has it")
            }
            Ending::Parked { head } => {
                tracing::error!(%stream, %window, %head, "window parked until an operator looks: `status` says why and what to do");
            }
            Ending::Acknowledged { head } => {
                tracing::info!(%stream, %window, %head, "gap acknowledged: a person has taken note of it");
            }
            Ending::HeldElsewhere => tracing::info!(%stream, %window, "window is being worked on elsewhere"),
            Ending::Interrupted => tracing::info!(%stream, %window, "window abandoned, to be taken up again"),
            Ending::Failed(failure) => self.failure(stream, window, failure),
        }
    }

    /// The word for what the provider's own count said; what it says amiss is told, once a stream where nobody counts.
    fn count(&mut self, stream: &StreamName, window: Window, count: CountVerdict) -> &'static str {
        match count {
            CountVerdict::Matched => {}
            CountVerdict::Mismatched => {
                tracing::error!(%stream, %window, "the provider counts another number of records than it exported: see the log entry");
            }
            CountVerdict::Uncounted => {
                if self.uncounted.insert(stream.clone()) {
                    tracing::warn!(%stream, "exports are archived without the provider's own count: log entries say why (`uncounted`)");
                }
            }
        }
        count.as_str()
    }

    fn failure(&mut self, stream: &StreamName, window: Window, failure: &Failure) {
        let Failure { kind, message, request_ids, .. } = failure;
        let kind = kind.as_str();
        if failure.scope == Scope::Window {
            tracing::warn!(%stream, %window, kind, ?request_ids, "window not archived: {message}");
        } else {
            // What it holds up is said once, with the hold; here is which window ran into it.
            tracing::debug!(%stream, %window, kind, ?request_ids, "window not archived: {message}");
        }
    }

    /// What is held up now: news is said, the rest is known.
    pub fn shared_failures(&mut self, holds: &BTreeMap<Resource, Hold>, now: Timestamp) {
        self.said.retain(|resource, _| holds.contains_key(resource));
        let is_said = |(resource, hold): &(&Resource, &Hold)| {
            !matches!(**resource, Resource::Daemon | Resource::Clock) && hold.is_on(now)
        };
        for (resource, hold) in holds.iter().filter(is_said) {
            let before = self.said.insert(resource.clone(), Said::of(hold));
            if before.is_some_and(|said| said.covers(hold)) {
                continue;
            }
            let message = &hold.failure.message;
            let (kind, until) = (hold.failure.kind.as_str(), hold.until);
            if hold.failure.kind.needs_operator() {
                tracing::error!(%resource, kind, %until, "held up until an operator looks: {message}");
            } else {
                tracing::warn!(%resource, kind, %until, "held up: {message}");
            }
        }
    }

    /// The upkeep of a source was done, or could not be: that is said when it is news. A refusal that concerns one piece of the
    /// upkeep is no failure of the source.
    pub fn upkept(&mut self, source: &SourceName, outcome: Result<Upkeep, Failure>) {
        let (said, failure) = match outcome {
            Ok(upkeep) => {
                if upkeep.answered && self.no_upkeep.remove(source).is_some() {
                    tracing::info!(%source, "upkeep of the source works again");
                }
                (&mut self.refused, upkeep.refused)
            }
            Err(failure) => (&mut self.no_upkeep, Some(failure)),
        };
        let Some(Failure { kind, message, request_ids, .. }) = failure else { return };
        if said.insert(source.clone(), message.clone()).as_ref() != Some(&message) {
            let kind = kind.as_str();
            tracing::warn!(%source, kind, ?request_ids, "upkeep of the source is left for later: {message}");
        }
    }

    /// This machine cannot work.
    pub fn this_machine(&mut self, failure: &Failure) {
        let (kind, message) = (failure.kind.as_str(), &failure.message);
        // A full disk shows in many places: the first is enough, until something has worked again.
        if std::mem::replace(&mut self.machine, true) {
            tracing::debug!(kind, "everything waits: {message}");
        } else {
            tracing::error!(kind, "everything waits: {message}");
        }
    }

    /// These were held up, and a window has just been archived with them.
    pub fn works_again(&mut self, resources: Vec<Resource>) {
        for resource in resources {
            let machine = resource == Resource::Daemon && std::mem::take(&mut self.machine);
            if self.said.remove(&resource).is_some() || machine {
                tracing::info!(%resource, "works again");
            }
        }
    }
}

/// What an operator should know of the content of a window that was archived just now.
fn content_of(stream: &StreamName, window: Window, key: &str, content: &Content) {
    let Marks { out_of_bounds, same_content_as, .. } = match content {
        Content::Read(marks) => *marks,
        Content::Unread { reason } => {
            tracing::error!(%stream, %window, key,
                "window archived unread: its export came whole and could not be read, and its bytes are archived as they \
                 came: {reason}; a later version may read them: connvault reread {stream} {window}");
            return;
        }
    };
    if out_of_bounds {
        tracing::warn!(%stream, %window, key, "records outside of the bounds: some start before or after what was asked for");
    }
    if let Some(seq) = same_content_as {
        tracing::warn!(%stream, %window, key, seq = seq.get(), "same records as another window: log entry {seq} names it");
    }
}
