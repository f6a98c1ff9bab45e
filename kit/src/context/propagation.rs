//! The formats that a trace context travels in (`OTEL_PROPAGATORS`), decided once at start: read by `http` from
//! the callers' headers, written by the client layer and `Kit::inject`.

use ::http::{HeaderMap, HeaderName, HeaderValue};

use super::{RequestContext, SpanId, TraceId, TraceParent, TraceState, b3, gcp};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Which headers are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Propagation {
    /// In the order given, none of them twice; `None` behind the last one.
    formats: [Option<Format>; Format::ALL],
    /// `baggage`.
    pub(crate) baggage: bool,
}

/// A format of trace contexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `traceparent`, `tracestate`.
    TraceContext,
    /// `b3`; reads what [`B3Multi`](Self::B3Multi) reads.
    B3,
    /// `x-b3-traceid` and its kin; reads what [`B3`](Self::B3) reads.
    B3Multi,
    /// `x-cloud-trace-context`.
    Gcp,
}

impl Format {
    const ALL: usize = 4;

    /// As `OTEL_PROPAGATORS` has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TraceContext => "tracecontext",
            Self::B3 => "b3",
            Self::B3Multi => "b3multi",
            Self::Gcp => "gcp",
        }
    }
}

/// What a caller says of its trace.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    /// `None`: only a decision, for a trace that begins here.
    pub(crate) trace_id: Option<TraceId>,
    /// The caller's span, if it has one.
    pub(crate) parent: Option<SpanId>,
    /// `None`: the decision is left to us.
    pub(crate) sampled: Option<bool>,
    /// Whether the trace id is known to be random (W3C Trace Context level 2).
    pub(crate) random: bool,
    /// B3's debug flag.
    pub(crate) debug: bool,
    pub(crate) trace_state: Option<TraceState>,
}

impl Default for Incoming {
    /// Of a caller that says nothing: a trace begins, with an id of ours.
    fn default() -> Self {
        Self {
            trace_id: None,
            parent: None,
            sampled: None,
            random: true,
            debug: false,
            trace_state: None,
        }
    }
}

impl Incoming {
    pub(super) fn child_of(trace_id: TraceId, parent: Option<SpanId>) -> Self {
        Self {
            trace_id: Some(trace_id),
            parent,
            random: false,
            ..Self::default()
        }
    }

    /// The caller's span, to link to.
    pub(crate) fn span(&self) -> Option<TraceParent> {
        let flag = |set, flag| if set { flag } else { 0 };
        Some(TraceParent {
            trace_id: self.trace_id?,
            span_id: self.parent?,
            flags: flag(self.sampled == Some(true), TraceParent::SAMPLED)
                | flag(self.random, TraceParent::RANDOM),
        })
    }
}

impl From<TraceParent> for Incoming {
    fn from(parent: TraceParent) -> Self {
        Self {
            sampled: Some(parent.flags & TraceParent::SAMPLED != 0),
            random: parent.flags & TraceParent::RANDOM != 0,
            ..Self::child_of(parent.trace_id, Some(parent.span_id))
        }
    }
}

/// The parent that a callee is told of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    /// W3C trace flags.
    pub(super) flags: u8,
    /// B3's debug flag.
    pub(super) debug: bool,
}

impl Outgoing {
    pub(super) fn sampled(self) -> bool {
        self.flags & TraceParent::SAMPLED != 0
    }
}

impl Propagation {
    /// No header at all.
    pub(crate) const NONE: Self = Self {
        formats: [None; Format::ALL],
        baggage: false,
    };

    /// A format behind those there are; one that is there already stays where it is.
    pub(crate) fn add(&mut self, format: Format) {
        if self.formats.contains(&Some(format)) {
            return;
        }
        if let Some(free) = self.formats.iter_mut().find(|format| format.is_none()) {
            *free = Some(format);
        }
    }

    /// In the order given.
    pub(crate) fn formats(&self) -> impl Iterator<Item = Format> {
        self.formats.into_iter().flatten()
    }

    /// Whether headers can hold a context: of the default formats `traceparent` alone tells.
    pub(crate) fn may_be_in(&self, traceparent_is_present: bool) -> bool {
        let only_w3c = matches!(self.formats, [Some(Format::TraceContext), None, ..]);
        traceparent_is_present || !only_w3c
    }

