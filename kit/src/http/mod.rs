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
mod grpc;
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
mod settlement;
mod status;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
mod tracked;

use std::net::SocketAddr;
use std::time::Duration;

use ::http::{HeaderMap, HeaderName};

pub(crate) use allowed::{AllowLists, Allowed, Shown};
pub use body::ResponseBody;
#[cfg(any(test, fuzzing))]
pub(crate) use caller::forwarded_for;
#[cfg(feature = "reqwest")]
pub use client::ReqwestMiddleware;
pub use client::{ClientBody, ClientFuture, ClientLayer, ClientService};
pub(crate) use concurrency::ConcurrencyLimit;
pub use future::ResponseFuture;
pub(crate) use grpc::Methods;
pub use layer::HttpLayer;
pub(crate) use outcome::Outcome;
pub(crate) use routes::Routes;
#[cfg(any(test, fuzzing))]
pub(crate) use server_timing::app_duration;
pub use service::HttpService;

pub(crate) use crate::context::Propagation;
use crate::context::{RequestContext, SpanId, Trust};
use crate::health::Lifecycle;
use crate::log::Logger;
use crate::metrics::{ClientMetrics, RpcMetrics, ServerMetrics};
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
    pub(crate) rpc: RpcMetrics,
    /// The gRPC methods that the server is known to have.
    pub(crate) methods: Methods,
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

    /// Writes the identity of a request, for a callee that is a child of `span_id`; a request id and baggage
    /// that are there stay.
    pub(crate) fn inject(
        &self,
        context: &RequestContext,
        span_id: SpanId,
        headers: &mut HeaderMap,
    ) {
        headers
            .entry(&self.request_id_header)
            .or_insert_with(|| context.request_id.header_value());
        self.propagation.inject(context, span_id, headers);
    }
}

/// Request extension: the address of the connection's other end.
///
/// A service with an accept loop of its own puts it on each request, outside the kit's layer: a caller whose
/// address is unknown is not trusted. `Kit::serve` does it by itself; axum's `ConnectInfo<SocketAddr>` and, with
/// the feature `tonic`, what tonic's server knows of a connection do as well.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddr(pub SocketAddr);

/// Response extension: this was a probe or a scrape, so it leaves no log line, span or metric.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotTraffic;

/// How errors that the kit cannot name travel through it.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
