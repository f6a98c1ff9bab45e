//! The `tracing` layer: events become lines, span fields become bytes that those lines copy. `kit`
//! installs it, behind the filter.

use std::time::SystemTime;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::fields::SpanFields;
use super::format::{Head, Ids, MESSAGE, Message};
use super::value::{EachField, Value};
use super::{Format, Logger, request_line};
use crate::context::{self, SpanIdentity};

/// The layer that writes to `logger`. Filtering is the caller's: this layer takes all it is given.
pub(crate) fn layer<S>(logger: &Logger) -> LogLayer<S> {
    LogLayer {
        logger: logger.clone(),
        subscriber: std::marker::PhantomData,
    }
}

/// Writes each event as a line, with the fields of the spans that it happened in.
#[derive(Debug)]
pub(crate) struct LogLayer<S> {
    logger: Logger,
    subscriber: std::marker::PhantomData<fn(S)>,
}

impl<S> Layer<S> for LogLayer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = SpanFields::with_capacity(attributes.fields().len());
        attributes.record(&mut collect(self.logger.format(), &mut fields));
        store(&context, id, fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut fields = SpanFields::default();
        values.record(&mut collect(self.logger.format(), &mut fields));
        store(&context, id, fields);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        if request_line::answer(metadata) {
            return;
        }
        let identity = identity(event, &context);
        let head = Head {
            at: SystemTime::now(),
            level: *metadata.level(),
            target: metadata.target(),
            message: Message::Event(event),
            ids: identity.as_ref().map(|identity| Ids {
                context: &identity.context,
                span_id: identity.span_id,
            }),
        };
        self.logger.write(&head, |line| {
            event.record(&mut EachField(|name, value: Value<'_>| {
                if name != MESSAGE {
                    line.field(name, &value);
                }
            }));
            for span in context.event_scope(event).into_iter().flatten() {
                if let Some(fields) = span.extensions().get::<SpanFields>() {
                    line.span(fields);
                }
            }
        });
    }
}

/// Renders values before any lock of the span is taken: formatting runs code of the user's, which may
/// log in its turn.
fn collect(
    format: Format,
    fields: &mut SpanFields,
) -> EachField<impl FnMut(&'static str, Value<'_>)> {
    EachField(move |name, value: Value<'_>| fields.add(format, name, &value))
}

fn store<S>(context: &Context<'_, S>, id: &Id, fields: SpanFields)
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    if fields.is_empty() {
        return;
    }
    let Some(span) = context.span(id) else { return };
    let mut extensions = span.extensions_mut();
    match extensions.get_mut::<SpanFields>() {
        Some(earlier) => earlier.merge(&fields),
        None => extensions.insert(fields),
    }
}

/// Whose line it is: the nearest span's that belongs to a request, else the request that the thread
/// works for.
fn identity<S>(event: &Event<'_>, context: &Context<'_, S>) -> Option<SpanIdentity>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let of_span = |span: SpanRef<'_, S>| span.extensions().get::<SpanIdentity>().cloned();
    let mut spans = context.event_scope(event).into_iter().flatten();
    spans.find_map(of_span).or_else(|| {
        context::current().map(|context| SpanIdentity {
            span_id: context.span_id,
            context,
        })
    })
}
