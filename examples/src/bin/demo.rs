//! `cargo demo`: the collector, the calculator as five services, and traffic, on this machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    bellwether_examples::demo::cli::main_with(std::env::args_os())
}
