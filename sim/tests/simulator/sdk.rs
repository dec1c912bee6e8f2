//! The simulator held against the vendor's own Python clients: what they send it understands, and what it answers
//! they understand.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use connvault_sim::{Builder, Format, Key, Metadata, Records, Simulator, Withdrawal, system_clock};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::client::{Client, query_path, unsigned};

const DIRECTORY: &str = "CONNVAULT_TEST_SDK";
const PASSWORD: &str = "pass \"word\" 密码";
/// The status with which the client ends when the service refuses.
const REFUSED: i32 = 3;

/// The bounds of three days that are over, with 300 records in them.
struct Window {
    start: Timestamp,
    end: Timestamp,
}

impl Window {
    fn recent() -> Self {
        let day = SignedDuration::from_hours(24);
        let today = system_clock().as_second() / 86_400 * 86_400;
        let today = Timestamp::from_second(today).unwrap();
        // A minute more on both sides: nothing lies on the bounds, however they are read.
        let minute = SignedDuration::from_mins(1);
        Self { start: today - day * 4 - minute, end: today - day + minute }
    }

    fn records(&self) -> Records {
        let minute = SignedDuration::from_mins(1);
        Records::seeded(7, self.start + minute, self.end - minute, 100)
    }

    fn in_minutes(&self) -> [String; 2] {
        [self.start, self.end].map(|at| at.strftime("%Y-%m-%dT%H:%MZ").to_string())
    }

    fn in_seconds(&self) -> [String; 2] {
        [self.start, self.end].map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }
}

/// A file that is gone when the test is over.
struct Scratch(PathBuf);

impl Scratch {
    fn file(name: &str) -> Self {
        Self(env::temp_dir().join(format!("connvault-sdk-{}-{name}", std::process::id())))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.0).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn sdk() -> OsString {
    env::var_os(DIRECTORY).unwrap_or_else(|| {
        panic!("{DIRECTORY} is not set: run scripts/test, or set it to what scripts/huaweicloud-sdk --fetch prints")
    })
}

/// A simulator by the real clock, as the SDK has no other.
async fn start(window: &Window, more: impl FnOnce(Builder) -> Builder) -> Simulator {
    more(Simulator::builder().records(window.records())).start().await.unwrap()
}

/// Exit status and answer of the official client.
async fn ran(sim: &Simulator, project: &str, arguments: &[&str]) -> (i32, Value) {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/sdk-client.py");
    let key = Key::example();
    let mut command = Command::new("python3");
    command
        .arg(client)
        .args([&sim.endpoint(), project])
        .args(arguments)
        .env("PYTHONPATH", sdk())
        .env("CONNVAULT_SDK_ACCESS_KEY", key.access)
        .env("CONNVAULT_SDK_SECRET_KEY", key.secret)
        .env("CONNVAULT_SDK_PASSWORD", PASSWORD);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let status = output.status.code().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(status, 0 | REFUSED), "{arguments:?}: {status}: {errors}");
    (status, serde_json::from_slice(&output.stdout).unwrap())
}

async fn answer(sim: &Simulator, arguments: &[&str]) -> Value {
    let (status, answer) = ran(sim, sim.project_id(), arguments).await;
    assert_eq!(status, 0, "{arguments:?}: {answer}");
    answer
}

/// Status and error code, as the SDK reads them.
async fn refusal(sim: &Simulator, project: &str, arguments: &[&str]) -> (u64, Value) {
    let (status, answer) = ran(sim, project, arguments).await;
    assert_eq!(status, REFUSED, "{arguments:?}: {answer}");
    (answer["refused"]["status"].as_u64().unwrap(), answer["refused"]["error_code"].clone())
}

