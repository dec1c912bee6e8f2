//! Why a run did not begin: one clear line, and the exit code that goes with it.

use crate::adapters::state_dir::StateDirError;
use crate::domain::failure::{Failure, FailureKind};
use crate::exit_code::Exit;
use crate::ports::ledger::LedgerError;

/// A run did not begin.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StartError {
    /// What, where, and what to do next.
    message: String,
    /// How the process ends.
    exit: Exit,
}

impl StartError {
    /// The configuration cannot work.
    pub fn config(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit: Exit::Usage }
    }

    /// Something that the run stands on failed.
    pub fn from_failure(what: &str, failure: &Failure) -> Self {
        let exit = match failure.kind {
            FailureKind::Transient | FailureKind::Throttled | FailureKind::Local | FailureKind::Clock => {
                Exit::Temporary
            }
            _ => Exit::Failed,
        };
        Self { message: format!("{what}: {}", failure.message), exit }
    }

    /// How the process ends.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl From<LedgerError> for StartError {
    fn from(error: LedgerError) -> Self {
        Self::from_failure("ledger", &Failure::from(error))
    }
}

impl From<StateDirError> for StartError {
    fn from(error: StateDirError) -> Self {
        let exit = match error {
            StateDirError::InUse(_) => Exit::AlreadyRunning,
            StateDirError::Unusable { ref error, .. } if error.kind() == std::io::ErrorKind::StorageFull => {
                Exit::Temporary
            }
            StateDirError::Unusable { .. }
            | StateDirError::OfAnotherUser { .. }
            | StateDirError::Open { .. }
            | StateDirError::Shared { .. } => Exit::Failed,
        };
        Self { message: error.to_string(), exit }
    }
}
