//! The composition root: from a configuration to adapters behind ports. The only place that knows all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::adapters::directory_store::DirectoryStore;
use crate::adapters::inspect::{Inspector, Reader};
use crate::adapters::least_rate::LeastRate;
use crate::adapters::s3_store::{self, CreateOnlySetting, S3Settings, S3Store, StoreKeys};
use crate::adapters::spool::definition_digest;
use crate::adapters::workspace::agency::AgencyKeys;
use crate::adapters::workspace::api_choice::Workspace;
use crate::adapters::workspace::credentials::{AccessKeys, Credentials as SourceCredentials, FileKeys};
use crate::adapters::workspace::export_v3::V3Parts;
use crate::adapters::workspace::iam::{Iam, TokenLogin, TokenScope, User};
use crate::adapters::workspace::logins::IdentityMemory;
use crate::adapters::workspace::notice;
use crate::adapters::workspace::probe::SourceProbe;
use crate::adapters::workspace::{Project, Timeouts, WorkspaceSettings};
use crate::config::{
    AkSk, Config, CreateOnlyMode, Credentials, DirectoryStore as DirectoryConfig, ReadbackMode,
    S3Store as S3Config, Source, Sse, Store as StoreConfig, Stream as StreamConfig, TokenUser, WrittenConfig,
};
use crate::domain::calendar::Calendar;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::lock::{LockPolicy, Retain};
use crate::domain::log_entry::{Definition, Writer};
use crate::domain::message::Message;
use crate::domain::name::{SourceName, StoreName, StreamName};
use crate::domain::snapshot::{Fingerprint, Resource, Snapshot};
use crate::domain::verdict::{Fingerprints, StreamRules};
use crate::ports::checkpoint::{Checkpoint, NoCheckpoint};
use crate::ports::clock::{AnswerWatch, Clock, NoAnswerWatch};
use crate::ports::ledger::Ledger;
use crate::ports::notebook::Notebook;
use crate::ports::object_store::{ObjectStore, Readback};
use crate::ports::record_source::RecordSource;
use crate::ports::source_status::SourceStatuses;

use super::clock_watch::{ClockWatch, Teller};
use super::object_locks::ObjectLocks;
use super::signing::Signing;
use super::start_error::StartError;
use super::stream::Stream;
use super::stream_log::StreamLog;

/// What is put in from outside, so that tests and the demo can say what time it is and where to stop, and what all of one process
/// share.
#[derive(Clone)]
pub struct Injected {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Told of each step.
    pub checkpoint: Arc<dyn Checkpoint>,
    /// What identity services have said.
    pub identity: IdentityMemory,
    /// Looks into exported files.
    pub inspector: Arc<dyn Inspector>,
    /// The configuration file, where there is one.
    pub written: Option<WrittenConfig>,
}

impl Default for Injected {
    /// The machine's clock, nobody who is told, nothing that was said, and the reader of this version.
    fn default() -> Self {
        Self {
            clock: Arc::new(crate::adapters::system_clock::SystemClock),
            checkpoint: Arc::new(NoCheckpoint),
            identity: IdentityMemory::default(),
            inspector: Arc::new(Reader),
            written: None,
        }
    }
}

/// A store, ready to be asked.
pub struct OpenStore {
    /// It.
    pub store: Arc<dyn ObjectStore>,
    /// How much is read back before an object counts as stored.
    pub readback: Readback,
    /// The locks that its objects are to have.
    pub lock: LockPolicy,
}

/// The rules of every stream of the configuration, by its secrets as they are now.
pub fn rules(config: &Config) -> Vec<StreamRules> {
    rules_by(config, &|resource| {
        let fingerprint = match resource {
            Resource::Stream(name) => config.stream_fingerprint(name),
            Resource::Source(name) => config.source_fingerprint(name),
            Resource::Store(name) => config.store_fingerprint(name),
            Resource::Daemon | Resource::Clock => None,
        };
        fingerprint.map(Fingerprint)
    })
}

/// As [`rules`], by what the last run recorded: no secret is read. What no run knew yet is like nothing that a run knew.
pub fn recorded_rules(config: &Config, snapshot: &Snapshot) -> Vec<StreamRules> {
    let unknown = || Fingerprint("not recorded".to_owned());
    rules_by(config, &|resource| Some(snapshot.fingerprints.get(resource).cloned().unwrap_or_else(unknown)))
}

