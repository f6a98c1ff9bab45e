//! Tests of whole lines: what goes in as events, spans and settled requests comes out as asked for.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use ::http::HeaderValue;
use serde_json::json;
use tracing::{Dispatch, dispatcher, field, info, info_span};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

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
