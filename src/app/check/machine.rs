//! What this machine gives: secret files, time zones, room on the disk, the signing key.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::readable::Daemon;
use super::state_dir::{self, STATE_DIR};
use super::{Check, Checks};
use crate::adapters::disk::{free_bytes, is_read_only};
use crate::app::compose::Injected;
use crate::app::signing;
use crate::config::{Config, SecretFile, Store};

/// Less room than this stops the daemon at the first larger export …
const TOO_LITTLE: u64 = 100 << 20;
/// … and less than this is worth a word.
const LITTLE: u64 = 1 << 30;

pub(super) fn check(config: &Config, daemon: &Daemon, injected: &Injected) -> Vec<Check> {
    let mut checks = secrets(config);
    checks.extend(zones(config));
    checks.extend(signing(config, injected));
    checks.extend(disks(config, daemon));
    checks
}

/// Every secret file, by itself.
fn secrets(config: &Config) -> Vec<Check> {
    let mut checks = Checks::of("secrets");
    let of_sources = config.sources.values().flat_map(|source| source.credentials.secrets());
    let of_stores = config.stores.values().flat_map(|store| match store {
        Store::S3(store) => store.credentials.secrets().collect::<Vec<_>>(),
        Store::Directory(_) => Vec::new(),
    });
    let others = config.signing.iter().map(|signing| &signing.key).chain(&config.alerts.heartbeat_url);
    let mut seen = BTreeSet::new();
    for file in of_sources.chain(of_stores).chain(others).filter(|file| seen.insert(file.to_string())) {
        secret(file, &mut checks);
    }
    checks.list
}

fn secret(file: &SecretFile, checks: &mut Checks) {
    match file.read() {
        Ok(_) => match file.doubt() {
            None => checks.ok("secret file", file.to_string()),
            Some(blemish) => {
                checks.note("secret file", format!("{file} {blemish}"), "see whether that is a part of the secret");
            }
        },
        Err(error) => checks.failed(
            "secret file",
            error.to_string(),
            "put the secret into that file, owned by the daemon's user, and chmod it to 600; outside of systemd say where \
             its credentials are: CREDENTIALS_DIRECTORY=/etc/connvault/credentials connvault check",
        ),
    }
}

fn zones(config: &Config) -> Vec<Check> {
    let mut checks = Checks::of("streams");
    let zones: BTreeSet<_> =
        config.streams.values().filter_map(|stream| stream.timezone.iana_name()).collect();
    for zone in zones {
        // A zone that is not known is no configuration.
        checks.ok("time zone", format!("{zone}, by the rules that this program brings along"));
    }
    checks.list
}

fn signing(config: &Config, injected: &Injected) -> Vec<Check> {
    let mut checks = Checks::of("signing");
    match signing::signing_key(config, injected.clock.now()) {
        Ok(Some(key)) => checks.ok("key", key.fingerprint()),
        Ok(None) => checks.note(
            "key",
            "there is none: logs are chained, and whoever can write to the store could write their ends anew",
            "make one (ssh-keygen -t ed25519 -N '') and name it in [signing]",
        ),
        Err(error) => {
            checks.failed(
                "key",
                error.to_string(),
                "name an ed25519 key in OpenSSH's form, without a passphrase",
            );
        }
    }
    checks.list
}

fn disks(config: &Config, daemon: &Daemon) -> Vec<Check> {
    let mut checks = Checks::of("disk");
    let state_dir = &config.daemon.state_dir;
    if !read_only(state_dir, STATE_DIR, &mut checks) && state_dir::check(state_dir, daemon, &mut checks) {
        free(state_dir, STATE_DIR, free_bytes(there(state_dir)), &mut checks);
    }
    for store in config.stores.values() {
        if let Store::Directory(store) = store {
            disk(&store.path, "directory store", &mut checks);
        }
    }
    checks.list
}

fn disk(path: &Path, what: &'static str, checks: &mut Checks) {
    if !read_only(path, what, checks) {
        free(path, what, free_bytes(there(path)), checks);
    }
}

/// Before the first start the directory itself may be missing.
fn there(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(path)
}

fn read_only(path: &Path, what: &'static str, checks: &mut Checks) -> bool {
    let is = is_read_only(there(path)).unwrap_or(false);
    if is {
        let detail = format!("{}: its disk is mounted read-only", path.display());
        checks.failed(what, detail, "mount it writable, or name a directory on another disk");
    }
    is
}

fn free(path: &Path, what: &'static str, free: io::Result<u64>, checks: &mut Checks) {
    let fix = "free some space there, or name a directory on a larger disk";
    match free {
        Ok(free) if free < TOO_LITTLE => checks.failed(what, room(path, free), fix),
        Ok(free) if free < LITTLE => checks.note(what, room(path, free), fix),
        Ok(free) => checks.ok(what, room(path, free)),
        Err(error) => {
            checks.failed(
                what,
                format!("{}: {error}", path.display()),
                "let this user look at that directory",
            );
        }
    }
}

fn room(path: &Path, free: u64) -> String {
    format!("{}: {} MiB free", path.display(), free >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::check::Outcome;

    #[test]
    fn a_disk_with_little_room_is_worth_a_word_and_one_with_too_little_is_a_failure() {
        for (room, expected) in
            [(LITTLE, Outcome::Ok), (TOO_LITTLE, Outcome::Note), (TOO_LITTLE - 1, Outcome::Failed)]
        {
            let mut checks = Checks::of("disk");
            free(Path::new("/archive"), "state_dir", Ok(room), &mut checks);
            let check = &checks.list[0];
            assert_eq!(check.outcome, expected, "{room}");
            assert_eq!(
                check.fix.as_deref().is_some_and(|fix| fix.contains("free some space")),
                room < LITTLE
            );
        }
    }
}
