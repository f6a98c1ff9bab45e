//! Questions over HTTP (in process), answers as JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::status::{ExporterStatus, ReceiverStatus, Status, now_unix_nano};
use crate::views::{Config, Views};
use crate::wire::test_support::request;
use crate::wire::walk;

pub(super) const TRACE: &str = "00000000000000000000000000000001";

fn api() -> Router {
    let views = Arc::new(Views::new(Config {
        retention: Duration::from_secs(3600),
        trace_bytes: 1 << 20,
        view_bytes: 8 << 20,
    }));
    let bytes = request("ca rt", 3);
    let mut spans = Vec::new();
    walk(&bytes, |span| spans.push(span)).unwrap();
    views.count(&spans, now_unix_nano());
    // Nothing more comes: the trace is whole.
    views.tick(now_unix_nano() + 7_000_000_000);
    let receiver = |address| {
        Arc::new(ReceiverStatus {
            protocol: "otlp-grpc",
            address,
            accepted_batches: 1.into(),
            accepted_spans: 3.into(),
            ..ReceiverStatus::listening("otlp-grpc", String::new())
        })
    };
    let exporter = ExporterStatus {
        name: "otlp+grpc://localhost:9".into(),
        ..Default::default()
    };
    exporter.last_error.set("connection refused");
    let status = Status {
        receivers: vec![
            receiver(Ok("127.0.0.1:4317".into())),
            receiver(Err("address in use".into())),
        ],
        exporters: vec![Arc::new(exporter)],
        log: None,
    };
    router(views, Arc::new(status))
}

pub(super) async fn ask(path: &str) -> (StatusCode, Value) {
    ask_of(api(), path).await
}

/// An answer, which must be as it is described.
pub(super) async fn ask_of(api: Router, path: &str) -> (StatusCode, Value) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = api.oneshot(request).await.unwrap();
    let status = response.status();
    assert_eq!(
        response.headers()["content-type"],
        "application/json",
        "{path}"
    );
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&body).unwrap();
    if path.starts_with("/api") {
        openapi::tests::check(path, status, &body);
    }
    (status, body)
}

async fn good(path: &str) -> Value {
    let (status, body) = ask(path).await;
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    body
}

#[tokio::test]
async fn services_and_operations() {
    let body = good("/api/v1/services").await;
    let item = &body["items"][0];
    assert_eq!(
        (&item["service"], &item["count"], &item["version"]),
        (&json!("ca rt"), &json!(3), &Value::Null)
    );
    assert!((item["p50"].as_f64().unwrap() - 0.001).abs() < 0.000_011);
    assert_eq!(item["max"], json!(0.001));
    assert_eq!(body["next"], Value::Null);
    assert!(body["window"]["from"].as_str().unwrap().ends_with("0Z"));
    assert!(body["window"].get("seconds").is_none());
    assert_eq!(
        (&item["samples"], &item["instance"]),
        (&json!(3), &Value::Null)
    );
    // It was started just now.
    assert_eq!(
        (&item["previous"], &body["previous"]),
        (&Value::Null, &Value::Null)
    );
    assert!(item.as_object().unwrap().contains_key("previous"));
    let split = good("/api/v1/services?split=instance&service=ca+rt").await;
    assert_eq!(split["items"][0]["count"], 3);
    for path in [
        "/api/v1/services?service=nobody",
        "/api/v1/services?split=version&service=nobody",
    ] {
        assert_eq!(good(path).await["items"], json!([]));
    }
    let body = good("/api/v1/services/ca%20rt/operations?window=1h").await;
    assert!(body.as_object().unwrap().contains_key("previous"));
    assert_eq!(
        (&body["items"][0]["operation"], &body["items"][0]["kind"]),
        (&json!("GET /"), &json!("server"))
    );
    let (status, body) = ask("/api/v1/services/nobody/operations").await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("not_found"))
    );
}

