//! The recorder: what is kept of a request, and what is printed of it when it ends.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{debug, dispatcher, info, info_span, trace, warn};
use tracing_subscriber::filter::Targets;

use super::requests::request_line;
use super::{Log, PRETTY, SPAN_ID, TRACE_ID, request_context};
use crate::context::{Scoped, SharedContext};
use crate::http::Outcome;
use crate::log::{Format, LogControl, Recorded, RecorderConfig, RequestLine};

fn config(recorder: RecorderConfig) -> LogControl {
    LogControl {
        filter: "info".to_owned(),
        recorder: Some(recorder),
        ..LogControl::default()
    }
}

/// Of this test's own target, which the recorder's default leaves to the kit.
fn shop() -> RecorderConfig {
    RecorderConfig {
        recorded: Recorded::Only("shop=debug".parse().unwrap()),
        ..RecorderConfig::default()
    }
}

/// Runs `work` as part of a request that then ends so.
fn request(log: &Log, outcome: Outcome, work: impl FnOnce()) -> SharedContext {
    let context = request_context();
    let scope = Scoped::enter(Arc::clone(&context));
    work();
    drop(scope);
    log.logger.request(&request_line(&context, outcome));
    context
}

#[test]
fn a_failed_request_tells_what_it_did() {
    let log = Log::of(config(shop()));
    let began = SystemTime::now();
    request(&log, Outcome::Error, || {
        let _place = info_span!("place", order = 7, user = "ann").entered();
        debug!(target: "shop::stock", sku = "A-1", left = 0, "looked up");
        info!(target: "shop", "printed at once");
        debug!(target: "shop", user = "bob", "decided");
    });
    assert_eq!(
        log.messages(),
        ["printed at once", "looked up", "decided", "request failed"]
    );
    let lines = log.lines();
    let kept = &lines[1];
    assert_eq!(kept["level"], "DEBUG");
    assert_eq!(kept["target"], "shop::stock");
    assert_eq!(kept["trace_id"], TRACE_ID);
    assert_eq!(kept["span_id"], SPAN_ID);
    assert_eq!(kept["request_id"], "a\"b");
    assert_eq!(
        (&kept["sku"], &kept["left"]),
        (&"A-1".into(), &0_i64.into())
    );
    assert_eq!((&kept["order"], &kept["user"]), (&7.into(), &"ann".into()));
    assert_eq!(kept["recorded"], true);
    assert_eq!(lines[2]["user"], "bob", "an event wins over its spans");
    assert!(lines[0].get("recorded").is_none());
    let timestamp = |line: usize| lines[line]["timestamp"].as_str().unwrap().to_owned();
    assert!(
        timestamp(1) < timestamp(0) && timestamp(0) < timestamp(2),
        "their own times"
    );
    assert!(began <= SystemTime::now());
    assert_eq!(lines[3]["recorder.recorded"], 2);
    assert!(lines[3].get("recorder.dropped").is_none());
}

#[test]
fn only_failed_and_slow_requests_tell() {
    let told = |outcome, duration, slow| {
        let log = Log::of(config(RecorderConfig { slow, ..shop() }));
        let context = request_context();
        let scope = Scoped::enter(Arc::clone(&context));
        debug!(target: "shop", "detail");
        drop(scope);
        log.logger.request(&RequestLine {
            duration,
            ..request_line(&context, outcome)
        });
        // The request is over: nothing is kept any more.
        let scope = Scoped::enter(Arc::clone(&context));
        debug!(target: "shop", "late");
        drop(scope);
        let messages = log.messages();
        assert!(!messages.contains(&"late".to_owned()));
        messages.len() == 2
    };
    let (second, quick) = (Duration::from_secs(1), Duration::from_millis(999));
    for outcome in [
        Outcome::Error,
        Outcome::Timeout,
        Outcome::Panic,
        Outcome::BodyError,
    ] {
        assert!(told(outcome, quick, None), "{outcome:?}");
    }
    for outcome in [
        Outcome::Ok,
        Outcome::ClientGone,
        Outcome::Upgraded,
        Outcome::Rejected,
    ] {
        assert!(!told(outcome, quick, Some(second)), "{outcome:?}");
        assert!(told(outcome, second, Some(second)), "{outcome:?}");
        assert!(!told(outcome, second, None), "{outcome:?}");
    }
}

