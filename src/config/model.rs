//! The configuration as the program uses it: nothing in here is unchecked, nothing has to be checked again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::domain::count::OnCountMismatch;
use crate::domain::export::{ApiChoice, Filters, PastHorizon};
use crate::domain::lock::RetentionMode;
use crate::domain::name::{SourceName, StoreName, StreamName};
use crate::domain::window_length::WindowLength;

use super::endpoint::{Endpoint, MetadataEndpoint};
use super::secret::SecretFile;
use super::text::{Bucket, KmsKeyId, Prefix, ProjectId, Region, Schedule, StorageClass, Tags};
use super::units::ByteSize;

/// All of it. Every stream's source and store are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[daemon]`
    pub daemon: Daemon,
    /// `[sources.*]`
    pub sources: BTreeMap<SourceName, Source>,
    /// `[stores.*]`
    pub stores: BTreeMap<StoreName, Store>,
    /// `[streams.*]`; never empty.
    pub streams: BTreeMap<StreamName, Stream>,
    /// `[signing]`; absent where logs are chained and not signed.
    pub signing: Option<Signing>,
    /// `[alerts]`
    pub alerts: Alerts,
}

/// What holds for the whole process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// Where ledger and spool are; absolute.
    pub state_dir: PathBuf,
    /// How often to look for due windows.
    pub schedule: Schedule,
    /// Windows in flight at most, 1 to 64.
    pub concurrency: NonZeroU8,
    /// How long ended attempts are kept in the ledger.
    pub keep_attempts: SignedDuration,
    /// Where `run` shows the status page; absent where it is turned off.
    pub listen: Option<SocketAddr>,
    /// Names that the status page answers to besides this machine's own, without ports.
    pub page_hosts: Vec<String>,
}

/// Who is told how it goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alerts {
    /// Holds the URL that is posted to while all is well.
    pub heartbeat_url: Option<SecretFile>,
}

/// How log entries are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    /// Holds the private key, in OpenSSH's form.
    pub key: SecretFile,
    /// Says whose signatures count, in OpenSSH's `allowed_signers` form; absolute.
    pub allowed_signers_file: Option<PathBuf>,
}

/// One Workspace project in one region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// A part of the definition of every stream of it.
    pub region: Region,
    /// Where the API is; by default what the region's name gives.
    pub endpoint: Endpoint,
    /// The Workspace project; absent where it is to be looked up by the region.
    pub project_id: Option<ProjectId>,
    /// Where the identity service is; by default what the region's name gives.
    pub iam_endpoint: Endpoint,
    /// Which export API is asked.
    pub api: ApiChoice,
    /// Requests per second at most.
    pub requests_per_second: NonZeroU32,
    /// How long the provider keeps records.
    pub horizon: SignedDuration,
    /// What is done about windows older than that.
    pub past_horizon: PastHorizon,
    /// How long an export task may take.
    pub task_timeout: Duration,
    /// Certificates that are trusted besides the system's, in PEM; absolute.
    pub ca_file: Option<PathBuf>,
    /// From the first packet to the end of the TLS handshake.
    pub connect_timeout: Duration,
    /// From the request to the first byte of the answer.
    pub first_byte_timeout: Duration,
    /// Between two bytes of the answer.
    pub stall_timeout: Duration,
    /// The least that an answer must bring, a second.
    pub least_rate: ByteSize,
    /// How large an export may be: at most what one put takes.
    pub max_body: ByteSize,
    /// How requests are signed.
    pub credentials: Credentials,
}

/// How requests to a source are let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Signed with an access key.
    AkSk(AkSk),
    /// With a token that a user gets for a password.
    Token(TokenUser),
    /// Signed with temporary keys of the agency of the ECS that this runs on.
    EcsAgency(MetadataEndpoint),
}

impl Credentials {
    /// The files that they are in.
    pub fn secrets(&self) -> Vec<&SecretFile> {
        match self {
            Self::AkSk(keys) => keys.secrets().collect(),
            Self::Token(user) => vec![&user.password],
            Self::EcsAgency(_) => Vec::new(),
        }
    }
}

/// A user of the identity service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUser {
    /// The account.
    pub domain: String,
    /// The user's name in it.
    pub user: String,
    /// Holds the password.
    pub password: SecretFile,
}

