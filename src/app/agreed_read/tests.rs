//! What it takes for an answer of a store to count.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::domain::object_key::KeyPrefix;
use crate::ports::object_store::{Content, CreateOnly, ObjectBody, ObjectMeta, PutOutcome, StoreError};

/// One answer to a read.
#[derive(Debug, Clone, Default)]
struct Answer {
    bytes: Option<&'static [u8]>,
    /// So many bytes are promised; 0: nothing is.
    promised: u64,
    etag: Option<Md5>,
    /// The bytes come again and again.
    is_endless: bool,
    /// The connection breaks after the bytes.
    breaks: bool,
}

/// A store that gives these answers, one after the other.
#[derive(Debug)]
struct Scripted {
    answers: Mutex<VecDeque<Answer>>,
}

#[async_trait]
impl ObjectStore for Scripted {
    async fn prove(&self) -> Result<CreateOnly, StoreError> {
        unreachable!("nothing is put")
    }

    async fn put_if_absent(&self, _: &ObjectKey, _: &Content, _: &Lock) -> Result<PutOutcome, StoreError> {
        unreachable!("nothing is put")
    }

    async fn head(&self, _: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        unreachable!("it is read")
    }

    async fn get(&self, _: &ObjectKey) -> Result<Option<ObjectBody>, StoreError> {
        let answer = self.answers.lock().unwrap().pop_front().expect("it is not read so often");
        let Answer { bytes: Some(bytes), promised, etag, is_endless, breaks } = answer else {
            return Ok(None);
        };
        let meta = ObjectMeta { bytes: promised, md5: etag, version_id: None, lock: None };
        let chunk = stream::repeat_with(move || Ok(Bytes::from_static(bytes)));
        let broken =
            stream::repeat_with(|| Err(StoreError::of_store(FailureKind::Transient, "it broke off")));
        let bytes = match (is_endless, breaks) {
            (true, _) => chunk.boxed(),
            (false, true) => chunk.take(1).chain(broken.take(1)).boxed(),
            (false, false) => chunk.take(1).boxed(),
        };
        Ok(Some(ObjectBody { meta, bytes }))
    }

    fn list(&self, _: &KeyPrefix, _: Option<&ObjectKey>) -> BoxStream<'_, Result<ObjectKey, StoreError>> {
        unreachable!("nothing is listed")
    }
}

fn sent(bytes: &'static [u8]) -> Answer {
    Answer { bytes: Some(bytes), promised: bytes.len() as u64, ..Answer::default() }
}

fn md5_of(bytes: &[u8]) -> Md5 {
    Md5::from(<[u8; 16]>::from(md5::Md5::digest(bytes)))
}

const LIMITS: Limits = Limits { keep: Some(100), read: 1000 };
/// Absent, without a long wait.
const SOON: &[Duration] = &[Duration::ZERO, Duration::ZERO];

/// What a read says after `answers`, all of which it asks for.
async fn read(answers: &[Answer], known: Option<&[u8]>, limits: Limits) -> Result<Agreed, Failure> {
    let folder = tempfile::tempdir().unwrap();
    let scratch = Scratch::open(folder.path().join("scratch"), CancellationToken::new()).unwrap();
    let store = Scripted { answers: Mutex::new(answers.iter().cloned().collect()) };
    let key = ObjectKey::parse("s/data/x").unwrap();
    let reading = Reading { scratch: &scratch, store: &store, key: &key, limits };
    let agreed = reading.agreed(known.map(Sha256::of), SOON).await;
    assert!(store.answers.lock().unwrap().is_empty(), "{agreed:?} before every answer was heard");
    agreed
}

