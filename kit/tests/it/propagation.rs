//! Trace contexts in every format: what a service takes, what it passes on, and what becomes of it at an OTLP
//! receiver.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use bellwether::Kit;
use http::HeaderMap;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::client::get_with;
use crate::service::{Service, text};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// A handler that tells what it knows of its request, and what it would pass on.
pub(crate) fn context(kit: &Kit) -> MethodRouter {
    let kit = kit.clone();
    get(|| async move {
        let request = bellwether::current().unwrap();
        let mut headers = HeaderMap::new();
        kit.inject(&mut headers);
        let headers: Map<String, Value> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
            .collect();
        Json(json!({
            "request_id": request.request_id(),
            "trace_id": request.trace_id(),
            "span_id": request.span_id(),
            "sampled": request.sampled(),
            "tenant": request.baggage("tenant"),
            "headers": headers,
        }))
    })
}

/// What a service of these variables tells of a request with these headers.
async fn told(env: &[(&str, &str)], headers: &[(&str, &str)]) -> Value {
    let service = Service::start(env).await;
    let answer = get_with(service.addr, "/context", headers).await;
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    let closing = service.closing("/context").await;
    assert_eq!(told["request_id"], answer.header("x-request-id"));
    for id in ["request_id", "trace_id", "span_id"] {
        assert_eq!(told[id], closing[id], "{id}");
    }
    told
}

#[tokio::test]
async fn a_handler_knows_its_request_and_passes_it_on() {
    let sampler = ("OTEL_TRACES_EXPORTER", "console");
    let parent = format!("00-{TRACE}-{SPAN}-03");
    let told = told(
        &[sampler],
        &[
            ("x-request-id", "abc"),
            ("traceparent", &parent),
            ("tracestate", "vendor=1,ot=th:c"),
            ("baggage", "tenant=caf%C3%A9;p=1, bad, b=2"),
        ],
    )
    .await;
    assert_eq!(told["request_id"], "abc");
    assert_eq!(told["trace_id"], TRACE);
    assert_eq!(told["sampled"], true);
    assert_eq!(told["tenant"], "café");
    let span_id = text(&told, "span_id");
    assert_ne!(span_id, SPAN);
    let expected = json!({
        "x-request-id": "abc",
        "traceparent": format!("00-{TRACE}-{span_id}-03"),
        "tracestate": "vendor=1,ot=th:c",
        "baggage": "tenant=caf%C3%A9;p=1,b=2",
    });
    assert_eq!(told["headers"], expected);
}

#[tokio::test]
async fn formats_are_translated() {
    let env = [
        ("OTEL_PROPAGATORS", "b3,gcp,tracecontext,b3multi"),
        ("OTEL_TRACES_EXPORTER", "console"),
    ];
    let told = told(&env, &[("b3", &format!("{SPAN}-{SPAN}-d"))]).await;
    let (trace, span_id) = (format!("0000000000000000{SPAN}"), text(&told, "span_id"));
    let decimal = u64::from_str_radix(span_id, 16).unwrap();
    let expected = json!({
        "x-request-id": told["request_id"],
        "b3": format!("{trace}-{span_id}-d"),
        "x-cloud-trace-context": format!("{trace}/{decimal};o=1"),
        "traceparent": format!("00-{trace}-{span_id}-01"),
        "x-b3-traceid": trace,
        "x-b3-spanid": span_id,
        "x-b3-flags": "1",
    });
    assert_eq!(told["headers"], expected);
    assert_eq!(told["trace_id"], trace);
}

#[tokio::test]
async fn none_passes_nothing_on() {
    let env = [("OTEL_PROPAGATORS", "none")];
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let told = told(&env, &[("traceparent", &parent), ("b3", "0")]).await;
    assert_ne!(told["trace_id"], TRACE);
    assert_eq!(told["headers"], json!({"x-request-id": told["request_id"]}));
}

/// An OTLP receiver; its URL and the spans it has got.
async fn receiver() -> (String, Arc<Mutex<Vec<Value>>>) {
    let spans = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&spans);
    let take = move |Json(batch): Json<Value>| async move {
        let spans = batch["resourceSpans"][0]["scopeSpans"][0]["spans"].clone();
        let Value::Array(mut spans) = spans else {
            panic!("no spans in {batch:#}");
        };
        keep.lock().unwrap().append(&mut spans);
        Json(json!({}))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().route("/v1/traces", post(take));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, spans)
}

/// The span of one request with these headers, as the receiver gets it.
async fn exported(env: &[(&str, &str)], headers: &[(&str, &str)]) -> Value {
    let (url, spans) = receiver().await;
    let mut all = vec![
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*url),
        ("OTEL_BSP_SCHEDULE_DELAY", "1"),
    ];
    all.extend(env);
    let service = Service::start(&all).await;
    get_with(service.addr, "/hello/ann", headers).await;
    let arrived = async {
        loop {
            if let Some(span) = spans.lock().unwrap().pop() {
                return span;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), arrived).await.unwrap()
}

#[tokio::test]
async fn a_caller_that_is_not_trusted_is_linked_to() {
    let parent = format!("00-{TRACE}-{SPAN}-00");
    let sent = [("traceparent", &*parent), ("tracestate", "vendor=1")];
    let span = exported(&[("BELLWETHER_TRUST", "none")], &sent).await;
    assert_ne!(span["traceId"], TRACE);
    assert_eq!(span["parentSpanId"].as_str().unwrap_or_default(), "");
    assert_eq!(span["traceState"], "ot=th:0");
    let links = span["links"].as_array().unwrap();
    assert_eq!(links.len(), 1, "{span:#}");
    assert_eq!(
        (&links[0]["traceId"], &links[0]["spanId"]),
        (&TRACE.into(), &SPAN.into())
    );
}

#[tokio::test]
async fn spans_tell_the_rate_they_were_sampled_at() {
    let quarter = [
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
    ];
    // A trace that begins here, by explicit randomness kept and not by its id.
    let trace = "0af7651916cd43dd8400000000000001";
    let ratio = [
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
    ];
    let parent = format!("00-{trace}-{SPAN}-02");
    let state = ("tracestate", "vendor=1,ot=rv:c0000000000000");
    let span = exported(&ratio, &[("traceparent", &parent), state]).await;
    assert_eq!(span["traceState"], "ot=th:c;rv:c0000000000000,vendor=1");
    // A trace that was kept by somebody else, at another rate.
    let parent = format!("00-{trace}-{SPAN}-03");
    let state = ("tracestate", "vendor=1,ot=th:8");
    let span = exported(&quarter, &[("traceparent", &parent), state]).await;
    assert_eq!(span["traceState"], "vendor=1,ot=th:8");
    assert_eq!(
        (&span["traceId"], &span["parentSpanId"]),
        (&trace.into(), &SPAN.into())
    );
}
