//! Puts the kit's routes beside a service's own, and finds out which of them the service already has.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use axum::Router;
use axum::body::Body;
use axum::extract::MatchedPath;
use axum::response::Response;
use axum::routing::MethodRouter;
use http::Request;
use tower_layer::Layer;
use tower_service::Service;

/// Adds `routes` to `app`, except those whose path `owner` has a route for: these stay the service's, and are told.
pub(super) fn beside(app: Router, owner: &Owner, routes: Vec<(&str, MethodRouter)>) -> Router {
    routes.into_iter().fold(app, |app, (path, handler)| {
        let Some(owned) = owner.clone().route_of(path) else {
            return app.route(path, handler);
        };
        tracing::warn!(
            target: "bellwether",
            path,
            route = owned,
            advice = advice(path),
            "the service has a route for this path; the kit's own is left out"
        );
        app
    })
}

/// Where the kit's answer is to be had instead.
fn advice(path: &str) -> &'static str {
    if path == "/metrics" {
        "set BELLWETHER_ADMIN_ADDR to have the kit's metrics at an address of their own, \
         BELLWETHER_METRICS_PATH to have them at another path, or answer with `Kit::render_metrics` beside the \
         service's own"
    } else {
        "set BELLWETHER_ADMIN_ADDR to have the kit's endpoints at an address of their own, BELLWETHER_LIVE_PATH \
         and its like to have them at other paths, or move the route"
    }
}

/// Answers which route of a service would take a path, without running anything of the service: each of
/// its handlers is covered by a layer that answers in its place.
#[derive(Clone)]
pub(super) struct Owner(Router);

impl Owner {
    pub(super) fn of(app: &Router) -> Self {
        let covered = app.clone().layer(Instead);
        // Around the covers of routes only: fallbacks have none. A router without routes refuses such a layer.
        Self(if app.has_routes() {
            covered.route_layer(Routed)
        } else {
            covered
        })
    }

    /// The service's route for `path`, unless it is a catch-all at the root such as `/{*path}`: these take
    /// what nobody else wants, so the kit may have its path first. Services nested by `nest_service` own all
    /// paths below theirs.
    fn route_of(mut self, path: &str) -> Option<String> {
        let request = Request::get(path).body(Body::empty()).ok()?;
        let answer = pin!(self.0.call(request));
        // Ready at once: nothing behind the router waits for anything.
        let Poll::Ready(Ok(response)) = answer.poll(&mut Context::from_waker(Waker::noop())) else {
            return None;
        };
        let first = |path: &str| path.split('/').nth(1).map(str::to_owned);
        match response.extensions().get::<MatchedPath>() {
            Some(route) => {
                (first(route.as_str()) == first(path)).then(|| route.as_str().to_owned())
            }
            // axum names no route of a nested service.
            None => response
                .extensions()
                .get::<IsRoute>()
                .map(|_| "a nested service".to_owned()),
        }
    }
}

/// Replaces a service by one that tells which route led to it.
#[derive(Clone, Copy)]
struct Instead;

impl<S> Layer<S> for Instead {
    type Service = Self;

    fn layer(&self, _: S) -> Self {
        Self
    }
}

impl Service<Request<Body>> for Instead {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let mut response = Response::new(Body::empty());
        if let Some(route) = request.extensions_mut().remove::<MatchedPath>() {
            response.extensions_mut().insert(route);
        }
        if let Some(route) = request.extensions_mut().remove::<IsRoute>() {
            response.extensions_mut().insert(route);
        }
        ready(Ok(response))
    }
}

/// Marks requests that a route takes, and no fallback.
#[derive(Clone, Copy)]
struct Routed;

/// The mark.
#[derive(Clone, Copy)]
struct IsRoute;

impl<S> Layer<S> for Routed {
    type Service = MarkRoute<S>;

    fn layer(&self, inner: S) -> MarkRoute<S> {
        MarkRoute(inner)
    }
}

