//! `check`: everything that a daemon will stand on, tried one by one, each failure with what to do about it.
//!
//! It writes nothing that it does not remove, save two small objects under announced keys in each bucket: the probe that
//! every start puts there, and, where the keys may not delete, the one that shows this. Nothing of it needs the state
//! directory to itself, so it can be run beside the daemon.

mod machine;
mod readable;
mod region;
mod source;
mod state_dir;
mod store;
mod stream;
mod writable;

use std::path::Path;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::adapters::state_dir::ledger_path;
use crate::config::{Config, ConfigError};
use crate::domain::snapshot::Snapshot;
use crate::domain::text::Line;
use crate::ports::ledger::LedgerError;

use self::readable::Daemon;
use self::state_dir::STATE_DIR;
use super::compose::Injected;
use super::projects;

const LEDGER: &str = "ledger";

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// It works, and an operator should know something about it.
    Note,
    /// It does not work.
    Failed,
    /// It was not tried: something before it failed, or the configuration has no use for it.
    Skipped,
}

impl Outcome {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        }
    }
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Of what: `source hq`.
    pub subject: String,
    /// What.
    pub check: &'static str,
    /// How it came out.
    pub outcome: Outcome,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// All that was tried of one subject.
#[derive(Debug)]
struct Checks {
    subject: String,
    list: Vec<Check>,
}

impl Checks {
    fn of(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), list: Vec::new() }
    }

    fn add(&mut self, check: &'static str, outcome: Outcome, detail: impl Into<String>, fix: Option<&str>) {
        let (subject, detail) = (self.subject.clone(), Line::from(detail.into()).into());
        self.list.push(Check { subject, check, outcome, detail, fix: fix.map(str::to_owned) });
    }

    fn ok(&mut self, check: &'static str, detail: impl Into<String>) {
        self.add(check, Outcome::Ok, detail, None);
    }

    fn note(&mut self, check: &'static str, detail: impl Into<String>, fix: &str) {
        self.add(check, Outcome::Note, detail, Some(fix));
    }

    fn failed(&mut self, check: &'static str, detail: impl Into<String>, fix: &str) {
        self.add(check, Outcome::Failed, detail, Some(fix));
    }

    /// What of `rows` was not tried yet is not tried: a subject has the same rows, whatever becomes of them.
    fn skip_rest(&mut self, rows: &[&'static str], why: &str) {
        for row in rows {
            if !self.list.iter().any(|check| check.check == *row) {
                self.add(row, Outcome::Skipped, why, None);
            }
        }
    }
}

/// What is tried.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The configuration's file.
    pub file: &'a Path,
    /// Whom the daemon runs as, where that was said.
    pub user: Option<&'a str>,
}

/// Tries everything; once `stop` is cancelled, no more than what clears away what was made. `config` was read without its
/// secrets, each of which is tried by itself; `snapshot` is what the ledger knows, if there is one.
pub async fn check(
    asked: Asked<'_>,
    config: Result<Config, ConfigError>,
    snapshot: impl AsyncFnOnce(&Config) -> Result<Option<Snapshot>, LedgerError>,
    injected: &Injected,
    stop: &CancellationToken,
) -> Vec<Check> {
    let mut configuration = Checks::of("configuration");
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            for problem in &error.problems {
                configuration.failed("file", problem.to_string(), problem.remedy());
            }
            return configuration.list;
        }
    };
    configuration.ok(
        "file",
        format!(
            "sources: {}, stores: {}, streams: {}",
            config.sources.len(),
            config.stores.len(),
            config.streams.len()
        ),
    );
    let mut checks = configuration.list;
    let daemon = Daemon::of(asked.user);
    checks.extend(readable::check(asked.file, &config, asked.user));
    checks.extend(machine::check(&config, &daemon, injected));
    let read = snapshot(&config).await;
    let is_refused = |check: &Check| check.check == STATE_DIR && check.outcome == Outcome::Failed;
    checks.extend(ledger(&config, &read, checks.iter().any(is_refused)));
    let snapshot = read.ok().flatten().unwrap_or_default();
    let config = projects::known_to(&snapshot, &config);
    for (name, source) in config.sources.iter().take_while(|_| !stop.is_cancelled()) {
        checks.extend(source::check(name, source, &snapshot, injected, stop).await);
    }
    for (name, store) in config.stores.iter().take_while(|_| !stop.is_cancelled()) {
        let streams = config.streams.iter().filter(|(_, stream)| stream.store == *name);
        let streams: Vec<_> = streams.map(|(stream, _)| stream).collect();
        checks.extend(store::check(name, store, &streams, &daemon).await);
    }
    if !stop.is_cancelled() {
        checks.extend(stream::check(&config, &snapshot, injected.clock.now()).await);
    }
    checks
}

/// Whether the ledger can be read: an unreadable one is not an empty one.
fn ledger(config: &Config, read: &Result<Option<Snapshot>, LedgerError>, is_refused: bool) -> Vec<Check> {
    let mut checks = Checks::of("ledger");
    let path = ledger_path(&config.daemon.state_dir);
    let path = path.display();
    match read {
        Ok(Some(snapshot)) => {
            checks.ok(LEDGER, format!("{path}; streams it knows: {}", snapshot.streams.len()))
        }
        Ok(None) if is_refused => checks.skip_rest(&[LEDGER], "waits for the state directory"),
        Ok(None) => checks.ok(LEDGER, format!("{path}: not there yet; the first start makes it")),
        Err(LedgerError::Outdated(error)) => {
            checks.note(LEDGER, error.clone(), "nothing needs to be done: the next start does it");
        }
        Err(error) => {
            let fix = match error {
                LedgerError::Unusable(_) | LedgerError::Damaged(_) => {
                    "do what the details say; where they say that it is damaged, stop the daemon and run connvault rebuild"
                }
                _ => "let this user read and write there, make room on that disk, and run check again",
            };
            checks.failed(LEDGER, format!("{path} cannot be read: {error}"), fix);
        }
    }
    checks.list
}
