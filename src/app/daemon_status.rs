//! What can be said of the daemon itself: whether it runs, when it last looked, and with which configuration it does.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::snapshot::Run;

/// Whether a daemon runs, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// Whether it runs.
    pub runs: bool,
    /// Whether a command that ends by itself (`once`, `backfill`) works in its place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub another_command: bool,
    /// Since when it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Its process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// When it, or a command in its place, last looked what is due: to half a minute.
    pub looked_at: Option<Timestamp>,
    /// Whether the configuration file is another one than it was when the daemon started; absent where nobody can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration_changed: Option<bool>,
}

impl DaemonStatus {
    /// What the newest run says, where somebody has the state directory or not, and the configuration file has this digest
    /// now.
    pub fn of(run: Option<&Run>, is_held: bool, config: Option<&str>) -> Self {
        let daemon = run.filter(|run| is_held && run.is_daemon);
        let started_with = daemon.and_then(|run| run.config.as_deref());
        Self {
            runs: daemon.is_some(),
            another_command: is_held && daemon.is_none(),
            since: daemon.map(|run| run.started_at),
            pid: daemon.map(|run| run.pid),
            looked_at: run.and_then(|run| run.looked_at),
            configuration_changed: started_with.zip(config).map(|(then, now)| then != now),
        }
    }

    /// For people: one line.
    pub fn words(&self) -> String {
        let looked = |who: &str| match self.looked_at {
            Some(at) => format!("; {who} last looked at {at:.0}"),
            None => String::new(),
        };
        let Some(since) = self.since else {
            let instead = match self.another_command {
                true => ": another connvault command works in its state directory",
                false => "",
            };
            return format!("the daemon does not run{instead}{}", looked("connvault"));
        };
        let config = match self.configuration_changed {
            None => "",
            Some(false) => "; the configuration file is the one that it started with",
            Some(true) => {
                "; the configuration file has changed since: restart the daemon (systemctl restart connvault)"
            }
        };
        format!("the daemon runs since {since:.0}{}{config}", looked("it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_run_counts_as_the_daemons_only_while_somebody_has_the_state_directory() {
        let run = |is_daemon| Run {
            is_daemon,
            pid: 7,
            started_at: "2026-11-23T02:00:00Z".parse().unwrap(),
            looked_at: Some("2026-11-23T03:00:00Z".parse().unwrap()),
            config: Some("a".to_owned()),
        };
        let (daemon, command) = (run(true), run(false));
        let words = |run, is_held, config| DaemonStatus::of(run, is_held, config).words();
        assert_eq!(words(None, false, Some("a")), "the daemon does not run");
        assert_eq!(
            words(Some(&daemon), true, Some("a")),
            "the daemon runs since 2026-11-23T02:00:00Z; it last looked at 2026-11-23T03:00:00Z; the configuration file is \
             the one that it started with"
        );
        assert!(
            words(Some(&daemon), true, Some("b"))
                .ends_with("restart the daemon (systemctl restart connvault)")
        );
        assert!(words(Some(&daemon), true, None).ends_with("03:00:00Z"));
        for run in [&daemon, &command] {
            assert_eq!(
                words(Some(run), false, Some("b")),
                "the daemon does not run; connvault last looked at 2026-11-23T03:00:00Z"
            );
        }
        let instead = words(Some(&command), true, Some("a"));
        assert!(instead.starts_with("the daemon does not run: another connvault command works"), "{instead}");
    }
}
