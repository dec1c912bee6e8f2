//! A store: whether it takes, gives and lists, how it refuses to overwrite, and what it says of itself.

use std::sync::Arc;

use futures_util::StreamExt;

use super::readable::Daemon;
use super::{Check, Checks, region, writable};
use crate::adapters::s3_store::{Deleting, Property, S3Store, Untold};
use crate::app::compose;
use crate::config::{S3Store as S3Config, Store};
use crate::domain::failure::FailureKind;
use crate::domain::name::{StoreName, StreamName};
use crate::domain::object_key::{ObjectKey, log_prefix};
use crate::ports::clock::NoAnswerWatch;
use crate::ports::object_store::{CreateOnly, ObjectStore};

const SETTINGS: &str = "settings";
const PUT_GET: &str = "probe put and read back";
const CREATE_ONLY: &str = "create-only";
const LIST: &str = "list";
const VERSIONING: &str = "versioning";
const OBJECT_LOCK: &str = "object lock";
const ENCRYPTION: &str = "encryption";
const DELETE: &str = "delete";
/// A directory's, and the first of a bucket's.
const ROWS: [&str; 4] = [SETTINGS, PUT_GET, CREATE_ONLY, LIST];
const BUCKET_ROWS: [&str; 4] = [VERSIONING, OBJECT_LOCK, ENCRYPTION, DELETE];

const NOT_USABLE: &str = "waits for what failed above";

/// `streams` are those whose archives go there, `daemon` is whom it must be open to.
pub(super) async fn check(
    name: &StoreName,
    store: &Store,
    streams: &[&StreamName],
    daemon: &Daemon,
) -> Vec<Check> {
    let mut checks = Checks::of(format!("store {name}"));
    if let Store::S3(settings) = store {
        let endpoint = settings.endpoint.as_ref().map(|endpoint| endpoint.url());
        region::check(settings.region.as_str(), endpoint, &mut checks);
    }
    match store {
        Store::Directory(directory) => {
            checks.ok(SETTINGS, format!("directory {}", directory.path.display()));
            if writable::check(&directory.path, streams, daemon, &mut checks) {
                usable(&compose::directory(directory), store, streams, &mut checks).await;
            }
        }
        Store::S3(settings) => match compose::bucket(settings, Arc::new(NoAnswerWatch)) {
            Ok(bucket) => {
                let (name, region) = (settings.bucket.as_str(), settings.region.as_str());
                let at = settings.endpoint.as_ref().map_or("AWS", |endpoint| endpoint.url().as_str());
                checks.ok(SETTINGS, format!("bucket {name}, region {region}, at {at}"));
                if usable(&bucket, store, streams, &mut checks).await {
                    survey(&bucket, settings, &mut checks).await;
                    delete(&bucket, store, &mut checks).await;
                }
            }
            Err(error) => checks.failed(SETTINGS, error, "mend the store's section and its files"),
        },
    }
    // A bucket that is not there lacks everything: that would be no news.
    checks.skip_rest(&ROWS, NOT_USABLE);
    if matches!(store, Store::S3(_)) {
        checks.skip_rest(&BUCKET_ROWS, NOT_USABLE);
    }
    checks.list
}

/// Whether the store takes and gives.
async fn usable(port: &dyn ObjectStore, store: &Store, streams: &[&StreamName], checks: &mut Checks) -> bool {
    let mode = match port.prove().await {
        Ok(mode) => mode,
        Err(error) => {
            checks.failed(PUT_GET, error.0.message.clone(), fix(store, error.kind()));
            return false;
        }
    };
    checks.ok(
        PUT_GET,
        format!("done; {} stays there, as after every start", place(store, &ObjectKey::probe())),
    );
    let failed: String = port.passed_over().iter().map(|way| format!("; it fails at {way}")).collect();
    match mode {
        CreateOnly::IfNoneMatch => {
            checks.ok(CREATE_ONLY, format!("the store refuses to overwrite (If-None-Match){failed}"));
        }
        CreateOnly::ObsForbidOverwrite => {
            checks
                .ok(CREATE_ONLY, format!("the store refuses to overwrite (x-obs-forbid-overwrite){failed}"));
        }
        CreateOnly::FileSystem => checks.ok(CREATE_ONLY, "the file system refuses to overwrite"),
        CreateOnly::HeadThenPut => checks.note(
            CREATE_ONLY,
            format!("the store refuses nothing: connvault looks before it puts{failed}"),
            "let no two daemons share it, or use a store that honours If-None-Match",
        ),
    }
    list(port, store, streams, checks).await;
    true
}

