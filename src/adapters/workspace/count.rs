//! The independent count: `total_count` of `GET /v2/{project_id}/connections/desktops`, the query that the console asks.
//!
//! One record is asked for and thrown away; only the number counts. It comes from another operation than the export, so a
//! slip of the one is not a slip of the other.

use reqwest::Response;
use serde::Deserialize;
use tokio::time::timeout;

use super::client::{Client, project_path};
use super::errors::{Operation, broken_off};
use super::query;
use crate::adapters::remote_text::cause;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::ports::record_source::ExportRequest;

const QUERY: Operation =
    Operation { name: "query of records", permission: "to query connection records (ListLoginRecordsNew)" };
/// One page of one record is a few hundred bytes.
const ANSWER_LIMIT: usize = 1 << 20;

#[derive(Deserialize)]
struct Answer {
    total_count: u64,
}

/// Asks for the number of records.
pub(super) async fn count(
    client: &Client,
    request: &ExportRequest,
    ids: &mut Vec<String>,
) -> Result<u64, Failure> {
    let path = project_path("v2", client.project_id(), "connections/desktops");
    let pairs = query::count_v2(request);
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = read(client, client.get(&QUERY, &path, &pairs, ids).await?).await?;
    let answer: Answer = serde_json::from_slice(&body).map_err(|error| {
        let message = format!("{} answered the {} without a total_count: {error}", client.host(), QUERY.name);
        Failure::new(FailureKind::Corrupt, Scope::Window, message)
    })?;
    Ok(answer.total_count)
}

async fn read(client: &Client, mut answer: Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    loop {
        let received = body.len() as u64;
        match timeout(client.timeouts().stall, answer.chunk()).await {
            Ok(Ok(Some(piece))) if body.len() + piece.len() <= ANSWER_LIMIT => body.extend_from_slice(&piece),
            Ok(Ok(Some(_))) => {
                let message = format!("{} answered the {} with too much", client.host(), QUERY.name);
                return Err(Failure::new(FailureKind::Corrupt, Scope::Window, message));
            }
            Ok(Ok(None)) => return Ok(body),
            Ok(Err(error)) => return Err(broken_off(client.host(), received, &cause(&error))),
            Err(_) => return Err(broken_off(client.host(), received, "nothing more came")),
        }
    }
}