    /// The context of the last format that has a valid one, as in OpenTelemetry's own libraries, where later
    /// propagators overwrite what earlier ones found: services of one setting agree on the parent. A
    /// decision without ids counts only when no format has ids.
    pub(crate) fn extract(&self, headers: &HeaderMap) -> Option<Incoming> {
        let (format, mut incoming) = self.find(headers)?;
        incoming.trace_state = incoming
            .trace_id
            .filter(|trace_id| format == Format::TraceContext || self.is_w3c(*trace_id, headers))
            .and_then(|_| TraceState::parse(headers.get_all(TRACESTATE).iter()));
        Some(incoming)
    }

    /// As [`extract`](Self::extract), without `tracestate`.
    pub(crate) fn ids(&self, headers: &HeaderMap) -> Option<Incoming> {
        self.find(headers).map(|(_, incoming)| incoming)
    }

    fn find(&self, headers: &HeaderMap) -> Option<(Format, Incoming)> {
        let mut decision = None;
        for format in self.formats.iter().rev().flatten() {
            match format.extract(headers) {
                Some(incoming) if incoming.trace_id.is_some() => return Some((*format, incoming)),
                incoming => decision = decision.or(incoming.map(|incoming| (*format, incoming))),
            }
        }
        decision
    }

    /// Whether `tracestate` is of this trace: of a caller that writes several formats, it goes with whichever
    /// tells the parent.
    fn is_w3c(&self, trace_id: TraceId, headers: &HeaderMap) -> bool {
        self.formats.contains(&Some(Format::TraceContext))
            && traceparent(headers).is_some_and(|parent| parent.trace_id == trace_id)
    }

    /// Writes every format, in place of what the headers had of it, with `span_id` as the callee's parent;
    /// baggage that is there stays.
    pub(crate) fn inject(
        &self,
        context: &RequestContext,
        span_id: SpanId,
        headers: &mut HeaderMap,
    ) {
        let outgoing = Outgoing {
            trace_id: context.trace_id,
            span_id,
            flags: context.trace_flags(),
            debug: context.flags & RequestContext::DEBUG != 0,
        };
        for format in self.formats.iter().flatten() {
            match format {
                Format::TraceContext => {
                    inject_w3c(outgoing, context.trace_state.as_ref(), headers);
                }
                Format::B3 => b3::inject_single(outgoing, headers),
                Format::B3Multi => b3::inject_multi(outgoing, headers),
                Format::Gcp => gcp::inject(outgoing, headers),
            }
        }
        if let (true, Some(baggage)) = (self.baggage, &context.baggage) {
            headers.entry(BAGGAGE).or_insert_with(|| baggage.clone());
        }
    }
}

impl Default for Propagation {
    /// The specification's: W3C trace context and baggage.
    fn default() -> Self {
        let mut propagation = Self::NONE;
        propagation.add(Format::TraceContext);
        propagation.baggage = true;
        propagation
    }
}

impl Format {
    fn extract(self, headers: &HeaderMap) -> Option<Incoming> {
        match self {
            Self::TraceContext => traceparent(headers).map(Incoming::from),
            Self::B3 | Self::B3Multi => b3::extract(headers),
            Self::Gcp => gcp::extract(headers),
        }
    }
}

fn traceparent(headers: &HeaderMap) -> Option<TraceParent> {
    TraceParent::parse(only(headers, TRACEPARENT)?.as_bytes())
}

fn inject_w3c(outgoing: Outgoing, state: Option<&TraceState>, headers: &mut HeaderMap) {
    let parent = TraceParent {
        trace_id: outgoing.trace_id,
        span_id: outgoing.span_id,
        flags: outgoing.flags,
    };
    headers.insert(TRACEPARENT, parent.to_header());
    match state {
        Some(state) => drop(headers.insert(TRACESTATE, state.header_value())),
        None => drop(headers.remove(TRACESTATE)),
    }
}

/// Several headers where one is allowed are as good as none (W3C Trace Context §4.2).
pub(super) fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests;
