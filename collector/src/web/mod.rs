//! The web address: pages, JSON API, Zipkin's query API, live events, behind one check of the host name. A router that
//! `pipeline` mounts behind the kit, which serves probes and `/metrics` itself.

pub mod api;
mod assets;
mod change;
mod charts;
mod columns;
mod critical_path;
mod doctor;
mod edge;
mod edge_change;
mod edge_table;
mod empty;
mod format;
mod guard;
mod layout;
mod live;
mod map;
mod operations;
mod pairs;
mod parts;
mod query;
mod reports;
mod service;
mod services;
mod status;
mod timeline;
mod trace_link;
mod trace_table;
mod traces;
mod waterfall;
mod wrong_port;
mod zipkin;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;

pub use trace_link::{TraceLink, TraceLinkError};

use crate::status::Status;
use crate::views::Views;
use pairs::Pairs;
use query::{BadParameter, PageQuery};
pub use reports::Reports;

/// What every handler reads.
#[derive(Clone, Debug)]
pub struct Web {
    /// The views.
    pub views: Arc<Views>,
    /// The counters.
    pub status: Arc<Status>,
    /// Host names pages and API answer to, beside loopback names and IP addresses.
    pub allowed_hosts: Arc<[String]>,
    /// Where else each trace can be looked at.
    pub trace_links: Arc<[TraceLink]>,
    /// Tags whose values Zipkin's query API lists.
    pub autocomplete_keys: Arc<[String]>,
    /// What bounds reports, whichever port they are asked for at.
    pub reports: Reports,
    /// Turns true when the collector drains: streams of live events end then, so that they hold nothing up.
    pub closing: tokio::sync::watch::Receiver<bool>,
}

impl Web {
    /// What answers to loopback names and IP addresses alone, knows no other place to look at a trace and lists no tag's
    /// values, with memory enough for any report.
    pub fn new(
        views: Arc<Views>,
        status: Arc<Status>,
        closing: tokio::sync::watch::Receiver<bool>,
    ) -> Self {
        Self {
            views,
            status,
            allowed_hosts: Arc::default(),
            trace_links: Arc::default(),
            autocomplete_keys: Arc::default(),
            reports: Reports::default(),
            closing,
        }
    }
}

/// Everything that the web address serves beside the kit's probes and `/metrics`.
pub fn router(web: Web) -> Router {
    let bounded = from_fn_with_state(web.reports.clone(), reports::bounded);
    let api = api::router(Arc::clone(&web.views), Arc::clone(&web.status)).layer(bounded.clone());
    let zipkin = zipkin_queries(&web);
    Router::new()
        .route("/", get(services::page))
        .route("/services/{name}", get(service::page))
        .route("/map", get(map::page))
        .route("/edges", get(edge::page))
        .route("/traces", get(traces::page))
        .route("/traces/{trace_id}", get(waterfall::page))
        .route(
            "/traces/{trace_id}/spans/{span_id}",
            get(waterfall::span::page),
        )
        .route("/status", get(status::page))
        // Neither the stream of events nor an asset is a report.
        .layer(bounded)
        .route("/events", get(live::events))
        .route("/assets/{file}", get(assets::serve))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(live::Pages::new(web.clone()))
        .merge(api)
        .merge(zipkin)
        .layer(from_fn_with_state(web.clone(), guard::check_host))
        .layer(from_fn_with_state(web, wrong_port::tell))
        .layer(from_fn(guard::secure))
}

/// Zipkin's query API by itself, behind the same checks, for Zipkin's own port.
pub fn zipkin_router(web: Web) -> Router {
    zipkin_queries(&web)
        .fallback(zipkin::nothing_there)
        .layer(from_fn_with_state(web, guard::check_host))
        .layer(from_fn(guard::secure))
}

fn zipkin_queries(web: &Web) -> Router {
    let bounded = from_fn_with_state(web.reports.clone(), reports::bounded);
    let queries = zipkin::Queries {
        views: Arc::clone(&web.views),
        autocomplete_keys: Arc::clone(&web.autocomplete_keys),
        reports: web.reports.clone(),
    };
    zipkin::router(queries).layer(bounded)
}

async fn not_found() -> Response {
    layout::failure(
        StatusCode::NOT_FOUND,
        "There is no such page",
        "The address leads nowhere. Services, map, traces and status are linked above.",
    )
}

async fn method_not_allowed() -> Response {
    layout::failure(
        StatusCode::METHOD_NOT_ALLOWED,
        "This can only be read",
        "Pages answer to GET and HEAD alone.",
    )
}

