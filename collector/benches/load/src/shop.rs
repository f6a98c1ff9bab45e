//! The bodies that are sent: the shop of `benches/support`, in every format a sender may choose. Called by `run`.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use libdeflater::{CompressionLvl, Compressor};
use memchr::memmem;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::{Map, Value, json};

use crate::support;

/// Services of the shop: as many bodies in a row hold whole traces.
const SERVICES: u64 = 20;
/// Spans in the compressed bodies together: they cannot be given new trace ids as they are sent, so there are more.
const COMPRESSED_SPANS: usize = 1_000_000;
/// What SDKs and collectors use where nothing else is asked for.
const GZIP_LEVEL: i32 = 6;
/// A trace id's first bytes, which differ from one turn to the next.
const ROUND_BYTES: usize = 4;

/// How a sender writes spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Grpc,
    GrpcGzip,
    Http,
    Json,
    Zipkin,
}

/// Bodies that are sent in turn. Each turn has other trace ids, as real traffic has them: the views would take the
/// spans for duplicates otherwise.
pub(crate) struct Bodies {
    bodies: Vec<Body>,
    turn: AtomicU64,
}

struct Body {
    bytes: Vec<u8>,
    /// Where its trace ids are; none where they cannot be changed.
    trace_ids: Vec<usize>,
    hexadecimal: bool,
    spans: u64,
}

impl Bodies {
    /// Bodies of `batch` spans each.
    pub(crate) fn new(format: Format, batch: usize) -> Self {
        let rounds = match format {
            Format::GrpcGzip => COMPRESSED_SPANS.div_ceil(batch * SERVICES as usize).max(2),
            _ => 2,
        };
        let seeds = 0..SERVICES * rounds as u64;
        let bodies = seeds.map(|seed| Body::new(format, &support::request(seed, batch), batch));
        Self {
            bodies: bodies.collect(),
            turn: AtomicU64::new(0),
        }
    }

    /// The next body, and the spans in it.
    pub(crate) fn next(&self) -> (Bytes, u64) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.bodies.len() as u64;
        let body = &self.bodies[(turn % count) as usize];
        (body.in_round((turn / count) as u32), body.spans)
    }

    /// Spans of one body.
    pub(crate) fn batch(&self) -> u64 {
        self.bodies.first().map_or(0, |body| body.spans)
    }
}

impl Body {
    fn new(format: Format, request: &[u8], spans: usize) -> Self {
        let bytes = match format {
            Format::Grpc => framed(request, false),
            Format::GrpcGzip => framed(&gzip(request), true),
            Format::Http => request.to_vec(),
            Format::Json => serde_json::to_vec(&decoded(request)).expect("JSON of a request"),
            Format::Zipkin => zipkin(&decoded(request)),
        };
        // The id's tag and length in protobuf cannot be told from other bytes for sure: its whole value can.
        let hexadecimal = matches!(format, Format::Json | Format::Zipkin);
        let trace_ids = match format {
            Format::GrpcGzip => Vec::new(),
            Format::Json | Format::Zipkin => {
                let key = b"\"traceId\":\"";
                memmem::find_iter(&bytes, key)
                    .map(|at| at + key.len())
                    .collect()
            }
            Format::Grpc | Format::Http => places_of_ids(&bytes, request),
        };
        Self {
            bytes,
            trace_ids,
            hexadecimal,
            spans: spans as u64,
        }
    }

    fn in_round(&self, round: u32) -> Bytes {
        let mut bytes = self.bytes.clone();
        let mut id = round.to_be_bytes().to_vec();
        if self.hexadecimal {
            id = format!("{round:08x}").into_bytes();
        }
        for &at in &self.trace_ids {
            bytes[at..at + id.len()].copy_from_slice(&id);
        }
        bytes.into()
    }
}

/// Where the spans' trace ids begin in `body`, which holds `request`.
fn places_of_ids(body: &[u8], request: &[u8]) -> Vec<usize> {
    let mut from = 0;
    let spans = spans(&decoded(request));
    let places = spans.iter().map(|span| {
        let at = memmem::find(&body[from..], &span.trace_id).expect("the id is in the body");
        from += at + span.trace_id.len();
        from - span.trace_id.len()
    });
    let places: Vec<_> = places.collect();
    assert!(
        places
            .windows(2)
            .all(|pair| pair[1] - pair[0] > ROUND_BYTES)
    );
    places
}

fn decoded(request: &[u8]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(request).expect("the shop's own request")
}

fn spans(request: &ExportTraceServiceRequest) -> Vec<Span> {
    let scopes = request
        .resource_spans
        .iter()
        .flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| scope.spans.clone()).collect()
}

/// A gRPC message with its prefix.
fn framed(message: &[u8], compressed: bool) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a message below 4 GiB");
    [&[u8::from(compressed)], &length.to_be_bytes()[..], message].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let level = CompressionLvl::new(GZIP_LEVEL).expect("a level of gzip");
    let mut compressor = Compressor::new(level);
    let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor
        .gzip_compress(bytes, &mut out)
        .expect("room for what it becomes");
    out.truncate(length);
    out
}

/// As Zipkin's own instrumentation writes it.
fn zipkin(request: &ExportTraceServiceRequest) -> Vec<u8> {
    let resource = request.resource_spans[0]
        .resource
        .as_ref()
        .expect("a resource");
    let service = text(
        resource.attributes[0]
            .value
            .as_ref()
            .and_then(|value| value.value.as_ref()),
    );
    let spans: Vec<_> = spans(request)
        .iter()
        .map(|span| zipkin_span(span, &service))
        .collect();
    serde_json::to_vec(&spans).expect("JSON of spans")
}

fn zipkin_span(span: &Span, service: &str) -> Value {
    let tags: Map<String, Value> = span
        .attributes
        .iter()
        .map(|attribute| {
            let value = attribute
                .value
                .as_ref()
                .and_then(|value| value.value.as_ref());
            (attribute.key.clone(), text(value).into())
        })
        .collect();
    let kind = match span.kind {
        2 => json!("SERVER"),
        3 => json!("CLIENT"),
        _ => Value::Null,
    };
    let parent = (!span.parent_span_id.is_empty()).then(|| hex(&span.parent_span_id));
    json!({
        "traceId": hex(&span.trace_id),
        "id": hex(&span.span_id),
        "parentId": parent,
        "kind": kind,
        "name": span.name,
        "timestamp": span.start_time_unix_nano / 1_000,
        "duration": (span.end_time_unix_nano - span.start_time_unix_nano) / 1_000,
        "localEndpoint": {"serviceName": service, "ipv4": "10.1.2.3"},
        "tags": tags,
    })
}

fn text(value: Option<&Any>) -> String {
    match value {
        Some(Any::StringValue(text)) => text.clone(),
        Some(Any::IntValue(number)) => number.to_string(),
        other => panic!("{other:?} is in none of the shop's spans"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
