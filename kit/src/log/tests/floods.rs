//! Floods of lines from one call site: what is written of them, and what is told.

use std::time::{Duration, Instant};

use tracing::{error, info};

use super::Log;
use crate::log::LogControl;

fn limited(lines: u32) -> Log {
    Log::of(LogControl {
        filter: "info".to_owned(),
        rate_limit: Some(lines),
        ..LogControl::default()
    })
}

/// Lines written, and lines told of, of the call site whose lines and told lines contain `message`.
fn counted(log: &Log, message: &str) -> (u64, u64) {
    let mut counts = (0, 0);
    for line in log.lines() {
        if !line["message"].as_str().unwrap().contains(message) {
            continue;
        }
        match line["repeated"].as_u64() {
            Some(repeated) => counts.1 += repeated,
            None => counts.0 += 1,
        }
    }
    counts
}

#[test]
fn what_comes_too_often_is_counted_and_told() {
    let log = limited(10);
    let line = line!() + 2;
    for number in 0..1_000 {
        error!(target: "shop", number, "no {}", "stock");
    }
    for _ in 0..5 {
        info!(target: "shop", "another call site");
    }
    log.control.tell_floods();
    let (written, told) = counted(&log, "no stock");
    assert_eq!(written + told, 1_000);
    // The second may have changed meanwhile, once or twice on a busy machine.
    assert!((10..=100).contains(&written), "{written}");
    assert_eq!(counted(&log, "another"), (5, 0));
    assert_eq!(log.logger.line_counts().rate_limited, told);
    let lines = log.lines();
    let flood = lines
        .iter()
        .find(|line| line.get("repeated").is_some())
        .unwrap();
    assert_eq!(
        (&flood["level"], &flood["target"]),
        (&"ERROR".into(), &"shop".into())
    );
    let text = format!("repeated {} times: no stock", flood["repeated"]);
    assert_eq!(flood["message"], text);
    assert_eq!(flood["code.file.path"], file!());
    assert_eq!(flood["code.line.number"], line);
}

#[test]
fn a_flood_that_stops_is_told_of_by_itself() {
    let log = limited(1);
    for _ in 0..50 {
        info!(target: "shop", "flood");
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (written, told) = counted(&log, "flood");
        if written + told == 50 {
            assert!(told > 0);
            return;
        }
        assert!(Instant::now() < deadline, "{written} {told}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn nothing_is_lost_when_the_log_ends() {
    let log = limited(1);
    for _ in 0..50 {
        info!(target: "shop", "flood");
    }
    let captured = log.captured.clone();
    drop(log);
    let text = captured.lines().join("\n");
    assert!(text.contains("\"repeated\":"), "{text}");
}

#[test]
fn every_line_of_many_threads_is_written_or_told() {
    const THREADS: u64 = 4;
    const LINES: u64 = 5_000;
    let log = limited(100);
    let dispatch = log.dispatch();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                tracing::dispatcher::with_default(&dispatch, || {
                    (0..LINES).for_each(|_| info!(target: "shop", "flood"));
                });
            });
        }
    });
    log.control.tell_floods();
    let (written, told) = counted(&log, "flood");
    assert_eq!(written + told, THREADS * LINES);
}

#[test]
fn the_kits_own_lines_are_never_held_back() {
    let log = limited(1);
    for _ in 0..5 {
        info!(target: "bellwether::serve", "own");
        info!(target: "bellwether", "own");
        info!(target: "bellwether_shop", "theirs");
    }
    log.control.tell_floods();
    assert_eq!(counted(&log, "own").0, 10);
    let (written, told) = counted(&log, "theirs");
    assert!(told > 0 && written + told == 5);
}
