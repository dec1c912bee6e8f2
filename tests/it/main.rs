//! Every integration test, in one binary, so that the crate is linked once.

mod architecture;
mod auditor;
mod cli;
mod counts;
mod crash;
mod daemon;
mod demo;
mod documents;
mod errors;
mod fixtures;
mod ledger_conformance;
mod onlookers;
mod protocol;
mod rebuild;
mod revisions;
mod secrets;
mod signatures;
mod store_conformance;
mod store_directory;
mod store_faults;
mod store_lock;
mod store_wire;
mod support;
mod verify;
mod verify_hostile;
