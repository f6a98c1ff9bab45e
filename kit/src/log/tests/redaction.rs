//! Secrets, by every way into a line, in every format: their bytes are nowhere.

use std::backtrace::Backtrace;
use std::fmt;
use std::sync::Arc;

use ::http::{HeaderMap, HeaderValue, Uri};
use tracing::field::Empty;
use tracing::{Dispatch, debug, dispatcher, error, info, info_span};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

use super::requests::request_line;
use super::{Log, PRETTY, captured, fields_of, layer, request_context};
use crate::context::Scoped;
use crate::http::{AllowLists, Allowed, Outcome};
use crate::log::panic_line::PanicLine;
use crate::log::{Format, LogControl, Logger, Recorded, RecorderConfig, RequestLine};

/// In all tests the secret, as a value and within a URL.
const SECRET: &str = "hunter2";
const URL: &str = "postgres://me:hunter2@db:5432/orders";
const CLEAN_URL: &str = "postgres://[redacted]@db:5432/orders";

const FORMATS: [Format; 5] = [
    Format::Json,
    Format::Gcp,
    Format::Ecs,
    PRETTY,
    Format::Pretty { ansi: true },
];

/// An error with a cause, and both tell too much.
#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In pieces, as most URLs are written.
        write!(f, "cannot reach ")?;
        ["postgres://", "me", ":", SECRET, "@", "db"]
            .iter()
            .try_for_each(|piece| f.write_str(piece))
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        static CAUSE: std::sync::OnceLock<Refused> = std::sync::OnceLock::new();
        let cause = CAUSE.get_or_init(|| Refused);
        // The cause has none itself.
        (!std::ptr::eq(self, cause)).then_some(cause as _)
    }
}

fn check(what: &str, log: impl Fn()) {
    for format in FORMATS {
        let lines = captured(format, &log).lines();
        let text = lines.join("\n");
        assert!(!text.contains(SECRET), "{what}, {format:?}: {text}");
        assert!(text.contains("[redacted]"), "{what}, {format:?}: {text}");
    }
}

#[test]
fn fields_of_events() {
    check("str", || info!(password = SECRET));
    check("Display", || info!(user.password = %SECRET));
    check("Debug", || info!(API_KEY = ?Some(SECRET)));
    check("quoted name", || info!("x-api-key" = SECRET));
    check("URL", || info!(database = URL));
    check(
        "URL, Display",
        || info!(database = %format_args!("{}{}", "postgres://me:", "hunter2@db")),
    );
    check("URL, Debug", || info!(database = ?Some(URL)));
    check("bearer", || info!(header = "Bearer hunter2"));
    check("basic", || info!(header = ?Some("Basic hunter2")));
    check("error", || {
        info!(error = &Refused as &dyn std::error::Error);
    });
    check("error, Display", || info!(error = %Refused));
}

#[test]
fn numbers_are_hidden_and_booleans_are_not() {
    let line = fields_of(|| info!(token = 7, secret = 1.5, password = true));
    assert_eq!(line["token"], "[redacted]");
    assert_eq!(line["secret"], "[redacted]");
    assert_eq!(line["password"], true);
}

#[test]
fn messages() {
    check("literal", || info!("see postgres://me:hunter2@db"));
    check("argument", || info!("see {URL}"));
    check("in pieces", || {
        let (user, host) = ("me", "mq");
        info!("see amqp://{user}:{SECRET}@{host}");
    });
    check("error", || error!("{Refused}"));
    check("bearer", || info!("sent Authorization: Bearer {SECRET}"));
}

#[test]
fn fields_of_spans_and_what_is_recorded_late() {
    check("span", || {
        let _span = info_span!("call", token = SECRET).entered();
        info!("inside");
    });
    check("URL of a span", || {
        let _span = info_span!("call", database = %URL).entered();
        info!("inside");
    });
    check("late", || {
        let span = info_span!("call", session = Empty, url = Empty).entered();
        span.record("session", SECRET);
        span.record("url", URL);
        info!("inside");
    });
    check("late, again", || {
        let span = info_span!("call", session = 1).entered();
        span.record("session", tracing::field::display(SECRET));
        info!("inside");
    });
}

#[test]
fn the_services_name() {
    for format in FORMATS {
        let (logger, captured) = Logger::capture(format, URL);
        let subscriber = Registry::default().with(layer(&logger));
        dispatcher::with_default(&Dispatch::new(subscriber), || info!("started"));
        let line = captured.lines().concat();
        assert!(line.contains("started") && !line.contains(SECRET), "{line}");
    }
}

