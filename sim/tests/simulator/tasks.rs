//! Tasks of the v3 export, from their creation to their end.

use connvault_sim::{Endpoint, Fate, Fault, Format, Record, Records, Rule, TaskStatus};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    client::{Client, at, builder, create_path, error_of, starting_at, three_days},
    task_client::{BAD, DAY, NO_TASK, create, delete, download, list, listed, refused, start},
};

#[tokio::test]
async fn a_task_is_created_waited_for_fetched_and_deleted() {
    let sim = start().await;
    let client = Client::of(&sim);
    let id = create(&client, &DAY).await;
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");

    let creating = list(&client, &[("task_id", &id)]).await;
    let expected = json!({
        "task_id": id,
        "file_name": "connection_records_20261123120000_1.csv",
        "status": "CREATING",
        "create_time": "2026-11-23T12:00:00.000Z",
        "is_download": false,
    });
    assert_eq!(creating, json!({ "export_tasks": [expected], "count": 1 }));
    refused(error_of(download(&client, &id).await).await, BAD);

    let done = list(&client, &[]).await;
    assert_eq!(done["export_tasks"][0]["status"], "SUCCESS");
    assert_eq!(done["export_tasks"][0]["end_time"], "2026-11-23T12:00:00.000Z");
    let file = download(&client, &id).await;
    assert_eq!(file.headers()["content-type"], "multipart/form-data");
    let disposition = file.headers()["content-disposition"].to_str().unwrap().to_owned();
    assert!(disposition.contains("connection_records_20261123120000_1.csv"), "{disposition}");
    assert!(file.content_length().is_some());
    // The header, and 39 of the 40: the first starts on the bound itself.
    assert_eq!(file.text().await.unwrap().matches("\r\n").count(), 40);

    let task = &sim.tasks().all()[0];
    assert_eq!((task.status, task.downloaded), (TaskStatus::Success, true));
    assert_eq!(task.start_time, Some(at(DAY[0].1)));
    assert_eq!(task.end_time, Some(at(DAY[1].1)));

    let answer = delete(&client, &json!({ "task_ids": [id] })).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text().await.unwrap(), "{}");
    assert_eq!((sim.tasks().all().len(), sim.tasks().created()), (0, 1));
    refused(error_of(download(&client, &id).await).await, NO_TASK);
}

#[tokio::test]
async fn a_file_holds_the_records_as_of_its_creation() {
    let records = starting_at(&["2026-11-23T11:00:00Z"]);
    let sim = builder().format(Format::Csv).records(records).task_polls(0).start().await.unwrap();
    let client = Client::of(&sim);
    let window = [("start_time", "2026-11-23T10:00:00Z"), ("end_time", "2026-11-23T12:00:00Z")];
    let id = create(&client, &window).await;
    sim.records().push(Record::at(at("2026-11-23T11:30:00Z"), 1));
    list(&client, &[]).await;
    for _ in 0..2 {
        assert_eq!(download(&client, &id).await.text().await.unwrap().matches("\r\n").count(), 2);
    }
}

#[tokio::test]
async fn a_fate_is_met_by_one_task_and_the_next_by_the_next() {
    let sim = start().await;
    let client = Client::of(&sim);
    let fail = Fate::Fail { error_code: "WKS.0007".to_owned(), reason: "no space".to_owned() };
    for fate in [fail, Fate::Expired, Fate::Never, Fate::Vanishes] {
        sim.tasks().fate(fate);
    }
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(create(&client, &DAY).await);
    }
    assert_eq!(listed(&client, &[], "status").await, ["CREATING"; 5]);
    let after = listed(&client, &[("sort_type", "ASC")], "status").await;
    assert_eq!(after, ["FAIL", "EXPIRED", "CREATING", "SUCCESS"]);
    let failed = &list(&client, &[("status", "FAIL")]).await["export_tasks"][0];
    assert_eq!((&failed["error_code"], &failed["fail_reason"]), (&json!("WKS.0007"), &json!("no space")));
    for (id, expected) in ids.iter().zip([BAD, BAD, BAD, NO_TASK]) {
        refused(error_of(download(&client, id).await).await, expected);
    }
    assert_eq!(download(&client, &ids[4]).await.status(), 200);
    assert_eq!(sim.tasks().created(), 5);
}

