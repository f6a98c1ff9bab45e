//! Whatever the end-to-end tests start as a process: `cases PORT` is the service of `cases.rs`, anything
//! else is the demo's own command line (the collector, a part of the calculator, the demo itself).

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    match (
        arguments.get(1).and_then(|a| a.to_str()),
        arguments.get(2).and_then(|a| a.to_str()),
    ) {
        (Some("cases"), Some(port)) => bellwether_tests::cases::main(port),
        _ => bellwether_examples::demo::cli::main_with(arguments),
    }
}
