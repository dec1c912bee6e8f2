//! Thirty days of archiving in a few seconds, with nothing to install: `cargo run --release --example demo`.
//!
//! The daemon is the real one, as `connvault run` starts it, with a configuration file and secret files like any
//! other. Around it stand the provider's simulator and an S3 server, both in this process and on loopback, and a clock
//! that is moved from day to day. What the daemon stores stays in the demo's folder as plain files, and is checked
//! there by code that shares nothing with the daemon (`demo/check.rs`).
//!
//! Nothing here waits for a length of time. After each step of the clock the daemon is woken, as cron would wake it,
//! and the next step comes when it says that the day's window is archived.

#[path = "demo/check.rs"]
mod check;
#[allow(dead_code, reason = "the demo needs one dialect of it")]
#[path = "../tests/it/support/s3s.rs"]
mod s3s;
#[path = "demo/stage.rs"]
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connvault::app::compose::{self, Injected};
use connvault::app::daemon::{self, Controls};
use connvault::app::observer::{Ending, Event, Observer};
use connvault::domain::window::Window;
use connvault::telemetry::{self, LogFormat};
use jiff::SignedDuration;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use stage::{DAYS, Stage};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A window that takes longer than this on the machine's clock will never come.
const PATIENCE: Duration = Duration::from_secs(60);
/// How far the clock goes on after a failure, to where its pause is over.
const AFTER_A_FAILURE: SignedDuration = SignedDuration::from_mins(5);
/// More failures than this of one window were not scripted.
const FAILURES: usize = 4;

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = tokio::select! {
        outcome = demo() => outcome,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<(), Error> {
    let logs = std::env::var("CONNVAULT_LOG").unwrap_or_else(|_| "off".to_owned());
    telemetry::init(&logs, LogFormat::Text, None)?;
    let began = Instant::now();
    let stage = Stage::set(folder()?).await?;
    println!("connvault demo: {DAYS} simulated days, in {}", stage.folder.display());

    let controls = Controls::default();
    let (sender, endings) = channel(64);
    let injected = Injected { clock: stage.clock.clone(), ..Injected::default() };
    let daemon = daemon::run(&stage.config, &injected, &controls, Arc::new(Onlooker(sender)));
    let story = async {
        let told = tell(&stage, &controls, endings).await;
        controls.stop.cancel();
        told
    };
    let (ran, told) = tokio::join!(daemon, story);
    ran?;
    told?;
    stage.check_that_all_was_met()?;

    let checked = check::archive(&stage.stream_folder(), &stage.allowed_signers())?;
    checked.compare(DAYS, stage.records)?;
    print!("{}", checked.table());
    println!(
        "\n{DAYS} windows archived, each once, without a gap; {} rows; every SHA-256, every signature and the chain of \
         the log agree with the bytes on disk. {:.1} s",
        checked.rows(),
        began.elapsed().as_secs_f64()
    );
    print!("{}", stage.what_next(&checked));
    Ok(())
}

/// The folder of the demo: the first argument, or `target/connvault-demo` beside the manifest.
fn folder() -> Result<PathBuf, Error> {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/connvault-demo");
    let named = std::env::args_os().nth(1).map(PathBuf::from);
    Ok(std::path::absolute(named.unwrap_or_else(default))?)
}

/// Moves the clock from day to day, and waits each time for the window of the day before.
async fn tell(
    stage: &Stage,
    controls: &Controls,
    mut endings: Receiver<(Window, Ending)>,
) -> Result<(), Error> {
    let rules = compose::rules(&stage.config);
    let rules = rules.first().ok_or("the configuration has no stream")?;
    for window in rules.calendar.windows_from(rules.start).take(DAYS) {
        stage.clock.set(rules.due_at(window) + SignedDuration::from_mins(1));
        controls.wake.notify_one();
        archived(stage, controls, window, &mut endings).await?;
    }
    Ok(())
}

/// Waits until `window` is archived; after a failure the clock goes on, past the pause that the daemon makes.
async fn archived(
    stage: &Stage,
    controls: &Controls,
    window: Window,
    endings: &mut Receiver<(Window, Ending)>,
) -> Result<(), Error> {
    for _ in 0..=FAILURES {
        let next = tokio::time::timeout(PATIENCE, endings.recv()).await;
        let next = next.map_err(|_| format!("window {window} was not archived within {PATIENCE:?}"))?;
        // Without a sender the daemon has ended, and says itself why.
        let Some((ended, ending)) = next else {
            return Ok(());
        };
        match ending {
            Ending::Archived { .. } if ended == window => return Ok(()),
            Ending::Failed(failure) if ended == window => {
                println!("  window {window}: {}", failure.message);
                stage.clock.forward(AFTER_A_FAILURE);
                controls.wake.notify_one();
            }
            other => return Err(format!("window {ended}: {other:?}").into()),
        }
    }
    Err(format!("window {window} failed more than {FAILURES} times").into())
}

/// Hands on how work on each window ended.
struct Onlooker(Sender<(Window, Ending)>);

impl Observer for Onlooker {
    fn on(&self, event: &Event) {
        if let Event::Finished { window, ending, .. } = event {
            // The demo takes each before it moves the clock, so there is room; after its end nobody asks.
            _ = self.0.try_send((*window, ending.clone()));
        }
    }
}
