//! What a directory store does beyond the suite: mount points, leftovers, links, and answers that get lost.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use connvault::adapters::directory_store::DirectoryStore;
use connvault::domain::digest::{Md5, Sha256};
use connvault::domain::failure::{FailureKind, Scope};
use connvault::domain::lock::Lock;
use connvault::ports::object_store::{Content, CreateOnly, ObjectStore, PutOutcome};
use futures_util::StreamExt;

use crate::support::content::{bytes, key, list, log_of, read};
use crate::support::faulty_store::{Call, FaultyStore, When};

/// A proven directory store, and its root.
async fn directory(folder: &Path) -> (DirectoryStore, PathBuf) {
    let root = folder.join("archive");
    let store = DirectoryStore::new(&root);
    assert_eq!(store.prove().await.unwrap(), CreateOnly::FileSystem);
    (store, root)
}

#[tokio::test]
async fn a_directory_whose_disk_is_not_mounted_is_no_empty_store() {
    let folder = tempfile::tempdir().unwrap();
    let (store, root) = directory(folder.path()).await;
    store.put_if_absent(&key("s/log/1"), &bytes("x"), &Lock::NONE).await.unwrap();
    std::fs::rename(&root, folder.path().join("unmounted")).unwrap();
    assert!(store.head(&key("s/log/1")).await.is_err());
    assert!(store.get(&key("s/log/1")).await.is_err());
    assert!(store.list(&log_of("s"), None).next().await.unwrap().is_err());
    // As the mount point shows: an empty directory.
    std::fs::create_dir(&root).unwrap();
    let error = store.put_if_absent(&key("s/log/2"), &bytes("x"), &Lock::NONE).await.unwrap_err();
    assert_eq!((error.kind(), error.0.scope), (FailureKind::Transient, Scope::Store));
    assert!(error.to_string().contains("mounted"), "{error}");
    let above = DirectoryStore::new(folder.path().join("no/such/parent"));
    assert!(above.prove().await.is_err());
}

#[tokio::test]
async fn what_dead_writers_left_is_removed_and_what_living_ones_write_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (store, root) = directory(folder.path()).await;
    let (dead, living) = (root.join(".connvault/tmp/1-dead"), root.join(".connvault/tmp/2-living"));
    std::fs::write(&dead, "half").unwrap();
    let held = std::fs::File::create(&living).unwrap();
    held.lock().unwrap();
    store.prove().await.unwrap();
    assert!(!dead.exists() && living.exists());
    drop(held);
    store.prove().await.unwrap();
    assert!(!living.exists());
}

#[tokio::test]
async fn a_put_leaves_nothing_but_its_object_and_nobody_may_write_to_that() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (store, root) = directory(folder.path()).await;
    store.put_if_absent(&key("s/log/1"), &bytes("x"), &Lock::NONE).await.unwrap();
    store.put_if_absent(&key("s/log/1"), &bytes("y"), &Lock::NONE).await.unwrap();
    assert_eq!(std::fs::read_dir(root.join(".connvault/tmp")).unwrap().count(), 0);
    assert_eq!(std::fs::metadata(root.join("s/log/1")).unwrap().permissions().mode() & 0o222, 0);
}

#[tokio::test]
async fn a_link_in_a_directory_store_is_no_object() {
    let folder = tempfile::tempdir().unwrap();
    let (store, root) = directory(folder.path()).await;
    store.put_if_absent(&key("s/log/1"), &bytes("x"), &Lock::NONE).await.unwrap();
    std::os::unix::fs::symlink("1", root.join("s/log/2")).unwrap();
    assert_eq!(list(&store, &log_of("s"), None).await, ["s/log/1"]);
    assert_eq!(store.head(&key("s/log/2")).await.unwrap(), None);
    let error = store.put_if_absent(&key("s/log/2"), &bytes("x"), &Lock::NONE).await.unwrap_err();
    assert_eq!((error.kind(), error.0.scope), (FailureKind::Rejected, Scope::Window), "{error}");
}

#[tokio::test]
async fn a_put_whose_answer_is_lost_is_found_done_when_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = directory(folder.path()).await;
    let store = FaultyStore::new(Arc::new(store));
    store.fail(Call::Put, 1, 1, When::Before, FailureKind::Transient);
    store.fail(Call::Put, 2, 1, When::After, FailureKind::Transient);
    let (name, content) = (key("s/log/1"), bytes("x"));
    assert!(store.put_if_absent(&name, &content, &Lock::NONE).await.is_err());
    assert_eq!(store.head(&name).await.unwrap(), None);
    assert!(store.put_if_absent(&name, &content, &Lock::NONE).await.is_err());
    assert_eq!(store.put_if_absent(&name, &content, &Lock::NONE).await.unwrap(), PutOutcome::AlreadyExists);
    assert_eq!(read(&store, &name).await.unwrap(), b"x");
    assert_eq!(store.calls(Call::Put), 3);
}

/// A pipe in place of the file that is put: reading it waits for what is written there.
fn put_from_a_pipe(folder: &Path) -> (PathBuf, Content, Vec<u8>) {
    let pipe = folder.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let written = b"slowly".repeat(10);
    let (sha256, md5) = (Sha256::of(&written), Md5::of(&written));
    (pipe.clone(), Content::File { path: pipe, bytes: written.len() as u64, sha256, md5 }, written)
}

#[tokio::test]
async fn a_put_that_gets_on_is_waited_for_however_slow_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = directory(folder.path()).await;
    let limit = Duration::from_millis(500);
    let store = store.silent_for(limit);
    let (pipe, content, written) = put_from_a_pipe(folder.path());
    let began = Instant::now();
    let writer = std::thread::spawn(move || {
        let mut pipe = std::fs::OpenOptions::new().write(true).open(pipe).unwrap();
        for byte in written {
            pipe.write_all(&[byte]).unwrap();
            std::thread::sleep(limit / 20);
        }
    });
    let put = store.put_if_absent(&key("s/data/1"), &content, &Lock::NONE).await.unwrap();
    assert_eq!(put, PutOutcome::Created { version_id: None });
    assert!(began.elapsed() > limit * 2, "it was slow");
    writer.join().unwrap();
}

#[tokio::test]
async fn a_put_that_was_given_up_is_gone_through_with_and_found_done() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = directory(folder.path()).await;
    let store = store.silent_for(Duration::from_millis(50));
    let (pipe, content, written) = put_from_a_pipe(folder.path());
    let name = key("s/data/1");
    let error = store.put_if_absent(&name, &content, &Lock::NONE).await.unwrap_err();
    // It is no file of the store that says nothing.
    assert_eq!((error.kind(), error.0.scope), (FailureKind::Local, Scope::Daemon), "{error}");
    assert!(error.to_string().contains(&format!("{}: no answer within 50ms", pipe.display())), "{error}");
    assert_eq!(store.head(&name).await.unwrap(), None);
    std::fs::write(&pipe, &written).unwrap();
    while store.head(&name).await.unwrap().is_none() {}
    assert_eq!(read(&store, &name).await.unwrap(), written);
    let again = store.put_if_absent(&name, &content, &Lock::NONE).await.unwrap();
    assert_eq!(again, PutOutcome::AlreadyExists);
}

#[tokio::test]
async fn a_pipe_among_the_leftovers_keeps_no_store_from_being_proven() {
    let folder = tempfile::tempdir().unwrap();
    let (store, root) = directory(folder.path()).await;
    let pipe = root.join(".connvault/tmp/pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(store.prove().await.unwrap(), CreateOnly::FileSystem);
}
