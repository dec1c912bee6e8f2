//! What an S3 store puts on the wire, seen from the wire.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use connvault::adapters::s3_store::{CreateOnlySetting, S3Settings, S3Store, Sse};
use connvault::domain::lock::Lock;
use connvault::ports::object_store::{Content, CreateOnly, ObjectStore, PutOutcome};
use md5::Digest;
use secrecy::SecretString;
use url::Url;

use crate::support::buckets::{InProcess, Seaweed};
use crate::support::content::{bytes, file, key, noise, read};
use crate::support::s3s::{Dialect, SECRET_KEY};
use crate::support::tls::TlsFront;
use crate::support::wire::Wire;

fn through(wire: &Wire, settings: S3Settings) -> S3Settings {
    S3Settings { endpoint: Some(Url::parse(&wire.endpoint()).unwrap()), ..settings }
}

/// A store behind a wire, both to a server in this process.
async fn wired(change: impl FnOnce(&mut S3Settings)) -> (InProcess, Wire, S3Store) {
    let home = InProcess::start(Dialect::Aws).await;
    let wire = Wire::to(&home.server.endpoint()).await;
    let mut settings = through(&wire, home.settings());
    change(&mut settings);
    let store = S3Store::new(settings).unwrap();
    (home, wire, store)
}

#[tokio::test]
async fn a_put_carries_its_md5_and_an_unsigned_payload_and_is_never_chunked() {
    let (home, wire, store) = wired(|_| {}).await;
    let noise = noise(300_000);
    let contents: [(_, Content, &[u8]); 3] = [
        ("s/data/file.xlsx", file(home.folder.path(), ".file", &noise), &noise),
        ("s/log/1.json", bytes("entry"), b"entry"),
        ("s/log/2.json", bytes(""), b""),
    ];
    for (name, content, stored) in contents {
        store.put_if_absent(&key(name), &content, &Lock::NONE).await.unwrap();
        let heads = wire.heads("PUT");
        let head = heads.iter().rfind(|head| head.contains(name)).unwrap();
        let md5 = STANDARD.encode(md5::Md5::digest(stored)).to_lowercase();
        for line in [
            format!("content-md5: {md5}"),
            format!("content-length: {}", stored.len()),
            "x-amz-content-sha256: unsigned-payload".to_owned(),
            "if-none-match: *".to_owned(),
        ] {
            assert!(head.lines().any(|found| found == line), "{line} is not in {head}");
        }
        for absent in
            ["aws-chunked", "transfer-encoding", "x-amz-trailer", "x-amz-checksum", "x-amz-sdk-checksum"]
        {
            assert!(!head.contains(absent), "{absent} is in {head}");
        }
        let signed = head.lines().find(|line| line.starts_with("authorization:")).unwrap();
        assert!(signed.contains("content-md5;") && signed.contains("if-none-match;"), "{signed}");
    }
}

#[tokio::test]
async fn no_secret_goes_over_the_wire_or_into_debug_output() {
    let (_home, wire, store) = wired(|_| {}).await;
    store.prove().await.unwrap();
    store.put_if_absent(&key("s/log/1"), &bytes("x"), &Lock::NONE).await.unwrap();
    let sent = wire.sent();
    assert!(!sent.windows(SECRET_KEY.len()).any(|part| part == SECRET_KEY.as_bytes()));
    assert!(!format!("{store:?}").contains(SECRET_KEY));
}

#[tokio::test]
async fn proving_costs_one_refused_put_once_the_probe_stands() {
    let (_home, wire, store) = wired(|_| {}).await;
    store.prove().await.unwrap();
    assert_eq!(wire.heads("PUT").len(), 2);
    assert_eq!(store.prove().await.unwrap(), CreateOnly::IfNoneMatch);
    assert_eq!(wire.heads("PUT").len(), 3);
}

#[tokio::test]
async fn a_put_whose_answers_are_cut_off_is_sent_again_from_its_file_and_found_done() {
    let (home, wire, store) = wired(|_| {}).await;
    store.prove().await.unwrap();
    let noise = noise(3 << 20);
    // With the third answer gone, there is no attempt left to be refused, and a look has to tell.
    for lost in [1, 3] {
        let name = key(&format!("s/data/{lost}.xlsx"));
        wire.swallow_answers(lost);
        let outcome = store
            .put_if_absent(&name, &file(home.folder.path(), ".file", &noise), &Lock::NONE)
            .await
            .unwrap();
        assert_eq!(outcome, PutOutcome::AlreadyExists);
        assert!(wire.heads("PUT").iter().filter(|head| head.contains(name.as_str())).count() >= 2);
        assert!(read(&store, &name).await.unwrap() == noise);
    }
}

#[tokio::test]
async fn where_nothing_refuses_overwriting_a_put_whose_answer_is_lost_is_looked_at_before_it_is_sent_again() {
    let home = InProcess::start(Dialect::Heedless).await;
    let wire = Wire::to(&home.server.endpoint()).await;
    let create_only = CreateOnlySetting::Head;
    let store = S3Store::new(S3Settings { create_only, ..through(&wire, home.settings()) }).unwrap();
    assert_eq!(store.prove().await.unwrap(), CreateOnly::HeadThenPut);
    let puts = |name: &str| wire.heads("PUT").iter().filter(|head| head.contains(name)).count();
    let noise = noise(300_000);
    // The look's own answers are lost as well: one of them, and all that the SDK asks for.
    for lost in [1, 2, 4] {
        let name = format!("s/data/{lost}.xlsx");
        // Two looks come before a put, and are answered.
        wire.swallow_answers_after(2, lost);
        let (key, content) = (key(&name), file(home.folder.path(), ".file", &noise));
        let outcome = store.put_if_absent(&key, &content, &Lock::NONE).await.unwrap();
        assert_eq!(outcome, PutOutcome::AlreadyExists, "{lost}");
        assert_eq!(puts(&name), 1, "{lost}");
        assert!(read(&store, &key).await.unwrap() == noise);
    }
}

