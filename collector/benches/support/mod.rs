//! The traffic every bench is fed: a shop of 20 services calling each other, with the attributes that HTTP
//! and database instrumentation writes. The same bytes at every run.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

const SERVICES: [&str; 20] = [
    "frontend",
    "gateway",
    "cart",
    "checkout",
    "catalog",
    "pricing",
    "currency",
    "payment",
    "fraud",
    "shipping",
    "inventory",
    "email",
    "recommendation",
    "search",
    "reviews",
    "accounts",
    "sessions",
    "ads",
    "images",
    "ledger",
];

/// A request as one service's SDK sends it: `spans` spans with 8 attributes each, about 400 bytes a span.
/// `seed` picks the service; twenty seeds in a row hold whole traces, in which each service is called by the
/// one before it and calls the one after it.
pub(crate) fn request(seed: u64, spans: usize) -> Vec<u8> {
    let round = seed / SERVICES.len() as u64;
    let place = seed % SERVICES.len() as u64;
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let spans = (0..spans as u64)
        .map(|index| {
            let trace = mixed(round * spans as u64 + index / SPANS_A_CALL);
            span(trace, place, index % SPANS_A_CALL, &mut random)
        })
        .collect();
    let service = SERVICES[place as usize];
    let resource = Resource {
        attributes: vec![
            text("service.name", service),
            text("service.version", "1.4.2"),
            text(
                "service.instance.id",
                "6d1a1f0e-7f0b-4a5a-9c7e-0f6c2d0d6c11",
            ),
            text("telemetry.sdk.language", "rust"),
            text("telemetry.sdk.name", "opentelemetry"),
            text("telemetry.sdk.version", "0.33.1"),
        ],
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: "opentelemetry-http".into(),
        version: "0.33.1".into(),
        ..InstrumentationScope::default()
    };
    let resource_spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![ScopeSpans {
            scope: Some(scope),
            spans,
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource_spans],
    }
    .encode_to_vec()
}

/// SERVER, INTERNAL, CLIENT.
const SPANS_A_CALL: u64 = 3;

/// One of the spans of the service at `place` in `trace`.
fn span(trace: u64, place: u64, role: u64, random: &mut Random) -> Span {
    let service = SERVICES[place as usize];
    let operation = trace % 6;
    let failed = random.next().is_multiple_of(50);
    let start = 1_700_000_000_000_000_000 + random.next() % 1_000_000_000;
    let id = |place: u64, role: u64| mixed(trace ^ (place * SPANS_A_CALL + role + 1) << 40);
    let (kind, parent) = match role {
        // Called by the CLIENT span of the service before; the first service's call comes from outside.
        0 => (
            SpanKind::Server,
            place.checked_sub(1).map(|before| id(before, 2)),
        ),
        1 => (SpanKind::Internal, Some(id(place, 0))),
        _ => (SpanKind::Client, Some(id(place, 1))),
    };
    // A call takes its callee's time and some of its own, so that the network gap is positive.
    let duration = 40_000_000 - (place * SPANS_A_CALL + role) * 500_000 + random.next() % 400_000;
    Span {
        trace_id: [mixed(!trace).to_be_bytes(), mixed(trace).to_be_bytes()].concat(),
        span_id: id(place, role).to_be_bytes().into(),
        parent_span_id: parent.map(|id| id.to_be_bytes().into()).unwrap_or_default(),
        flags: 0x101,
        name: format!("POST /{service}/v1/items/{{id}}/step-{operation}"),
        kind: kind.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + duration,
        attributes: vec![
            text("http.request.method", "POST"),
            text(
                "http.route",
                &format!("/{service}/v1/items/{{id}}/step-{operation}"),
            ),
            text(
                "url.path",
                &format!("/{service}/v1/items/{}", random.next() % 100_000),
            ),
            number("http.response.status_code", if failed { 503 } else { 200 }),
            text(
                "server.address",
                &format!("{service}.shop.svc.cluster.local"),
            ),
            number("server.port", 8080),
            text("network.protocol.version", "1.1"),
            text("user_agent.original", "shop-client/2.3"),
        ],
        status: failed.then(|| Status {
            message: "upstream unavailable".into(),
            code: 2,
        }),
        ..Span::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// A number without a pattern from one with (splitmix64's last steps).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// xorshift64: reproducible, and good enough for ids.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
