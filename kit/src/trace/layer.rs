//! The `tracing` layer that makes spans of a request's handler spans. Installed by `kit` beside the log
//! layer; `log` and the client layer read the identities it leaves.

use std::fmt;
use std::time::{Instant, SystemTime};

use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::SpanQueue;
use super::record::{
    Attribute, SharedText, SpanAttributes, SpanKind, SpanRecord, SpanStatus, Value,
};
use crate::context::{SpanId, SpanIdentity, current};
use crate::redact;

/// The longest text attribute, in bytes; longer ones are cut at a character.
const MAX_TEXT: usize = 4_096;

/// Exports each `tracing` span of a sampled request; spans outside requests, and so the exporter's own,
/// are none of its business.
#[derive(Clone, Debug)]
pub(crate) struct SpanLayer {
    queue: SpanQueue,
}

/// What a span of a sampled request gathers until it closes.
#[derive(Debug)]
struct Open {
    parent: SpanId,
    start: SystemTime,
    /// Durations come from the monotonic clock: the system's may be set while a span is open.
    started: Instant,
    attributes: Fields,
}

impl SpanLayer {
    pub(crate) fn new(queue: SpanQueue) -> Self {
        Self { queue }
    }
}

impl<S> Layer<S> for SpanLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let Some(parent) = enclosing(&span) else {
            return;
        };
        if !(parent.context.sampled() && self.queue.is_enabled()) {
            span.extensions_mut().replace(parent);
            return;
        }
        let mut fields = Fields(Vec::with_capacity(attributes.fields().len()));
        attributes.record(&mut fields);
        let mut extensions = span.extensions_mut();
        extensions.replace(Open {
            parent: parent.span_id,
            start: SystemTime::now(),
            started: Instant::now(),
            attributes: fields,
        });
        extensions.replace(SpanIdentity {
            context: parent.context,
            span_id: SpanId::random(),
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if span.extensions().get::<Open>().is_none() {
            return;
        }
        // Before the span is locked: formatting runs code of the user's, which may log in its turn.
        let mut fields = Fields(Vec::new());
        values.record(&mut fields);
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            let Fields(attributes) = fields;
            for (name, value) in attributes {
                open.attributes.set(name, value);
            }
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let mut extensions = span.extensions_mut();
        // Cloned, not removed: other layers may still want it, and the registry frees both in a moment.
        let Some(identity) = extensions.get_mut::<SpanIdentity>().cloned() else {
            return;
        };
        let Some(open) = extensions.get_mut::<Open>() else {
            return;
        };
        let record = SpanRecord {
            context: identity.context,
            span_id: identity.span_id,
            parent: Some(open.parent),
            parent_is_remote: false,
            link: None,
            kind: SpanKind::Internal,
            name: SharedText::Static(span.name()),
            start: open.start,
            duration: open.started.elapsed(),
            attributes: SpanAttributes::Listed(std::mem::take(&mut open.attributes.0)),
            status: SpanStatus::Unset,
        };
        drop(extensions);
        self.queue.push(record);
    }
}

/// The identity of the nearest span around `span`, else of the request the thread works for.
fn enclosing<'a, S>(span: &SpanRef<'a, S>) -> Option<SpanIdentity>
where
    S: LookupSpan<'a>,
{
    let parent = span
        .parent()
        .and_then(|parent| parent.extensions().get::<SpanIdentity>().cloned());
    parent.or_else(|| {
        current().map(|context| SpanIdentity {
            span_id: context.span_id,
            context,
        })
    })
}

/// Typed attributes. A span has at most 32 fields, and one recorded again replaces its value, so the
/// lengths of the texts are all there is to bound.
#[derive(Debug)]
struct Fields(Vec<Attribute>);

impl Fields {
    fn set(&mut self, name: &'static str, value: Value) {
        // All fields of a span are its call site's, so one name is one address.
        match self.0.iter_mut().find(|(key, _)| std::ptr::eq(*key, name)) {
            Some((_, present)) => *present = value,
            None => self.0.push((name, value)),
        }
    }

