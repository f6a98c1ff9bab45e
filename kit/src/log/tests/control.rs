//! The filter in force: what it lets through, and how it changes while the service runs.

use std::time::{Duration, Instant};

use tracing::{Level, debug, error, info, info_span, trace};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use super::{Log, layer};
use crate::log::control::FilterReport;
use crate::log::{Control, Format, LogControl, LogFilter, Logger};
use crate::span;

fn filter(filter: &str) -> LogControl {
    LogControl {
        filter: filter.to_owned(),
        ..LogControl::default()
    }
}

fn speak() {
    trace!("trace");
    debug!(target: "shop::cart", "cart");
    debug!("debug");
    info!("info");
    let _span = info_span!("place", order = 7).entered();
    debug!("debug in a span");
    error!("error");
}

/// A filter does what `EnvFilter`, which reads it, does.
#[test]
fn prints_what_the_filter_shows() {
    for directives in [
        "info",
        "off",
        "trace",
        "error,shop=debug",
        "info,[place]=debug",
        "warn,[place{order=7}]=trace",
        "warn,[place{order=8}]=trace",
    ] {
        let log = Log::of(filter(directives));
        speak();
        let (logger, expected) = Logger::capture(Format::Json, "checkout");
        let subscriber = Registry::default()
            .with(EnvFilter::new(directives))
            .with(layer(&logger));
        tracing::subscriber::with_default(subscriber, speak);
        let message = |line: serde_json::Value| line["message"].as_str().unwrap().to_owned();
        let expected: Vec<_> = expected.json().into_iter().map(message).collect();
        assert_eq!(log.messages(), expected, "{directives}");
    }
}

/// What an old `RUST_LOG` does not know of is not hidden by it.
#[test]
fn a_filter_of_other_targets_leaves_the_kits_own_lines() {
    for (directives, shown) in [
        ("shop=debug", true),
        ("shop=debug, tower_http=warn", true),
        ("", true),
        ("off", false),
        ("error,shop=debug", false),
        ("shop=debug,bellwether=off", false),
    ] {
        let log = Log::of(filter(directives));
        info!(target: "bellwether::request", "request");
        assert_eq!(log.messages().len(), usize::from(shown), "{directives:?}");
    }
}

#[test]
fn hidden_events_and_spans_stay_hidden_at_their_call_site() {
    let config = LogControl {
        recorder: Some(crate::log::RecorderConfig::default()),
        ..filter("info")
    };
    let _log = Log::of(config);
    assert!(tracing::debug_span!("hidden").is_disabled());
    assert!(!info_span!("shown").is_disabled());
    // What costs something is not prepared for a recorder that may never print it.
    assert!(!tracing::enabled!(Level::DEBUG));
    assert!(tracing::enabled!(Level::INFO));
}

#[test]
fn a_filter_changes_at_once_and_back() {
    let log = Log::of(filter("info"));
    let speak = || debug!("detail");
    speak();
    log.control
        .set_filter(Some(" info,bellwether=debug "), None)
        .unwrap();
    speak();
    assert_eq!(
        log.control.filter(),
        FilterReport {
            filter: "info,bellwether=debug".to_owned(),
            configured: "info".to_owned(),
            expires_in: None,
        }
    );
    log.control.set_filter(None, None).unwrap();
    speak();
    assert_eq!(log.control.filter().filter, "info");
    let changed = "the log filter has changed";
    assert_eq!(log.messages(), [changed, "detail", changed]);
    let lines = log.lines();
    let told = &lines[0];
    assert_eq!(told["level"], "WARN");
    assert_eq!(told["filter.old"], "info");
    assert_eq!(told["filter.new"], "info,bellwether=debug");
    assert_eq!(lines[2]["filter.new"], "info");
}

#[test]
fn every_change_is_told_whatever_the_filter_hides() {
    let log = Log::of(filter("off"));
    log.control
        .set_filter(Some("error"), Some(Duration::from_secs(60)))
        .unwrap();
    let lines = log.lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["expires_in_seconds"], 60.0);
    let left = log.control.filter().expires_in.unwrap();
    assert!(left > Duration::from_secs(30) && left <= Duration::from_secs(60));
}

#[test]
fn a_filter_goes_back_by_itself_although_nobody_logs() {
    let log = Log::of(filter("info"));
    log.control
        .set_filter(Some("debug"), Some(Duration::from_secs(1)))
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while log.control.filter().expires_in.is_some() {
        assert!(Instant::now() < deadline);
        std::thread::park_timeout(Duration::from_millis(5));
    }
    assert_eq!(log.control.filter().filter, "info");
    debug!("hidden again");
    let lines = log.lines();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["reason"], "expired");
    assert_eq!(lines[1]["filter.old"], "debug");
    assert_eq!(lines[1]["filter.new"], "info");
}