fn rules_by(config: &Config, fingerprint: &dyn Fn(&Resource) -> Option<Fingerprint>) -> Vec<StreamRules> {
    let of = |(name, stream): (&StreamName, &StreamConfig)| {
        let source = config.sources.get(&stream.source)?;
        Some(StreamRules {
            name: name.clone(),
            source: stream.source.clone(),
            store: stream.store.clone(),
            calendar: Calendar::new(stream.timezone.clone(), stream.window),
            start: stream.start,
            settle: stream.settle,
            margin: stream.margin,
            revisit: stream.revisit.clone(),
            horizon: source.horizon,
            past_horizon: source.past_horizon,
            answers_past_horizon: notice::answers_past_horizon(source.api),
            deadline: stream.deadline,
            accept_lost_before: stream.accept_lost_before,
            fingerprints: Fingerprints {
                stream: fingerprint(&Resource::Stream(name.clone()))?,
                source: fingerprint(&Resource::Source(stream.source.clone()))?,
                store: fingerprint(&Resource::Store(stream.store.clone()))?,
            },
        })
    };
    // The configuration is checked: every stream's source and store are in it.
    config.streams.iter().filter_map(of).collect()
}

/// What each source can say of itself without being asked.
pub fn source_statuses(config: &Config) -> SourceStatuses {
    let choices: Vec<_> = config.sources.iter().map(|(name, source)| (name.clone(), source.api)).collect();
    Arc::new(move |notes| choices.iter().map(|(name, api)| notice::status(name, *api, notes)).collect())
}

/// Streams by their names.
pub type Streams = BTreeMap<StreamName, Arc<Stream>>;

/// Sources by their names.
pub type Sources = BTreeMap<SourceName, Arc<dyn RecordSource>>;

/// A source, to be asked for one thing at a time.
///
/// # Errors
/// When it cannot be set up, in words.
pub fn probe(source: &Source, injected: &Injected) -> Result<SourceProbe, String> {
    project(source, injected, Arc::new(NoAnswerWatch)).map(|project| SourceProbe::of(&project))
}

fn project(source: &Source, injected: &Injected, answers: Arc<dyn AnswerWatch>) -> Result<Project, String> {
    let id = source.project_id.as_ref().ok_or("its project_id is not known")?;
    let settings = WorkspaceSettings {
        endpoint: source.endpoint.url().clone(),
        project_id: id.as_str().to_owned(),
        requests_per_second: f64::from(source.requests_per_second.get()),
        timeouts: Timeouts {
            connect: source.connect_timeout,
            first_byte: source.first_byte_timeout,
            stall: source.stall_timeout,
            least_rate: LeastRate::per_second(source.least_rate.bytes()),
        },
        max_body: source.max_body.bytes(),
        ca_pem: source.ca_file.as_deref().map(read_certificates).transpose()?,
    };
    let clock = Arc::clone(&injected.clock);
    Project::new(&settings, credentials(source, injected)?, clock, answers).map_err(|e| e.to_string())
}

/// What requests to a source show to be let in.
fn credentials(source: &Source, injected: &Injected) -> Result<Arc<dyn SourceCredentials>, String> {
    Ok(match source.credentials.clone() {
        Credentials::AkSk(keys) => Arc::new(FileKeys::new(move || access_keys(&keys))),
        Credentials::EcsAgency(endpoint) => {
            Arc::new(AgencyKeys::new(endpoint.url().clone(), Arc::clone(&injected.clock))?)
        }
        Credentials::Token(TokenUser { domain, user: name, password }) => {
            let scope = match &source.project_id {
                Some(id) => TokenScope::ProjectId(id.as_str().to_owned()),
                None => TokenScope::ProjectName(source.region.as_str().to_owned()),
            };
            let user = User { domain, name, scope };
            let read = move || password.read().map_err(|e| e.to_string());
            Arc::new(TokenLogin::new(iam(source, injected)?, user, read, &injected.identity))
        }
    })
}

fn iam(source: &Source, Injected { clock, identity, .. }: &Injected) -> Result<Iam, String> {
    let ca_pem = source.ca_file.as_deref().map(read_certificates).transpose()?;
    let endpoint = source.iam_endpoint.url().clone();
    let iam = Iam::new(endpoint, ca_pem.as_deref(), source.connect_timeout, Arc::clone(clock), identity);
    iam.map_err(|e| e.to_string())
}

