//! Which request and span a `tracing` span stands for. `trace` keeps one in the span's extensions when
//! the span is created; `log` reads it for the ids of a line.

use super::{SharedContext, SpanId};

/// The identity of one handler span.
#[derive(Clone, Debug)]
pub(crate) struct SpanIdentity {
    /// The request that the span belongs to: trace id, flags and request id.
    pub(crate) context: SharedContext,
    /// The span's own id.
    pub(crate) span_id: SpanId,
}
