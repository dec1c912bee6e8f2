//! How a window is treated whose attempts end with the process: killed, out of memory, or the power failed.
//!
//! All windows that were in work at such an end are suspected, since nobody knows which of them caused it. A window on its own
//! that ends the process once more is the cause: it is parked, and the others go on. So one bad window costs at most three
//! ends of the process in a row.

use super::failure::{Failure, FailureKind, Scope};
use super::message::Message;
use super::name::StreamName;
use super::window::Window;

/// After so many ends of the process in a row a window goes last and alone.
const ALONE_AFTER: u32 = 2;
/// After so many it is parked.
const PARKED_AFTER: u32 = 3;

/// How a window is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Like any other.
    Usual,
    /// Last, after all other windows that are due, and with no other one beside it.
    Alone,
    /// It waits for an operator; where it is tried all the same, as [`Self::Alone`].
    Parked,
}

impl Treatment {
    /// The treatment of a window after so many attempts in a row that ended with the process.
    pub fn after(crashes: u32) -> Self {
        match crashes {
            ..ALONE_AFTER => Self::Usual,
            ALONE_AFTER..PARKED_AFTER => Self::Alone,
            PARKED_AFTER.. => Self::Parked,
        }
    }

    /// Whether no other window may be in work beside it.
    pub fn is_alone(self) -> bool {
        self != Self::Usual
    }
}

/// Why a window is parked after so many attempts in a row that ended with the process.
pub fn failure(stream: &StreamName, window: Window, crashes: u32) -> Failure {
    let message = Message::new(format!(
        "window {window} of stream {stream}: {crashes} attempts in a row ended with the process (killed, out of memory, or the \
         power failed)"
    ));
    let message = message.advise(format!(
        "look at the system's journal for the reason, then run: connvault retry {stream} {window}"
    ));
    Failure::new(FailureKind::Local, Scope::Window, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_end_in_a_row_sets_a_window_apart_and_the_third_parks_it() {
        let treatments = [0, 1, 2, 3, 4, u32::MAX].map(Treatment::after);
        use Treatment::{Alone, Parked, Usual};
        assert_eq!(treatments, [Usual, Usual, Alone, Parked, Parked, Parked]);
    }
}
