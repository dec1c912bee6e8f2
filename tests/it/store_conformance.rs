//! What every object store must do, as one suite, run against each of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use connvault::adapters::directory_store::DirectoryStore;
use connvault::domain::failure::{FailureKind, Scope};
use connvault::domain::lock::Lock;
use connvault::domain::object_key::ObjectKey;
use connvault::ports::object_store::{Content, ObjectStore, PutOutcome};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::support::buckets::{InProcess, Seaweed};
use crate::support::content::{bytes, file, key, list, log_of, noise, read};
use crate::support::s3s::Dialect;

/// A store, and what it can be held to.
struct Subject {
    store: Arc<dyn ObjectStore>,
    /// One of several puts at the same moment wins, and one only.
    holds_in_a_race: bool,
    /// A put whose bytes are not those of its digest leaves nothing behind.
    keeps_nothing_of_a_bad_put: bool,
    /// Keys come in the byte order of whole keys across folders too, not only inside one.
    orders_across_folders: bool,
    /// Lives as long as the store is used.
    _home: Box<dyn Send>,
}

async fn directory() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(DirectoryStore::new(folder.path().join("archive")));
    store.prove().await.unwrap();
    Subject {
        store,
        holds_in_a_race: true,
        keeps_nothing_of_a_bad_put: true,
        orders_across_folders: true,
        _home: Box::new(folder),
    }
}

/// s3s-fs looks, and then writes; and it checks digests only once an object stands.
async fn in_process() -> Subject {
    let home = InProcess::start(Dialect::Aws).await;
    Subject {
        store: home.store(),
        holds_in_a_race: false,
        keeps_nothing_of_a_bad_put: false,
        orders_across_folders: true,
        _home: Box::new(home),
    }
}

/// SeaweedFS lists an unversioned bucket folder by folder, so that `b/c` comes before `b-c`. Nothing that connvault
/// lists has files beside folders.
async fn seaweed(versioned: bool) -> Subject {
    let home = Seaweed::bucket(versioned).await;
    Subject {
        store: home.store(),
        holds_in_a_race: true,
        keeps_nothing_of_a_bad_put: true,
        orders_across_folders: false,
        _home: Box::new(home),
    }
}

fn is_created(outcome: &PutOutcome) -> bool {
    matches!(outcome, PutOutcome::Created { .. })
}

async fn create(subject: &Subject, name: &ObjectKey, content: &Content) {
    assert!(is_created(&subject.store.put_if_absent(name, content, &Lock::NONE).await.unwrap()), "{name}");
}

async fn a_second_put_is_refused_and_touches_nothing(subject: Subject) {
    let name = key("s/log/000000000001.json");
    create(&subject, &name, &bytes("first")).await;
    for again in ["first", "second, and longer"] {
        let outcome = subject.store.put_if_absent(&name, &bytes(again), &Lock::NONE).await.unwrap();
        assert_eq!(outcome, PutOutcome::AlreadyExists);
    }
    assert_eq!(read(&*subject.store, &name).await.unwrap(), b"first");
}

async fn what_is_absent_is_none_and_no_error(subject: Subject) {
    let name = key("s/data/2026/11/22/none.csv");
    assert_eq!(subject.store.head(&name).await.unwrap(), None);
    assert!(subject.store.get(&name).await.unwrap().is_none());
    assert!(list(&*subject.store, &log_of("s"), None).await.is_empty());
}

async fn an_empty_object_is_an_object(subject: Subject) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("s/e1", bytes("")), ("s/e2", file(folder.path(), "empty", b""))] {
        create(&subject, &key(name), &content).await;
        assert_eq!(subject.store.head(&key(name)).await.unwrap().unwrap().bytes, 0);
        assert_eq!(read(&*subject.store, &key(name)).await.unwrap(), b"");
    }
}

async fn a_large_file_arrives_whole(subject: Subject) {
    let folder = tempfile::tempdir().unwrap();
    let (name, noise) = (key("s/data/large.xlsx"), noise(20 << 20));
    create(&subject, &name, &file(folder.path(), "large", &noise)).await;
    let meta = subject.store.head(&name).await.unwrap().unwrap();
    assert_eq!(meta.bytes, noise.len() as u64);
    assert!(read(&*subject.store, &name).await.unwrap() == noise);
}

