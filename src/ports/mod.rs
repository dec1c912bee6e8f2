//! What the core needs from the world, as small traits with typed errors. One technology per adapter implements them.

pub mod checkpoint;
pub mod clock;
pub mod ledger;
pub mod notebook;
pub mod object_store;
pub mod record_source;
pub mod source_status;
