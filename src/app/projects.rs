//! Project ids that the configuration leaves out.
//!
//! What a stream was opened with says which project it is of, for ever: so it is looked for there first, and a start needs
//! no identity service. Only a source whose streams are all new is looked up by its region. While that fails, the source is
//! held up and nothing else is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, ProjectId, Source};
use crate::domain::backoff::pause;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::log_entry::Definition;
use crate::domain::name::{SourceName, StreamName};
use crate::domain::snapshot::{Resource, Snapshot};
use crate::ports::clock::Clock;
use crate::ports::ledger::{Ledger, LedgerError};

use super::compose;
use super::failure_policy::{OPERATOR_PAUSE, hold_on};

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
pub async fn resolved(config: &Config, clock: &Arc<dyn Clock>, snapshot: &Snapshot) -> Resolved {
    let mut config = known_to(snapshot, config);
    let mut unknown = BTreeMap::new();
    for (name, source) in config.sources.iter_mut().filter(|(_, source)| source.project_id.is_none()) {
        match look_up(name, source, clock).await {
            Ok(id) => {
                tracing::info!(source = %name, project_id = id.as_str(), "project found by its region");
                source.project_id = Some(id);
            }
            Err(failure) => _ = unknown.insert(name.clone(), failure),
        }
    }
    config.sources.retain(|name, _| !unknown.contains_key(name));
    config.streams.retain(|_, stream| !unknown.contains_key(&stream.source));
    Resolved { config, unknown }
}

async fn look_up(name: &SourceName, source: &Source, clock: &Arc<dyn Clock>) -> Result<ProjectId, Failure> {
    let named = |mut failure: Failure| {
        failure.message = format!("sources.{name}.project_id: {}", failure.message);
        failure
    };
    let id = compose::project_id(source, clock).await.map_err(named)?;
    id.parse().map_err(|error| {
        let message = format!("{} gave the project id {id:?}: {error}", source.iam_endpoint);
        named(Failure::new(FailureKind::Corrupt, Scope::Source, message))
    })
}

/// Holds up the sources of `config` whose project is `unknown`.
///
/// # Errors
/// When the ledger fails.
pub async fn hold_up(
    ledger: &dyn Ledger,
    config: &Config,
    unknown: &BTreeMap<SourceName, Failure>,
    clock: &Arc<dyn Clock>,
) -> Result<(), LedgerError> {
    let snapshot = ledger.snapshot().await?;
    let rules = compose::rules(config);
    for (source, failure) in unknown {
        // A source without streams holds nothing up.
        let Some(rules) = rules.iter().find(|rules| rules.source == *source) else { continue };
        let resource = Resource::Source(source.clone());
        let hold = hold_on(rules, &resource, failure, &snapshot, clock.now());
        ledger.hold(&resource, &hold).await?;
    }
    Ok(())
}

/// Ends once the project of one of the sources that are `unknown` is found. Until then they are held up.
pub async fn until_found(
    config: Config,
    mut unknown: BTreeMap<SourceName, Failure>,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
) {
    for times in 1.. {
        // A password that is wrong is not to be tried until its user is locked.
        let needs_operator = unknown.values().any(|failure| failure.kind.needs_operator());
        let least = if needs_operator { OPERATOR_PAUSE } else { Duration::ZERO };
        tokio::time::sleep(pause(times, "projects").max(least)).await;
        let found = match ledger.snapshot().await {
            Ok(snapshot) => resolved(&config, &clock, &snapshot).await.unknown,
            Err(_) => continue,
        };
        if found.len() < unknown.len() {
            return;
        }
        unknown = found;
        if let Err(error) = hold_up(&*ledger, &config, &unknown, &clock).await {
            tracing::debug!(%error, "that projects are not found is not written down; it is looked for again");
        }
    }
}
