//! Every integration test, in one binary, so that the crate is linked once.

mod crash;
mod demo;
mod documents;
mod store_conformance;
mod store_directory;
mod store_faults;
mod store_wire;
mod support;
