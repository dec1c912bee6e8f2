//! Things to put, and keys to put them under.

use std::path::Path;

use bytes::Bytes;
use connvault::domain::digest::{Md5, Sha256};
use connvault::domain::name::StreamName;
use connvault::domain::object_key::{KeyPrefix, ObjectKey, log_prefix};
use connvault::ports::object_store::{Content, ObjectStore};
use futures_util::TryStreamExt;
use md5::Digest;

pub fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).unwrap()
}

pub fn bytes(text: &'static str) -> Content {
    Content::Bytes(Bytes::from_static(text.as_bytes()))
}

/// What every key of a stream's log begins with: `{stream}/log/`.
pub fn log_of(stream: &str) -> KeyPrefix {
    log_prefix(&stream.parse::<StreamName>().unwrap())
}

/// `bytes` as a file in `folder`, with the digests that belong to it.
pub fn file(folder: &Path, name: &str, bytes: &[u8]) -> Content {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    Content::File {
        path,
        bytes: bytes.len() as u64,
        sha256: Sha256::of(bytes),
        md5: Md5::from(<[u8; 16]>::from(md5::Md5::digest(bytes))),
    }
}

/// `length` bytes that no compression and no block size gets hold of.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(length)
    .collect()
}

/// All that stands under `key`.
pub async fn read(store: &dyn ObjectStore, key: &ObjectKey) -> Option<Vec<u8>> {
    let body = store.get(key).await.unwrap()?;
    let (promised, chunks) = (body.meta.bytes, body.bytes.try_collect::<Vec<_>>().await.unwrap());
    let bytes = chunks.concat();
    assert_eq!(promised, bytes.len() as u64);
    Some(bytes)
}

/// Every key below `prefix` after `after`.
pub async fn list(store: &dyn ObjectStore, prefix: &KeyPrefix, after: Option<&ObjectKey>) -> Vec<String> {
    let keys = store.list(prefix, after).try_collect::<Vec<_>>().await.unwrap();
    keys.iter().map(ToString::to_string).collect()
}
