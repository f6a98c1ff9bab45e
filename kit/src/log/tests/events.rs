//! Events and the spans they happen in: types, precedence, late values, names, ids.

use std::sync::Arc;

use serde_json::json;
use tracing::{Dispatch, dispatcher, error, field, info, info_span, warn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

use super::{SPAN_ID, TRACE_ID, captured, fields_of, request_context};
use crate::context::{RequestContext, Scoped, SpanId};
use crate::log::{Format, Logger};
use crate::span;
use crate::trace::{ExportConfig, SpanQueue};

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
    let spans = SpanQueue::new(&ExportConfig::default());
    let (logger, captured) = Logger::capture(Format::Json, "checkout");
    let subscriber = Registry::default().with(span::layer(&logger, Some(spans)));
    dispatcher::with_default(&Dispatch::new(subscriber), || {
        info!("outside");
        let unsampled = Scoped::enter(Arc::new(RequestContext {
            span_id: SpanId::from_hex(b"0000000000000001").unwrap(),
            flags: 0,
            ..Arc::into_inner(request_context()).unwrap()
        }));
        let ours = info_span!("ours");
        drop(unsampled);
        let inner = info_span!(parent: &ours, "inner");
        let deep = info_span!(parent: &inner, "deep");
        let _deeper = info_span!(parent: &deep, "deeper").entered();
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
fn deep_spans_count_as_near_ones_do() {
    let line = fields_of(|| {
        let _a = info_span!("a", a = 1, depth = 1).entered();
        let _b = info_span!("b", b = 2, depth = 2).entered();
        let _c = info_span!("c", c = 3, depth = 3).entered();
        let _d = info_span!("d", d = 4, depth = 4).entered();
        let _e = info_span!("e", depth = field::Empty).entered();
        info!("x");
    });
    assert_eq!(line, json!({"a": 1, "b": 2, "c": 3, "d": 4, "depth": 4}));
}
