//! The configuration: from a TOML file and `CONNVAULT__…` variables to types that cannot be wrong.
//!
//! The way goes in one direction: `load` merges file and environment into one tree of values; `not_yet` refuses
//! what a later version will do; `raw` takes the tree apart by tables of known keys; `parse` makes `model` of
//! it. No step stops at the first problem: all of them go into one report, one line each (`error`). Only a file
//! without any problem becomes a [`Config`].

mod closed;
mod endpoint;
mod error;
mod fingerprint;
mod load;
mod model;
mod nearest;
mod not_yet;
mod parse;
mod raw;
mod secret;
mod secret_shape;
mod setting;
mod show;
mod text;
mod tree;
mod units;
mod written;

#[cfg(test)]
mod tests;

pub use closed::{Closed, Who, closed, closed_to_writing};
pub use endpoint::{Endpoint, MetadataEndpoint};
pub use error::{ConfigError, Origin, Problem, ProblemKind};
pub use model::{
    AkSk, Config, CreateOnlyMode, Credentials, Daemon, DirectoryStore, ObjectLock, ReadbackMode, S3Store,
    Signing, Source, Sse, Store, Stream, TokenUser,
};
pub use nearest::nearest;
pub use secret::{SecretError, SecretFile, Secrets};
pub use secret_shape::Blemish;
pub use text::{Bucket, KmsKeyId, Prefix, ProjectId, Region, Schedule, StorageClass, Tags};
pub use units::ByteSize;
pub use written::WrittenConfig;
