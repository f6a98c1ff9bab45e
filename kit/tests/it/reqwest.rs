//! Calls through reqwest, against a real server on loopback.

use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use bellwether::testing::{self, Captured, SpanKind};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use tokio::net::TcpListener;

use crate::service::nobody;

/// Serves `app` until the test's runtime ends; its URL.
async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

fn client(told: &Captured) -> ClientWithMiddleware {
    ClientBuilder::new(reqwest::Client::new())
        .with(told.kit().reqwest_middleware())
        .build()
}

#[tokio::test]
async fn a_call_carries_its_ids_and_settles_with_its_body() {
    async fn echo(headers: HeaderMap) -> ([(&'static str, &'static str); 1], String) {
        let traceparent = headers["traceparent"].to_str().unwrap().to_owned();
        ([("server-timing", "app;dur=0.01")], traceparent)
    }
    let told = testing::capture("orders");
    let url = serve(Router::new().route("/stock/{id}", get(echo))).await;
    let response = client(&told)
        .get(format!("{url}/stock/7?token=secret"))
        .send()
        .await
        .unwrap();
    assert_eq!(response.url().path(), "/stock/7", "the URL is still told");
    assert_eq!(response.content_length(), Some(55));
    assert!(told.span("GET").is_none(), "the body is not read yet");
    let traceparent = response.text().await.unwrap();

    let span = told.span("GET").unwrap();
    assert_eq!(span.kind, SpanKind::Client);
    let sent = format!("00-{}-{}-03", span.trace_id, span.span_id);
    assert_eq!(traceparent, sent);
    assert_eq!(span.attributes["http.response.status_code"], 200);
    assert!(span.attributes["bellwether.network.gap"].as_f64().unwrap() > 0.0);
    assert!(!format!("{span:?}").contains("secret"), "{span:?}");
    let calls = "http_client_request_duration_seconds_count";
    let ok = [("http_response_status_code", "200")];
    assert_eq!(told.metric(calls, &ok), Some(1.0));
    assert_eq!(
        told.metric("http_client_network_gap_seconds_count", &ok),
        Some(1.0)
    );
}

#[tokio::test]
async fn calls_that_fail_say_how_and_hide_their_query() {
    let told = testing::capture("orders");
    let closed = nobody().await;
    let refused = client(&told)
        .get(format!("{closed}/?token=secret"))
        .send()
        .await;
    assert!(refused.is_err());
    let hanging = Router::new().route("/", get(std::future::pending::<()>));
    let request = client(&told).get(format!("{}/?token=secret", serve(hanging).await));
    let late = request.timeout(Duration::from_millis(20)).send().await;
    assert!(late.is_err());

    let spans = told.spans();
    let types: Vec<_> = spans
        .iter()
        .map(|span| span.attributes["error.type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["connect_error", "timeout"]);
    assert!(spans.iter().all(|span| span.error.is_some()));
    assert!(!format!("{spans:?}").contains("secret"), "{spans:?}");
}

/// Does what middlewares do: makes an error of an answer, and puts errors into one of its own.
struct Picky;

#[async_trait::async_trait]
impl Middleware for Picky {
    async fn handle(
        &self,
        request: reqwest::Request,
        extensions: &mut http::Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let response = next.run(request, extensions).await;
        let response = response.map_err(reqwest_middleware::Error::middleware)?;
        response
            .error_for_status()
            .map_err(reqwest_middleware::Error::middleware)
    }
}

#[tokio::test]
async fn failures_within_those_of_a_middleware_are_told_as_what_they_are() {
    let told = testing::capture("orders");
    let picky = ClientBuilder::new(reqwest::Client::new())
        .with(told.kit().reqwest_middleware())
        .with(Picky)
        .build();
    let url = serve(Router::new()).await;
    let refused = format!("{}/?token=secret", nobody().await);
    for url in [&format!("{url}/?token=secret"), &refused] {
        assert!(picky.get(url).send().await.is_err());
    }
    let spans = told.spans();
    assert!(!format!("{spans:?}").contains("secret"), "{spans:?}");
    let refused = &spans[1];
    assert_eq!(refused.attributes["error.type"], "connect_error");
    let error = refused.error.as_deref().unwrap();
    assert!(error.contains("refused"), "{error}");
}
