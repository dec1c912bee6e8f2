//! How the program ends, for systemd, cron and scripts.

use std::process::ExitCode;

/// Each way to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All that was asked was done.
    Done,
    /// Something failed and needs an operator.
    Failed,
    /// The command line or the configuration is wrong; trying again cannot help.
    Usage,
    /// Gaps, or things that do not verify, were found.
    Found,
    /// Another instance holds the state directory.
    AlreadyRunning,
    /// It failed for now; trying again later may help.
    Temporary,
}

impl Exit {
    /// The number that the process ends with. 75 is `EX_TEMPFAIL` of `sysexits.h`.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Found => 3,
            Self::AlreadyRunning => 4,
            Self::Temporary => 75,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}
