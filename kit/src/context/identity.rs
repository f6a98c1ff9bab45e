//! The identity a `tracing` span carries in its extensions: set by `trace`'s layer, read by `log` and the
//! client layer.

use super::{SharedContext, SpanId};

/// Which request a span belongs to, and the span id that lines and calls inside it carry.
#[derive(Clone, Debug)]
pub(crate) struct SpanIdentity {
    pub(crate) context: SharedContext,
    pub(crate) span_id: SpanId,
}
