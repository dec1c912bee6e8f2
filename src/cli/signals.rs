//! Signals: SIGTERM and SIGINT stop, SIGHUP wakes. A second one of the first two ends the process at once, which is
//! safe: what a restart finds is what any crash leaves.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::CliError;
use crate::app::daemon::Controls;
use crate::exit_code::Exit;

/// Controls that signals work.
pub(super) fn controls() -> Result<Controls, CliError> {
    let listen = |kind| signal(kind).map_err(|e| CliError::new(Exit::Failed, format!("signals: {e}")));
    let (terminate, interrupt, mut hangup) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?);
    let controls = Controls::default();
    let wake = controls.wake.clone();
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!("SIGHUP: looking again");
            wake.notify_one();
        }
    });
    tokio::spawn(stop(controls.clone(), terminate, interrupt));
    Ok(controls)
}

async fn stop(controls: Controls, mut terminate: Signal, mut interrupt: Signal) {
    loop {
        let number = tokio::select! {
            _ = terminate.recv() => 15,
            _ = interrupt.recv() => 2,
        };
        if controls.stop.is_cancelled() {
            std::process::exit(128 + number);
        }
        tracing::info!("stopping: what is in flight may finish for a few seconds; once more ends it at once");
        controls.stop.cancel();
    }
}
