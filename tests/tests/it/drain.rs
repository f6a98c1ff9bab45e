//! SIGTERM under load: readiness turns first, no answered or accepted request fails, the last spans
//! arrive, and the service exits with 0 within its grace.

use std::process::Command;
use std::time::{Duration, Instant};

use bellwether_tests::http::get;
use bellwether_tests::peers;
use bellwether_tests::process::Process;
use bellwether_tests::sink::Sink;
use bellwether_tests::system::{Collector, Service};
use bellwether_tests::wait::wait_for;

const CONNECTIONS: usize = 200;
/// Of new connections in the instant in which the listener closes.
const MOST_RESETS: u64 = 2;

/// What `hey` says a run met: answers by status, errors by text.
struct Load {
    answered: u64,
    not_ok: Vec<String>,
    errors: Vec<String>,
}

/// Reads the sections of `hey`'s report.
fn read_report(lines: &[String]) -> Load {
    let mut load = Load {
        answered: 0,
        not_ok: Vec::new(),
        errors: Vec::new(),
    };
    let mut section = "";
    for line in lines.iter().map(|line| line.trim()) {
        match line {
            "Status code distribution:" => section = "status",
            "Error distribution:" => section = "errors",
            _ if !line.starts_with('[') => {}
            _ if section == "errors" => load.errors.push(line.to_owned()),
            _ if section == "status" => {
                let count = line.split_whitespace().nth(1);
                load.answered += count.and_then(|count| count.parse().ok()).unwrap_or(0);
                if !line.starts_with("[200]") {
                    load.not_ok.push(line.to_owned());
                }
            }
            _ => {}
        }
    }
    load
}

/// How often an error came, as it stands in brackets before its text.
fn count_in(line: &str) -> u64 {
    let count = line.trim_start_matches('[').split(']').next();
    count
        .and_then(|count| count.parse().ok())
        .unwrap_or(u64::MAX)
}

#[test]
fn sigterm_under_load_fails_no_request() {
    let test = "sigterm_under_load_fails_no_request";
    let Some(hey) = peers::require(test, "hey", peers::hey()) else {
        return;
    };
    let sink = Sink::start();
    let collector = Collector::start(&[&sink.url]);
    let otlp = format!("http://127.0.0.1:{}", collector.otlp_http);
    let sized = [
        ("BELLWETHER_DRAIN_DELAY", "2s"),
        ("BELLWETHER_GRACE", "15s"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "200000"),
    ];
    let mut service = Service::start_cases(&otlp, &sized);

    // 200 connections at 10 requests a second each, for longer than the service lives.
    let mut load = Process::start(
        "hey",
        Command::new(hey)
            .args(["-z", "6s", "-q", "10", "-c", &CONNECTIONS.to_string()])
            .arg(service.url("/wait/5")),
    );
    wait_for("load", || (closed(&service) > 500).then_some(()));

    let asked = Instant::now();
    service.process.terminate();
    wait_for("/readyz to turn", || {
        get(&service.url("/readyz")).filter(|answer| answer.status == 503)
    });
    assert!(service.process.is_running(), "unready first, gone later");
    let status = service.process.wait(Duration::from_secs(15));
    assert_eq!(status.code(), Some(0));
    assert!(
        asked.elapsed() < Duration::from_secs(15),
        "took {:?}",
        asked.elapsed()
    );

    load.wait(Duration::from_secs(60));
    let Load {
        answered,
        not_ok,
        errors,
    } = read_report(&load.output());
    assert!(not_ok.is_empty(), "{not_ok:#?}");
    let others: Vec<_> = errors
        .iter()
        .filter(|e| !e.contains("connection refused") && !e.contains("connection reset"))
        .collect();
    assert!(others.is_empty(), "{others:#?}");
    // Between the last look at the kernel's queue and its end, a connection may still come in that nobody can take.
    let resets = errors.iter().filter(|e| e.contains("connection reset"));
    let resets: u64 = resets
        .map(|line| count_in(line))
        .fold(0, u64::saturating_add);
    assert!(resets <= MOST_RESETS, "{errors:#?}");
    let failed = settled(&service, |outcome| outcome != "ok");
    assert_eq!(failed, 0, "requests that were accepted and failed");

    // hey's count, the log's and the spans' are of the same requests.
    let closed = closed(&service) as u64;
    assert_eq!(answered, closed, "answers seen by hey, closing lines");
    wait_for("the last spans", || (spans(&sink) == closed).then_some(()));
}

fn closed(service: &Service) -> usize {
    settled(service, |outcome| outcome == "ok")
}

/// Closing lines of the requests that the load makes.
fn settled(service: &Service, asked: impl Fn(&str) -> bool) -> usize {
    let log = service.process.log();
    let own = log.iter().filter(|line| line["url.path"] == "/wait/5");
    own.filter(|line| line["outcome"].as_str().is_some_and(&asked))
        .count()
}

fn spans(sink: &Sink) -> u64 {
    sink.spans()
        .iter()
        .filter(|span| span.service == "cases")
        .count() as u64
}
