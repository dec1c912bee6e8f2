//! Which operation a path means.

use std::{fmt, str::FromStr};

use axum::http::Method;

use crate::uri;

/// An operation of the API, or of what stands beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Endpoint {
    /// `GET /v2/{project_id}/connections/desktops/export`
    Export,
    /// `GET /v2/{project_id}/connections/desktops`
    Query,
    /// `GET /v3/{project_id}/desktops/connections/export`
    CreateTask,
    /// `GET /v2/{project_id}/export-tasks`
    ListTasks,
    /// `GET /v2/{project_id}/export-tasks/{task_id}/download`
    Download,
    /// `POST /v2/{project_id}/export-tasks/batch-delete`
    DeleteTasks,
    /// `POST /v3/auth/tokens`
    IamTokens,
    /// `GET /v3/projects`
    IamProjects,
    /// `PUT /meta-data/latest/api/token`
    MetadataToken,
    /// `GET /openstack/latest/securitykey`
    SecurityKey,
    /// A path that the simulator does not know.
    Unknown,
}

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    /// The project that it is asked of.
    pub(crate) project: Option<String>,
    /// The task that it is about.
    pub(crate) task: Option<String>,
}

impl Endpoint {
    const NAMES: [(Self, &'static str); 11] = [
        (Self::Export, "export"),
        (Self::Query, "query"),
        (Self::CreateTask, "create-task"),
        (Self::ListTasks, "list-tasks"),
        (Self::Download, "download"),
        (Self::DeleteTasks, "delete-tasks"),
        (Self::IamTokens, "iam-tokens"),
        (Self::IamProjects, "iam-projects"),
        (Self::MetadataToken, "metadata-token"),
        (Self::SecurityKey, "security-key"),
        (Self::Unknown, "unknown"),
    ];

    /// The only method that it answers to.
    pub(crate) fn method(self) -> Method {
        match self {
            Self::DeleteTasks | Self::IamTokens => Method::POST,
            Self::MetadataToken => Method::PUT,
            _ => Method::GET,
        }
    }

    /// Whether requests show who they are from. The gateway looks a path up before it looks at the signature.
    pub(crate) fn is_guarded(self) -> bool {
        !matches!(self, Self::IamTokens | Self::MetadataToken | Self::SecurityKey | Self::Unknown)
    }

    fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(endpoint, _)| *endpoint == self);
        named.map_or("unknown", |(_, name)| name)
    }
}

impl Target {
    /// What a path as it stands on the wire names.
    pub(crate) fn of_path(path: &str) -> Self {
        // The canonical form ends with a slash; without it, both forms of a path are the same.
        let canonical = uri::canonical_path(path);
        let segments: Vec<&str> = canonical.trim_matches('/').split('/').collect();
        let (endpoint, project, task) = match segments[..] {
            ["v2", project, "connections", "desktops", "export"] => (Endpoint::Export, Some(project), None),
            ["v2", project, "connections", "desktops"] => (Endpoint::Query, Some(project), None),
            ["v3", project, "desktops", "connections", "export"] => {
                (Endpoint::CreateTask, Some(project), None)
            }
            ["v2", project, "export-tasks"] => (Endpoint::ListTasks, Some(project), None),
            ["v2", project, "export-tasks", "batch-delete"] => (Endpoint::DeleteTasks, Some(project), None),
            ["v2", project, "export-tasks", task, "download"] => {
                (Endpoint::Download, Some(project), Some(task))
            }
            ["v3", "auth", "tokens"] => (Endpoint::IamTokens, None, None),
            ["v3", "projects"] => (Endpoint::IamProjects, None, None),
            ["meta-data", "latest", "api", "token"] => (Endpoint::MetadataToken, None, None),
            ["openstack", "latest", "securitykey"] => (Endpoint::SecurityKey, None, None),
            _ => (Endpoint::Unknown, None, None),
        };
        Self { endpoint, project: project.map(str::to_owned), task: task.map(str::to_owned) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads the name that [`Endpoint`] is shown under: a fault script's, such as `create-task`.
impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::NAMES.iter().find(|(_, name)| *name == text);
        named.map(|(endpoint, _)| *endpoint).ok_or_else(|| {
            let names: Vec<_> = Self::NAMES.iter().map(|(_, name)| *name).collect();
            format!("no endpoint is called `{text}`: {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_is_read_by_the_name_that_it_is_shown_under() {
        for (endpoint, name) in Endpoint::NAMES {
            assert_eq!((endpoint.to_string().as_str(), name.parse()), (name, Ok(endpoint)));
        }
    }

    #[test]
    fn deleting_is_not_taken_for_a_task_of_that_name() {
        let of = |path: &str| Target::of_path(path);
        assert_eq!(of("/v2/p/export-tasks/batch-delete").endpoint, Endpoint::DeleteTasks);
        let download = of("/v2/p/export-tasks/t/download");
        assert_eq!((download.endpoint, download.task.as_deref()), (Endpoint::Download, Some("t")));
        assert_eq!(of("/v2/p/export-tasks/t").endpoint, Endpoint::Unknown);
        assert_eq!(of("/v3/p/export-tasks").endpoint, Endpoint::Unknown);
    }
}
