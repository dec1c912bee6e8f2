//! The export: which records, in which bytes.

use std::io::{Cursor, Read as _};

use connvault_sim::{Bounds, Format, Record, Records};

use crate::client::{Client, at, builder, export_path, starting_at, three_days};

const DAY: [(&str, &str); 2] = [("start_time", "2026-11-22T00:00Z"), ("end_time", "2026-11-23T00:00Z")];

fn rows(csv: &[u8]) -> Vec<csv::StringRecord> {
    csv::Reader::from_reader(csv).records().map(Result::unwrap).collect()
}

fn member(workbook: &[u8], name: &str) -> String {
    let mut archive = zip::ZipArchive::new(Cursor::new(workbook)).unwrap();
    let mut text = String::new();
    archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
    text
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut content).unwrap();
    content
}

async fn starts(bounds: Bounds) -> Vec<String> {
    let records = starting_at(&[
        "2026-11-21T23:59:59Z",
        "2026-11-22T00:00:00Z",
        "2026-11-22T00:00:01Z",
        "2026-11-22T23:59:59Z",
        "2026-11-23T00:00:00Z",
        "2026-11-23T00:00:01Z",
    ]);
    let sim = builder().format(Format::Csv).bounds(bounds).records(records).start().await.unwrap();
    let file = Client::of(&sim).export_bytes(&DAY).await;
    rows(&file).iter().map(|row| row[9][8..].to_owned()).collect()
}

#[tokio::test]
async fn each_reading_of_the_bounds_serves_its_own_edges() {
    let inner = ["22T00:00:01Z", "22T23:59:59Z"];
    assert_eq!(starts(Bounds::Exclusive).await, inner);
    assert_eq!(starts(Bounds::HalfOpen).await, ["22T00:00:00Z", inner[0], inner[1]]);
    assert_eq!(starts(Bounds::Inclusive).await, ["22T00:00:00Z", inner[0], inner[1], "23T00:00:00Z"]);
}

#[tokio::test]
async fn filters_match_exactly_and_an_empty_one_matches_all() {
    let records = three_days();
    let user = "ops+backup";
    let expected = records
        .all()
        .iter()
        .filter(|record| record.user_name == user && record.connection_start_time < at("2026-11-23T12:00Z"))
        .count();
    assert!(expected > 0);
    let sim = builder().format(Format::Csv).records(records).start().await.unwrap();
    let client = Client::of(&sim);
    let filtered = client.export_bytes(&[("user_name", user), ("computer_name", "")]).await;
    assert_eq!(rows(&filtered).len(), expected);
    assert!(rows(&filtered).iter().all(|row| &row[1] == user));
    let none = client.export_bytes(&[("user_name", "ops")]).await;
    assert!(rows(&none).is_empty());
}

#[tokio::test]
async fn two_workbooks_of_the_same_records_differ_in_bytes_alone() {
    let sim = builder().records(three_days()).start().await.unwrap();
    let client = Client::of(&sim);
    let (first, second) = (client.export_bytes(&DAY).await, client.export_bytes(&DAY).await);
    assert!(first.starts_with(b"PK\x03\x04"));
    assert_ne!(first, second);
    for name in ["xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"] {
        assert_eq!(member(&first, name), member(&second, name));
    }
    // The header, and 39 of the 40: the first starts on the bound itself.
    assert_eq!(member(&first, "xl/worksheets/sheet1.xml").matches("<row ").count(), 40);
}

#[tokio::test]
async fn the_language_decides_the_header() {
    let sim = builder().records(three_days()).start().await.unwrap();
    let client = Client::of(&sim);
    let english = client.export_bytes(&DAY).await;
    assert!(member(&english, "xl/sharedStrings.xml").contains("Connection Start Time"));
    let chinese = client.export_bytes(&[DAY[0], DAY[1], ("language", "zh_CN")]).await;
    assert!(member(&chinese, "xl/sharedStrings.xml").contains("连接开始时间"));
}