    fn set_text(&mut self, field: &Field, text: String) {
        self.set(field.name(), Value::Text(SharedText::Owned(text)));
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), Value::Float(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), Value::Int(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.set(field.name(), Value::Int(value)),
            // OpenTelemetry has no unsigned integers.
            Err(_) => self.set_text(field, value.to_string()),
        }
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        match i64::try_from(value) {
            Ok(value) => self.set(field.name(), Value::Int(value)),
            Err(_) => self.set_text(field, value.to_string()),
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match i64::try_from(value) {
            Ok(value) => self.set(field.name(), Value::Int(value)),
            Err(_) => self.set_text(field, value.to_string()),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), Value::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set_text(field, redact::cut(value, MAX_TEXT).to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Bounded(String::new());
        // Fails, on purpose, when the text is longer than is kept.
        let whole = fmt::Write::write_fmt(&mut text, format_args!("{value:?}"));
        if let (Err(_), Some(secret)) = (whole, redact::unfinished(text.0.as_bytes())) {
            text.0.truncate(secret);
        }
        self.set_text(field, text.0);
    }
}

/// The longest beginning of `text` that is at most `max` bytes long and ends between characters.
fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// A text that stops taking at [`MAX_TEXT`], so that a huge value is never formatted whole.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_TEXT - self.0.len();
        self.0.push_str(cut(text, room));
        if text.len() > room {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::registry::Registry;

    use super::super::testing;
    use super::super::{ExportConfig, ExporterKind};
    use super::*;
    use crate::context::{RequestContext, Scoped, SharedContext};

    /// The spans that `act` closes inside `request`.
    fn spans(request: SharedContext, act: impl FnOnce()) -> Vec<SpanRecord> {
        let queue = SpanQueue::new(&ExportConfig::default());
        let subscriber = Registry::default().with(SpanLayer::new(queue.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let _scope = Scoped::enter(request);
            act();
        });
        queue.drain()
    }

    fn text(record: &SpanRecord) -> Vec<String> {
        record
            .attributes
            .listed()
            .iter()
            .map(|(key, value)| format!("{key}={}", shown(value)))
            .collect()
    }

    fn shown(value: &Value) -> String {
        match value {
            Value::Text(SharedText::Owned(text)) => format!("{text:?}"),
            Value::Text(SharedText::Static(text)) => format!("{text:?}"),
            Value::Text(SharedText::Shared(text)) => format!("{text:?}"),
            Value::Bytes(_) => format!("{value:?}"),
            Value::Int(number) => number.to_string(),
            Value::Float(number) => format!("{number:?}"),
            Value::Bool(flag) => flag.to_string(),
        }
    }

    #[test]
    fn spans_nest_below_the_request_and_keep_types() {
        let request = testing::context();
        let spans = spans(Arc::clone(&request), || {
            let outer = tracing::info_span!(
                "outer",
                int = -3_i64,
                float = 1.5,
                flag = true,
                text = "a",
                debug = ?Some(1),
                huge = u64::MAX,
                late = tracing::field::Empty,
            );
            let _outer = outer.enter();
            tracing::info_span!("inner").in_scope(|| ());
            outer.record("late", "recorded");
            outer.record("late", "again");
        });
        let [inner, outer] = &spans[..] else {
            panic!("{spans:?}")
        };
        assert_eq!(outer.parent, Some(request.span_id));
        assert_eq!(inner.parent, Some(outer.span_id));
        assert_ne!(outer.span_id, request.span_id);
        assert!(
            spans
                .iter()
                .all(|span| Arc::ptr_eq(&span.context, &request))
        );
        assert!(spans.iter().all(|span| span.kind == SpanKind::Internal));
        assert!(outer.duration >= inner.duration);
        assert_eq!(
            text(outer),
            [
                "int=-3",
                "float=1.5",
                "flag=true",
                "text=\"a\"",
                "debug=\"Some(1)\"",
                "huge=\"18446744073709551615\"",
                "late=\"again\"",
            ]
        );
    }

    #[test]
    fn a_recorded_value_may_log_while_it_is_formatted() {
        struct Logs;

        impl fmt::Debug for Logs {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                tracing::info_span!("inside").in_scope(|| f.write_str("logged"))
            }
        }

        let (done, ended) = std::sync::mpsc::channel();
        // On a thread of its own: a deadlock must fail the test, not hang it.
        std::thread::spawn(move || {
            let spans = spans(testing::context(), || {
                let span = tracing::info_span!("handler", late = tracing::field::Empty);
                span.in_scope(|| span.record("late", tracing::field::debug(Logs)));
            });
            let _ = done.send(spans);
        });
        let spans = ended
            .recv_timeout(std::time::Duration::from_secs(10))
            .unwrap();
        let [inside, handler] = &spans[..] else {
            panic!("{spans:?}")
        };
        assert_eq!(inside.parent, Some(handler.span_id));
        assert_eq!(text(handler), ["late=\"logged\""]);
    }

    #[test]
    fn a_span_entered_elsewhere_stays_with_its_request() {
        let request = testing::context();
        let spans = spans(Arc::clone(&request), || {
            let outer = tracing::info_span!("outer");
            let other = Scoped::enter(testing::context());
            tracing::info_span!(parent: &outer, "inner").in_scope(|| ());
            drop(other);
        });
        assert!(
            spans
                .iter()
                .all(|span| Arc::ptr_eq(&span.context, &request))
        );
        assert_eq!(spans.len(), 2);
    }

    #[test]
    fn unsampled_requests_export_nothing_but_know_their_identity() {
        let sampled = testing::context();
        let request = Arc::new(RequestContext {
            flags: 0,
            request_id: sampled.request_id,
            trace_id: sampled.trace_id,
            span_id: sampled.span_id,
            trace_state: None,
            baggage: None,
            recording: Default::default(),
        });
        let spans = spans(Arc::clone(&request), || {
            let _span = tracing::info_span!("handler").entered();
            let identity = SpanIdentity::nearest().unwrap();
            assert_eq!(identity.span_id, request.span_id);
            assert!(Arc::ptr_eq(&identity.context, &request));
        });
        assert!(spans.is_empty());
    }

    #[test]
    fn spans_outside_requests_and_without_exporter_are_left_alone() {
        let queue = SpanQueue::new(&ExportConfig {
            exporter: ExporterKind::None,
            ..ExportConfig::default()
        });
        let subscriber = Registry::default().with(SpanLayer::new(queue.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let _span = tracing::info_span!("start-up").entered();
            assert!(SpanIdentity::nearest().is_none());
            let request = testing::context();
            let _scope = Scoped::enter(Arc::clone(&request));
            let _handler = tracing::info_span!(parent: None, "handler").entered();
            assert_eq!(SpanIdentity::nearest().unwrap().span_id, request.span_id);
        });
        assert!(queue.drain().is_empty());
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let long = "é".repeat(MAX_TEXT);
        let spans = spans(testing::context(), || {
            tracing::info_span!("span", plain = long, debug = ?long).in_scope(|| ());
        });
        for (key, value) in spans[0].attributes.listed() {
            let Value::Text(SharedText::Owned(text)) = value else {
                panic!("{key}")
            };
            assert!((MAX_TEXT - 1..=MAX_TEXT).contains(&text.len()), "{key}");
        }
    }
}
