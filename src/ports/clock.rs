//! What time it is: asked of nobody else in the crate, so that tests and the demo can say what time it is.

use jiff::Timestamp;

/// The clock that decides what is due. (Timeouts run on the machine's monotonic clock and do not ask here.)
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;
}
