//! The provider's export centre, where v3 tasks stand: created, listed, fetched from, deleted.
//!
//! The list leaves out what was downloaded unless it is asked for it, so a task that is looked for by its id is asked for
//! both ways before it counts as gone.

use std::sync::Arc;

use jiff::Timestamp;
use reqwest::{Method, Response};
use serde::Deserialize;

use super::body::json;
use super::client::{Ask, Client, Pass, project_path};
use super::errors::{Operation, Subject};
use super::query;
use super::signer::encode;
use super::trail::Trail;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::text::{ForeignText, Line};
use crate::ports::notebook::OrderId;
use crate::ports::record_source::ExportRequest;

pub(super) const CREATE: Operation =
    Operation { name: "v3 export", permission: None, subject: Subject::Project };
pub(super) const LIST: Operation = Operation {
    name: "list of export tasks",
    permission: Some("workspace:tenants:listExportTasks"),
    subject: Subject::Project,
};
pub(super) const DOWNLOAD: Operation = Operation {
    name: "download of an export task",
    permission: Some("workspace:tenants:exportData"),
    subject: Subject::Task,
};
pub(super) const DELETE: Operation = Operation {
    name: "deletion of export tasks",
    permission: Some("workspace:tenants:deleteExportTasks"),
    subject: Subject::Leftovers,
};

/// Tasks that one call deletes, at most. The provider takes 200.
pub(super) const MOST_DELETED: usize = 100;

/// How a task is getting on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// The provider makes the file.
    Making,
    /// Its status is one that this version does not know, this one.
    Unknown(ForeignText),
    /// The file is there.
    Ready {
        /// Since when, by the provider's clock, where it says so.
        since: Option<Timestamp>,
    },
    /// It comes to nothing, for this reason.
    Failed(Line),
}

/// The centre of one project.
pub(super) struct ExportCentre(pub(super) Arc<Client>);

#[derive(Deserialize)]
struct Created {
    task_id: String,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    export_tasks: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    task_id: String,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    fail_reason: Option<String>,
    #[serde(default)]
    error_code: Option<String>,
    #[serde(default)]
    end_time: Option<String>,
}

impl ExportCentre {
    /// Asks for a task, now, and once: each time makes another one.
    pub(super) async fn create(
        &self,
        pass: &Pass,
        request: &ExportRequest,
        trail: &mut Trail,
    ) -> Result<OrderId, Failure> {
        let path = project_path("v3", self.0.project_id(), "desktops/connections/export");
        let pairs = query::export_v3(request);
        let answer =
            self.0.ask_with(pass, &Ask::get(&CREATE, &path, &query::borrowed(&pairs)), trail).await?;
        let created: Created = json(&self.0, &CREATE, answer).await?;
        created.task_id.parse().map_err(|error| {
            let message =
                format!("{} answered the {} without a usable id: {error}", self.0.host(), CREATE.name);
            Failure::new(FailureKind::Corrupt, Scope::Window, message)
        })
    }

    /// How a task is getting on; `None` when it is not there.
    pub(super) async fn progress(
        &self,
        task: &OrderId,
        trail: &mut Trail,
    ) -> Result<Option<Progress>, Failure> {
        for downloaded in ["false", "true"] {
            let pairs = [("task_id", task.as_str()), ("is_download", downloaded)];
            let items = self.list(&pairs, trail).await?;
            if let Some(item) = items.into_iter().find(|item| item.task_id == task.as_str()) {
                return Ok(Some(item.progress()));
            }
        }
        Ok(None)
    }

    /// Asks for a task's file.
    pub(super) async fn download(&self, task: &OrderId, trail: &mut Trail) -> Result<Response, Failure> {
        let path = self.path(&format!("/{}/download", encode(task.as_str())));
        self.0.ask(&Ask::get(&DOWNLOAD, &path, &[]), trail).await
    }

    /// Asks for the first task of the list: a cheap request that shows whether the list may be read.
    pub(super) async fn first(&self, trail: &mut Trail) -> Result<(), Failure> {
        self.list(&[("is_download", "false"), ("offset", "0"), ("limit", "1")], trail).await.map(|_| ())
    }

    /// Deletes tasks; those that are not there are no error.
    pub(super) async fn delete(&self, tasks: &[OrderId], trail: &mut Trail) -> Result<(), Failure> {
        let path = self.path("/batch-delete");
        let ids: Vec<_> = tasks.iter().map(OrderId::as_str).collect();
        let body = serde_json::json!({ "task_ids": ids }).to_string().into_bytes();
        let ask = Ask { operation: &DELETE, method: Method::POST, path: &path, query: &[], body };
        self.0.ask(&ask, trail).await.map(|_| ())
    }

    async fn list(&self, pairs: &[(&str, &str)], trail: &mut Trail) -> Result<Vec<Item>, Failure> {
        let path = self.path("");
        let answer = self.0.ask(&Ask::get(&LIST, &path, pairs), trail).await?;
        let list: List = json(&self.0, &LIST, answer).await?;
        Ok(list.export_tasks)
    }

    fn path(&self, rest: &str) -> String {
        project_path("v2", self.0.project_id(), &format!("export-tasks{rest}"))
    }
}

impl Item {
    fn progress(self) -> Progress {
        match self.status.as_deref() {
            Some("SUCCESS") => Progress::Ready { since: self.end_time.as_deref().and_then(instant) },
            Some("FAIL") => {
                let reason = self.fail_reason.map(ForeignText::new).filter(|text| !text.is_empty());
                let code = self.error_code.map(ForeignText::new).filter(|text| !text.is_empty());
                let said: Vec<_> = code.into_iter().chain(reason).map(String::from).collect();
                let said = if said.is_empty() { "no reason given".to_owned() } else { said.join(", ") };
                Progress::Failed(format!("the provider could not make the file ({said})").into())
            }
            Some("EXPIRED") => Progress::Failed("its file was kept no longer".into()),
            Some("CREATING") | None => Progress::Making,
            Some(other) => Progress::Unknown(ForeignText::new(other)),
        }
    }
}

/// `yyyy-MM-dd'T'HH:mm:ss.SSSZ`, where the `Z` may be itself or, as that notation has it, an offset.
fn instant(text: &str) -> Option<Timestamp> {
    let offset = |text| Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text);
    text.parse().or_else(|_| offset(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(json: &str) -> Item {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn times_are_read_with_a_z_and_with_an_offset() {
        let expected: Timestamp = "2026-11-23T12:00:00.5Z".parse().unwrap();
        for text in
            ["2026-11-23T12:00:00.500Z", "2026-11-23T20:00:00.500+0800", "2026-11-23T20:00:00.500+08:00"]
        {
            assert_eq!(instant(text), Some(expected), "{text}");
        }
        assert_eq!(instant("yesterday"), None);
    }

    #[test]
    fn what_a_task_says_of_itself_is_told_in_one_line() {
        let failed =
            item(r#"{"task_id":"a","status":"FAIL","fail_reason":"no\nspace","error_code":"WKS.1"}"#);
        let Progress::Failed(said) = failed.progress() else { panic!("not failed") };
        assert_eq!(said, "the provider could not make the file (WKS.1, no space)");
        assert_eq!(item(r#"{"task_id":"a","status":"CREATING"}"#).progress(), Progress::Making);
        let unknown = item(r#"{"task_id":"a","status":"QUE\u001bUED"}"#).progress();
        assert_eq!(unknown, Progress::Unknown(ForeignText::new("QUE UED")));
    }
}
