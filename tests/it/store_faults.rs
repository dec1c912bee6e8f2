//! Buckets that refuse or ignore what they are asked, and what is said about it.

use connvault::adapters::s3_store::{CreateOnlySetting, S3Settings, S3Store};
use connvault::domain::failure::{FailureKind, Scope};
use connvault::domain::lock::Lock;
use connvault::domain::object_key::ObjectKey;
use connvault::ports::object_store::{Content, CreateOnly, ObjectStore, PutOutcome, StoreError};
use secrecy::SecretString;
use url::Url;

use crate::support::buckets::{InProcess, Seaweed, settings};
use crate::support::content::{bytes, file, key, list, log_of, read};
use crate::support::s3s::Dialect;

async fn prove(settings: S3Settings) -> Result<CreateOnly, StoreError> {
    S3Store::new(settings).unwrap().prove().await
}

async fn proven_on(dialect: Dialect, create_only: CreateOnlySetting) -> Result<CreateOnly, StoreError> {
    let home = InProcess::start(dialect).await;
    prove(S3Settings { create_only, ..home.settings() }).await
}

#[tokio::test]
async fn auto_finds_the_strongest_way_that_a_store_honours() {
    for (dialect, found) in [
        (Dialect::Aws, CreateOnly::IfNoneMatch),
        (Dialect::Obs, CreateOnly::ObsForbidOverwrite),
        (Dialect::ObsAndStrict, CreateOnly::ObsForbidOverwrite),
        (Dialect::Heedless, CreateOnly::HeadThenPut),
    ] {
        assert_eq!(proven_on(dialect, CreateOnlySetting::Auto).await.unwrap(), found, "{dialect:?}");
    }
}

#[tokio::test]
async fn a_way_that_was_asked_for_and_is_not_honoured_is_an_error_and_never_weaker() {
    for (dialect, setting, header) in [
        (Dialect::Obs, CreateOnlySetting::IfNoneMatch, "If-None-Match"),
        (Dialect::ObsAndStrict, CreateOnlySetting::IfNoneMatch, "If-None-Match"),
        (Dialect::Aws, CreateOnlySetting::ObsForbidOverwrite, "x-obs-forbid-overwrite"),
        (Dialect::Heedless, CreateOnlySetting::ObsForbidOverwrite, "x-obs-forbid-overwrite"),
    ] {
        let error = proven_on(dialect, setting).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.0.scope),
            (FailureKind::Rejected, Scope::Store),
            "{dialect:?}: {error}"
        );
        assert!(error.to_string().contains(header), "{error}");
    }
    for (dialect, setting, found) in [
        (Dialect::Aws, CreateOnlySetting::IfNoneMatch, CreateOnly::IfNoneMatch),
        (Dialect::Obs, CreateOnlySetting::ObsForbidOverwrite, CreateOnly::ObsForbidOverwrite),
        (Dialect::Aws, CreateOnlySetting::Head, CreateOnly::HeadThenPut),
    ] {
        assert_eq!(proven_on(dialect, setting).await.unwrap(), found);
    }
}

#[tokio::test]
async fn whatever_the_dialect_a_second_put_leaves_the_first_alone() {
    for dialect in [Dialect::Obs, Dialect::ObsAndStrict, Dialect::Heedless] {
        let home = InProcess::start(dialect).await;
        // Not proven before: the first put proves.
        let (store, name) = (home.store(), key("s/log/000000000001.json"));
        assert!(matches!(
            store.put_if_absent(&name, &bytes("1"), &Lock::NONE).await.unwrap(),
            PutOutcome::Created { .. }
        ));
        assert_eq!(
            store.put_if_absent(&name, &bytes("2"), &Lock::NONE).await.unwrap(),
            PutOutcome::AlreadyExists
        );
        assert_eq!(read(&*store, &name).await.unwrap(), b"1", "{dialect:?}");
    }
}

