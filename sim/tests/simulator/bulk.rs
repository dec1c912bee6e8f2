//! Exports of any size.

use std::collections::BTreeSet;

use connvault_sim::{Fault, Simulator};

use crate::client::{Client, builder};

const DAY: [(&str, &str); 2] = [("start_time", "2026-11-22T00:00Z"), ("end_time", "2026-11-23T00:00Z")];

async fn start(rows: u64) -> Simulator {
    builder().bulk_csv_rows(rows).start().await.unwrap()
}

#[tokio::test]
async fn a_bulk_export_has_as_many_rows_as_the_query_counts_and_all_differ() {
    let sim = start(2500).await;
    let client = Client::of(&sim);
    let response = client.export(&DAY).await.unwrap();
    assert_eq!(response.content_length(), None);
    let text = response.text().await.unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(reader.headers().unwrap().len(), 18);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let ids: BTreeSet<&str> = rows.iter().map(|row| &row[17]).collect();
    assert_eq!((rows.len(), ids.len()), (2500, 2500));
    assert!(rows.iter().all(|row| row[9].starts_with("2026-11-22T")));

    let page = client.query(&[DAY[0], DAY[1], ("offset", "2490"), ("limit", "100")]).await;
    assert_eq!(page["total_count"], 2500);
    assert_eq!(page["records"].as_array().unwrap().len(), 10);
    assert_eq!(page["records"][9]["transaction_id"], rows[2499][17]);
    assert_eq!(page["records"][9]["user_name"], rows[2499][1]);
}

#[tokio::test]
async fn an_export_too_large_for_memory_starts_at_once() {
    // Some hundreds of terabytes; only the first megabytes are ever made.
    let sim = start(1 << 40).await;
    let mut response = Client::of(&sim).export(&DAY).await.unwrap();
    let mut bytes = 0;
    while bytes < 4_000_000 {
        bytes += response.chunk().await.unwrap().unwrap().len();
    }
}

#[tokio::test]
async fn a_bulk_export_can_break_off_anywhere() {
    let sim = start(100_000).await;
    for (fault, clean) in
        [(Fault::TruncateAfter { bytes: 200_001 }, false), (Fault::TruncateCleanly { bytes: 200_001 }, true)]
    {
        sim.faults().next(1, fault);
        let mut response = Client::of(&sim).export(&DAY).await.unwrap();
        let mut bytes = 0;
        let ended = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => bytes += chunk.len(),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        assert_eq!((bytes, ended), (200_001, clean));
    }
}
