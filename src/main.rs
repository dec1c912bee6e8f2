//! The program: parses, calls, and maps to an exit code.

use std::io::Write;
use std::process::ExitCode;

use connvault::app::compose::Injected;
use connvault::cli;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            // Whoever read standard error may be gone.
            _ = writeln!(std::io::stderr(), "connvault: cannot start the runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> std::io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all()
        .build()?;
    let exit = runtime.block_on(cli::run(std::env::args_os(), Injected::default()));
    // A file that is still being looked into must not keep a stopped daemon from ending.
    runtime.shutdown_background();
    Ok(exit.into())
}