#[derive(Clone)]
struct MarkRoute<S>(S);

impl<S: Service<Request<Body>>> Service<Request<Body>> for MarkRoute<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> S::Future {
        request.extensions_mut().insert(IsRoute);
        self.0.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::{get, post};
    use tracing::{Dispatch, dispatcher};
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt as _;

    use crate::log::{Format, Logger};
    use crate::span;

    #[test]
    fn a_route_that_is_left_out_is_told_of_with_the_way_round() {
        fn check(path: &str, remedies: &[&str]) {
            let (logger, captured) = Logger::capture(Format::Json, "orders");
            let subscriber = Registry::default().with(span::layer(&logger, None));
            let app = Router::new().route(path, get(|| async { "the service's own" }));
            dispatcher::with_default(&Dispatch::new(subscriber), || {
                let kits = vec![(path, get(|| async { "the kit's" }))];
                let _ = beside(app.clone(), &Owner::of(&app), kits);
            });
            let lines = captured.json();
            let [line] = lines.as_slice() else {
                panic!("{lines:?}");
            };
            assert_eq!(
                (&line["level"], &line["path"]),
                (&"WARN".into(), &path.into())
            );
            for remedy in remedies {
                assert!(line["advice"].as_str().unwrap().contains(remedy), "{line}");
            }
        }
        check(
            "/metrics",
            &["BELLWETHER_ADMIN_ADDR", "Kit::render_metrics"],
        );
        check("/livez", &["BELLWETHER_ADMIN_ADDR", "BELLWETHER_LIVE_PATH"]);
    }

    #[test]
    fn a_route_of_the_service_is_found_whatever_its_shape() {
        async fn handler() -> &'static str {
            unreachable!("nothing of the service runs")
        }
        fn check(app: &Router, path: &str, expected: Option<&str>) {
            let found = Owner::of(app).route_of(path);
            assert_eq!(found.as_deref(), expected, "{path}");
        }
        check(&Router::new(), "/livez", None);
        check(&Router::new().fallback(handler), "/livez", None);
        check(
            &Router::new().route("/orders", get(handler)),
            "/livez",
            None,
        );
        check(
            &Router::new().route("/livez", get(handler)),
            "/livez",
            Some("/livez"),
        );
        check(
            &Router::new().route("/livez", post(handler)),
            "/livez",
            Some("/livez"),
        );
        check(
            &Router::new().route("/{name}", get(handler)),
            "/livez",
            None,
        );
        check(
            &Router::new().route("/{*rest}", get(handler)),
            "/health/live",
            None,
        );
        let nested = Router::new().nest("/health", Router::new().route("/live", get(handler)));
        check(&nested, "/health/live", Some("/health/live"));
        check(&nested, "/health/ready", None);
        let service = Router::new().nest_service("/health", Router::new());
        check(&service, "/health/live", Some("a nested service"));
        check(&service, "/livez", None);
        let fallback = nested.fallback_service(Router::new());
        check(&fallback, "/livez", None);
        check(&fallback, "/health/ready", None);
        let inner = Router::new().route("/live", get(handler)).fallback(handler);
        let nested = Router::new().nest("/health", inner);
        check(&nested, "/health/ready", None);
        let wild = Router::new().route("/health/{check}", get(handler));
        check(&wild, "/health/ready", Some("/health/{check}"));
    }

    #[tokio::test]
    async fn routes_of_the_service_stay_its_own() {
        let own = Router::new().route("/livez", post(|| async { "mine" }));
        let routes = vec![
            ("/livez", get(|| async { "kit" })),
            ("/readyz", get(|| async { "kit" })),
        ];
        let mut app = beside(own.clone(), &Owner::of(&own), routes);
        for (path, status) in [("/livez", 405), ("/readyz", 200)] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            assert_eq!(app.call(request).await.unwrap().status(), status, "{path}");
        }
    }
}