/// Whether the logs can be listed, as every start does it: rights to list may end at a prefix, so each by itself.
async fn list(port: &dyn ObjectStore, store: &Store, streams: &[&StreamName], checks: &mut Checks) {
    for prefix in streams.iter().map(|stream| log_prefix(stream)) {
        if let Some(Err(error)) = port.list(&prefix, None).next().await {
            let fix = match (store, error.kind()) {
                (Store::S3(_), FailureKind::Auth) => {
                    "let these keys list the bucket below the store's prefix (s3:ListBucket): no log is read without it"
                }
                (_, kind) => fix(store, kind),
            };
            return checks.failed(LIST, error.0.message, fix);
        }
    }
    match streams {
        [] => checks.skip_rest(&[LIST], "no stream goes there"),
        _ => checks.ok(LIST, "the logs of its streams can be listed"),
    }
}

async fn survey(bucket: &S3Store, settings: &S3Config, checks: &mut Checks) {
    let survey = bucket.survey().await;
    match survey.versioning {
        Property::Has(how) => checks.ok(VERSIONING, how),
        Property::Lacks => checks.note(
            VERSIONING,
            "off: what somebody deletes or overwrites is gone for good",
            "turn it on, where the store has it",
        ),
        Property::Untold { why, said } => {
            checks.note(VERSIONING, untold(&said), &ask(why, "s3:GetBucketVersioning"));
        }
    }
    let wanted = settings.object_lock.is_some() || settings.legal_hold;
    match survey.object_lock {
        Property::Has(how) => checks.ok(OBJECT_LOCK, how),
        Property::Lacks if wanted => checks.failed(
            OBJECT_LOCK,
            "the configuration asks for locks, and the bucket has none",
            "make a bucket with Object Lock enabled, or take object_lock and legal_hold out",
        ),
        Property::Lacks => {
            checks.note(OBJECT_LOCK, "off, and not asked for", "see object_lock in config.example.toml");
        }
        Property::Untold { why, said } => {
            let mut fix = ask(why, "s3:GetBucketObjectLockConfiguration");
            if wanted {
                fix += "; the first object will show whether its lock holds: it is read back after every put";
            }
            checks.note(OBJECT_LOCK, untold(&said), &fix);
        }
    }
    match (survey.encryption, &settings.sse) {
        (_, Some(_)) => checks.ok(ENCRYPTION, "asked for with every object"),
        (Property::Has(how), None) => checks.ok(ENCRYPTION, format!("{how}, by the bucket's default")),
        (Property::Lacks, None) => {
            checks.note(ENCRYPTION, "none by default", "set sse, where the store has it");
        }
        (Property::Untold { why, said }, None) => {
            checks.note(ENCRYPTION, untold(&said), &ask(why, "s3:GetEncryptionConfiguration"));
        }
    }
}

fn untold(said: &str) -> String {
    format!("could not be learnt: {said}")
}

/// How it can be learnt all the same.
fn ask(why: Untold, permission: &str) -> String {
    match why {
        Untold::Forbidden => format!("let these keys ask ({permission}), or look at the bucket with others"),
        Untold::Unknown => {
            "look at the bucket with the store's own tools: it does not know the question".to_owned()
        }
        Untold::Unanswered => "run check again".to_owned(),
    }
}

async fn delete(bucket: &S3Store, store: &Store, checks: &mut Checks) {
    let key = place(store, &ObjectKey::check());
    match bucket.try_delete().await {
        Ok(Deleting::Refused(how)) => checks.ok(
            DELETE,
            format!("refused ({how}), as an archive's keys should be; {key}, which was put for it, stays there"),
        ),
        Ok(Deleting::Left) => checks.note(
            DELETE,
            format!("these keys may delete what they have put, and an earlier version of {key} is left"),
            "take the right to delete from them, or lock the objects; delete what is left by hand, where that matters",
        ),
        Ok(Deleting::Allowed) => checks.note(
            DELETE,
            "these keys may delete what they have put",
            "take the right to delete from them, or lock the objects",
        ),
        Err(error) => checks.failed(DELETE, error.0.message.clone(), fix(store, error.kind())),
    }
}

/// Where a key stands, as whoever looks into the store finds it.
fn place(store: &Store, key: &ObjectKey) -> String {
    match store {
        Store::Directory(directory) => directory.path.join(key.as_str()).display().to_string(),
        Store::S3(bucket) if bucket.prefix.as_str().is_empty() => key.to_string(),
        Store::S3(bucket) => format!("{}/{key}", bucket.prefix.as_str()),
    }
}

/// What helps against a failure of this kind.
fn fix(store: &Store, kind: FailureKind) -> &'static str {
    match (store, kind) {
        (_, FailureKind::Throttled) => "run check again later",
        (Store::Directory(_), FailureKind::Auth) => "give the directory to the daemon's user",
        (Store::Directory(_), _) => {
            "correct the store's path, make the folder that it lies in, mount its disk, or make room on it"
        }
        (Store::S3(_), FailureKind::Auth) => {
            "mend the keys in the store's section, or let them put, get and list below the store's prefix"
        }
        (Store::S3(_), FailureKind::Transient | FailureKind::Local) => {
            "see to network, the proxy variables, ca_file and the room in the store, and run check again"
        }
        (Store::S3(_), _) => "correct bucket, region, endpoint or create_only in the store's section",
    }
}
