//! The simulator over real HTTP, as a client meets it.

mod bulk;
mod client;
mod export;
mod faults;
mod program;
mod query;
mod running;
mod signature;
mod vectors;