#[tokio::test]
async fn a_probe_that_holds_other_bytes_proves_nothing() {
    let home = InProcess::start(Dialect::Aws).await;
    home.store().prove().await.unwrap();
    let probe = home.folder.path().join("audit/workspace").join(ObjectKey::probe().as_str());
    std::fs::write(probe, "something else").unwrap();
    let error = home.store().prove().await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Rejected);
    assert!(error.to_string().contains("create-only-probe"), "{error}");
}

/// Each request to a store whose settings are wrong in one way.
async fn refusals(settings: S3Settings) -> Vec<StoreError> {
    let store = S3Store::new(settings).unwrap();
    let name = key("s/x");
    let mut listed = store.list(&log_of("s"), None);
    vec![
        store.prove().await.unwrap_err(),
        store.put_if_absent(&name, &bytes("x"), &Lock::NONE).await.unwrap_err(),
        store.head(&name).await.unwrap_err(),
        store.get(&name).await.unwrap_err(),
        futures_util::StreamExt::next(&mut listed).await.unwrap().unwrap_err(),
    ]
}

async fn refusals_are_named(good: S3Settings) {
    let secret = "wrong-secret-never-to-be-seen-anywhere";
    let wrong_secret = S3Settings { secret_key: SecretString::from(secret), ..good.clone() };
    for error in refusals(wrong_secret).await {
        assert_eq!((error.kind(), error.0.scope), (FailureKind::Auth, Scope::Store), "{error}");
        assert!(
            error.to_string().contains(&good.bucket) && !format!("{error:?}").contains(secret),
            "{error:?}"
        );
    }
    let unknown_key = S3Settings { access_key: SecretString::from("AKUNKNOWN00000000000"), ..good.clone() };
    for error in refusals(unknown_key).await {
        assert_eq!((error.kind(), error.0.scope), (FailureKind::Auth, Scope::Store), "{error}");
    }
    let no_bucket = S3Settings { bucket: "no-such-bucket-here".to_owned(), ..good };
    for error in refusals(no_bucket).await {
        assert_eq!((error.kind(), error.0.scope), (FailureKind::Rejected, Scope::Store), "{error}");
        assert!(error.to_string().contains("no-such-bucket-here at http://127.0.0.1"), "{error}");
        assert!(error.to_string().contains("create the bucket"), "{error}");
    }
}

#[tokio::test]
async fn a_wrong_key_or_bucket_is_named_by_a_server_in_process() {
    refusals_are_named(InProcess::start(Dialect::Aws).await.settings()).await;
}

#[tokio::test]
#[ignore = "needs SeaweedFS: run scripts/test"]
async fn a_wrong_key_or_bucket_is_named_by_seaweedfs() {
    refusals_are_named(Seaweed::bucket(false).await.settings).await;
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_tried_again_later() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for error in refusals(settings(&endpoint, "audit", "AK", "SK")).await {
        assert_eq!((error.kind(), error.0.scope), (FailureKind::Transient, Scope::Store), "{error}");
        assert!(error.to_string().contains("audit") && !error.to_string().contains('\n'), "{error}");
    }
}

#[tokio::test]
async fn a_put_that_is_refused_for_now_is_no_put_that_found_its_key_taken() {
    for (status, code, kind) in [
        (409, "ConditionalRequestConflict", FailureKind::Transient),
        (503, "SlowDown", FailureKind::Throttled),
        (403, "AccessDenied", FailureKind::Auth),
    ] {
        let error = proven_on(Dialect::Refuses(status, code), CreateOnlySetting::Auto).await.unwrap_err();
        assert_eq!((error.kind(), error.0.scope), (kind, Scope::Store), "{error}");
        assert!(error.to_string().contains(code), "{error}");
        assert_eq!(error.0.request_ids, ["request-1"]);
        assert_eq!(error.0.retry_after, Some(std::time::Duration::from_secs(7)));
    }
}

