//! Instructions of the measured threads, counted by callgrind: the difference of two run lengths, so that
//! starting and stopping do not count.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use super::RUN;
use super::cases::Case;
use super::sink;

const SHORT: u64 = 1_000;
const LONG: u64 = 3_000;

pub(crate) fn print() -> ExitCode {
    let mut measured: Vec<(Case, u64)> = Vec::new();
    let Ok(spans) = sink::start() else {
        return ExitCode::FAILURE;
    };
    for case in Case::ALL.into_iter().chain([Case::Export]) {
        let counts = (count(case, SHORT, &spans), count(case, LONG, &spans));
        let (Some(short), Some(long)) = counts else {
            eprintln!(
                "{}: callgrind gave no count; is valgrind installed?",
                case.name()
            );
            return ExitCode::FAILURE;
        };
        let each = long.saturating_sub(short) / (LONG - SHORT);
        let base = case.base();
        let base = base.and_then(|base| measured.iter().find(|(case, _)| *case == base));
        let added = base.map_or(each, |(_, base)| each.saturating_sub(*base));
        println!("{:18}{each:8} instructions{added:8} added", case.name());
        measured.push((case, each));
    }
    ExitCode::SUCCESS
}

/// Instructions of the first thread, which makes the requests, or of all others, of which only the exporter's works.
fn count(case: Case, times: u64, spans: &str) -> Option<u64> {
    let out = std::env::temp_dir().join(format!("bellwether-{}-{times}.callgrind", case.name()));
    let mut valgrind = Command::new("valgrind");
    super::in_environment(&mut valgrind, case);
    valgrind
        .args(["--tool=callgrind", "--separate-threads=yes", "--quiet"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().ok()?)
        .args([RUN, case.name(), &times.to_string()])
        .env("OTEL_BSP_MAX_QUEUE_SIZE", "1000000")
        .env("OTEL_BSP_SCHEDULE_DELAY", "3600000")
        .stdout(Stdio::null());
    if case == Case::Export {
        valgrind.env("OTEL_EXPORTER_OTLP_ENDPOINT", spans);
    } else {
        // No batch fills, and none is due: the exporter's thread leaves the spans where they are.
        valgrind.env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1000000");
    }
    if !valgrind.status().ok()?.success() {
        return None;
    }
    if case == Case::Export {
        let others = (2..).map(|thread| of_thread(&out, thread));
        Some(others.map_while(|file| total(&file)).sum())
    } else {
        total(&of_thread(&out, 1))
    }
}

fn of_thread(out: &Path, thread: u32) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(format!("-{thread:02}"));
    name.into()
}

/// The sum of a callgrind file.
fn total(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("totals: "))?;
    line.trim().parse().ok()
}
