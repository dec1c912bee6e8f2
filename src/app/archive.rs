//! The way of one window: lease → export into the spool → inspect → data object → log entry → ledger → spool cleared.
//!
//! Why the order is safe. Each step leaves something that the next run finds and goes on from: facts in the spool (no
//! second download), an object under the window's key (adopted), an entry in the log (the window is archived). The
//! entry is written only after the object was read back, so an entry never promises more than the store holds; and
//! the spool is cleared only after the entry, so nothing is thrown away that has not been committed. A crash between
//! any two steps, or right after the last, repeats at most work, never an effect.
//!
//! A [`Job`] is a window with all that it is worked on with, and an `Attempt` is a job under a lease. The steps are their
//! methods, each in the file of its step.

mod acknowledge;
mod attempt;
mod attest;
mod commit;
mod counting;
mod duplicates;
mod export;
mod intake;
mod object;
mod reread;
mod revisit;
mod work;

use crate::domain::export::Bounds;
use crate::domain::name::StreamName;
use crate::domain::window::Window;
use crate::ports::record_source::ExportRequest;

use super::services::Services;
use super::stream::Stream;

pub use acknowledge::wake_when_asked;
use attempt::Attempt;
pub use object::UnprovenPuts;
pub use reread::Reread;

/// One window of one stream, and all that it is worked on with.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// What all windows are worked on with.
    pub services: &'a Services,
    /// The stream that the window is of, with its source and its store.
    pub stream: &'a Stream,
    /// The window, whether or not it has expired or is archived.
    pub window: Window,
}

impl Job<'_> {
    fn name(&self) -> &StreamName {
        self.stream.name()
    }

    /// What is asked of the source for the window.
    fn request(&self) -> ExportRequest {
        let Self { stream, window, .. } = *self;
        ExportRequest {
            stream: stream.name().clone(),
            window,
            definition: stream.definition_digest,
            bounds: Bounds::around(window, stream.rules.margin),
            filters: stream.definition.filters.clone(),
            after: None,
            expires_at: stream.rules.expires_at(window),
        }
    }
}

impl std::fmt::Display for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "window {} of stream {}", self.window, self.name())
    }
}
