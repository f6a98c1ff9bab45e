//! Requests and how they end: identity, log lines, metrics.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::timeout;

use crate::client::{Connection, get, get_with, request};
use crate::service::{Service, nobody, text};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OPENMETRICS: (&str, &str) = ("accept", "application/openmetrics-text; version=1.0.0");

/// Waits until a scrape shows `sample`.
async fn scraped(addr: SocketAddr, sample: &str) -> String {
    loop {
        let metrics = get_with(addr, "/metrics", &[OPENMETRICS]).await.body;
        if metrics.lines().any(|line| line.starts_with(sample)) {
            return metrics;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn one_request_has_one_identity_everywhere() {
    // Exemplars point at traces that somebody keeps: with no exporter there are none.
    let endpoint = nobody().await;
    let service = Service::start(&[
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
    ])
    .await;
    let answer = get_with(
        service.addr,
        "/hello/ann",
        &[("x-request-id", "abc"), ("traceparent", TRACEPARENT)],
    )
    .await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (200, "hello ann")
    );
    assert_eq!(answer.header("x-request-id"), "abc");
    assert!(answer.header("server-timing").starts_with("app;dur="));

    let handler = service.line(|line| line["message"] == "greeting").await;
    let closing = service.closing("/hello/ann").await;
    for line in [&handler, &closing] {
        assert_eq!(line["request_id"], "abc", "{line:#}");
        assert_eq!(line["trace_id"], TRACE_ID, "{line:#}");
        assert_eq!(line["service.name"], "orders", "{line:#}");
    }
    assert_eq!(closing["http.route"], "/hello/{name}");
    assert_eq!(closing["http.response.status_code"], 200);
    assert_eq!(closing["http.response.body.size"], 9);
    assert_eq!(closing["client.address"], "127.0.0.1");
    assert_eq!(closing["outcome"], "ok");

    let metrics = get_with(service.addr, "/metrics", &[OPENMETRICS]).await;
    assert!(
        metrics
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    let exemplar = format!("trace_id=\"{TRACE_ID}\"");
    let bucket = |line: &str| line.starts_with("http_server_request_duration_seconds_bucket");
    let shown = |line: &str| bucket(line) && line.contains(&exemplar);
    assert!(metrics.body.lines().any(shown), "{}", metrics.body);
    assert!(metrics.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_request_without_ids_gets_its_own() {
    let service = Service::start(&[]).await;
    let first = get(service.addr, "/hello/ann").await;
    let second = get(service.addr, "/hello/bob").await;
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    let closing = service.closing("/hello/bob").await;
    assert_eq!(closing["request_id"], second.header("x-request-id"));
    assert_eq!(text(&closing, "trace_id").len(), 32);
}

#[tokio::test]
async fn nobody_is_believed_when_nobody_is_trusted() {
    let service = Service::start(&[("BELLWETHER_TRUST", "none")]).await;
    let ids = [("x-request-id", "abc"), ("traceparent", TRACEPARENT)];
    let answer = get_with(service.addr, "/hello/ann", &ids).await;
    assert_ne!(answer.header("x-request-id"), "abc");
    assert!(answer.headers.get("server-timing").is_none());
    assert_ne!(service.closing("/hello/ann").await["trace_id"], TRACE_ID);
}

#[tokio::test]
async fn a_panic_is_a_500_that_tells_nothing_of_the_inside() {
    let service = Service::start(&[]).await;
    let answer = get(service.addr, "/panic").await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(!answer.body.contains("inside"), "{}", answer.body);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["error"]["request_id"], answer.header("x-request-id"));
    let closing = service.closing("/panic").await;
    assert_eq!(
        (&closing["outcome"], &closing["level"]),
        (&"panic".into(), &"ERROR".into())
    );
    scraped(
        service.addr,
        "http_server_active_requests{http_request_method=\"GET\",url_scheme=\"http\"} 0",
    )
    .await;
}

#[tokio::test]
async fn a_handler_that_hangs_is_ended_by_the_request_time_out() {
    let service = Service::start(&[("BELLWETHER_REQUEST_TIMEOUT", "100ms")]).await;
    let answer = get(service.addr, "/hang").await;
    assert_eq!(answer.status, 503);
    assert_eq!(service.closing("/hang").await["outcome"], "timeout");
    // A body that streams past the deadline is cut.
    let mut connection = Connection::http1(service.addr).await;
    let head = connection.head(request("/stream/100", &[])).await.unwrap();
    assert_eq!(head.status(), 200);
    assert!(head.into_body().collect().await.is_err());
    assert_eq!(service.closing("/stream/100").await["outcome"], "timeout");
}

#[tokio::test]
async fn a_streaming_body_is_timed_to_its_end() {
    let service = Service::start(&[]).await;
    let answer = get(service.addr, "/stream/4").await;
    assert_eq!(answer.body, "chunk\n".repeat(4));
    let closing = service.closing("/stream/4").await;
    assert_eq!(closing["outcome"], "ok");
    assert_eq!(closing["http.response.body.size"], 24);
    let seconds = |field: &str| closing[field].as_f64().unwrap();
    assert!(
        seconds("http.server.request.duration") >= 0.15,
        "{closing:#}"
    );
    assert!(seconds("time_to_first_byte") < seconds("http.server.request.duration"));
}

#[tokio::test]
async fn a_client_that_hangs_up_is_told_apart() {
    let service = Service::start(&[]).await;
    // Before the head.
    let mut early = Connection::http1(service.addr).await;
    let waiting = early.head(request("/hang", &[]));
    assert!(timeout(Duration::from_millis(100), waiting).await.is_err());
    early.closed.abort();
    // Midway.
    let mut midway = Connection::http1(service.addr).await;
    let mut head = midway.head(request("/stream/1000", &[])).await.unwrap();
    head.frame().await.unwrap().unwrap();
    drop(head);
    midway.closed.abort();

    let early = service.closing("/hang").await;
    assert_eq!(early["outcome"], "client_gone");
    assert!(
        early.get("http.response.status_code").is_none(),
        "{early:#}"
    );
    let midway = service.closing("/stream/1000").await;
    assert_eq!(midway["outcome"], "client_gone");
    assert_eq!(midway["http.response.status_code"], 200);
    scraped(
        service.addr,
        "http_server_active_requests{http_request_method=\"GET\",url_scheme=\"http\"} 0",
    )
    .await;
}

#[tokio::test]
async fn probes_and_scrapes_are_no_traffic() {
    let service = Service::start(&[("RUST_LOG", "debug,hyper=off,hyper_util=off")]).await;
    for path in ["/health/live", "/readyz", "/startupz", "/metrics"] {
        get(service.addr, path).await;
    }
    get(service.addr, "/hello/last").await;
    service.closing("/hello/last").await;
    let lines = service.lines();
    let closing = lines
        .iter()
        .filter(|line| line["target"] == "bellwether::request");
    assert_eq!(closing.count(), 1, "{lines:#?}");
    let metrics = get(service.addr, "/metrics").await.body;
    let counts = metrics
        .lines()
        .filter(|line| line.contains("request_duration_seconds_count"));
    assert_eq!(counts.count(), 1, "{metrics}");
}

#[tokio::test]
async fn a_path_that_the_service_owns_stays_its_own() {
    let service = Service::start(&[]).await;
    assert_eq!(get(service.addr, "/livez").await.body, "the service's own");
    assert_eq!(get(service.addr, "/health/live").await.body, "ok\n");
    let warning = service.line(|line| line["path"] == "/livez").await;
    assert_eq!(warning["level"], "WARN");
}

#[tokio::test]
async fn http2_is_served_on_the_same_port() {
    let service = Service::start(&[]).await;
    let mut connection = Connection::http2(service.addr).await;
    let uri = format!("http://{}/hello/ann", service.addr);
    let answer = connection.get(&uri).await.unwrap();
    assert_eq!(answer.body, "hello ann");
    let handler = service.line(|line| line["message"] == "greeting").await;
    assert_eq!(handler["version"], "HTTP/2.0");
}
