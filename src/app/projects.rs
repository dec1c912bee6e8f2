//! Project ids that the configuration leaves out.
//!
//! What a stream was opened with says which project it is of, for ever: so it is looked for there first, and a start needs
//! no identity service. Only a source whose streams are all new is looked up by its region.

use std::sync::Arc;

use crate::config::{Config, ProjectId, Source};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::name::SourceName;
use crate::domain::snapshot::Snapshot;
use crate::ports::clock::Clock;

use super::compose;
use super::start_error::StartError;

/// The configuration with the project id of every source.
///
/// # Errors
/// When one can be found nowhere.
pub async fn resolved(
    config: &Config,
    clock: &Arc<dyn Clock>,
    snapshot: &Snapshot,
) -> Result<Config, StartError> {
    let mut resolved = config.clone();
    for (name, source) in &mut resolved.sources {
        if source.project_id.is_some() {
            continue;
        }
        let id = match known(config, name, source, snapshot) {
            Some(id) => id,
            None => {
                let id = look_up(name, source, clock).await?;
                tracing::info!(source = %name, project_id = id.as_str(), "project found by its region");
                id
            }
        };
        source.project_id = Some(id);
    }
    Ok(resolved)
}

/// What a stream of the source was opened with.
fn known(config: &Config, name: &SourceName, source: &Source, snapshot: &Snapshot) -> Option<ProjectId> {
    let of_source = config.streams.iter().filter(|(_, stream)| stream.source == *name);
    let mut opened = of_source.filter_map(|(stream, _)| Some(&snapshot.streams.get(stream)?.definition));
    let definition = opened.find(|definition| definition.region == source.region.as_str())?;
    definition.project_id.parse().ok()
}

async fn look_up(
    name: &SourceName,
    source: &Source,
    clock: &Arc<dyn Clock>,
) -> Result<ProjectId, StartError> {
    let found = compose::project_id(source, clock).await;
    let id =
        found.map_err(|failure| StartError::from_failure(&format!("sources.{name}.project_id"), &failure))?;
    id.parse().map_err(|error| {
        let message = format!("{} gave the project id {id:?}: {error}", source.iam_endpoint);
        let failure = Failure::new(FailureKind::Corrupt, Scope::Source, message);
        StartError::from_failure(&format!("sources.{name}.project_id"), &failure)
    })
}
