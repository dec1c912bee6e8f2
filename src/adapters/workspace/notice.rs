//! Which export API a source is asked through, for `status` and the status page: from the configuration and the notebook alone.

use serde_json::json;

use crate::domain::export::{ApiChoice, ExportApi};
use crate::domain::name::SourceName;
use crate::domain::snapshot::{Note, Notes};
use crate::domain::verdict::Answers;
use crate::ports::source_status::SourceStatus;

/// The topic under which a source notes that the provider has withdrawn the v2 export.
pub const V2_WITHDRAWN: &str = "v2_withdrawn";

/// What `source`, of which `api` is configured, can say of itself by `notes`.
pub fn status(source: &SourceName, api: ApiChoice, notes: &Notes) -> SourceStatus {
    let (withdrawal, in_use) = (withdrawal(source, notes), in_use(source, api, notes));
    let mut facts = serde_json::Map::new();
    facts.insert("api".to_owned(), json!(api));
    if let Some(withdrawal) = withdrawal {
        facts.insert(V2_WITHDRAWN.to_owned(), json!(withdrawal));
    }
    SourceStatus {
        source: source.clone(),
        way: in_use.as_str().to_owned(),
        facts,
        notice: notice(api, withdrawal),
    }
}

/// The API that exports of `source` go through now.
pub fn in_use(source: &SourceName, api: ApiChoice, notes: &Notes) -> ExportApi {
    api.in_use(withdrawal(source, notes).is_some())
}

/// Whether exports of windows past the horizon are answered: v3 refuses such bounds.
pub fn answers_past_horizon(api: ApiChoice) -> Answers {
    match api {
        ApiChoice::V2 => Answers::Always,
        ApiChoice::V3 => Answers::Never,
        ApiChoice::Auto => Answers::UntilNoted(V2_WITHDRAWN),
    }
}

fn withdrawal<'n>(source: &SourceName, notes: &'n Notes) -> Option<&'n Note> {
    notes.get(source)?.get(V2_WITHDRAWN)
}

fn notice(api: ApiChoice, withdrawal: Option<&Note>) -> Option<String> {
    match (api, withdrawal) {
        (ApiChoice::V3, _) => None,
        (ApiChoice::Auto, Some(withdrawal)) => Some(format!(
            "the provider withdrew the v2 export: v3 is used since {:.0}; should it be there again, pull a window with \
             api = \"v2\"",
            withdrawal.at
        )),
        (ApiChoice::Auto, None) => Some(
            "the v2 export is announced as deprecated; v3 takes over by itself when it is withdrawn".to_owned(),
        ),
        (ApiChoice::V2, _) => Some(
            "the v2 export is announced as deprecated: set api = \"auto\", so that v3 can take over when it is \
             withdrawn"
                .to_owned(),
        ),
    }
}
