//! No secret in any log, error, database, `ps` or `--json` output.

use std::path::Path;

use base64::Engine;
use connvault_sim::{Key, Simulator};

use crate::support::buckets::{InProcess, settings};
use crate::support::s3s::{ACCESS_KEY, Dialect, SECRET_KEY};
use crate::support::vault::{self, Place, Vault};

const TOKEN: &str = "vault/security+token=of~the~source";

/// A secret as it may stand in text.
fn disguises(secret: &str) -> Vec<Vec<u8>> {
    let base64 = base64::engine::general_purpose::STANDARD.encode(secret);
    let percent: String = secret.bytes().map(|b| format!("%{b:02X}")).collect();
    let url = percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string();
    [secret.to_owned(), base64, hex::encode(secret), percent, url].map(String::into_bytes).to_vec()
}

fn assert_none(secrets: &[&str], place: &str, bytes: &[u8]) {
    for secret in secrets {
        for disguise in disguises(secret) {
            let found = bytes.windows(disguise.len()).any(|window| window == disguise);
            assert!(!found, "{place} holds a secret as {:?}", String::from_utf8_lossy(&disguise));
        }
    }
}

fn assert_none_below(secrets: &[&str], folder: &Path) {
    for file in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = file.path();
        if path.is_dir() {
            assert_none_below(secrets, &path);
        } else {
            assert_none(secrets, &path.display().to_string(), &std::fs::read(&path).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_leaves_the_program_whatever_it_is_asked() {
    let server = InProcess::start(Dialect::Aws).await;
    let bucket = settings(&server.server.endpoint(), "audit", ACCESS_KEY, SECRET_KEY);
    let temporary = |_: connvault_sim::Builder| {
        let key = Key::temporary(vault::ACCESS_KEY, vault::SECRET_KEY, TOKEN);
        let day = jiff::SignedDuration::from_hours(24);
        let start = vault::days_ago(6);
        Simulator::builder().key(key).records(connvault_sim::Records::seeded(7, start, start + day * 8, 10))
    };
    let vault = Vault::with(|_| Place::Bucket(Box::new(bucket)), temporary).await;
    vault.secret("source-token", TOKEN);
    let text = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let token = format!("security_token_file = \"{}\"\n[signing]", vault.path("source-token").display());
    std::fs::write(vault.path("config.toml"), text.replace("[signing]", &token)).unwrap();

    // The ids of keys are no secrets by themselves, and still nobody's business.
    let signing_key = vault::signing_key();
    // The third line holds the private part; the first two are the same in many keys.
    let signing_key = signing_key.lines().nth(3).unwrap();
    let secrets = [vault::SECRET_KEY, TOKEN, SECRET_KEY, vault::ACCESS_KEY, ACCESS_KEY, signing_key];
    let commands: [&[&str]; 10] = [
        &["config"],
        &["config", "--json"],
        &["plan", "--json"],
        &["once", "--log", "trace", "--json"],
        &["status", "--json"],
        &["status"],
        &["gaps", "--json"],
        &["retry", "--json"],
        &["backfill", "logins", "--from", "2026-01-01", "--redo", "failed"],
        &["once", "--log", "trace", "--log-format", "json"],
    ];
    for wrong_key in [false, true] {
        if wrong_key {
            vault.sim.keys().revoke(vault::ACCESS_KEY);
            std::fs::remove_dir_all(vault.state_dir()).unwrap();
            for object in ["data", "log"] {
                let folder = server.folder.path().join("audit/workspace/logins").join(object);
                _ = std::fs::remove_dir_all(folder);
            }
        }
        for command in commands {
            let output = vault.connvault(command).await;
            let place = format!("{command:?} (wrong key: {wrong_key})");
            assert_none(&secrets, &place, &output.stdout);
            assert_none(&secrets, &place, &output.stderr);
        }
        assert_none_below(&secrets, &vault.state_dir());
        assert_none_below(&secrets, server.folder.path());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_shows_in_the_process_list() {
    let vault = Vault::in_directory().await;
    let mut daemon = vault.daemon();
    vault.until_archived(&mut daemon).await;
    for file in ["cmdline", "environ", "comm"] {
        let bytes = std::fs::read(format!("/proc/{}/{file}", daemon.id())).unwrap();
        assert_none(&[vault::SECRET_KEY], file, &bytes);
    }
}
