//! What is to be verified: the streams of a configuration, or those in a folder, with no configuration at all.

use std::path::Path;
use std::sync::Arc;

use jiff::SignedDuration;

use super::Target;
use crate::adapters::directory_store::streams_in;
use crate::adapters::signature::AllowedSigners;
use crate::app::compose;
use crate::app::start_error::StartError;
use crate::config::{Config, Store as StoreConfig};
use crate::domain::name::StreamName;
use crate::ports::clock::NoAnswerWatch;

/// How long after its end a window in a folder may lack: a folder does not say how long its stream lets windows settle.
const TOLERANCE: SignedDuration = SignedDuration::from_hours(24);
/// Objects that are read at the same time from a bucket: one connection rarely fills a line.
const CONNECTIONS: usize = 8;

/// The streams of `config`, in their stores. No source is asked for anything.
///
/// # Errors
/// When a store cannot be set up.
pub fn of_config(config: &Config) -> Result<Vec<Target>, StartError> {
    let stores = compose::stores(config, &(Arc::new(NoAnswerWatch) as _))?;
    let target = |(name, stream): (&StreamName, &crate::config::Stream)| {
        let store = &stores.get(&stream.store)?.store;
        let is_folder = matches!(config.stores.get(&stream.store), Some(StoreConfig::Directory(_)));
        Some(Target {
            stream: Clone::clone(name),
            store: Arc::clone(store),
            configured: compose::definition_of(config, name),
            tolerance: stream.settle.saturating_add(stream.deadline),
            readers: if is_folder { readers() } else { CONNECTIONS },
        })
    };
    // The configuration is checked: every stream's store is in it.
    Ok(config.streams.iter().filter_map(target).collect())
}

/// The streams in a folder.
///
/// # Errors
/// When there is none.
pub fn of_folder(folder: &Path) -> Result<Vec<Target>, StartError> {
    let streams = streams_in(folder).map_err(|error| StartError::config(format!("--dir: {error}")))?;
    let target = |(stream, store)| Target {
        stream,
        store: Arc::new(store),
        configured: None,
        tolerance: TOLERANCE,
        readers: readers(),
    };
    Ok(streams.into_iter().map(target).collect())
}

/// Files that are hashed at the same time: at least two, so that one is read while the other is hashed.
fn readers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8)
}

/// Whose signatures count, by a file.
///
/// # Errors
/// When it cannot be read, or a line of it is wrong.
pub fn signers(path: &Path) -> Result<AllowedSigners, StartError> {
    let failed = |e: String| StartError::config(format!("--allowed-signers: {}: {e}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
    AllowedSigners::parse(&text).map_err(|e| failed(e.to_string()))
}