#[test]
fn by_default_the_services_own_debug_events_are_recorded() {
    let log = Log::of(config(RecorderConfig::default()));
    debug!(target: "shop", "outside of any request");
    request(&log, Outcome::Panic, || {
        debug!(target: "hyper::proto", "infrastructure");
        debug!(target: "tower", "infrastructure");
        debug!(target: "bellwether::log", "the kit's own");
        trace!(target: "shop", "trace");
        debug!(target: "towers_of_hanoi", "a service's");
        debug!(target: "sqlx::query", "a library's");
    });
    assert_eq!(
        log.messages(),
        ["a service's", "a library's", "handler panicked"]
    );
}

#[test]
fn directives_say_what_is_recorded() {
    let recorded: Targets = "warn,shop=trace".parse().unwrap();
    let log = Log::of(LogControl {
        filter: "error".to_owned(),
        ..config(RecorderConfig {
            recorded: Recorded::Only(recorded),
            ..shop()
        })
    });
    request(&log, Outcome::Error, || {
        trace!(target: "shop", "trace");
        info!(target: "other", "info");
        warn!(target: "other", "warn");
        warn!(target: "bellwether::request", "never the kit's");
    });
    assert_eq!(log.messages(), ["trace", "warn", "request failed"]);
}

#[test]
fn without_a_recorder_nothing_is_kept() {
    let log = Log::of(LogControl {
        recorder: None,
        ..config(shop())
    });
    request(&log, Outcome::Error, || debug!(target: "shop", "detail"));
    let lines = log.lines();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].get("recorder.recorded").is_none());
}

/// Events of every kind of value, in spans whose fields change.
fn every_kind() {
    struct Fails;
    impl fmt::Debug for Fails {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half")?;
            Err(fmt::Error)
        }
    }
    let error = std::io::Error::other("out of \"luck\"\n");
    let error: &(dyn std::error::Error + 'static) = &error;
    let outer = info_span!("outer", a = 1, b = "outer", late = tracing::field::Empty);
    let _outer = outer.enter();
    debug!(target: "shop", text = "\"\u{7}\u{202e}é", bool = true, float = 1.5, nan = f64::NAN, "kinds");
    outer.record("late", "recorded");
    debug!(target: "shop", int = -3, big = u64::MAX, huge = u128::MAX, small = i128::MIN, "after a record");
    let _inner = info_span!("inner", b = "inner", level = "mine").entered();
    debug!(target: "shop", error, debug = ?Some("x"), display = %"y z", fails = ?Fails, "n = {}", 5);
    outer.record("b", "again");
    debug!(target: "shop", message = "no macro", timestamp = 1, b = "event");
    debug!(target: "shop", alone = "no message");
    debug!(target: "shop", text = %"x".repeat(2_000), "a long value");
}

/// The line of a recorded event is the line that it would have been, but for its mark.
#[test]
fn a_recorded_line_is_the_line_it_would_have_been() {
    for format in [Format::Json, PRETTY, Format::Pretty { ansi: true }] {
        let lines = |filter: &str| {
            let log = Log::in_format(
                format,
                LogControl {
                    filter: filter.to_owned(),
                    ..config(shop())
                },
            );
            request(&log, Outcome::Error, every_kind);
            let mut lines = log.captured.lines();
            assert_eq!(lines.len(), 7);
            lines.truncate(6);
            lines
        };
        let printed = lines("info,shop=debug");
        let recorded = lines("info");
        // From the level on: their times differ.
        let from_level = |line: &str| line.get(line.find("DEBUG").unwrap()..).unwrap().to_owned();
        for (printed, recorded) in printed.iter().zip(&recorded) {
            let mark = match format {
                Format::Json | Format::Gcp | Format::Ecs => ",\"recorded\":true",
                Format::Pretty { ansi: false } => " recorded=true",
                Format::Pretty { ansi: true } => " \u{1b}[2mrecorded=\u{1b}[0mtrue",
            };
            assert!(recorded.contains(mark), "{recorded}");
            let unmarked = recorded.replacen(mark, "", 1);
            assert_eq!(from_level(printed), from_level(&unmarked));
        }
    }
}

