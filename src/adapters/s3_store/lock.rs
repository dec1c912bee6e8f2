//! Object Lock as S3 spells it: three headers of a put, and the same three of what is looked at.
//!
//! Some stores keep every header that they do not know and give it back, locks included (rclone does). Object Lock is
//! about versions, and there is none without them: what is said of an object without a version is an echo.

use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ObjectLockLegalHoldStatus, ObjectLockMode};
use jiff::Timestamp;

use super::errors::{Place, Trouble};
use crate::domain::failure::{FailureKind, Scope};
use crate::domain::lock::{Lock, Retention, RetentionMode};
use crate::domain::message::Message;
use crate::domain::object_key::ObjectKey;
use crate::ports::object_store::StoreError;

/// Has the put ask for `lock`; without one it says nothing of locks, and the bucket's own rules apply.
pub(super) fn ask(request: PutObjectFluentBuilder, lock: &Lock) -> PutObjectFluentBuilder {
    let request = match lock.retention {
        None => request,
        Some(Retention { mode, until }) => request
            .object_lock_mode(match mode {
                RetentionMode::Governance => ObjectLockMode::Governance,
                RetentionMode::Compliance => ObjectLockMode::Compliance,
            })
            .object_lock_retain_until_date(DateTime::from_secs(until.as_second())),
    };
    request.set_object_lock_legal_hold_status(lock.legal_hold.then_some(ObjectLockLegalHoldStatus::On))
}

/// The lock that a store says of a version. What is not known to be a lock is none.
pub(super) fn said(
    version_id: Option<&str>,
    mode: Option<&ObjectLockMode>,
    until: Option<&DateTime>,
    legal_hold: Option<&ObjectLockLegalHoldStatus>,
) -> Lock {
    // The one version of an object where versions are not kept, or no longer, is called "null".
    if version_id.is_none_or(|id| id.is_empty() || id == "null") {
        return Lock::NONE;
    }
    let mode = match mode {
        Some(ObjectLockMode::Compliance) => Some(RetentionMode::Compliance),
        Some(ObjectLockMode::Governance) => Some(RetentionMode::Governance),
        _ => None,
    };
    let until = until.and_then(|until| Timestamp::from_second(until.secs()).ok());
    Lock {
        retention: mode.zip(until).map(|(mode, until)| Retention { mode, until }),
        legal_hold: legal_hold == Some(&ObjectLockLegalHoldStatus::On),
    }
}

/// The error for a put that asked for `lock`. A store that knows locks and a bucket that has none go together badly
/// for every put alike, so it holds up the store, and not one window after the other.
pub(super) fn refused(place: &Place, key: &ObjectKey, lock: &Lock, trouble: Trouble) -> StoreError {
    let may_be_the_lock = !lock.is_none() && trouble.may_refuse_a_lock();
    let mut error = place.error(&format!("put {key}"), trouble);
    if may_be_the_lock {
        error.0.kind = FailureKind::Rejected;
        error.0.scope = Scope::Store;
        error.0.message = Message::new(format!("{}; it was asked for {lock}", error.0.message.cause())).advise(
            "enable Object Lock on the bucket, let these keys set locks (s3:PutObjectRetention, for legal_hold \
             s3:PutObjectLegalHold), or remove object_lock and legal_hold from the store",
        );
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_says_is_a_lock_only_where_it_says_all_of_it() {
        let until = DateTime::from_secs_and_nanos(1_800_000_000, 5);
        let retention = Retention {
            mode: RetentionMode::Compliance,
            until: Timestamp::from_second(1_800_000_000).unwrap(),
        };
        let whole = said(Some("v1"), Some(&ObjectLockMode::Compliance), Some(&until), None);
        assert_eq!(whole, Lock { retention: Some(retention), legal_hold: false });
        for (mode, until, hold) in [
            (None, Some(&until), None),
            (Some(&ObjectLockMode::Compliance), None, Some(&ObjectLockLegalHoldStatus::Off)),
            (Some(&ObjectLockMode::from("LENIENT")), Some(&until), None),
        ] {
            assert_eq!(said(Some("v1"), mode, until, hold), Lock::NONE);
        }
        let hold = Some(&ObjectLockLegalHoldStatus::On);
        assert!(said(Some("v1"), None, None, hold).legal_hold);
    }

    #[test]
    fn what_is_said_of_an_object_without_a_version_is_an_echo() {
        let until = DateTime::from_secs(1_800_000_000);
        let (mode, hold) = (Some(&ObjectLockMode::Compliance), Some(&ObjectLockLegalHoldStatus::On));
        for version_id in [None, Some(""), Some("null")] {
            assert_eq!(said(version_id, mode, Some(&until), hold), Lock::NONE);
        }
    }
}
