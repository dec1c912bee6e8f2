//! The state directory, as a start by the daemon's user would judge it.

use std::io;
use std::path::Path;

use super::Checks;
use super::readable::Daemon;
use crate::adapters::state_dir::{StateDir, StateDirError, may_write};
use crate::config::{Who, closed_to_writing};

pub(super) const STATE_DIR: &str = "state_dir";

/// Where systemd makes the directories that a unit names (StateDirectory=), and those of users that it makes up.
const OF_UNITS: &str = "/var/lib";
const OF_MADE_UP: &str = "/var/lib/private";

/// Whether a start would not be refused; what it would be refused for is told.
pub(super) fn check(path: &Path, daemon: &Daemon, checks: &mut Checks) -> bool {
    let (name, judged) = match daemon {
        Daemon::Unseen => return true,
        Daemon::User { .. } if systemd_makes(path) => return true,
        Daemon::User { name, who } => {
            let user = who.user.unwrap_or(u32::MAX);
            (name.as_str(), StateDir::judge(path, user, &|path| open_to(path, who)))
        }
        Daemon::Asker => {
            let user = Who::this_process().user.unwrap_or(u32::MAX);
            ("USER", StateDir::judge(path, user, &may_write))
        }
    };
    let Err(error) = judged else { return true };
    let who = match daemon {
        Daemon::User { name, .. } => format!("user {name}"),
        _ => "this user".to_owned(),
    };
    let fix = fix(path, name, &error);
    checks.failed(STATE_DIR, format!("a start by {who} would be refused: {error}"), &fix);
    false
}

/// Whether systemd makes the directory for the unit and gives it to the unit's user, at each start.
fn systemd_makes(path: &Path) -> bool {
    let is_its_place = path.parent() == Some(Path::new(OF_UNITS));
    is_its_place && path.canonicalize().map_or(true, |path| path.starts_with(OF_MADE_UP))
}

fn open_to(path: &Path, who: &Who) -> io::Result<()> {
    match closed_to_writing(path, who) {
        None => Ok(()),
        Some(closed) => Err(io::Error::new(io::ErrorKind::PermissionDenied, closed.to_string())),
    }
}

fn fix(path: &Path, name: &str, error: &StateDirError) -> String {
    let place = path.display();
    let other = "or name another directory in daemon.state_dir";
    match error {
        StateDirError::OfAnotherUser { .. } => format!("run the daemon as its owner, {other}"),
        StateDirError::Shared { .. } => "name a directory of connvault's own in daemon.state_dir".to_owned(),
        StateDirError::Unusable { .. } if !path.exists() => {
            format!("make it for that user: install -d -m 0700 -o {name} {place}, {other}")
        }
        StateDirError::Unusable { .. } if !path.is_dir() => {
            "name a directory in daemon.state_dir, or move away what is in its place".to_owned()
        }
        _ => format!(
            "where it is connvault's own, give it to that user: chown -R {name} {place} && chmod 0700 {place}; {other}"
        ),
    }
}
