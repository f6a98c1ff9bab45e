//! Tests of whole lines: what goes in as events, spans and settled requests, and what comes out.

mod bounds;
mod control;
mod dialects;
mod events;
mod floods;
mod formats;
mod properties;
mod recorder;
mod redaction;
mod requests;
mod schemas;
mod surroundings;

use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderValue;
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Level, dispatcher};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;

use super::format::{Head, Message};
use super::{Captured, Control, Format, LogControl, LogFilter, Logger};
use crate::context::{RequestContext, RequestId, SharedContext, SpanId, TraceId};
use crate::span::{self, KitLayer};

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
        recording: Default::default(),
    })
}

/// The layer of a kit that exports no spans.
fn layer(logger: &Logger) -> KitLayer {
    span::layer(logger, None)
}

/// Runs `log` under the layer and gives the lines.
pub(super) fn captured(format: Format, log: impl FnOnce()) -> Captured {
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

/// A log under control, of this thread's events.
struct Log {
    logger: Logger,
    captured: Captured,
    control: Arc<Control>,
    _subscriber: DefaultGuard,
}

impl Log {
    fn of(config: LogControl) -> Self {
        Self::in_format(Format::Json, config)
    }

    fn in_format(format: Format, config: LogControl) -> Self {
        let (logger, captured) = Logger::capture(format, "checkout");
        let control = Control::start(&logger, config).unwrap();
        let subscriber = Registry::default()
            .with(LogFilter::new(&control))
            .with(span::controlled(&control, None));
        Self {
            logger,
            captured,
            control,
            _subscriber: tracing::subscriber::set_default(subscriber),
        }
    }

    fn dispatch(&self) -> Dispatch {
        dispatcher::get_default(Clone::clone)
    }

    fn lines(&self) -> Vec<serde_json::Value> {
        self.captured.json()
    }

    fn messages(&self) -> Vec<String> {
        let message = |line: &serde_json::Value| line["message"].as_str().unwrap().to_owned();
        self.lines().iter().map(message).collect()
    }
}

const PRETTY: Format = Format::Pretty { ansi: false };

fn head(text: &str) -> Head<'_> {
    Head {
        at: Duration::from_millis(1_795_362_374_123),
        level: Level::INFO,
        target: "shop",
        message: Message::Text(text),
        ids: None,
    }
}
