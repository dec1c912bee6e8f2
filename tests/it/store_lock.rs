//! Object Lock: what stores that know it refuse, and how stores that do not are found out.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockMode, ObjectLockRetention,
    ObjectLockRetentionMode,
};
use connvault::adapters::directory_store::DirectoryStore;
use connvault::adapters::s3_store::S3Settings;
use connvault::app::object_locks::ObjectLocks;
use connvault::domain::failure::{FailureKind, Scope};
use connvault::domain::lock::{Lock, LockPolicy, Retain, Retention, RetentionMode};
use connvault::domain::log_entry::EntryBody;
use connvault::domain::object_key::{log_key, signature_key};
use connvault::ports::object_store::{ObjectStore, PutOutcome};
use jiff::{SignedDuration, Timestamp};

use crate::support::buckets::InProcess;
use crate::support::content::{bytes, key, read};
use crate::support::s3s::Dialect;
use crate::support::servers::{Bucket, Server};
use crate::support::vault::{Place, Vault, WINDOWS, days_ago, text};

/// So long that every window of a vault is still retained.
const LOCKED: &str = "[stores.archive.object_lock]\nmode = \"compliance\"\nretain = \"40d\"";
const RETAINED: SignedDuration = SignedDuration::from_hours(40 * 24);

fn retained(mode: RetentionMode, until: Timestamp) -> Lock {
    Lock { retention: Some(Retention { mode, until }), legal_hold: false }
}

async fn vault(settings: S3Settings) -> Vault {
    Vault::with(|_| Place::Bucket(Box::new(settings)), |sim| sim).await
}

/// Everything that lies below the stream's folder, by kind.
async fn entries_and_data(vault: &Vault) -> (Vec<String>, Vec<String>) {
    use connvault::domain::object_key::{data_prefix, log_prefix};
    let (store, stream) = (vault.store(), "logins".parse().unwrap());
    let list = async |prefix| crate::support::content::list(store.as_ref(), &prefix, None).await;
    (list(log_prefix(&stream)).await, list(data_prefix(&stream)).await)
}

async fn a_version_under_a_lock_is_neither_deleted_nor_its_retention_shortened(server: Server) {
    let bucket = Bucket::with_object_lock(server).await;
    let store = bucket.store();
    let until = days_ago(-2);
    let held = Lock { retention: None, legal_hold: true };
    let locks = [
        ("compliance", retained(RetentionMode::Compliance, until)),
        ("governance", retained(RetentionMode::Governance, until)),
        ("held", held),
        ("both", Lock { legal_hold: true, ..retained(RetentionMode::Compliance, until) }),
    ];
    for (name, lock) in locks {
        let name = key(&format!("s/log/{name}.json"));
        let PutOutcome::Created { version_id: Some(version) } =
            store.put_if_absent(&name, &bytes("kept"), &lock).await.unwrap()
        else {
            panic!("{name}: no version")
        };
        let meta = store.head(&name).await.unwrap().unwrap();
        assert_eq!((meta.lock, meta.version_id.as_ref()), (Some(lock), Some(&version)), "{name}");
        assert_eq!(store.get(&name).await.unwrap().unwrap().meta.lock, Some(lock), "{name}");

        let whole = bucket.whole(name.as_str());
        let delete = bucket.client.delete_object().bucket(&bucket.settings.bucket).key(&whole);
        let refused = delete.version_id(version.as_str()).send().await.unwrap_err();
        assert_eq!(refused.raw_response().unwrap().status().as_u16(), 403, "{name}: {refused:?}");
        if lock.retention.is_some_and(|retention| retention.mode == RetentionMode::Compliance) {
            let shorter = ObjectLockRetention::builder()
                .mode(ObjectLockRetentionMode::Compliance)
                .retain_until_date(DateTime::from_secs(days_ago(-1).as_second()));
            let shorten = bucket.client.put_object_retention().bucket(&bucket.settings.bucket).key(&whole);
            let shorten = shorten.version_id(version.as_str()).retention(shorter.build());
            let refused = shorten.send().await.unwrap_err();
            assert_eq!(refused.raw_response().unwrap().status().as_u16(), 403, "{name}: {refused:?}");
        }
        assert_eq!(read(&*store, &name).await.unwrap(), b"kept");
        assert_eq!(store.head(&name).await.unwrap().unwrap().lock, Some(lock), "{name}");
    }
}

