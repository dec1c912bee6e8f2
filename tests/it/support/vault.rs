//! A whole archive to test: a simulator, a store, a configuration, and the real program over them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use connvault::adapters::directory_store::DirectoryStore;
use connvault::adapters::s3_store::{S3Settings, S3Store};
use connvault::adapters::signature::{AllowedSigners, SigningKey};
use connvault::domain::digest::Sha256;
use connvault::domain::log_entry::{EntryBody, SealedEntry, after};
use connvault::domain::name::StreamName;
use connvault::domain::object_key::{LogObject, data_prefix, log_prefix, read_log_key, signature_key};
use connvault::domain::window::Window;
use connvault::ports::checkpoint::Step;
use connvault::ports::object_store::ObjectStore;
use connvault_sim::{Builder, Key, Records, Simulator};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;

use super::content::{list, read};

pub const ACCESS_KEY: &str = "VAULTACCESSKEY";
pub const SECRET_KEY: &str = "vault-secret-key-of-the-source";

/// The private key that every vault's log is signed with, as `ssh-keygen` would write it.
pub fn signing_key() -> String {
    let pair = ssh_key::private::Ed25519Keypair::from_seed(&[42; 32]);
    ssh_key::PrivateKey::from(pair).to_openssh(ssh_key::LineEnding::LF).unwrap().to_string()
}

/// Who may sign a vault's log.
pub fn allowed_signers() -> String {
    let key = SigningKey::parse(&signing_key().into()).unwrap();
    format!("connvault {}\n", key.public_key_line())
}

/// Windows may be lost before the stream is opened: few tests are about that.
pub const ACCEPTED: &str = "accept_lost_before = \"2100-01-01\"\n";

/// Completed windows in a fresh vault.
pub const WINDOWS: usize = 5;

/// Where the archive goes.
#[derive(Clone)]
pub enum Place {
    Directory(PathBuf),
    Bucket(Box<S3Settings>),
}

pub struct Vault {
    pub dir: tempfile::TempDir,
    pub sim: Simulator,
    pub place: Place,
    pub start: Timestamp,
}

/// Midnight UTC, so many days ago.
pub fn days_ago(days: i64) -> Timestamp {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let today = i64::try_from(now).unwrap() / 86_400;
    Timestamp::from_second((today - days) * 86_400).unwrap()
}

impl Vault {
    /// A vault in a folder of its own.
    pub async fn in_directory() -> Self {
        Self::with(|dir| Place::Directory(dir.join("archive")), |sim| sim).await
    }

    /// A vault whose store is chosen by `place`, with a simulator as `adjust` makes it.
    pub async fn with(place: impl FnOnce(&Path) -> Place, adjust: impl FnOnce(Builder) -> Builder) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let days = i64::try_from(WINDOWS).unwrap();
        let start = days_ago(days);
        let day = SignedDuration::from_hours(24);
        let records = Records::seeded(7, start - day, start + day * (WINDOWS as i32 + 2), 40);
        let sim = Simulator::builder().key(Key::permanent(ACCESS_KEY, SECRET_KEY)).records(records);
        let sim = adjust(sim).start().await.unwrap();
        let place = place(dir.path());
        let vault = Self { dir, sim, place, start };
        vault.secret("source-ak", ACCESS_KEY);
        vault.secret("source-sk", SECRET_KEY);
        vault.secret("signing-key", &signing_key());
        if let Place::Bucket(settings) = &vault.place {
            vault.secret("store-ak", settings.access_key.expose_secret());
            vault.secret("store-sk", settings.secret_key.expose_secret());
        }
        vault.configure("");
        vault
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn state_dir(&self) -> PathBuf {
        self.path("state")
    }

