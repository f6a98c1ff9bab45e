//! What is put together once for the events of a place, and what makes it hold no longer.

use serde_json::{Value, json};
use tracing::{Dispatch, dispatcher, field, info, info_span};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

use super::{SPAN_ID, captured, layer, request_context};
use crate::context::{RequestContext, Scoped, SpanId};
use crate::log::{Format, Logger};

fn seen(act: impl FnOnce(), name: &str) -> Vec<Value> {
    let lines = captured(Format::Json, act).json();
    lines.iter().map(|line| line[name].clone()).collect()
}

#[test]
fn a_value_recorded_between_two_events_is_on_the_second() {
    let lines = seen(
        || {
            let outer = info_span!("outer", order = 1, late = field::Empty).entered();
            let _inner = info_span!("inner").entered();
            info!("before");
            outer.record("late", 1);
            info!("after");
            let other = outer.clone();
            let dispatch = dispatcher::get_default(Clone::clone);
            let recording = std::thread::spawn(move || {
                dispatcher::with_default(&dispatch, || other.record("late", 2));
            });
            recording.join().unwrap();
            info!("recorded by another thread");
        },
        "late",
    );
    assert_eq!(lines, [json!(null), json!(1), json!(2)]);
}

#[test]
fn spans_entered_and_left_are_followed() {
    let lines = seen(
        || {
            let _outer = info_span!("outer", at = "outer").entered();
            for _ in 0..2 {
                info!("in one");
                info_span!("inner", at = "inner").in_scope(|| {
                    info!("in two");
                    info!("in two, again");
                    info!(parent: None, "in none");
                });
            }
            info!("in one");
        },
        "at",
    );
    let turn = [json!("outer"), json!("inner"), json!("inner"), json!(null)];
    assert_eq!(lines, [&turn[..], &turn[..], &[json!("outer")]].concat());
}

#[test]
fn the_request_that_the_thread_works_for_is_asked_for_each_time() {
    let other = SpanId::from_hex(b"00000000000000aa").unwrap();
    let other_request = || {
        let request = request_context();
        std::sync::Arc::new(RequestContext {
            request_id: request.request_id,
            trace_id: request.trace_id,
            span_id: other,
            flags: 0,
            trace_state: None,
            baggage: None,
            recording: Default::default(),
        })
    };
    let lines = seen(
        || {
            let _span = info_span!("span", order = 1).entered();
            for _ in 0..2 {
                info!("none");
                let first = Scoped::enter(request_context());
                info!("first");
                drop(first);
                let second = Scoped::enter(other_request());
                info!("second");
                drop(second);
            }
        },
        "span_id",
    );
    let turn = [json!(null), json!(SPAN_ID), json!("00000000000000aa")];
    assert_eq!(lines, [turn.clone(), turn].concat());
}

#[test]
fn each_layer_has_its_own() {
    let (logger, first) = Logger::capture(Format::Json, "first");
    let one = Dispatch::new(Registry::default().with(layer(&logger)));
    let (logger, second) = Logger::capture(Format::Json, "second");
    let two = Dispatch::new(Registry::default().with(layer(&logger)));
    dispatcher::with_default(&one, || {
        let _span = info_span!("span", at = 1).entered();
        info!("first");
        dispatcher::with_default(&two, || info!("second"));
        info!("first");
    });
    let at = |line: &Value| line["at"].clone();
    let first: Vec<_> = first.json().iter().map(at).collect();
    assert_eq!(first, [json!(1), json!(1)]);
    assert_eq!(second.json()[0]["at"], json!(null));
}
