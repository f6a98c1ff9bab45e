//! A service with the Python OpenTelemetry SDK sends through the collector to Zipkin: nothing is lost on
//! the way, whatever protocol it speaks.

use std::path::Path;
use std::process::Command;

use bellwether_tests::http::get;
use bellwether_tests::peers::{self, Zipkin};
use bellwether_tests::system::Collector;
use bellwether_tests::wait::wait_for;
use serde_json::Value;

/// Runs `peers/python/send.py`, which prints what it sent.
fn send(python: &Path, protocol: &str, endpoint: &str) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/python/send.py");
    let output = Command::new(python)
        .arg(script)
        .args([protocol, endpoint])
        .output();
    let output = output.expect("the Python script");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn wait_for_zipkin(zipkin: &Zipkin, sent: &Value) -> Vec<Value> {
    let trace_id = sent["trace_id"].as_str().expect("a trace id");
    let spans = sent["spans"].as_array().expect("spans").len();
    wait_for(&format!("trace {trace_id} in Zipkin"), || {
        let url = format!("{}/api/v2/trace/{trace_id}", zipkin.url);
        let trace = get(&url).filter(|answer| answer.status == 200)?.json();
        trace
            .as_array()
            .filter(|trace| trace.len() == spans)
            .cloned()
    })
}

/// A value as Zipkin's tags have it: text.
fn as_tag(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn check_span(sent: &Value, arrived: &[Value]) {
    let id = |span: &&Value| span["id"] == sent["span_id"];
    let span = arrived
        .iter()
        .find(id)
        .unwrap_or_else(|| panic!("no span {sent}"));
    assert_eq!(span["localEndpoint"]["serviceName"], sent["service"]);
    assert_eq!(span["parentId"], sent["parent_span_id"], "{span}");
    assert_eq!(span["kind"], sent["kind"], "{span}");
    for (key, value) in sent["attributes"].as_object().expect("attributes") {
        assert_eq!(
            span["tags"][key].as_str(),
            Some(as_tag(value).as_str()),
            "{key} of {span}"
        );
    }
    assert_eq!(span["tags"]["error"], sent["error"], "{span}");
}

#[test]
fn python_sdk_to_zipkin_over_grpc_and_http() {
    let test = "python_sdk_to_zipkin_over_grpc_and_http";
    let Some(python) = peers::require(test, "the Python SDK", peers::python()) else {
        return;
    };
    let Some(zipkin) = peers::require(test, "Zipkin", peers::zipkin()) else {
        return;
    };
    let collector = Collector::start(&[&zipkin.url.replacen("http", "zipkin+http", 1)]);
    for (protocol, endpoint) in [
        ("grpc", format!("http://127.0.0.1:{}", collector.otlp_grpc)),
        (
            "http",
            format!("http://127.0.0.1:{}/v1/traces", collector.otlp_http),
        ),
        (
            "http+gzip",
            format!("http://127.0.0.1:{}/v1/traces", collector.otlp_http),
        ),
        (
            "grpc+gzip",
            format!("http://127.0.0.1:{}", collector.otlp_grpc),
        ),
    ] {
        let sent = send(&python, protocol, &endpoint);
        let arrived = wait_for_zipkin(&zipkin, &sent);
        for span in sent["spans"].as_array().expect("spans") {
            check_span(span, &arrived);
        }
        let trace =
            collector.wait_for_trace(sent["trace_id"].as_str().expect("an id"), arrived.len());
        for span in sent["spans"].as_array().expect("spans") {
            check_kept(span, &trace);
        }
    }
}

/// Attributes keep their types in the collector's own answer.
fn check_kept(sent: &Value, trace: &Value) {
    let id = |span: &&Value| span["span_id"] == sent["span_id"];
    let spans = trace["spans"].as_array().expect("spans");
    let kept = spans
        .iter()
        .find(id)
        .unwrap_or_else(|| panic!("no span {sent}"));
    for (key, value) in sent["attributes"].as_object().expect("attributes") {
        assert_eq!(&kept["attributes"][key], value, "{key} of {kept}");
    }
}
