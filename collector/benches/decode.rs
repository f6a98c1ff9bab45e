//! OTLP/JSON and Zipkin JSON turned into OTLP protobuf. Budget: 2 us a span.

mod support;

use std::hint::black_box;

use bellwether_collector::wire::{AnyValueRef, SpanKind, SpanRef, otlp_json, walk, zipkin_json};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde_json::{Map, Value, json};

/// Requests taken in turn, so that the bytes do not all sit in the first-level cache.
const REQUESTS: usize = 20;
const SPANS: usize = 512;

fn decodes(criterion: &mut Criterion) {
    let requests: Vec<_> = (0..REQUESTS)
        .map(|seed| support::request(seed as u64, SPANS))
        .collect();
    let otlp: Vec<_> = requests.iter().map(|bytes| as_otlp_json(bytes)).collect();
    let zipkin: Vec<_> = requests.iter().map(|bytes| as_zipkin_json(bytes)).collect();
    let mut group = criterion.benchmark_group("512 spans a request");
    group.throughput(Throughput::Elements(SPANS as u64));
    for (name, bodies) in [("OTLP/JSON", &otlp), ("Zipkin JSON", &zipkin)] {
        let bytes: usize = bodies.iter().map(Vec::len).sum();
        println!("{name}: {} bytes a span", bytes / (REQUESTS * SPANS));
        let mut turn = bodies.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let body = black_box(turn.next().map_or(&[][..], Vec::as_slice));
                match name {
                    "OTLP/JSON" => otlp_json(body),
                    _ => zipkin_json(body, body.len() * 2),
                }
                .expect("a body that is taken")
            });
        });
        // What any reader of JSON has to do at the least.
        let mut turn = bodies.iter().cycle();
        group.bench_function(format!("{name}, serde_json passing over it"), |bencher| {
            bencher.iter(|| {
                let body = black_box(turn.next().map_or(&[][..], Vec::as_slice));
                serde_json::from_slice::<serde::de::IgnoredAny>(body)
            });
        });
    }
    group.finish();
}

fn as_otlp_json(request: &[u8]) -> Vec<u8> {
    let request = ExportTraceServiceRequest::decode(request).expect("a request");
    serde_json::to_vec(&request).expect("JSON")
}

fn as_zipkin_json(request: &[u8]) -> Vec<u8> {
    let mut spans = Vec::new();
    walk(request, |span| spans.push(zipkin_span(&span))).expect("a request");
    serde_json::to_vec(&spans).expect("JSON")
}

/// As Zipkin's own instrumentation writes it.
fn zipkin_span(span: &SpanRef<'_>) -> Value {
    let tags: Map<String, Value> = span
        .attributes()
        .map(|attribute| {
            let value = match attribute.value {
                AnyValueRef::Str(text) => text.to_owned(),
                AnyValueRef::Int(number) => number.to_string(),
                other => panic!("{other:?} is in none of these requests"),
            };
            (attribute.key.to_owned(), value.into())
        })
        .collect();
    let kind = match span.kind {
        SpanKind::Server => json!("SERVER"),
        SpanKind::Client => json!("CLIENT"),
        _ => Value::Null,
    };
    let hex = |id: &[u8]| {
        id.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    json!({
        "traceId": hex(&span.trace_id),
        "id": hex(&span.span_id),
        "parentId": span.parent_span_id.map(|id| hex(&id)),
        "kind": kind,
        "name": span.name,
        "timestamp": span.start_unix_nano / 1_000,
        "duration": span.duration_nanos() / 1_000,
        "localEndpoint": {"serviceName": span.resource.service_name, "ipv4": "10.1.2.3"},
        "tags": tags,
    })
}

criterion_group!(benches, decodes);
criterion_main!(benches);