    pub fn secret(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes the configuration, with `more` lines in the stream's section.
    pub fn configure(&self, more: &str) {
        self.configure_with("stall_timeout = \"5s\"\n", more);
    }

    /// As [`Self::configure`], with other lines in the source's section.
    pub fn configure_with(&self, source: &str, more: &str) {
        let dir = self.dir.path().display();
        let store = match &self.place {
            Place::Directory(path) => format!("kind = \"directory\"\npath = \"{}\"\n", path.display()),
            Place::Bucket(settings) => format!(
                "kind = \"s3\"\nbucket = \"{}\"\nregion = \"{}\"\nendpoint = \"{}\"\npath_style = true\n\
                 prefix = \"workspace\"\naccess_key_file = \"{dir}/store-ak\"\nsecret_key_file = \"{dir}/store-sk\"\n",
                settings.bucket,
                settings.region,
                settings.endpoint.as_ref().unwrap()
            ),
        };
        // Few tests are about revisits.
        let revisit = if more.contains("revisit") { "" } else { "revisit = []\n" };
        let text = format!(
            "[daemon]\nlisten = \"\"\nstate_dir = \"{dir}/state\"\n\
             [sources.hq]\nkind = \"huaweicloud-workspace\"\nregion = \"sim\"\nendpoint = \"{}\"\nproject_id = \"{}\"\n\
             requests_per_second = 1000\n{source}\
             [sources.hq.credentials]\nkind = \"aksk\"\naccess_key_file = \"{dir}/source-ak\"\n\
             secret_key_file = \"{dir}/source-sk\"\n\
             [signing]\nkey_file = \"{dir}/signing-key\"\n\
             [stores.archive]\n{store}\
             [streams.logins]\nsource = \"hq\"\nstore = \"archive\"\nwindow = \"1d\"\ntimezone = \"UTC\"\n\
             start = \"{}\"\nsettle = \"0s\"\n{ACCEPTED}{revisit}{more}\n",
            self.sim.endpoint(),
            self.sim.project_id(),
            self.start,
        );
        std::fs::write(self.path("config.toml"), text).unwrap();
    }

    fn program(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_remove("CONNVAULT_LOG").env_remove("NOTIFY_SOCKET").env("RUST_BACKTRACE", "0");
        command
    }

    /// The real program, about to be run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(Path::new(env!("CARGO_BIN_EXE_connvault")));
        command.args(arguments).arg("--config").arg(self.path("config.toml"));
        command
    }

