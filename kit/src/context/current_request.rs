//! `CurrentRequest`: what a handler may know of the request it works for. Made by `bellwether::current`.

use super::{SpanIdentity, TraceParent, baggage};

/// The request that this thread works for: see [`current`](crate::current).
#[derive(Clone, Debug)]
pub struct CurrentRequest(SpanIdentity);

impl CurrentRequest {
    pub(crate) fn get() -> Option<Self> {
        SpanIdentity::nearest().map(Self)
    }

    /// The request id: 1–128 visible ASCII characters, the caller's if it is trusted, else made here.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.0.context.request_id.as_str()
    }

    /// The trace id: 32 lower-case hex digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.0.context.trace_id.to_string()
    }

    /// The id of the nearest span, which a log line here carries too: 16 lower-case hex digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        self.0.span_id.to_string()
    }

    /// Whether the trace is recorded.
    #[must_use]
    pub fn sampled(&self) -> bool {
        self.0.context.trace_flags() & TraceParent::SAMPLED != 0
    }

    /// A value that the callers pass along (W3C Baggage), percent-decoded. Only trusted callers' is taken
    /// (`BELLWETHER_TRUST`), at most 180 members and 8,192 bytes of it.
    #[must_use]
    pub fn baggage(&self, key: &str) -> Option<String> {
        baggage::get(self.0.context.baggage.as_ref()?, key)
    }
}
