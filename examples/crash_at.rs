//! Runs connvault and dies by SIGKILL at a named step on a window's way: to see that any moment is safe to die at.
//!
//! ```text
//! cargo run --example crash_at -- data-put 2 once --config config.toml
//! ```
//! kills the process the second time that a data object has just been stored. `connvault once` afterwards finishes the
//! work. The steps are those of `connvault::ports::checkpoint::Step`.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use connvault::app::compose::Injected;
use connvault::cli;
use connvault::ports::checkpoint::{Checkpoint, Step};
use rustix::process::{Signal, getpid, kill_process};

struct CrashAt {
    step: Step,
    /// How often the step is still passed by.
    passes: AtomicUsize,
}

impl Checkpoint for CrashAt {
    fn reached(&self, step: Step) {
        if step != self.step {
            return;
        }
        let last = self
            .passes
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_err();
        if last {
            // Not `abort`: that would let handlers run. Nothing runs after this.
            let died = kill_process(getpid(), Signal::KILL);
            eprintln!("crash_at: not killed: {died:?}");
        }
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_else(|| OsString::from("crash_at"));
    let step = arguments
        .next()
        .and_then(|step| step.into_string().ok())
        .and_then(|step| step.parse().ok());
    let nth = arguments
        .next()
        .and_then(|nth| nth.into_string().ok())
        .and_then(|nth| nth.parse::<usize>().ok());
    let (Some(step), Some(nth @ 1..)) = (step, nth) else {
        let steps: Vec<_> = Step::ALL.iter().map(|step| step.as_str()).collect();
        eprintln!(
            "usage: crash_at STEP N -- COMMAND…, with STEP one of {} and N from 1",
            steps.join(", ")
        );
        return ExitCode::from(2);
    };
    let checkpoint = CrashAt {
        step,
        passes: AtomicUsize::new(nth - 1),
    };
    let injected = Injected {
        checkpoint: Arc::new(checkpoint),
        ..Injected::default()
    };
    let command = std::iter::once(program).chain(arguments.skip_while(|word| word == "--"));
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(cli::run(command, injected)).into(),
        Err(error) => {
            eprintln!("crash_at: {error}");
            ExitCode::FAILURE
        }
    }
}
