//! The lines of `gcp` and `ecs`, field by field, against what their readers document.

use std::backtrace::Backtrace;
use std::panic::Location;
use std::time::Duration;

use ::http::Version;
use serde_json::{Value as Json, json};
use tracing::{Dispatch, debug, dispatcher, error, info, info_span, trace, warn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

use super::requests::request_line;
use super::schemas::check_line;
use super::{SPAN_ID, TRACE_ID, layer, request_context};
use crate::context::{RequestContext, Scoped, SpanIdentity};
use crate::http::Outcome;
use crate::log::fields::SpanFields;
use crate::log::panic_line::PanicLine;
use crate::log::service::Service;
use crate::log::{Format, Logger, RequestLine};

/// A logger of a service of which all is known.
fn logger(format: Format) -> (Logger, crate::log::Captured) {
    let resource = [
        ("service.version", "1.2.3"),
        ("deployment.environment.name", "production"),
        ("service.instance.id", "checkout-7"),
    ];
    let resource = resource.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let service = Service {
        name: "checkout",
        resource: &resource,
        project: Some("shop-prod"),
    };
    Logger::captured(format, &service).unwrap()
}

const DIALECTS: [Format; 2] = [Format::Gcp, Format::Ecs];

/// Runs `log` under the layer and gives the lines.
fn lines(format: Format, log: impl FnOnce(&Logger)) -> Vec<String> {
    let (logger, captured) = logger(format);
    let subscriber = Registry::default().with(layer(&logger));
    dispatcher::with_default(&Dispatch::new(subscriber), || log(&logger));
    captured.lines()
}

#[test]
fn events_in_and_outside_requests_and_spans() {
    for format in DIALECTS {
        let begin = u64::from(line!());
        let lines = lines(format, |_| {
            info!("outside");
            let _scope = Scoped::enter(request_context());
            warn!(amount = 1.5, "in a request");
            let _far = info_span!("far", user_id = 7, tenant = "far").entered();
            let _near = info_span!("near", tenant = "near", paid = true).entered();
            error!(amount = -3, "in\nspans");
            debug!("fine");
            trace!("finer");
        });
        let end = u64::from(line!());
        let free = ["amount", "user_id", "tenant", "paid"];
        let lines: Vec<Json> = lines
            .iter()
            .enumerate()
            .map(|(at, line)| check_line(format, line, at > 0, &free))
            .collect();
        assert_eq!(lines.len(), 5);
        let (level, levels) = match format {
            Format::Gcp => ("severity", ["INFO", "WARNING", "ERROR", "DEBUG", "DEBUG"]),
            _ => ("log.level", ["info", "warn", "error", "debug", "trace"]),
        };
        for (line, expected) in lines.iter().zip(levels) {
            assert_eq!(line[level], expected);
            let (file, number) = match format {
                Format::Gcp => {
                    let location = &line["logging.googleapis.com/sourceLocation"];
                    assert_eq!(location["function"], module_path!());
                    let number = location["line"].as_str().unwrap().parse().ok();
                    (&location["file"], number)
                }
                _ => (
                    &line["log.origin.file.name"],
                    line["log.origin.file.line"].as_u64(),
                ),
            };
            assert_eq!(file, file!());
            assert!(number.is_some_and(|number: u64| begin < number && number < end));
        }
        assert_eq!(lines[1]["amount"], 1.5);
        let deep = &lines[2];
        assert_eq!(deep["message"], "in\nspans");
        assert_eq!((&deep["amount"], &deep["user_id"]), (&json!(-3), &json!(7)));
        assert_eq!(
            (&deep["tenant"], &deep["paid"]),
            (&json!("near"), &json!(true))
        );
    }
}

/// Keys in the order in which the line has them.
fn keys(line: &str, count: usize) -> Vec<String> {
    let ends = line.match_indices("\":").take(count);
    ends.map(|(end, _)| line[..end].rsplit('"').next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_first_keys_are_those_that_the_specification_wants_first() {
    let ecs = lines(Format::Ecs, |_| info!("x"));
    assert_eq!(
        keys(&ecs[0], 4),
        ["@timestamp", "log.level", "message", "ecs.version"]
    );
    let gcp = lines(Format::Gcp, |_| info!("x"));
    assert_eq!(keys(&gcp[0], 3), ["severity", "time", "message"]);
}

#[test]
fn ids_are_those_of_the_request_and_the_span() {
    let line = |format| {
        let line = lines(format, |_| {
            let _scope = Scoped::enter(request_context());
            info!("x");
        });
        check_line(format, &line[0], true, &[])
    };
    let gcp = line(Format::Gcp);
    let trace = format!("projects/shop-prod/traces/{TRACE_ID}");
    assert_eq!(gcp["logging.googleapis.com/trace"], trace);
    assert_eq!(gcp["logging.googleapis.com/spanId"], SPAN_ID);
    assert_eq!(gcp["logging.googleapis.com/trace_sampled"], true);
    assert_eq!(gcp["request_id"], "a\"b");
    assert_eq!(
        gcp["serviceContext"],
        json!({"service": "checkout", "version": "1.2.3"})
    );
    let ecs = line(Format::Ecs);
    assert_eq!(
        (&ecs["trace.id"], &ecs["span.id"]),
        (&json!(TRACE_ID), &json!(SPAN_ID))
    );
    assert_eq!(
        (&ecs["transaction.id"], &ecs["http.request.id"]),
        (&json!(SPAN_ID), &json!("a\"b"))
    );
}

#[test]
fn without_a_project_a_trace_is_its_id() {
    let (logger, captured) = Logger::capture(Format::Gcp, "checkout");
    let context = request_context();
    let subscriber = Registry::default().with(layer(&logger));
    dispatcher::with_default(&Dispatch::new(subscriber), || {
        logger.request(&request_line(&context, Outcome::Ok));
    });
    let line = &captured.json()[0];
    assert_eq!(line["logging.googleapis.com/trace"], TRACE_ID);
    assert_eq!(line["serviceContext"], json!({"service": "checkout"}));
}

/// What a closing line has that is no field of either schema.
const REQUEST_FIELDS: [&str; 4] = [
    "http.route",
    "time_to_first_byte",
    "outcome",
    "exception.message",
];

fn closing(format: Format, line: &RequestLine<'_>) -> Json {
    let lines = lines(format, |logger| logger.request(line));
    check_line(format, &lines[0], true, &REQUEST_FIELDS)
}

/// A request that nobody answered, of which little is known.
fn unanswered(context: &RequestContext, outcome: Outcome) -> RequestLine<'_> {
    RequestLine {
        route: None,
        status: None,
        time_to_first_byte: None,
        response_body_size: 0,
        client_address: None,
        user_agent: None,
        version: Version::HTTP_2,
        error: None,
        ..request_line(context, outcome)
    }
}

#[test]
fn gcp_closing_lines() {
    let context = request_context();
    let line = closing(Format::Gcp, &request_line(&context, Outcome::Ok));
    let request = json!({
        "requestMethod": "GET", "requestUrl": "/pay/\"7\"", "status": 200, "responseSize": "42",
        "userAgent": "curl\u{7f}", "remoteIp": "127.0.0.1", "latency": "0.012500000s", "protocol": "HTTP/1.1",
    });
    assert_eq!(line["httpRequest"], request);
    assert_eq!(
        (&line["severity"], &line["outcome"]),
        (&json!("INFO"), &json!("ok"))
    );
    assert_eq!(
        (&line["http.route"], &line["time_to_first_byte"]),
        (&json!("/pay/{id}"), &json!(0.002))
    );
    assert_eq!(line["target"], "bellwether::request");

    let gone = closing(Format::Gcp, &unanswered(&context, Outcome::ClientGone));
    let request = json!({
        "requestMethod": "GET", "requestUrl": "/pay/\"7\"", "responseSize": "0", "latency": "0.012500000s",
        "protocol": "HTTP/2",
    });
    assert_eq!(
        (&gone["httpRequest"], &gone["outcome"]),
        (&request, &json!("client_gone"))
    );
    assert!(gone.get("http.route").is_none());

    let failed = RequestLine {
        status: Some(502),
        error: Some("no\nroute"),
        duration: Duration::new(61, 1),
        ..request_line(&context, Outcome::Error)
    };
    let failed = closing(Format::Gcp, &failed);
    assert_eq!(
        (&failed["severity"], &failed["exception.message"]),
        (&json!("ERROR"), &json!("no\nroute"))
    );
    assert_eq!(failed["httpRequest"]["latency"], "61.000000001s");
    assert_eq!(failed["httpRequest"]["status"], 502);
}

#[test]
fn ecs_closing_lines() {
    let context = request_context();
    let line = closing(Format::Ecs, &request_line(&context, Outcome::Ok));
    for (name, expected) in [
        ("http.request.method", json!("GET")),
        ("url.path", json!("/pay/\"7\"")),
        ("http.response.status_code", json!(200)),
        ("http.response.body.bytes", json!(42)),
        ("http.version", json!("1.1")),
        ("client.address", json!("127.0.0.1")),
        ("client.ip", json!("127.0.0.1")),
        ("user_agent.original", json!("curl\u{7f}")),
        ("event.duration", json!(12_500_000)),
        ("event.outcome", json!("success")),
        ("outcome", json!("ok")),
        ("http.route", json!("/pay/{id}")),
        ("log.logger", json!("bellwether::request")),
    ] {
        assert_eq!(line[name], expected, "{name}");
    }
    assert!(line.get("error.type").is_none());

    for (outcome, status, expected, error) in [
        (Outcome::ClientGone, None, "unknown", None),
        (Outcome::Upgraded, Some(101), "success", None),
        (Outcome::Error, Some(502), "failure", Some("502")),
        (Outcome::Timeout, Some(503), "failure", Some("timeout")),
        (Outcome::Panic, Some(500), "failure", Some("panic")),
        (Outcome::BodyError, Some(200), "failure", Some("body_error")),
        (Outcome::Rejected, Some(503), "failure", Some("rejected")),
    ] {
        let line = RequestLine {
            status,
            error_type: error,
            ..unanswered(&context, outcome)
        };
        let line = closing(Format::Ecs, &line);
        assert_eq!(line["event.outcome"], expected);
        assert_eq!(
            (line["outcome"].as_str(), line["error.type"].as_str()),
            (Some(outcome.as_str()), error)
        );
        assert_eq!(
            (&line["http.version"], line.get("client.ip")),
            (&json!("2"), None)
        );
    }

    let failed = RequestLine {
        error: Some("no\nroute"),
        ..request_line(&context, Outcome::BodyError)
    };
    assert_eq!(closing(Format::Ecs, &failed)["error.message"], "no\nroute");
}

fn panic_line<'a>(identity: &'a SpanIdentity, backtrace: &'a Backtrace) -> PanicLine<'a> {
    PanicLine {
        text: "index\nout of bounds",
        location: Some(Location::caller()),
        thread: Some("worker \"1\""),
        backtrace: Some(backtrace),
        identity: Some(identity),
        spans: &[],
    }
}

/// What a panic's line has that is no field of either schema.
const PANIC_FIELDS: [&str; 5] = [
    "exception.type",
    "exception.message",
    "code.column.number",
    "thread.name",
    "order",
];

#[test]
fn panic_lines() {
    let context = request_context();
    let identity = SpanIdentity {
        span_id: context.span_id,
        context,
    };
    let backtrace = Backtrace::force_capture();
    let panic = panic_line(&identity, &backtrace);
    let check = |format| {
        let (logger, captured) = logger(format);
        logger.panic(&panic);
        logger.panic(&PanicLine {
            location: None,
            thread: None,
            backtrace: None,
            identity: None,
            ..panic_line(&identity, &backtrace)
        });
        let lines = captured.lines();
        let bare = check_line(format, &lines[1], false, &PANIC_FIELDS);
        assert_eq!(bare["message"], "panicked: index\nout of bounds");
        check_line(format, &lines[0], true, &PANIC_FIELDS)
    };
    let gcp = check(Format::Gcp);
    assert_eq!(
        (&gcp["severity"], &gcp["target"]),
        (&json!("CRITICAL"), &json!("bellwether::panic"))
    );
    let location = &gcp["logging.googleapis.com/sourceLocation"];
    assert_eq!(location["file"], file!());
    assert!(gcp["@type"].is_string());
    assert_eq!(
        (&gcp["exception.type"], &gcp["thread.name"]),
        (&json!("panic"), &json!("worker \"1\""))
    );
    let ecs = check(Format::Ecs);
    assert_eq!(
        (&ecs["log.level"], &ecs["error.type"]),
        (&json!("error"), &json!("panic"))
    );
    assert_eq!(ecs["error.message"], "index\nout of bounds");
    assert_eq!(ecs["log.origin.file.name"], file!());
    assert_eq!(ecs["process.thread.name"], "worker \"1\"");
    for trace in [&gcp["stack_trace"], &ecs["error.stack_trace"]] {
        let trace = trace.as_str().unwrap();
        let begin = format!("panicked at {}:", file!());
        assert!(trace.starts_with(&begin), "{trace}");
        assert!(
            trace.contains(":\nindex\nout of bounds\nstack backtrace:\n"),
            "{trace}"
        );
        assert!(trace.contains("panic_lines"), "{trace}");
    }
}

#[test]
fn a_panics_line_has_the_fields_of_its_spans() {
    let mut cache = crate::log::key::KeyCache::default();
    let mut fields = SpanFields::default();
    let value = crate::log::value::Value::U64(7);
    fields.add(cache.of(Format::Json), "order", &value);
    fields.add(cache.of(Format::Json), "exception.type", &value);
    let (logger, captured) = Logger::capture(Format::Json, "checkout");
    logger.panic(&PanicLine {
        text: "x",
        location: Some(Location::caller()),
        thread: None,
        backtrace: None,
        identity: None,
        spans: &[fields],
    });
    let line = &captured.json()[0];
    assert_eq!(
        (&line["order"], &line["exception.type"]),
        (&json!(7), &json!("panic"))
    );
    assert_eq!(line["code.file.path"], file!());
    assert!(line["code.line.number"].is_u64() && line["code.column.number"].is_u64());
    assert!(line.get("exception.stacktrace").is_none());
}

#[test]
fn the_note_of_dropped_lines() {
    for format in DIALECTS {
        let (logger, captured) = logger(format);
        logger.write_dropped_note(3);
        let line = check_line(format, &captured.lines()[0], false, &["dropped"]);
        assert_eq!(line["dropped"], 3);
        let target = if format == Format::Gcp {
            "target"
        } else {
            "log.logger"
        };
        assert_eq!(line[target], "bellwether::log");
    }
}

#[test]
fn names_of_the_formats_and_of_their_readers_are_renamed() {
    let gcp = lines(Format::Gcp, |_| {
        info!(
            severity = "high",
            time = 1,
            timestamp = "then",
            level = 3,
            service.name = "mine",
            request_id = 4,
            "x"
        );
        info!(
            "logging.googleapis.com/labels" = "none",
            httpRequest = 5,
            stack_trace = "mine",
            "x"
        );
    });
    let free = [
        "fields.severity",
        "fields.time",
        "fields.timestamp",
        "level",
        "service.name",
        "fields.request_id",
    ];
    let line = check_line(Format::Gcp, &gcp[0], false, &free);
    assert!(free.iter().all(|name| line.get(name).is_some()), "{line:#}");
    let free = [
        "fields.logging.googleapis.com/labels",
        "fields.httpRequest",
        "fields.stack_trace",
    ];
    let line = check_line(Format::Gcp, &gcp[1], false, &free);
    assert!(free.iter().all(|name| line.get(name).is_some()), "{line:#}");

    let ecs = lines(Format::Ecs, |_| {
        info!(
            user = "ann",
            event = "paid",
            log.level = 1,
            service.name = "mine",
            level = 3,
            error = "lost",
            "x"
        );
    });
    let free = [
        "fields.user",
        "fields.event",
        "fields.log.level",
        "fields.service.name",
        "level",
    ];
    let line = check_line(Format::Ecs, &ecs[0], false, &free);
    assert!(free.iter().all(|name| line.get(name).is_some()), "{line:#}");
    assert_eq!(line["error.message"], "lost");
}
