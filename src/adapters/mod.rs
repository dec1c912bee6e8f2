//! The world, one technology a file.

pub mod inspect;