fn ids(records: &Value) -> BTreeSet<String> {
    let records = records.as_array().unwrap().iter();
    records.map(|record| record["transaction_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
#[ignore = "needs the official SDK: run scripts/test"]
async fn the_official_client_saves_a_v2_export() {
    let window = Window::recent();
    let [start_time, end_time] = window.in_minutes();
    let file = Scratch::file("v2");
    let export = ["export-v2", &start_time, &end_time, file.path()];
    for format in [Format::Csv, Format::Xlsx] {
        let sim = start(&window, |sim| sim.format(format)).await;
        let saved = answer(&sim, &export).await;
        let bytes = file.bytes();
        assert_eq!(saved, json!({ "status": 200, "bytes": bytes.len() }));
        let mut ours = Client::of(&sim);
        ours.date = system_clock();
        let sent = ours.export_bytes(&[("start_time", &start_time), ("end_time", &end_time)]).await;
        if format == Format::Csv {
            assert_eq!(bytes, sent);
            assert_eq!(csv::Reader::from_reader(&bytes[..]).records().count(), 300);
        } else {
            // Two workbooks differ in when they were made.
            let mut workbook = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
            assert!(workbook.by_name("xl/worksheets/sheet1.xml").is_ok());
        }
    }
}

#[tokio::test]
#[ignore = "needs the official SDK: run scripts/test"]
async fn the_official_client_reads_every_page_of_a_query() {
    let window = Window::recent();
    let sim = start(&window, |sim| sim).await;
    let [start_time, end_time] = window.in_minutes();
    let all = answer(&sim, &["query", &start_time, &end_time]).await;
    assert_eq!((all["total_count"].as_u64(), sim.requests().len()), (Some(300), 3));
    let expected: BTreeSet<_> = window.records().all().into_iter().map(|r| r.transaction_id).collect();
    assert_eq!(ids(&all["records"]), expected);
    let whole = all["records"].as_array().unwrap().iter().find(|r| r["e2e_rtt"].is_number()).unwrap();
    assert_eq!(whole["connection_start_time"].as_str().unwrap().len(), "2020-04-24T03:02:47Z".len());
}

#[tokio::test]
#[ignore = "needs the official SDK: run scripts/test"]
async fn the_official_client_leads_a_task_through_its_life() {
    let window = Window::recent();
    let sim = start(&window, |sim| sim.format(Format::Csv)).await;
    let [start_time, end_time] = window.in_seconds();
    let foreign = sim.tasks().put_foreign("desktops_1.xlsx", system_clock() - SignedDuration::from_hours(1));
    let created = answer(&sim, &["create-task", &start_time, &end_time]).await;
    let id = created["task_id"].as_str().unwrap();
    assert_eq!(sim.tasks().all()[1].id, id);

    let by_id = answer(&sim, &["list-tasks", id]).await;
    let task = &by_id["export_tasks"][0];
    assert_eq!((&by_id["count"], &task["status"]), (&json!(1), &json!("CREATING")));
    assert_eq!(task["end_time"], Value::Null);
    let early = refusal(&sim, sim.project_id(), &["download", id, "/dev/null"]).await;
    assert_eq!(early, (400, json!("WKS.00000400")));
    let all = answer(&sim, &["list-tasks"]).await;
    assert_eq!((&all["count"], &all["export_tasks"][0]["task_id"]), (&json!(2), &json!(foreign)));
    let task = &all["export_tasks"][1];
    assert_eq!((&task["status"], &task["is_download"]), (&json!("SUCCESS"), &json!(false)));
    assert_eq!(task["create_time"].as_str().unwrap().len(), "2026-11-23T12:00:00.000Z".len());

    let file = Scratch::file("task");
    assert_eq!(answer(&sim, &["download", id, file.path()]).await["status"], 200);
    assert_eq!(csv::Reader::from_reader(&file.bytes()[..]).records().count(), 300);
    for (downloaded, count) in [("false", 0), ("true", 1)] {
        let list = answer(&sim, &["list-tasks", id, downloaded]).await;
        assert_eq!(list["count"], count, "{list}");
    }
    assert_eq!(answer(&sim, &["list-tasks", "", "false"]).await["export_tasks"][0]["task_id"], foreign);
    let fetched = answer(&sim, &["list-tasks", "", "true"]).await;
    assert_eq!(fetched["export_tasks"][0]["is_download"], true);
    let requests = sim.requests();
    // Not as Python writes them.
    let asked: Vec<_> = requests.iter().filter_map(|request| request.parameter("is_download")).collect();
    assert_eq!(asked, ["false", "true", "false", "true"]);

    assert_eq!(answer(&sim, &["delete-tasks", id, &foreign]).await, json!({ "status": 200 }));
    assert_eq!(sim.tasks().all(), []);
    let gone = refusal(&sim, sim.project_id(), &["download", id, "/dev/null"]).await;
    assert_eq!(gone, (404, json!("WKS.00010404")));
}

#[tokio::test]
#[ignore = "needs the official SDK: run scripts/test"]
async fn the_official_client_exports_by_a_task_in_one_go() {
    let window = Window::recent();
    let sim = start(&window, |sim| sim.format(Format::Csv).task_polls(2)).await;
    let [start_time, end_time] = window.in_seconds();
    let file = Scratch::file("v3");
    let export = answer(&sim, &["export-v3", &start_time, &end_time, file.path()]).await;
    assert_eq!(export["statuses"], json!(["CREATING", "CREATING", "SUCCESS"]));
    assert_eq!(export["deleted"], 200);
    assert_eq!(csv::Reader::from_reader(&file.bytes()[..]).records().count(), 300);
    assert_eq!((sim.tasks().all().len(), sim.tasks().created()), (0, 1));
}

#[tokio::test]
#[ignore = "needs the official SDK: run scripts/test"]
async fn the_official_client_logs_in() {
    let window = Window::recent();
    let sim =
        start(&window, |sim| sim.iam_user("示例 domain", "archivist", PASSWORD).region("ap-west-9")).await;
    let login = answer(&sim, &["iam-token", "示例 domain", "archivist", "ap-west-9"]).await;
    assert_eq!((&login["status"], &login["token"]["project"]["id"]), (&json!(201), &json!(sim.project_id())));
    let until: Timestamp = login["token"]["expires_at"].as_str().unwrap().parse().unwrap();
    assert!(until > system_clock() + SignedDuration::from_hours(23));
    let token = login["x_subject_token"].as_str().unwrap();
    let query = unsigned().get(format!("{}{}", sim.endpoint(), query_path())).header("X-Auth-Token", token);
    assert_eq!(query.send().await.unwrap().status(), 200);
    let (status, _) =
        refusal(&sim, sim.project_id(), &["iam-token", "示例 domain", "stranger", "ap-west-9"]).await;
    assert_eq!((status, sim.tokens_issued()), (401, 1));
}

#[tokio::test]
#[ignore = "needs the official SDK: run scripts/test"]
async fn the_official_client_finds_a_regions_project() {
    let window = Window::recent();
    let sim = start(&window, |sim| sim.region("ap-west-9")).await;
    let found = answer(&sim, &["iam-projects", "ap-west-9"]).await;
    assert_eq!(found["found"], sim.project_id());
    assert_eq!(found["projects"][0]["id"], sim.project_id());
    assert_eq!(found["projects"][0]["enabled"], true);
    assert_eq!(answer(&sim, &["iam-projects", "elsewhere"]).await, json!({ "projects": [] }));
}

#[tokio::test]
#[ignore = "needs the official SDK: run scripts/test"]
async fn the_official_client_uses_keys_of_the_machine_it_runs_on() {
    let window = Window::recent();
    let [start_time, end_time] = window.in_minutes();
    for generation in [Metadata::WithoutTokens, Metadata::WithTokens] {
        let sim = start(&window, |sim| sim.metadata(generation)).await;
        let all = answer(&sim, &["agency-query", &start_time, &end_time]).await;
        assert_eq!((&all["total_count"], &all["access_key"]), (&json!(300), &json!("SIMAGENCY0001")));
        assert_eq!(sim.security_keys_issued(), 1);
    }
}

#[tokio::test]
#[ignore = "needs the official SDK: run scripts/test"]
async fn the_official_client_reads_why_it_is_refused() {
    let window = Window::recent();
    let sim = start(&window, |sim| sim).await;
    let [start_time, end_time] = window.in_minutes();
    let export = ["export-v2", &start_time, &end_time, "/dev/null"];
    sim.withdraw_v2(Withdrawal::NotFound);
    assert_eq!(refusal(&sim, &"f".repeat(32), &export).await, (404, json!("WKS.00000404")));
    assert_eq!(refusal(&sim, sim.project_id(), &export).await, (404, json!("APIG.0101")));
    sim.withdraw_v2(Withdrawal::Gone);
    assert_eq!(refusal(&sim, sim.project_id(), &export).await.0, 410);
    // The v3 export wants seconds.
    let by_minutes = refusal(&sim, sim.project_id(), &["create-task", &start_time, &end_time]).await;
    assert_eq!(by_minutes, (400, json!("WKS.00000400")));
    assert!(sim.keys().revoke(&Key::example().access));
    let query = refusal(&sim, sim.project_id(), &["query", &start_time, &end_time]).await;
    assert_eq!(query, (401, json!("APIGW.0301")));
}