/// An access key, permanent or (with a token) temporary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AkSk {
    /// Holds the access key's id.
    pub access_key: SecretFile,
    /// Holds the key that signs.
    pub secret_key: SecretFile,
    /// Holds the token of a temporary key.
    pub security_token: Option<SecretFile>,
}

impl AkSk {
    /// The files that it is in.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretFile> {
        [&self.access_key, &self.secret_key].into_iter().chain(&self.security_token)
    }
}

/// One place for archives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// A bucket. (Boxed: it is many times as large as the other.)
    S3(Box<S3Store>),
    /// A directory on this machine.
    Directory(DirectoryStore),
}

/// A bucket of an S3-compatible store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Store {
    /// The bucket.
    pub bucket: Bucket,
    /// The region that requests are signed for.
    pub region: Region,
    /// Where the store is; absent for the region's endpoint of AWS.
    pub endpoint: Option<Endpoint>,
    /// Whether the bucket stands in the path instead of the host.
    pub path_style: bool,
    /// What every key begins with.
    pub prefix: Prefix,
    /// How requests are signed.
    pub credentials: AkSk,
    /// Certificates that are trusted instead of the system's, in PEM; absolute.
    pub ca_file: Option<PathBuf>,
    /// The least that a transfer must bring, a second.
    pub least_rate: ByteSize,
    /// How overwriting is kept from happening.
    pub create_only: CreateOnlyMode,
    /// How much is read back before an object counts as stored.
    pub readback: ReadbackMode,
    /// The objects' storage class; absent for the bucket's own.
    pub storage_class: Option<StorageClass>,
    /// The objects' encryption; absent for the bucket's own.
    pub sse: Option<Sse>,
    /// The objects' tags.
    pub tags: Tags,
    /// For how long the objects cannot be deleted; absent for the bucket's own rules.
    pub object_lock: Option<ObjectLock>,
    /// Whether the objects are put under legal hold.
    pub legal_hold: bool,
}

/// For how long objects cannot be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLock {
    /// Who may shorten it.
    pub mode: RetentionMode,
    /// How long after a window's end, at least a day.
    pub retain: SignedDuration,
}

/// A directory on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryStore {
    /// Where; absolute.
    pub path: PathBuf,
    /// How much is read back before an object counts as stored.
    pub readback: ReadbackMode,
}

/// How overwriting is kept from happening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateOnlyMode {
    /// Found out at each start, with a real double put.
    Auto,
    /// `If-None-Match: *`
    IfNoneMatch,
    /// `x-obs-forbid-overwrite: true`
    ObsForbidOverwrite,
    /// Look first, put then.
    Head,
}

/// How much is read back before an object counts as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadbackMode {
    /// Every byte, hashed.
    Full,
    /// Size and ETag.
    Metadata,
}

/// Encryption by the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sse {
    /// With a key that the store keeps to itself.
    Aes256,
    /// With a key of the key management service.
    Kms {
        /// Which; absent for the bucket's own.
        key_id: Option<KmsKeyId>,
    },
}

/// What is archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Where records come from: a key of [`Config::sources`].
    pub source: SourceName,
    /// Where they go: a key of [`Config::stores`].
    pub store: StoreName,
    /// How long a window is.
    pub window: WindowLength,
    /// Whose calendar cuts the windows. It has an IANA name.
    pub timezone: TimeZone,
    /// The start of the first window, a whole minute.
    pub start: Timestamp,
    /// Windows that end by then may be recorded as lost though they were lost before the stream was opened; a whole minute.
    pub accept_lost_before: Option<Timestamp>,
    /// How long after its end a window is left alone.
    pub settle: SignedDuration,
    /// How much wider than the window the export is asked for, on both sides.
    pub margin: SignedDuration,
    /// How long after its end a window is pulled again, from short to long.
    pub revisit: Vec<SignedDuration>,
    /// How long after it was due a window may stay unarchived.
    pub deadline: SignedDuration,
    /// What is done with an export whose number of records is not the counted one.
    pub on_count_mismatch: OnCountMismatch,
    /// Which records.
    pub filters: Filters,
}
