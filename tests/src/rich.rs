//! Spans with everything that OTLP can say, for the tests of what arrives of it.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

/// A start, in nanoseconds since 1970, that is whole microseconds.
pub const START: u64 = 1_700_000_000_123_456_000;

/// An attribute.
pub fn attribute(key: &str, value: impl Into<Option<Value>>) -> KeyValue {
    let value = value.into();
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value }),
        ..KeyValue::default()
    }
}

/// A text attribute.
pub fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

/// An attribute's value as a list.
pub fn list(values: Vec<Option<Value>>) -> Value {
    let values = values.into_iter().map(|value| AnyValue { value });
    Value::ArrayValue(ArrayValue {
        values: values.collect(),
    })
}

/// An attribute's value as a map.
pub fn map(values: Vec<KeyValue>) -> Value {
    Value::KvlistValue(KeyValueList { values })
}

/// Attributes of every type, with their extremes.
pub fn attributes() -> Vec<KeyValue> {
    let nested = map(vec![
        text("in", "side"),
        attribute("list", list(vec![Some(Value::IntValue(1)), None])),
        attribute("map", map(vec![])),
    ]);
    vec![
        text("text", "Größe ✓ \"quoted\" \\ \u{1}\n\u{1f600}"),
        text("text.empty", ""),
        text("", "an empty key"),
        attribute("bool.true", Value::BoolValue(true)),
        attribute("bool.false", Value::BoolValue(false)),
        attribute("int.zero", Value::IntValue(0)),
        attribute("int.least", Value::IntValue(i64::MIN)),
        attribute("int.most", Value::IntValue(i64::MAX)),
        attribute("double", Value::DoubleValue(0.1)),
        attribute("double.zero", Value::DoubleValue(-0.0)),
        attribute("double.most", Value::DoubleValue(f64::MAX)),
        attribute("double.infinite", Value::DoubleValue(f64::NEG_INFINITY)),
        attribute("bytes", Value::BytesValue(vec![0, 0xff, 0x80])),
        attribute("bytes.empty", Value::BytesValue(vec![])),
        attribute(
            "list",
            list(vec![
                Some(Value::StringValue("a".into())),
                Some(Value::IntValue(-1)),
                None,
            ]),
        ),
        attribute("list.empty", list(vec![])),
        attribute("map", nested),
        attribute("nothing", None),
    ]
}

/// A SERVER span of two milliseconds; change what matters to the test.
pub fn span(trace_id: u128, id: u64, name: &str) -> Span {
    Span {
        trace_id: trace_id.to_be_bytes().into(),
        span_id: id.to_be_bytes().into(),
        name: name.to_owned(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: START,
        end_time_unix_nano: START + 2_000_000,
        ..Span::default()
    }
}

/// The one span of a service, in a scope.
pub fn resource_spans(service: &str, span: Span) -> ResourceSpans {
    ResourceSpans {
        resource: Some(Resource {
            attributes: vec![text("service.name", service)],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            spans: vec![span],
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }
}

/// A request with spans of every kind and status in one trace, one of them with all the rest: what is to arrive
/// unchanged wherever OTLP comes in and goes out.
pub fn request(trace_id: u128) -> ExportTraceServiceRequest {
    let kinds = (0..6).map(|kind| Span {
        kind,
        ..span(trace_id, 0x10 + kind as u64, "any kind")
    });
    let statuses = [StatusCode::Unset, StatusCode::Ok, StatusCode::Error].map(|code| Span {
        status: Some(Status {
            code: code.into(),
            message: "the message".to_owned(),
        }),
        ..span(trace_id, 0x20 + code as u64, "any status")
    });
    let times = [
        (0, 0),
        (START + 1, START + 1),
        (u64::MAX - 1, u64::MAX),
        (9, 1),
    ];
    let times = (0x30..).zip(times).map(|(id, (start, end))| Span {
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        ..span(trace_id, id, "any times")
    });
    let mut spans = vec![full(trace_id)];
    spans.extend(kinds.chain(statuses).chain(times));
    let scope = InstrumentationScope {
        name: "scope".to_owned(),
        version: "1.2.3".to_owned(),
        attributes: attributes(),
        dropped_attributes_count: 1,
    };
    let shop = ResourceSpans {
        resource: Some(Resource {
            attributes: [vec![text("service.name", "shop")], attributes()].concat(),
            dropped_attributes_count: 2,
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(scope),
            spans,
            schema_url: "https://example.org/scope".to_owned(),
        }],
        schema_url: "https://example.org/resource".to_owned(),
    };
    let stock = resource_spans("stock", span(trace_id, 0x40, "elsewhere"));
    ExportTraceServiceRequest {
        resource_spans: vec![shop, stock],
    }
}

/// A span with every field.
fn full(trace_id: u128) -> Span {
    Span {
        parent_span_id: vec![0xfe; 8],
        trace_state: "vendor=a|b,ot=th:8".to_owned(),
        flags: 0x301,
        attributes: attributes(),
        dropped_attributes_count: 3,
        events: vec![Event {
            time_unix_nano: START + 1_000,
            name: "an event".to_owned(),
            attributes: attributes(),
            dropped_attributes_count: 4,
        }],
        dropped_events_count: 5,
        links: vec![Link {
            trace_id: vec![7; 16],
            span_id: vec![8; 8],
            trace_state: "linked=1".to_owned(),
            attributes: attributes(),
            dropped_attributes_count: 6,
            flags: 0x101,
        }],
        dropped_links_count: u32::MAX,
        status: Some(Status {
            code: StatusCode::Error.into(),
            message: "boom ✗".to_owned(),
        }),
        ..span(trace_id, 1, "everything")
    }
}
