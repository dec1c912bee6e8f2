//! The world, one technology a file.

pub mod directory_store;
mod local_content;
pub mod s3_store;
