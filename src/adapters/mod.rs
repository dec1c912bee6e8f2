//! The world, one technology a file.

pub mod spool;
pub mod workspace;
