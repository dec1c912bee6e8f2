//! The promises of the design, one by one, against a simulator and a store: through the program's own parts where
//! the clock must be moved, through the program where processes and signals matter.

mod damaged_log;
mod definition;
mod identity;
mod log_answers;
mod lost_answers;
mod races;
mod signals;
mod source;

use connvault::domain::window::Window;
use jiff::{SignedDuration, Timestamp};

use crate::support::clock::TestClock;

/// Three o'clock at night, five days into November.
const NOW: &str = "2026-11-06T03:00:00Z";

fn clock() -> TestClock {
    TestClock::at(NOW)
}

/// The end of a run: long enough for every pause, short of the next window.
fn later_today() -> Timestamp {
    NOW.parse::<Timestamp>().unwrap() + SignedDuration::from_hours(12)
}

/// The start of a window as the simulator's query has it, with the margin of a minute.
fn start_time(start: &str) -> String {
    let start: Timestamp = start.parse().unwrap();
    (start - SignedDuration::from_mins(1)).strftime("%Y-%m-%dT%H:%MZ").to_string()
}

/// The window of a day that starts at `start`.
fn day(start: &str) -> Window {
    let start: Timestamp = start.parse().unwrap();
    Window::new(start, start + SignedDuration::from_hours(24)).unwrap()
}