async fn keys_are_listed_in_byte_order_below_a_prefix_and_after_a_key(subject: Subject) {
    let stored =
        ["a/log/1.json", "a/log/1.x.sig", "a/log/2.json", "a/log/10.json", "a/data/x/y.csv", "ab/log/1.json"];
    for name in stored {
        create(&subject, &key(name), &bytes("x")).await;
    }
    let all = ["a/log/1.json", "a/log/1.x.sig", "a/log/10.json", "a/log/2.json"];
    let store = &*subject.store;
    assert_eq!(list(store, &log_of("a"), None).await, all);
    assert_eq!(list(store, &log_of("a"), Some(&key("a/log/1.x.sig"))).await, all[2..]);
    assert_eq!(
        list(store, &log_of("a"), Some(&key("a/log/1.k"))).await,
        all[1..],
        "after a key that is not there"
    );
    assert_eq!(list(store, &log_of("a"), Some(&key("a/log/3"))).await, [""; 0]);
    assert_eq!(
        list(store, &log_of("a"), Some(&key("a/data/x/y.csv"))).await,
        all,
        "after a key before the prefix"
    );
}

async fn a_folder_and_a_file_beside_it_are_listed_as_keys_sort(subject: Subject) {
    if !subject.orders_across_folders {
        return;
    }
    let sorted = ["a/log/b-c", "a/log/b.c", "a/log/b/c", "a/log/b0"];
    for name in sorted {
        create(&subject, &key(name), &bytes("x")).await;
    }
    assert_eq!(list(&*subject.store, &log_of("a"), None).await, sorted);
}

async fn more_keys_than_fit_a_page_are_all_listed_once(subject: Subject) {
    let names = (1..=1100).map(|n| format!("a/log/{n:012}.json")).collect::<Vec<_>>();
    let store = &subject.store;
    let puts = stream::iter(&names)
        .map(|name| async move { store.put_if_absent(&key(name), &bytes("x"), &Lock::NONE).await });
    let outcomes = puts.buffer_unordered(16).try_collect::<Vec<_>>().await.unwrap();
    assert!(outcomes.iter().all(is_created));
    assert_eq!(list(&**store, &log_of("a"), None).await, names);
    assert_eq!(list(&**store, &log_of("a"), Some(&key(&names[41]))).await, names[42..]);
}

async fn of_eight_puts_at_once_one_wins(subject: Subject) {
    if !subject.holds_in_a_race {
        return;
    }
    subject.store.prove().await.unwrap();
    for round in 0..10 {
        let name = key(&format!("s/log/{round}.json"));
        let puts = (0..8).map(|writer| {
            let (store, name) = (Arc::clone(&subject.store), name.clone());
            tokio::spawn(async move {
                let mine = format!("of writer {writer}");
                let content = Content::Bytes(mine.clone().into());
                // A store may ask losers to come again (AWS's 409); the reconciler would.
                loop {
                    match store.put_if_absent(&name, &content, &Lock::NONE).await {
                        Ok(outcome) => return (outcome, mine),
                        Err(error) => assert_eq!(error.kind(), FailureKind::Transient, "{error}"),
                    }
                }
            })
        });
        let outcomes = join_all(puts).await.into_iter().map(Result::unwrap);
        let winners = outcomes.filter(|(outcome, _)| is_created(outcome)).collect::<Vec<_>>();
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(read(&*subject.store, &name).await.unwrap(), winners[0].1.as_bytes());
    }
}

async fn a_file_that_is_not_what_was_noted_of_it_is_refused(subject: Subject) {
    let folder = tempfile::tempdir().unwrap();
    let (name, content) = (key("s/data/changed.csv"), file(folder.path(), "changed", b"as it was pulled"));
    let Content::File { path, .. } = &content else { unreachable!("it is a file") };
    std::fs::write(path, b"as it decayed...").unwrap();
    let error = subject.store.put_if_absent(&name, &content, &Lock::NONE).await.unwrap_err();
    assert_eq!((error.kind(), error.0.scope), (FailureKind::Corrupt, Scope::Window), "{error}");
    if subject.keeps_nothing_of_a_bad_put {
        assert_eq!(subject.store.head(&name).await.unwrap(), None);
    }
}

