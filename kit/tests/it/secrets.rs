//! What a service tells of headers, queries and secrets: in its lines, and in the spans that leave it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::client::get_with;
use crate::service::Service;

/// All bodies that a collector was sent.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<String>>);

/// A collector that keeps what it is sent, and where it is.
async fn collector() -> (Sent, String) {
    async fn keep(State(sent): State<Sent>, body: String) -> &'static str {
        sent.0.lock().unwrap().push_str(&body);
        "{}"
    }
    let sent = Sent::default();
    let app = Router::new().fallback(keep).with_state(sent.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://me:hunter2@{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, app).await });
    (sent, endpoint)
}

const LEAK: &str = "/leak?page=2&user=ann&token=hunter2&next=http://me:hunter2@h";

/// A service that tells its secrets, stopped and so flushed: its lines, and what its collector was sent.
async fn leaked() -> (Vec<Value>, String) {
    let (sent, endpoint) = collector().await;
    let mut service = Service::start(&[
        (
            "BELLWETHER_LOG_REQUEST_HEADERS",
            "X-Tenant,authorization,referer",
        ),
        ("BELLWETHER_LOG_RESPONSE_HEADERS", "content-type"),
        ("BELLWETHER_LOG_QUERY_KEYS", "next,page,token"),
        ("BELLWETHER_REDACT", "card_number,-session"),
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=hunter2"),
    ])
    .await;
    let headers = [
        ("x-tenant", "shop"),
        ("authorization", "Bearer hunter2"),
        ("referer", "http://me:hunter2@h/"),
        ("x-other", "hunter2"),
    ];
    assert_eq!(get_with(service.addr, LEAK, &headers).await.status, 500);
    service.closing("/leak").await;
    service.signal("TERM");
    assert!(service.exited().await.success());
    let sent = sent.0.lock().unwrap().clone();
    (service.lines(), sent)
}

#[tokio::test]
async fn what_is_allowed_is_shown_and_secrets_are_not() {
    let (lines, spans) = leaked().await;
    let all = serde_json::to_string(&lines).unwrap();
    for (place, text) in [("lines", &all), ("spans", &spans)] {
        assert!(!text.contains("hunter2"), "{place}: {text}");
        assert!(!text.contains("4111111111111111"), "{place}: {text}");
        assert!(text.contains("http://[redacted]@h"), "{place}: {text}");
    }
    let closing = lines.iter().find(|line| line["url.path"] == "/leak");
    let closing = closing.unwrap();
    let query = "page=2&token=[redacted]&next=http://[redacted]@h";
    assert_eq!(closing["url.query"], query);
    assert_eq!(closing["http.request.header.x-tenant"], "shop");
    assert_eq!(closing["http.request.header.authorization"], "[redacted]");
    assert_eq!(closing["http.request.header.x-other"], Value::Null);
    // The kit's own answer to a panic.
    let content_type = &closing["http.response.header.content-type"];
    assert_eq!(content_type, "application/json");
    assert_eq!(
        closing["exception.message"],
        "cannot reach postgres://[redacted]@db"
    );
    let event = lines.iter().find(|line| line["session"] == "visible");
    assert_eq!(event.unwrap()["password"], "[redacted]");

    let spans: Value = serde_json::from_str(&spans).unwrap();
    let spans = &spans["resourceSpans"][0]["scopeSpans"][0]["spans"];
    let attribute = |key: &str| {
        let mut spans = spans.as_array().into_iter().flatten();
        spans.find_map(|span| {
            let mut all = span["attributes"].as_array()?.iter();
            all.find(|attribute| attribute["key"] == key)
                .map(|attribute| attribute["value"].clone())
        })
    };
    let text = |text: &str| Some(serde_json::json!({ "stringValue": text }));
    let array = |text: &str| {
        Some(serde_json::json!({ "arrayValue": { "values": [{ "stringValue": text }] } }))
    };
    assert_eq!(attribute("url.query"), text(query));
    assert_eq!(attribute("http.request.header.x-tenant"), array("shop"));
    assert_eq!(
        attribute("http.request.header.authorization"),
        text("[redacted]")
    );
    assert_eq!(attribute("password"), text("[redacted]"));
}

#[tokio::test]
async fn a_field_of_the_closing_line_is_hidden_when_operators_say_so() {
    let service = Service::start(&[("BELLWETHER_REDACT", "user_agent.original")]).await;
    let headers = [("user-agent", "curl/8")];
    let answer = get_with(service.addr, "/hello/ann", &headers).await;
    assert_eq!(answer.status, 200);
    let closing = service.closing("/hello/ann").await;
    assert_eq!(closing["user_agent.original"], "[redacted]");
    assert_eq!(closing["http.route"], "/hello/{name}");
}
