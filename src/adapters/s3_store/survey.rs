//! What a bucket says of itself, for `check`: versions, locks, encryption; and whether its keys may delete.
//!
//! The only delete of this program is here: of an object that was put for it, under a key of its own.

use aws_sdk_s3::types::{BucketVersioningStatus, ObjectLockEnabled};
use bytes::Bytes;

use super::S3Store;
use super::errors::Trouble;
use crate::domain::lock::Lock;
use crate::domain::object_key::ObjectKey;
use crate::domain::text::ForeignText;
use crate::ports::object_store::{Content, ObjectStore, PutOutcome, StoreError};

/// What a bucket says when it is asked for one of its properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Property {
    /// It has it, in words.
    Has(ForeignText),
    /// It has it not.
    Lacks,
    /// It does not say.
    Untold {
        /// Why.
        why: Untold,
        /// The store's word for it, or what came in its place.
        said: ForeignText,
    },
}

/// Why a bucket does not say whether it has a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untold {
    /// The keys may not ask.
    Forbidden,
    /// The store does not know the question.
    Unknown,
    /// No answer came, or none of now.
    Unanswered,
}

/// A bucket's properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketSurvey {
    /// Whether it keeps versions.
    pub versioning: Property,
    /// Whether objects can be locked.
    pub object_lock: Property,
    /// How it encrypts what says nothing of it.
    pub encryption: Property,
}

/// Whether the keys may delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleting {
    /// They may, and the object is gone.
    Allowed,
    /// The store agreed, and something stands under the key all the same.
    Left,
    /// They may not, in the store's words.
    Refused(ForeignText),
}

const CONTENT: &[u8] = b"connvault check puts this object to find out whether its keys may delete.\n";

impl S3Store {
    /// Asks the bucket.
    pub async fn survey(&self) -> BucketSurvey {
        let bucket = &self.settings.bucket;
        let versioning = match self.client.get_bucket_versioning().bucket(bucket).send().await {
            Ok(said) => match said.status() {
                Some(BucketVersioningStatus::Enabled) => Property::Has(ForeignText::new("enabled")),
                Some(BucketVersioningStatus::Suspended) | None => Property::Lacks,
                Some(other) => Property::Has(ForeignText::new(other.as_str())),
            },
            Err(error) => untold(&Trouble::of(error)),
        };
        let object_lock = match self.client.get_object_lock_configuration().bucket(bucket).send().await {
            Ok(said) => match said.object_lock_configuration().and_then(|lock| lock.object_lock_enabled()) {
                Some(ObjectLockEnabled::Enabled) => Property::Has(ForeignText::new("enabled")),
                _ => Property::Lacks,
            },
            Err(error) => untold(&Trouble::of(error)),
        };
        let encryption = match self.client.get_bucket_encryption().bucket(bucket).send().await {
            Ok(said) => {
                let rules = said.server_side_encryption_configuration().map(|all| all.rules());
                let rule = rules.and_then(<[_]>::first);
                let rule = rule.and_then(|rule| rule.apply_server_side_encryption_by_default());
                rule.map_or(Property::Lacks, |rule| {
                    Property::Has(ForeignText::new(rule.sse_algorithm().as_str()))
                })
            }
            Err(error) => untold(&Trouble::of(error)),
        };
        BucketSurvey { versioning, object_lock, encryption }
    }

    /// Puts an object and deletes it again. Where that is refused, it stays: there is one, under [`ObjectKey::check`].
    ///
    /// # Errors
    /// When the object cannot be put, or the store does not say.
    pub async fn try_delete(&self) -> Result<Deleting, StoreError> {
        let key = ObjectKey::check();
        let put = self.put_if_absent(&key, &Content::Bytes(Bytes::from_static(CONTENT)), &Lock::NONE).await?;
        let version = match put {
            PutOutcome::Created { version_id } => version_id,
            PutOutcome::AlreadyExists => self.head(&key).await?.and_then(|meta| meta.version_id),
        };
        // Of a bucket with versions, the version: whoever may only hide it behind a marker destroys nothing.
        let request = self.client.delete_object().bucket(&self.settings.bucket).key(self.full_key(&key));
        match request.set_version_id(version.map(String::from)).send().await.map_err(Trouble::of) {
            // An earlier version may still stand there, of a time when these keys might not delete.
            Ok(_) if self.head(&key).await?.is_some() => Ok(Deleting::Left),
            Ok(_) => Ok(Deleting::Allowed),
            Err(trouble) if trouble.says_forbidden() => Ok(Deleting::Refused(trouble.code())),
            Err(trouble) => Err(self.place.error(&format!("delete {key}"), trouble)),
        }
    }
}

fn untold(trouble: &Trouble) -> Property {
    let why = match trouble.status() {
        // How stores say that there is none of it.
        Some(404) => return Property::Lacks,
        _ if trouble.says_forbidden() => Untold::Forbidden,
        _ if trouble.says_unsupported() => Untold::Unknown,
        _ => Untold::Unanswered,
    };
    Property::Untold { why, said: trouble.code() }
}
