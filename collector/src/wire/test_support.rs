//! Requests for the tests of every part of the collector, built and encoded by opentelemetry-proto and prost.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::signal::Signal;

/// A text attribute.
pub(crate) fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.into())),
        }),
        ..KeyValue::default()
    }
}

/// A SERVER span named `GET /` of 1 ms; `parent` 0 makes it a root. Change what matters to the test.
pub(crate) fn span(trace_id: u128, span_id: u64, parent: u64) -> Span {
    Span {
        trace_id: trace_id.to_be_bytes().to_vec(),
        span_id: span_id.to_be_bytes().to_vec(),
        parent_span_id: match parent {
            0 => Vec::new(),
            parent => parent.to_be_bytes().to_vec(),
        },
        name: "GET /".into(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_001_000_000,
        ..Span::default()
    }
}

/// The spans of one service, in one scope.
pub(crate) fn resource_spans(service: &str, spans: Vec<Span>) -> ResourceSpans {
    ResourceSpans {
        resource: Some(Resource {
            attributes: vec![attribute("service.name", service)],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "tests".into(),
                ..InstrumentationScope::default()
            }),
            spans,
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }
}

/// A request's bytes.
pub(crate) fn encode(resource_spans: Vec<ResourceSpans>) -> Vec<u8> {
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// The bytes of a request with `spans` spans of one service.
pub(crate) fn request(service: &str, spans: u64) -> Vec<u8> {
    let spans = (1..=spans).map(|id| span(1, id, 0)).collect();
    encode(vec![resource_spans(service, spans)])
}

/// A length-delimited field.
pub(crate) fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(
        number,
        prost::encoding::WireType::LengthDelimited,
        &mut bytes,
    );
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

/// The bytes of a request with `records` log records of one service.
pub(crate) fn logs_request(service: &str, records: u64) -> Vec<u8> {
    let record = |number: u64| LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000 + number,
        severity_number: 9,
        body: attribute("", "ordered").value,
        trace_id: vec![1; 16],
        span_id: number.to_be_bytes().into(),
        ..LogRecord::default()
    };
    let group = ResourceLogs {
        resource: resource_spans(service, Vec::new()).resource,
        scope_logs: vec![ScopeLogs {
            log_records: (1..=records).map(record).collect(),
            ..ScopeLogs::default()
        }],
        ..ResourceLogs::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![group],
    }
    .encode_to_vec()
}

/// The bytes of a request with one metric of one service that has `points` data points.
pub(crate) fn metrics_request(service: &str, points: u64) -> Vec<u8> {
    let point = |number: u64| NumberDataPoint {
        time_unix_nano: 1_700_000_000_000_000_000,
        attributes: vec![attribute("shelf", &number.to_string())],
        value: Some(number_data_point::Value::AsInt(7)),
        ..NumberDataPoint::default()
    };
    let group = ResourceMetrics {
        resource: resource_spans(service, Vec::new()).resource,
        scope_metrics: vec![ScopeMetrics {
            metrics: vec![Metric {
                name: "stock".into(),
                data: Some(metric::Data::Gauge(Gauge {
                    data_points: (1..=points).map(point).collect(),
                })),
                ..Metric::default()
            }],
            ..ScopeMetrics::default()
        }],
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![group],
    }
    .encode_to_vec()
}

/// The bytes of a request of `signal` with `items` of one service.
pub(crate) fn request_of(signal: Signal, service: &str, items: u64) -> Vec<u8> {
    match signal {
        Signal::Traces => request(service, items),
        Signal::Logs => logs_request(service, items),
        Signal::Metrics => metrics_request(service, items),
    }
}