async fn what_is_put_without_a_lock_has_none(server: Server) {
    let bucket = Bucket::with_object_lock(server).await;
    let (store, name) = (bucket.store(), key("s/log/free.json"));
    store.prove().await.unwrap();
    store.put_if_absent(&name, &bytes("free"), &Lock::NONE).await.unwrap();
    assert_eq!(store.head(&name).await.unwrap().unwrap().lock, Some(Lock::NONE));
    let probe = connvault::domain::object_key::ObjectKey::probe();
    assert_eq!(store.head(&probe).await.unwrap().unwrap().lock, Some(Lock::NONE));
}

async fn every_object_of_a_stream_is_locked_from_its_windows_end_and_its_version_is_in_the_log(
    server: Server,
) {
    let bucket = Bucket::with_object_lock(server).await;
    let vault = vault(bucket.settings.clone()).await;
    vault.configure(LOCKED);
    vault.once().await;
    let audit = vault.audit().await;
    assert_eq!(audit.windows.len(), WINDOWS);
    let head = async |name: &str| {
        let request = bucket.client.head_object().bucket(&bucket.settings.bucket).key(bucket.whole(name));
        request.send().await.unwrap()
    };
    let assert_locked = |name: &str, head: &HeadObjectOutput, until: Timestamp| {
        assert_eq!(head.object_lock_mode(), Some(&ObjectLockMode::Compliance), "{name}");
        let found = head.object_lock_retain_until_date().unwrap().secs();
        assert_eq!(found, until.as_second(), "{name}");
    };
    for sealed in &audit.entries {
        let entry = sealed.entry();
        let from = entry.body.window().map_or(entry.recorded_at, |window| window.end());
        let until = entry.lock.retention.unwrap().until;
        assert!((from + RETAINED).duration_since(until).abs() < SignedDuration::from_secs(1), "{entry:?}");
        let name = format!("logins/log/{:012}.json", entry.seq.get());
        assert_locked(&name, &head(&name).await, until);
        let name = signature_key(&"logins".parse().unwrap(), entry.seq, &sealed.hash()).to_string();
        assert_locked(&name, &head(&name).await, until);
        if let EntryBody::Archived(archived) = &entry.body {
            let name = format!("logins/{}", archived.object.key);
            let head = head(&name).await;
            assert_locked(&name, &head, until);
            assert!(archived.object.version_id.is_some(), "{name}");
            assert_eq!(archived.object.version_id.as_deref(), head.version_id(), "{name}");
        }
    }
    let checked = vault.connvault(&["verify", "--level", "objects"]).await;
    assert!(checked.status.success(), "{}", text(&checked.stdout));
    // A run without the state directory reads all of it back, and has nothing to do.
    std::fs::remove_dir_all(vault.state_dir()).unwrap();
    vault.once().await;
    assert_eq!(vault.audit().await.entries.len(), audit.entries.len());
}

async fn verify_names_every_lock_that_was_shortened_and_tells_of_holds_that_were_lifted(server: Server) {
    let bucket = Bucket::with_object_lock(server).await;
    let vault = vault(bucket.settings.clone()).await;
    vault.configure(&LOCKED.replace("compliance", "governance"));
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let held = config.replace("[stores.archive]\n", "[stores.archive]\nlegal_hold = true\n");
    std::fs::write(vault.path("config.toml"), held).unwrap();
    vault.once().await;
    let audit = vault.audit().await;
    let newest = audit.entries.last().unwrap();
    let EntryBody::Archived(archived) = &newest.entry().body else { panic!("{newest:?}") };
    let (stream, seq) = ("logins".parse().unwrap(), newest.entry().seq);
    let names = [
        format!("logins/{}", archived.object.key),
        log_key(&stream, seq).to_string(),
        signature_key(&stream, seq, &newest.hash()).to_string(),
    ];
    for name in &names {
        let shorter = ObjectLockRetention::builder()
            .mode(ObjectLockRetentionMode::Governance)
            .retain_until_date(DateTime::from_secs(days_ago(-1).as_second()));
        let shorten = bucket.client.put_object_retention().bucket(&bucket.settings.bucket);
        let shorten = shorten.key(bucket.whole(name)).retention(shorter.build());
        shorten.bypass_governance_retention(true).send().await.unwrap();
    }
    let lifted = ObjectLockLegalHold::builder().status(ObjectLockLegalHoldStatus::Off).build();
    let lift = bucket.client.put_object_legal_hold().bucket(&bucket.settings.bucket);
    let first = key("logins/log/000000000001.json");
    lift.key(bucket.whole(first.as_str())).legal_hold(lifted).send().await.unwrap();

    let checked = vault.connvault(&["verify", "--level", "objects", "--json"]).await;
    assert_eq!(checked.status.code(), Some(3), "{}", text(&checked.stderr));
    let report: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    let report = &report["streams"][0];
    let findings = report["findings"].as_array().unwrap();
    let named = findings.iter().map(|finding| {
        assert_eq!(finding["kind"], "lock_weaker", "{finding}");
        finding["key"].as_str().unwrap().to_owned()
    });
    assert_eq!(named.collect::<BTreeSet<_>>(), names.into_iter().collect());
    let lifted = report["notes"].as_array().unwrap().iter().find(|note| note["kind"] == "holds_lifted");
    assert_eq!(lifted.unwrap()["first"], first.as_str());
    assert_eq!(lifted.unwrap()["objects"], 1);
    assert_eq!(vault.connvault(&["verify", "--level", "log"]).await.status.code(), Some(0));
}

