//! The independent count: `total_count` of `GET /v2/{project_id}/connections/desktops`, the query that the console asks.
//!
//! One record is asked for and thrown away; only the number counts. It comes from another operation than the export, so a
//! slip of the one is not a slip of the other.

use serde::Deserialize;

use super::body::json;
use super::client::{Ask, Client, project_path};
use super::errors::{Operation, Subject};
use super::query;
use super::trail::Trail;
use crate::domain::failure::Failure;
use crate::ports::record_source::{ExportRequest, SourceError};

pub(super) const QUERY: Operation = Operation {
    name: "query of records",
    permission: Some("workspace:connections:securityList"),
    subject: Subject::Project,
};

#[derive(Deserialize)]
struct Answer {
    total_count: u64,
}

/// Asks for the number of records.
pub(super) async fn count(client: &Client, request: &ExportRequest) -> Result<u64, SourceError> {
    let mut trail = Trail::default();
    let counted = ask(client, request, &mut trail).await;
    counted.map_err(|failure| trail.blame(failure))
}

/// As [`count`], leaving its trail to the caller.
pub(super) async fn ask(client: &Client, request: &ExportRequest, trail: &mut Trail) -> Result<u64, Failure> {
    let path = project_path("v2", client.project_id(), "connections/desktops");
    let pairs = query::count_v2(request);
    let answer = client.ask(&Ask::get(&QUERY, &path, &query::borrowed(&pairs)), trail).await?;
    let answer: Answer = json(client, &QUERY, answer).await?;
    Ok(answer.total_count)
}