#[test]
fn closing_lines() {
    let lists = AllowLists {
        request_headers: vec![::http::header::AUTHORIZATION, ::http::header::REFERER],
        response_headers: vec![::http::header::SET_COOKIE],
        query_keys: vec!["token".to_owned(), "next".to_owned()],
    };
    let allowed = Allowed::new(&lists).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Bearer hunter2"));
    headers.insert("referer", HeaderValue::from_static("http://me:hunter2@h/"));
    headers.insert("set-cookie", HeaderValue::from_static("id=hunter2"));
    let uri = Uri::from_static("/x?token=hunter2&next=http://me:hunter2@h&other=hunter2");
    let mut shown = Vec::new();
    allowed.of_request(&uri, &headers, &mut shown);
    allowed.of_response(&headers, &mut shown);
    let panic = format!("cannot reach {URL}");
    let context = request_context();
    for format in FORMATS {
        let (logger, captured) = Logger::capture(format, "orders");
        let subscriber = Registry::default().with(layer(&logger));
        dispatcher::with_default(&Dispatch::new(subscriber), || {
            logger.request(&RequestLine {
                path: "/to/http://me:hunter2@h".into(),
                user_agent: Some("curl (http://me:hunter2@h)".into()),
                error: Some(&panic),
                shown: &shown,
                ..request_line(&context, Outcome::Panic)
            });
        });
        let line = captured.lines().concat();
        assert!(!line.contains(SECRET), "{line}");
        for part in [
            "http.request.header.authorization",
            "http.response.header.set-cookie",
            "token=[redacted]",
            "next=http://[redacted]@h",
            CLEAN_URL,
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(!line.contains("other"), "{line}");
    }
}

#[test]
fn a_cut_leaves_no_half_of_a_secret() {
    for before in 16_340..16_400 {
        let text = format!("{} http://me:{SECRET}@h", "x".repeat(before));
        for format in FORMATS {
            let line = captured(format, || info!(text)).lines().concat();
            assert!(
                !line.contains("hunter") && !line.contains("me:h"),
                "{before}"
            );
        }
    }
}

#[test]
fn what_is_left_of_a_line_is_whole() {
    let line = fields_of(|| {
        info!(
            mail = "ann@example.com",
            database = URL,
            hosts = ?["http://a:80", "b@c"],
            quoted = "\"http://u:hunter2@h\", \"x\"",
            "order of ann@example.com"
        );
    });
    assert_eq!(line["mail"], "ann@example.com");
    assert_eq!(line["database"], CLEAN_URL);
    assert_eq!(line["hosts"], "[\"http://a:80\", \"b@c\"]");
    assert_eq!(line["quoted"], "\"http://[redacted]@h\", \"x\"");
}

/// No beginning of the secret is in a line either.
fn check_cut(before: usize, format: Format, lines: &[String]) {
    let text = lines.concat();
    let shown = text.contains("hun") || text.contains("me:");
    assert!(!shown, "{before}, {format:?}: {text}");
}

#[test]
fn a_flood_told_of_leaves_no_half_of_a_secret() {
    for before in 485..515 {
        for format in FORMATS {
            let log = Log::in_format(
                format,
                LogControl {
                    filter: "info".to_owned(),
                    rate_limit: Some(1),
                    ..LogControl::default()
                },
            );
            // The second may change once or twice meanwhile.
            for _ in 0..4 {
                error!(target: "shop", "{} http://me:{SECRET}@h", "x".repeat(before));
            }
            log.control.tell_floods();
            let lines = log.captured.lines();
            assert!(lines.iter().any(|line| line.contains("repeated ")));
            check_cut(before, format, &lines);
        }
    }
}

#[test]
fn a_panics_stack_trace_leaves_no_half_of_a_secret() {
    let backtrace = Backtrace::disabled();
    for before in 1_000..1_025 {
        let text = format!("{} http://me:{SECRET}@h", "x".repeat(before));
        for format in FORMATS {
            let (logger, captured) = Logger::capture(format, "orders");
            logger.panic(&PanicLine {
                text: &text,
                location: None,
                thread: None,
                backtrace: Some(&backtrace),
                identity: None,
                spans: &[],
            });
            check_cut(before, format, &captured.lines());
        }
    }
}

#[test]
fn what_the_recorder_kept() {
    for format in FORMATS {
        for before in [0, 470, 480, 490, 500] {
            let log = Log::in_format(
                format,
                LogControl {
                    filter: "info".to_owned(),
                    recorder: Some(RecorderConfig {
                        recorded: Recorded::Only("shop=debug".parse().unwrap()),
                        request_bytes: 1024,
                        ..RecorderConfig::default()
                    }),
                    ..LogControl::default()
                },
            );
            let context = request_context();
            let scope = Scoped::enter(Arc::clone(&context));
            let span = info_span!("call", token = SECRET, database = URL).entered();
            debug!(target: "shop", "{} http://me:{SECRET}@h", "x".repeat(before));
            debug!(target: "shop", password = SECRET, url = %URL, "kept");
            drop(span);
            drop(scope);
            log.logger.request(&request_line(&context, Outcome::Error));
            let lines = log.captured.lines();
            assert!(lines.concat().contains("recorder.recorded"), "{lines:?}");
            assert!(lines.concat().contains("kept"), "{lines:?}");
            check_cut(before, format, &lines);
        }
    }
}
