//! The identity of a request: request id, trace context in every format, baggage, who may set them. Used by
//! `http` (reads and writes headers), `log` (ids on every line) and `trace` (parents of handler spans).

mod b3;
pub(crate) mod baggage;
mod current;
mod current_request;
mod gcp;
mod identity;
mod ids;
mod propagation;
mod random;
mod request_id;
#[cfg(test)]
pub(crate) mod testing;
mod threshold;
mod traceparent;
mod tracestate;
mod trust;

use std::sync::Arc;

use ::http::HeaderValue;

pub(crate) use current::{Scoped, current, with_current};
pub use current_request::CurrentRequest;
pub(crate) use identity::SpanIdentity;
pub(crate) use ids::{SpanId, TraceId};
pub(crate) use propagation::{Format, Incoming, Propagation};
pub(crate) use request_id::RequestId;
pub(crate) use threshold::{Randomness, Threshold};
pub(crate) use traceparent::TraceParent;
pub(crate) use tracestate::TraceState;
pub(crate) use trust::Trust;

use crate::log::Recording;

/// What every log line, span and outgoing call of one request shares. Made once, immutable.
#[derive(Debug)]
pub(crate) struct RequestContext {
    pub(crate) request_id: RequestId,
    pub(crate) trace_id: TraceId,
    /// The server span of this request; handler spans and client spans are its children.
    pub(crate) span_id: SpanId,
    /// W3C trace flags, level 2: bit 0 sampled, bit 1 random; and bit 7, [`DEBUG`](Self::DEBUG). Told to
    /// others by [`trace_flags`](Self::trace_flags).
    pub(crate) flags: u8,
    pub(crate) trace_state: Option<TraceState>,
    /// `baggage` as received from a trusted caller, within limits ([`baggage::parse`]).
    pub(crate) baggage: Option<HeaderValue>,
    /// The request's events that nobody may ever see.
    pub(crate) recording: Recording,
}

impl RequestContext {
    /// Flag bit of our own: B3's debug flag, which goes on to callees that are told in B3 and no further.
    pub(crate) const DEBUG: u8 = 0b1000_0000;

    /// The flags that W3C Trace Context level 2 knows.
    pub(crate) fn trace_flags(&self) -> u8 {
        self.flags & (TraceParent::SAMPLED | TraceParent::RANDOM)
    }

    pub(crate) fn sampled(&self) -> bool {
        self.flags & TraceParent::SAMPLED != 0
    }
}

/// How a request context travels: one allocation a request, shared by reference count.
pub(crate) type SharedContext = Arc<RequestContext>;
