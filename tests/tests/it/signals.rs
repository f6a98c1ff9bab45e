//! Logs and metrics of a real SDK through two collectors, in every encoding: what arrives is what was sent, byte for
//! byte, and so attribute by attribute.

use bellwether_tests::bodies::Bodies;
use bellwether_tests::peers;
use bellwether_tests::system::Collector;
use bellwether_tests::wait::wait_for;
use serde_json::Value;

use crate::sdk::send;

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16);
    digits.map(|pair| byte(pair).expect("hex")).collect()
}

/// The requests of one signal, one behind the other.
fn requests(sent: &Value, signal: &str) -> Vec<u8> {
    let requests = sent[signal].as_array().expect("a list").iter();
    let requests: Vec<u8> = requests
        .flat_map(|hex| bytes(hex.as_str().expect("hex")))
        .collect();
    assert!(!requests.is_empty(), "nothing was sent of {signal}");
    requests
}

#[test]
fn python_logs_and_metrics_arrive_byte_for_byte() {
    let test = "python_logs_and_metrics_arrive_byte_for_byte";
    let Some(python) = peers::require(test, "the Python SDK", peers::python()) else {
        return;
    };
    let sink = Bodies::start();
    let second = Collector::start(&[&sink.url]);
    let first = Collector::start(&[&format!("otlp+grpc://127.0.0.1:{}", second.otlp_grpc)]);
    let grpc = format!("http://127.0.0.1:{}", first.otlp_grpc);
    let http = format!("http://127.0.0.1:{}", first.otlp_http);
    let (mut logs, mut metrics) = (Vec::new(), Vec::new());
    for (protocol, endpoint) in [
        ("grpc", &grpc),
        ("http", &http),
        ("grpc+gzip", &grpc),
        ("http+gzip", &http),
    ] {
        let sent = send(&python, "python/send_signals.py", [protocol, endpoint]);
        for (signal, all) in [("logs", &mut logs), ("metrics", &mut metrics)] {
            all.extend(requests(&sent, signal));
            let path = format!("/v1/{signal}");
            wait_for(&format!("{signal} by {protocol}"), || {
                (sink.at(&path).len() >= all.len()).then_some(())
            });
            assert!(sink.at(&path) == *all, "other {signal} by {protocol}");
        }
    }
    let status = wait_for("the first collector's count", || {
        let status = first.api("/status");
        let exporter = &status["exporters"][0];
        (exporter["sent_data_points"].as_u64() >= Some(4 * 6)).then(|| exporter.clone())
    });
    assert_eq!(status["sent_log_records"], 4 * 3, "{status}");
    assert_eq!(status["sent_data_points"], 4 * 6, "{status}");
    assert_eq!(status["sent_spans"], 0, "{status}");
    assert_eq!(status["set_aside_log_records"], 0, "{status}");
}
