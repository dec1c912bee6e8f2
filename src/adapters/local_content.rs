//! Files of ours that a store is asked to take: what it means when they cannot be read.
//!
//! A file that is gone, or is not what was noted of it, is one window's trouble (it is pulled again); a disk that
//! does not answer is this machine's.

use std::io;
use std::path::Path;

use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::message::Message;
use crate::ports::object_store::StoreError;

/// The error for a local file that could not be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> StoreError {
    let (kind, scope, next) = match error.kind() {
        io::ErrorKind::NotFound => (FailureKind::Corrupt, Scope::Window, "the window is pulled again"),
        _ => (FailureKind::Local, Scope::Daemon, "check the disk of the state directory"),
    };
    let message = Message::new(format!("cannot read {}: {error}", path.display())).advise(next);
    StoreError(Failure::new(kind, scope, message))
}

/// The error for a local file that is not what was noted of it when it was finished.
pub(super) fn changed(path: &Path, how: &str) -> StoreError {
    let cause = format!("{} is not the file that was pulled: {how}", path.display());
    let message = Message::new(cause).advise("the window is pulled again");
    StoreError(Failure::new(FailureKind::Corrupt, Scope::Window, message))
}

/// Fails unless `path` is a file of exactly `bytes` bytes.
pub(super) async fn check_size(path: &Path, bytes: u64) -> Result<(), StoreError> {
    let found = tokio::fs::metadata(path).await.map_err(|error| unreadable(path, &error))?.len();
    if found == bytes { Ok(()) } else { Err(changed(path, &format!("{found} bytes instead of {bytes}"))) }
}
