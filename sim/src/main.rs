//! The simulator as a program: to try the daemon by hand, against an API that can be told to misbehave.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    process::ExitCode,
    str::FromStr,
    time::Duration,
};

use clap::Parser;
use connvault_sim::{
    Bounds, Builder, DEFAULT_PROJECT_ID, Format, Key, Metadata, Records, Rule, Simulator, Withdrawal,
    system_clock,
};
use jiff::{SignedDuration, Timestamp};

const FAULT_HELP: &str = "\
Faults are written ENDPOINT:FAULT[=ARGUMENT][xTIMES], for example export:status=503x3.
ENDPOINT is any, or one of export, query, create-task, list-tasks, download, delete-tasks,
iam-tokens, iam-projects, metadata-token, security-key. Without xTIMES the fault never ends.
  status=CODE            that HTTP status with a JSON error; what is asked for is done all the same,
                         save with 4xx (which 408 is not counted among)
  throttle[=SECONDS]     429, with Retry-After in seconds when given
  throttle-date=SECONDS  429, with Retry-After as a date
  delay=MILLISECONDS     the right answer, late
  drip=MILLISECONDS      the right answer, so long before each byte of the body
  stall=BYTES            so much of the body, then silence
  truncate=BYTES         so much of the body, then closed short of its Content-Length
  cut=BYTES              so much of the body, then an end as if it were whole
  reset=BYTES            so much of the body, then a TCP reset
  omit=RECORDS           a whole answer that lacks so many records
  body=PATH              200 with the bytes of that file
  html, json-error, empty, no-content, content-type, drop";

/// Where the passwords of `--iam-user` come from: an argument would show in every list of processes.
const PASSWORD: &str = "CONNVAULT_SIM_IAM_PASSWORD";

/// Simulates the Huawei Cloud Workspace API for connection records, on this machine alone.
#[derive(Debug, Parser)]
#[command(version, after_help = FAULT_HELP)]
struct Arguments {
    /// Loopback address and port; port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The project that exists.
    #[arg(long, default_value = DEFAULT_PROJECT_ID)]
    project_id: String,
    /// The access key accepted; without one, the published example key of this crate.
    #[arg(long, requires = "secret_key")]
    access_key: Option<String>,
    /// Its secret.
    #[arg(long, requires = "access_key", env = "CONNVAULT_SIM_SECRET_KEY", hide_env_values = true)]
    secret_key: Option<String>,
    /// The same seed gives the same records.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// First instant of the records, such as 2026-11-01T00:00Z [default: 30 days ago].
    #[arg(long)]
    from: Option<Timestamp>,
    /// The instant after the last record; records appear as their time comes [default: in 30 days].
    #[arg(long)]
    to: Option<Timestamp>,
    /// Records per UTC day.
    #[arg(long, default_value_t = 200)]
    per_day: u32,
    /// xlsx, csv, csv-bom, csv-gb18030, csv-gz or xlsx-gz.
    #[arg(long, default_value = "xlsx")]
    format: Format,
    /// How time bounds are read: inclusive, exclusive or half-open.
    #[arg(long, default_value = "exclusive")]
    bounds: Bounds,
    /// Every request finds this many generated rows, streamed as CSV, in place of the records.
    #[arg(long)]
    bulk_rows: Option<u64>,
    /// For so long records are kept; with none given, for ever, save that the v3 export goes back 30 days.
    #[arg(long, value_name = "DAYS")]
    horizon_days: Option<u32>,
    /// In so many lists a task of the v3 export is still being made.
    #[arg(long, value_name = "LISTS", default_value_t = 1)]
    task_polls: u32,
    /// The v2 export is withdrawn: not-found, no-such-api, not-allowed, gone or proxy-404.
    #[arg(long, value_name = "KIND")]
    withdraw_v2: Option<Withdrawal>,
    /// The v2 export is withdrawn after so many exports [KIND by default: not-found].
    #[arg(long, value_name = "EXPORTS")]
    withdraw_v2_after: Option<u64>,
    /// The region, which is what the identity service calls the project.
    #[arg(long, default_value = "sim")]
    region: String,
    /// A user who may have tokens, with the password in the variable CONNVAULT_SIM_IAM_PASSWORD.
    #[arg(long = "iam-user", value_name = "DOMAIN/NAME")]
    iam_users: Vec<IamUser>,
    /// A machine's metadata service, with temporary keys: off, without-tokens or with-tokens.
    #[arg(long, default_value = "off")]
    metadata: Metadata,
    /// A scripted fault; may be given more than once, and the first that matches is met.
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<Rule>,
}

/// Who may log in.
#[derive(Debug, Clone)]
struct IamUser {
    domain: String,
    name: String,
}

impl FromStr for IamUser {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((domain, name)) if !domain.is_empty() && !name.is_empty() => {
                Ok(Self { domain: domain.to_owned(), name: name.to_owned() })
            }
            _ => Err("DOMAIN/NAME".to_owned()),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("connvault-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> io::Result<()> {
    let now = system_clock();
    let month = SignedDuration::from_hours(30 * 24);
    let from = arguments.from.unwrap_or(now - month);
    let to = arguments.to.unwrap_or(now + month);
    let key = match (arguments.access_key, arguments.secret_key) {
        (Some(access), Some(secret)) => Key::permanent(access, secret),
        _ => Key::example(),
    };
    let access = key.access.clone();
    let mut builder = Simulator::builder()
        .listen(arguments.listen)
        .project_id(arguments.project_id)
        .key(key)
        .records(Records::seeded(arguments.seed, from, to, arguments.per_day))
        .format(arguments.format)
        .bounds(arguments.bounds)
        .task_polls(arguments.task_polls)
        .region(arguments.region)
        .metadata(arguments.metadata);
    if let Some(rows) = arguments.bulk_rows {
        builder = builder.bulk_csv_rows(rows);
    }
    if let Some(days) = arguments.horizon_days {
        builder = builder.horizon(Duration::from_secs(u64::from(days) * 86_400));
    }
    let sim = with_users(builder, arguments.iam_users)?.start().await?;
    let (how, after) = (arguments.withdraw_v2, arguments.withdraw_v2_after);
    if how.is_some() || after.is_some() {
        sim.withdraw_v2_after(after.unwrap_or(0), how.unwrap_or(Withdrawal::NotFound));
    }
    for rule in arguments.faults {
        sim.faults().add(rule);
    }
    let mut out = io::stdout();
    writeln!(out, "{}", sim.endpoint())?;
    writeln!(out, "project {}, access key {access}; Ctrl-C stops", sim.project_id())?;
    out.flush()?;
    tokio::signal::ctrl_c().await?;
    sim.stop().await;
    Ok(())
}

fn with_users(builder: Builder, users: Vec<IamUser>) -> io::Result<Builder> {
    if users.is_empty() {
        return Ok(builder);
    }
    let password = std::env::var(PASSWORD).ok().filter(|password| !password.is_empty());
    let password =
        password.ok_or_else(|| io::Error::other(format!("--iam-user needs a password in {PASSWORD}")))?;
    Ok(users.into_iter().fold(builder, |builder, user| builder.iam_user(user.domain, user.name, &password)))
}