#[tokio::test]
async fn every_text_format_holds_the_same_rows() {
    let mut record = Record::at(at("2026-11-22T08:00Z"), 1);
    record.user_name = "王 \"示例\", 🐼+%".to_owned();
    let mut texts = Vec::new();
    for format in [Format::Csv, Format::CsvBom, Format::CsvGb18030, Format::GzipCsv] {
        let records = Records::from_vec(vec![record.clone()]);
        let sim = builder().format(format).records(records).start().await.unwrap();
        let chinese = [DAY[0], DAY[1], ("language", "zh_CN")];
        let bytes = Client::of(&sim).export_bytes(&chinese).await;
        texts.push(match format {
            Format::CsvBom => bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap().to_vec(),
            Format::CsvGb18030 => {
                assert!(String::from_utf8(bytes.clone()).is_err());
                encoding_rs::GB18030.decode(&bytes).0.into_owned().into_bytes()
            }
            Format::GzipCsv => gunzip(&bytes),
            _ => bytes,
        });
    }
    let text = String::from_utf8(texts[0].clone()).unwrap();
    assert_eq!(text.matches("\r\n").count(), 2);
    assert!(text.starts_with("计算机名,用户名,"));
    assert_eq!(&rows(text.as_bytes())[0][1], record.user_name);
    assert!(texts.iter().all(|other| *other == texts[0]));
}

#[tokio::test]
async fn a_workbook_also_comes_in_gzip() {
    let sim = builder().format(Format::GzipXlsx).records(three_days()).start().await.unwrap();
    let workbook = gunzip(&Client::of(&sim).export_bytes(&DAY).await);
    assert!(member(&workbook, "xl/sharedStrings.xml").contains("Transaction ID"));
}

#[tokio::test]
async fn the_content_type_is_not_to_be_trusted() {
    let sim = builder().start().await.unwrap();
    let response = Client::of(&sim).export(&[]).await.unwrap();
    assert_eq!(response.headers()["content-type"], "multipart/form-data");
    assert!(response.content_length().is_some());
    let sim = builder().chunked().content_type("text/csv").start().await.unwrap();
    let response = Client::of(&sim).export(&[]).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/csv");
    assert_eq!(response.content_length(), None);
    assert!(response.bytes().await.unwrap().starts_with(b"PK"));
}

#[tokio::test]
async fn malformed_requests_are_answered_with_400() {
    let sim = builder().start().await.unwrap();
    let client = Client::of(&sim);
    for wrong in [
        &[DAY[0]][..],
        &[DAY[1]],
        &[("start_time", "2026-11-22T00:00:00Z"), DAY[1]],
        &[("start_time", "2026-11-24T00:00Z"), DAY[1]],
        &[("language", "tlh")],
    ] {
        assert_eq!(client.refusal(&export_path(), wrong).await.0, 400, "{wrong:?}");
    }
}

#[tokio::test]
async fn a_record_that_arrives_late_is_in_the_next_export() {
    let sim = builder().format(Format::Csv).records(three_days()).start().await.unwrap();
    let client = Client::of(&sim);
    let before = rows(&client.export_bytes(&DAY).await).len();
    sim.records().push(Record::at(at("2026-11-22T10:00Z"), 99));
    assert_eq!(rows(&client.export_bytes(&DAY).await).len(), before + 1);
}

#[tokio::test]
async fn what_lies_past_the_horizon_is_silently_missing() {
    let records = starting_at(&["2026-10-23T12:00:00Z", "2026-10-24T12:00:00Z", "2026-11-22T00:00:00Z"]);
    let days = std::time::Duration::from_secs(30 * 86_400);
    let sim = builder().format(Format::Csv).horizon(days).records(records).start().await.unwrap();
    assert_eq!(rows(&Client::of(&sim).export_bytes(&[]).await).len(), 2);
}

#[tokio::test]
async fn a_session_that_is_not_over_has_no_end_and_the_future_no_records() {
    let mut running = Record::at(at("2026-11-23T11:59:00Z"), 1);
    running.connection_setup_time = Some(at("2026-11-23T11:59:05Z"));
    running.connection_end_time = Some(at("2026-11-23T12:00:01Z"));
    let future = Record::at(at("2026-11-23T12:00:01Z"), 2);
    let records = Records::from_vec(vec![future, running]);
    let sim = builder().format(Format::Csv).records(records).start().await.unwrap();
    let rows = rows(&Client::of(&sim).export_bytes(&[]).await);
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0][10], &rows[0][11]), ("2026-11-23T11:59:05Z", ""));
}
