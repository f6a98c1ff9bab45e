//! Which kept traces a question is about, and in which order. `mod` asks it of the store in portions; pages and both
//! APIs ask `mod`.

use std::cmp::Reverse;
use std::time::Duration;

use memchr::memmem::Finder;
use serde::de::IgnoredAny;

use super::clock::Slots;
use super::heatmap::Asked;
use super::kept::KeptTrace;
use crate::wire::{AnyValueRef, Attributes, SpanRef, to_json};

/// Which kept traces to list.
#[derive(Clone, Debug, Default)]
pub struct TraceQuery {
    /// Traces with a span of this service.
    pub service: Option<String>,
    /// … and this operation.
    pub operation: Option<String>,
    /// At least this long.
    pub min: Option<Duration>,
    /// At most this long.
    pub max: Option<Duration>,
    /// Traces with such a span that took at least so long, …
    pub span_min: Option<Duration>,
    /// … at most so long, and came in the range: of the service and operation; without an operation an entry span.
    pub span_max: Option<Duration>,
    /// Only failed (true) or only good ones (false).
    pub error: Option<bool>,
    /// Only those in which each of these attributes is on a span of the service and operation, itself or from its
    /// resource; the value as text.
    pub attributes: Vec<(String, String)>,
    /// Which first.
    pub order: Order,
    /// At most so many.
    pub limit: usize,
}

/// The order of a list of traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Latest arrival first.
    #[default]
    Newest,
    /// Longest first.
    Slowest,
}

/// What a trace says of itself, as far as its place in a list depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) trace_id: [u8; 16],
    pub(super) serial: u64,
    last_arrival: u64,
    nanos: u64,
}

impl Head {
    pub(super) fn of(trace: &KeptTrace) -> Self {
        Self {
            trace_id: trace.trace_id,
            serial: trace.serial,
            last_arrival: trace.last_arrival,
            nanos: trace.nanos(),
        }
    }
}

impl TraceQuery {
    /// The names of two bounds that nothing lies between, the lower one first.
    pub fn contradiction(&self) -> Option<[&'static str; 2]> {
        let crossed = |low: Option<Duration>, high: Option<Duration>| {
            low.zip(high).is_some_and(|(low, high)| low > high)
        };
        if crossed(self.min, self.max) {
            return Some(["min", "max"]);
        }
        crossed(self.span_min, self.span_max).then_some(["span_min", "span_max"])
    }

    /// By the latency of single spans.
    fn is_by_span(&self) -> bool {
        self.span_min.is_some() || self.span_max.is_some()
    }

    fn is_of(&self, service: &str) -> bool {
        self.service.as_deref().is_none_or(|asked| asked == service)
    }

    fn names(&self, span: &SpanRef<'_>) -> bool {
        let operation = self.operation.as_deref();
        self.is_of(span.resource.service_name) && operation.is_none_or(|asked| asked == span.name)
    }

    /// The spans of the service and operation.
    fn named<'a>(&'a self, trace: &'a KeptTrace) -> impl Iterator<Item = SpanRef<'a>> {
        let of_service = trace.spans_of(|service| self.is_of(service));
        of_service.filter(|span| self.names(span))
    }

    /// Puts traces in the order asked for.
    pub(super) fn sort(&self, heads: &mut [Head]) {
        match self.order {
            Order::Newest => {
                heads.sort_unstable_by_key(|head| Reverse((head.last_arrival, head.serial)));
            }
            Order::Slowest => {
                heads.sort_unstable_by_key(|head| Reverse((head.nanos, head.last_arrival)));
            }
        }
    }
}

/// A query of a range that is being answered.
#[derive(Debug)]
pub(super) struct Sought<'a> {
    query: &'a TraceQuery,
    slots: Slots,
    /// A text for each attribute, without which in its bytes no trace has it.
    texts: Vec<Finder<'a>>,
}

impl<'a> Sought<'a> {
    pub(super) fn new(query: &'a TraceQuery, slots: Slots) -> Self {
        let attributes = query.attributes.iter();
        let texts = attributes.map(|(key, value)| {
            let text = if is_of_string_alone(value) {
                value
            } else {
                key
            };
            Finder::new(text)
        });
        Self {
            query,
            slots,
            texts: texts.collect(),
        }
    }

    /// Whether so many traces have been found as are asked for.
    pub(super) fn is_enough(&self, found: usize) -> bool {
        found >= self.query.limit
    }

    /// Whether a trace is asked for as far as it can tell without a look at its spans.
    pub(super) fn fits(&self, trace: &KeptTrace) -> bool {
        let query = self.query;
        let duration = Duration::from_nanos(trace.nanos());
        trace.len() > 0
            && (query.is_by_span() || self.slots.contains_nanos(trace.last_arrival))
            && query.error.is_none_or(|failed| failed == trace.failed)
            && query.min.is_none_or(|min| duration >= min)
            && query.max.is_none_or(|max| duration <= max)
            && query
                .service
                .as_deref()
                .is_none_or(|service| trace.may_have(service))
    }

    /// Whether a trace that [`fits`](Self::fits) is asked for by its spans, too.
    pub(super) fn fits_by_spans(&self, trace: &KeptTrace) -> bool {
        let query = self.query;
        let by_name = query.service.is_some() || query.operation.is_some();
        (!by_name || query.named(trace).next().is_some())
            && (!query.is_by_span() || self.has_span_between(trace))
            && self.texts.iter().all(|text| trace.holds(text))
            && query
                .attributes
                .iter()
                .all(|(key, value)| any_has(query.named(trace), key, value))
    }

    /// Whether a span of the service and operation asked for took so long and came in the range.
    fn has_span_between(&self, trace: &KeptTrace) -> bool {
        let query = self.query;
        let asked = |span: &SpanRef<'_>| match &query.service {
            Some(service) => Asked {
                service,
                operation: query.operation.as_deref(),
            }
            .is(span),
            None => query.names(span),
        };
        let mut arrivals = trace.arrivals_of(|service| query.is_of(service));
        arrivals.any(|(span, arrived)| {
            let duration = Duration::from_nanos(span.duration_nanos());
            query.span_min.is_none_or(|min| duration >= min)
                && query.span_max.is_none_or(|max| duration <= max)
                && self.slots.contains_nanos(arrived)
                && asked(&span)
        })
    }
}

/// Whether one of the spans, or its resource, has the attribute.
fn any_has<'a>(mut spans: impl Iterator<Item = SpanRef<'a>>, key: &str, value: &str) -> bool {
    let has = |attributes: Attributes<'_>| {
        let mut called = attributes.select(|found| found == key.as_bytes());
        called.any(|attribute| is_text(attribute.value, value))
    };
    // Spans that came together share the bytes of their resource: they are searched once.
    let mut searched: Option<&[u8]> = None;
    spans.any(|span| {
        let resource = span.resource.raw;
        let is_new = searched.is_none_or(|before| !std::ptr::eq(before, resource));
        searched = Some(resource);
        has(span.attributes()) || is_new && has(span.resource.attributes())
    })
}

/// Whether nothing but a string reads as `text`, see [`is_text`].
fn is_of_string_alone(text: &str) -> bool {
    text.parse::<i64>().is_err() && serde_json::from_str::<IgnoredAny>(text).is_err()
}

/// Whether a value reads as `text`: strings without quotes, whole numbers by value, everything else as JSON writes it.
fn is_text(value: AnyValueRef<'_>, text: &str) -> bool {
    match value {
        AnyValueRef::Str(value) => value == text,
        AnyValueRef::Int(value) => text.parse() == Ok(value),
        other => {
            let json = to_json(other).to_string();
            json == text
        }
    }
}