#[tokio::test]
async fn a_store_that_cuts_off_every_answer_is_tried_three_times() {
    let (_home, wire, store) = wired(|_| {}).await;
    store.prove().await.unwrap();
    wire.swallow_answers(usize::MAX);
    let error = store.put_if_absent(&key("s/log/1"), &bytes("x"), &Lock::NONE).await.unwrap_err();
    assert_eq!(error.kind(), connvault::domain::failure::FailureKind::Transient, "{error}");
    assert_eq!(wire.heads("PUT").iter().filter(|head| head.contains("/s/log/1")).count(), 3);
}

fn with_options(settings: &mut S3Settings) {
    settings.storage_class = Some("STANDARD".to_owned());
    settings.sse = Some(Sse::Kms { key_id: Some("audit-key".to_owned()) });
    settings.tags =
        BTreeMap::from([("team".to_owned(), "audit & law".to_owned()), ("x".to_owned(), "1".to_owned())]);
    settings.security_token = Some(SecretString::from("session-token"));
}

#[tokio::test]
async fn storage_class_encryption_tags_and_a_security_token_go_along_signed() {
    let (_home, wire, store) = wired(with_options).await;
    store.put_if_absent(&key("s/log/1"), &bytes("x"), &Lock::NONE).await.unwrap();
    let heads = wire.heads("PUT");
    let head = heads.last().unwrap();
    for line in [
        "x-amz-storage-class: standard",
        "x-amz-server-side-encryption: aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id: audit-key",
        "x-amz-tagging: team=audit%20%26%20law&x=1",
        "x-amz-security-token: session-token",
    ] {
        assert!(head.lines().any(|found| found == line), "{line} is not in {head}");
        let (name, _) = line.split_once(':').unwrap();
        let signed = head.lines().find(|line| line.starts_with("authorization:")).unwrap();
        assert!(signed.contains(name), "{name} is not in {signed}");
    }
}

#[tokio::test]
async fn the_obs_dialect_is_asked_for_with_its_own_signed_header() {
    let home = InProcess::start(Dialect::Obs).await;
    let wire = Wire::to(&home.server.endpoint()).await;
    let create_only = CreateOnlySetting::ObsForbidOverwrite;
    let store = S3Store::new(S3Settings { create_only, ..through(&wire, home.settings()) }).unwrap();
    store.put_if_absent(&key("s/log/1"), &bytes("x"), &Lock::NONE).await.unwrap();
    for head in wire.heads("PUT") {
        assert!(head.contains("x-obs-forbid-overwrite: true") && !head.contains("if-none-match"), "{head}");
        assert!(
            head.lines()
                .any(|line| line.starts_with("authorization:") && line.contains("x-obs-forbid-overwrite"))
        );
    }
}

#[tokio::test]
#[ignore = "needs SeaweedFS: run scripts/test"]
async fn seaweedfs_takes_class_encryption_and_tags_and_keeps_versions() {
    let mut home = Seaweed::bucket(true).await;
    home.settings.sse = Some(Sse::Kms { key_id: Some("audit".to_owned()) });
    home.settings.tags = BTreeMap::from([("team".to_owned(), "audit & law".to_owned())]);
    home.settings.storage_class = Some("STANDARD_IA".to_owned());
    let (store, name) = (home.store(), key("s/log/1.json"));
    let PutOutcome::Created { version_id: Some(version) } =
        store.put_if_absent(&name, &bytes("x"), &Lock::NONE).await.unwrap()
    else {
        panic!("not created, or without a version")
    };
    assert_eq!(store.head(&name).await.unwrap().unwrap().version_id.unwrap(), version);
    let (bucket, full) = (&home.settings.bucket, "workspace/s/log/1.json");
    let head = home.client.head_object().bucket(bucket).key(full).send().await.unwrap();
    assert_eq!(head.storage_class().unwrap().as_str(), "STANDARD_IA");
    assert_eq!(head.server_side_encryption().unwrap().as_str(), "aws:kms");
    let tags = home.client.get_object_tagging().bucket(bucket).key(full).send().await.unwrap();
    assert_eq!((tags.tag_set()[0].key(), tags.tag_set()[0].value()), ("team", "audit & law"));
}

#[tokio::test]
async fn a_private_ca_is_trusted_where_it_is_named_and_nowhere_else() {
    let home = InProcess::start(Dialect::Aws).await;
    let (front, stranger) = (TlsFront::of(&home.server.endpoint()).await, TlsFront::of("unused").await);
    let trusting = |pem: &str| {
        let (endpoint, ca_pem) =
            (Some(Url::parse(&front.endpoint()).unwrap()), Some(pem.as_bytes().to_vec()));
        S3Store::new(S3Settings { endpoint, ca_pem, ..home.settings() }).unwrap()
    };
    assert_eq!(trusting(&front.ca_pem).prove().await.unwrap(), CreateOnly::IfNoneMatch);
    let error = trusting(&stranger.ca_pem).prove().await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}