async fn a_file_that_is_gone_or_cut_short_is_its_windows_trouble(subject: Subject) {
    let folder = tempfile::tempdir().unwrap();
    let (name, content) = (key("s/data/gone.csv"), file(folder.path(), "gone", b"as it was pulled"));
    let Content::File { path, .. } = &content else { unreachable!("it is a file") };
    std::fs::write(path, b"as").unwrap();
    let cut = subject.store.put_if_absent(&name, &content, &Lock::NONE).await.unwrap_err();
    std::fs::remove_file(path).unwrap();
    let gone = subject.store.put_if_absent(&name, &content, &Lock::NONE).await.unwrap_err();
    for error in [cut, gone] {
        assert_eq!((error.kind(), error.0.scope), (FailureKind::Corrupt, Scope::Window), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    assert_eq!(subject.store.head(&name).await.unwrap(), None);
}

async fn an_objects_hash_is_that_of_its_bytes_and_an_etag_if_any_their_md5(subject: Subject) {
    let folder = tempfile::tempdir().unwrap();
    let (name, noise) = (key("s/data/hashed.csv"), noise(3 << 20));
    let content = file(folder.path(), "hashed", &noise);
    create(&subject, &name, &content).await;
    let (read, bytes) = (Arc::default(), noise.len() as u64);
    let hash = subject.store.hash(&name, bytes, &read).await.unwrap();
    let Content::File { sha256, md5, .. } = content else { unreachable!("it is a file") };
    assert_eq!(hash, Some(sha256));
    assert_eq!(read.swap(0, Ordering::SeqCst), bytes);
    // Where it is larger than it is to be, it is another one, and is not read to its end.
    assert_ne!(subject.store.hash(&name, 1000, &read).await.unwrap(), Some(sha256));
    assert!(read.load(Ordering::SeqCst) < bytes);
    let meta = subject.store.head(&name).await.unwrap().unwrap();
    assert!(meta.md5.is_none_or(|etag| etag == md5), "{meta:?}");
}

async fn a_store_can_be_proven_again_and_again(subject: Subject) {
    let first = subject.store.prove().await.unwrap();
    assert_eq!(subject.store.prove().await.unwrap(), first);
    let name = key("s/log/000000000001.json");
    create(&subject, &name, &bytes("x")).await;
}

/// One test for each fact, each with a subject and an attribute of its own.
macro_rules! suite {
    ($subject:expr, $attribute:tt, $($fact:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #$attribute
            async fn $fact() {
                super::$fact($subject.await).await;
            }
        )*
    };
}

macro_rules! conformance {
    ($module:ident, $subject:expr, $attribute:tt) => {
        mod $module {
            suite! {
                $subject,
                $attribute,
                a_second_put_is_refused_and_touches_nothing,
                what_is_absent_is_none_and_no_error,
                an_empty_object_is_an_object,
                a_large_file_arrives_whole,
                keys_are_listed_in_byte_order_below_a_prefix_and_after_a_key,
                a_folder_and_a_file_beside_it_are_listed_as_keys_sort,
                more_keys_than_fit_a_page_are_all_listed_once,
                of_eight_puts_at_once_one_wins,
                a_file_that_is_not_what_was_noted_of_it_is_refused,
                a_file_that_is_gone_or_cut_short_is_its_windows_trouble,
                an_objects_hash_is_that_of_its_bytes_and_an_etag_if_any_their_md5,
                a_store_can_be_proven_again_and_again,
            }
        }
    };
}

conformance!(a_directory, super::directory(), [doc = "Needs nothing."]);
conformance!(s3_in_process, super::in_process(), [doc = "Needs nothing."]);
conformance!(seaweedfs, super::seaweed(false), [ignore = "needs SeaweedFS: run scripts/test"]);
conformance!(seaweedfs_versioned, super::seaweed(true), [ignore = "needs SeaweedFS: run scripts/test"]);
