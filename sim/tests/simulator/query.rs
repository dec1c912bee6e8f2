//! The query: the count, its pages, and what else is on the way.

use std::collections::BTreeSet;

use crate::client::{Client, builder, query_path, three_days};

const DAYS: [(&str, &str); 2] = [("start_time", "2026-11-20T23:59Z"), ("end_time", "2026-11-23T00:00Z")];

#[tokio::test]
async fn pages_hold_every_record_once_and_the_count_of_all() {
    let sim = builder().records(three_days()).start().await.unwrap();
    let client = Client::of(&sim);
    let mut ids = BTreeSet::new();
    for offset in ["0", "30", "60", "90"] {
        let page = client.query(&[DAYS[0], DAYS[1], ("limit", "30"), ("offset", offset)]).await;
        assert_eq!(page["total_count"], 80);
        for record in page["records"].as_array().unwrap() {
            assert!(ids.insert(record["transaction_id"].as_str().unwrap().to_owned()));
        }
    }
    assert_eq!(ids.len(), 80);
}

#[tokio::test]
async fn a_page_has_20_records_unless_asked_otherwise_and_may_have_none() {
    let sim = builder().records(three_days()).start().await.unwrap();
    let client = Client::of(&sim);
    assert_eq!(client.query(&DAYS).await["records"].as_array().unwrap().len(), 20);
    let count = client.query(&[DAYS[0], DAYS[1], ("limit", "0")]).await;
    assert_eq!(count, serde_json::json!({ "total_count": 80, "records": [] }));
    for wrong in [("limit", "101"), ("limit", "-1"), ("offset", "x")] {
        assert_eq!(client.refusal(&query_path(), &[wrong]).await.0, 400, "{wrong:?}");
    }
}

#[tokio::test]
async fn a_record_leaves_out_what_it_does_not_have() {
    let sim = builder().records(three_days()).start().await.unwrap();
    let page = Client::of(&sim).query(&[DAYS[0], DAYS[1], ("limit", "100")]).await;
    let records = page["records"].as_array().unwrap();
    let failed: Vec<_> = records.iter().filter(|r| !r["connection_failure_reason"].is_null()).collect();
    assert!(!failed.is_empty());
    assert!(failed.iter().all(|r| r.get("connection_end_time").is_none() && r.get("e2e_rtt").is_none()));
    assert!(records.iter().all(|r| r["connection_start_time"].as_str().unwrap().len() == 20));
}

#[tokio::test]
async fn another_project_another_path_and_another_method_are_refused() {
    let sim = builder().start().await.unwrap();
    let mut client = Client::of(&sim);
    let other = "/v2/ffffffffffffffffffffffffffffffff/connections/desktops";
    assert_eq!(client.refusal(other, &[]).await, (404, "WKS.00000404".to_owned()));
    assert_eq!(client.refusal("/v9/nowhere", &[]).await, (404, "APIGW.0101".to_owned()));
    client.method = reqwest::Method::POST;
    assert_eq!(client.refusal(&query_path(), &[]).await, (405, "WKS.00000405".to_owned()));
}

#[tokio::test]
async fn every_answer_has_its_own_request_id_and_the_date_of_the_simulated_clock() {
    let sim = builder().start().await.unwrap();
    let client = Client::of(&sim);
    let mut ids = BTreeSet::new();
    for path in [query_path(), query_path(), "/v9/nowhere".to_owned()] {
        let response = client.get(&path, &[]).await.unwrap();
        assert_eq!(response.headers()["date"], "Mon, 23 Nov 2026 12:00:00 GMT");
        assert_eq!(response.headers().get_all("date").iter().count(), 1);
        ids.insert(response.headers()["x-request-id"].to_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 3);
    assert!(sim.requests().iter().all(|request| ids.contains(&request.request_id)));
}
