//! Scripted faults, as a client meets them.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use connvault_sim::{Endpoint, Fault, Format, RetryAfter, Rule, Simulator};

use crate::client::{Client, builder, error_of, query_path, three_days};

async fn start() -> Simulator {
    builder().format(Format::Csv).records(three_days()).start().await.unwrap()
}

/// The next export meets `fault`; what a client gets of it.
async fn export_with(sim: &Simulator, fault: Fault) -> reqwest::Result<reqwest::Response> {
    sim.faults().add(Rule::new(fault).on(Endpoint::Export).times(1));
    Client::of(sim).export(&[]).await
}

/// The bytes that came, and whether they ended in order.
async fn drain(mut response: reqwest::Response) -> (usize, bool) {
    let mut bytes = 0;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes += chunk.len(),
            Ok(None) => return (bytes, true),
            Err(_) => return (bytes, false),
        }
    }
}

#[tokio::test]
async fn a_status_is_answered_as_often_as_scripted_and_then_no_more() {
    let sim = start().await;
    sim.faults().add(Rule::new(Fault::status(503)).on(Endpoint::Export).times(2));
    let client = Client::of(&sim);
    client.query(&[]).await;
    for _ in 0..2 {
        let refusal = error_of(client.export(&[]).await.unwrap()).await;
        assert_eq!(refusal, (503, "WKS.00000503".to_owned()));
    }
    assert_eq!(client.export(&[]).await.unwrap().status(), 200);
    assert!(sim.faults().is_spent());
    assert_eq!((sim.request_count(Endpoint::Export), sim.request_count(Endpoint::Query)), (3, 1));
    let log = sim.requests();
    assert_eq!(log[1].status, Some(503));
    assert_eq!(log[1].fault, Some(Fault::status(503)));
    assert_eq!(log[3].fault, None);
}

#[tokio::test]
async fn a_rule_for_one_window_leaves_the_others_alone() {
    let sim = start().await;
    sim.faults().add(Rule::new(Fault::status(500)).for_start_time("2026-11-21T00:00Z"));
    let client = Client::of(&sim);
    let window = |start| [("start_time", start), ("end_time", "2026-11-23T00:00Z")];
    assert_eq!(client.export(&window("2026-11-21T00:00Z")).await.unwrap().status(), 500);
    assert_eq!(client.export(&window("2026-11-22T00:00Z")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn retry_after_comes_in_both_forms() {
    let sim = start().await;
    for (retry_after, header) in
        [(RetryAfter::Seconds(4), "4"), (RetryAfter::HttpDate(90), "Mon, 23 Nov 2026 12:01:30 GMT")]
    {
        let retry_after = Some(retry_after);
        let response = export_with(&sim, Fault::Throttle { retry_after }).await.unwrap();
        assert_eq!(response.headers()["retry-after"], header);
        assert_eq!(error_of(response).await, (429, "APIGW.0308".to_owned()));
    }
}

#[tokio::test]
async fn a_delayed_answer_is_late_and_whole() {
    let sim = start().await;
    let began = Instant::now();
    let response = export_with(&sim, Fault::DelayFirstByte(Duration::from_millis(200))).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert!(drain(response).await.1);
}

#[tokio::test]
async fn a_truncated_body_is_shorter_than_declared_and_an_error() {
    let sim = start().await;
    let response = export_with(&sim, Fault::TruncateAfter { bytes: 1000 }).await.unwrap();
    assert!(response.content_length().unwrap() > 1000);
    assert_eq!(drain(response).await, (1000, false));
}

#[tokio::test]
async fn a_position_past_the_end_still_costs_the_last_byte() {
    let sim = start().await;
    let response = export_with(&sim, Fault::TruncateAfter { bytes: u64::MAX }).await.unwrap();
    let length = response.content_length().unwrap() as usize;
    assert_eq!(drain(response).await, (length - 1, false));
}

#[tokio::test]
async fn a_cleanly_truncated_body_shows_nothing_on_the_wire() {
    let sim = start().await;
    let response = export_with(&sim, Fault::TruncateCleanly { bytes: 1000 }).await.unwrap();
    assert_eq!(response.content_length(), None);
    assert_eq!(drain(response).await, (1000, true));
}

#[tokio::test]
async fn a_stalled_body_stays_silent_until_the_simulator_stops() {
    let sim = start().await;
    let mut response = export_with(&sim, Fault::StallAfter { bytes: 1000 }).await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap().len(), 1000);
    let silence = tokio::time::timeout(Duration::from_millis(200), response.chunk()).await;
    assert!(silence.is_err());
    let began = Instant::now();
    sim.stop().await;
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(!drain(response).await.1);
}

#[tokio::test]
async fn bodies_that_are_no_file_come_with_status_200() {
    let sim = start().await;
    let html = export_with(&sim, Fault::HtmlBody).await.unwrap();
    assert_eq!(html.status(), 200);
    assert!(html.text().await.unwrap().starts_with("<!DOCTYPE html>"));
    let json = export_with(&sim, Fault::JsonErrorBody).await.unwrap();
    assert_eq!(error_of(json).await.0, 200);
    let empty = export_with(&sim, Fault::EmptyBody).await.unwrap();
    assert_eq!(empty.content_length(), Some(0));
    let typed = export_with(&sim, Fault::WrongContentType).await.unwrap();
    assert_eq!(typed.headers()["content-type"], "text/html");
    assert!(typed.text().await.unwrap().starts_with("Computer Name,"));
}

#[tokio::test]
async fn a_dropped_connection_gives_no_answer_at_all() {
    let sim = start().await;
    assert!(export_with(&sim, Fault::DropConnection).await.unwrap_err().is_request());
    assert_eq!(sim.requests()[0].status, None);
    assert_eq!(Client::of(&sim).export(&[]).await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_export_can_lack_records_that_the_query_counts() {
    let sim = start().await;
    let rows = |text: String| text.matches("\r\n").count() - 1;
    let response = export_with(&sim, Fault::OmitRecords { records: 3 }).await.unwrap();
    let short = rows(response.text().await.unwrap());
    let total = Client::of(&sim).query(&[]).await["total_count"].as_u64().unwrap();
    assert_eq!(short as u64 + 3, total);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_reset_is_a_tcp_reset() {
    let sim = start().await;
    sim.faults().next(1, Fault::ResetAfter { bytes: 10 });
    let request = Client::of(&sim).request(&query_path(), "", "").build().unwrap();
    let address = sim.address();
    let outcome = tokio::task::spawn_blocking(move || {
        let mut text = format!("GET {}? HTTP/1.1\r\nhost: {address}\r\n", request.url().path());
        for (name, value) in request.headers() {
            text += &format!("{name}: {}\r\n", value.to_str().unwrap());
        }
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all((text + "\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        let error = stream.read_to_end(&mut answer).unwrap_err();
        (answer, error.kind())
    });
    let (answer, error) = outcome.await.unwrap();
    assert_eq!(error, ErrorKind::ConnectionReset);
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert!(answer.ends_with(b"{\"records\""), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_request_that_is_not_let_in_uses_up_no_fault() {
    let sim = start().await;
    sim.faults().next(1, Fault::EmptyBody);
    let mut client = Client::of(&sim);
    client.key.secret.push('x');
    assert_eq!(client.export(&[]).await.unwrap().status(), 401);
    assert!(!sim.faults().is_spent());
    sim.faults().always(Fault::status(500));
    sim.faults().clear();
    assert!(sim.faults().is_spent());
}