    /// Runs the real program to its end.
    pub async fn connvault(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// Runs `once` and expects it to archive all there is.
    pub async fn once(&self) -> Output {
        let output = self.connvault(&["once"]).await;
        assert!(output.status.success(), "once: {}\n{}", output.status, text(&output.stderr));
        output
    }

    /// Runs `once` until it is killed at a step for the n-th time.
    pub async fn once_killed_at(&self, step: Step, nth: usize) {
        use std::os::unix::process::ExitStatusExt;
        let test = std::env::current_exe().unwrap();
        let examples = test.parent().and_then(Path::parent).unwrap().join("examples");
        let mut command = self.program(&examples.join("crash_at"));
        command
            .args([step.as_str(), &nth.to_string(), "--", "once", "--config"])
            .arg(self.path("config.toml"));
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert_eq!(output.status.signal(), Some(9), "{step}: {}\n{}", output.status, text(&output.stderr));
    }

    /// The daemon, not yet started.
    pub fn daemon_command(&self) -> Command {
        let mut command = self.command(&["run"]);
        command.stderr(std::process::Stdio::null());
        command
    }

    /// The daemon, running.
    pub fn daemon(&self) -> Running {
        Running(self.daemon_command().spawn().unwrap())
    }

    /// Waits for a condition.
    pub async fn until(&self, condition: impl Fn() -> bool) {
        let began = std::time::Instant::now();
        while !condition() {
            assert!(began.elapsed().as_secs() < 60, "it does not come about");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Waits until a running daemon has archived all there is.
    pub async fn until_archived(&self, daemon: &mut Running) {
        let began = std::time::Instant::now();
        loop {
            assert!(began.elapsed().as_secs() < 100, "it does not archive what there is");
            assert!(daemon.try_wait().unwrap().is_none(), "the daemon has ended");
            let started = self.state_dir().join("ledger.sqlite3").exists();
            if started && self.connvault(&["gaps"]).await.status.success() {
                return;
            }
        }
    }

    /// Waits until `status` shows `text` so often.
    pub async fn until_status_shows(&self, wanted: &str, times: usize) {
        let began = std::time::Instant::now();
        loop {
            let status = text(&self.connvault(&["status"]).await.stdout);
            if status.matches(wanted).count() >= times {
                return;
            }
            assert!(began.elapsed().as_secs() < 60, "status does not come to show {wanted:?}: {status}");
        }
    }

    pub fn store(&self) -> Arc<dyn ObjectStore> {
        match &self.place {
            Place::Directory(path) => Arc::new(DirectoryStore::new(path)),
            Place::Bucket(settings) => Arc::new(S3Store::new((**settings).clone()).unwrap()),
        }
    }

    /// Reads the whole archive and holds it against its log.
    pub async fn audit(&self) -> Audit {
        Audit::of(self.store().as_ref(), &"logins".parse().unwrap()).await
    }

    /// Files that lie in the spool.
    pub fn spooled(&self) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(self.state_dir().join("spool")).into_iter().flatten().flatten();
        let files =
            folders.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().flatten());
        files.map(|file| file.path()).collect()
    }
}

/// A daemon that a test has started: it does not outlive the test, however that ends.
pub struct Running(pub std::process::Child);

impl std::ops::Deref for Running {
    type Target = std::process::Child;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl std::ops::DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Running {
    /// Has it look again.
    pub fn wake(&self) {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.0),
            rustix::process::Signal::HUP,
        )
        .unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What an archive holds, after everything that a log promises was checked.
#[derive(Debug)]
pub struct Audit {
    pub entries: Vec<SealedEntry>,
    pub windows: BTreeSet<Window>,
    pub lost: BTreeSet<Window>,
    pub orphans: BTreeSet<String>,
    /// Data keys, relative to the stream's folder, with the SHA-256 of what is stored.
    pub objects: BTreeMap<String, Sha256>,
}

/// Entries are signed and kept for years: what a failure says of today's keys and commands is for people, and stands in none.
fn says_no_advice(body: &EntryBody) {
    let said: Vec<String> = match body {
        EntryBody::Lost(lost) => {
            let last = lost.last_attempt.as_ref().map(|last| last.outcome.to_string());
            last.into_iter().chain([lost.reason.to_string()]).collect()
        }
        EntryBody::Parked(parked) => vec![parked.reason.to_string()],
        EntryBody::Archived(archived) => {
            let reasons = [&archived.export.uncounted, &archived.export.unread];
            reasons.into_iter().flatten().map(|reason| reason.to_string()).collect()
        }
        EntryBody::Stream(_) | EntryBody::Inspected(_) | EntryBody::Acknowledged(_) => Vec::new(),
    };
    const KEYS: [&str; 14] = [
        "accept_lost_before",
        "past_horizon",
        "task_timeout",
        "least_rate",
        "max_body",
        "requests_per_second",
        "on_count_mismatch",
        "create_only",
        "key_file",
        "ca_file",
        "state_dir",
        "_PROXY",
        "api =",
        "connvault ",
    ];
    for reason in said {
        let quoted = KEYS.iter().find(|key| reason.contains(**key));
        assert!(quoted.is_none(), "an entry quotes {quoted:?}: {reason}");
    }
}

impl Audit {
    /// Asserts: the chain has no gap and no fork; each entry is signed; each window has one archived entry, and what comes
    /// after it says what it follows; each object that an entry names
    /// is there with those bytes; no object lies there that no entry names.
    pub async fn of(store: &dyn ObjectStore, stream: &StreamName) -> Self {
        let mut audit = Self {
            entries: Vec::new(),
            windows: BTreeSet::new(),
            lost: BTreeSet::new(),
            orphans: BTreeSet::new(),
            objects: BTreeMap::new(),
        };
        for name in list(store, &data_prefix(stream), None).await {
            let bytes = read(store, &super::content::key(&name)).await.unwrap();
            let relative = name.strip_prefix(&format!("{stream}/")).unwrap().to_owned();
            audit.objects.insert(relative, Sha256::of(&bytes));
        }
        let mut named = BTreeSet::new();
        let signers = AllowedSigners::parse(&allowed_signers()).unwrap();
        for name in list(store, &log_prefix(stream), None).await {
            let key = super::content::key(&name);
            let seq = match read_log_key(stream, &key) {
                LogObject::Entry(seq) => seq,
                LogObject::Signature { .. } => continue,
                LogObject::Other => panic!("{key} lies in the log"),
            };
            let (next, previous) = after(audit.entries.last().map(SealedEntry::head));
            assert_eq!(seq, next, "a gap in the log");
            let bytes = read(store, &key).await.unwrap();
            let entry = SealedEntry::open(bytes, stream, seq, previous).unwrap();
            let signature = read(store, &signature_key(stream, seq, &entry.hash())).await.unwrap();
            let at = entry.entry().recorded_at;
            let signer = signers.verify(Some("connvault"), entry.bytes(), &signature, at).unwrap();
            assert_eq!(entry.entry().writer.key_fingerprint.as_deref(), Some(signer.as_str()));
            says_no_advice(&entry.entry().body);
            match &entry.entry().body {
                EntryBody::Stream(_) | EntryBody::Inspected(_) | EntryBody::Acknowledged(_) => {}
                EntryBody::Parked(parked) => assert!(!audit.windows.contains(&parked.window)),
                EntryBody::Lost(lost) => {
                    assert!(audit.lost.insert(lost.window), "{} lost twice", lost.window)
                }
                EntryBody::Archived(archived) => {
                    let first = audit.windows.insert(archived.window);
                    assert_eq!(first, archived.supersedes.is_none(), "{} archived twice", archived.window);
                    let key = archived.object.key.to_string();
                    assert_eq!(audit.objects.get(&key), Some(&archived.object.sha256), "{key}");
                    assert!(named.insert(key));
                    for orphan in &archived.orphans {
                        let key = orphan.key.to_string();
                        assert_eq!(audit.objects.get(&key), Some(&orphan.sha256), "{key}");
                        named.insert(key.clone());
                        audit.orphans.insert(key);
                    }
                }
            }
            audit.entries.push(entry);
        }
        let unnamed: Vec<_> = audit.objects.keys().filter(|key| !named.contains(*key)).collect();
        assert!(unnamed.is_empty(), "no entry names {unnamed:?}");
        audit
    }
}
