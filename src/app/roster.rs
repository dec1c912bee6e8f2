//! The streams that can be worked on, and those that cannot yet because the project of their source is not known.
//!
//! It only grows, while the run goes on: whoever works on a stream is not disturbed by another one that joins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::RwLock;

use crate::config::{Config, ProjectId, Source};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::name::{SourceName, StreamName};
use crate::domain::verdict::StreamRules;
use crate::ports::record_source::RecordSource;

use super::compose::{self, Injected, Parts, Sources, Streams};
use super::start_error::StartError;
use super::stream::Stream;

/// Every stream of the configuration.
pub struct Roster {
    /// With the project ids that are known from the start.
    config: Config,
    parts: Parts,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    sources: Sources,
    streams: Streams,
    /// Of every stream.
    rules: BTreeMap<StreamName, StreamRules>,
}

impl Known {
    fn put(&mut self, stream: Arc<Stream>) {
        self.rules.insert(stream.name().clone(), stream.rules.clone());
        self.streams.insert(stream.name().clone(), stream);
    }
}

impl Roster {
    /// The streams of `config`, which has the project ids that are known.
    ///
    /// # Errors
    /// When a source cannot be set up.
    pub fn new(config: Config, parts: Parts) -> Result<Self, StartError> {
        let mut settled = config.clone();
        settled.sources.retain(|_, source| source.project_id.is_some());
        let sources = parts.sources(&settled)?;
        let streams = parts.streams(&config, &sources);
        let rules = compose::rules(&config).into_iter().map(|rules| (rules.name.clone(), rules)).collect();
        Ok(Self { config, parts, known: RwLock::new(Known { sources, streams, rules }) })
    }

    /// The streams that can be worked on.
    pub fn streams(&self) -> Streams {
        self.known.read().streams.clone()
    }

    /// One of them.
    pub fn stream(&self, name: &StreamName) -> Option<Arc<Stream>> {
        self.known.read().streams.get(name).cloned()
    }

    /// A source that can be asked.
    pub fn source(&self, name: &SourceName) -> Option<Arc<dyn RecordSource>> {
        self.known.read().sources.get(name).cloned()
    }

    /// The sources that can be asked.
    pub fn sources(&self) -> Sources {
        self.known.read().sources.clone()
    }

    /// The rules of every stream, whether or not it can be worked on.
    pub fn rules(&self) -> Vec<StreamRules> {
        self.known.read().rules.values().cloned().collect()
    }

    /// Sources that streams wait for, because their project is not known.
    pub fn unknown(&self) -> BTreeSet<SourceName> {
        let known = self.known.read();
        let waiting = known.rules.values().filter(|rules| !known.sources.contains_key(&rules.source));
        waiting.map(|rules| rules.source.clone()).collect()
    }

    /// What is configured of a source, and what it is to be asked with.
    pub fn settings(&self, name: &SourceName) -> Option<(&Source, &Injected)> {
        Some((self.config.sources.get(name)?, &self.parts.injected))
    }

    /// Takes up the streams of a source whose project is found; one that is known stays as it is, with all that it has seen.
    ///
    /// # Errors
    /// When the source cannot be set up with it.
    pub fn take_up(&self, name: &SourceName, id: &ProjectId) -> Result<(), Failure> {
        let mut alone = self.config.clone();
        alone.sources.retain(|other, _| other == name);
        alone.streams.retain(|_, stream| stream.source == *name);
        alone.sources.values_mut().for_each(|source| source.project_id = Some(id.clone()));
        let sources = self
            .parts
            .sources(&alone)
            .map_err(|error| Failure::new(FailureKind::Rejected, Scope::Source, error.to_string()))?;
        let streams = self.parts.streams(&alone, &sources);
        let mut known = self.known.write();
        if !known.sources.contains_key(name) {
            known.sources.extend(sources);
            streams.into_values().for_each(|stream| known.put(stream));
        }
        Ok(())
    }

    /// Has a stream worked on, in place of the one of its name.
    pub fn put(&self, stream: Arc<Stream>) {
        self.known.write().put(stream);
    }
}
