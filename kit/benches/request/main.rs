//! What the kit adds to a request, to an event and to a span: time, allocations, instructions. See README.md.
//!
//! Each case runs in a process of its own, since a process has one `tracing` subscriber: this program
//! starts itself once a case, throws away the log lines, and receives the spans.

mod allocations;
mod assembled;
mod cases;
mod floor;
mod instructions;
mod sink;
mod sockets;

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use criterion::Criterion;

use cases::{Case, Fixture};

/// What a child is told to do, by its first argument.
const TIME: &str = "time-one";
const ALLOCATIONS: &str = "allocations-one";
const RUN: &str = "run-one";
const SERVE: &str = "serve-one";

fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [TIME, case] => Case::named(case).map(time),
        [ALLOCATIONS, case] => Case::named(case).map(allocations::print),
        [RUN, case, times] => Case::named(case).zip(times.parse().ok()).map(run),
        [] => Some(each(TIME)),
        ["allocations"] => Some(each(ALLOCATIONS)),
        [SERVE, case] => Case::named(case).map(sockets::serve),
        ["sockets"] => Some(sockets::print()),
        ["instructions"] => Some(instructions::print()),
        _ => None,
    }
    .unwrap_or_else(|| {
        eprintln!("arguments: none, `allocations`, `instructions` or `sockets`");
        ExitCode::FAILURE
    })
}

/// Runs every case in a process of its own; shows what it prints, but for its log lines.
fn each(what: &str) -> ExitCode {
    let Ok(endpoint) = sink::start() else {
        return ExitCode::FAILURE;
    };
    for case in Case::ALL {
        let child = child(case)
            .args([what, case.name()])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            return ExitCode::FAILURE;
        };
        let lines = child
            .stdout
            .take()
            .into_iter()
            .flat_map(|out| BufReader::new(out).lines());
        for line in lines
            .map_while(Result::ok)
            .filter(|line| !line.starts_with('{'))
        {
            println!("{line}");
        }
        if !child.wait().is_ok_and(|status| status.success()) {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// This program again, in the environment of a case.
fn child(case: Case) -> Command {
    let program = std::env::current_exe().unwrap_or_default();
    let mut command = Command::new(program);
    in_environment(&mut command, case);
    command
}

fn in_environment(command: &mut Command, case: Case) {
    command
        .env("BELLWETHER_LOG_FORMAT", "json")
        .env("OTEL_TRACES_SAMPLER", case.sampler())
        .env("BELLWETHER_LOG_RATE_LIMIT", "1000000000")
        .env("BELLWETHER_RECORDER", case.recorder())
        .env("BELLWETHER_RECORDER_SLOW", "off")
        .env("RUST_LOG", case.log());
}

fn time(case: Case) -> ExitCode {
    let fixture = Fixture::new(case);
    Criterion::default()
        .measurement_time(Duration::from_secs(3))
        .bench_function(case.name(), |bencher| {
            bencher.iter_custom(|times| {
                let began = Instant::now();
                fixture.run(times);
                began.elapsed()
            });
        });
    ExitCode::SUCCESS
}

/// A fixed number of times, for a profiler.
fn run((case, times): (Case, u64)) -> ExitCode {
    // Never dropped: freeing the spans that wait is no part of a request.
    let fixture = Box::leak(Box::new(Fixture::new(case)));
    fixture.run(times);
    if case == Case::Export {
        fixture.finish();
    }
    ExitCode::SUCCESS
}
