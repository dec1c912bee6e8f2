//! The command line: what can be said, and what it calls.
//!
//! Results go to standard output, as a table or (`--json`) as one JSON document; everything else goes to standard
//! error. Each command ends with an [`Exit`].

mod acknowledge;
mod backfill;
mod check;
mod gaps;
mod ledger_view;
mod output;
mod plan;
mod progress;
mod rebuild;
mod reconcile;
mod reread;
mod retry;
mod signals;
mod status;
mod verify;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::app::compose::Injected;
use crate::app::daemon;
use crate::app::observer::NoObserver;
use crate::app::start_error::StartError;
use crate::config::{Config, ConfigError, Secrets, WrittenConfig};
use crate::domain::name::StreamName;
use crate::domain::window::Window;
use crate::exit_code::Exit;
use crate::telemetry::{self, LogFormat};

/// Archives every completed window of Huawei Cloud Workspace connection records: once, provably.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 2 usage or config; 3 gaps or damage found; \
4 another instance holds the state directory; 75 temporary failure, try again";

/// What every command takes.
#[derive(Debug, Args)]
struct Global {
    /// The configuration file
    #[arg(long, short, global = true, value_name = "PATH", default_value = "/etc/connvault/config.toml")]
    config: PathBuf,
    /// Print one JSON document instead of tables
    #[arg(long, global = true)]
    json: bool,
    /// What to log of connvault itself, as in RUST_LOG [default: info; warn where a progress bar is shown]
    #[arg(long, global = true, value_name = "FILTER", env = "CONNVAULT_LOG")]
    log: Option<String>,
    /// How to log, where it does not go to the journal
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run as a daemon: archive each window when it is due
    Run,
    /// Archive until nothing is due, then exit
    Once,
    /// Show what would be done now, in order
    Plan,
    /// Show every stream, and every window that is not archived
    Status,
    /// List windows that are due and not archived, or archived unread, and not acknowledged; exit 3 if there are any
    Gaps(gaps::Asked),
    /// Take note of windows that are lost or unread: the log says who did and why, and `gaps` no longer exits 3 for them
    Acknowledge(acknowledge::Asked),
    /// Archive one stream's windows within a stretch of time
    Backfill(backfill::Asked),
    /// Make windows that are parked or pausing due at once
    Retry {
        /// Only of this stream
        stream: Option<StreamName>,
        /// Only this window, as `status` prints it (20261122T000000Z_20261123T000000Z)
        window: Option<Window>,
    },
    /// Read what was archived unread again, with this version's reader; exit 3 if some of it still cannot be read
    Reread {
        /// Only of this stream
        stream: Option<StreamName>,
        /// Only this window, as `status` prints it (20261122T000000Z_20261123T000000Z)
        window: Option<Window>,
    },
    /// Check archives against their logs; exit 3 if anything is wrong
    Verify(verify::Asked),
    /// Make a lost or damaged ledger anew from the logs in the stores; exit 3 if one of them does not verify
    Rebuild(rebuild::Asked),
    /// Try everything that the daemon will need, and say what to do about what does not work; exit 1 if anything does not
    Check(check::Asked),
    /// Show the configuration in force, secrets left out
    Config,
    /// Print a completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// Why a command ended early, in one line (or, for a configuration, one line a problem).
#[derive(Debug)]
struct CliError {
    message: String,
    exit: Exit,
}

impl CliError {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { message: message.into(), exit }
    }
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        Self::new(error.exit(), error.to_string())
    }
}

/// Runs the program with these arguments, the first being its name.
pub async fn run(arguments: impl IntoIterator<Item = OsString>, injected: Injected) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; what cannot be printed (a closed pipe) was not wanted.
            _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    match dispatch(cli, &injected).await {
        Ok(exit) => exit,
        Err(error) => {
            for line in error.message.lines() {
                output::say(line);
            }
            error.exit
        }
    }
}

async fn dispatch(cli: Cli, injected: &Injected) -> Result<Exit, CliError> {
    let Cli { global, command } = cli;
    let bars =
        matches!(command, Command::Once | Command::Backfill(_) | Command::Verify(_) | Command::Rebuild(_))
            .then(|| progress::bars(global.json))
            .flatten();
    let level =
        global.log.as_deref().unwrap_or(if bars.is_some() { "warn" } else { default_level(&command) });
    telemetry::init(level, global.log_format, bars.as_ref()).map_err(|e| CliError::new(Exit::Usage, e))?;
    let config = || load(&global, Secrets::all);
    let injected = &Injected { written: Some(WrittenConfig::read(&global.config)), ..injected.clone() };
    // Commands that only look read no secret: what the last run recorded of them is enough.
    let looking = || load(&global, |_| Secrets::never());
    match command {
        Command::Run => {
            let controls = signals::controls()?;
            daemon::run(&config()?, injected, &controls, Arc::new(NoObserver)).await?;
            Ok(Exit::Done)
        }
        Command::Once => reconcile::once(&config()?, injected, global.json, bars).await,
        Command::Backfill(asked) => {
            let config = if asked.only_looks() { looking()? } else { config()? };
            backfill::run(&config, injected, &asked, global.json, bars).await
        }
        Command::Plan => plan::run(&looking()?, injected, global.json).await,
        Command::Status => status::run(&looking()?, injected, global.json).await,
        Command::Gaps(asked) => gaps::run(&looking()?, injected, &asked, global.json).await,
        Command::Acknowledge(asked) => {
            acknowledge::run(&looking()?, config, injected, &asked, global.json).await
        }
        Command::Retry { stream, window } => {
            retry::run(&looking()?, injected, stream, window, global.json).await
        }
        Command::Reread { stream, window } => {
            reread::run(&config()?, injected, stream, window, global.json).await
        }
        Command::Verify(asked) => {
            verify::run(|| load(&global, Secrets::of_stores), injected, &asked, global.json, bars).await
        }
        Command::Rebuild(asked) => rebuild::run(&config()?, injected, &asked, global.json, bars).await,
        Command::Check(asked) => {
            let config = read(&global, Secrets::unread);
            check::run(&global.config, &asked, config, injected, global.json).await
        }
        Command::Config => {
            let config = looking()?;
            if global.json {
                output::json(&config.effective())
            } else {
                output::text(&config.effective_toml())
            }
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "connvault", &mut script);
            output::bytes(&script)
        }
        Command::Man => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
            rendered.map_err(|e| CliError::new(Exit::Failed, format!("manual page: {e}")))?;
            output::bytes(&page)
        }
    }
}

/// Commands that only look are silent unless something is wrong.
fn default_level(command: &Command) -> &'static str {
    match command {
        Command::Run | Command::Once | Command::Backfill(_) => "info",
        _ => "warn",
    }
}

fn load(global: &Global, secrets: fn(Option<&Path>) -> Secrets<'_>) -> Result<Config, CliError> {
    read(global, secrets).map_err(|e| CliError::new(Exit::Usage, e.to_string()))
}

/// Reads the configuration with the secrets that `secrets` makes of systemd's directory.
fn read(global: &Global, secrets: fn(Option<&Path>) -> Secrets<'_>) -> Result<Config, ConfigError> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    // A variable that is no text cannot be one of ours.
    let environment =
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    Config::load(&global.config, environment, secrets(credentials.as_deref()))
}
