//! W3C `traceparent` and `tracestate`, level 2: parse and write.

use ::http::HeaderValue;

use super::{SpanId, TraceId};

/// A parsed `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceParent {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) flags: u8,
}

impl TraceParent {
    /// Flag bit: the caller recorded this trace.
    pub(crate) const SAMPLED: u8 = 0b01;
    /// Flag bit (level 2): the trace id's last 7 bytes are random.
    pub(crate) const RANDOM: u8 = 0b10;

    /// `None` for anything the specification calls invalid (§3.2).
    pub(crate) fn parse(_value: &[u8]) -> Option<Self> {
        unimplemented!()
    }

    pub(crate) fn to_header(self) -> HeaderValue {
        unimplemented!()
    }
}

/// A `tracestate` within the specification's limits (32 members), passed on as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceState(HeaderValue);

impl TraceState {
    /// `None` when a member is malformed: the whole header is then ignored (§3.3).
    pub(crate) fn parse<'a>(_values: impl Iterator<Item = &'a HeaderValue>) -> Option<Self> {
        unimplemented!()
    }

    pub(crate) fn header_value(&self) -> HeaderValue {
        self.0.clone()
    }

    pub(crate) fn as_str(&self) -> &str {
        unimplemented!()
    }
}
