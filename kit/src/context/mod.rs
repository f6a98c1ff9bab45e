//! The identity of a request: request id, trace context, who may set them. Used by `http` (reads and
//! writes headers), `log` (ids on every line) and `trace` (parents of handler spans).

mod current;
mod identity;
mod ids;
mod request_id;
#[cfg(test)]
pub(crate) mod testing;
mod traceparent;
mod trust;

use std::sync::Arc;

use ::http::HeaderValue;

pub(crate) use current::{Scoped, current, with_current};
pub(crate) use identity::SpanIdentity;
pub(crate) use ids::{SpanId, TraceId};
pub(crate) use request_id::RequestId;
pub(crate) use traceparent::{TraceParent, TraceState};
pub(crate) use trust::Trust;

use crate::log::Recording;

/// What every log line, span and outgoing call of one request shares. Made once, immutable.
#[derive(Debug)]
pub(crate) struct RequestContext {
    pub(crate) request_id: RequestId,
    pub(crate) trace_id: TraceId,
    /// The server span of this request; handler spans and client spans are its children.
    pub(crate) span_id: SpanId,
    /// W3C trace flags, level 2: bit 0 sampled, bit 1 random.
    pub(crate) flags: u8,
    pub(crate) trace_state: Option<TraceState>,
    /// `baggage` as received from a trusted caller, passed on as it is.
    pub(crate) baggage: Option<HeaderValue>,
    /// The request's events that nobody may ever see.
    pub(crate) recording: Recording,
}

impl RequestContext {
    pub(crate) fn sampled(&self) -> bool {
        self.flags & TraceParent::SAMPLED != 0
    }
}

/// How a request context travels: one allocation a request, shared by reference count.
pub(crate) type SharedContext = Arc<RequestContext>;
