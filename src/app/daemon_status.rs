//! What can be said of the daemon itself: whether it runs, when it last looked, and with which configuration it does.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::snapshot::Run;

/// A daemon that has taken down no look for so long has taken down none that it could: it looks each minute, and reads no log
/// for longer than minutes meanwhile.
const SILENCE: SignedDuration = SignedDuration::from_mins(5);

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
    /// When it, or a command in its place, last looked what is due: to half a minute. Absent where nobody can tell.
    pub looked_at: Option<Timestamp>,
    /// When its ledger last took down a look, where that is not when it last looked: the disk is full, mostly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_at: Option<Timestamp>,
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
            written_at: None,
            configuration_changed: started_with.zip(config).map(|(then, now)| then != now),
        }
    }

    /// The same of a daemon that last looked at `unwritten`, which its ledger could not be told.
    #[must_use]
    pub fn unwritten(self, unwritten: Option<Timestamp>) -> Self {
        match unwritten {
            Some(at) => Self { looked_at: Some(at), written_at: self.looked_at, ..self },
            None => self,
        }
    }

    /// The same by the ledger alone at `now`: a daemon looks each minute, so an old look is no look of its, but a ledger that
    /// takes nothing down.
    #[must_use]
    pub fn by_the_ledger_alone(self, now: Timestamp) -> Self {
        let is_old = |at: &Timestamp| now.duration_since(*at) > SILENCE;
        match self.looked_at.filter(|at| self.runs && is_old(at)) {
            Some(at) => Self { looked_at: None, written_at: Some(at), ..self },
            None => self,
        }
    }

    /// For people: one line.
    pub fn words(&self) -> String {
        let looked = |who: &str| match (self.looked_at, self.written_at) {
            (Some(at), None) => format!("; {who} last looked at {at:.0}"),
            (Some(at), Some(written)) => {
                format!("; {who} last looked at {at:.0}; it last wrote to its ledger at {written:.0}")
            }
            (None, Some(written)) => format!(
                "; {who} last wrote to its ledger at {written:.0}, and should have each minute: the disk is full, or it hangs \
                 (journalctl -t connvault says)"
            ),
            (None, None) => String::new(),
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
    fn a_look_that_the_ledger_does_not_know_is_told_and_an_old_one_is_not_told_as_the_last() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let written = at("2026-11-23T03:00:00Z");
        let run = Run {
            is_daemon: true,
            pid: 7,
            started_at: at("2026-11-23T02:00:00Z"),
            looked_at: Some(written),
            config: None,
        };
        let daemon = || DaemonStatus::of(Some(&run), true, None);
        assert_eq!(daemon().unwritten(None), daemon());
        let words = daemon().unwritten(Some(at("2026-11-23T03:20:00Z"))).words();
        let told =
            "; it last looked at 2026-11-23T03:20:00Z; it last wrote to its ledger at 2026-11-23T03:00:00Z";
        assert!(words.ends_with(told), "{words}");
        assert_eq!(daemon().by_the_ledger_alone(at("2026-11-23T03:04:00Z")), daemon());
        let words = daemon().by_the_ledger_alone(at("2026-11-23T03:20:00Z")).words();
        assert!(!words.contains("last looked"), "{words}");
        assert!(words.contains("it last wrote to its ledger at 2026-11-23T03:00:00Z"), "{words}");
        // Nobody runs, so nobody should have written.
        let gone = DaemonStatus::of(Some(&run), false, None);
        assert_eq!(gone.clone().by_the_ledger_alone(at("2026-11-24T03:20:00Z")), gone);
    }

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