/// The id of the project that is called as the source's region, from the identity service.
///
/// # Errors
/// When it does not say, or there is not exactly one.
pub async fn project_id(source: &Source, injected: &Injected) -> Result<String, Failure> {
    let unusable = |why: String| {
        let message = Message::new("its project cannot be looked up").advise(why);
        Failure::new(FailureKind::Rejected, Scope::Source, message)
    };
    let iam = iam(source, injected).map_err(unusable)?;
    let credentials = credentials(source, injected).map_err(unusable)?;
    let found = iam.project_of(source.region.as_str(), &*credentials).await;
    found.map_err(|error| error.failure())
}

fn access_keys(keys: &AkSk) -> Result<AccessKeys, String> {
    let read = |file: &crate::config::SecretFile| file.read().map_err(|e| e.to_string());
    Ok(AccessKeys {
        access_key: read(&keys.access_key)?,
        secret_key: read(&keys.secret_key)?,
        security_token: keys.security_token.as_ref().map(read).transpose()?,
    })
}

fn read_certificates(path: &std::path::Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("ca_file {}: {e}", path.display()))
}

/// Every store that the configuration names. `answers` is told the `Date` of what they answer.
///
/// # Errors
/// When one cannot be set up.
pub fn stores(
    config: &Config,
    answers: &Arc<dyn AnswerWatch>,
) -> Result<BTreeMap<StoreName, OpenStore>, StartError> {
    let open = |(name, store): (&StoreName, &StoreConfig)| {
        let failed = |e: String| StartError::config(format!("stores.{name}: {e}"));
        let (store, readback, lock): (Arc<dyn ObjectStore>, _, _) = match store {
            StoreConfig::Directory(store) => {
                (Arc::new(directory(store)), store.readback, LockPolicy::default())
            }
            StoreConfig::S3(store) => (
                Arc::new(bucket(store, Arc::clone(answers)).map_err(failed)?),
                store.readback,
                lock_policy(store),
            ),
        };
        Ok((name.clone(), OpenStore { store, readback: readback_of(readback), lock }))
    };
    config.stores.iter().map(open).collect()
}

fn readback_of(mode: ReadbackMode) -> Readback {
    match mode {
        ReadbackMode::Full => Readback::Full,
        ReadbackMode::Metadata => Readback::Metadata,
    }
}

fn lock_policy(store: &S3Config) -> LockPolicy {
    let retain = store.object_lock.map(|lock| Retain { mode: lock.mode, period: lock.retain });
    LockPolicy { retain, legal_hold: store.legal_hold }
}

/// A directory as a store.
pub fn directory(store: &DirectoryConfig) -> DirectoryStore {
    DirectoryStore::new(&store.path)
}

/// A bucket as a store.
///
/// # Errors
/// When it cannot be set up, in words.
pub fn bucket(store: &S3Config, answers: Arc<dyn AnswerWatch>) -> Result<S3Store, String> {
    let keys = access_keys(&store.credentials)?;
    let settings = S3Settings {
        bucket: store.bucket.as_str().to_owned(),
        region: store.region.as_str().to_owned(),
        endpoint: store.endpoint.as_ref().map(|endpoint| endpoint.url().clone()),
        path_style: store.path_style,
        prefix: Some(store.prefix.as_str().to_owned()).filter(|prefix| !prefix.is_empty()),
        access_key: keys.access_key,
        secret_key: keys.secret_key,
        security_token: keys.security_token,
        ca_pem: store.ca_file.as_deref().map(read_certificates).transpose()?,
        create_only: match store.create_only {
            CreateOnlyMode::Auto => CreateOnlySetting::Auto,
            CreateOnlyMode::IfNoneMatch => CreateOnlySetting::IfNoneMatch,
            CreateOnlyMode::ObsForbidOverwrite => CreateOnlySetting::ObsForbidOverwrite,
            CreateOnlyMode::Head => CreateOnlySetting::Head,
        },
        storage_class: store.storage_class.as_ref().map(|class| class.as_str().to_owned()),
        sse: store.sse.as_ref().map(|sse| match sse {
            Sse::Aes256 => s3_store::Sse::Aes256,
            Sse::Kms { key_id } => {
                s3_store::Sse::Kms { key_id: key_id.as_ref().map(|id| id.as_str().to_owned()) }
            }
        }),
        tags: store.tags.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        timeouts: s3_store::Timeouts {
            least_rate: LeastRate::per_second(store.least_rate.bytes()),
            ..s3_store::Timeouts::default()
        },
    };
    let files = store.credentials.clone();
    let keys = move || access_keys(&files).map(store_keys);
    S3Store::watched(settings, Arc::new(keys), answers).map_err(|e| e.to_string())
}

