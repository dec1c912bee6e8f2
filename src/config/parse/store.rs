//! `[stores.*]`

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::super::error::ProblemKind;
use super::super::model::{CreateOnlyMode, DirectoryStore, ObjectLock, ReadbackMode, S3Store, Sse, Store};
use super::super::raw::{RawDirectory, RawObjectLock, RawS3, RawStore};
use super::super::secret::Secrets;
use super::super::setting::{Setting, UrlText};
use super::super::text::{KmsKeyId, MOST_TAGS, Prefix, TagName, Tags};
use super::super::tree::{Named, Report};
use super::super::units::LONGEST_DURATION;
use super::{absolute, ak_sk, duration, least_rate, readable};
use crate::domain::lock::RetentionMode;

pub(super) fn store(raw: RawStore, secrets: Secrets, report: &mut Report) -> Option<Store> {
    match raw {
        RawStore::S3(raw) => s3(*raw, secrets, report).map(|store| Store::S3(Box::new(store))),
        RawStore::Directory(raw) => directory(*raw, report).map(Store::Directory),
        RawStore::Unknown => None,
    }
}

fn s3(raw: RawS3, secrets: Secrets, report: &mut Report) -> Option<S3Store> {
    let bucket = raw.bucket.map(|text| text.parse(), report).required("name the bucket", report);
    let region = raw.region.map(|text| text.parse(), report);
    let region = region.required("name the region that requests are signed for", report);
    let endpoint = raw.endpoint.map(|UrlText(text)| text.parse(), report).optional();
    let path_style = raw.path_style.or(false);
    let prefix = raw.prefix.map(|text| text.parse(), report).or(Prefix::default());
    let keys = (raw.access_key_file, raw.secret_key_file);
    let credentials = ak_sk(keys, raw.security_token_file, secrets, report);
    let ca_file = raw.ca_file.map(readable(secrets), report).optional();
    let least_rate = least_rate(raw.least_rate, report);
    let create_only = raw.create_only.one_of(CREATE_ONLY, report).or(CreateOnlyMode::Auto);
    let readback = readback(raw.readback, report);
    let storage_class = raw.storage_class.map(|text| text.parse(), report).optional();
    let sse = encryption(raw.sse, raw.kms_key_id, report);
    let tags = tags(raw.tags, report);
    let object_lock = object_lock(raw.object_lock, report);
    let legal_hold = raw.legal_hold.or(false);
    Some(S3Store {
        bucket: bucket?,
        region: region?,
        endpoint: endpoint?,
        path_style: path_style?,
        prefix: prefix?,
        credentials: credentials?,
        ca_file: ca_file?,
        least_rate: least_rate?,
        create_only: create_only?,
        readback: readback?,
        storage_class: storage_class?,
        sse: sse?,
        tags: tags?,
        object_lock: object_lock?,
        legal_hold: legal_hold?,
    })
}

fn directory(raw: RawDirectory, report: &mut Report) -> Option<DirectoryStore> {
    let path = raw.path.map(absolute, report).required("name the directory", report);
    let readback = readback(raw.readback, report);
    Some(DirectoryStore { path: path?, readback: readback? })
}

const CREATE_ONLY: [(&str, CreateOnlyMode); 4] = [
    ("auto", CreateOnlyMode::Auto),
    ("if-none-match", CreateOnlyMode::IfNoneMatch),
    ("obs-forbid-overwrite", CreateOnlyMode::ObsForbidOverwrite),
    ("head", CreateOnlyMode::Head),
];

fn readback(setting: Setting<String>, report: &mut Report) -> Option<ReadbackMode> {
    let choices = [("full", ReadbackMode::Full), ("metadata", ReadbackMode::Metadata)];
    setting.one_of(choices, report).or(ReadbackMode::Full)
}

/// A key without a method that uses it would leave objects encrypted otherwise than was meant: an error.
fn encryption(sse: Setting<String>, key_id: Setting<String>, report: &mut Report) -> Option<Option<Sse>> {
    let key_id = key_id.map(|text| text.parse::<KmsKeyId>(), report);
    let sse = sse.one_of([("AES256", Sse::Aes256), ("aws:kms", Sse::Kms { key_id: None })], report);
    if key_id.is_set() && (!sse.is_set() || sse.peek() == Some(&Sse::Aes256)) {
        key_id.refuse("goes with sse = \"aws:kms\" only; take it out or change sse".to_owned(), report);
        return None;
    }
    let key_id = key_id.optional();
    match (sse.optional()?, key_id?) {
        (Some(Sse::Kms { .. }), key_id) => Some(Some(Sse::Kms { key_id })),
        (sse, _) => Some(sse),
    }
}

/// A day at least: what is kept for less needs no lock, and the unit is easily got wrong.
fn object_lock(raw: Option<RawObjectLock>, report: &mut Report) -> Option<Option<ObjectLock>> {
    let Some(raw) = raw else { return Some(None) };
    let modes = [("compliance", RetentionMode::Compliance), ("governance", RetentionMode::Governance)];
    let mode = raw.mode.one_of(modes, report).required("say \"compliance\" or \"governance\"", report);
    let range = (SignedDuration::from_hours(24), LONGEST_DURATION);
    let retain = duration(raw.retain, range, "must be 1d to 10000d", report);
    let retain = retain.required("say how long after a window's end, such as \"2557d\"", report);
    Some(Some(ObjectLock { mode: mode?, retain: retain? }))
}

fn tags(raw: Named<Setting<String>>, report: &mut Report) -> Option<Tags> {
    let count = raw.entries.len();
    if count > MOST_TAGS {
        let why = format!("{count} tags are too many; an object takes {MOST_TAGS} at most");
        report.add(&raw.key, None, ProblemKind::BadValue(why));
    }
    let mut tags = BTreeMap::new();
    for (name, value) in raw.entries {
        let read_name = name.parse::<TagName>();
        if let Err(error) = &read_name {
            report.add(&raw.key.child(&name), None, ProblemKind::BadValue(error.to_string()));
        }
        let value = value.map(|text| text.parse(), report).optional();
        if let (Ok(name), Some(Some(value))) = (read_name, value) {
            tags.insert(name, value);
        }
    }
    // Anything that was left out is in the report, and the whole is then not used.
    (tags.len() == count && count <= MOST_TAGS).then(|| Tags::from(tags))
}
