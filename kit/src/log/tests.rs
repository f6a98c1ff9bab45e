//! Tests of whole lines: what goes in as events, spans and settled requests, and what comes out.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use ::http::HeaderValue;
use proptest::prelude::*;
use serde_json::json;
use tracing::{Dispatch, Level, dispatcher, error, field, info, info_span, warn};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use super::format::{Head, Ids, Message};
use super::line::MAX_LINE_BYTES;
use super::value::Value;
use super::{Captured, Format, Logger, RequestLine, layer};
use crate::context::{
    RequestContext, RequestId, Scoped, SharedContext, SpanId, SpanIdentity, TraceId,
};
use crate::http::Outcome;

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN_ID: &str = "00f067aa0ba902b7";

fn request_context() -> SharedContext {
    Arc::new(RequestContext {
        request_id: RequestId::accept(&HeaderValue::from_static("a\"b")).unwrap(),
        trace_id: TraceId::from_hex(TRACE_ID.as_bytes()).unwrap(),
        span_id: SpanId::from_hex(SPAN_ID.as_bytes()).unwrap(),
        flags: 3,
        trace_state: None,
        baggage: None,
    })
}

/// Runs `log` under the layer and gives the lines.
fn captured(format: Format, log: impl FnOnce()) -> Captured {
    let (logger, captured) = Logger::capture(format, "check \"out\"");
    let subscriber = Registry::default().with(layer(&logger));
    dispatcher::with_default(&Dispatch::new(subscriber), log);
    captured
}

/// The only line that `log` writes, parsed, without what every line has.
fn fields_of(log: impl FnOnce()) -> serde_json::Value {
    let lines = captured(Format::Json, log).json();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let mut line = lines.into_iter().next().unwrap();
    let fields = line.as_object_mut().unwrap();
    for key in ["timestamp", "level", "message", "target", "service.name"] {
        assert!(fields.remove(key).is_some(), "{key}");
    }
    line
}

const PRETTY: Format = Format::Pretty { ansi: false };

