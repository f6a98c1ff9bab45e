//! The `tracing` layer: events become lines, span fields become bytes that those lines copy. `kit`
//! installs it, behind the filter.

use std::time::SystemTime;

use tracing::field::Visit;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::fields::SpanFields;
use super::format::{Head, Ids, MESSAGE, Message};
use super::line::Line;
use super::value::{EachField, Value};
use super::{Format, Logger, records, request_line, scratch};
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
        render(self.logger.format(), &mut fields, |visit| {
            attributes.record(visit);
        });
        store(&context, id, fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut fields = SpanFields::default();
        render(self.logger.format(), &mut fields, |visit| {
            values.record(visit);
        });
        store(&context, id, fields);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        if request_line::answer(metadata) {
            return;
        }
        let mut next = context.event_span(event);
        let near: [_; NEAR] = std::array::from_fn(|_| {
            let span = next.take();
            next = span.as_ref().and_then(SpanRef::parent);
            span
        });
        let identity = near
            .iter()
            .flatten()
            .chain(next.as_ref())
            .find_map(identity)
            .or_else(|| beyond(next.as_ref()).find_map(|span| identity(&span)))
            .or_else(current_request);
        let record = records::metadata(event);
        let head = Head {
            at: SystemTime::now(),
            level: *metadata.level(),
            target: record
                .as_ref()
                .map_or(metadata.target(), |record| record.target()),
            message: match &record {
                Some(record) => Message::Record(event, record),
                None => Message::Event(event),
            },
            ids: identity.as_ref().map(|identity| Ids {
                context: &identity.context,
                span_id: identity.span_id,
            }),
        };
        self.logger.write(&head, |line| {
            event.record(&mut EachField(|name, value: Value<'_>| {
                if name != MESSAGE && !(record.is_some() && records::is_origin(name)) {
                    line.field(name, &value);
                }
            }));
            let spans = near.iter().flatten().chain(next.as_ref());
            spans.for_each(|span| copy(span, line));
            beyond(next.as_ref()).for_each(|span| copy(&span, line));
        });
    }
}

/// How many spans of an event are looked up once for the ids and the fields together. Few events are
/// deeper; for those behind, the way is gone twice.
const NEAR: usize = 3;

/// The spans around `span`, nearest first.
fn beyond<'a, S>(span: Option<&SpanRef<'a, S>>) -> impl Iterator<Item = SpanRef<'a, S>>
where
    S: LookupSpan<'a>,
{
    std::iter::successors(span.and_then(SpanRef::parent), SpanRef::parent)
}

/// Whose line it is: the nearest span's that belongs to a request.
fn identity<S>(span: &SpanRef<'_, S>) -> Option<SpanIdentity>
where
    S: for<'span> LookupSpan<'span>,
{
    span.extensions().get::<SpanIdentity>().cloned()
}

/// Without such a span, the request that the thread works for.
pub(super) fn current_request() -> Option<SpanIdentity> {
    let context = context::current()?;
    Some(SpanIdentity {
        span_id: context.span_id,
        context,
    })
}

fn copy<S>(span: &SpanRef<'_, S>, line: &mut Line<'_>)
where
    S: for<'span> LookupSpan<'span>,
{
    if let Some(fields) = span.extensions().get::<SpanFields>() {
        line.span(fields);
    }
}

/// Renders values before any lock of the span is taken: formatting runs code of the user's, which may
/// log in its turn.
fn render(format: Format, fields: &mut SpanFields, record: impl FnOnce(&mut dyn Visit)) {
    scratch::with(|scratch| {
        record(&mut EachField(|name, value: Value<'_>| {
            fields.add(format, &mut scratch.cache, name, &value);
        }));
    });
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
