//! The day on which the v2 export is no more.

use connvault_sim::{Endpoint, Fault, Rule, Withdrawal};
use reqwest::Response;

use crate::client::{Client, builder, create_path, error_of, export_path, query_path};

const WAYS: [Withdrawal; 5] = [
    Withdrawal::NotFound,
    Withdrawal::NoSuchApi,
    Withdrawal::NotAllowed,
    Withdrawal::Gone,
    Withdrawal::Proxy404,
];
const DAY: [(&str, &str); 2] = [("start_time", "2026-11-22T00:00:00Z"), ("end_time", "2026-11-23T00:00:00Z")];

async fn text(response: Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn a_gateway_has_five_ways_to_say_that_an_export_is_gone() {
    let sim = builder().start().await.unwrap();
    let client = Client::of(&sim);
    for (how, status, code) in [
        (Withdrawal::NotFound, 404, "APIG.0101"),
        (Withdrawal::NoSuchApi, 404, "APIGW.0101"),
        (Withdrawal::NotAllowed, 405, "APIGW.0106"),
    ] {
        sim.withdraw_v2(how);
        assert_eq!(client.refusal(&export_path(), &[]).await, (status, code.to_owned()));
    }
    sim.withdraw_v2(Withdrawal::Gone);
    assert_eq!(text(client.export(&[]).await.unwrap()).await, (410, String::new()));
    sim.withdraw_v2(Withdrawal::Proxy404);
    let page = client.export(&[]).await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html");
    let (status, page) = text(page).await;
    assert!(status == 404 && page.starts_with("<html>"), "{page}");
}

#[tokio::test]
async fn the_query_and_the_v3_export_go_on() {
    let sim = builder().start().await.unwrap();
    let client = Client::of(&sim);
    for how in WAYS {
        sim.withdraw_v2(how);
        client.query(&[]).await;
        assert_eq!(client.get(&create_path(), &DAY).await.unwrap().status(), 200);
    }
    assert_eq!(sim.request_count(Endpoint::Export), 0);
}

#[tokio::test]
async fn it_can_come_after_so_many_exports_more() {
    let sim = builder().start().await.unwrap();
    let client = Client::of(&sim);
    client.export_bytes(&[]).await;
    sim.withdraw_v2_after(2, Withdrawal::Gone);
    // What the gateway refuses by itself is not answered by the export.
    sim.faults().add(Rule::new(Fault::Throttle { retry_after: None }).on(Endpoint::Export).times(1));
    let mut statuses = Vec::new();
    for _ in 0..5 {
        client.query(&[]).await;
        statuses.push(client.export(&[]).await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [429, 200, 200, 410, 410]);
}

#[tokio::test]
async fn an_unknown_project_is_told_so_before_and_after() {
    let sim = builder().start().await.unwrap();
    let client = Client::of(&sim);
    let other = "/v2/ffffffffffffffffffffffffffffffff/connections/desktops/export";
    let unknown = (404, "WKS.00000404".to_owned());
    assert_eq!(client.refusal(other, &[]).await, unknown);
    for how in WAYS {
        sim.withdraw_v2(how);
        assert_eq!(client.refusal(other, &[]).await, unknown, "{how:?}");
        assert_eq!(client.refusal(&query_path().replace("000001", "fff"), &[]).await, unknown, "{how:?}");
    }
}

#[tokio::test]
async fn who_is_not_let_in_does_not_learn_of_it() {
    let sim = builder().start().await.unwrap();
    sim.withdraw_v2(Withdrawal::NotFound);
    let mut client = Client::of(&sim);
    client.key.secret.push('x');
    let refusal = error_of(client.export(&[]).await.unwrap()).await;
    assert_eq!(refusal, (401, "APIGW.0301".to_owned()));
}
