//! Whether the daemon's user can read what this user can: the configuration, and the files that it names.

use std::path::Path;

use super::{Check, Checks};
use crate::adapters::user;
use crate::config::{Config, Store, Who, closed};

/// The user that systemd makes up for the unit, where it names no other.
pub const DAEMON: &str = "connvault";

const READABLE: &str = "readable by the daemon";

/// A file that the daemon reads.
struct Named<'c> {
    path: &'c Path,
    is_secret: bool,
}

/// Whom the daemon runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Daemon {
    /// Whoever asks.
    Asker,
    /// Another user, or the same by name.
    User { name: String, who: Who },
    /// One of whom nothing can be said: systemd makes that user up while the service runs, or this one, who is not root,
    /// does not see all that decides.
    Unseen,
}

impl Daemon {
    /// `user` is whom the daemon runs as, where that was said.
    pub(super) fn of(user: Option<&str>) -> Self {
        let name = user.unwrap_or(DAEMON);
        match user::ids(name) {
            Some(ids) if Some(ids.user) == Who::this_process().user => Self::Asker,
            Some(ids) if user::is_root() => {
                Self::User { name: name.to_owned(), who: Who { user: Some(ids.user), groups: ids.groups } }
            }
            None if user.is_none() && !user::is_root() => Self::Asker,
            _ => Self::Unseen,
        }
    }
}

/// `file` is the configuration, which says `config`; `user` is whom the daemon runs as, where that was said.
pub(super) fn check(file: &Path, config: &Config, user: Option<&str>) -> Vec<Check> {
    let mut checks = Checks::of("configuration");
    let name = user.unwrap_or(DAEMON);
    let who = match user::ids(name) {
        Some(ids) => Who { user: Some(ids.user), groups: ids.groups },
        // Nobody but root can start the unit: this user runs connvault as it is, and has read these files by now.
        None if user.is_none() && !user::is_root() => {
            checks.ok(
                READABLE,
                "by this user; there is no user connvault now (another one is named with --user)",
            );
            return checks.list;
        }
        // A user that systemd makes up is there while the service runs, and owns nothing.
        None => Who { user: None, groups: Vec::new() },
    };
    let otherwise = match user {
        Some(_) => String::new(),
        None => "; where the daemon runs as another user, name that user with --user".to_owned(),
    };
    let mut files = vec![Named { path: file, is_secret: false }];
    files.extend(named(config));
    for Named { path, is_secret } in files {
        let Some(closed) = closed(path, &who) else { continue };
        let fix = match is_secret && closed.path == path.canonicalize().unwrap_or_default() {
            true => format!(
                "give it to that user (chown {name} {0}), or hand it over with LoadCredential= and name it \
                 ${{CREDENTIALS_DIRECTORY}}/…",
                path.display()
            ),
            false => format!("let that user in: {}", closed.remedy()),
        };
        let detail = format!("user {name} cannot read {}: {closed}", path.display());
        checks.failed(READABLE, detail, &(fix + &otherwise));
    }
    if checks.list.is_empty() {
        checks.ok(READABLE, format!("by user {name}, with every file that it names"));
    }
    checks.list
}

/// The files that the configuration names by their paths. What systemd hands over, systemd reads.
fn named(config: &Config) -> Vec<Named<'_>> {
    let of_sources = config.sources.values().flat_map(|source| source.credentials.secrets());
    let of_stores = config.stores.values().filter_map(|store| match store {
        Store::S3(store) => Some(store),
        Store::Directory(_) => None,
    });
    let certificates = of_stores.clone().filter_map(|store| store.ca_file.as_deref());
    let certificates =
        certificates.chain(config.sources.values().filter_map(|source| source.ca_file.as_deref()));
    let signers = config.signing.iter().filter_map(|signing| signing.allowed_signers_file.as_deref());
    let others = config.signing.iter().map(|signing| &signing.key).chain(&config.alerts.heartbeat_url);
    let secrets = of_sources.chain(of_stores.flat_map(|store| store.credentials.secrets())).chain(others);
    let secrets = secrets.filter_map(|secret| secret.own_path()).map(|path| Named { path, is_secret: true });
    let public = certificates.chain(signers).map(|path| Named { path, is_secret: false });
    public.chain(secrets).collect()
}
