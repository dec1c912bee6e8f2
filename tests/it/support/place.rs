//! A store as one looks at it from outside: with the file system, or with a client that is none of ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use connvault::adapters::s3_store::S3Settings;

use super::buckets::{InProcess, Seaweed, plain_client};
use super::s3s::Dialect;

/// Where a test's archives go.
pub enum Place {
    Directory(tempfile::TempDir),
    Bucket { settings: Box<S3Settings>, _server: Option<InProcess> },
}

impl Place {
    pub fn directory() -> Self {
        Self::Directory(tempfile::tempdir().unwrap())
    }

    /// A bucket of a server in this process.
    pub async fn s3s() -> Self {
        let server = InProcess::start(Dialect::Aws).await;
        Self::Bucket { settings: Box::new(server.settings()), _server: Some(server) }
    }

    /// Has the server in this process date its answers so.
    pub fn dated(&self, date: impl Fn() -> Option<String> + Send + 'static) {
        match self {
            Self::Bucket { _server: Some(server), .. } => server.server.dated(date),
            _ => panic!("no server of this process"),
        }
    }

    /// A bucket on SeaweedFS that keeps every version of every object.
    pub async fn versioned() -> Self {
        let seaweed = Seaweed::bucket(true).await;
        Self::Bucket { settings: Box::new(seaweed.settings), _server: None }
    }

    /// Every object by its key below the prefix, the create-only probe left out.
    pub async fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        match self {
            Self::Directory(folder) => {
                let key =
                    |path: &Path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned();
                let files = files_below(folder.path()).into_iter().map(|path| (key(&path), path));
                files
                    .filter(|(key, _)| !is_own(key))
                    .map(|(key, path)| (key, std::fs::read(path).unwrap()))
                    .collect()
            }
            Self::Bucket { settings, .. } => {
                let client = plain_client(settings);
                let mut objects = BTreeMap::new();
                for key in below_prefix(settings, current_keys(settings).await) {
                    let whole = format!("{}/{key}", settings.prefix.as_ref().unwrap());
                    let request = client.get_object().bucket(&settings.bucket).key(whole);
                    let body = request.send().await.unwrap().body.collect().await.unwrap();
                    objects.insert(key, body.to_vec());
                }
                objects
            }
        }
    }

    /// How many versions each key has; 1 for all where the store keeps none.
    pub async fn versions(&self) -> BTreeMap<String, usize> {
        let keys = match self {
            Self::Bucket { settings, _server: None } => below_prefix(settings, every_version(settings).await),
            _ => self.objects().await.into_keys().collect(),
        };
        let mut versions = BTreeMap::new();
        for key in keys {
            *versions.entry(key).or_default() += 1;
        }
        versions
    }
}

fn is_own(key: &str) -> bool {
    key.starts_with(".connvault/")
}

/// `keys` without the prefix, and without what belongs to no stream.
fn below_prefix(settings: &S3Settings, keys: Vec<String>) -> Vec<String> {
    let prefix = format!("{}/", settings.prefix.as_ref().unwrap());
    let keys = keys.into_iter().map(|key| key.strip_prefix(&prefix).unwrap().to_owned());
    keys.filter(|key| !is_own(key)).collect()
}

async fn current_keys(settings: &S3Settings) -> Vec<String> {
    let client = plain_client(settings);
    let mut pages = client.list_objects_v2().bucket(&settings.bucket).into_paginator().send();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        keys.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
    }
    keys
}

/// Every key as often as it has versions; delete markers count, as there must be none.
async fn every_version(settings: &S3Settings) -> Vec<String> {
    let client = plain_client(settings);
    let (mut keys, mut key_marker, mut version_marker) = (Vec::new(), None, None);
    loop {
        let request = client.list_object_versions().bucket(&settings.bucket);
        let page =
            request.set_key_marker(key_marker).set_version_id_marker(version_marker).send().await.unwrap();
        keys.extend(page.versions().iter().map(|version| version.key().unwrap().to_owned()));
        keys.extend(page.delete_markers().iter().map(|marker| marker.key().unwrap().to_owned()));
        if page.is_truncated() != Some(true) {
            return keys;
        }
        key_marker = page.next_key_marker().map(str::to_owned);
        version_marker = page.next_version_id_marker().map(str::to_owned);
    }
}

/// Every file below `folder`; none where there is no such folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}
