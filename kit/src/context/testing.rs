//! Test parts: the context of a request.

use std::sync::Arc;

use super::{RequestContext, RequestId, SharedContext, SpanId, TraceId};

/// The context of a sampled request.
pub(crate) fn context() -> SharedContext {
    Arc::new(RequestContext {
        request_id: RequestId::generate(),
        trace_id: TraceId::random(),
        span_id: SpanId::random(),
        flags: 0b11,
        trace_state: None,
        baggage: None,
        recording: Default::default(),
    })
}
