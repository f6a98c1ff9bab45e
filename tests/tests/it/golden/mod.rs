//! Every format that spans come in by every exporter: what comes out is what went in, attribute by attribute. Here
//! OTLP; Zipkin's spans in `zipkin`; what real SDKs send, in `sdks`; what a format cannot hold, as docs/formats.md has it,
//! in `formats` and `members`.

mod formats;
mod members;
mod sdks;
mod zipkin;

use bellwether_tests::http::post;
use bellwether_tests::raw_sink::RawSinks;
use bellwether_tests::rich::{self, START, attribute, resource_spans};
use bellwether_tests::system::Collector;
use bellwether_tests::wait::wait_for;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::{Value, json};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];

fn start(sinks: &RawSinks) -> Collector {
    Collector::start(&[&sinks.grpc_url, &sinks.http_url, &sinks.zipkin_url])
}

fn send_grpc(collector: &Collector, request: ExportTraceServiceRequest) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let url = format!("http://127.0.0.1:{}", collector.otlp_grpc);
    runtime.expect("a runtime").block_on(async {
        let mut client = TraceServiceClient::connect(url)
            .await
            .expect("a connection");
        client.export(request).await.expect("a success");
    });
}

fn send(port: u16, path: &str, headers: &[(&str, &str)], body: &[u8]) {
    let answer = post(&format!("http://127.0.0.1:{port}{path}"), headers, body);
    let answer = answer.expect("an answer");
    assert!(answer.status < 300, "{}: {}", answer.status, answer.text());
}

/// The requests of both OTLP sinks with spans of the trace, once they have come: by gRPC, by HTTP as bytes.
fn wait_for_otlp(sinks: &RawSinks, trace_id: u128) -> (ExportTraceServiceRequest, Vec<u8>) {
    let is_of = |request: &ExportTraceServiceRequest| {
        let mut spans = spans_of(request);
        spans.any(|span| span.trace_id == trace_id.to_be_bytes())
    };
    wait_for("the spans by both ways of OTLP", || {
        let grpc = sinks.grpc().into_iter().find(is_of)?;
        let http = sinks
            .http()
            .into_iter()
            .find(|body| is_of(&decoded(body)))?;
        Some((grpc, http.to_vec()))
    })
}

fn decoded(body: &[u8]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(body).expect("OTLP")
}

fn spans_of(request: &ExportTraceServiceRequest) -> impl Iterator<Item = &Span> {
    let scopes = request.resource_spans.iter().flat_map(|of| &of.scope_spans);
    scopes.flat_map(|scope| &scope.spans)
}

fn wait_for_zipkin(sinks: &RawSinks, trace_id: u128, count: usize) -> Vec<Value> {
    let trace_id = format!("{trace_id:032x}");
    wait_for(&format!("{count} spans in Zipkin"), || {
        let mut spans = sinks.zipkin();
        spans.retain(|span| span["traceId"] == *trace_id);
        (spans.len() >= count).then_some(spans)
    })
}

