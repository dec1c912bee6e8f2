//! What goes wrong between us and the provider, and what each failure is taken for.

use super::*;
use crate::domain::message::Message;

#[tokio::test]
async fn an_export_that_breaks_off_gives_no_receipt() {
    let head = "HTTP/1.1 200 OK\r\n";
    let cases = [
        ("short of its length", format!("{head}Content-Length: 100\r\n\r\nhalf"), Then::Close),
        ("inside a chunk", format!("{head}Transfer-Encoding: chunked\r\n\r\n10\r\nhalf"), Then::Close),
        (
            "before the last chunk",
            format!("{head}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
            Then::Close,
        ),
        ("by a reset", format!("{head}Content-Length: 100\r\n\r\nhalf"), Then::Reset),
        ("before any answer", String::new(), Then::Close),
        ("inside the head", "HTTP/1.1 200 O".to_owned(), Then::Close),
    ];
    for (what, text, then) in cases {
        let outcome = export(vec![raw(&text, then)], unchanged).await;
        assert_eq!(outcome.typed(), (FailureKind::Transient, Scope::Window), "{what}: {:?}", outcome.result);
    }
}

#[tokio::test]
async fn silence_ends_the_wait_before_the_answer_and_inside_it() {
    let silent = export(vec![raw("", Then::Hang)], impatient).await;
    assert_eq!(silent.typed(), (FailureKind::Transient, Scope::Window));
    assert!(silent.failure().message.contains("did not answer"), "{:?}", silent.failure());

    let stalled = raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", Then::Hang);
    let stalled = export(vec![stalled], |settings| settings.timeouts.stall = Duration::from_millis(50)).await;
    assert_eq!(stalled.typed(), (FailureKind::Transient, Scope::Window));
    assert!(
        stalled.failure().message.contains("after 4 bytes: nothing came for 50ms"),
        "{:?}",
        stalled.failure()
    );
    assert_eq!(stalled.bytes, b"half");
}

#[tokio::test]
async fn a_refused_key_is_read_anew_and_the_request_signed_with_the_new_one() {
    let refusal = answer("401 Unauthorized", "X-Request-Id: r-1\r\n", r#"{"error_code":"APIGW.0301"}"#);
    let ok = answer("200 OK", "X-Request-Id: r-2\r\n", "x");
    let server = ScriptedServer::start(vec![refusal, ok]).await;
    let reads = AtomicUsize::new(0);
    let credentials = FileKeys::new(move || Ok(keys(&format!("AK{}", reads.fetch_add(1, Ordering::SeqCst)))));
    let settings = settings(&format!("http://{}", server.address));
    let source = with(&settings, credentials).unwrap();
    let mut sink = Collected::default();
    let receipt = source.export(&request(), &mut sink).await.unwrap();
    assert_eq!(receipt.request_ids, ["r-1", "r-2"]);
    assert_eq!(sink.bytes, b"x");
    let requests = server.requests();
    let key =
        |request: &String| request.split_once("Access=").unwrap().1.split_once(',').unwrap().0.to_owned();
    assert_ne!(key(&requests[0]), key(&requests[1]));
}

#[tokio::test]
async fn a_key_refused_twice_is_a_matter_for_the_operator() {
    let quoted = "x-security-token:tokentoken==|AKIDAKID0001\\r\\n\\u001b[2J";
    let body = format!(r#"{{"error_code":"APIGW.0301","error_msg":"verify failed {quoted}"}}"#);
    let refusal = |id: &str| answer("401 Unauthorized", &format!("X-Request-Id: {id}\r\n"), &body);
    let outcome = export(vec![refusal("r-1"), refusal("r-2")], unchanged).await;
    assert_eq!(outcome.typed(), (FailureKind::Auth, Scope::Source));
    assert_eq!(outcome.failure().request_ids, ["r-1", "r-2"]);
    assert_eq!(outcome.requests.len(), 2);
}

#[tokio::test]
async fn keys_that_cannot_be_read_are_a_matter_for_the_operator_and_nothing_is_sent() {
    let server = ScriptedServer::start(vec![]).await;
    let settings = settings(&format!("http://{}", server.address));
    let source = with(&settings, FileKeys::new(|| Err("secret_key_file: no such file".into()))).unwrap();
    let error = source.export(&request(), &mut Collected::default()).await.unwrap_err();
    let said = Message::new("the access keys cannot be read").advise("secret_key_file: no such file");
    assert_eq!(error.0, Failure::new(FailureKind::Auth, Scope::Source, said));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_throttled_source_says_for_how_long() {
    for (text, seconds) in [("7", 7), ("Mon, 23 Nov 2026 02:01:05 GMT", 60)] {
        let body = r#"{"error_code":"APIGW.0308","error_msg":"The throttling threshold has been reached"}"#;
        let throttled = answer("429 Too Many Requests", &format!("Retry-After: {text}\r\n"), body);
        let outcome = export(vec![throttled], unchanged).await;
        assert_eq!(outcome.typed(), (FailureKind::Throttled, Scope::Source));
        assert_eq!(outcome.failure().retry_after, Some(Duration::from_secs(seconds)));
    }
}

#[tokio::test]
async fn a_redirect_is_refused_and_not_followed() {
    let elsewhere = answer("307 Temporary Redirect", "Location: /v2/elsewhere\r\n", "");
    let outcome = export(vec![elsewhere, answer("200 OK", "", "stolen")], unchanged).await;
    assert_eq!(outcome.typed(), (FailureKind::Rejected, Scope::Source));
    assert!(outcome.failure().message.contains("redirect"), "{:?}", outcome.failure());
    assert_eq!(outcome.requests.len(), 1);
}

#[tokio::test]
async fn an_export_over_the_limit_is_refused_announced_or_not() {
    let announced = answer("200 OK", "", "12345");
    let chunked = raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\nx", Then::Repeat);
    for script in [announced, chunked] {
        let outcome = export(vec![script], |settings| settings.max_body = 4).await;
        assert_eq!(outcome.typed(), (FailureKind::Rejected, Scope::Window));
        assert!(outcome.failure().message.contains("shorter window"), "{:?}", outcome.failure());
        assert!(outcome.bytes.len() <= 4);
    }
    let exact = export(vec![answer("200 OK", "", "1234")], |settings| settings.max_body = 4).await;
    assert!(exact.result.is_ok());
}

#[tokio::test]
async fn an_error_body_without_end_is_not_read_to_its_end() {
    let endless = raw("HTTP/1.1 500 Oops\r\nConnection: close\r\n\r\nx", Then::Repeat);
    let outcome = export(vec![endless], |settings| settings.timeouts.stall = Duration::MAX).await;
    assert_eq!(outcome.typed(), (FailureKind::Transient, Scope::Window));
    let hanging = raw("HTTP/1.1 403 No\r\nContent-Length: 999\r\n\r\n{", Then::Hang);
    let outcome = export(vec![hanging], |settings| settings.timeouts.stall = Duration::from_millis(50)).await;
    assert_eq!(outcome.typed(), (FailureKind::Auth, Scope::Source));
}

#[tokio::test]
async fn a_disk_that_is_full_stops_the_machine_and_not_the_window() {
    let server = ScriptedServer::start(vec![answer("200 OK", "", "x")]).await;
    let mut sink = Collected { full: true, ..Collected::default() };
    let source = source(&settings(&format!("http://{}", server.address)));
    let error = source.export(&request(), &mut sink).await.unwrap_err();
    assert_eq!((error.0.kind, error.0.scope), (FailureKind::Local, Scope::Daemon));
    assert!(error.to_string().contains("free some space under /spool"), "{error}");
}

#[tokio::test]
async fn a_host_that_is_not_there_or_finishes_no_handshake_holds_up_the_source() {
    let gone = ScriptedServer::start(vec![]).await;
    let vacant = settings(&format!("http://{}", gone.address));
    drop(gone);
    let mute = ScriptedServer::start(vec![raw("", Then::Hang)]).await;
    let mut no_tls = settings(&format!("https://{}", mute.address));
    no_tls.timeouts.connect = Duration::from_millis(50);
    for settings in [vacant, no_tls] {
        let error = source(&settings).export(&request(), &mut Collected::default()).await.unwrap_err();
        assert_eq!((error.0.kind, error.0.scope), (FailureKind::Transient, Scope::Source), "{error}");
        assert!(error.to_string().starts_with("cannot reach 127.0.0.1:"), "{error}");
    }
}

#[tokio::test]
async fn nothing_is_sent_while_a_pause_lasts_that_was_asked_for() {
    let throttled = answer("503 Service Unavailable", "Retry-After: 30\r\n", "");
    let server = ScriptedServer::start(vec![throttled, answer("200 OK", "", "x")]).await;
    let source = source(&settings(&format!("http://{}", server.address)));
    let first = source.export(&request(), &mut Collected::default()).await.unwrap_err();
    assert_eq!((first.0.kind, first.0.scope), (FailureKind::Transient, Scope::Source));
    let second = source.count(&request()).await.unwrap_err();
    assert_eq!((second.0.kind, second.0.scope), (FailureKind::Throttled, Scope::Source));
    assert_eq!(second.0.retry_after, Some(Duration::from_secs(30)), "the clock of this test stands still");
    assert!(second.0.message.contains("has asked for a pause"), "{}", second.0.message);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_clock_too_far_off_stops_all_signing_even_where_the_answer_was_good() {
    let good = |date: &str| answer("200 OK", &format!("Date: Mon, 23 Nov 2026 {date} GMT\r\n"), "x");
    let server = ScriptedServer::start(vec![good("02:06:00"), good("02:15:00"), good("02:00:05")]).await;
    let source = source(&settings(&format!("http://{}", server.address)));
    assert!(
        source.export(&request(), &mut Collected::default()).await.is_ok(),
        "six minutes are said, and no more"
    );
    for _ in 0..2 {
        let error = source.export(&request(), &mut Collected::default()).await.unwrap_err();
        assert_eq!((error.0.kind, error.0.scope), (FailureKind::Auth, Scope::Source));
        for word in ["differs from the provider's by 14m", "timedatectl", "nothing is signed"] {
            assert!(error.0.message.contains(word), "{error}");
        }
    }
    assert_eq!(server.requests().len(), 2, "the third is not sent");
}
