//! A whole installation: a simulator that pulls come from, a store, state directories and configurations.

use std::fmt::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use connvault::adapters::system_clock::SystemClock;
use connvault::ports::clock::Clock;
use connvault_sim::{Builder, Key, Records, Simulator};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;

use super::archive::Archive;
use super::clock::TestClock;
use super::place::{Place, files_below};

/// What a configuration says; the rest is the world's.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The state directory's name.
    pub state: String,
    pub concurrency: usize,
    pub streams: Vec<String>,
    pub window: String,
    pub timezone: String,
    pub start: Timestamp,
    pub settle: String,
    pub margin: String,
    /// Whether windows may be lost before the stream is opened.
    pub accepts_losses: bool,
    /// More lines of the source's section.
    pub source: String,
    /// More lines of each stream's section.
    pub stream: String,
}

pub struct World {
    pub sim: Simulator,
    pub place: Place,
    pub settings: Settings,
    /// The starts of the windows that are due, in order.
    pub windows: Vec<String>,
    folder: tempfile::TempDir,
}

const DAY: SignedDuration = SignedDuration::from_hours(24);

impl World {
    /// `days` windows of a day each that are due by the machine's clock, the next one not for hours.
    pub async fn now(place: Place, days: u32) -> Self {
        let now = SystemClock.now();
        let midnight = now - SignedDuration::from_secs(now.as_second().rem_euclid(86_400));
        let midnight = Timestamp::from_second(midnight.as_second()).unwrap();
        // So that no window becomes due while the test goes on, at whatever hour that is.
        let settle = if now.duration_since(midnight) < DAY / 2 { "0s" } else { "12h" };
        Self::new(place, Simulator::builder(), midnight, days, settle).await
    }

    /// `days` windows of a day each that are due by `clock`, which the simulator goes by as well.
    pub async fn at(place: Place, clock: &TestClock, days: u32) -> Self {
        Self::built(place, clock, days, Simulator::builder()).await
    }

    /// As [`Self::at`], with a simulator of one's own.
    pub async fn built(place: Place, clock: &TestClock, days: u32, sim: Builder) -> Self {
        Self::apart(place, clock, days, sim, SignedDuration::ZERO).await
    }

    /// As [`Self::built`], where the simulator's clock is so much behind.
    pub async fn apart(
        place: Place,
        clock: &TestClock,
        days: u32,
        sim: Builder,
        behind: SignedDuration,
    ) -> Self {
        let now = clock.now();
        let midnight = Timestamp::from_second(now.as_second() - now.as_second().rem_euclid(86_400)).unwrap();
        let theirs = clock.clone();
        Self::new(place, sim.clock(move || theirs.now() - behind), midnight, days, "0s").await
    }

    async fn new(place: Place, sim: Builder, end: Timestamp, days: u32, settle: &str) -> Self {
        let start = end - DAY * i32::try_from(days).unwrap();
        // Days before and after as well, so that every margin has records in it.
        let records = Records::seeded(7, start - DAY, end + DAY, 20);
        let sim = sim.records(records).start().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let key = Key::example();
        secret(folder.path(), "source-access", &key.access);
        secret(folder.path(), "source-secret", &key.secret);
        if let Place::Bucket { settings, .. } = &place {
            secret(folder.path(), "store-access", settings.access_key.expose_secret());
            secret(folder.path(), "store-secret", settings.secret_key.expose_secret());
        }
        let windows = (0..i32::try_from(days).unwrap()).map(|day| (start + DAY * day).to_string());
        Self {
            sim,
            place,
            settings: Settings {
                state: "state".to_owned(),
                concurrency: 2,
                streams: vec!["logins".to_owned()],
                window: "1d".to_owned(),
                timezone: "UTC".to_owned(),
                start,
                settle: settle.to_owned(),
                margin: "1m".to_owned(),
                accepts_losses: true,
                source: String::new(),
                stream: "revisit = []\n".to_owned(),
            },
            windows: windows.collect(),
            folder,
        }
    }

    /// The world's own configuration, as a file.
    pub fn config(&self) -> PathBuf {
        self.config_of(&self.settings)
    }

    /// A configuration that says `settings`, as a file.
    pub fn config_of(&self, settings: &Settings) -> PathBuf {
        let path = self.folder.path().join(format!("{}.toml", settings.state));
        std::fs::write(&path, self.text(settings)).unwrap();
        path
    }

