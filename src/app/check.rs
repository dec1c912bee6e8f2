//! `check`: everything that a daemon will stand on, tried one by one, each failure with what to do about it.
//!
//! It writes nothing that it does not remove, save two small objects under announced keys in each bucket: the probe that
//! every start puts there, and, where the keys may not delete, the one that shows this. Nothing of it needs the state
//! directory to itself, so it can be run beside the daemon.

mod machine;
mod source;
mod store;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigError};
use crate::domain::snapshot::Snapshot;

use super::compose::Injected;
use super::projects::{self, Resolved};

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
    /// It could not be tried, because something before it failed.
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
        let (subject, detail) = (self.subject.clone(), detail.into());
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

    fn skipped(&mut self, checks: &[&'static str], why: &str) {
        for check in checks {
            self.add(check, Outcome::Skipped, why, None);
        }
    }
}

/// Tries everything; once `stop` is cancelled, no more than what clears away what was made. `config` was read without its
/// secrets, each of which is tried by itself; `snapshot` is what the ledger knows.
pub async fn check(
    config: Result<Config, ConfigError>,
    snapshot: impl AsyncFnOnce(&Config) -> Snapshot,
    injected: &Injected,
    stop: &CancellationToken,
) -> Vec<Check> {
    let mut configuration = Checks::of("configuration");
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            for problem in &error.problems {
                configuration.failed(
                    "file",
                    problem.to_string(),
                    "mend this line; config.example.toml has every key",
                );
            }
            return configuration.list;
        }
    };
    configuration.ok(
        "file",
        format!(
            "it names {} sources, {} stores, {} streams",
            config.sources.len(),
            config.stores.len(),
            config.streams.len()
        ),
    );
    let mut checks = configuration.list;
    checks.extend(machine::check(&config, injected));
    let snapshot = snapshot(&config).await;
    for name in config.sources.keys().take_while(|_| !stop.is_cancelled()) {
        // Each by itself: one source whose project cannot be found is no news of the others.
        let mut alone = config.clone();
        alone.sources.retain(|other, _| other == name);
        let Resolved { config: resolved, unknown } = projects::resolved(&alone, injected, &snapshot).await;
        if let Some(source) = resolved.sources.get(name) {
            checks.extend(source::check(name, source, &snapshot, injected, stop).await);
        }
        for failure in unknown.into_values() {
            let mut of_source = Checks::of(format!("source {name}"));
            let fix = "set project_id, or mend credentials and iam_endpoint";
            of_source.failed("project", failure.message, fix);
            checks.extend(of_source.list);
        }
    }
    for (name, store) in config.stores.iter().take_while(|_| !stop.is_cancelled()) {
        checks.extend(store::check(name, store).await);
    }
    checks
}
