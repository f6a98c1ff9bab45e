//! The `tracing` layer: events become lines, spans carry their fields for them and are exported when they belong to a
//! sampled request. `kit` installs it, behind the filter.

use std::sync::Arc;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::{Carried, identity};
use crate::context::{SpanId, SpanIdentity};
use crate::log::{Control, Events, Logger, SpanText, SpanValues};
use crate::trace::{OpenSpan, SpanQueue};

/// The layer that writes to `logger` and exports to `spans`, if to any. Filtering is the caller's: this layer takes
/// all it is given.
pub(crate) fn layer(logger: &Logger, spans: Option<SpanQueue>) -> KitLayer {
    KitLayer {
        events: Events::of(logger),
        spans,
    }
}

/// The layer that prints and records as `control` says, behind its [`LogFilter`](crate::log::LogFilter).
pub(crate) fn controlled(control: &Arc<Control>, spans: Option<SpanQueue>) -> KitLayer {
    KitLayer {
        events: Events::controlled(control),
        spans,
    }
}

/// One layer for lines and spans: each asks the registry for a span, and the registry asks each when one closes.
#[derive(Debug)]
pub(crate) struct KitLayer {
    events: Events,
    /// Takes each span of a sampled request; those outside requests, and so the exporter's own, are none of its business.
    spans: Option<SpanQueue>,
}

impl<S> Layer<S> for KitLayer
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        // Before the span is locked: formatting runs code of the user's, which may log in its turn.
        let values = SpanValues::of(attributes);
        let Some(span) = context.span(id) else { return };
        let (identity, open) = begin(self.spans.as_ref(), &span);
        let carried = Carried {
            fields: SpanText::new(values, self.events.format()),
            identity,
            open,
        };
        let mut extensions = span.extensions_mut();
        // What another kit in the same subscriber has given the span stays, unless only this one exports it.
        if let Some(earlier) = extensions.get_mut::<Carried>() {
            if carried.outranks(earlier) {
                *earlier = carried;
            }
        } else {
            extensions.insert(carried);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        // Before the span is locked, as above.
        let later = SpanValues::later(span.metadata(), values);
        if let Some(carried) = span.extensions_mut().get_mut::<Carried>() {
            carried.fields.record(&later);
        }
        self.events.fields_changed(id, &context);
    }

    fn on_enter(&self, _: &Id, _: Context<'_, S>) {
        Events::place_changed();
    }

    fn on_exit(&self, _: &Id, _: Context<'_, S>) {
        Events::place_changed();
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        self.events.take(event, &context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(queue) = &self.spans else { return };
        let Some(span) = context.span(&id) else {
            return;
        };
        let extensions = span.extensions();
        // Nothing is taken out: other layers may still want it, and the registry frees all in a moment.
        let carried = extensions.get::<Carried>();
        let record = carried.and_then(|carried| carried.close(span.name()));
        drop(extensions);
        if let Some(record) = record {
            queue.push(record);
        }
    }
}