#[test]
fn the_oldest_events_make_room_in_order() {
    let log = Log::of(config(RecorderConfig {
        request_bytes: 4 * 1024,
        ..shop()
    }));
    request(&log, Outcome::Error, || {
        for number in 0..1_000 {
            let _span = info_span!("step", number).entered();
            debug!(target: "shop", number, "step");
            debug!(target: "shop", number, long = %"x".repeat(number % 100), "done");
        }
    });
    let lines = log.lines();
    let (closing, kept) = lines.split_last().unwrap();
    assert!((10..100).contains(&kept.len()), "{}", kept.len());
    let recorded = closing["recorder.recorded"].as_u64().unwrap();
    assert_eq!(recorded, kept.len() as u64);
    assert_eq!(
        recorded + closing["recorder.dropped"].as_u64().unwrap(),
        2_000
    );
    for (at, line) in kept.iter().rev().enumerate() {
        let number = 999 - at / 2;
        assert_eq!(line["number"], number, "{line}");
        let expected = if at % 2 == 0 { "done" } else { "step" };
        assert_eq!(line["message"], expected);
    }
}

#[test]
fn a_huge_event_is_cut_and_huge_spans_are_left_out() {
    let log = Log::of(config(RecorderConfig {
        request_bytes: 1024,
        ..shop()
    }));
    request(&log, Outcome::Error, || {
        let _span = info_span!("span", small = 1, huge = %"x".repeat(10_000)).entered();
        debug!(target: "shop", huge = %"é".repeat(10_000), "huge");
    });
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let value = lines[0]["huge"].as_str().unwrap();
    assert!(
        value.starts_with("éé") && value.ends_with("…[truncated]"),
        "{value}"
    );
    assert!(value.len() < 1024);
    assert_eq!(lines[0]["small"], 1);
    assert_eq!(log.logger.line_counts().recorder_full, 0);
}

#[test]
fn all_requests_together_keep_no_more_than_the_total() {
    const TOTAL: usize = 256 * 1024;
    const REQUESTS: usize = 1_000;
    const EVENTS: usize = 50;
    let log = Log::of(config(RecorderConfig {
        total_bytes: TOTAL,
        ..shop()
    }));
    let dispatch = log.dispatch();
    let contexts: Vec<_> = (0..REQUESTS).map(|_| request_context()).collect();
    std::thread::scope(|scope| {
        for contexts in contexts.chunks(REQUESTS / 4) {
            let (dispatch, control) = (&dispatch, &log.control);
            scope.spawn(move || {
                dispatcher::with_default(dispatch, || {
                    for number in 0..EVENTS {
                        for context in contexts {
                            let _scope = Scoped::enter(Arc::clone(context));
                            debug!(target: "shop", number, "step {number}");
                        }
                        assert!(control.recorded_bytes() <= TOTAL);
                    }
                });
            });
        }
    });
    assert!(log.control.recorded_bytes() > TOTAL / 2);
    let full = log.logger.line_counts().recorder_full;
    let mut printed = 0;
    for context in &contexts {
        log.logger.request(&request_line(context, Outcome::Error));
    }
    for line in log.lines() {
        printed += line["recorder.recorded"].as_u64().unwrap_or(0);
    }
    assert!(full > 0 && printed > 0);
    assert_eq!(printed + full, (REQUESTS * EVENTS) as u64);
    assert_eq!(log.control.recorded_bytes(), 0, "all of it is given back");
    // And taken again.
    request(&log, Outcome::Error, || debug!(target: "shop", "again"));
    assert!(log.messages().contains(&"again".to_owned()));
}

#[test]
fn a_request_that_vanishes_gives_its_room_back() {
    let log = Log::of(config(shop()));
    let context = request_context();
    let scope = Scoped::enter(Arc::clone(&context));
    debug!(target: "shop", "detail");
    drop(scope);
    assert!(log.control.recorded_bytes() > 0);
    drop(context);
    assert_eq!(log.control.recorded_bytes(), 0);
    assert!(log.lines().is_empty());
}

#[test]
fn events_inside_the_making_of_an_event_have_their_own_fate() {
    struct Logs;
    impl fmt::Debug for Logs {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            // `tracing` lets nothing through from within a subscriber of one thread alone.
            info!(target: "shop", "inside");
            f.write_str("value")
        }
    }
    fn loud() -> u32 {
        debug!(target: "shop", "while the fields are made");
        info!(target: "shop", "shown");
        7
    }
    let log = Log::of(config(shop()));
    request(&log, Outcome::Error, || {
        debug!(target: "shop", value = ?Logs, number = loud(), "outside");
    });
    assert_eq!(
        log.messages(),
        [
            "shown",
            "while the fields are made",
            "outside",
            "request failed"
        ]
    );
    assert_eq!(log.lines()[2]["value"], "value");
}

