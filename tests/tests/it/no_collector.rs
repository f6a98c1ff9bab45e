//! Without a collector a service answers as before, warns once and counts what it drops; when the
//! collector comes up, spans flow.

use bellwether_tests::http::{get, get_with};
use bellwether_tests::system::{Collector, Service, free_port};
use bellwether_tests::wait::wait_for;
use serde_json::Value;

fn warnings(service: &Service) -> Vec<Value> {
    let about_export =
        |line: &Value| line["level"] == "WARN" && line["target"] == "bellwether::export";
    service
        .process
        .log()
        .into_iter()
        .filter(about_export)
        .collect()
}

fn dropped(service: &Service) -> f64 {
    let metrics = get(&service.url("/metrics")).expect("metrics").text();
    let dropped = metrics
        .lines()
        .filter(|line| line.starts_with("bellwether_telemetry_dropped_total{"));
    let traces = dropped.filter(|line| line.contains("signal=\"traces\""));
    traces
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[test]
fn a_late_collector_gets_spans_and_the_service_never_waits() {
    let otlp_http = free_port();
    let otlp = format!("http://127.0.0.1:{otlp_http}");
    // A queue of 64 spans overflows at once, so that there is something to count.
    let small = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "64"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "32"),
    ];
    let service = Service::start_cases(&otlp, &small);

    for _ in 0..500 {
        assert_eq!(
            get(&service.url("/quick")).map(|answer| answer.status),
            Some(200)
        );
    }
    wait_for("spans counted as dropped", || {
        (dropped(&service) > 0.0).then_some(())
    });
    wait_for("a warning", || {
        (!warnings(&service).is_empty()).then_some(())
    });
    let slowest = service
        .process
        .log()
        .iter()
        .filter_map(|line| line["http.server.request.duration"].as_f64())
        .fold(0.0, f64::max);
    assert!(
        slowest < 0.5,
        "a request took {slowest} s with no collector"
    );

    let collector = Collector::start_at(otlp_http, &[]);
    let trace_id = "0af7651916cd43dd8448eb211c80319c";
    let traceparent = format!("00-{trace_id}-b7ad6b7169203331-01");
    wait_for("a span in the late collector", || {
        get_with(&service.url("/quick"), &[("traceparent", &traceparent)])?;
        let url = format!(
            "http://127.0.0.1:{}/api/v1/traces/{trace_id}",
            collector.web
        );
        get(&url).filter(|answer| answer.status == 200)
    });
    assert_eq!(
        warnings(&service).len(),
        1,
        "one warning: {:#?}",
        warnings(&service)
    );
}
