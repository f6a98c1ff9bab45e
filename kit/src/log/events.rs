//! What becomes of `tracing` events: a line with the fields of the spans around it, a place in the recording of its
//! request, or nothing. Called by the layer of `span`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::field::Visit;
use tracing::span::Id;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::clock::since_epoch;
use super::control::{Control, Verdict};
use super::fields::SpanFields;
use super::format::{Head, Message};
use super::recorder::{self, NewEvent, Recorder};
use super::ring::Leaf;
use super::surroundings::{LayerId, Surroundings};
use super::{Format, Logger, kept, place, records, request_line, surroundings};
use crate::context::{self, SpanIdentity};
use crate::span::{self, Carried};

/// Writes each event as a line, with the fields of the spans that it happened in.
#[derive(Debug)]
pub(crate) struct Events {
    logger: Logger,
    control: Option<Arc<Control>>,
    id: LayerId,
}

impl Events {
    /// All events become lines of `logger`.
    pub(crate) fn of(logger: &Logger) -> Self {
        Self {
            logger: logger.clone(),
            control: None,
            id: LayerId::new(),
        }
    }

    /// They are printed and recorded as `control` says.
    pub(crate) fn controlled(control: &Arc<Control>) -> Self {
        Self {
            control: Some(Arc::clone(control)),
            ..Self::of(control.logger())
        }
    }

    /// How the lines look.
    pub(crate) fn format(&self) -> Format {
        self.logger.format()
    }

    /// The fields of a span have changed: no event has those put together before.
    pub(crate) fn fields_changed<S>(&self, id: &Id, context: &Context<'_, S>)
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        surroundings::changed();
        if self.control.is_some() {
            spans_changed(id, context);
        }
    }

    /// The thread has entered or left a span.
    pub(crate) fn place_changed() {
        place::changed();
    }

    /// Prints or records an event, if anybody wants it.
    pub(crate) fn take<S>(&self, event: &Event<'_>, context: &Context<'_, S>)
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let metadata = event.metadata();
        if request_line::answer(metadata) {
            return;
        }
        let at = SystemTime::now();
        let at = match &self.control {
            Some(control) => match control.verdict(event, at, context) {
                Verdict::Print(at) => at,
                Verdict::Record(recorder) => return record(recorder, event, at, context),
                Verdict::Nothing => return,
            },
            None => since_epoch(at),
        };
        let place = event.is_contextual().then(place::now);
        surroundings::with(
            self.id,
            place,
            |around| {
                look_around(event, context, around);
                around.end(self.logger.format());
            },
            |around| self.print(event, at, around),
        );
    }

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
        if let Some(carried) = extensions.get::<Carried>() {
            around.span(carried.identity(), carried.fields.written());
        }
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
    let visit = |visit: &mut dyn Visit| event.record(visit);
    kept::with(recorder.event_bytes(), visit, |fields| {
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
        let owner = spans().find_map(|span| span::identity(&span));
        let Some(owner) = owner.or_else(SpanIdentity::of_request) else {
            return;
        };
        let leaf = Leaf {
            id: span.as_ref().map(SpanRef::id),
            span_id: owner.span_id,
        };
        let fill = |fields: &mut SpanFields, limit: usize| {
            for span in spans() {
                if let Some(carried) = span.extensions().get::<Carried>() {
                    fields.absorb(carried.fields.written(), limit);
                }
            }
        };
        owner
            .context
            .recording
            .keep(recorder, leaf, place, fill, new);
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
        .find_map(|span| span::identity(&span))
        .or_else(SpanIdentity::of_request)
    {
        Some(owner) => owner.context.recording.spans_changed(),
        None => recorder::spans_changed_somewhere(),
    }
}
