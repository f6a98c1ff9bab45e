//! One kept trace: copies of its spans' bytes, so that batches are not pinned, and what lists and the keeping policy
//! need without decoding them. Owned by `traces`, decoded by `tree`.

use std::hash::BuildHasher as _;
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::FixedState;
use memchr::memmem;

use crate::wire::{ResourceRef, ScopeRef, SpanKind, SpanRef, StatusCode};

/// More spans of one trace are counted, not kept.
const MAX_SPANS: usize = 5_000;

/// The resource and scope that spans came with, shared by all of them.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) resource: Box<[u8]>,
    pub(crate) service: Box<str>,
    pub(crate) scope: Box<[u8]>,
    mark: u64,
}

/// A trace as far as it came.
#[derive(Clone, Debug)]
pub(crate) struct KeptTrace {
    pub(crate) trace_id: [u8; 16],
    /// Tells it from others that had its place in the store before.
    pub(crate) serial: u64,
    /// Arrival of its newest span, Unix nanoseconds.
    pub(crate) last_arrival: u64,
    /// Any span failed.
    pub(crate) failed: bool,
    /// Spans beyond the cap.
    pub(crate) dropped: u64,
    /// The classes that favour it: its time among the ordinary ones is over.
    pub(crate) favoured_by: Vec<u64>,
    /// It is in the uniform sample, likewise.
    pub(crate) sampled: bool,
    /// It was taken for what it is, under a flood: spans that came before were not kept.
    pub(crate) late: bool,
    start_unix_nano: u64,
    end_unix_nano: u64,
    root: usize,
    /// The marks of its services.
    marks: u64,
    spans: Vec<KeptSpan>,
    /// The spans' messages.
    bytes: Vec<u8>,
    /// Their names, which were looked at when they were walked.
    names: String,
}

#[derive(Clone, Debug)]
struct KeptSpan {
    span_id: [u8; 8],
    parent_span_id: Option<[u8; 8]>,
    kind: SpanKind,
    status: StatusCode,
    has_trace_state: bool,
    start_unix_nano: u64,
    end_unix_nano: u64,
    raw: Range<u32>,
    name: Range<u32>,
    /// Arrival, Unix seconds.
    arrived: u32,
    origin: Arc<Origin>,
}

impl Origin {
    pub(crate) fn of(span: &SpanRef<'_>) -> Self {
        Self {
            resource: span.resource.raw.into(),
            service: span.resource.service_name.into(),
            scope: span.scope.raw.into(),
            mark: mark(span.resource.service_name),
        }
    }

    /// Heap bytes held.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.resource.len() + self.service.len() + self.scope.len()
    }
}

impl KeptTrace {
    pub(crate) fn new(trace_id: [u8; 16], serial: u64, arrived_unix_nano: u64) -> Self {
        Self {
            trace_id,
            serial,
            last_arrival: arrived_unix_nano,
            failed: false,
            dropped: 0,
            favoured_by: Vec::new(),
            sampled: false,
            late: false,
            start_unix_nano: u64::MAX,
            end_unix_nano: 0,
            root: 0,
            marks: 0,
            spans: Vec::new(),
            bytes: Vec::new(),
            names: String::new(),
        }
    }

    /// Keeps a span, unless the trace would get more than 5,000 spans or `max_bytes`: then it is counted as dropped.
    pub(crate) fn push(
        &mut self,
        span: &SpanRef<'_>,
        origin: &Arc<Origin>,
        arrived_unix_nano: u64,
        max_bytes: usize,
    ) {
        self.last_arrival = self.last_arrival.max(arrived_unix_nano);
        self.failed |= span.status == StatusCode::Error;
        let (raw, name) = (self.bytes.len(), self.names.len());
        let (raw_end, name_end) = (raw + span.raw.len(), name + span.name.len());
        let fits = self.spans.len() < MAX_SPANS && raw_end + name_end <= max_bytes;
        let (Ok(raw_end), Ok(name_end), true) =
            (u32::try_from(raw_end), u32::try_from(name_end), fits)
        else {
            self.dropped += 1;
            return;
        };
        self.bytes.extend_from_slice(span.raw);
        self.names.push_str(span.name);
        let order = |parent: Option<[u8; 8]>, start: u64| (parent.is_some(), start);
        let nearer = self.spans.get(self.root).is_none_or(|root| {
            order(span.parent_span_id, span.start_unix_nano)
                < order(root.parent_span_id, root.start_unix_nano)
        });
        if nearer {
            self.root = self.spans.len();
        }
        self.start_unix_nano = self.start_unix_nano.min(span.start_unix_nano);
        self.end_unix_nano = self.end_unix_nano.max(span.end_unix_nano);
        self.marks |= origin.mark;
        self.spans.push(KeptSpan {
            span_id: span.span_id,
            parent_span_id: span.parent_span_id,
            kind: span.kind,
            status: span.status,
            has_trace_state: span.has_trace_state,
            start_unix_nano: span.start_unix_nano,
            end_unix_nano: span.end_unix_nano,
            raw: raw as u32..raw_end,
            name: name as u32..name_end,
            arrived: u32::try_from(arrived_unix_nano / 1_000_000_000).unwrap_or(u32::MAX),
            origin: Arc::clone(origin),
        });
    }

    /// Heap bytes held, about.
    pub(crate) fn cost(&self) -> usize {
        size_of::<Self>()
            + self.bytes.capacity()
            + self.names.capacity()
            + self.spans.capacity() * size_of::<KeptSpan>()
            + self.favoured_by.capacity() * size_of::<u64>()
    }

