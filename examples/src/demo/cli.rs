//! The command line of `cargo demo`. The demo's children are the same program started again, so one build
//! is all it takes.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tower::BoxError;

use super::{Options, children};
use crate::operation::Faults;
use crate::service::{self, Part};

#[derive(Parser)]
#[command(name = "demo", bin_name = "cargo demo", about = "See Bellwether work")]
struct Arguments {
    /// Stop after so many seconds, with a summary; exit code 1 if no span came through.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Requests per second to send.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    #[command(subcommand)]
    child: Option<Child>,
}

/// What the demo starts this program again as.
#[derive(Subcommand)]
enum Child {
    #[command(hide = true)]
    Collector {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    #[command(hide = true)]
    Service {
        #[arg(long)]
        port: u16,
        #[command(flatten)]
        faults: Faults,
        #[command(subcommand)]
        part: Part,
    },
}

/// Runs what `arguments` ask for, the program's name first.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Arguments {
        seconds,
        rate,
        child,
    } = Arguments::parse_from(arguments);
    match child {
        None => run_demo(Options {
            duration: seconds.map(Duration::from_secs),
            rate,
        }),
        Some(Child::Collector { arguments }) => {
            children::stop_with_parent();
            let program = OsString::from("bellwether");
            bellwether_collector::main_with(std::iter::once(program).chain(arguments))
        }
        Some(Child::Service { port, faults, part }) => {
            children::stop_with_parent();
            run_service(part, port, faults)
        }
    }
}

#[tokio::main]
async fn run_demo(options: Options) -> ExitCode {
    report(super::run(options).await)
}

#[tokio::main]
async fn run_service(part: Part, port: u16, faults: Faults) -> ExitCode {
    report(service::run(part, ([127, 0, 0, 1], port).into(), faults).await)
}

fn report(result: Result<(), BoxError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}