/// Both wait for the one timer.
#[test]
fn a_flood_meanwhile_does_not_keep_a_filter_in_force() {
    let log = Log::of(LogControl {
        rate_limit: Some(1),
        ..filter("info")
    });
    let time = Duration::from_secs(2);
    log.control.set_filter(Some("debug"), Some(time)).unwrap();
    for _ in 0..50 {
        info!(target: "shop", "flood");
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while log.control.filter().expires_in.is_some() {
        assert!(Instant::now() < deadline);
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let lines = log.lines();
    let at = |wanted: &dyn Fn(&serde_json::Value) -> bool| lines.iter().position(wanted).unwrap();
    let told = at(&|line| line.get("repeated").is_some());
    assert!(told < at(&|line| line["reason"] == "expired"));
}

#[test]
fn a_later_change_outlives_the_time_of_the_one_before() {
    let log = Log::of(filter("info"));
    let second = Duration::from_secs(1);
    log.control.set_filter(Some("debug"), Some(second)).unwrap();
    log.control.set_filter(Some("warn"), None).unwrap();
    log.control.set_filter(Some("trace"), None).unwrap();
    // What was due of the first comes before this.
    let waited = Instant::now() + Duration::from_millis(1_200);
    while Instant::now() < waited {
        assert_eq!(log.control.filter().filter, "trace");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert_eq!(log.lines().len(), 3);
}

#[test]
fn changes_that_race_come_one_after_the_other() {
    let log = Log::of(filter("info"));
    let dispatch = log.dispatch();
    let changes = ["debug", "warn", "info,shop=trace", "error"];
    std::thread::scope(|scope| {
        for change in changes {
            let (control, dispatch) = (&log.control, &dispatch);
            scope.spawn(move || {
                tracing::dispatcher::with_default(dispatch, || {
                    for _ in 0..20 {
                        control.set_filter(Some(change), None).unwrap();
                        error!("always shown");
                    }
                });
            });
        }
    });
    let mut lines = log.lines();
    let shown = lines
        .iter()
        .filter(|line| line["message"] == "always shown");
    assert_eq!(shown.count(), 80);
    lines.retain(|line| line["message"] == "the log filter has changed");
    assert_eq!(lines.len(), 80);
    let mut before = "info".to_owned();
    for line in &lines {
        assert_eq!(line["filter.old"], *before);
        before = line["filter.new"].as_str().unwrap().to_owned();
    }
    assert_eq!(log.control.filter().filter, before);
    // What is in force is what the call sites know.
    let hidden = !tracing::event_enabled!(Level::WARN);
    assert_eq!(hidden, before == "error");
}

#[test]
fn what_cannot_be_in_force_changes_nothing() {
    let log = Log::of(filter("info"));
    let check = |filter: &str, time: Option<Duration>, part: &str| {
        let fault = log.control.set_filter(Some(filter), time).unwrap_err();
        assert!(fault.contains(part), "{fault}");
    };
    check("shop=loud", None, "shop=loud");
    check(" ", None, "empty");
    check("info", Some(Duration::ZERO), "1 to 86400");
    check("info", Some(Duration::from_secs(86_401)), "1 to 86400");
    assert_eq!(log.control.filter().filter, "info");
    assert!(log.lines().is_empty());
}

#[test]
fn governs_its_own_layer_alone() {
    let (logger, captured) = Logger::capture(Format::Json, "checkout");
    let (other, others) = Logger::capture(Format::Json, "other");
    let config = LogControl {
        recorder: Some(crate::log::RecorderConfig::default()),
        ..filter("warn")
    };
    let control = Control::start(&logger, config).unwrap();
    let subscriber = Registry::default()
        .with(span::controlled(&control, None).with_filter(LogFilter::new(&control)))
        .with(layer(&other).with_filter(LevelFilter::INFO));
    tracing::subscriber::with_default(subscriber, || {
        let speak = || {
            debug!("debug");
            info!("info");
        };
        speak();
        control.set_filter(Some("debug"), None).unwrap();
        speak();
    });
    let messages = |lines: Vec<serde_json::Value>| {
        let message = |line: &serde_json::Value| line["message"].as_str().unwrap().to_owned();
        lines.iter().map(message).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(messages(others.json()), "info info");
    assert_eq!(
        messages(captured.json()),
        "the log filter has changed debug info"
    );
}
