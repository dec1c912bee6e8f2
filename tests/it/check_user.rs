//! `check` for the user that the daemon runs as: what it leaves that user, and what it says of that user's rights.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use connvault::adapters::directory_store::DirectoryStore;
use connvault::domain::lock::Lock;
use connvault::ports::object_store::ObjectStore;
use serde_json::Value;

use crate::check::{outcome, row, whoami};
use crate::support::content::{bytes, key};
use crate::support::vault::{Vault, text};

/// Users that every Debian has, by their ids.
const DAEMON: u32 = 1;
const BIN: u32 = 2;

async fn checked_for(vault: &Vault, user: &str) -> Vec<Value> {
    let output = vault.connvault(&["check", "--json", "--user", user]).await;
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    document["checks"].as_array().unwrap().clone()
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
}

/// A vault whose folder everybody may enter, with a store's directory of this user and mode.
async fn vault_with_store(user: u32, mode: u32) -> (Vault, PathBuf) {
    let vault = Vault::in_directory().await;
    set_mode(vault.dir.path(), 0o755);
    let archive = vault.path("archive");
    std::fs::create_dir(&archive).unwrap();
    set_mode(&archive, mode);
    give(&archive, user);
    (vault, archive)
}

/// All that is in a folder, with its owner and group.
fn owners(folder: &Path) -> Vec<(PathBuf, u32, u32)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        found.push((entry.path(), metadata.uid(), metadata.gid()));
        if metadata.is_dir() {
            found.extend(owners(&entry.path()));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, to give a directory away: run scripts/test"]
async fn what_root_leaves_in_a_directory_store_belongs_to_its_owner() {
    let (vault, archive) = vault_with_store(DAEMON, 0o750).await;
    let checks = checked_for(&vault, "daemon").await;
    assert_eq!(outcome(&checks, "probe put and read back"), "ok", "{checks:#?}");
    let is_daemons = |found: &[(PathBuf, u32, u32)]| {
        found.iter().all(|(_, user, group)| (*user, *group) == (DAEMON, DAEMON))
    };
    let found = owners(&archive);
    assert!(found.len() >= 3 && is_daemons(&found), "{found:?}");
    assert_eq!(outcome(&checks, "writable by the daemon"), "ok", "{checks:#?}");
    let store = DirectoryStore::new(&archive);
    store.put_if_absent(&key("s/log/1"), &bytes("x"), &Lock::NONE).await.unwrap();
    let found = owners(&archive);
    assert!(found.len() >= 6 && is_daemons(&found), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, to give a directory away: run scripts/test"]
async fn a_directory_store_that_the_daemons_user_cannot_write_to_fails_before_root_leaves_anything_there() {
    for (owner, mode) in [(0, 0o755), (BIN, 0o700), (DAEMON, 0o500)] {
        let (vault, archive) = vault_with_store(owner, mode).await;
        let checks = checked_for(&vault, "daemon").await;
        let said = row(&checks, "writable by the daemon");
        assert_eq!(said["outcome"], "failed", "{checks:#?}");
        let fix = said["fix"].as_str().unwrap();
        assert!(fix.contains("chown -R daemon") && fix.contains(archive.to_str().unwrap()), "{fix}");
        assert_eq!(outcome(&checks, "probe put and read back"), "skipped");
        assert_eq!(owners(&archive), []);
    }
    // On the way, and inside: what an earlier check by root has left.
    let (vault, archive) = vault_with_store(DAEMON, 0o755).await;
    set_mode(vault.dir.path(), 0o700);
    let said = row(&checked_for(&vault, "daemon").await, "writable by the daemon").clone();
    assert!(said["fix"].as_str().unwrap().contains("chmod o+x"), "{said}");
    set_mode(vault.dir.path(), 0o755);
    std::fs::create_dir_all(archive.join(".connvault/tmp")).unwrap();
    let checks = checked_for(&vault, "daemon").await;
    assert_eq!(outcome(&checks, "writable by the daemon"), "failed", "{checks:#?}");
    // Root itself may write everywhere.
    assert_eq!(outcome(&checked_for(&vault, "root").await, "probe put and read back"), "ok");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, to give a directory away: run scripts/test"]
async fn a_directory_store_that_is_not_there_is_made_by_its_user_and_not_by_root() {
    let vault = Vault::in_directory().await;
    set_mode(vault.dir.path(), 0o755);
    let checks = checked_for(&vault, "daemon").await;
    assert_eq!(outcome(&checks, "writable by the daemon"), "failed", "{checks:#?}");
    assert!(!vault.path("archive").exists());
    give(vault.dir.path(), DAEMON);
    let checks = checked_for(&vault, "daemon").await;
    assert_eq!(outcome(&checks, "writable by the daemon"), "note", "{checks:#?}");
    assert!(!vault.path("archive").exists());
}

/// What a start refuses of a state directory, made by this.
type Refused = (&'static str, fn(&Path));

/// Refused for its owner too.
const REFUSED: [Refused; 5] = [
    ("a parent that is not there", |state| std::fs::remove_dir(state.parent().unwrap()).unwrap()),
    ("sticky", |state| make(state, 0o1777)),
    ("foreign files", |state| {
        make(state, 0o755);
        std::fs::write(state.join("somebody's"), "").unwrap();
    }),
    ("a plain file", |state| std::fs::write(state, "").unwrap()),
    ("a parent that is a file", |state| {
        std::fs::remove_dir(state.parent().unwrap()).unwrap();
        std::fs::write(state.parent().unwrap(), "").unwrap();
    }),
];

fn make(folder: &Path, mode: u32) {
    std::fs::create_dir(folder).unwrap();
    set_mode(folder, mode);
}

/// A vault with its state directory in a folder of its own, which is there.
async fn vault_with_state(make_state: fn(&Path)) -> Vault {
    let vault = Vault::in_directory().await;
    set_mode(vault.dir.path(), 0o755);
    make(&vault.path("var"), 0o755);
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let moved =
        config.replace(vault.state_dir().to_str().unwrap(), vault.path("var/state").to_str().unwrap());
    std::fs::write(vault.path("config.toml"), moved).unwrap();
    make_state(&vault.path("var/state"));
    vault
}

fn assert_refused(checks: &[Value], what: &str) {
    let said = row(checks, "state_dir");
    assert_eq!(said["outcome"], "failed", "{what}: {checks:#?}");
    assert!(said["fix"].as_str().is_some_and(|fix| fix.contains("state_dir")), "{what}: {said}");
    assert_ne!(outcome(checks, "ledger"), "ok", "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_a_start_refuses_fails_the_check() {
    for (what, make_state) in REFUSED {
        let vault = vault_with_state(make_state).await;
        let started = vault.connvault(&["once"]).await;
        assert_eq!(started.status.code(), Some(1), "{what}: {}", text(&started.stderr));
        let before = owners(vault.dir.path());
        assert_refused(&checked_for(&vault, &whoami()).await, what);
        let own = |found: Vec<(PathBuf, u32, u32)>| {
            found
                .into_iter()
                .filter(|(path, ..)| !path.starts_with(vault.path("archive")))
                .collect::<Vec<_>>()
        };
        assert_eq!(own(owners(vault.dir.path())), own(before), "{what}");
    }
    // One that a start takes is well, and stays as it is.
    let vault = vault_with_state(|state| make(state, 0o755)).await;
    assert_eq!(outcome(&checked_for(&vault, &whoami()).await, "state_dir"), "ok");
    assert_eq!(vault.path("var/state").metadata().unwrap().mode() & 0o777, 0o755);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, to give a directory away: run scripts/test"]
async fn a_state_directory_that_the_daemons_user_could_not_start_in_fails_roots_check() {
    let of_users: [Refused; 7] = [
        ("a parent of root's", |_| {}),
        ("another user's, open", |state| make(state, 0o777)),
        ("another user's, closed", |state| make(state, 0o700)),
        ("closed to its owner", |state| {
            make(state, 0o500);
            give(state, DAEMON);
        }),
        ("a lock of root's", |state| {
            make(state, 0o700);
            give(state, DAEMON);
            std::fs::write(state.join("lock"), "").unwrap();
        }),
        ("sticky", |state| {
            make(state, 0o1777);
            give(state, DAEMON);
        }),
        ("a way that is closed", |state| {
            make(state, 0o700);
            give(state, DAEMON);
            set_mode(state.parent().unwrap(), 0o700);
        }),
    ];
    for (what, make_state) in of_users.into_iter().chain(REFUSED) {
        let vault = vault_with_state(make_state).await;
        assert_refused(&checked_for(&vault, "daemon").await, what);
    }
    let vault = vault_with_state(|state| {
        make(state, 0o700);
        give(state, DAEMON);
    })
    .await;
    assert_eq!(outcome(&checked_for(&vault, "daemon").await, "state_dir"), "ok");
    // Root itself does not start in a directory of another user.
    assert_refused(&checked_for(&vault, "root").await, "another user's, for root");
}
