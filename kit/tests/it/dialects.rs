//! `BELLWETHER_LOG_FORMAT=gcp` and `ecs` of a real service, and records of the `log` crate in each format.

use serde_json::{Value, json};

use crate::client::get_with;
use crate::service::{OWN_FILTER, Service, child_as, text};

#[tokio::test]
async fn gcp_lines_of_a_service() {
    let service = Service::start(&[
        ("BELLWETHER_LOG_FORMAT", "gcp"),
        ("GOOGLE_CLOUD_PROJECT", "shop-prod"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.version=1.2.3"),
    ])
    .await;
    get_with(
        service.addr,
        "/hello/ann",
        &[("x-request-id", "abc"), ("user-agent", "probe/1")],
    )
    .await;
    let closing = service
        .line(|line| line["target"] == "bellwether::request")
        .await;
    let request = &closing["httpRequest"];
    assert_eq!(request["requestMethod"], "GET");
    assert_eq!(request["requestUrl"], "/hello/ann");
    assert_eq!(request["status"], 200);
    assert_eq!(request["responseSize"], "9");
    assert_eq!(request["remoteIp"], "127.0.0.1");
    assert_eq!(request["userAgent"], "probe/1");
    assert_eq!(request["protocol"], "HTTP/1.1");
    assert!(text(request, "latency").ends_with('s'));
    assert_eq!(
        (&closing["http.route"], &closing["outcome"]),
        (&json!("/hello/{name}"), &json!("ok"))
    );
    assert_eq!(
        (&closing["severity"], &closing["request_id"]),
        (&json!("INFO"), &json!("abc"))
    );
    assert_eq!(
        closing["serviceContext"],
        json!({"service": "orders", "version": "1.2.3"})
    );
    let trace = text(&closing, "logging.googleapis.com/trace");
    assert!(trace.starts_with("projects/shop-prod/traces/"));

    let greeting = service.line(|line| line["message"] == "greeting").await;
    assert_eq!(greeting["logging.googleapis.com/trace"], trace);
    let location = &greeting["logging.googleapis.com/sourceLocation"];
    assert!(
        text(location, "file").ends_with("service.rs"),
        "{greeting:#}"
    );

    get_with(service.addr, "/panic", &[]).await;
    let panic = service
        .line(|line| line["target"] == "bellwether::panic")
        .await;
    assert_eq!(panic["severity"], "CRITICAL");
    assert!(text(&panic, "@type").ends_with("ReportedErrorEvent"));
}

#[tokio::test]
async fn ecs_lines_of_a_service() {
    let service = Service::start(&[("BELLWETHER_LOG_FORMAT", "ecs")]).await;
    get_with(
        service.addr,
        "/hello/ann?card=1",
        &[("x-request-id", "abc")],
    )
    .await;
    let closing = service
        .line(|line| line["log.logger"] == "bellwether::request")
        .await;
    assert_eq!(closing["http.request.id"], "abc");
    assert_eq!(
        (&closing["event.outcome"], &closing["outcome"]),
        (&json!("success"), &json!("ok"))
    );
    assert_eq!(
        (&closing["url.path"], &closing["http.response.body.bytes"]),
        (&json!("/hello/ann"), &json!(9))
    );
    assert!(
        closing["event.duration"]
            .as_u64()
            .is_some_and(|nanos| nanos > 0)
    );
    assert_eq!(
        (&closing["service.name"], &closing["event.dataset"]),
        (&json!("orders"), &json!("orders.log"))
    );
    assert_eq!(closing["transaction.id"], closing["span.id"]);

    get_with(service.addr, "/panic", &[]).await;
    let panic = service
        .line(|line| line["log.logger"] == "bellwether::panic")
        .await;
    assert_eq!(
        (&panic["error.type"], &panic["error.message"]),
        (&json!("panic"), &json!("the inside"))
    );
}

/// What a line says of where its record comes from.
fn origin(format: &str, line: &Value) -> (Value, Value) {
    match format {
        "json" => (line["target"].clone(), line["level"].clone()),
        "gcp" => {
            let location = &line["logging.googleapis.com/sourceLocation"];
            assert!(text(location, "file").ends_with("service.rs"), "{line:#}");
            assert!(text(location, "line").parse::<u32>().is_ok());
            (line["target"].clone(), line["severity"].clone())
        }
        _ => {
            assert!(
                text(line, "log.origin.file.name").ends_with("service.rs"),
                "{line:#}"
            );
            assert!(line["log.origin.file.line"].is_u64());
            (line["log.logger"].clone(), line["log.level"].clone())
        }
    }
}

#[tokio::test]
async fn records_of_the_log_crate_are_lines_of_their_request() {
    for (format, level, id) in [
        ("json", "WARN", "request_id"),
        ("gcp", "WARNING", "request_id"),
        ("ecs", "warn", "http.request.id"),
    ] {
        let service = Service::start(&[
            ("BELLWETHER_LOG_FORMAT", format),
            ("RUST_LOG", "info,library::quiet=error"),
        ])
        .await;
        let answer = get_with(service.addr, "/record", &[("x-request-id", "abc")]).await;
        // Nothing is asked of records that no filter lets through.
        assert_eq!(answer.body, "INFO");
        let line = service
            .line(|line| line["message"] == "from a library")
            .await;
        assert_eq!(
            origin(format, &line),
            (json!("library::pool"), json!(level))
        );
        assert_eq!(line[id], "abc");
        let helpers = line.as_object().unwrap().keys().filter(|key| {
            key.starts_with("fields.") || (key.starts_with("log.") && format != "ecs")
        });
        assert_eq!(helpers.count(), 0, "{line:#}");
        let hidden = |line: &&Value| text(line, "message").starts_with("hidden");
        assert_eq!(service.lines().iter().filter(hidden).count(), 0);
    }
}

#[tokio::test]
async fn records_come_through_a_subscriber_of_the_services_own() {
    let service = Service::start(&[(OWN_FILTER, "info"), (child_as::LOG_TRACER, "1")]).await;
    get_with(service.addr, "/record", &[("x-request-id", "abc")]).await;
    let line = service
        .line(|line| line["message"] == "from a library")
        .await;
    assert_eq!(
        (&line["target"], &line["request_id"]),
        (&json!("library::pool"), &json!("abc"))
    );
}

#[tokio::test]
async fn a_logger_that_is_set_already_is_told_of() {
    let service = Service::start(&[(child_as::OWN_LOGGER, "1")]).await;
    let told = |line: &Value| text(line, "message").contains("logger that is already set");
    assert_eq!(service.line(told).await["target"], "bellwether::log");
    assert_eq!(service.lines().iter().filter(|line| told(line)).count(), 1);
}