/// Makes a page off the runtime's workers: a report over an hour may take milliseconds.
async fn rendered(
    render: impl FnOnce() -> Result<Response, BadParameter> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(render).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => layout::bad_parameter(&error),
        Err(error) => {
            tracing::error!(%error, "a page could not be made");
            layout::failure(
                StatusCode::INTERNAL_SERVER_ERROR,
                "This page could not be made",
                "The collector goes on; its log says what happened.",
            )
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PageQuery {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        Pairs::of(parts).map(Self::new).map_err(|why| {
            layout::failure(StatusCode::BAD_REQUEST, "This address cannot be read", &why)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::Config;
    use crate::web::testing::Page;
    use axum::body::Body;
    use axum::http::{Request, header};
    use futures_util::StreamExt as _;
    use std::time::Duration;
    use tokio::sync::watch;
    use tower::ServiceExt as _;

    /// A router over empty views, and what ends its streams.
    fn empty_router() -> (Router, watch::Sender<bool>) {
        let (close, closing) = watch::channel(false);
        let views = Views::new(Config {
            retention: Duration::from_secs(3600),
            trace_bytes: 1 << 20,
            view_bytes: 1 << 20,
        });
        let web = Web {
            allowed_hosts: Arc::from(["traces.example.org".to_owned()]),
            ..Web::new(Arc::new(views), Arc::default(), closing)
        };
        (router(web), close)
    }

    async fn ask(method: &str, path: &str, host: &str) -> Response {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, host)
            .body(Body::empty())
            .unwrap();
        empty_router().0.oneshot(request).await.unwrap()
    }

    async fn text(response: Response) -> String {
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await;
        String::from_utf8(body.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn every_address_answers_with_its_status_and_the_policy() {
        let trace = format!("/traces/{}", "a".repeat(32));
        for (method, path, want) in [
            ("GET", "/", 200),
            ("GET", "/?window=1h&sort=p99&dir=asc&q=x", 200),
            ("GET", "/?window=soon", 400),
            ("GET", "/?sort=colour", 400),
            ("GET", "/services/nobody", 404),
            ("GET", "/services/%3Cscript%3E", 404),
            ("GET", "/map", 200),
            ("GET", "/map?focus=x", 200),
            ("GET", "/map?sort=gap_p50&dir=asc&edges=all&q=x", 200),
            ("GET", "/map?sort=colour", 400),
            ("GET", "/map?edges=some", 400),
            ("GET", "/edges?client=a&server=b", 404),
            ("GET", "/edges?client=a", 400),
            ("GET", "/edges", 400),
            ("GET", "/traces", 200),
            ("GET", "/traces?min=fast", 400),
            ("GET", "/traces/short", 400),
            ("GET", &trace, 404),
            ("GET", "/status", 200),
            ("GET", "/nowhere", 404),
            ("POST", "/", 405),
            ("GET", "/assets/other.css", 404),
            ("GET", &assets::style_path(), 200),
            ("GET", &assets::script_path(), 200),
            ("GET", "/api/v1/services", 200),
            ("GET", "/api/v1/nowhere", 404),
        ] {
            let response = ask(method, path, "localhost:4319").await;
            assert_eq!(response.status(), want, "{method} {path}");
            let policy = response.headers().get(header::CONTENT_SECURITY_POLICY);
            let policy = policy.unwrap().to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self';"));
            assert_eq!(
                response.headers()[header::X_CONTENT_TYPE_OPTIONS],
                "nosniff"
            );
            let is_html = response.headers()[header::CONTENT_TYPE]
                .to_str()
                .unwrap()
                .starts_with("text/html");
            if is_html {
                assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
                let page = Page::parse(&text(response).await);
                assert_eq!(page.count("main"), 1, "{path}");
                assert_eq!(page.count("script"), 1, "{path}: only the page's own");
                assert_eq!(page.count("h1"), 1, "{path}");
            }
        }
    }

    #[tokio::test]
    async fn assets_are_kept_for_good() {
        let response = ask("GET", &assets::style_path(), "localhost").await;
        let cache = response.headers()[header::CACHE_CONTROL].to_str().unwrap();
        assert!(cache.contains("immutable"));
    }

    #[tokio::test]
    async fn a_strange_host_is_refused_for_pages_api_and_events() {
        for path in ["/", "/api/v1/services", "/events", "/assets/x"] {
            let response = ask("GET", path, "evil.example").await;
            assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST, "{path}");
            let is_json = response.headers()[header::CONTENT_TYPE] == "application/json";
            assert_eq!(is_json, path.starts_with("/api/"), "{path}");
            assert!(text(response).await.contains("--web-host evil.example"));
        }
        let response = ask("GET", "/", "traces.example.org").await;
        assert_eq!(response.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn events_tell_the_version_and_end_when_the_collector_drains() {
        let (router, close) = empty_router();
        let request = Request::builder()
            .uri("/events")
            .header(header::HOST, "localhost")
            .body(Body::empty())
            .unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "text/event-stream"
        );
        let mut body = response.into_body().into_data_stream();
        let first = body.next().await.unwrap().unwrap();
        let first = String::from_utf8(first.to_vec()).unwrap();
        assert!(
            first.contains("event: window") && first.contains("data: "),
            "{first}"
        );
        close.send(true).unwrap();
        let end = tokio::time::timeout(Duration::from_secs(5), body.next()).await;
        assert!(end.unwrap().is_none());
    }
}