#[tokio::test]
async fn a_file_can_be_gone_just_as_it_is_fetched() {
    let sim = start().await;
    let client = Client::of(&sim);
    sim.tasks().fate(Fate::ExpiresOnDownload);
    let id = create(&client, &DAY).await;
    for expected in ["CREATING", "SUCCESS"] {
        assert_eq!(listed(&client, &[], "status").await, [expected]);
    }
    refused(error_of(download(&client, &id).await).await, NO_TASK);
    assert_eq!(listed(&client, &[], "status").await, ["EXPIRED"]);
    assert!(!sim.tasks().all()[0].downloaded);
}

#[tokio::test]
async fn bounds_have_seconds_and_lie_within_the_horizon() {
    let sim = builder().start().await.unwrap();
    let client = Client::of(&sim);
    let now = "2026-11-23T12:00:00Z";
    create(&client, &[("start_time", "2026-10-24T12:00:00Z"), ("end_time", now)]).await;
    for (start, end) in [
        ("2026-10-24T11:59:59Z", now),
        ("2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z"),
        ("2026-11-23T00:00:00Z", "2026-11-23T12:00:01Z"),
        ("2026-11-22T00:00Z", "2026-11-23T00:00Z"),
        ("2026-11-23T00:00:00Z", "2026-11-22T00:00:00Z"),
    ] {
        let wrong = [("start_time", start), ("end_time", end)];
        refused(client.refusal(&create_path(), &wrong).await, BAD);
    }
    refused(client.refusal(&create_path(), &DAY[..1]).await, BAD);
    assert_eq!(sim.tasks().created(), 1);

    let week = std::time::Duration::from_secs(7 * 86_400);
    let sim = builder().horizon(week).start().await.unwrap();
    let client = Client::of(&sim);
    create(&client, &[("start_time", "2026-11-16T12:00:00Z"), DAY[1]]).await;
    refused(client.refusal(&create_path(), &[("start_time", "2026-11-16T11:59:59Z"), DAY[1]]).await, BAD);
}

#[tokio::test]
async fn delays_narrow_a_task_down_and_other_parameters_are_let_by() {
    let records = three_days();
    let within = |rtt: Option<u32>| rtt.is_some_and(|rtt| (20..=60).contains(&rtt));
    let inside = |start: Timestamp| at(DAY[0].1) < start && start < at(DAY[1].1);
    let all = records.all();
    let expected = all.iter().filter(|r| inside(r.connection_start_time) && within(r.e2e_rtt)).count();
    assert!(expected > 0 && expected < 39);
    let sim = builder().format(Format::Csv).records(records).task_polls(0).start().await.unwrap();
    let client = Client::of(&sim);
    let others =
        [("domain", "acme"), ("public_ip", "203.0.113.7"), ("enterprise_project_id", "0"), DAY[0], DAY[1]];
    let narrowed = [&others[..], &[("min_e2e_rtt", "20"), ("max_e2e_rtt", "60")]].concat();
    for (parameters, rows) in [(narrowed, expected), (others.to_vec(), 39)] {
        let id = create(&client, &parameters).await;
        list(&client, &[]).await;
        assert_eq!(download(&client, &id).await.text().await.unwrap().matches("\r\n").count(), rows + 1);
    }
    refused(client.refusal(&create_path(), &[("min_e2e_rtt", "slow")]).await, BAD);
}

