//! What real SDKs send by each of their ways comes out by each exporter as they say that they sent it: ids, times, kind,
//! every attribute with its type, events, links, status, resource and scope.

use std::path::Path;

use bellwether_tests::peers;
use bellwether_tests::raw_sink::RawSinks;
use bellwether_tests::wait::wait_for;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use serde_json::{Map, Value, json};

use super::{decoded, start};
use crate::sdk::{check_span, send};

#[test]
fn what_the_python_sdk_sends_comes_out_as_it_went_in() {
    let test = "what_the_python_sdk_sends_comes_out_as_it_went_in";
    if let Some(python) = peers::require(test, "the Python SDK", peers::python()) {
        let (grpc, http) = (["grpc", "grpc+gzip"], ["http", "http+gzip", "http+deflate"]);
        check(&python, "python/send.py", &grpc, &http);
    }
}

#[test]
fn what_the_node_sdk_sends_comes_out_as_it_went_in() {
    let test = "what_the_node_sdk_sends_comes_out_as_it_went_in";
    if peers::require(test, "the Node SDK", peers::node()).is_some() {
        let grpc = ["otlp-grpc", "otlp-grpc+gzip"];
        let protobuf = ["otlp-proto", "otlp-proto+gzip"];
        let json = ["otlp-json", "otlp-json+gzip"];
        let http = [protobuf, json].concat();
        check(Path::new("node"), "node/send.mjs", &grpc, &http);
    }
}

fn check(program: &Path, script: &str, grpc: &[&str], http: &[&str]) {
    let sinks = RawSinks::start();
    let collector = start(&sinks);
    let over_grpc = format!("http://127.0.0.1:{}", collector.otlp_grpc);
    let over_http = format!("http://127.0.0.1:{}/v1/traces", collector.otlp_http);
    let grpc = grpc.iter().map(|protocol| (*protocol, &over_grpc));
    let http = http.iter().map(|protocol| (*protocol, &over_http));
    for (protocol, endpoint) in grpc.chain(http) {
        let sent = send(program, script, [protocol, endpoint]);
        let trace_id = &sent["trace_id"];
        let expected = sent["spans"].as_array().expect("spans");
        let all = |what: &str, came: &dyn Fn() -> Vec<ExportTraceServiceRequest>| {
            wait_for(&format!("{protocol} by {what}"), || {
                let told: Vec<_> = came().iter().flat_map(|of| told(of, trace_id)).collect();
                (told.len() >= expected.len()).then_some(told)
            })
        };
        for came in [
            all("gRPC", &|| sinks.grpc()),
            all("HTTP", &|| {
                sinks.http().iter().map(|body| decoded(body)).collect()
            }),
        ] {
            assert_eq!(came.len(), expected.len(), "{protocol}");
            for expected in expected {
                let is_it = |span: &&Value| span["span_id"] == expected["span_id"];
                let span = came.iter().find(is_it);
                assert_eq!(span, Some(expected), "{protocol}");
            }
        }
        let zipkin = wait_for(&format!("{protocol} in Zipkin"), || {
            let mut spans = sinks.zipkin();
            spans.retain(|span| span["traceId"] == *trace_id);
            (spans.len() >= expected.len()).then_some(spans)
        });
        for span in expected {
            check_span(span, &zipkin);
        }
    }
}

/// The spans of a trace in a request, as the senders' scripts tell theirs.
fn told(request: &ExportTraceServiceRequest, trace_id: &Value) -> Vec<Value> {
    let mut told = Vec::new();
    for group in &request.resource_spans {
        for scope in &group.scope_spans {
            let spans = scope.spans.iter();
            let of_it = spans.filter(|span| hex(&span.trace_id) == *trace_id);
            told.extend(of_it.map(|span| tell(span, scope, group)));
        }
    }
    told
}

fn tell(span: &Span, scope: &ScopeSpans, group: &ResourceSpans) -> Value {
    let resource = group.resource.clone().unwrap_or_default();
    let resource = object(&resource.attributes);
    let scope = scope.scope.clone().unwrap_or_default();
    let kind = match span.kind() {
        SpanKind::Internal => Value::Null,
        kind => kind.as_str_name().trim_start_matches("SPAN_KIND_").into(),
    };
    let parent = Some(&span.parent_span_id).filter(|id| !id.is_empty());
    let status = span.status.clone().unwrap_or_default();
    let failed = status.code() == StatusCode::Error;
    let events = span
        .events
        .iter()
        .map(|event| json!({"name": event.name, "attributes": object(&event.attributes)}));
    let links = span.links.iter().map(|link| {
        assert_eq!(link.trace_id, span.trace_id);
        json!({"span_id": hex(&link.span_id), "attributes": object(&link.attributes)})
    });
    json!({
        "service": resource["service.name"],
        "span_id": hex(&span.span_id),
        "parent_span_id": parent.map(|id| hex(id)),
        "name": span.name,
        "kind": kind,
        "start": span.start_time_unix_nano.to_string(),
        "end": span.end_time_unix_nano.to_string(),
        "attributes": object(&span.attributes),
        "events": events.collect::<Vec<_>>(),
        "links": links.collect::<Vec<_>>(),
        "resource": resource,
        "scope": [scope.name, scope.version],
        "error": failed.then_some(status.message),
    })
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn object(attributes: &[KeyValue]) -> Map<String, Value> {
    let entries = attributes.iter();
    let entries = entries.map(|entry| (entry.key.clone(), value(entry.value.as_ref())));
    entries.collect()
}

/// A number is whole or not here as it is there, which comparing tells apart.
fn value(of: Option<&AnyValue>) -> Value {
    match of.and_then(|any| any.value.as_ref()) {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::BoolValue(value)) => json!(value),
        Some(Any::IntValue(value)) => json!(value),
        Some(Any::DoubleValue(value)) => json!(value),
        Some(Any::ArrayValue(list)) => list.values.iter().map(|of| value(Some(of))).collect(),
        other => panic!("no sender writes {other:?}"),
    }
}