fn store_keys(keys: AccessKeys) -> StoreKeys {
    StoreKeys {
        access_key: keys.access_key,
        secret_key: keys.secret_key,
        security_token: keys.security_token,
    }
}

/// The parts that sources and streams are made of.
pub struct Parts {
    /// From [`stores`].
    pub stores: BTreeMap<StoreName, OpenStore>,
    /// From [`signing`](super::signing::signing).
    pub signing: Option<Arc<Signing>>,
    /// What this machine knows.
    pub ledger: Arc<dyn Ledger>,
    /// What sources remember.
    pub notebook: Arc<dyn Notebook>,
    /// What is put in from outside.
    pub injected: Injected,
    /// Whether the clock is believed.
    pub watch: Arc<ClockWatch>,
}

impl Parts {
    /// Every source that the configuration names.
    ///
    /// # Errors
    /// When one cannot be set up.
    pub fn sources(&self, config: &Config) -> Result<Sources, StartError> {
        let open = |(name, source): (&SourceName, &Source)| {
            let failed = |e| StartError::config(format!("sources.{name}: {e}"));
            let project = project(source, &self.injected, self.watch.answers()).map_err(failed)?;
            let parts = V3Parts {
                source: name.clone(),
                notebook: Arc::clone(&self.notebook),
                checkpoint: Arc::clone(&self.injected.checkpoint),
                task_timeout: source.task_timeout,
            };
            let source: Arc<dyn RecordSource> = Arc::new(Workspace::of(&project, source.api, parts));
            self.watch.may_ask(Teller::Source(Arc::clone(&source)));
            Ok((name.clone(), source))
        };
        config.sources.iter().map(open).collect()
    }

    /// Every stream of the configuration that has its source among these, ready to be worked on.
    pub fn streams(&self, config: &Config, sources: &Sources) -> Streams {
        let streams = rules(config).into_iter().filter_map(|rules| self.stream(config, sources, rules));
        streams.map(|stream| (stream.name().clone(), Arc::new(stream))).collect()
    }

    fn stream(&self, config: &Config, sources: &Sources, rules: StreamRules) -> Option<Stream> {
        let source = Arc::clone(sources.get(&rules.source)?);
        let store = self.stores.get(&rules.store)?;
        let settings = config.streams.get(&rules.name)?;
        let definition = definition(config.sources.get(&rules.source)?, settings);
        let locks = Arc::new(ObjectLocks::new(Arc::clone(&store.store), rules.store.clone(), store.lock));
        let log = StreamLog::new(
            rules.name.clone(),
            Arc::clone(&locks),
            Arc::clone(&self.ledger),
            Arc::clone(&self.watch),
            Arc::clone(&self.injected.checkpoint),
            Writer {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                host: host(),
                key_fingerprint: self.signing.as_ref().map(|signing| signing.key.fingerprint()),
            },
            self.signing.clone(),
        );
        Some(Stream {
            definition_digest: definition_digest(&definition),
            definition,
            source,
            store: Arc::clone(&store.store),
            readback: store.readback,
            on_count_mismatch: settings.on_count_mismatch,
            locks,
            log,
            rules,
        })
    }
}

/// What the log of `stream` must say that it is.
pub fn definition_of(config: &Config, stream: &StreamName) -> Option<Definition> {
    let settings = config.streams.get(stream)?;
    Some(definition(config.sources.get(&settings.source)?, settings))
}

/// What the stream's log must say that it is.
fn definition(source: &Source, stream: &StreamConfig) -> Definition {
    Definition {
        region: source.region.as_str().to_owned(),
        // What is left out is looked up before anything is made of the configuration (`projects::resolved`).
        project_id: source.project_id.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
        window: stream.window.to_string(),
        timezone: stream.timezone.iana_name().unwrap_or("UTC").to_owned(),
        start: stream.start,
        filters: stream.filters.clone(),
    }
}

/// The name of this machine.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