/// Whose a new span is: a span of its own within a request that is exported, else one with the request's or the outer
/// span's id.
fn begin<'a, S>(
    queue: Option<&SpanQueue>,
    span: &SpanRef<'a, S>,
) -> (Option<SpanIdentity>, Option<OpenSpan>)
where
    S: LookupSpan<'a>,
{
    let around = span.parent().and_then(|parent| identity(&parent));
    let Some(around) = around.or_else(SpanIdentity::of_request) else {
        return (None, None);
    };
    if !(around.context.sampled() && queue.is_some_and(SpanQueue::is_enabled)) {
        return (Some(around), None);
    }
    let open = OpenSpan::below(around.span_id);
    let identity = SpanIdentity {
        span_id: SpanId::random(),
        ..around
    };
    (Some(identity), Some(open))
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::Arc;

    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::registry::Registry;

    use super::*;
    use crate::context::{RequestContext, Scoped, SharedContext, testing};
    use crate::log::Format;
    use crate::trace::{ExportConfig, ExporterKind, SpanKind, SpanRecord, ValueRef};

    fn layer_to(queue: &SpanQueue) -> KitLayer {
        let (logger, _lines) = Logger::capture(Format::Json, "checkout");
        layer(&logger, Some(queue.clone()))
    }

    fn queue_to_none() -> SpanQueue {
        SpanQueue::new(&ExportConfig {
            exporter: ExporterKind::None,
            ..ExportConfig::default()
        })
    }

    /// The spans that `act` closes inside `request`.
    fn spans(request: SharedContext, act: impl FnOnce()) -> Vec<SpanRecord> {
        let queue = SpanQueue::new(&ExportConfig::default());
        let subscriber = Registry::default().with(layer_to(&queue));
        tracing::subscriber::with_default(subscriber, || {
            let _scope = Scoped::enter(request);
            act();
        });
        queue.drain()
    }

    fn text(record: &SpanRecord) -> Vec<String> {
        let mut shown = Vec::new();
        record.attributes.each(&mut |key, value| {
            shown.push(match value {
                ValueRef::Text(text) => format!("{key}={text:?}"),
                ValueRef::Int(number) => format!("{key}={number}"),
                ValueRef::Float(number) => format!("{key}={number:?}"),
                ValueRef::Bool(flag) => format!("{key}={flag}"),
                _ => format!("{key}={value:?}"),
            });
        });
        shown
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
        let queue = queue_to_none();
        let subscriber = Registry::default().with(layer_to(&queue));
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
    fn a_span_knows_its_request_where_none_is_exported() {
        let (logger, lines) = Logger::capture(Format::Json, "checkout");
        let subscriber = Registry::default().with(layer(&logger, None));
        tracing::subscriber::with_default(subscriber, || {
            let request = testing::context();
            let scope = Scoped::enter(Arc::clone(&request));
            let span = tracing::info_span!("handler");
            drop(scope);
            // As in a task that was spawned with the span.
            span.in_scope(|| tracing::info!("later"));
            let line = &lines.json()[0];
            assert_eq!(line["request_id"], request.request_id.as_str());
        });
    }

    #[test]
    fn a_kit_beside_another_that_exports_nothing_keeps_its_spans() {
        let queue = SpanQueue::new(&ExportConfig::default());
        let request = testing::context();
        for exporting_first in [true, false] {
            // One without traces, and one with the exporter `none`.
            for others in [None, Some(queue_to_none())] {
                let (logger, _lines) = Logger::capture(Format::Json, "other");
                let (exporting, other) = (layer_to(&queue), layer(&logger, others));
                let (inner, outer) = if exporting_first {
                    (exporting, other)
                } else {
                    (other, exporting)
                };
                let subscriber = Registry::default().with(inner).with(outer);
                tracing::subscriber::with_default(subscriber, || {
                    let _scope = Scoped::enter(Arc::clone(&request));
                    tracing::info_span!("handler", order = 7).in_scope(|| ());
                });
                let spans = queue.drain();
                assert_eq!(spans.len(), 1, "{exporting_first}");
                assert_eq!(spans[0].parent, Some(request.span_id));
                assert_ne!(spans[0].span_id, request.span_id);
                assert_eq!(text(&spans[0]), ["order=7"]);
            }
        }
    }

    #[test]
    fn an_event_at_the_end_of_a_span_has_its_fields_still() {
        /// Tells of each span that ends, from outside of the kit's layer.
        struct Ends;
        impl<S> Layer<S> for Ends
        where
            S: Subscriber + for<'span> LookupSpan<'span>,
        {
            fn on_close(&self, id: Id, _: Context<'_, S>) {
                tracing::info!(parent: &id, "ended");
            }
        }
        let queue = SpanQueue::new(&ExportConfig::default());
        let (logger, lines) = Logger::capture(Format::Json, "checkout");
        let subscriber = Registry::default()
            .with(layer(&logger, Some(queue.clone())))
            .with(Ends);
        tracing::subscriber::with_default(subscriber, || {
            let _scope = Scoped::enter(testing::context());
            tracing::info_span!("handler", order = 7).in_scope(|| ());
        });
        let span = queue.drain().pop().unwrap();
        let line = &lines.json()[0];
        assert_eq!(line["order"], 7);
        assert_eq!(line["span_id"], span.span_id.to_string());
    }

    #[test]
    fn an_error_is_exported_with_its_causes_and_a_failure_to_format_is_told() {
        struct Fails;
        impl fmt::Debug for Fails {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("half").and(Err(fmt::Error))
            }
        }
        #[derive(Debug)]
        struct Outer(fmt::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("cannot write")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let spans = spans(testing::context(), || {
            let error = &Outer(fmt::Error) as &(dyn std::error::Error + 'static);
            tracing::info_span!("span", error, value = ?Fails).in_scope(|| ());
        });
        let error = format!("error=\"cannot write: {}\"", fmt::Error);
        assert_eq!(
            text(&spans[0]),
            [&*error, "value=\"half…[formatting failed]\""]
        );
    }

    #[test]
    fn a_name_is_exported_once_with_what_it_was_given_last() {
        let spans = spans(testing::context(), || {
            tracing::info_span!("span", order = 1, order = 2, other = 3).in_scope(|| ());
        });
        assert_eq!(text(&spans[0]), ["order=2", "other=3"]);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let long = "é".repeat(4_096);
        let spans = spans(testing::context(), || {
            tracing::info_span!("span", plain = long, debug = ?long).in_scope(|| ());
        });
        let mut texts = 0;
        spans[0].attributes.each(&mut |key, value| {
            let ValueRef::Text(text) = value else {
                panic!("{key}")
            };
            assert!((4_095..=4_096).contains(&text.len()), "{key}");
            texts += 1;
        });
        assert_eq!(texts, 2);
    }
}
