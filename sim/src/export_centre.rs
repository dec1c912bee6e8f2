//! The v3 export and the export centre: tasks created, listed, fetched, deleted.

use axum::http::{StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    answer::{Answer, Payload},
    bulk,
    connections::{Failure, extension, rendered, select},
    instant,
    records::Record,
    selection::{BadRequest, Page, Selection, parameter},
    server::Shared,
    tasks::{Entry, Fate, Order, TaskStatus},
};

/// How long the provider keeps records, unless the simulator is told otherwise.
const HORIZON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Creates a task; its file holds the records as of now, `omitted` short.
pub(crate) async fn create(
    shared: &Shared,
    pairs: &[(String, String)],
    now: Timestamp,
    omitted: u64,
) -> Result<Answer, Failure> {
    let selection = Selection::read_v3(pairs)?;
    within_horizon(shared, &selection, now)?;
    let rtt = Rtt::read(pairs)?;
    let file = if shared.bulk_rows.is_some() {
        None
    } else {
        let mut records = select(shared, &selection, now, omitted);
        records.retain(|record| rtt.admits(record));
        Some(rendered(shared, records, selection.language, now).await?.into())
    };
    let id = shared.tasks.create(Order {
        created: now,
        bounds: selection.window,
        extension: extension(shared),
        polls: shared.task_polls,
        lag: shared.task_lag,
        file,
        pairs: pairs.to_vec(),
    });
    Ok(Answer::json(StatusCode::OK, &json!({ "task_id": id })))
}

fn within_horizon(shared: &Shared, selection: &Selection, now: Timestamp) -> Result<(), BadRequest> {
    let horizon =
        shared.horizon.and_then(|horizon| SignedDuration::try_from(horizon).ok()).unwrap_or(HORIZON);
    let Ok(oldest) = now.checked_sub(horizon) else { return Ok(()) };
    let fits = |at: Timestamp| oldest <= at && at <= now;
    match selection.window {
        Some((start, end)) if !fits(start) || !fits(end) => Err(BadRequest(
            "start_time and end_time must lie within the time for which records are kept".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// The bounds of the end-to-end delay, in milliseconds.
struct Rtt(u32, u32);

impl Rtt {
    fn read(pairs: &[(String, String)]) -> Result<Self, BadRequest> {
        let number = |name, default| match parameter(pairs, name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| BadRequest(format!("{name} must be a number"))),
        };
        Ok(Self(number("min_e2e_rtt", 0)?, number("max_e2e_rtt", u32::MAX)?))
    }

    fn admits(&self, record: &Record) -> bool {
        let unbounded = self.0 == 0 && self.1 == u32::MAX;
        unbounded || record.e2e_rtt.is_some_and(|rtt| self.0 <= rtt && rtt <= self.1)
    }
}

/// The list of tasks.
pub(crate) fn list(shared: &Shared, pairs: &[(String, String)], now: Timestamp) -> Result<Answer, Failure> {
    let Page { offset, limit } = Page::read(pairs)?;
    if limit == 0 {
        return Err(BadRequest("limit must be 1 to 100".to_owned()).into());
    }
    let downloaded = match parameter(pairs, "is_download") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(BadRequest("is_download must be true or false".to_owned()).into()),
    };
    if parameter(pairs, "sort_field").is_some_and(|field| field != "create_time") {
        return Err(BadRequest("sort_field must be create_time".to_owned()).into());
    }
    let ascending = match parameter(pairs, "sort_type") {
        None | Some("DESC") => false,
        Some("ASC") => true,
        Some(_) => return Err(BadRequest("sort_type must be ASC or DESC".to_owned()).into()),
    };
    let (id, name) = (parameter(pairs, "task_id"), parameter(pairs, "file_name"));
    let status = parameter(pairs, "status");
    let mut items = shared.tasks.list(
        now,
        |task| {
            task.downloaded == downloaded
                && id.is_none_or(|id| task.id == id)
                && name.is_none_or(|name| task.file_name.contains(name))
        },
        |entry| (entry.task.created, entry.task.status, item(entry)),
    );
    items.retain(|(_, is, _)| status.is_none_or(|wanted| is.name() == wanted));
    items.sort_by_key(|(created, _, _)| *created);
    if !ascending {
        items.reverse();
    }
    let count = items.len();
    let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
    // A page has at most 100 tasks.
    let page: Vec<Value> =
        items.into_iter().skip(skipped).take(limit as usize).map(|(_, _, item)| item).collect();
    Ok(Answer::json(StatusCode::OK, &json!({ "export_tasks": page, "count": count })))
}

fn item(entry: &Entry) -> Value {
    let task = &entry.task;
    let mut item = json!({
        "task_id": task.id,
        "file_name": task.file_name,
        "status": task.status.name(),
        "create_time": instant::millis(task.created),
        "is_download": task.downloaded,
    });
    if let Some(finished) = entry.finished {
        item["end_time"] = json!(instant::millis(finished));
    }
    if let (TaskStatus::Fail, Fate::Fail { error_code, reason }) = (task.status, &entry.fate) {
        item["error_code"] = json!(error_code);
        item["fail_reason"] = json!(reason);
    }
    item
}

/// What came of the wish for a task's file.
enum Fetched {
    File(Option<bytes::Bytes>, Vec<(String, String)>, String),
    Gone,
    NotReady,
}

/// A task's file; `None` where there is no such task, or its file is gone.
pub(crate) fn download(shared: &Shared, id: &str, omitted: u64) -> Result<Option<Answer>, Failure> {
    let fetched = shared.tasks.with(id, |entry| {
        if entry.fate == Fate::ExpiresOnDownload && entry.task.status == TaskStatus::Success {
            entry.task.status = TaskStatus::Expired;
            return Fetched::Gone;
        }
        if entry.task.status != TaskStatus::Success {
            return Fetched::NotReady;
        }
        entry.task.downloaded = true;
        Fetched::File(entry.file.clone(), entry.pairs.clone(), entry.task.file_name.clone())
    });
    let (file, pairs, name) = match fetched {
        None | Some(Fetched::Gone) => return Ok(None),
        Some(Fetched::NotReady) => return Err(BadRequest("the task has no file".to_owned()).into()),
        Some(Fetched::File(file, pairs, name)) => (file, pairs, name),
    };
    let payload = match (file, shared.bulk_rows) {
        (Some(file), _) if shared.chunked => Payload::Streamed(Payload::Whole(file).into_stream()),
        (Some(file), _) => Payload::Whole(file),
        (None, rows) => {
            let selection = Selection::read_v3(&pairs)?;
            let rows = bulk::rows_within(rows.unwrap_or_default(), &selection).saturating_sub(omitted);
            let stream = bulk::csv(rows, &selection).map_err(|error| Failure::Internal(error.into()))?;
            Payload::Streamed(stream)
        }
    };
    let answer = Answer::new(StatusCode::OK, &shared.content_type, payload);
    Ok(Some(answer.with_header(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""))))
}

/// Deletes tasks. Ids that nobody knows are passed over, unless the simulator is told to refuse them.
pub(crate) fn delete(shared: &Shared, body: &[u8]) -> Result<Answer, Failure> {
    #[derive(Deserialize)]
    struct Body {
        task_ids: Vec<String>,
    }
    let body: Body = serde_json::from_slice(body)
        .map_err(|error| BadRequest(format!("the body must hold task_ids: {error}")))?;
    if !shared.tasks.delete(&body.task_ids) {
        return Err(BadRequest("task_ids must be those of tasks that are not being made".to_owned()).into());
    }
    Ok(Answer::json(StatusCode::OK, &json!({})))
}
