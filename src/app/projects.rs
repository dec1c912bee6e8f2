//! Project ids that the configuration leaves out.
//!
//! What a stream was opened with says which project it is of, for ever: so it is looked for there first, and a start needs
//! no identity service. Only a source whose streams are all new is looked up by its region, beside all other work, whenever
//! nothing holds the source up. While that fails, it is held up like a source that does not answer, and nothing else is.

use std::collections::BTreeMap;

use crate::config::{Config, ProjectId, Source};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::log_entry::Definition;
use crate::domain::name::{SourceName, StreamName};
use crate::domain::snapshot::{Resource, Snapshot};
use crate::domain::verdict::StreamRules;

use super::compose::{self, Injected};
use super::services::Services;

/// A configuration whose sources all have their project ids, and what it lacks for that.
pub struct Resolved {
    /// Without the sources, and the streams of sources, whose project cannot be found.
    pub config: Config,
    /// Why not.
    pub unknown: BTreeMap<SourceName, Failure>,
}

/// The configuration with the project ids that `definition` tells of streams that were opened before.
pub fn known<'d>(config: &Config, definition: impl Fn(&StreamName) -> Option<&'d Definition>) -> Config {
    let mut filled = config.clone();
    for (name, source) in &mut filled.sources {
        let of_source = config.streams.iter().filter(|(_, stream)| stream.source == *name);
        let mut opened = of_source.filter_map(|(stream, _)| definition(stream));
        let opened = opened.find(|definition| definition.region == source.region.as_str());
        let known = opened.and_then(|definition| definition.project_id.parse().ok());
        source.project_id = source.project_id.take().or(known);
    }
    filled
}

/// As [`known`], by what the ledger knows.
pub fn known_to(snapshot: &Snapshot, config: &Config) -> Config {
    known(config, |stream| snapshot.streams.get(stream).map(|state| &state.definition))
}

/// The configuration with the project id of every source, as far as it can be found.
pub async fn resolved(config: &Config, injected: &Injected, snapshot: &Snapshot) -> Resolved {
    let mut config = known_to(snapshot, config);
    let mut unknown = BTreeMap::new();
    for (name, source) in config.sources.iter_mut().filter(|(_, source)| source.project_id.is_none()) {
        match look_up(name, source, injected).await {
            Ok(id) => source.project_id = Some(id),
            Err(failure) => _ = unknown.insert(name.clone(), failure),
        }
    }
    config.sources.retain(|name, _| !unknown.contains_key(name));
    config.streams.retain(|_, stream| !unknown.contains_key(&stream.source));
    Resolved { config, unknown }
}

/// The project id of a source, by its region.
///
/// # Errors
/// When it is not found.
pub async fn look_up(name: &SourceName, source: &Source, injected: &Injected) -> Result<ProjectId, Failure> {
    let named = |mut failure: Failure| {
        failure.message = failure.message.at(&format!("sources.{name}.project_id"));
        failure
    };
    let text = compose::project_id(source, injected).await.map_err(named)?;
    let id: ProjectId = text.parse().map_err(|error| {
        let message = format!("{} gave the project id {text:?}: {error}", source.iam_endpoint);
        named(Failure::new(FailureKind::Corrupt, Scope::Source, message))
    })?;
    tracing::info!(source = %name, project_id = id.as_str(), "project found by its region");
    Ok(id)
}

/// What came of a look for a project.
pub enum Looked {
    /// It was found, and these are held up no longer.
    Found(Vec<Resource>),
    /// It was not found, which holds the source up.
    NotFound(Failure),
    /// Nobody was asked: it is known, or not to be asked for now.
    NotAsked,
}

/// Looks up the project of a source that streams wait for, and takes them up.
///
/// # Errors
/// When the ledger fails.
pub async fn find(services: &Services, source: &SourceName) -> Result<Looked, Failure> {
    let Services { roster, ledger, clock, .. } = services;
    let rules = roster.rules().into_iter().find(|rules| rules.source == *source);
    // Whoever asks has the name from there.
    let (Some(rules), Some((settings, injected))) = (rules, roster.settings(source)) else {
        return Ok(Looked::NotAsked);
    };
    // The plan that asks may be older than the last look.
    let snapshot = ledger.snapshot().await?;
    if roster.source(source).is_some() || rules.source_held_by(&snapshot, clock.now()).is_some() {
        return Ok(Looked::NotAsked);
    }
    let found = async { roster.take_up(source, &look_up(source, settings, injected).await?) };
    if let Err(failure) = found.await {
        services.hold_up(&Resource::Source(source.clone()), &failure).await?;
        return Ok(Looked::NotFound(failure));
    }
    // Its settings are others now, for those who only look as well.
    let fingerprints = roster.rules().iter().flat_map(StreamRules::recorded).collect();
    ledger.record_fingerprints(&fingerprints).await?;
    let (resource, mut lifted) = (Resource::Source(source.clone()), Vec::new());
    let snapshot = ledger.snapshot().await?;
    // One that was placed under the project's id says nothing of the search for it.
    let hold = snapshot.holds.get(&resource).filter(|hold| hold.fingerprint == rules.fingerprints.source);
    if let Some(hold) = hold
        && ledger.lift(&resource, hold.until).await?
    {
        lifted.push(resource);
    }
    Ok(Looked::Found(lifted))
}
