//! The Bellwether collector: takes OpenTelemetry spans, sends them on, and shows the latency between
//! services. Logs and metrics ([`signal`]) take the same way past the views.
//!
//! The modules in reading order follow one batch: it comes in over [`net`] to [`receive`], [`intake`]
//! walks it in place ([`wire`]), appends it to the [`log`] and counts it into the [`views`]; [`export`]
//! sends it on; [`web`] shows the views. [`pipeline`] is the only place that names every stage.

pub mod allocator;
pub mod budget;
pub mod config;
pub mod episode;
pub mod export;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod intake;
pub mod log;
pub mod metrics;
pub mod net;
pub mod pipeline;
pub mod probe;
pub mod receive;
pub mod secret;
pub mod signal;
pub mod status;
pub mod views;
pub mod web;
pub mod wire;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use config::{Command, Config, ConfigError, Surroundings};
use tokio::runtime::Runtime;

/// Runs the `bellwether` command line `args` (whose first word is the program) to its end: 0 when all went
/// well, 1 when the collector could not start or is not ready or the checked file has faults, 2 when what it should run
/// with has.
pub fn main_with(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let surroundings = Surroundings {
        variable: &|name| std::env::var_os(name),
        root: Path::new("/"),
    };
    let done = match Command::parse(args, &surroundings) {
        Ok(Command::Run(config)) => run(*config),
        Ok(Command::Print(text)) => print(&text),
        Ok(Command::Probe(web)) => probe::probe(&web).map_err(|error| error.to_string()),
        Err(ConfigError::Usage(usage)) => {
            // Help and version go to stdout with 0, the rest to stderr with 2; a closed pipe is no news.
            let _ = usage.print();
            return u8::try_from(usage.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
        Err(faults @ ConfigError::Checked(_)) => {
            eprintln!("{faults}");
            return ExitCode::FAILURE;
        }
        Err(faults @ ConfigError::Faults(_)) => {
            eprintln!("bellwether: {faults}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bellwether: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> Result<(), String> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| format!("cannot write: {error}"))
}

fn run(config: Config) -> Result<(), String> {
    let serving = runtime("serve")?;
    // Apart, so that the system shares processors out between taking spans and sending them: on one runtime senders in
    // a hurry would leave exporters too few turns, and batches would be dropped that there is time to send.
    let exporting = runtime("export")?;
    let ended = serving.block_on(pipeline::run(config, exporting.handle()));
    // Everything is drained, or its time is over: nobody waits for a disk that hangs.
    serving.shutdown_background();
    exporting.shutdown_background();
    ended.map_err(|error| error.to_string())
}

fn runtime(name: &str) -> Result<Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start a runtime: {error}"))
}
