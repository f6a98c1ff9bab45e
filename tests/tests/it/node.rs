//! Node services send through the collector to Zipkin: OTLP in JSON, which is what this SDK's HTTP exporter writes, in
//! chunks without a length, in protobuf and over gRPC, and Zipkin's JSON.

use std::path::Path;

use bellwether_tests::peers;
use bellwether_tests::system::Collector;

use crate::sdk::{check_arrived, send};

#[test]
fn node_sdk_to_zipkin() {
    let test = "node_sdk_to_zipkin";
    if peers::require(test, "the Node SDK", peers::node()).is_none() {
        return;
    }
    let Some(zipkin) = peers::require(test, "Zipkin", peers::zipkin()) else {
        return;
    };
    let collector = Collector::start(&[&zipkin.url.replacen("http", "zipkin+http", 1)]);
    let grpc = format!("http://127.0.0.1:{}", collector.otlp_grpc);
    let http = format!("http://127.0.0.1:{}/v1/traces", collector.otlp_http);
    let spans = format!("http://127.0.0.1:{}/api/v2/spans", collector.zipkin);
    for (protocol, endpoint, typed) in [
        ("otlp-json", &http, true),
        ("otlp-json+gzip", &http, true),
        ("otlp-proto", &http, true),
        ("otlp-grpc+gzip", &grpc, true),
        ("zipkin", &spans, false),
    ] {
        let sent = send(Path::new("node"), "node/send.mjs", [protocol, endpoint]);
        check_arrived(&sent, &collector, &zipkin, typed);
    }
}
