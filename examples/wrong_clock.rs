//! Runs connvault by a clock that is wrong: ahead of the machine's by the seconds that a file says, behind where they are
//! negative. The file is read each time, so the clock can be set while the program runs.
//!
//! ```text
//! echo 3024000 > offset && cargo run --example wrong_clock -- offset once --config config.toml
//! ```

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use connvault::adapters::system_clock::SystemClock;
use connvault::app::compose::Injected;
use connvault::cli;
use connvault::ports::clock::Clock;
use jiff::{SignedDuration, Timestamp};

struct WrongClock {
    offset: PathBuf,
}

impl Clock for WrongClock {
    fn now(&self) -> Timestamp {
        let text = std::fs::read_to_string(&self.offset).unwrap_or_default();
        let seconds = text.trim().parse().map_or(SignedDuration::ZERO, SignedDuration::from_secs);
        let now = SystemClock.now();
        now.saturating_add(seconds).unwrap_or(now)
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_else(|| OsString::from("wrong_clock"));
    let Some(offset) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: wrong_clock FILE COMMAND…");
        return ExitCode::from(2);
    };
    let injected = Injected { clock: Arc::new(WrongClock { offset }), ..Injected::default() };
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(cli::run(std::iter::once(program).chain(arguments), injected)).into(),
        Err(error) => {
            eprintln!("wrong_clock: {error}");
            ExitCode::FAILURE
        }
    }
}