#[test]
fn a_line_has_the_reserved_keys_first_and_in_order() {
    let captured = captured(Format::Json, || {
        let _scope = Scoped::enter(request_context());
        info!(target: "shop", items = 3, "a\n\"message\" {}", 1);
    });
    let line = &captured.lines()[0];
    let (timestamp, rest) = line.split_at(r#"{"timestamp":"2026-11-22T15:46:14.123456789Z""#.len());
    assert!(timestamp.ends_with("Z\""), "{line}");
    let expected = format!(
        r#","level":"INFO","message":"a\n\"message\" 1","target":"shop","service.name":"check \"out\"","trace_id":"{TRACE_ID}","span_id":"{SPAN_ID}","trace_flags":"03","request_id":"a\"b","items":3}}"#
    );
    assert_eq!(rest, expected);
}

#[test]
fn a_message_comes_third_wherever_the_event_has_it() {
    let lines = captured(Format::Json, || {
        warn!(a = 1, message = 5);
        error!(b = 2);
    })
    .lines();
    assert!(
        lines[0].contains(r#""level":"WARN","message":"5","target""#),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].contains(r#""level":"ERROR","message":"","target""#),
        "{}",
        lines[1]
    );
}

#[test]
fn numbers_and_booleans_stay_typed() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot charge {0}")]
    struct Charge(u8, #[source] std::num::ParseIntError);
    let cause = "x".parse::<u8>().unwrap_err();
    let error = Charge(7, cause);
    let error: &(dyn std::error::Error + 'static) = &error;
    let fields = fields_of(|| {
        info!(
            int = -5,
            least = i64::MIN,
            most = u64::MAX,
            small_wide = -5i128,
            wide = i128::from(u64::MAX) + 1,
            unsigned_wide = u128::MAX,
            float = 0.1,
            whole = 2.0,
            tiny = 1e-300,
            not = f64::NAN,
            beyond = f64::INFINITY,
            below = f64::NEG_INFINITY,
            yes = true,
            text = "1",
            display = %1,
            debug = ?Some("a"),
            error,
        );
    });
    let expected = json!({
        "int": -5, "least": i64::MIN, "most": u64::MAX,
        "small_wide": -5, "wide": "18446744073709551616",
        "unsigned_wide": "340282366920938463463374607431768211455",
        "float": 0.1, "whole": 2.0, "tiny": 1e-300,
        "not": "NaN", "beyond": "Infinity", "below": "-Infinity",
        "yes": true, "text": "1", "display": "1", "debug": "Some(\"a\")",
        "error": "cannot charge 7: invalid digit found in string",
    });
    assert_eq!(fields, expected);
}

#[test]
fn the_event_wins_over_its_spans_and_a_nearer_span_over_a_farther() {
    let lines = captured(Format::Json, || {
        let _far = info_span!("far", a = "far", b = "far", c = "far", only_far = 1).entered();
        let _near = info_span!("near", b = "near", c = "near", only_near = 2).entered();
        info!(c = "event", only_event = 3, "x");
    })
    .lines();
    let ours = lines[0].split_once(r#""c":"event""#).unwrap().1;
    assert_eq!(
        ours,
        r#","only_event":3,"b":"near","only_near":2,"a":"far","only_far":1}"#
    );
}

#[test]
fn a_field_without_a_value_hides_nothing() {
    let fields = fields_of(|| {
        let _far = info_span!("far", user = "ann", order = 1).entered();
        let _near = info_span!("near", order = field::Empty).entered();
        info!(user = None::<&str>, "x");
    });
    assert_eq!(fields, json!({"user": "ann", "order": 1}));
}

#[test]
fn late_values_reach_the_events_behind_them() {
    let lines = captured(Format::Json, || {
        let span = info_span!("late", user = field::Empty, step = 1, first = true);
        let _entered = span.clone().entered();
        info!("before");
        span.record("user", "ann");
        span.record("step", 2);
        let inner = info_span!("inner").entered();
        info!("inside");
        span.record("step", "three");
        info!("behind");
        drop(inner);
    })
    .json();
    let steps: Vec<_> = lines
        .iter()
        .map(|line| (&line["user"], &line["step"], &line["first"]))
        .collect();
    let expected = [
        (json!(null), json!(1), json!(true)),
        (json!("ann"), json!(2), json!(true)),
        (json!("ann"), json!("three"), json!(true)),
    ];
    for (step, expected) in steps.into_iter().zip(&expected) {
        assert_eq!(step, (&expected.0, &expected.1, &expected.2));
    }
}

#[test]
fn names_of_the_format_itself_are_renamed() {
    let lines = captured(Format::Json, || {
        let _span = info_span!(
            "span",
            message = "span's",
            trace_id = 1,
            target = 2,
            other = 3
        )
        .entered();
        info!(
            level = "high",
            service.name = "x",
            fields.target = "event's",
            "text"
        );
    })
    .lines();
    let expected = r#","fields.level":"high","fields.service.name":"x","fields.target":"event's","fields.message":"span's","fields.trace_id":1,"other":3}"#;
    assert!(lines[0].ends_with(expected), "{}", lines[0]);
}

#[test]
fn ids_come_from_the_nearest_span_that_has_them() {
    /// Gives the spans named `ours` an identity, as the trace layer does.
    struct Identify;
    impl<S> Layer<S> for Identify
    where
        S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    {
        fn on_new_span(
            &self,
            attributes: &tracing::span::Attributes<'_>,
            id: &tracing::Id,
            context: tracing_subscriber::layer::Context<'_, S>,
        ) {
            if attributes.metadata().name() == "ours" {
                context
                    .span(id)
                    .unwrap()
                    .extensions_mut()
                    .insert(SpanIdentity {
                        context: request_context(),
                        span_id: SpanId::from_hex(b"0000000000000001").unwrap(),
                    });
            }
        }
    }
    let (logger, captured) = Logger::capture(Format::Json, "checkout");
    let subscriber = Registry::default().with(Identify).with(layer(&logger));
    dispatcher::with_default(&Dispatch::new(subscriber), || {
        info!("outside");
        let ours = info_span!("ours");
        let _inner = info_span!(parent: &ours, "inner").entered();
        info!("in span");
        let _scope = Scoped::enter(request_context());
        info!("both");
        info!(parent: None, "request");
        info!(parent: &ours, "explicit");
    });
    let ids: Vec<_> = captured
        .json()
        .iter()
        .map(|line| (line["span_id"].clone(), line["request_id"].clone()))
        .collect();
    let of_span = (json!("0000000000000001"), json!("a\"b"));
    let of_request = (json!(SPAN_ID), json!("a\"b"));
    let none = (json!(null), json!(null));
    assert_eq!(
        ids,
        [none, of_span.clone(), of_span.clone(), of_request, of_span]
    );
}

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

fn head(text: &str) -> Head<'_> {
    Head {
        at: UNIX_EPOCH + Duration::from_millis(1_795_362_374_123),
        level: Level::INFO,
        target: "shop",
        message: Message::Text(text),
        ids: None,
    }
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

#[test]
fn pretty_lines_read_well() {
    let (logger, captured) = Logger::capture(PRETTY, "checkout");
    let context = request_context();
    let ids = Some(Ids {
        context: &context,
        span_id: context.span_id,
    });
    logger.write(
        &Head {
            ids,
            ..head("paid")
        },
        |line| {
            line.field("user", &Value::Text("ann b"));
            line.field("amount", &Value::F64(1.5));
            line.field("message", &Value::Bool(true));
        },
    );
    let expected = r#"2026-11-22T15:46:14.123Z  INFO shop: paid user="ann b" amount=1.5 fields.message=true trace=4bf92f35"#;
    assert_eq!(captured.lines(), [expected]);
}

#[test]
fn pretty_lines_have_colours_when_asked_for() {
    let (logger, captured) = Logger::capture(Format::Pretty { ansi: true }, "checkout");
    logger.write(&head("paid"), |line| line.field("a", &Value::I64(1)));
    let expected = "\x1b[2m2026-11-22T15:46:14.123Z\x1b[0m  \x1b[32mINFO\x1b[0m \x1b[2mshop:\x1b[0m paid \x1b[2ma=\x1b[0m1";
    assert_eq!(captured.lines(), [expected]);
}

fn request_line(context: &RequestContext, outcome: Outcome) -> RequestLine<'_> {
    RequestLine {
        context,
        at: UNIX_EPOCH + Duration::from_millis(1_795_362_374_123),
        outcome,
        method: "GET",
        route: Some("/pay/{id}"),
        path: "/pay/\"7\"",
        status: Some(200),
        duration: Duration::from_micros(12_500),
        time_to_first_byte: Some(Duration::from_millis(2)),
        response_body_size: 42,
        client_address: Some([127, 0, 0, 1].into()),
        user_agent: Some("curl\u{7f}"),
        error: None,
    }
}

#[test]
fn the_closing_line_says_how_the_request_went() {
    let context = request_context();
    let (logger, captured) = Logger::capture(Format::Json, "checkout");
    let subscriber = Registry::default().with(layer(&logger));
    dispatcher::with_default(&Dispatch::new(subscriber), || {
        logger.request(&request_line(&context, Outcome::Ok));
        logger.request(&RequestLine {
            route: None,
            status: None,
            time_to_first_byte: None,
            client_address: None,
            user_agent: None,
            error: Some("out of\nluck"),
            ..request_line(&context, Outcome::Panic)
        });
        // A user's own event of this target is a line like any other.
        info!(target: "bellwether::request", "mine");
    });
    let lines = captured.lines();
    let begin = format!(
        r#"{{"timestamp":"2026-11-22T15:46:14.123000000Z","level":"INFO","message":"request","target":"bellwether::request","service.name":"checkout","trace_id":"{TRACE_ID}","span_id":"{SPAN_ID}","trace_flags":"03","request_id":"a\"b","#
    );
    let end = "\"http.request.method\":\"GET\",\"http.route\":\"/pay/{id}\",\"url.path\":\"/pay/\\\"7\\\"\",\"http.response.status_code\":200,\"http.server.request.duration\":0.0125,\"time_to_first_byte\":0.002,\"http.response.body.size\":42,\"client.address\":\"127.0.0.1\",\"user_agent.original\":\"curl\u{7f}\",\"outcome\":\"ok\"}";
    assert_eq!(lines[0], format!("{begin}{end}"));
    assert!(lines[1].ends_with(r#""http.request.method":"GET","url.path":"/pay/\"7\"","http.server.request.duration":0.0125,"http.response.body.size":42,"outcome":"panic","exception.message":"out of\nluck"}"#), "{}", lines[1]);
    assert!(lines[2].contains(r#""message":"mine""#));
    assert_eq!(lines.len(), 3);
}

/// Settles a request of each outcome under `filter` and gives the outcomes shown.
fn shown(filter: &str) -> Vec<String> {
    use Outcome::{BodyError, ClientGone, Error, Ok, Panic, Rejected, Timeout, Upgraded};
    let context = request_context();
    let (logger, captured) = Logger::capture(Format::Json, "checkout");
    let filter: EnvFilter = filter.parse().unwrap();
    let subscriber = Registry::default().with(filter).with(layer(&logger));
    dispatcher::with_default(&Dispatch::new(subscriber), || {
        for outcome in [
            Ok, Error, ClientGone, Timeout, Panic, BodyError, Upgraded, Rejected,
        ] {
            logger.request(&request_line(&context, outcome));
        }
    });
    let outcome = |line: &serde_json::Value| line["outcome"].as_str().unwrap().to_owned();
    captured.json().iter().map(outcome).collect()
}

#[test]
fn filters_hide_closing_lines() {
    let all = "ok error client_gone timeout panic body_error upgraded rejected";
    assert_eq!(shown("info").join(" "), all);
    assert_eq!(shown("off,bellwether::request=info").join(" "), all);
    assert_eq!(
        shown("warn").join(" "),
        "error timeout panic body_error rejected"
    );
    assert_eq!(
        shown("info,bellwether::request=error").join(" "),
        "error timeout panic body_error"
    );
    assert!(shown("info,bellwether::request=off").is_empty());
}

#[test]
fn closing_lines_obey_their_own_layers_filter_and_leave_the_others_alone() {
    let context = request_context();
    let (logger, captured) = Logger::capture(Format::Json, "checkout");
    let (other, other_captured) = Logger::capture(Format::Json, "other");
    let quiet: EnvFilter = "info,bellwether::request=off".parse().unwrap();
    let subscriber = Registry::default()
        .with(layer(&logger).with_filter(quiet))
        .with(Counting(other.clone()).with_filter(LevelFilter::INFO));
    dispatcher::with_default(&Dispatch::new(subscriber), || {
        for _ in 0..3 {
            logger.request(&request_line(&context, Outcome::Ok));
            info!("between");
        }
    });
    let messages: Vec<_> = captured
        .json()
        .iter()
        .map(|line| line["message"].clone())
        .collect();
    assert_eq!(messages, ["between", "between", "between"]);
    assert_eq!(other_captured.lines().len(), 6);

    /// Writes a line for every event it sees.
    struct Counting(Logger);
    impl<S: tracing::Subscriber> Layer<S> for Counting {
        fn on_event(&self, _: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            self.0.write(&head("seen"), |_| {});
        }
    }
}

fn any_value() -> impl Strategy<Value = OwnedValue> {
    prop_oneof![
        any::<String>().prop_map(OwnedValue::Text),
        "[\\x00-\\x7f]*".prop_map(OwnedValue::Text),
        any::<i64>().prop_map(OwnedValue::I64),
        any::<u64>().prop_map(OwnedValue::U64),
        any::<i128>().prop_map(OwnedValue::I128),
        any::<u128>().prop_map(OwnedValue::U128),
        any::<f64>().prop_map(OwnedValue::F64),
        any::<bool>().prop_map(OwnedValue::Bool),
    ]
}

#[derive(Clone, Debug)]
enum OwnedValue {
    Text(String),
    I64(i64),
    U64(u64),
    I128(i128),
    U128(u128),
    F64(f64),
    Bool(bool),
}

impl OwnedValue {
    fn borrow(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::I64(number) => Value::I64(*number),
            Self::U64(number) => Value::U64(*number),
            Self::I128(number) => Value::I128(*number),
            Self::U128(number) => Value::U128(*number),
            Self::F64(number) => Value::F64(*number),
            Self::Bool(value) => Value::Bool(*value),
        }
    }

    fn expected(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => json!(text),
            Self::I64(number) => json!(number),
            Self::U64(number) => json!(number),
            Self::I128(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(number), _) => json!(number),
                (_, Ok(number)) => json!(number),
                _ => json!(number.to_string()),
            },
            Self::U128(number) => {
                u64::try_from(*number).map_or(json!(number.to_string()), |number| json!(number))
            }
            Self::F64(number) if number.is_finite() => json!(number),
            Self::F64(number) if number.is_nan() => json!("NaN"),
            Self::F64(number) if *number > 0.0 => json!("Infinity"),
            Self::F64(_) => json!("-Infinity"),
            Self::Bool(value) => json!(value),
        }
    }
}

/// Equal, floats to what `serde_json` reads without its feature `float_roundtrip`.
fn same(read: &serde_json::Value, written: &serde_json::Value) -> bool {
    if !written.is_f64() {
        return read == written;
    }
    let (Some(read), Some(written)) = (read.as_f64(), written.as_f64()) else {
        return false;
    };
    read == written || ((read - written) / written).abs() < 1e-14
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "(fields\\.)?(timestamp|level|message|target|service\\.name|trace_id|request_id)",
        "[a-c]",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_line_parses_and_keeps_its_values(
        message in any::<String>(),
        fields in proptest::collection::vec((any_name(), any_value()), 0..8),
    ) {
        let (logger, captured) = Logger::capture(Format::Json, &message);
        let leaked = |name: &String| -> &'static str { name.clone().leak() };
        logger.write(&head(&message), |line| {
            for (name, value) in &fields {
                line.field(leaked(name), &value.borrow());
            }
        });
        let lines = captured.lines();
        prop_assert_eq!(lines.len(), 1);
        let line: serde_json::Map<_, _> = serde_json::from_str(&lines[0]).unwrap();
        prop_assert_eq!(&line["message"], &json!(message));
        prop_assert_eq!(&line["service.name"], &json!(message));
        prop_assert_eq!(&line["level"], "INFO");
        let mut expected = std::collections::HashMap::new();
        for (name, value) in &fields {
            let name = name.strip_prefix("fields.").filter(|rest| Format::Json.is_reserved(rest)).unwrap_or(name);
            let name = if Format::Json.is_reserved(name) { format!("fields.{name}") } else { name.to_owned() };
            expected.entry(name).or_insert(value.expected());
        }
        prop_assert_eq!(line.len(), 5 + expected.len());
        for (name, value) in expected {
            prop_assert!(same(&line[&name], &value), "{name}: {} is not {value}", line[&name]);
        }
    }

    #[test]
    fn no_pretty_line_can_be_broken_or_steer_a_terminal(
        message in any::<String>(),
        name in any::<String>(),
        value in prop_oneof![any::<String>(), "[\\x00-\\x1f\\x7f-\\x9f\u{202a}-\u{202e}\"\\\\]*"],
    ) {
        let (logger, captured) = Logger::capture(PRETTY, "checkout");
        logger.write(&head(&message), |line| {
            line.field(name.leak(), &Value::Text(&value));
            line.field("shown", &Value::Debug(&format_args!("{value}")));
        });
        let lines = captured.lines();
        prop_assert_eq!(lines.len(), 1);
        let steers = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
        prop_assert!(!lines[0].contains(steers), "{:?}", lines[0]);
    }
}
