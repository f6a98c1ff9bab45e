//! `HttpLayer`: the whole middleware as one `tower` layer. Made by `Kit::layer`, used by `Kit::wrap`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use ::http::request::Parts;
use tower_layer::Layer;

use super::{HttpService, Telemetry};

/// Gives every request its identity, times it to the end of its body, and settles it exactly once into a
/// log line, a span and metrics.
///
/// Wraps any service of `http` requests and responses: axum, hyper, tonic. With an accept loop of its own, a
/// service says who calls by [`PeerAddr`](crate::PeerAddr).
///
/// # gRPC
///
/// A request of HTTP/2 whose `content-type` is `application/grpc` is a gRPC call. It is told of by the RPC
/// semantic conventions: a span named `package.Service/Method`, `rpc.method` and `rpc.response.status_code` on
/// its line and span, and a duration in `rpc_server_call_duration_seconds` in place of the HTTP one. The status
/// is that of the trailers, or of the headers of a response without a body; a call lasts until its response
/// stream ends. Of the codes, `UNKNOWN`, `DEADLINE_EXCEEDED`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE` and
/// `DATA_LOSS` are failures of this side; a caller that cancels is `CANCELLED` and none, and one that leaves
/// when its `grpc-timeout` is over has the outcome `timeout`. Panics, the request time-out and the concurrency
/// limit are answered by a status.
///
/// A method becomes a label and a span name once it has answered; what has only ever been refused or not found
/// is `_OTHER`, so that no caller can invent series. Calls of `application/grpc-web` are plain HTTP unless
/// tonic's `GrpcWebLayer` has translated them before.
#[derive(Clone)]
pub struct HttpLayer {
    telemetry: Arc<Telemetry>,
    route_hook: Option<RouteHook>,
}

/// How a service outside axum names its routes.
pub(super) type RouteHook = Arc<dyn for<'a> Fn(&'a Parts) -> Option<Cow<'a, str>> + Send + Sync>;

impl HttpLayer {
    pub(crate) fn new(telemetry: Arc<Telemetry>) -> Self {
        Self {
            telemetry,
            route_hook: None,
        }
    }

    /// Names the route of a request (`/users/{id}`), for services whose router is not axum's.
    ///
    /// Return the pattern that matched, never the path itself: a route is a metric label, and a path
    /// with ids in it makes a series for each of them.
    #[must_use]
    pub fn route_hook<F>(mut self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a Parts) -> Option<Cow<'a, str>> + Send + Sync + 'static,
    {
        self.route_hook = Some(Arc::new(hook));
        self
    }
}

impl<S> Layer<S> for HttpLayer {
    type Service = HttpService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HttpService::new(inner, Arc::clone(&self.telemetry), self.route_hook.clone())
    }
}

impl fmt::Debug for HttpLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpLayer")
            .field("route_hook", &self.route_hook.is_some())
            .finish_non_exhaustive()
    }
}
