//! Python services send through the collector to Zipkin: nothing is lost on the way, whatever they speak.

use bellwether_tests::peers;
use bellwether_tests::system::Collector;
use serde_json::json;

use crate::sdk::{check_arrived, send, wait_for_zipkin};

#[test]
fn python_sdk_to_zipkin() {
    let test = "python_sdk_to_zipkin";
    let Some(python) = peers::require(test, "the Python SDK", peers::python()) else {
        return;
    };
    let Some(zipkin) = peers::require(test, "Zipkin", peers::zipkin()) else {
        return;
    };
    let collector = Collector::start(&[&zipkin.url.replacen("http", "zipkin+http", 1)]);
    let grpc = format!("http://127.0.0.1:{}", collector.otlp_grpc);
    let http = format!("http://127.0.0.1:{}/v1/traces", collector.otlp_http);
    let spans = format!("http://127.0.0.1:{}/api/v2/spans", collector.zipkin);
    for (protocol, endpoint, typed) in [
        ("grpc", &grpc, true),
        ("http", &http, true),
        ("http+gzip", &http, true),
        ("http+deflate", &http, true),
        ("grpc+gzip", &grpc, true),
        ("grpc+deflate", &grpc, true),
        ("zipkin", &spans, false),
    ] {
        let sent = send(&python, "python/send.py", [protocol, endpoint]);
        check_arrived(&sent, &collector, &zipkin, typed);
    }
}

/// Both halves of its call have one id; each comes in a request of its own.
#[test]
fn py_zipkin_to_zipkin() {
    let test = "py_zipkin_to_zipkin";
    let Some(python) = peers::require(test, "py_zipkin", peers::python()) else {
        return;
    };
    let Some(zipkin) = peers::require(test, "Zipkin", peers::zipkin()) else {
        return;
    };
    for format in ["json", "protobuf"] {
        let collector = Collector::start(&[&zipkin.url.replacen("http", "zipkin+http", 1)]);
        let endpoint = format!("http://127.0.0.1:{}/api/v2/spans", collector.zipkin);
        let sent = send(&python, "python/send_py_zipkin.py", [format, &endpoint]);
        let trace_id = format!("{:0>32}", sent["trace_id"].as_str().expect("an id"));
        let trace = collector.wait_for_trace(&trace_id, 2);
        let spans = trace["spans"].as_array().expect("spans");
        let of = |service: &str| {
            let found = spans.iter().find(|span| span["service"] == service);
            found.unwrap_or_else(|| panic!("no span of {service} in {trace}"))
        };
        let (client, server) = (of("pz-shop"), of("pz-stock"));
        assert_eq!(client["span_id"], sent["shared_id"]);
        assert_eq!(client["parent_span_id"], sent["parent_id"]);
        assert_eq!(server["parent_span_id"], sent["shared_id"], "{server}");
        assert_ne!(server["span_id"], sent["shared_id"]);
        assert_eq!(server["status"], "error");
        assert_eq!(client["attributes"]["http.path"], "/stock");
        assert_eq!(client["events"][0]["name"], "cache miss");
        // To Zipkin they are one span again.
        let both = json!({"trace_id": trace_id, "spans": [0, 0]});
        for span in wait_for_zipkin(&zipkin, &both) {
            assert_eq!(span["id"], sent["shared_id"], "{span}");
            assert_eq!(span["parentId"], sent["parent_id"], "{span}");
            let is_server = span["kind"] == "SERVER";
            assert_eq!(span["shared"], json!(is_server.then_some(true)), "{span}");
        }
    }
}