    fn text(&self, settings: &Settings) -> String {
        let folder = self.folder.path().display();
        let Settings {
            state,
            concurrency,
            window,
            timezone,
            start,
            settle,
            margin,
            accepts_losses,
            source,
            stream: more,
            ..
        } = settings;
        let mut text = format!(
            r#"[daemon]
listen = ""
state_dir = "{folder}/{state}"
schedule = "0 0 0 1 1 *"
concurrency = {concurrency}
[sources.hq]
kind = "huaweicloud-workspace"
region = "ap-southeast-3"
endpoint = "{}"
project_id = "{}"
requests_per_second = 1000
{source}[sources.hq.credentials]
kind = "aksk"
access_key_file = "{folder}/source-access"
secret_key_file = "{folder}/source-secret"
[stores.archive]
"#,
            self.sim.endpoint(),
            self.sim.project_id(),
        );
        match &self.place {
            Place::Directory(place) => {
                write!(text, "kind = \"directory\"\npath = \"{}\"\n", place.path().display()).unwrap();
            }
            Place::Bucket { settings, .. } => write!(
                text,
                r#"kind = "s3"
bucket = "{}"
region = "{}"
endpoint = "{}"
path_style = true
prefix = "{}"
access_key_file = "{folder}/store-access"
secret_key_file = "{folder}/store-secret"
"#,
                settings.bucket,
                settings.region,
                settings.endpoint.as_ref().unwrap(),
                settings.prefix.as_ref().unwrap(),
            )
            .unwrap(),
        }
        let accepted = if *accepts_losses { "accept_lost_before = \"2100-01-01\"\n" } else { "" };
        for stream in &settings.streams {
            write!(
                text,
                r#"[streams.{stream}]
source = "hq"
store = "archive"
window = "{window}"
timezone = "{timezone}"
start = "{start}"
settle = "{settle}"
{accepted}margin = "{margin}"
{more}"#,
            )
            .unwrap();
        }
        text
    }

    pub fn state_dir(&self) -> PathBuf {
        self.folder.path().join(&self.settings.state)
    }

    /// Takes the state directory away, as a new machine would find it.
    pub fn lose_state(&self) {
        std::fs::remove_dir_all(self.state_dir()).unwrap();
    }

    /// The files in the spool.
    pub fn spooled(&self) -> Vec<PathBuf> {
        files_below(&self.state_dir().join("spool"))
    }

    /// The stream called `logins`, read from outside.
    pub async fn archive(&self) -> Archive {
        self.archive_of("logins").await
    }

    /// The stream called `stream`, read from outside.
    pub async fn archive_of(&self, stream: &str) -> Archive {
        Archive::of(&self.place.objects().await, stream)
    }

    /// How many windows are archived, looked at while somebody writes.
    pub async fn archive_so_far(&self) -> usize {
        let objects = self.place.objects().await;
        let entries = objects.iter().filter(|(key, _)| key.contains("/log/"));
        entries.filter(|(_, bytes)| String::from_utf8_lossy(bytes).contains("\"kind\": \"archived\"")).count()
    }

    /// What `connvault gaps --json` says.
    pub async fn gaps(&self) -> String {
        String::from_utf8_lossy(&self.connvault(&["gaps", "--json"]).await.stdout).into_owned()
    }

    /// The command `connvault ARGUMENTS --config …`, with nothing of this process's environment that it listens to.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Command::new(env!("CARGO_BIN_EXE_connvault")), arguments)
    }

    fn command_of(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).arg("--config").arg(self.config());
        for variable in ["CONNVAULT_LOG", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "JOURNAL_STREAM"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs the program to its end.
    pub async fn connvault(&self, arguments: &[&str]) -> Output {
        finish(self.command(arguments)).await
    }

    /// Runs `verify` without a configuration.
    pub async fn verify(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_connvault"));
        command.arg("verify").args(arguments);
        finish(command).await
    }

    /// Runs the program to its end by a clock that is `seconds` ahead of the machine's.
    pub async fn connvault_ahead(&self, seconds: i64, arguments: &[&str]) -> Output {
        let offset = self.folder.path().join("offset");
        std::fs::write(&offset, seconds.to_string()).unwrap();
        let mut program = Command::new(example("wrong_clock"));
        program.arg(offset);
        finish(self.command_of(program, arguments)).await
    }

    /// Runs the program until it kills itself at `step`, reached for the `nth` time.
    pub async fn crash(&self, step: &str, nth: usize) -> Output {
        let mut program = Command::new(example("crash_at"));
        program.args([step, &nth.to_string(), "--"]);
        finish(self.command_of(program, &["once"])).await
    }
}

/// Waits for a process without holding up the servers of this one.
async fn finish(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// An example, which cargo builds beside the tests.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(path.is_file(), "{} is not there: cargo build --examples", path.display());
    path
}

fn secret(folder: &Path, name: &str, value: &str) {
    let file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(folder.join(name));
    std::io::Write::write_all(&mut file.unwrap(), value.as_bytes()).unwrap();
}

/// What a process said, for the message of an assertion.
pub fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}