async fn a_lock_that_is_configured_later_is_expected_of_what_comes_later(server: Server) {
    let bucket = Bucket::with_object_lock(server).await;
    let vault = vault(bucket.settings.clone()).await;
    vault.connvault(&["backfill", "logins", "--from", &day(&vault, 0), "--to", &day(&vault, 2)]).await;
    let before = vault.audit().await;
    assert_eq!(before.windows.len(), 2);
    vault.configure(LOCKED);
    vault.once().await;
    let audit = vault.audit().await;
    assert_eq!(audit.windows.len(), WINDOWS);
    for (index, entry) in audit.entries.iter().enumerate() {
        assert_eq!(entry.entry().lock.is_none(), index < before.entries.len(), "{:?}", entry.entry());
    }
}

fn day(vault: &Vault, day: i32) -> String {
    (vault.start + SignedDuration::from_hours(24) * day).strftime("%Y-%m-%d").to_string()
}

/// Runs against a store that takes no locks, and asserts that it is not written to beyond its first entry.
async fn assert_found_out(settings: S3Settings) {
    let vault = vault(settings).await;
    vault.configure(LOCKED);
    // The second run finds the first entry; the third has nothing left of the first two but the store.
    for run in 1..=3 {
        if run == 3 {
            std::fs::remove_dir_all(vault.state_dir()).unwrap();
        }
        let output = vault.connvault(&["once"]).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "run {run}: {said}");
        assert!(said.contains("enable Object Lock on the bucket"), "run {run}: {said}");
        let (entries, data) = entries_and_data(&vault).await;
        assert!(entries.len() <= 1 && data.is_empty(), "run {run}: {entries:?} {data:?}");
        if let [entry] = entries.as_slice() {
            for word in [entry.as_str(), "compliance retention until", "no lock", "stores.archive"] {
                assert!(said.contains(word), "run {run}: {word:?} is not in {said}");
            }
            assert_eq!(vault.connvault(&["gaps"]).await.status.code(), Some(3));
        }
    }
    // Without the lock in the configuration it goes on, from the very log.
    vault.configure("");
    vault.once().await;
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
}

