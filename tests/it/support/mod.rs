//! What several tests stand on: servers, wires and stores that fail when told to.
#![allow(dead_code, reason = "each test uses a part of it")]

pub mod archive;
pub mod buckets;
pub mod clock;
pub mod content;
pub mod disk;
pub mod faulty_store;
pub mod inside;
pub mod ledger;
pub mod lying_store;
pub mod place;
pub mod planted;
pub mod proxy;
pub mod s3s;
pub mod second;
pub mod servers;
pub mod tls;
pub mod vault;
pub mod watched;
pub mod wire;
pub mod world;
