//! What the demo plays on: its folder, the configuration, the two servers and the clock.

use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use connvault::adapters::system_clock::SystemClock;
use connvault::config::{Config, Secrets};
use connvault::ports::clock::Clock;
use connvault_sim::{Endpoint, Fault, Key, Records, RetryAfter, Rule, Simulator};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{LineEnding, PrivateKey};

use super::Error;
use super::check::Checked;
use super::s3s::{ACCESS_KEY, Dialect, S3sServer, SECRET_KEY};

/// Days, and so windows.
pub const DAYS: usize = 30;
const TIME_ZONE: &str = "Asia/Shanghai";
const SEED: u64 = 7;
const RECORDS_PER_DAY: u32 = 120;
const BUCKET: &str = "connection-records";
const PREFIX: &str = "workspace";
const STREAM: &str = "logins";
/// The day with the hiccup, counted from 0.
const BAD_DAY: i64 = 11;
const ALLOWED_SIGNERS: &str = "allowed_signers";
/// In every folder that the demo made: only such a folder is ever taken away.
const MARK: &str = ".made-by-the-connvault-demo";

/// A clock that stands still until it is moved.
pub struct SimulatedClock(Mutex<Timestamp>);

impl SimulatedClock {
    /// Moves it to `instant`.
    pub fn set(&self, instant: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = instant;
    }