#[tokio::test]
async fn a_store_that_fails_at_every_condition_is_looked_at_before_each_put_and_says_so() {
    let home = InProcess::start(Dialect::FailsWhenTaken(500)).await;
    let store = home.store();
    assert_eq!(store.prove().await.unwrap(), CreateOnly::HeadThenPut);
    let ways = store.passed_over();
    assert!(ways[0].starts_with("If-None-Match: *:") && ways[0].contains("HTTP 500"), "{ways:?}");
    assert!(ways[1].starts_with("x-obs-forbid-overwrite: true:"), "{ways:?}");
    let name = key("s/log/000000000001.json");
    for (content, taken) in [("1", false), ("2", true)] {
        let outcome = store.put_if_absent(&name, &bytes(content), &Lock::NONE).await.unwrap();
        assert_eq!(outcome == PutOutcome::AlreadyExists, taken, "{outcome:?}");
    }
    assert_eq!(read(&*store, &name).await.unwrap(), b"1");
}

#[tokio::test]
async fn a_way_that_was_asked_for_by_name_is_never_gone_on_from() {
    let error = proven_on(Dialect::FailsWhenTaken(500), CreateOnlySetting::IfNoneMatch).await.unwrap_err();
    assert_eq!((error.kind(), error.0.scope), (FailureKind::Transient, Scope::Store), "{error}");
    assert!(error.to_string().contains("create_only = \"auto\""), "{error}");
}

#[tokio::test]
async fn a_store_in_trouble_altogether_is_not_taken_for_one_that_knows_no_condition() {
    let error = proven_on(Dialect::Refuses(500, "InternalError"), CreateOnlySetting::Auto).await.unwrap_err();
    assert_eq!((error.kind(), error.0.scope), (FailureKind::Transient, Scope::Store), "{error}");
}

#[tokio::test]
async fn a_304_for_a_key_that_is_taken_is_gone_on_from_and_used_where_no_other_way_refuses() {
    let home = InProcess::start(Dialect::FailsWhenTaken(304)).await;
    let store = home.store();
    assert_eq!(store.prove().await.unwrap(), CreateOnly::IfNoneMatch);
    let ways = store.passed_over();
    assert!(ways[0].starts_with("If-None-Match: *:") && ways[0].contains("HTTP 304"), "{ways:?}");
    let name = key("s/log/000000000001.json");
    for (content, taken) in [("1", false), ("2", true)] {
        let outcome = store.put_if_absent(&name, &bytes(content), &Lock::NONE).await.unwrap();
        assert_eq!(outcome == PutOutcome::AlreadyExists, taken, "{outcome:?}");
    }
    assert_eq!(read(&*store, &name).await.unwrap(), b"1");
}

#[tokio::test]
async fn a_304_for_a_key_that_is_free_is_a_way_that_the_store_fails_at() {
    let home = InProcess::start(Dialect::Refuses(304, "")).await;
    let error = home.store().prove().await.unwrap_err();
    assert!(error.to_string().contains("HTTP 304"), "{error}");
}

#[tokio::test]
async fn a_probe_that_cannot_be_read_at_once_is_there() {
    let home = InProcess::start(Dialect::Archives).await;
    for start in ["first", "second"] {
        assert_eq!(home.store().prove().await.unwrap(), CreateOnly::IfNoneMatch, "{start}");
    }
}

#[tokio::test]
async fn whether_a_key_is_taken_is_learnt_from_a_store_that_says_no_size_and_lists_nothing() {
    let probe = "connvault puts this object to find out whether this store refuses to overwrite.\n";
    let whole = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{probe}");
    let answer = move |number| match number {
        0 => "HTTP/1.1 409 Conflict\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned(),
        1 => "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_owned(),
        _ => whole.clone(),
    };
    let (endpoint, server) = answering(answer).await;
    let store = S3Store::new(settings(&endpoint, "audit", "access", "secret")).unwrap();
    assert_eq!(store.prove().await.unwrap(), CreateOnly::IfNoneMatch);
    server.abort();
}

