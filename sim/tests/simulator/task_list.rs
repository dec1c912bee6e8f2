//! The export centre: its list, and what is deleted from it.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::json;

use crate::{
    client::{Client, at, builder, create_path, error_of, tasks_path},
    task_client::{BAD, DAY, NO_PROJECT, create, delete, download, list, listed, refused, start},
};

#[tokio::test]
async fn a_task_is_being_made_in_as_many_lists_as_the_simulator_was_told() {
    let sim = builder().task_polls(3).start().await.unwrap();
    let client = Client::of(&sim);
    let id = create(&client, &DAY).await;
    for expected in ["CREATING", "CREATING", "CREATING", "SUCCESS", "SUCCESS"] {
        assert_eq!(listed(&client, &[("task_id", &id)], "status").await, [expected]);
    }
}

#[tokio::test]
async fn what_was_fetched_is_listed_only_when_asked_for() {
    let sim = builder().task_polls(0).start().await.unwrap();
    let client = Client::of(&sim);
    let (fetched, waiting) = (create(&client, &DAY).await, create(&client, &DAY).await);
    list(&client, &[]).await;
    download(&client, &fetched).await;
    assert_eq!(listed(&client, &[], "task_id").await, [waiting.as_str()]);
    assert_eq!(listed(&client, &[("is_download", "false")], "task_id").await, [waiting.as_str()]);
    assert_eq!(listed(&client, &[("is_download", "true")], "task_id").await, [fetched.as_str()]);
    assert!(listed(&client, &[("task_id", &fetched)], "task_id").await.is_empty());
    assert_eq!(list(&client, &[("is_download", "true")]).await["export_tasks"][0]["is_download"], true);
}

#[tokio::test]
async fn a_list_is_filtered_sorted_and_cut_into_pages() {
    let sim = start().await;
    let client = Client::of(&sim);
    for n in 0..25 {
        let name = if n % 5 == 0 { format!("desktops_{n:02}.xlsx") } else { format!("users_{n:02}.xlsx") };
        sim.tasks().put_foreign(&name, at("2026-11-23T11:00:00Z") + SignedDuration::from_mins(n));
    }
    let newest_first = listed(&client, &[], "file_name").await;
    assert_eq!((newest_first.len(), newest_first[0].as_str()), (20, "users_24.xlsx"));
    let rest = list(&client, &[("offset", "20"), ("limit", "100")]).await;
    assert_eq!((rest["count"].as_u64(), rest["export_tasks"].as_array().unwrap().len()), (Some(25), 5));
    assert_eq!(rest["export_tasks"][4]["file_name"], "desktops_00.xlsx");
    let oldest = [("sort_field", "create_time"), ("sort_type", "ASC"), ("limit", "1")];
    assert_eq!(listed(&client, &oldest, "create_time").await, ["2026-11-23T11:00:00.000Z"]);
    let named = list(&client, &[("file_name", "desktops")]).await;
    assert_eq!(named["count"], 5);
    assert_eq!(list(&client, &[("status", "CREATING")]).await["count"], 0);
    for wrong in [
        ("limit", "0"),
        ("limit", "101"),
        ("offset", "-1"),
        ("is_download", "perhaps"),
        ("is_download", "True"),
        ("sort_field", "file_name"),
        ("sort_type", "UP"),
    ] {
        refused(client.refusal(&tasks_path(), &[wrong]).await, BAD);
    }
}

#[tokio::test]
async fn tasks_of_others_have_ids_and_files_of_their_own() {
    let sim = start().await;
    let client = Client::of(&sim);
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        let foreign = sim.tasks().put_foreign("connection_records_1.xlsx", at("2026-11-23T11:00:00Z"));
        assert_eq!(download(&client, &foreign).await.status(), 200);
        // An id is not given again once its task is gone.
        delete(&client, &json!({ "task_ids": [&foreign] })).await;
        assert!(ids.insert(foreign));
        assert!(ids.insert(create(&client, &DAY).await));
    }
    assert_eq!(sim.tasks().created(), 3);
}

#[tokio::test]
async fn deleting_passes_over_unknown_ids_and_refuses_what_is_no_list() {
    let sim = start().await;
    let client = Client::of(&sim);
    let id = create(&client, &DAY).await;
    assert_eq!(delete(&client, &json!({ "task_ids": ["f".repeat(32), id] })).await.status(), 200);
    assert!(sim.tasks().all().is_empty());
    for wrong in [json!({}), json!({ "task_ids": "one" }), json!([]), json!({ "task_ids": [1] })] {
        refused(error_of(delete(&client, &wrong).await).await, BAD);
    }
    let path = format!("{}/batch-delete", tasks_path());
    refused(error_of(client.post(&path, "{").await).await, BAD);
    refused(client.refusal(&path, &[]).await, (405, "WKS.00000405"));
    refused(error_of(client.post(&tasks_path(), "").await).await, (405, "WKS.00000405"));
}

#[tokio::test]
async fn another_project_has_no_tasks_here() {
    let sim = start().await;
    let client = Client::of(&sim);
    let other = |path: String| path.replace(sim.project_id(), &"f".repeat(32));
    for path in [create_path(), tasks_path(), format!("{}/0/download", tasks_path())] {
        refused(client.refusal(&other(path), &[]).await, NO_PROJECT);
    }
    let deletion = client.post(&other(format!("{}/batch-delete", tasks_path())), "{}").await;
    refused(error_of(deletion).await, NO_PROJECT);
}
