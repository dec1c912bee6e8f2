//! The world, one technology a file.

pub mod sqlite_ledger;
