//! Project ids that the configuration leaves out.
//!
//! What a stream was opened with says which project it is of, for ever: so it is looked for there first, and a start needs
//! no identity service. Only a source whose streams are all new is looked up by its region, beside all other work, whenever
//! nothing holds the source up. While that fails, it is held up like a source that does not answer, and nothing else is.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::config::{Config, ProjectId, Source};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::log_entry::Definition;
use crate::domain::name::{SourceName, StreamName};
use crate::domain::snapshot::{Resource, Snapshot};

use super::compose::{self, Injected};
use super::failure_policy::{hold_on, of_ledger};
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
        failure.message = format!("sources.{name}.project_id: {}", failure.message);
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

/// Looks up the project of a source that streams wait for, and takes them up; says what is held up no longer. What is not found
/// holds the source up.
///
/// # Errors
/// When the ledger fails.
pub async fn find(services: &Services, source: &SourceName) -> Result<Vec<Resource>, Failure> {
    let Services { roster, ledger, clock, .. } = services;
    let found = async {
        // Whoever asks has the name from there.
        let Some((settings, injected)) = roster.settings(source) else { return Ok(()) };
        roster.take_up(source, &look_up(source, settings, injected).await?)
    };
    let resource = Resource::Source(source.clone());
    let Err(failure) = found.await else {
        // Nothing else can have held it up before.
        let lifted = ledger.lift(&resource, Timestamp::MAX).await.map_err(of_ledger)?;
        return Ok(if lifted { vec![resource] } else { Vec::new() });
    };
    let snapshot = ledger.snapshot().await.map_err(of_ledger)?;
    let rules = roster.rules();
    if let Some(rules) = rules.iter().find(|rules| rules.source == *source) {
        let hold = hold_on(rules, &resource, &failure, &snapshot, clock.now());
        ledger.hold(&resource, &hold).await.map_err(of_ledger)?;
    }
    Ok(Vec::new())
}
