//! What is wrong with a configuration: every problem of it, one line each.

use std::fmt;
use std::path::PathBuf;

use super::closed::Closed;
use super::secret::SecretError;

/// The configuration cannot be used. [`fmt::Display`] writes one line for each problem, in the order of the file.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    /// Never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let line_feed = if index == 0 { "" } else { "\n" };
            write!(f, "{line_feed}{problem}")?;
        }
        Ok(())
    }
}

/// One thing that is wrong.
#[derive(Debug)]
pub struct Problem {
    /// Where it was said.
    pub origin: Origin,
    /// The full key, such as `streams.logins.timezone`; empty where the file as a whole is meant.
    pub key: String,
    /// What was given, as TOML writes it; absent where nothing was, or where it might be a secret.
    pub value: Option<String>,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        match (&self.key, &self.value) {
            (key, _) if key.is_empty() => {}
            (key, None) => write!(f, "{key}: ")?,
            (key, Some(value)) => write!(f, "{key} = {value}: ")?,
        }
        self.kind.fmt(f)
    }
}

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In the file.
    File {
        /// Which.
        path: PathBuf,
        /// In which line, from 1: that of the key, or of the section where the key is missing.
        line: Option<usize>,
    },
    /// In a variable of the environment, by its name.
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => path.display().fmt(f),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
        }
    }
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ProblemKind {
    /// There is no file.
    #[error("there is no such file; {}", remedy_of_none())]
    NotThere,
    /// The file could not be read.
    #[error("cannot read it: {0}; name another file with --config")]
    Unreadable(std::io::Error),
    /// The file is closed to this user.
    #[error(
        "this user may not read it: {closed}; let everybody read it, as it holds no secret: {}; or run this as a user that \
         may", .closed.remedy()
    )]
    Closed {
        /// What keeps the user out.
        closed: Closed,
    },
    /// The file is not TOML.
    #[error("column {column}: not valid TOML: {message}")]
    Syntax {
        /// From 1.
        column: usize,
        /// What the parser met.
        message: String,
    },
    /// File and environment do not go together in a way that has no better name.
    #[error("{0}")]
    Merge(String),
    /// There is no such key.
    #[error("unknown key; {}", suggestion(.nearest.as_deref(), .known))]
    UnknownKey {
        /// The known key that is most like it.
        nearest: Option<String>,
        /// All keys that are known there.
        known: Vec<&'static str>,
    },
    /// The key belongs to another `kind`.
    #[error("goes with kind = \"{other}\", not with kind = \"{kind}\"; take it out or change the kind")]
    OtherKind {
        /// The section's kind.
        kind: &'static str,
        /// The kind that has the key.
        other: &'static str,
    },
    /// The value has another type.
    #[error("must be {expected}, and this is {found}")]
    WrongType {
        /// What is wanted.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A key that has no default is not there.
    #[error("missing: {0}")]
    Missing(&'static str),
    /// The key does something that a later version will do.
    #[error("{0}")]
    NotYet(&'static str),
    /// The value is not allowed.
    #[error("{0}")]
    BadValue(String),
    /// A secret cannot be used.
    #[error("{0}")]
    Secret(#[from] SecretError),
}

/// What to do where there is no configuration.
fn remedy_of_none() -> &'static str {
    "copy config.example.toml, which comes with connvault, there and fill it in, or name another file with --config"
}

impl Problem {
    /// What to do about it, for a reader who has its words in view.
    pub fn remedy(&self) -> &'static str {
        match (&self.kind, &self.origin) {
            (ProblemKind::NotThere, _) => remedy_of_none(),
            (ProblemKind::Unreadable(_), _) => "see to the file, or name another one with --config",
            (ProblemKind::Closed { .. }, _) => "do what the details say, or name another file with --config",
            (_, Origin::Environment(_)) => "correct this variable, or unset it",
            (_, Origin::File { line: None, .. }) => "mend the file; config.example.toml has every key",
            (_, Origin::File { .. }) => "mend this line; config.example.toml has every key",
        }
    }
}

fn suggestion(nearest: Option<&str>, known: &[&str]) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}
