//! Spans on their way out when no collector listens.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Connection, get};
use crate::service::{Service, nobody, text};

#[tokio::test]
async fn without_a_collector_the_service_runs_on_and_says_so_once() {
    let endpoint = nobody().await;
    let mut service = Service::start(&[
        ("BELLWETHER_ADMIN_ADDR", "127.0.0.1:0"),
        ("BELLWETHER_GRACE", "4s"),
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"),
    ])
    .await;
    let started = service.line(|line| line["message"] == "started").await;
    assert_eq!(text(&started, "traces_exporter"), "otlp");
    assert_eq!(
        text(&started, "traces_endpoint"),
        format!("{endpoint}/v1/traces")
    );
    let admin = service.admin().await;
    let mut connection = Connection::http1(service.addr).await;
    for _ in 0..50 {
        assert_eq!(connection.get("/hello/ann").await.unwrap().status, 200);
    }
    let told = |line: &Value| line["target"] == "bellwether::export" && line["level"] == "WARN";
    service.line(told).await;
    let telemetry = loop {
        let telemetry = get(admin, "/telemetry").await.body;
        let telemetry: Value = serde_json::from_str(&telemetry).unwrap();
        if telemetry["traces"]["dropped"]["queue_full"].as_u64() > Some(0) {
            break telemetry;
        }
        connection.get("/hello/ann").await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(telemetry["traces"]["exported"], 0);
    assert_eq!(telemetry["logs"]["dropped"]["write_failed"], 0);
    assert!(telemetry["traces"]["last_error"]["cause"].is_string());
    assert_eq!(service.lines().iter().filter(|line| told(line)).count(), 1);
    let metrics = get(admin, "/metrics").await.body;
    assert!(
        metrics.contains("bellwether_telemetry_dropped_total{"),
        "{metrics}"
    );

    let began = Instant::now();
    service.signal("TERM");
    assert!(service.exited().await.success());
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}
