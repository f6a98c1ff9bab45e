//! Logs and metrics through the binary: they arrive as they came, whatever happens in between, and are refused where they
//! would go nowhere.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use prost::Message;
use tempfile::TempDir;

use super::process::{Collector, get, post, post_as, wait_for, wait_for_at_most};
use super::sink::Sink;
use super::{batch_of, metric};

const PATHS: [&str; 3] = ["/v1/traces", "/v1/logs", "/v1/metrics"];

fn logs(number: u64) -> Vec<u8> {
    let record = LogRecord {
        time_unix_nano: number,
        severity_text: "INFO".into(),
        body: Some(AnyValue {
            value: Some(Value::StringValue(format!("order {number} taken"))),
        }),
        ..LogRecord::default()
    };
    let group = ResourceLogs {
        scope_logs: vec![ScopeLogs {
            log_records: vec![record.clone(), record],
            ..ScopeLogs::default()
        }],
        ..ResourceLogs::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![group],
    }
    .encode_to_vec()
}

fn metrics(number: u64) -> Vec<u8> {
    let point = NumberDataPoint {
        time_unix_nano: number,
        value: Some(number_data_point::Value::AsDouble(f64::NAN)),
        ..NumberDataPoint::default()
    };
    let metric = Metric {
        name: "stock".into(),
        data: Some(metric::Data::Gauge(Gauge {
            data_points: vec![point; 3],
        })),
        ..Metric::default()
    };
    let group = ResourceMetrics {
        scope_metrics: vec![ScopeMetrics {
            metrics: vec![metric],
            ..ScopeMetrics::default()
        }],
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![group],
    }
    .encode_to_vec()
}

/// Batch `number` for a path: none like any other.
fn batch(path: &str, number: u64) -> Vec<u8> {
    match path {
        "/v1/traces" => batch_of("shop", number..number + 2, 10),
        "/v1/logs" => logs(number),
        _ => metrics(number),
    }
}

/// What was answered with success, for each of [`PATHS`].
type Accepted = Arc<Mutex<[BTreeSet<Vec<u8>>; 3]>>;

/// Sends of every signal in turn until told to stop.
fn send(http: &str, numbers: &AtomicU64, accepted: &Accepted, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let number = 1 + numbers.fetch_add(2, Ordering::SeqCst);
        for (index, path) in PATHS.into_iter().enumerate() {
            let batch = batch(path, number);
            let (status, _) = post(&format!("http://{http}{path}"), &batch);
            if status == 200 {
                accepted.lock().unwrap()[index].insert(batch);
            }
        }
    }
}

fn start(directory: &Path, url: &str) -> Collector {
    let directory = directory.to_str().unwrap();
    let args = ["--data-dir", directory, "--export", url];
    Collector::start_with(&args, &[("BELLWETHER_GRACE", "600s")])
}

#[test]
fn every_signal_outlasts_kills_byte_for_byte() {
    let (directory, sink) = (TempDir::new().unwrap(), Sink::start());
    let (accepted, numbers) = (Accepted::default(), Arc::new(AtomicU64::new(0)));
    let count = || {
        accepted
            .lock()
            .unwrap()
            .iter()
            .map(BTreeSet::len)
            .sum::<usize>()
    };
    for round in 0..4 {
        // A peer that comes and goes, so that there is a backlog when the end comes.
        sink.refuse(round % 2 == 1);
        let collector = start(directory.path(), &sink.url());
        let enough = count() + rand::random_range(1..300);
        let stop = Arc::new(AtomicBool::new(false));
        let senders = [(); 2].map(|()| {
            let (accepted, numbers) = (Arc::clone(&accepted), Arc::clone(&numbers));
            let (stop, http) = (Arc::clone(&stop), collector.http_address().to_owned());
            std::thread::spawn(move || send(&http, &numbers, &accepted, &stop))
        });
        wait_for("some load", || count() >= enough);
        collector.kill();
        stop.store(true, Ordering::SeqCst);
        for sender in senders {
            sender.join().unwrap();
        }
    }
    sink.refuse(false);
    let collector = start(directory.path(), &sink.url());
    let accepted = accepted.lock().unwrap();
    for (path, accepted) in PATHS.into_iter().zip(&*accepted) {
        assert!(!accepted.is_empty(), "nothing was sent to {path}");
        let what = format!("all {} batches of {path}", accepted.len());
        wait_for_at_most(Duration::from_secs(120), &what, || {
            accepted.is_subset(&sink.pieces(path))
        });
    }
    let damaged = "bellwether_queue_damaged_segments_total";
    assert_eq!(metric(&collector, damaged), Some(0.0));
    collector.stop();
}

#[test]
fn json_arrives_as_what_it_means_and_is_counted_by_signal() {
    let sink = Sink::start();
    let collector = Collector::start(&["--export", &sink.url()]);
    let http = collector.http_address();
    let json = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"7","severityText":"INFO",
        "body":{"stringValue":"order 7 taken"}},{"timeUnixNano":7,"severityText":"INFO",
        "body":{"stringValue":"order 7 taken"}}]}]}]}"#;
    let (status, answer) = post_as("application/json", &format!("http://{http}/v1/logs"), json);
    assert_eq!((status, &*answer), (200, "{}"));
    assert_eq!(
        post(&format!("http://{http}/v1/metrics"), &metrics(8)).0,
        200
    );
    wait_for("both", || {
        sink.pieces("/v1/logs").contains(&logs(7))
            && sink.pieces("/v1/metrics").contains(&metrics(8))
    });
    for (name, expected) in [
        (
            "bellwether_receiver_accepted_log_records_total{protocol=\"otlp-http\"}",
            2.0,
        ),
        (
            "bellwether_receiver_accepted_data_points_total{protocol=\"otlp-http\"}",
            3.0,
        ),
        (
            "bellwether_receiver_accepted_spans_total{protocol=\"otlp-http\"}",
            0.0,
        ),
    ] {
        assert_eq!(metric(&collector, name), Some(expected), "{name}");
    }
    wait_for("the exporter's count", || {
        let (_, status) = get(&collector.web("/api/v1/status"));
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let exporter = &status["exporters"][0];
        exporter["sent_log_records"] == 2 && exporter["sent_data_points"] == 3
    });
    let (_, page) = get(&collector.web("/status"));
    assert!(page.contains(" and 3\u{a0}data points"), "{page}");
    collector.stop();
}

#[test]
fn what_would_go_nowhere_is_refused_and_traces_are_taken() {
    let refusal = "no exporter of this collector takes";
    for args in [&[][..], &["--export", "zipkin+http://127.0.0.1:9"]] {
        let collector = Collector::start_with(args, &[("BELLWETHER_GRACE", "1s")]);
        for (path, expected) in PATHS.into_iter().zip([200, 404, 404]) {
            let url = format!("http://{}{path}", collector.http_address());
            let (status, text) = post(&url, &batch(path, 1));
            assert_eq!(status, expected, "{path}: {text}");
            assert_eq!(text.contains(refusal), expected == 404, "{path}: {text}");
        }
        collector.stop();
    }
}
