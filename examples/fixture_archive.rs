//! Makes a small archive with one of everything that a log can say, as a fixture that every later version must read.
//!
//! ```text
//! unshare --uts sh -c 'hostname archive-1; cargo run --example fixture_archive -- FOLDER'
//! ```
//! FOLDER gets `archive/` and `allowed_signers`. What is written is written by the program itself, over the simulator and by
//! a clock that stands still; each run of the program is a process of its own, because some of them are killed on their way.
//! Keys are made for it and thrown away, the provider's request ids are new each time; all else is the same in each run.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, PoisonError};

use connvault::app::compose::{self, Injected};
use connvault::cli;
use connvault::ports::checkpoint::{Checkpoint, Step};
use connvault::ports::clock::Clock;
use connvault_sim::{Endpoint, Fault, Format, Key, Record, Records, Rule, Simulator};
use jiff::{SignedDuration, Timestamp};
use rustix::process::{Signal, getpid, kill_process};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{LineEnding, PrivateKey};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The machine that the entries name: nobody's.
const HOST: &str = "archive-1";
/// Midnight in the stream's time zone, Asia/Shanghai, where its first window starts.
const START: &str = "2026-03-02T16:00:00Z";
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// Between the last entry of the first key and the first one of the second.
const ROTATION: &str = "20260307000000Z";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "as-connvault") {
        return as_connvault(&arguments[1..]).await;
    }
    match make(arguments.first().map_or(Path::new("fixture"), Path::new)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fixture_archive: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The story of the archive. Day 0 is the first window; each day's window is pulled three hours after its end.
async fn make(folder: &Path) -> Result<(), Error> {
    if compose::host() != HOST {
        return Err(format!("entries would name this machine: run it where `hostname` is {HOST}").into());
    }
    fs::create_dir(folder)?;
    let mut stage = Stage::set(folder).await?;
    // The first entry says what the stream is. It and the next are not signed.
    stage.once(0).await?;
    stage.key = Some(1);
    stage.once(1).await?;
    stage.rule(Rule::new(Fault::status(403)).on(Endpoint::Query), 2).await?;
    stage.rule(Rule::new(Fault::OmitRecords { records: 2 }).on(Endpoint::Export), 3).await?;
    // Records that came late to day 1 make a revision.
    stage.late_record(1);
    let (from, to) = (stage.midnight(1).to_string(), stage.midnight(2).to_string());
    let redo = ["backfill", "logins", "--from", &from, "--to", &to, "--redo", "all"];
    stage.run(stage.after(3), None, &redo).await?;
    // The start moves back to a day that the provider no longer has.
    stage.start = stage.midnight(-1);
    stage.once(3).await?;
    // A crash leaves an object, with its spool gone and a record more by then: it stays, as an orphan.
    stage.key = Some(2);
    stage.run(stage.after(4), Some(Step::DataPut), &["once"]).await?;
    fs::remove_dir_all(stage.path("state"))?;
    stage.late_record(4);
    stage.once(4).await?;
    // A crash leaves a signature on an entry that was never written.
    stage.provider = provider(&stage.clock, &stage.records, Format::Xlsx).await?;
    stage.run(stage.after(5), Some(Step::SignaturePut), &["once"]).await?;
    stage.run(stage.after(5) + SignedDuration::from_hours(1), None, &["once"]).await?;
    // A window that the provider refuses is parked, which `once` ends with an error for.
    if stage.rule(Rule::new(Fault::status(400)).on(Endpoint::Export), 6).await.is_ok() {
        return Err("nothing was parked".into());
    }
    stage.clear_up()
}

/// The clock of the provider, and of each run.
type SharedClock = Arc<Mutex<Timestamp>>;

struct Stage {
    folder: PathBuf,
    clock: SharedClock,
    records: Vec<Record>,
    provider: Simulator,
    /// The first window.
    start: Timestamp,
    /// Which key signs.
    key: Option<u8>,
}

async fn provider(clock: &SharedClock, records: &[Record], format: Format) -> Result<Simulator, Error> {
    let clock = Arc::clone(clock);
    let now = move || *clock.lock().unwrap_or_else(PoisonError::into_inner);
    let records = Records::from_vec(records.to_vec());
    Ok(Simulator::builder().records(records).format(format).clock(now).start().await?)
}

impl Stage {
    async fn set(folder: &Path) -> Result<Self, Error> {
        let folder = fs::canonicalize(folder)?;
        let start: Timestamp = START.parse()?;
        let records = Records::seeded(7, start - DAY * 2, start + DAY * 7, 6).all();
        let clock = Arc::new(Mutex::new(start));
        let provider = provider(&clock, &records, Format::Csv).await?;
        let stage = Self { folder, clock, records, provider, start, key: None };
        fs::create_dir(stage.path("archive"))?;
        stage.secret("source-access-key", &Key::example().access)?;
        stage.secret("source-secret-key", &Key::example().secret)?;
        let mut signers = String::new();
        for (number, validity) in [(1, "valid-before"), (2, "valid-after")] {
            let mut seed = [0; 32];
            std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut seed)?;
            let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
            stage.secret(&format!("key-{number}"), &key.to_openssh(LineEnding::LF)?)?;
            let public = key.public_key().to_openssh()?;
            signers += &format!("connvault {validity}=\"{ROTATION}\" {public}\n");
        }
        fs::write(stage.path("allowed_signers"), signers)?;
        Ok(stage)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn secret(&self, name: &str, secret: &str) -> Result<(), Error> {
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path(name))?;
        Ok(std::io::Write::write_all(&mut file, secret.as_bytes())?)
    }

    /// When the window of a day begins.
    fn midnight(&self, day: i32) -> Timestamp {
        START.parse::<Timestamp>().unwrap_or_default() + DAY * day
    }

    /// When the window of a day is pulled.
    fn after(&self, day: i32) -> Timestamp {
        self.midnight(day + 1) + SignedDuration::from_hours(3)
    }

    fn late_record(&mut self, day: i32) {
        let record = Record::at(self.midnight(day) + SignedDuration::from_hours(12), 990);
        self.provider.records().push(record.clone());
        self.records.push(record);
    }

    async fn once(&self, day: i32) -> Result<(), Error> {
        self.run(self.after(day), None, &["once"]).await
    }

    /// Pulls a day under a fault.
    async fn rule(&self, rule: Rule, day: i32) -> Result<(), Error> {
        self.provider.faults().add(rule);
        self.once(day).await?;
        self.provider.faults().clear();
        Ok(())
    }

    /// Runs the program at an instant, to its end or until it dies at a step.
    async fn run(&self, now: Timestamp, dies_at: Option<Step>, arguments: &[&str]) -> Result<(), Error> {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = now;
        fs::write(self.path("config.toml"), self.config())?;
        let mut program = Command::new(std::env::current_exe()?);
        program.arg("as-connvault").arg(now.to_string()).arg(dies_at.map_or("-", Step::as_str));
        program.args(arguments).arg("--config").arg(self.path("config.toml"));
        let ended = tokio::task::spawn_blocking(move || program.status()).await??;
        if ended.success() == dies_at.is_none() {
            Ok(())
        } else {
            Err(format!("{arguments:?} at {now}: {ended}").into())
        }
    }

    fn config(&self) -> String {
        let folder = self.folder.display();
        let signing =
            self.key.map(|key| format!("[signing]\nkey_file = \"{folder}/key-{key}\"\n")).unwrap_or_default();
        format!(
            r#"[daemon]
state_dir = "{folder}/state"
[sources.hq]
kind = "huaweicloud-workspace"
region = "example-1"
endpoint = "{endpoint}"
project_id = "{project}"
horizon = "5d"
[sources.hq.credentials]
kind = "aksk"
access_key_file = "{folder}/source-access-key"
secret_key_file = "{folder}/source-secret-key"
[stores.archive]
kind = "directory"
path = "{folder}/archive"
{signing}[streams.logins]
source = "hq"
store = "archive"
window = "1d"
timezone = "Asia/Shanghai"
start = "{start}"
revisit = []
on_count_mismatch = "flag"
"#,
            endpoint = self.provider.endpoint(),
            project = self.provider.project_id(),
            start = self.start,
        )
    }

    /// Leaves the archive and the public keys.
    fn clear_up(&self) -> Result<(), Error> {
        for name in ["source-access-key", "source-secret-key", "key-1", "key-2", "config.toml"] {
            fs::remove_file(self.path(name))?;
        }
        fs::remove_dir_all(self.path("archive/.connvault"))?;
        Ok(fs::remove_dir_all(self.path("state"))?)
    }
}

/// One run of the program: when it is, where it dies (`-` nowhere), and its arguments.
async fn as_connvault(arguments: &[OsString]) -> ExitCode {
    let text = |n: usize| arguments.get(n).and_then(|argument| argument.to_str()).unwrap_or_default();
    let Ok(now) = text(0).parse() else { return ExitCode::from(2) };
    let injected = Injected {
        clock: Arc::new(Fixed(now)),
        checkpoint: Arc::new(DiesAt(text(1).parse().ok())),
        ..Injected::default()
    };
    let command = std::iter::once("connvault".into()).chain(arguments.iter().skip(2).cloned());
    cli::run(command, injected).await.into()
}

struct Fixed(Timestamp);

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        self.0
    }
}

struct DiesAt(Option<Step>);

impl Checkpoint for DiesAt {
    fn reached(&self, step: Step) {
        if self.0 == Some(step) {
            let died = kill_process(getpid(), Signal::KILL);
            eprintln!("fixture_archive: not killed: {died:?}");
        }
    }
}
