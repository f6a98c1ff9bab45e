//! The `tracing` layer: events become lines, span fields become bytes that those lines copy. `kit`
//! installs it, behind the filter.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::field::Visit;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::clock::since_epoch;
use super::control::{Control, Verdict};
use super::fields::SpanFields;
use super::format::{Head, Message};
use super::recorder::{self, NewEvent, Recorder};
use super::ring::Leaf;
use super::surroundings::{LayerId, Surroundings};
use super::value::{EachField, Value};
use super::{Format, Logger, kept, place, records, request_line, scratch, surroundings};
use crate::context::{self, SpanIdentity};

/// The layer that writes to `logger`. Filtering is the caller's: this layer takes all it is given.
pub(crate) fn layer<S>(logger: &Logger) -> LogLayer<S> {
    LogLayer {
        logger: logger.clone(),
        control: None,
        id: LayerId::new(),
        subscriber: std::marker::PhantomData,
    }
}

/// The layer that prints and records as `control` says, behind its [`LogFilter`](super::LogFilter).
pub(crate) fn controlled<S>(control: &Arc<Control>) -> LogLayer<S> {
    LogLayer {
        logger: control.logger().clone(),
        control: Some(Arc::clone(control)),
        id: LayerId::new(),
        subscriber: std::marker::PhantomData,
    }
}

/// Writes each event as a line, with the fields of the spans that it happened in.
#[derive(Debug)]
pub(crate) struct LogLayer<S> {
    logger: Logger,
    control: Option<Arc<Control>>,
    id: LayerId,
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
        surroundings::changed();
        if self.control.is_some() {
            spans_changed(id, &context);
        }
    }

    fn on_enter(&self, _: &Id, _: Context<'_, S>) {
        place::changed();
    }

    fn on_exit(&self, _: &Id, _: Context<'_, S>) {
        place::changed();
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        if request_line::answer(metadata) {
            return;
        }
        let at = SystemTime::now();
        let at = match &self.control {
            Some(control) => match control.verdict(event, at, &context) {
                Verdict::Print(at) => at,
                Verdict::Record(recorder) => return record(recorder, event, at, &context),
                Verdict::Nothing => return,
            },
            None => since_epoch(at),
        };
        let place = event.is_contextual().then(place::now);
        surroundings::with(
            self.id,
            place,
            |around| {
                look_around(event, &context, around);
                around.end(self.logger.format());
            },
            |around| self.print(event, at, around),
        );
    }
}

impl<S> LogLayer<S> {
    fn print(&self, event: &Event<'_>, at: Duration, around: &Surroundings) {
        let metadata = event.metadata();
        let record = records::metadata(event);
        let head = Head {
            at,
            level: *metadata.level(),
            target: record
                .as_ref()
                .map_or(metadata.target(), |record| record.target()),
            message: match &record {
                Some(record) => Message::Record(event, record),
                None => Message::Event(event),
            },
            ids: around.ids(),
        };
        self.logger.write(&head, |line| {
            line.event(event, record.is_some());
            line.all_spans(&around.fields);
        });
    }
}

/// Takes in the spans of an event, nearest first.
fn look_around<S>(event: &Event<'_>, context: &Context<'_, S>, around: &mut Surroundings)
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let mut next = context.event_span(event);
    while let Some(span) = next {
        let extensions = span.extensions();
        around.span(extensions.get(), extensions.get());
        drop(extensions);
        next = span.parent();
    }
}

/// Keeps an event for the request that it belongs to; one that belongs to none is gone.
fn record<S>(recorder: &Arc<Recorder>, event: &Event<'_>, at: SystemTime, context: &Context<'_, S>)
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    if !may_be_in_request(context) {
        return;
    }
    // Before the recording is locked: formatting runs code of the user's, which may log in its turn.
    kept::with(event, recorder.event_bytes(), |fields| {
        let new = NewEvent {
            at,
            metadata: event.metadata(),
            fields,
        };
        let place = event.is_contextual().then(place::now);
        if place.is_some_and(|place| {
            context::with_current(|request| request.recording.keep_in_same_place(place, new))
                == Some(true)
        }) {
            return;
        }
        let span = context.event_span(event);
        let spans = || span.iter().flat_map(SpanRef::scope);
        let owner = spans().find_map(|span| identity(&span));
        let Some(owner) = owner.or_else(current_request) else {
            return;
        };
        let leaf = Leaf {
            place,
            id: span.as_ref().map(SpanRef::id),
            span_id: owner.span_id,
        };
        let fill = |fields: &mut SpanFields, limit: usize| {
            for span in spans() {
                if let Some(of_span) = span.extensions().get::<SpanFields>() {
                    fields.absorb(of_span, limit);
                }
            }
        };
        owner.context.recording.keep(recorder, leaf, fill, new);
    });
}

/// Whether an event that happens now may belong to a request.
pub(super) fn may_be_in_request<S>(context: &Context<'_, S>) -> bool
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    context::with_current(|_| ()).is_some() || context.lookup_current().is_some()
}

/// Later events of the span have other fields than those recorded before.
fn spans_changed<S>(id: &Id, context: &Context<'_, S>)
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let mut spans = context.span_scope(id).into_iter().flatten();
    match spans
        .find_map(|span| identity(&span))
        .or_else(current_request)
    {
        Some(owner) => owner.context.recording.spans_changed(),
        None => recorder::spans_changed_somewhere(),
    }
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

/// Renders values before any lock of the span is taken: formatting runs code of the user's, which may
/// log in its turn.
fn render(format: Format, fields: &mut SpanFields, record: impl FnOnce(&mut dyn Visit)) {
    scratch::with(|scratch| {
        let keys = scratch.cache.of(format);
        record(&mut EachField(|name, value: Value<'_>| {
            fields.add(keys, name, &value);
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