    /// Spans kept.
    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// The earliest start.
    pub(crate) fn start_unix_nano(&self) -> u64 {
        self.start_unix_nano.min(self.end_unix_nano)
    }

    /// Earliest start to latest end, nanoseconds.
    pub(crate) fn nanos(&self) -> u64 {
        self.end_unix_nano.saturating_sub(self.start_unix_nano)
    }

    /// Whether it may have spans of a service: false for nearly all traces without one, which are left out at a glance.
    pub(crate) fn may_have(&self, service: &str) -> bool {
        self.marks & mark(service) != 0
    }

    /// The parentless (or, for want of one, the earliest) span.
    pub(crate) fn root(&self) -> Option<SpanRef<'_>> {
        self.spans.get(self.root).map(|span| self.read(span))
    }

    /// The spans, in order of arrival.
    pub(crate) fn spans(&self) -> impl Iterator<Item = SpanRef<'_>> {
        self.spans.iter().map(|span| self.read(span))
    }

    /// The spans of services that `wanted` picks, in order of arrival; nothing is read of the others.
    pub(crate) fn spans_of(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = SpanRef<'_>> {
        let spans = self.spans.iter();
        let wanted = spans.filter(move |span| wanted(&span.origin.service));
        wanted.map(|span| self.read(span))
    }

    /// Whether a text is anywhere in the bytes of its spans or of the resources that they came with. Where it is not, no
    /// attribute or event is called so, and no attribute is this string: that is known without reading a single one.
    pub(crate) fn holds(&self, text: &memmem::Finder<'_>) -> bool {
        let mut same_origin = self
            .spans
            .chunk_by(|one, next| Arc::ptr_eq(&one.origin, &next.origin));
        let in_resource = |span: &KeptSpan| text.find(&span.origin.resource).is_some();
        text.find(&self.bytes).is_some()
            || same_origin.any(|spans| spans.first().is_some_and(in_resource))
    }

    /// When each span began, Unix nanoseconds.
    pub(crate) fn starts(&self) -> impl Iterator<Item = u64> {
        self.spans.iter().map(|span| span.start_unix_nano)
    }

    /// The spans with their arrivals, Unix nanoseconds, to the second.
    pub(crate) fn arrivals(&self) -> impl Iterator<Item = (SpanRef<'_>, u64)> {
        self.arrivals_of(|_| true)
    }

    /// The same of services that `wanted` picks; nothing is read of the others.
    pub(crate) fn arrivals_of(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = (SpanRef<'_>, u64)> {
        let spans = self.spans.iter();
        let wanted = spans.filter(move |span| wanted(&span.origin.service));
        wanted.map(|span| (self.read(span), u64::from(span.arrived) * 1_000_000_000))
    }

    fn read<'a>(&'a self, span: &'a KeptSpan) -> SpanRef<'a> {
        let range = |range: &Range<u32>| range.start as usize..range.end as usize;
        SpanRef {
            trace_id: self.trace_id,
            span_id: span.span_id,
            parent_span_id: span.parent_span_id,
            kind: span.kind,
            start_unix_nano: span.start_unix_nano,
            end_unix_nano: span.end_unix_nano,
            status: span.status,
            has_trace_state: span.has_trace_state,
            name: self.names.get(range(&span.name)).unwrap_or_default(),
            raw: self.bytes.get(range(&span.raw)).unwrap_or_default(),
            resource: ResourceRef {
                raw: &span.origin.resource,
                service_name: &span.origin.service,
            },
            scope: ScopeRef {
                raw: &span.origin.scope,
            },
        }
    }
}

/// One of 64 bits for the name of a service.
fn mark(service: &str) -> u64 {
    1 << (FixedState::default().hash_one(service) % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{test_support, walk};

    /// A trace of one span each of these services, with an attribute on the span.
    fn trace(services: &[&str]) -> KeptTrace {
        let mut trace = KeptTrace::new([1; 16], 1, 0);
        for (id, service) in (1..).zip(services) {
            let mut span = test_support::span(1, id, 0);
            span.attributes = vec![test_support::attribute("tier", "gold")];
            let group = test_support::resource_spans(service, vec![span]);
            let bytes = test_support::encode(vec![group]);
            walk(&bytes, |span| {
                trace.push(&span, &Arc::new(Origin::of(&span)), 0, 1 << 20);
            })
            .unwrap();
        }
        trace
    }

    #[test]
    fn a_glance_leaves_out_most_services_that_are_not_there_and_none_that_is() {
        let names: Vec<_> = (0..200).map(|n| format!("service-{n}")).collect();
        let there = ["service-3", "service-77"];
        let trace = trace(&there);
        let may = names.iter().filter(|name| trace.may_have(name));
        let may: Vec<_> = may.map(String::as_str).collect();
        assert!(there.iter().all(|name| may.contains(name)), "{may:?}");
        // Two of 64 bits are set.
        assert!(may.len() < 30, "{may:?}");
    }

    #[test]
    fn a_text_is_held_by_spans_or_by_their_resources() {
        let trace = trace(&["cart", "stock"]);
        for (text, want) in [
            ("tier", true),
            ("gold", true),
            ("cart", true),
            ("stock", true),
            ("service.name", true),
            ("silver", false),
        ] {
            let got = trace.holds(&memmem::Finder::new(text));
            assert_eq!(got, want, "{text}");
        }
    }
}
