//! A store: whether it takes and gives, how it refuses to overwrite, and what it says of itself.

use super::{Check, Checks};
use crate::adapters::s3_store::{Deleting, Property, S3Store};
use crate::app::compose;
use crate::config::{S3Store as S3Config, Store};
use crate::domain::name::StoreName;
use crate::ports::object_store::{CreateOnly, ObjectStore};

const PUT_GET: &str = "probe put and read back";
const CREATE_ONLY: &str = "create-only";
const NOTHING_PUT: &str = "nothing can be put";

pub(super) async fn check(name: &StoreName, store: &Store) -> Vec<Check> {
    let mut checks = Checks::of(format!("store {name}"));
    match store {
        Store::Directory(store) => _ = proven(&compose::directory(store), &mut checks).await,
        Store::S3(settings) => match compose::bucket(settings) {
            Ok(bucket) => s3(&bucket, settings, &mut checks).await,
            Err(error) => checks.failed("settings", error, "mend the store's section and its files"),
        },
    }
    checks.list
}

/// Whether the store takes and gives.
async fn proven(store: &dyn ObjectStore, checks: &mut Checks) -> bool {
    match store.prove().await {
        Ok(mode) => {
            checks.ok(PUT_GET, "done, under the key that every start uses");
            let how = match mode {
                CreateOnly::IfNoneMatch => "the store refuses to overwrite (If-None-Match)",
                CreateOnly::ObsForbidOverwrite => "the store refuses to overwrite (x-obs-forbid-overwrite)",
                CreateOnly::FileSystem => "the file system refuses to overwrite",
                CreateOnly::HeadThenPut => {
                    checks.note(
                        CREATE_ONLY,
                        "the store refuses nothing: connvault looks before it puts",
                        "let no two daemons share it, or use a store that honours If-None-Match",
                    );
                    return true;
                }
            };
            checks.ok(CREATE_ONLY, how);
            true
        }
        Err(error) => {
            checks.failed(PUT_GET, error.0.message, "mend bucket, endpoint, region or the keys' permissions");
            checks.skipped(&[CREATE_ONLY], NOTHING_PUT);
            false
        }
    }
}

async fn s3(bucket: &S3Store, settings: &S3Config, checks: &mut Checks) {
    if !proven(bucket, checks).await {
        // A bucket that is not there lacks everything: that would be no news.
        return checks.skipped(&["versioning", "object lock", "encryption", "delete"], NOTHING_PUT);
    }
    let survey = bucket.survey().await;
    let untold = "the bucket does not say: its keys may not ask, or it does not know the question";
    match survey.versioning {
        Property::Has(how) => checks.ok("versioning", how),
        Property::Lacks => checks.note(
            "versioning",
            "off: what somebody deletes or overwrites is gone for good",
            "turn it on, where the store has it",
        ),
        Property::Untold => checks.ok("versioning", untold),
    }
    let wanted = settings.object_lock.is_some() || settings.legal_hold;
    match survey.object_lock {
        Property::Has(how) => checks.ok("object lock", how),
        Property::Lacks if wanted => checks.failed(
            "object lock",
            "the configuration asks for locks, and the bucket has none",
            "make a bucket with Object Lock enabled, or take object_lock and legal_hold out",
        ),
        Property::Lacks => {
            checks.note("object lock", "off, and not asked for", "see object_lock in config.example.toml");
        }
        Property::Untold if wanted => checks.note(
            "object lock",
            untold,
            "the first object will show whether the lock holds: it is read back after every put",
        ),
        Property::Untold => checks.ok("object lock", untold),
    }
    match (survey.encryption, &settings.sse) {
        (_, Some(_)) => checks.ok("encryption", "asked for with every object"),
        (Property::Has(how), None) => checks.ok("encryption", format!("{how}, by the bucket's default")),
        (Property::Lacks, None) => {
            checks.note("encryption", "none by default", "set sse, where the store has it")
        }
        (Property::Untold, None) => checks.ok("encryption", untold),
    }
    match bucket.try_delete().await {
        Ok(Deleting::Refused(how)) => {
            checks.ok("delete", format!("refused ({how}), as an archive's keys should be"))
        }
        Ok(Deleting::Left) => checks.note(
            "delete",
            "these keys may delete what they have put, and an earlier version of .connvault/delete-check is left",
            "take the right to delete from them, or lock the objects; delete what is left by hand, where that matters",
        ),
        Ok(Deleting::Allowed) => checks.note(
            "delete",
            "these keys may delete what they have put",
            "take the right to delete from them, or lock the objects",
        ),
        Err(error) => checks.failed("delete", error.0.message, "mend the keys' permissions"),
    }
}