#[tokio::test]
async fn critical_paths() {
    let body = good("/api/v1/services/ca%20rt/critical-path").await;
    let item = &body["items"][0];
    assert_eq!(
        (&item["operation"], &item["requests"]),
        (&json!("GET /"), &json!(3))
    );
    for cohort in ["typical", "slow"] {
        let want = json!({"requests": 3, "seconds": 0.001, "examples": [TRACE]});
        assert_eq!(item[cohort], want);
    }
    let part = json!({"kind": "work", "service": "ca rt", "operation": "GET /", "typical": 0.001, "slow": 0.001,
                      "difference": 0.0});
    assert_eq!(item["parts"], json!([part]));
    let (status, _) = ask("/api/v1/services/nobody/critical-path").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn map_and_traces() {
    let body = good("/api/v1/map").await;
    assert_eq!(body["nodes"], json!([{"id": "ca rt", "kind": "service"}]));
    assert_eq!(body["edges"], json!([]));
    let body =
        good("/api/v1/traces?limit=20&service=ca+rt&min=1ms&order=slowest&error=false").await;
    assert_eq!(
        (&body["items"][0]["trace_id"], &body["items"][0]["spans"]),
        (&json!(TRACE), &json!(3))
    );
    for (attributes, found) in [
        ("attr=service.name:ca+rt&attr=service.name:ca+rt", 1),
        ("attr=a:1&attr=b:2", 0),
    ] {
        let body = good(&format!("/api/v1/traces?{attributes}")).await;
        assert_eq!(
            body["items"].as_array().unwrap().len(),
            found,
            "{attributes}"
        );
    }
    let body = good(&format!("/api/v1/traces/{TRACE}")).await;
    assert_eq!(
        (body["spans"].as_array().unwrap().len(), &body["duration"]),
        (3, &json!(0.001))
    );
    let (status, _) = ask("/api/v1/traces/00000000000000000000000000000002").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_edge_and_what_the_doctor_found() {
    let body = good("/api/v1/edges?client=ca+rt&server=ca+rt").await;
    assert_eq!(
        (
            &body["client"],
            &body["count"],
            &body["async"],
            &body["server_kind"]
        ),
        (&json!("ca rt"), &json!(0), &json!(0), &json!("service"))
    );
    assert_eq!(body["distribution"]["gap"], json!([]));
    assert_eq!(body["examples"]["widest_gap"], json!([]));
    assert_eq!(body["told_gap_p50"], Value::Null);
    assert!(body["window"]["from"].is_string());
    let (status, body) = ask("/api/v1/edges?client=ca+rt&server=nobody").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    let body = good("/api/v1/services/ca%20rt/doctor").await;
    assert_eq!(body["items"], json!([]), "three spans prove nothing");
    assert_eq!(body["next"], Value::Null);
    let (status, _) = ask("/api/v1/services/nobody/doctor").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_status_tells_of_every_stage() {
    let body = good("/api/v1/status").await;
    assert_eq!(body["receivers"][0]["address"], "127.0.0.1:4317");
    assert_eq!(body["receivers"][1]["address"], Value::Null);
    assert_eq!(body["receivers"][1]["not_listening"], "address in use");
    assert_eq!(
        body["exporters"][0]["last_error"]["message"],
        "connection refused"
    );
    assert_eq!(body["exporters"][0]["oldest_seconds"], Value::Null);
    assert_eq!(body["exporters"][0]["failing_seconds"], Value::Null);
    assert_eq!(body["exporters"][0]["under_way_requests"], 0);
    assert_eq!(body["views"]["spans"], 3);
    assert!(body["uptime_seconds"].as_f64().unwrap() >= 0.0);
}

#[tokio::test]
async fn times_may_be_given() {
    let body = good("/api/v1/services?from=2026-01-01T00:00:00Z").await;
    assert_eq!(body["items"][0]["count"], 3);
    let body =
        good("/api/v1/services?from=2001-01-01T00:00:00%2B01:00&to=2001-01-02T00:00:00Z").await;
    assert_eq!(body["items"], json!([]));
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    for (path, told) in [
        ("/api/v1/services?window=", "window"),
        ("/api/v1/services?window=0s", "window"),
        ("/api/v1/services?window=-5m", "window"),
        ("/api/v1/services?window=2h", "retention of 3600s"),
        ("/api/v1/services?window=NaN", "window"),
        ("/api/v1/services?window=1e300h", "window"),
        ("/api/v1/services?from=yesterday", "RFC 3339"),
        ("/api/v1/services?to=2026-01-01T00:00:00Z", "needs from"),
        (
            "/api/v1/services?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
            "before",
        ),
        (
            "/api/v1/services?window=5m&from=2026-01-01T00:00:00Z",
            "exclude",
        ),
        ("/api/v1/services?windw=5m", "windw"),
        ("/api/v1/services?split=colour", "version or instance"),
        // Operations are not counted apart by version: asked for one, they must not be told as if they were.
        (
            "/api/v1/services/ca%20rt/operations?version=1.4.2",
            "\"version\" is not known; window, from, to are allowed here",
        ),
        ("/api/v1/services?version=1.4.2", "\"version\" is not known"),
        ("/api/v1/map?window=1m&window=2m", "twice"),
        ("/api/v1/edges?client=a", "server is needed"),
        ("/api/v1/edges?client=&server=b", "client is needed"),
        ("/api/v1/services/a/doctor?limit=3", "limit"),
        ("/api/v1/traces?limit=0", "1 to 1000"),
        ("/api/v1/traces?limit=1001", "1 to 1000"),
        ("/api/v1/traces?min=fast", "100ms"),
        ("/api/v1/traces?max=5%C3%A9s", "max"),
        ("/api/v1/traces?error=maybe", "true or false"),
        ("/api/v1/traces?order=oldest", "newest or slowest"),
        ("/api/v1/traces?attr=nothing", "KEY:VALUE"),
        ("/api/v1/traces?attr=a:1&attr=:2", "KEY:VALUE"),
        (
            &format!("/api/v1/traces?{}", "attr=a:1&".repeat(11)),
            "at most 10",
        ),
        ("/api/v1/traces?error=true&error=true", "twice"),
        (
            "/api/v1/traces?min=2s&max=1s",
            "min must not be more than max",
        ),
        (
            "/api/v1/traces?span_min=2s&span_max=1s",
            "span_min must not be more than span_max",
        ),
        ("/api/v1/traces/xyz", "32 hex digits"),
        (
            "/api/v1/traces/+0000000000000000000000000000001",
            "32 hex digits",
        ),
        ("/api/v1/status?verbose=1", "none is allowed"),
        ("/api/v1/services/%ff/operations", "path"),
    ] {
        let (status, body) = ask(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {body}");
        assert_eq!(body["error"]["code"], "bad_request", "{path}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(told), "{path}: {message}");
    }
}

#[tokio::test]
async fn unknown_paths_are_told_in_json() {
    for path in [
        "/api",
        "/api/v2/services",
        "/api/v1/",
        "/api/v1/services/cart",
    ] {
        let (status, body) = ask(path).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (StatusCode::NOT_FOUND, &json!("not_found")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_api_is_only_read() {
    let request = Request::post("/api/v1/map").body(Body::empty()).unwrap();
    let response = api().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["allow"], "GET,HEAD");
    assert_eq!(response.headers()["content-type"], "application/json");
}