#[tokio::test]
async fn a_refusal_without_a_reason_names_the_region_that_the_store_does() {
    let home = InProcess::start(Dialect::Elsewhere("eu-west-1")).await;
    let error = home.store().head(&key("s/x")).await.unwrap_err();
    assert_eq!((error.kind(), error.0.scope), (FailureKind::Rejected, Scope::Store), "{error}");
    for word in ["HTTP 400", "x-amz-bucket-region says eu-west-1", "`region`"] {
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[tokio::test]
async fn a_bucket_whose_host_name_is_not_known_is_named_with_path_style() {
    for endpoint in ["https://no-such-store.invalid", "http://no-such-store.invalid"] {
        let endpoint = Some(Url::parse(endpoint).unwrap());
        let settings = settings("http://127.0.0.1:1", "audit", "access", "secret");
        let store = S3Store::new(S3Settings { endpoint, path_style: false, ..settings }).unwrap();
        let error = store.head(&key("s/x")).await.unwrap_err();
        assert_eq!((error.kind(), error.0.scope), (FailureKind::Transient, Scope::Store), "{error}");
        for word in ["audit.no-such-store.invalid", "path_style = true"] {
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}

#[tokio::test]
async fn a_store_that_refuses_everything_as_taken_proves_nothing() {
    let error =
        proven_on(Dialect::Refuses(412, "PreconditionFailed"), CreateOnlySetting::Auto).await.unwrap_err();
    assert_eq!((error.kind(), error.0.scope), (FailureKind::Rejected, Scope::Store), "{error}");
}

#[tokio::test]
async fn an_export_too_large_for_one_put_is_refused_unsent() {
    let home = InProcess::start(Dialect::Aws).await;
    let Content::File { path, sha256, md5, .. } = file(home.folder.path(), ".sparse", b"") else {
        unreachable!()
    };
    let content = Content::File { path, bytes: (5 << 30) + 1, sha256, md5 };
    let error = home.store().put_if_absent(&key("s/x"), &content, &Lock::NONE).await.unwrap_err();
    assert_eq!((error.kind(), error.0.scope), (FailureKind::Rejected, Scope::Window));
    assert!(error.to_string().contains("shorter window"), "{error}");
}

#[tokio::test]
async fn keys_that_are_none_of_ours_are_passed_over() {
    let home = InProcess::start(Dialect::Aws).await;
    let store = home.store();
    store.put_if_absent(&key("s/log/1.json"), &bytes("x"), &Lock::NONE).await.unwrap();
    std::fs::write(home.folder.path().join("audit/workspace/s/log/back\\slash"), "x").unwrap();
    std::fs::write(home.folder.path().join("audit/elsewhere"), "x").unwrap();
    assert_eq!(list(&*store, &log_of("s"), None).await, ["s/log/1.json"]);
}

#[test]
fn a_ca_file_that_holds_no_certificate_is_an_error() {
    let good = settings("http://127.0.0.1:1", "audit", "AK", "SK");
    let https = Some(Url::parse("https://obs.example.com").unwrap());
    let error =
        S3Store::new(S3Settings { endpoint: https, ca_pem: Some(b"nothing".to_vec()), ..good }).unwrap_err();
    assert!(error.to_string().contains("CA file for bucket audit at https://obs.example.com"), "{error}");
}

/// A server that answers every request with what `answer` makes of the request's number.
async fn answering(
    answer: impl Fn(usize) -> String + Send + 'static,
) -> (String, tokio::task::JoinHandle<()>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        for number in 0.. {
            let (mut client, _) = listener.accept().await.unwrap();
            let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                let read = client.read(&mut buffer).await.unwrap();
                if read == 0 {
                    break;
                }
                head.extend_from_slice(&buffer[..read]);
            }
            // A client that hangs up before the end has heard enough.
            let _gone = client.write_all(answer(number).as_bytes()).await;
        }
    });
    (endpoint, task)
}

fn page(keys: &[String], next: Option<String>) -> String {
    let keys: String = keys.iter().map(|key| format!("<Contents><Key>{key}</Key></Contents>")).collect();
    let next = next.map(|next| format!("<NextContinuationToken>{next}</NextContinuationToken>"));
    let body = format!(
        "<ListBucketResult><IsTruncated>{}</IsTruncated>{}{keys}</ListBucketResult>",
        next.is_some(),
        next.unwrap_or_default()
    );
    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// What a list comes to in a store that answers so.
async fn listed(answer: impl Fn(usize) -> String + Send + 'static) -> Result<Vec<ObjectKey>, StoreError> {
    let (endpoint, server) = answering(answer).await;
    let store = S3Store::new(settings(&endpoint, "audit", "access", "secret")).unwrap();
    let keys = futures_util::TryStreamExt::try_collect(store.list(&log_of("s"), None)).await;
    server.abort();
    keys
}

#[tokio::test]
async fn a_list_that_would_never_end_is_an_error() {
    let key = |number: usize| format!("workspace/s/log/{number:012}.json");
    let circle = listed(move |number| page(&[key(number)], Some((number % 3).to_string()))).await;
    let same = listed(move |number| page(&[key(1)], Some(number.to_string()))).await;
    let empty = listed(|number| page(&[], Some(number.to_string()))).await;
    for endless in [circle, same, empty] {
        let error = endless.unwrap_err();
        assert_eq!((error.kind(), error.0.scope), (FailureKind::Transient, Scope::Store), "{error}");
        assert!(error.to_string().contains("end"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_taken_into_memory() {
    let huge = |_| {
        let body = "<Contents><Key>workspace/s/log/x</Key></Contents>".repeat(300_000);
        format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}",
            body.len()
        )
    };
    let error = listed(huge).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::Transient, "{error}");
    assert!(error.to_string().contains("length limit exceeded"), "{error}");
}

#[tokio::test]
async fn what_a_list_names_beside_what_was_asked_for_is_passed_over() {
    let long = format!("workspace/s/log/{}", "x".repeat(1100));
    let keys = ["workspace/s/log/1", "workspace/other/log/1", "elsewhere", "workspace/s/log/../2", &long];
    let keys = keys.map(str::to_owned);
    let found = listed(move |_| page(&keys, None)).await.unwrap();
    assert_eq!(found, [key("s/log/1")]);
}

#[tokio::test]
async fn an_object_whose_size_is_not_said_is_asked_for_in_a_list() {
    let listed =
        "<ListBucketResult><Contents><Key>workspace/s/x</Key><Size>7</Size></Contents></ListBucketResult>";
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    let answer = move |number| if number == 0 { head.to_owned() } else { format!("{head}{listed}") };
    let (endpoint, server) = answering(answer).await;
    let store = S3Store::new(settings(&endpoint, "audit", "access", "secret")).unwrap();
    assert_eq!(store.head(&key("s/x")).await.unwrap().unwrap().bytes, 7);
    server.abort();
}

#[tokio::test]
async fn etags_that_are_no_md5s_are_seen_at_the_start() {
    use connvault::domain::digest::Md5;
    let probe = b"connvault puts this object to find out whether this store refuses to overwrite.\n";
    let md5 = Md5::from(<[u8; 16]>::from(<md5::Md5 as md5::Digest>::digest(probe)));
    for (etag, seen) in [
        (Some(md5.to_string()), Some(true)),
        (Some("0".repeat(32)), Some(false)),
        (Some("of another form".to_owned()), None),
        (None, None),
    ] {
        let etag = etag.map(|etag| format!("etag: \"{etag}\"\r\n")).unwrap_or_default();
        let probe = String::from_utf8(probe.to_vec()).unwrap();
        // A put, refused; then the probe, to whoever looks or reads.
        let answer = move |number| match number {
            0 => "HTTP/1.1 412 Precondition Failed\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                .to_owned(),
            1 => format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{etag}\r\n{probe}"),
            _ => format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\n{etag}content-length: {}\r\n\r\n",
                probe.len()
            ),
        };
        let (endpoint, server) = answering(answer).await;
        let store = S3Store::new(settings(&endpoint, "audit", "access", "secret")).unwrap();
        assert_eq!(store.prove().await.unwrap(), CreateOnly::IfNoneMatch);
        assert_eq!(store.has_md5_etags(), seen);
        server.abort();
    }
}
