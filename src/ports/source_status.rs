//! What a source can say of itself without being asked, for `status` and the status page.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::name::SourceName;
use crate::domain::snapshot::Notes;

/// What a source can say of itself without being asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Which source.
    pub source: SourceName,
    /// The API that exports go through now, in a word.
    #[serde(rename = "in_use")]
    pub way: String,
    /// What only this kind of source has: more members of the JSON object.
    #[serde(flatten)]
    pub facts: serde_json::Map<String, serde_json::Value>,
    /// What an operator should know of it, in a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}

/// What all sources can say of themselves, by the notes of the ledger.
pub type SourceStatuses = Arc<dyn Fn(&Notes) -> Vec<SourceStatus> + Send + Sync>;

impl SourceStatus {
    /// What [`Self::cells`] are called.
    pub const COLUMNS: [&str; 3] = ["source", "API", "notice"];

    /// For people.
    pub fn cells(&self) -> [String; 3] {
        [self.source.to_string(), self.way.clone(), self.notice.clone().unwrap_or_default()]
    }
}
