//! The export centre, as a client asks it.

use connvault_sim::{Format, Simulator};
use reqwest::Response;
use serde_json::Value;

use crate::client::{Client, builder, create_path, tasks_path, three_days};

/// Bounds as the v3 export takes them.
pub const DAY: [(&str, &str); 2] =
    [("start_time", "2026-11-22T00:00:00Z"), ("end_time", "2026-11-23T00:00:00Z")];
pub const BAD: (u16, &str) = (400, "WKS.00000400");
pub const NO_TASK: (u16, &str) = (404, "WKS.00010404");
pub const NO_PROJECT: (u16, &str) = (404, "WKS.00000404");

pub async fn start() -> Simulator {
    builder().format(Format::Csv).records(three_days()).start().await.unwrap()
}

pub async fn create(client: &Client, parameters: &[(&str, &str)]) -> String {
    let response = client.get(&create_path(), parameters).await.unwrap();
    assert_eq!(response.status(), 200);
    let answer: Value = response.json().await.unwrap();
    answer["task_id"].as_str().unwrap().to_owned()
}

pub async fn list(client: &Client, parameters: &[(&str, &str)]) -> Value {
    let response = client.get(&tasks_path(), parameters).await.unwrap();
    assert_eq!(response.status(), 200);
    response.json().await.unwrap()
}

/// One field of every task listed.
pub async fn listed(client: &Client, parameters: &[(&str, &str)], field: &str) -> Vec<String> {
    let list = list(client, parameters).await;
    let items = list["export_tasks"].as_array().unwrap().iter();
    items.map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

pub async fn download(client: &Client, id: &str) -> Response {
    client.get(&format!("{}/{id}/download", tasks_path()), &[]).await.unwrap()
}

pub async fn delete(client: &Client, body: &Value) -> Response {
    client.post(&format!("{}/batch-delete", tasks_path()), &body.to_string()).await
}

pub fn refused((status, code): (u16, String), expected: (u16, &str)) {
    assert_eq!((status, code.as_str()), expected);
}