    /// Moves it forward.
    pub fn forward(&self, by: SignedDuration) {
        self.set(self.now() + by);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that stands around the daemon.
pub struct Stage {
    /// Where everything lies.
    pub folder: PathBuf,
    /// The daemon's configuration, as loaded from the folder.
    pub config: Config,
    /// What time it is, for daemon and provider alike.
    pub clock: Arc<SimulatedClock>,
    /// How many records the provider has within the thirty days.
    pub records: u64,
    provider: Simulator,
    _store: S3sServer,
}

impl Stage {
    /// Makes the folder anew and starts the servers.
    pub async fn set(folder: PathBuf) -> Result<Self, Error> {
        make_anew(&folder)?;
        let zone = TimeZone::get(TIME_ZONE)?;
        let (first, end) = thirty_days_before_today(&zone)?;
        let begin = first.to_zoned_datetime(zone.clone())?.timestamp();
        let clock = Arc::new(SimulatedClock(Mutex::new(begin)));

        let key = Key::example();
        let records = || Records::seeded(SEED, begin, end, RECORDS_PER_DAY);
        let time = Arc::clone(&clock);
        let provider = Simulator::builder()
            .key(key.clone())
            .records(records())
            .clock(move || time.now())
            .start()
            .await?;
        script_the_hiccup(&provider, begin);

        let buckets = folder.join("store");
        fs::create_dir(&buckets)?;
        let store = S3sServer::start(&buckets, Dialect::Aws).await?;
        store.make_bucket(BUCKET)?;

        let secrets = [
            ("source-access-key", key.access.as_str()),
            ("source-secret-key", &key.secret),
            ("store-access-key", ACCESS_KEY),
            ("store-secret-key", SECRET_KEY),
        ];
        fs::create_dir(folder.join("secrets"))?;
        for (name, secret) in secrets {
            write_secret(&folder.join("secrets").join(name), secret)?;
        }
        make_the_signing_key(&folder)?;
        let path = folder.join("config.toml");
        fs::write(&path, config(&folder, &provider, &store, first))?;
        Ok(Self {
            config: Config::load(&path, std::iter::empty(), Secrets::all(None))?,
            records: records().len() as u64,
            folder,
            clock,
            provider,
            _store: store,
        })
    }

    /// The stream's folder in the bucket, as files.
    pub fn stream_folder(&self) -> PathBuf {
        let bucket = self.folder.join("store").join(BUCKET);
        bucket.join(PREFIX).join(STREAM)
    }

    /// The file that says whose signatures count.
    pub fn allowed_signers(&self) -> PathBuf {
        self.folder.join(ALLOWED_SIGNERS)
    }

    /// Whether the hiccup took place.
    pub fn check_that_all_was_met(&self) -> Result<(), Error> {
        if self.provider.faults().is_spent() {
            Ok(())
        } else {
            Err("the provider's faults were never met".into())
        }
    }

    /// What a person may want to do with the result.
    pub fn what_next(&self, checked: &Checked) -> String {
        let stream = self.stream_folder();
        let config = self.folder.join("config.toml");
        let connvault = "cargo run --release --quiet -- --config";
        let verify = "cargo run --release --quiet -- verify";
        format!(
            "\nThe archive lies in {stream}. Look at it:\n\
             \x20 sha256sum {stream}/{object}\n\
             \x20 jq . {stream}/{entry}\n\
             \x20 {connvault} {config} status\n\
             \x20 {connvault} {config} gaps && echo no gaps\n\
             Check it as an auditor would, from the files alone; docs/auditor.md has every step, with connvault and without:\n\
             \x20 archive={stream}\n\
             \x20 signers={signers}\n\
             \x20 head={head}\n\
             \x20 {verify} --dir \"$archive\" --level bytes --allowed-signers \"$signers\" --expect-head \"$head\"\n",
            stream = stream.display(),
            signers = self.allowed_signers().display(),
            head = checked.head(),
            object = checked.last_object(),
            entry = checked.last_entry(),
            config = config.display(),
        )
    }
}

/// The thirty days before today, as the first of them and the instant after the last: so the commands that the demo
/// proposes, which go by the machine's clock, find a month that has just passed.
fn thirty_days_before_today(zone: &TimeZone) -> Result<(Date, Timestamp), Error> {
    let today = zone.to_datetime(SystemClock.now()).date();
    let first = today.checked_sub(i64::try_from(DAYS)?.days())?;
    Ok((first, today.to_zoned_datetime(zone.clone())?.timestamp()))
}

/// On one day the provider fails once, and then once asks for patience.
fn script_the_hiccup(provider: &Simulator, begin: Timestamp) {
    // The export is asked for a minute wider than the window: that is the margin.
    let asked = begin + SignedDuration::from_hours(24 * BAD_DAY) - SignedDuration::from_mins(1);
    let asked = asked.strftime("%Y-%m-%dT%H:%MZ").to_string();
    let patience = Fault::Throttle { retry_after: Some(RetryAfter::Seconds(120)) };
    for fault in [Fault::status(503), patience] {
        let rule = Rule::new(fault).on(Endpoint::Export).for_start_time(asked.as_str());
        provider.faults().add(rule.times(1));
    }
}

fn config(folder: &Path, provider: &Simulator, store: &S3sServer, first: Date) -> String {
    let secret = |name: &str| folder.join("secrets").join(name).display().to_string();
    format!(
        r#"# Written by the demo. Its two servers are gone; commands that only look work without them.
[daemon]
listen = ""
state_dir = "{state_dir}"

[sources.hq]
kind = "huaweicloud-workspace"
region = "ap-southeast-3"
endpoint = "{provider_endpoint}"
project_id = "{project_id}"
requests_per_second = 100

[sources.hq.credentials]
kind = "aksk"
access_key_file = "{source_access_key}"
secret_key_file = "{source_secret_key}"

[stores.archive]
kind = "s3"
bucket = "{BUCKET}"
region = "us-east-1"
endpoint = "{store_endpoint}"
path_style = true
prefix = "{PREFIX}"
access_key_file = "{store_access_key}"
secret_key_file = "{store_secret_key}"

[signing]
key_file = "{signing_key}"
allowed_signers_file = "{allowed_signers}"

[streams.{STREAM}]
source = "hq"
store = "archive"
window = "1d"
timezone = "{TIME_ZONE}"
start = "{first}"
# The demo shows each window once; its sessions do not end later.
revisit = []
"#,
        state_dir = folder.join("state").display(),
        provider_endpoint = provider.endpoint(),
        project_id = provider.project_id(),
        source_access_key = secret("source-access-key"),
        source_secret_key = secret("source-secret-key"),
        store_endpoint = store.endpoint(),
        store_access_key = secret("store-access-key"),
        store_secret_key = secret("store-secret-key"),
        signing_key = secret("signing-key"),
        allowed_signers = folder.join(ALLOWED_SIGNERS).display(),
    )
}

/// A fresh key, as `ssh-keygen -t ed25519` would write it, and beside the secrets its public half: what an auditor gets.
fn make_the_signing_key(folder: &Path) -> Result<(), Error> {
    let mut seed = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    write_secret(&folder.join("secrets/signing-key"), &key.to_openssh(LineEnding::LF)?)?;
    let line = format!("connvault {}\n", key.public_key().to_openssh()?);
    Ok(fs::write(folder.join(ALLOWED_SIGNERS), line)?)
}

fn write_secret(path: &Path, secret: &str) -> Result<(), Error> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(std::io::Write::write_all(&mut file, secret.as_bytes())?)
}

/// An empty folder: what an earlier demo left there goes, what anybody else put there stays.
fn make_anew(folder: &Path) -> Result<(), Error> {
    if folder.join(MARK).exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    if fs::read_dir(folder)?.next().is_some() {
        return Err(format!(
            "{} is not empty and was not made by the demo: name another folder as the first argument",
            folder.display()
        )
        .into());
    }
    Ok(fs::write(folder.join(MARK), "")?)
}