/// The hash that two things agree on.
async fn agreed(answers: &[Answer], known: Option<&[u8]>) -> Sha256 {
    match read(answers, known, LIMITS).await {
        Ok(Agreed::Object(object)) => object.sha256,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_read_counts_where_something_else_agrees_with_it() {
    let with_etag = |bytes, of: &[u8]| Answer { etag: Some(md5_of(of)), ..sent(bytes) };
    let right = Sha256::of(b"right");
    assert_eq!(agreed(&[sent(b"right")], Some(&b"right"[..])).await, right, "known");
    assert_eq!(agreed(&[with_etag(b"right", b"right")], None).await, right, "by its ETag");
    assert_eq!(agreed(&[sent(b"right"), sent(b"right")], None).await, right, "by a second read");
    let damaged = [with_etag(b"wrong", b"right"), with_etag(b"right", b"right")];
    assert_eq!(agreed(&damaged, None).await, right, "a damaged read beside the right ETag");
    assert_eq!(agreed(&[sent(b"wrong"), sent(b"right"), sent(b"right")], None).await, right);
    assert_eq!(agreed(&[sent(b"wrong"), sent(b"right")], Some(b"right")).await, right);
    let no_md5 = [with_etag(b"right", b"other"), with_etag(b"right", b"other")];
    assert_eq!(agreed(&no_md5, None).await, right, "an ETag that is no MD5 settles nothing");
    let other = [sent(b"other"), sent(b"other")];
    assert_eq!(agreed(&other, Some(b"right")).await, Sha256::of(b"other"), "it is another one");
}

#[tokio::test]
async fn answers_that_never_agree_say_nothing_of_the_object() {
    let answers = [b"a", b"b", b"c", b"d", b"e"].map(|bytes| sent(&bytes[..]));
    let failure = read(&answers, Some(b"right"), LIMITS).await.unwrap_err();
    assert_eq!((failure.kind, failure.scope), (FailureKind::Transient, Scope::Window), "{failure:?}");
    let cut = Answer { promised: 9, ..sent(b"right") };
    let failure = read(&[cut.clone(), cut.clone(), cut.clone(), cut.clone(), cut], None, LIMITS).await;
    assert_eq!(failure.unwrap_err().kind, FailureKind::Transient, "cut off at the same place each time");
    let broken = Answer { breaks: true, ..sent(b"right") };
    let failure = read(&vec![broken.clone(); 5], None, LIMITS).await.unwrap_err();
    assert_eq!(failure.message.as_str(), "it broke off", "what the store says of it");
    assert_eq!(agreed(&[broken, sent(b"right")], Some(b"right")).await, Sha256::of(b"right"));
}

#[tokio::test]
async fn an_object_is_absent_where_no_answer_has_it() {
    let absent = Answer::default();
    let found = read(&[absent.clone(), absent.clone(), absent.clone()], None, LIMITS).await;
    assert!(matches!(found, Ok(Agreed::Absent)), "{found:?}");
    assert_eq!(agreed(&[absent, sent(b"right")], Some(b"right")).await, Sha256::of(b"right"));
}

#[tokio::test]
async fn no_more_is_read_than_the_limits_allow_whatever_is_promised() {
    let endless = Answer { is_endless: true, ..sent(b"0123456789") };
    let unsaid = Answer { promised: 0, ..endless.clone() };
    for huge in [endless, unsaid, Answer { promised: 3 << 30, ..sent(b"x") }] {
        let found = read(&[huge.clone(), huge], None, LIMITS).await;
        assert!(matches!(found, Ok(Agreed::TooLarge)), "{found:?}");
    }
    let large: &[u8] = &[b'x'; 101];
    for promised in [101, 0] {
        let answer = Answer { promised, ..sent(large) };
        let Ok(Agreed::Object(object)) = read(&[answer.clone(), answer], None, LIMITS).await else {
            panic!()
        };
        assert!(object.file.is_none(), "it is hashed and not kept");
        assert_eq!((object.bytes, object.sha256), (101, Sha256::of(large)));
    }
    let empty = Limits { keep: Some(0), read: 0 };
    let Ok(Agreed::Object(object)) = read(&[sent(b"")], Some(b""), empty).await else { panic!() };
    assert!(object.file.is_some());
}
