//! `HttpService`: begins the exchange of each request and hands the request on, or refuses it.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::{Request, Response};
use tower_service::Service;

use super::error_body::Answer;
use super::exchange::Exchange;
use super::layer::RouteHook;
use super::routes::Route;
use super::tracked::Tracked;
use super::{ResponseBody, ResponseFuture, Telemetry};

/// The service made by [`HttpLayer`](super::HttpLayer).
#[derive(Clone)]
pub struct HttpService<S> {
    inner: S,
    telemetry: Arc<Telemetry>,
    route_hook: Option<RouteHook>,
}

impl<S> HttpService<S> {
    pub(super) fn new(inner: S, telemetry: Arc<Telemetry>, route_hook: Option<RouteHook>) -> Self {
        Self {
            inner,
            telemetry,
            route_hook,
        }
    }
}

impl<S, B, RB> Service<Request<B>> for HttpService<S>
where
    S: Service<Request<B>, Response = Response<RB>>,
    RB: http_body::Body,
{
    type Response = Response<ResponseBody<RB>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut exchange = Exchange::begin(&self.telemetry, &request);
        let admitted = exchange.admit();
        let mut tracked = Tracked::begin(exchange);
        // Two ways on, so that a request that no hook takes apart is not put together again.
        if let Some(hook) = &self.route_hook {
            let (route, request) = self.ask(hook, &mut tracked, request);
            return self.forward(tracked, admitted, route, request);
        }
        let route = self.matched(&request);
        self.forward(tracked, admitted, route, request)
    }
}

impl<S> HttpService<S> {
    /// Inlined in both ways: a request is large, and moved by each call that it goes through.
    #[inline(always)]
    fn forward<B, RB>(
        &mut self,
        mut tracked: Tracked,
        admitted: bool,
        route: Option<Arc<Route>>,
        request: Request<B>,
    ) -> ResponseFuture<S::Future>
    where
        S: Service<Request<B>, Response = Response<RB>>,
    {
        if let Some(exchange) = tracked.open() {
            exchange.known.route = route;
        }
        if !admitted {
            return ResponseFuture::answered(tracked, Answer::Overloaded);
        }
        ResponseFuture::of_call(tracked, &mut self.inner, request)
    }

    /// What the hook says, else what axum matched. A hook that panics has been told of and names nothing.
    fn ask<B>(
        &self,
        hook: &RouteHook,
        tracked: &mut Tracked,
        request: Request<B>,
    ) -> (Option<Arc<Route>>, Request<B>) {
        let routes = &self.telemetry.routes;
        let (parts, body) = request.into_parts();
        let route = tracked.run(|| hook(&parts).map(|path| routes.get(&path)));
        let request = Request::from_parts(parts, body);
        let route = route.flatten();
        (route.or_else(|| self.matched(&request)), request)
    }

    fn matched<B>(&self, request: &Request<B>) -> Option<Arc<Route>> {
        matched_path(request).map(|path| self.telemetry.routes.get(path))
    }
}

#[cfg(feature = "axum")]
fn matched_path<B>(request: &Request<B>) -> Option<&str> {
    request
        .extensions()
        .get::<axum::extract::MatchedPath>()
        .map(axum::extract::MatchedPath::as_str)
}

#[cfg(not(feature = "axum"))]
fn matched_path<B>(_request: &Request<B>) -> Option<&str> {
    None
}

impl<S: fmt::Debug> fmt::Debug for HttpService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
