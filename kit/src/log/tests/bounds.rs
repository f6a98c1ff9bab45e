//! What must not break a line, whatever is logged: length, formatting that fails, panics, threads.

use std::fmt;

use serde_json::json;
use tracing::{Dispatch, dispatcher, field, info, info_span};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

use super::{PRETTY, captured, fields_of, head, layer};
use crate::log::line::MAX_LINE_BYTES;
use crate::log::value::Value;
use crate::log::{Format, Logger};

#[test]
fn a_long_value_is_cut_at_a_character_and_marked() {
    let fields = fields_of(|| info!(long = "é\n".repeat(50_000), short = 1, "x"));
    let long = fields["long"].as_str().unwrap();
    assert!(
        long.len() < 20_000 && long.ends_with("…[truncated]"),
        "{long}"
    );
    assert_eq!(fields["short"], 1);
}

#[test]
fn a_line_stays_within_its_bytes_and_counts_what_it_omits() {
    let long = "\u{1}".repeat(50_000);
    for format in [Format::Json, PRETTY, Format::Pretty { ansi: true }] {
        let captured = captured(format, || {
            let far = info_span!("far", g = long, h = long, i = long, j = long).entered();
            let near = info_span!("near", k = long, l = long).entered();
            info!(a = long, b = long, c = long, d = long, e = long, "{long}");
            drop((near, far));
        });
        let line = &captured.lines()[0];
        assert!(line.len() < MAX_LINE_BYTES, "{format:?}: {}", line.len());
        assert!(
            line.len() > MAX_LINE_BYTES * 3 / 4,
            "{format:?}: {}",
            line.len()
        );
        let count = line.split_once("dropped_attributes_count").unwrap().1;
        assert!(count.contains(|c: char| ('1'..='9').contains(&c)));
        if format == Format::Json {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }
}

/// Formats without end; gives up when the writer does.
struct Endless;

impl fmt::Debug for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        loop {
            f.write_str("again and ")?;
        }
    }
}

struct Failing;

impl fmt::Debug for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("half")?;
        Err(fmt::Error)
    }
}

#[test]
fn formatting_that_does_not_end_or_fails_is_marked() {
    let fields = fields_of(|| info!(endless = ?Endless, failing = ?Failing, behind = 1, "x"));
    let endless = fields["endless"].as_str().unwrap();
    assert!(endless.ends_with("…[truncated]"), "{endless}");
    assert_eq!(fields["failing"], "half…[formatting failed]");
    assert_eq!(fields["behind"], 1);
}

#[test]
fn a_panic_while_formatting_does_not_harm_the_lines_behind_it() {
    struct Panicking;
    impl fmt::Debug for Panicking {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("in a formatter")
        }
    }
    let lines = captured(Format::Json, || {
        let span = info_span!("span", value = field::Empty, kept = 1);
        let _entered = span.clone().entered();
        let hidden = std::panic::AssertUnwindSafe(|| info!(value = ?Panicking, "lost"));
        assert!(std::panic::catch_unwind(hidden).is_err());
        let hidden = std::panic::AssertUnwindSafe(|| span.record("value", field::debug(Panicking)));
        assert!(std::panic::catch_unwind(hidden).is_err());
        info!("behind");
    })
    .json();
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["message"], &lines[0]["kept"]),
        (&json!("behind"), &json!(1))
    );
}

#[test]
fn a_value_may_log_while_it_is_formatted() {
    struct Logs(Logger);
    impl fmt::Debug for Logs {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0
                .write(&head("inner"), |line| line.field("b", &Value::Text("2")));
            f.write_str("1")
        }
    }
    let (logger, captured) = Logger::capture(Format::Json, "checkout");
    let logs = Logs(logger.clone());
    logger.write(&head("outer"), |line| line.field("a", &Value::Debug(&logs)));
    let lines = captured.json();
    assert_eq!(
        (&lines[0]["message"], &lines[0]["b"]),
        (&json!("inner"), &json!("2"))
    );
    assert_eq!(
        (&lines[1]["message"], &lines[1]["a"]),
        (&json!("outer"), &json!("1"))
    );
}

#[test]
fn lines_of_many_threads_never_mix() {
    const THREADS: usize = 8;
    const LINES: usize = 500;
    let (logger, captured) = Logger::capture(Format::Json, "checkout");
    let dispatch = Dispatch::new(Registry::default().with(layer(&logger)));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let dispatch = &dispatch;
            scope.spawn(move || {
                dispatcher::with_default(dispatch, || {
                    let _span = info_span!("thread", thread).entered();
                    for number in 0..LINES {
                        info!(number, padding = "x".repeat(number), "line");
                    }
                });
            });
        }
    });
    let lines = captured.json();
    assert_eq!(lines.len(), THREADS * LINES);
    for thread in 0..THREADS {
        let own = lines.iter().filter(|line| line["thread"] == thread);
        let numbers: Vec<_> = own.map(|line| line["number"].as_u64().unwrap()).collect();
        assert!(numbers.iter().copied().eq(0..LINES as u64), "{numbers:?}");
    }
}
