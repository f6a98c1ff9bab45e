//! Tests of whole lines: what goes in as events, spans and settled requests, and what comes out.

mod bounds;
mod events;
mod formats;
mod redaction;
mod requests;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use ::http::HeaderValue;
use tracing::{Dispatch, Level, dispatcher};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

use super::format::{Head, Message};
use super::{Captured, Format, Logger, layer};
use crate::context::{RequestContext, RequestId, SharedContext, SpanId, TraceId};

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

fn head(text: &str) -> Head<'_> {
    Head {
        at: UNIX_EPOCH + Duration::from_millis(1_795_362_374_123),
        level: Level::INFO,
        target: "shop",
        message: Message::Text(text),
        ids: None,
    }
}
