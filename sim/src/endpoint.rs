//! Which operation a path means.

use std::{fmt, str::FromStr};

use crate::uri;

/// An operation of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Endpoint {
    /// `GET /v2/{project_id}/connections/desktops/export`
    Export,
    /// `GET /v2/{project_id}/connections/desktops`
    Query,
    /// A path that the simulator does not know.
    Unknown,
}

impl Endpoint {
    /// The operation behind a path as it stands on the wire, and the project it is asked of.
    pub(crate) fn of_path(path: &str) -> (Self, Option<String>) {
        // The canonical form ends with a slash; without it, both forms of a path are the same.
        let canonical = uri::canonical_path(path);
        let segments: Vec<&str> = canonical.trim_matches('/').split('/').collect();
        match segments[..] {
            ["v2", project, "connections", "desktops", "export"] => (Self::Export, Some(project.to_owned())),
            ["v2", project, "connections", "desktops"] => (Self::Query, Some(project.to_owned())),
            _ => (Self::Unknown, None),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::Query => "query",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Export, Self::Query, Self::Unknown]
            .into_iter()
            .find(|endpoint| endpoint.name() == text)
            .ok_or_else(|| format!("no endpoint is called `{text}`: export, query or unknown"))
    }
}