async fn a_bucket_without_object_lock_is_written_to_no_further(server: Server) {
    assert_found_out(Bucket::plain(server).await.settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_locks_is_written_to_no_further() {
    assert_found_out(InProcess::start(Dialect::Aws).await.settings()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_left_without_its_lock_is_not_adopted_and_not_put_again() {
    let home = InProcess::start(Dialect::Aws).await;
    let vault = vault(home.settings()).await;
    // Killed after the put, so that an object lies there that no entry names.
    vault.once_killed_at(connvault::ports::checkpoint::Step::DataPut, 1).await;
    let before = entries_and_data(&vault).await;
    assert!(!before.1.is_empty());
    vault.configure(LOCKED);
    let output = vault.connvault(&["once"]).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let after = entries_and_data(&vault).await;
    assert!(after.1.iter().any(|name| said.contains(name)) && said.contains("no lock"), "{said}");
    assert!(after.1.len() <= before.1.len() + 1, "{before:?} {after:?}");
    assert_eq!(after.0, before.0, "nothing is said in the log");
    assert!(after.1.iter().all(|name| name.contains(".r1.")), "no second revision: {after:?}");
    vault.configure("");
    vault.once().await;
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
}

#[tokio::test]
async fn after_a_lock_that_does_not_hold_nothing_is_put_until_the_stream_is_looked_at_again() {
    let home = InProcess::start(Dialect::Aws).await;
    let retain = Retain { mode: RetentionMode::Compliance, period: RETAINED };
    let policy = LockPolicy { retain: Some(retain), legal_hold: false };
    let locks = ObjectLocks::new(home.store() as Arc<_>, "archive".parse().unwrap(), policy);
    let now = days_ago(0);
    let lock = locks.lock_from(now, now);
    assert_eq!(lock, retained(RetentionMode::Compliance, now + RETAINED));
    let (first, second) = (key("s/log/1.json"), key("s/log/2.json"));
    let contents = [bytes("1"), bytes("2")];
    let puts = (locks.put(&first, &contents[0], &lock), locks.put(&second, &contents[1], &lock));
    let (failure, refused) = futures_util::future::join(puts.0, puts.1).await;
    let failure = failure.unwrap_err();
    assert_eq!(refused.unwrap_err(), failure);
    assert_eq!((failure.kind, failure.scope), (FailureKind::Damaged, Scope::Stream));
    for word in
        ["s/log/1.json", "compliance retention until", "no lock", "stores.archive", "enable Object Lock"]
    {
        assert!(failure.message.contains(word), "{word:?} is not in {}", failure.message);
    }
    assert_eq!(locks.put(&second, &bytes("2"), &lock).await.unwrap_err(), failure);
    assert_eq!(home.store().head(&second).await.unwrap(), None);
    locks.trust_again();
    let failure = locks.put(&second, &bytes("2"), &lock).await.unwrap_err();
    assert!(failure.message.contains("s/log/2.json"), "{}", failure.message);
    assert!(home.store().head(&second).await.unwrap().is_some());
}

#[tokio::test]
async fn a_directory_does_not_pretend_to_lock() {
    let folder = tempfile::tempdir().unwrap();
    let store = DirectoryStore::new(folder.path());
    store.prove().await.unwrap();
    let (name, lock) = (key("s/log/1"), Lock { retention: None, legal_hold: true });
    let error = store.put_if_absent(&name, &bytes("x"), &lock).await.unwrap_err();
    assert_eq!((error.kind(), error.0.scope), (FailureKind::Rejected, Scope::Store));
    assert_eq!(store.head(&name).await.unwrap(), None);
}

macro_rules! facts {
    ($module:ident, $server:expr, $why:literal, $($fact:ident),* $(,)?) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread")]
                #[ignore = $why]
                async fn $fact() {
                    super::$fact($server).await;
                }
            )*
        }
    };
}

facts!(
    seaweedfs,
    super::Server::SeaweedFs,
    "needs SeaweedFS: run scripts/test",
    a_version_under_a_lock_is_neither_deleted_nor_its_retention_shortened,
    what_is_put_without_a_lock_has_none,
    every_object_of_a_stream_is_locked_from_its_windows_end_and_its_version_is_in_the_log,
    verify_names_every_lock_that_was_shortened_and_tells_of_holds_that_were_lifted,
    a_lock_that_is_configured_later_is_expected_of_what_comes_later,
    a_bucket_without_object_lock_is_written_to_no_further,
);
facts!(
    ceph,
    super::Server::Ceph,
    "needs Ceph: run scripts/test as root",
    a_version_under_a_lock_is_neither_deleted_nor_its_retention_shortened,
    what_is_put_without_a_lock_has_none,
    every_object_of_a_stream_is_locked_from_its_windows_end_and_its_version_is_in_the_log,
    verify_names_every_lock_that_was_shortened_and_tells_of_holds_that_were_lifted,
    a_lock_that_is_configured_later_is_expected_of_what_comes_later,
    a_bucket_without_object_lock_is_written_to_no_further,
);
facts!(
    rclone,
    super::Server::Rclone,
    "needs rclone: run scripts/test",
    a_bucket_without_object_lock_is_written_to_no_further,
);
