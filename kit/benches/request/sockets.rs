//! What a request costs a server over real sockets: processor time per request, side by side. See README.md.
//!
//! Each case is a process of its own on one processor, loaded by `wrk` on another; its processor time is the
//! kernel's own count, so that a disturbed run shows in the requests per second, not in the cost of one.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};

use super::cases::{self, Case};
use super::sink;

/// Alternated, so that a disturbance of the machine hits all cases alike.
const ROUNDS: usize = 5;
const SECONDS: &str = "3s";
/// The first processor serves, the second asks.
const SERVER: &str = "0";
const CALLER: &str = "1";

const CASES: [Case; 6] = [
    Case::Bare,
    Case::Sampled,
    Case::Unsampled,
    Case::Assembled,
    Case::AssembledBest,
    Case::Floor,
];

pub(crate) fn print() -> ExitCode {
    compare().unwrap_or_else(|fault| {
        eprintln!("{fault}; `taskset` and `wrk` are needed, and two processors");
        ExitCode::FAILURE
    })
}

/// What a child does: serves until it is ended.
pub(crate) fn serve(case: Case) -> ExitCode {
    cases::serve(case);
    ExitCode::SUCCESS
}

fn compare() -> Result<ExitCode, String> {
    let spans = sink::start().map_err(|error| error.to_string())?;
    let mut costs = vec![Vec::new(); CASES.len()];
    for round in 0..ROUNDS {
        println!("round {}", round + 1);
        let mut bare = None;
        for (case, costs) in CASES.into_iter().zip(&mut costs) {
            let run = measure(case, &spans)?;
            let base = *bare.get_or_insert(run.micros);
            costs.push(run.micros / base);
            println!(
                "  {:16}{:10.0} requests/s{:8.2} us each{:8.2} x bare",
                case.name(),
                run.rate,
                run.micros,
                run.micros / base
            );
        }
    }
    println!("median of the ratios");
    for (case, costs) in CASES.into_iter().zip(&mut costs) {
        costs.sort_by(f64::total_cmp);
        println!("  {:16}{:8.2} x bare", case.name(), costs[costs.len() / 2]);
    }
    Ok(ExitCode::SUCCESS)
}

struct Run {
    /// Requests a second.
    rate: f64,
    /// Processor time of the server for each request, all of its threads.
    micros: f64,
}

fn measure(case: Case, spans: &str) -> Result<Run, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut server = Command::new("taskset")
        .args(["-c", SERVER])
        .arg(program)
        .args([super::SERVE, case.name()])
        .env("BELLWETHER_LOG_FORMAT", "json")
        .env("OTEL_TRACES_SAMPLER", case.sampler())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", spans)
        .env("RUST_LOG", "info")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("the server: {error}"))?;
    let run = load(&mut server);
    // Ours, and nobody waits for its drain.
    let _ = server.kill();
    let _ = server.wait();
    run
}

fn load(server: &mut Child) -> Result<Run, String> {
    let told = server.stderr.take().ok_or("no standard error")?;
    let address = BufReader::new(told)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("serving ").map(str::to_owned));
    let url = format!("http://{}/hello/world", address.ok_or("no address")?);
    let wrk = |seconds: &str| {
        let output = Command::new("taskset")
            .args(["-c", CALLER, "wrk", "-t1", "-c32", "-d", seconds])
            .args(["-H", "User-Agent: curl/8.5.0", &url])
            .output()
            .map_err(|error| format!("wrk: {error}"))?;
        Ok::<_, String>(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    wrk("1s")?;
    let before = processor_seconds(server.id())?;
    let report = wrk(SECONDS)?;
    let spent = processor_seconds(server.id())? - before;
    let number = |line: Option<&str>| line.and_then(|text| text.trim().parse::<f64>().ok());
    let requests = report
        .lines()
        .find_map(|line| number(line.split_once(" requests in ").map(|(count, _)| count)));
    let rate = report
        .lines()
        .find_map(|line| number(line.strip_prefix("Requests/sec:")));
    let (requests, rate) = requests.zip(rate).ok_or("wrk gave no figures")?;
    if report.contains("Non-2xx") || report.contains("Socket errors") {
        return Err(format!("requests failed: {report}"));
    }
    Ok(Run {
        rate,
        micros: spent * 1e6 / requests,
    })
}

/// `utime` and `stime` of a process (proc_pid_stat(5)), in ticks of a hundredth of a second.
fn processor_seconds(pid: u32) -> Result<f64, String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    let stat = stat.map_err(|error| format!("/proc/{pid}/stat: {error}"))?;
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum::<f64>();
    Ok(ticks / 100.0)
}
