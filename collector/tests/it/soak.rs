//! A long run at half of what the collector can take, with a data directory: what it holds at the end is what it held once it
//! was warm. Results: `docs/overload.md`.
//!
//! A minute; 15 minutes, or as many seconds as `BELLWETHER_SOAK` says, by
//! `BELLWETHER_FULL=1 cargo test --release -p bellwether-collector --test it soak -- --nocapture`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::flood::{Load, Plan, Usage, is_full, percentile, say};
use super::process::{Collector, get, wait_for_at_most};
use super::sink::Sink;

const PATIENCE: Duration = Duration::from_secs(120);
const SENDERS: usize = 4;
const SPANS: u64 = 200;

fn plan(every: Duration) -> Plan {
    Plan {
        senders: SENDERS,
        spans: SPANS,
        bytes: 200,
        every,
    }
}

/// How long it runs, and after how much of it what it holds is compared with the end: two minutes are the retention, after
/// which as much goes as comes.
fn times() -> (Duration, Duration) {
    let told = std::env::var("BELLWETHER_SOAK").ok();
    let told = told.map(|seconds| seconds.parse().unwrap());
    let whole: u64 = told.unwrap_or(900);
    let seconds = if is_full() {
        [whole, 120.min(whole / 2)]
    } else {
        [60, 30]
    };
    let [whole, warm] = seconds.map(Duration::from_secs);
    (whole, warm)
}

/// How much more may be held at the end: of memory, in hundredths. A minute does not fill the windows of the views.
fn most_growth() -> u64 {
    if is_full() { 5 } else { 20 }
}

/// What is held for a few seconds, in the middle of it: a batch under way must not count.
fn usage(collector: &Collector) -> Usage {
    let mut seen = Vec::new();
    let mut next = Instant::now();
    wait_for_at_most(PATIENCE, "samples", || {
        if Instant::now() >= next {
            seen.push(Usage::of(collector.id()));
            next += Duration::from_millis(250);
        }
        seen.len() == 21
    });
    let median = |of: fn(&Usage) -> u64| {
        let mut values: Vec<_> = seen.iter().map(of).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    Usage {
        resident_bytes: median(|usage| usage.resident_bytes),
        threads: median(|usage| usage.threads),
        files: median(|usage| usage.files),
    }
}

/// What it holds and what that is for, said now and then: what grows is found by it.
fn tell(collector: &Collector, since: Instant) {
    let (_, status) = get(&collector.web("/api/v1/status"));
    let status: Value = serde_json::from_str(&status).unwrap();
    let (views, log) = (&status["views"], &status["log"]);
    let queue = &status["exporters"][0]["queue_bytes"];
    say(&format!(
        "{:.0?} {:?} queue_bytes {queue} log {log} views {views}",
        since.elapsed(),
        Usage::of(collector.id()),
    ));
}

fn segments(directory: &TempDir) -> (usize, u64) {
    let files = std::fs::read_dir(directory.path()).unwrap();
    // One may go while it is looked at.
    let sizes = files
        .map_while(Result::ok)
        .filter_map(|file| file.metadata().ok());
    let sizes: Vec<_> = sizes.map(|of| of.len()).collect();
    (sizes.len(), sizes.iter().sum())
}

#[test]
fn at_half_of_its_capacity_it_holds_at_the_end_what_it_held_when_warm() {
    let (directory, sink) = (TempDir::new().unwrap(), Sink::counting());
    let (path, url) = (directory.path().to_str().unwrap(), sink.url());
    let data_limit = 256 << 20;
    let args = [
        "--data-dir",
        path,
        "--data-limit",
        "256MiB",
        "--retention",
        "2m",
        "--memory-limit",
        "128MiB",
        "--export",
        &url,
    ];
    let collector = Collector::start_with(&args, &[("BELLWETHER_GRACE", "60s")]);
    // As fast as it answers, on this machine and beside this load.
    let all = Load::over_http(&collector, plan(Duration::ZERO));
    let begun = Instant::now();
    wait_for_at_most(PATIENCE, "a first load", || {
        begun.elapsed() > Duration::from_secs(5)
    });
    let first = all.stop();
    let capacity = first.latencies.len() as f64 / begun.elapsed().as_secs_f64();
    let every = Duration::from_secs_f64(2.0 * SENDERS as f64 / capacity);
    let load = Load::over_http_from(&collector, plan(every), 1 << 40);

    let (whole, warm) = times();
    let begun = Instant::now();
    let mut told = 0;
    let mut tell_often = || {
        if begun.elapsed().as_secs() / 30 > told {
            told += 1;
            tell(&collector, begun);
        }
    };
    wait_for_at_most(whole + PATIENCE, "it to be warm", || {
        tell_often();
        begun.elapsed() > warm
    });
    let before = usage(&collector);
    let (mut most_files, mut most_bytes) = (0, 0);
    wait_for_at_most(whole + PATIENCE, "the end", || {
        let (files, bytes) = segments(&directory);
        (most_files, most_bytes) = (files.max(most_files), bytes.max(most_bytes));
        tell_often();
        begun.elapsed() > whole
    });
    let after = usage(&collector);
    let report = load.stop();
    assert_eq!(
        (report.faults, first.faults),
        (BTreeSet::new(), BTreeSet::new())
    );
    let accepted = (report.accepted.len() + first.accepted.len()) as u64;
    let sent = || {
        let (_, status) = get(&collector.web("/api/v1/status"));
        let status: Value = serde_json::from_str(&status).unwrap();
        let exporter = &status["exporters"][0];
        assert_eq!(
            (&exporter["dropped_spans"], &exporter["set_aside_spans"]),
            (&0.into(), &0.into())
        );
        exporter["sent_spans"].as_u64().unwrap()
    };
    wait_for_at_most(PATIENCE, "everything to be sent", || sent() == accepted);
    // None came twice, for nothing was sent again.
    assert_eq!(sink.spans(), accepted);
    let p99 = percentile(&report.latencies, 99);
    say(&format!(
        "soak of {whole:?} at {:.0} spans/s, half of {:.0}: {} refused; answers p99 {p99:?}; after {warm:?} {before:?}, at \
         the end {after:?}; at most {most_files} files with {} MiB; {accepted} spans accepted and delivered",
        report.latencies.len() as f64 * SPANS as f64 / whole.as_secs_f64(),
        capacity * SPANS as f64,
        report.refused,
        most_bytes >> 20,
    ));
    assert!(most_bytes <= data_limit, "{most_bytes} bytes");
    let grown = before.resident_bytes / 100 * (100 + most_growth());
    assert!(after.resident_bytes <= grown, "{before:?} became {after:?}");
    assert!(after.resident_bytes <= 128 << 20, "{after:?}");
    // Threads for the moment's reading of files come and go.
    assert!(
        after.threads <= before.threads + 2,
        "{before:?} became {after:?}"
    );
    assert!(
        after.files <= before.files + 2,
        "{before:?} became {after:?}"
    );
    collector.stop();
}