#[tokio::test]
async fn a_download_obeys_the_settings_of_files() {
    let sim = builder().chunked().content_type("text/csv").task_polls(0).start().await.unwrap();
    let client = Client::of(&sim);
    let id = create(&client, &DAY).await;
    list(&client, &[]).await;
    let file = download(&client, &id).await;
    assert_eq!(
        (file.content_length(), &file.headers()["content-type"]),
        (None, &"text/csv".parse().unwrap())
    );
    assert!(file.bytes().await.unwrap().starts_with(b"PK"));
    assert!(sim.tasks().all()[0].file_name.ends_with("_1.xlsx"));

    let sim = builder().bulk_csv_rows(2500).task_polls(0).start().await.unwrap();
    let client = Client::of(&sim);
    let id = create(&client, &DAY).await;
    list(&client, &[]).await;
    let file = download(&client, &id).await;
    assert_eq!(file.content_length(), None);
    assert_eq!(file.text().await.unwrap().matches("\r\n").count(), 2501);
    let second = [("start_time", "2026-11-22T00:00:00Z"), ("end_time", "2026-11-22T00:00:01Z")];
    let id = create(&client, &second).await;
    list(&client, &[]).await;
    assert_eq!(download(&client, &id).await.text().await.unwrap().matches("\r\n").count(), 1);
}

#[tokio::test]
async fn faults_break_a_download_off() {
    let sim = builder().format(Format::Csv).records(three_days()).task_polls(0).start().await.unwrap();
    let client = Client::of(&sim);
    let id = create(&client, &DAY).await;
    list(&client, &[]).await;
    sim.faults().add(Rule::new(Fault::TruncateAfter { bytes: 100 }).on(Endpoint::Download).times(1));
    assert!(download(&client, &id).await.bytes().await.is_err());
    sim.faults().add(Rule::new(Fault::OmitRecords { records: 4 }).on(Endpoint::CreateTask).times(1));
    let short = create(&client, &DAY).await;
    list(&client, &[]).await;
    for (id, lines) in [(id, 40), (short, 36)] {
        assert_eq!(download(&client, &id).await.text().await.unwrap().matches("\r\n").count(), lines);
    }
}

#[tokio::test]
async fn a_task_whose_answer_was_lost_stands_and_one_that_was_refused_does_not() {
    let sim = start().await;
    let client = Client::of(&sim);
    let at_creation = |fault| sim.faults().add(Rule::new(fault).on(Endpoint::CreateTask).times(1));
    for (fault, created) in [
        (Fault::Throttle { retry_after: None }, 0),
        (Fault::status(403), 0),
        (Fault::status(504), 1),
        (Fault::status(408), 2),
        (Fault::DropConnection, 3),
        (Fault::EmptyBody, 4),
    ] {
        at_creation(fault.clone());
        let _ = client.get(&create_path(), &DAY).await;
        assert_eq!(sim.tasks().created(), created, "{fault:?}");
    }
    assert!(sim.faults().is_spent());
    assert_eq!(sim.request_count(Endpoint::CreateTask), 6);
}

#[tokio::test]
async fn a_type_of_terminals_is_taken_by_any_part_of_it_and_by_v3_alone() {
    let starts = ["2026-11-23T11:00:00Z", "2026-11-23T11:30:00Z"];
    let mut records: Vec<_> = (0..).zip(starts).map(|(n, start)| Record::at(at(start), n)).collect();
    records[1].terminal_type = "Thin Client".to_owned();
    let records = Records::from_vec(records);
    let sim = builder().format(Format::Csv).records(records).task_polls(0).start().await.unwrap();
    let client = Client::of(&sim);
    let id = create(&client, &[("terminal_type", "thin")]).await;
    list(&client, &[]).await;
    assert_eq!(download(&client, &id).await.text().await.unwrap().matches("\r\n").count(), 2);
    let rows = async |wanted| {
        let csv = client.export_bytes(&[("terminal_type", wanted)]).await;
        String::from_utf8(csv).unwrap().matches("\r\n").count() - 1
    };
    assert_eq!((rows("thin").await, rows("Thin Client").await), (0, 1));
}
