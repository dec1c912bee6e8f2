//! The pure core: windows, verdicts, the plan, names of objects, the format of the log.
//!
//! Nothing in here does I/O or asks what time it is: `now` is always an argument. Everything else in the
//! crate may depend on `domain`; `domain` depends on nothing of the crate (`tests/it/architecture.rs` checks it).

pub mod audit;
pub mod backoff;
pub mod beyond_gap;
pub mod calendar;
pub mod confirmed_time;
pub mod content;
pub mod count;
pub mod crashes;
pub mod definition;
pub mod digest;
pub mod duration;
pub mod export;
pub mod failure;
pub mod first_losses;
pub mod lock;
pub mod log_entry;
pub mod loopback;
pub mod message;
pub mod name;
pub mod object_key;
pub mod pause;
pub mod planner;
pub mod proxy;
pub mod snapshot;
mod stream_rules;
pub mod text;
pub mod verdict;
pub mod window;
pub mod window_length;
