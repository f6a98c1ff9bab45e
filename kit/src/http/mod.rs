//! The request path: one layer that gives a request its identity, times it to the end of its body and
//! settles it exactly once into log line, span and metrics; and its outbound twin.

mod allowed;
mod body;
mod caller;
mod client;
mod concurrency;
mod error_body;
mod exchange;
mod future;
mod host;
mod layer;
mod method;
mod names;
mod outcome;
mod panic;
mod request_texts;
mod response_headers;
mod routes;
mod server_span;
mod server_timing;
mod service;
mod status;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
mod tracked;

use std::net::SocketAddr;
use std::time::Duration;

use ::http::HeaderName;

pub(crate) use allowed::{AllowLists, Allowed, Shown};
pub use body::ResponseBody;
#[cfg(feature = "reqwest")]
pub use client::ReqwestMiddleware;
pub use client::{ClientBody, ClientFuture, ClientLayer, ClientService};
pub(crate) use concurrency::ConcurrencyLimit;
pub use future::ResponseFuture;
pub use layer::HttpLayer;
pub(crate) use outcome::Outcome;
pub(crate) use routes::Routes;
pub use service::HttpService;

use crate::context::Trust;
use crate::health::Lifecycle;
use crate::log::Logger;
use crate::metrics::{ClientMetrics, ServerMetrics};
use crate::trace::{Sampler, SpanQueue};

/// What the layers work with: where a settled request goes, and who may say what.
#[derive(Debug)]
pub(crate) struct Telemetry {
    pub(crate) logger: Logger,
    /// `None` when tracing is off: trace context is then passed on as it came.
    pub(crate) spans: Option<SpanQueue>,
    pub(crate) sampler: Sampler,
    pub(crate) server: ServerMetrics,
    pub(crate) client: ClientMetrics,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) trust: Trust,
    /// Read from trusted callers, echoed on every response, sent with every call.
    pub(crate) request_id_header: HeaderName,
    pub(crate) propagation: Propagation,
    /// Covers head and body of the response.
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) concurrency_limit: Option<ConcurrencyLimit>,
    pub(crate) routes: Routes,
    /// `None` while no header and no query key is to be shown.
    pub(crate) allowed: Option<Allowed>,
}

impl Telemetry {
    /// The queue for finished spans, while somebody exports them.
    fn spans(&self) -> Option<&SpanQueue> {
        self.spans.as_ref().filter(|spans| spans.is_enabled())
    }
}

/// Which W3C headers are read and written (`OTEL_PROPAGATORS`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Propagation {
    /// `traceparent`, `tracestate`.
    pub(crate) trace_context: bool,
    /// `baggage`.
    pub(crate) baggage: bool,
}

impl Default for Propagation {
    fn default() -> Self {
        Self {
            trace_context: true,
            baggage: true,
        }
    }
}

/// Request extension: the address of the connection's other end, set by `serve`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerAddr(pub(crate) SocketAddr);

/// Response extension: this was a probe or a scrape, so it leaves no log line, span or metric.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotTraffic;

/// How errors that the kit cannot name travel through it.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