#[test]
fn a_value_that_panics_leaves_the_recording_whole() {
    struct Panics;
    impl fmt::Debug for Panics {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("in the middle")
        }
    }
    let log = Log::of(config(shop()));
    request(&log, Outcome::Panic, || {
        debug!(target: "shop", "before");
        let caught = std::panic::catch_unwind(|| debug!(target: "shop", value = ?Panics, "lost"));
        assert!(caught.is_err());
        debug!(target: "shop", "after");
    });
    assert_eq!(log.messages(), ["before", "after", "handler panicked"]);
}

#[test]
fn tasks_of_one_request_share_its_recording() {
    let log = Log::of(config(shop()));
    let dispatch = log.dispatch();
    request(&log, Outcome::Error, || {
        let context = crate::context::current().unwrap();
        std::thread::scope(|scope| {
            for task in 0..4 {
                let (dispatch, context) = (&dispatch, &context);
                scope.spawn(move || {
                    let _scope = Scoped::enter(Arc::clone(context));
                    dispatcher::with_default(dispatch, || {
                        let _span = info_span!("task", task).entered();
                        for step in 0..10 {
                            debug!(target: "shop", step, in_task = task, "step");
                        }
                    });
                });
            }
        });
    });
    let lines = log.lines();
    assert_eq!(lines.len(), 41);
    for task in 0..4 {
        let steps: Vec<_> = lines
            .iter()
            .filter(|line| line["task"] == task)
            .map(|line| {
                assert_eq!(line["in_task"], task);
                line["step"].as_u64().unwrap()
            })
            .collect();
        assert_eq!(steps, (0..10).collect::<Vec<_>>());
    }
}

#[test]
fn a_live_filter_prints_what_was_recorded_before() {
    let log = Log::of(config(shop()));
    let step = |number: u32| debug!(target: "shop", number, "step");
    request(&log, Outcome::Error, || {
        step(1);
        log.control.set_filter(Some("shop=debug"), None).unwrap();
        step(2);
        log.control.set_filter(None, None).unwrap();
        step(3);
    });
    let lines = log.lines();
    let step = |number: u32| lines.iter().find(|line| line["number"] == number).unwrap();
    assert_eq!(step(1)["recorded"], true);
    assert!(step(2).get("recorded").is_none());
    assert_eq!(step(3)["recorded"], true);
}

#[test]
fn a_filter_that_hides_everything_hides_what_would_be_recorded() {
    let log = Log::of(LogControl {
        filter: "off".to_owned(),
        ..config(shop())
    });
    let work = || debug!(target: "shop", "hidden");
    request(&log, Outcome::Error, work);
    assert_eq!(log.messages(), [""; 0]);
    log.control.set_filter(Some("error"), None).unwrap();
    request(&log, Outcome::Error, work);
    log.control.set_filter(None, None).unwrap();
    request(&log, Outcome::Error, work);
    let changed = "the log filter has changed";
    assert_eq!(
        log.messages(),
        [changed, "hidden", "request failed", changed]
    );
}

#[test]
fn spans_of_events_that_find_no_room_take_none() {
    const TOTAL: usize = 2 * 1024;
    let log = Log::of(config(RecorderConfig {
        total_bytes: TOTAL,
        ..shop()
    }));
    let contexts: Vec<_> = (0..100).map(|_| request_context()).collect();
    for context in &contexts {
        let _scope = Scoped::enter(Arc::clone(context));
        for number in 0..20 {
            let _span = info_span!("span", number, long = "x".repeat(500)).entered();
            debug!(target: "shop", "step");
        }
    }
    let kept: usize = contexts
        .iter()
        .map(|context| context.recording.bytes())
        .sum();
    assert!((1..=TOTAL).contains(&kept), "{kept}");
    assert!(log.logger.line_counts().recorder_full > 1_900);
}

#[test]
fn a_field_of_the_services_is_not_taken_for_the_recorders() {
    let log = Log::of(config(shop()));
    request(&log, Outcome::Error, || {
        let _span = info_span!("span", recorded = 3).entered();
        debug!(target: "shop", recorded = 5, "payments");
        debug!(target: "shop", "next");
    });
    let lines = log.lines();
    assert_eq!(lines[0]["recorded"], 5);
    assert_eq!(lines[1]["recorded"], true);
}