#[test]
fn otlp_comes_out_as_it_came_in() {
    let sinks = RawSinks::start();
    let collector = start(&sinks);
    let mut zipkin: Vec<Vec<Value>> = Vec::new();
    for (trace_id, format) in (1..).zip(["grpc", "protobuf", "json"]) {
        let sent = rich::request(trace_id);
        // A field of a later version of OTLP.
        let mut bytes = sent.encode_to_vec();
        match format {
            "grpc" => send_grpc(&collector, sent.clone()),
            "protobuf" => {
                prost::encoding::string::encode(100, &"what is to come".to_owned(), &mut bytes);
                send(collector.otlp_http, "/v1/traces", &PROTOBUF, &bytes);
            }
            _ => {
                // serde has no infinity.
                let body = serde_json::to_string(&sent).expect("JSON");
                let body = body.replace(r#""doubleValue":null"#, r#""doubleValue":"-Infinity""#);
                send(collector.otlp_http, "/v1/traces", &JSON, body.as_bytes());
            }
        }
        let (grpc, http) = wait_for_otlp(&sinks, trace_id);
        assert!(grpc == sent, "{format}: {grpc:#?}\ninstead of {sent:#?}");
        let is_same = match format {
            "protobuf" => http == bytes,
            // Encoders differ in the order of fields.
            _ => decoded(&http) == sent,
        };
        assert!(is_same, "{format}: {:#?}", decoded(&http));
        let spans = wait_for_zipkin(&sinks, trace_id, spans_of(&sent).count());
        let without_trace = spans.into_iter().map(|mut span| {
            span["traceId"].take();
            span
        });
        zipkin.push(without_trace.collect());
    }
    assert_eq!(zipkin[0], zipkin[1]);
    assert_eq!(zipkin[0], zipkin[2]);
    let full = zipkin[0].iter().find(|span| span["name"] == "everything");
    assert_eq!(full.cloned().unwrap_or_default(), full_in_zipkin());
}

/// What `rich::request` has, as text: each attribute of its every type.
fn tags() -> Value {
    json!({
        "text": "Größe ✓ \"quoted\" \\ \u{1}\n\u{1f600}",
        "text.empty": "",
        "": "an empty key",
        "bool.true": "true",
        "bool.false": "false",
        "int.zero": "0",
        "int.least": "-9223372036854775808",
        "int.most": "9223372036854775807",
        "double": "0.1",
        "double.zero": "-0.0",
        "double.most": "1.7976931348623157e+308",
        "double.infinite": "-Infinity",
        "bytes": "AP+A",
        "bytes.empty": "",
        "list": "[\"a\",-1,null]",
        "list.empty": "[]",
        "map": "{\"in\":\"side\",\"list\":[1,null],\"map\":{}}",
        "nothing": "",
    })
}

fn full_in_zipkin() -> Value {
    let in_json = concat!(
        r#"{"text":"Größe ✓ \"quoted\" \\ \u0001\n😀","text.empty":"","":"an empty key","bool.true":true,"bool.false":false,"#,
        r#""int.zero":0,"int.least":-9223372036854775808,"int.most":9223372036854775807,"double":0.1,"#,
        r#""double.zero":-0.0,"double.most":1.7976931348623157e+308,"double.infinite":"-Infinity","bytes":"AP+A","#,
        r#""bytes.empty":"","list":["a",-1,null],"list.empty":[],"map":{"in":"side","list":[1,null],"map":{}},"#,
        r#""nothing":null}"#
    );
    let mut tags = tags();
    for (key, value) in [
        ("error", "boom ✗".to_owned()),
        ("otel.status_code", "ERROR".to_owned()),
        ("otel.scope.name", "scope".to_owned()),
        ("otel.scope.version", "1.2.3".to_owned()),
        ("w3c.tracestate", "vendor=a|b,ot=th:8".to_owned()),
        ("otel.dropped_attributes_count", "3".to_owned()),
        ("otel.dropped_events_count", "5".to_owned()),
        ("otel.dropped_links_count", u32::MAX.to_string()),
        (
            "otlp.link.0",
            format!(
                "{}|{}|linked=1|{in_json}|6",
                "07".repeat(16),
                "08".repeat(8)
            ),
        ),
    ] {
        tags[key] = value.into();
    }
    json!({
        "traceId": null,
        "id": "0000000000000001",
        "parentId": "fefefefefefefefe",
        "kind": "SERVER",
        "name": "everything",
        "timestamp": START / 1_000,
        "duration": 2_000,
        "localEndpoint": {"serviceName": "shop"},
        "annotations": [{"timestamp": START / 1_000 + 1, "value": format!("\"an event\": {in_json}")}],
        "tags": tags,
    })
}

/// Not-a-number equals nothing, itself neither, so it has a test of its own.
#[test]
fn not_a_number_comes_out_as_it_came_in() {
    let sinks = RawSinks::start();
    let collector = start(&sinks);
    let mut span = rich::span(1, 1, "odd");
    span.attributes = vec![attribute("double", Any::DoubleValue(f64::NAN))];
    let sent = ExportTraceServiceRequest {
        resource_spans: vec![resource_spans("shop", span)],
    };
    let id = |hex: &str, length: usize| format!("{hex:0>length$}");
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeSpans": [{"spans": [{
            "traceId": id("2", 32), "spanId": id("1", 16), "name": "odd", "kind": 2,
            "startTimeUnixNano": START.to_string(), "endTimeUnixNano": (START + 2_000_000).to_string(),
            "attributes": [{"key": "double", "value": {"doubleValue": "NaN"}}],
        }]}],
    }]});
    send_grpc(&collector, sent.clone());
    send(
        collector.otlp_http,
        "/v1/traces",
        &JSON,
        body.to_string().as_bytes(),
    );
    for trace_id in [1_u128, 2] {
        let mut expected = sent.clone();
        for scope in &mut expected.resource_spans[0].scope_spans {
            scope.spans[0].trace_id = trace_id.to_be_bytes().into();
        }
        let (grpc, http) = wait_for_otlp(&sinks, trace_id);
        assert_eq!(grpc.encode_to_vec(), expected.encode_to_vec());
        assert_eq!(decoded(&http).encode_to_vec(), expected.encode_to_vec());
        let zipkin = wait_for_zipkin(&sinks, trace_id, 1);
        assert_eq!(zipkin[0]["tags"]["double"], "NaN");
    }
}
