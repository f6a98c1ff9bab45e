//! Requests of every shape, for property tests.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, exemplar, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn any_value() -> impl Strategy<Value = Option<AnyValue>> {
    let leaf = prop_oneof![
        ".{0,8}".prop_map(Value::StringValue),
        any::<bool>().prop_map(Value::BoolValue),
        any::<i64>().prop_map(Value::IntValue),
        any::<f64>().prop_map(Value::DoubleValue),
        vec(any::<u8>(), 0..6).prop_map(Value::BytesValue),
    ];
    let value = leaf.prop_recursive(3, 12, 3, |inner| {
        let any = inner.prop_map(|value| AnyValue { value: Some(value) });
        prop_oneof![
            vec(any.clone(), 0..3).prop_map(|values| Value::ArrayValue(ArrayValue { values })),
            vec(("[a-z.]{0,4}", any), 0..3).prop_map(|entries| {
                let values = entries.into_iter().map(|(key, value)| KeyValue {
                    key,
                    value: Some(value),
                    ..KeyValue::default()
                });
                Value::KvlistValue(KeyValueList {
                    values: values.collect(),
                })
            }),
        ]
    });
    option::of(option::of(value).prop_map(|value| AnyValue { value }))
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let key = prop_oneof!["[a-z.]{0,6}", Just("service.name".to_owned())];
    let attribute = (key, any_value()).prop_map(|(key, value)| KeyValue {
        key,
        value,
        ..KeyValue::default()
    });
    vec(attribute, 0..4)
}

prop_compose! {
    fn any_event()(time_unix_nano: u64, name in ".{0,6}", attributes in attributes()) -> Event {
        Event { time_unix_nano, name, attributes, dropped_attributes_count: 3 }
    }
}

prop_compose! {
    fn any_link()(
        trace in 1..=u128::MAX,
        span: u64,
        trace_state in "[a-z=,|]{0,4}",
        attributes in attributes(),
        dropped_attributes_count: u32,
    ) -> Link {
        Link {
            trace_id: trace.to_be_bytes().into(),
            span_id: span.to_be_bytes().into(),
            trace_state,
            attributes,
            dropped_attributes_count,
            flags: 1,
        }
    }
}

prop_compose! {
    fn any_span()(
        (trace, id, parent) in (1..=u128::MAX, 1..=u64::MAX, option::of(any::<u64>())),
        (name, kind) in (".{0,12}", -1..8_i32),
        (start, end) in any::<(u64, u64)>(),
        trace_state in "[a-z=,]{0,6}",
        flags: u32,
        attributes in attributes(),
        events in vec(any_event(), 0..3),
        links in vec(any_link(), 0..3),
        status in option::of((".{0,5}", 0..5_i32)),
    ) -> Span {
        Span {
            trace_id: trace.to_be_bytes().into(),
            span_id: id.to_be_bytes().into(),
            parent_span_id: parent.map(|id| id.to_be_bytes().into()).unwrap_or_default(),
            trace_state,
            flags,
            name,
            kind,
            start_time_unix_nano: start,
            end_time_unix_nano: end,
            attributes,
            events,
            links,
            dropped_links_count: flags,
            status: status.map(|(message, code)| Status { message, code }),
            ..Span::default()
        }
    }
}

prop_compose! {
    fn any_scope()(
        scope in option::of((".{0,4}", "[0-9.]{0,4}", attributes())),
        spans in vec(any_span(), 0..4),
    ) -> ScopeSpans {
        let scope = scope.map(|(name, version, attributes)| InstrumentationScope {
            name, version, attributes, dropped_attributes_count: 1,
        });
        ScopeSpans { scope, spans, schema_url: "https://example.org/schema".into() }
    }
}

pub(crate) fn any_request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let one = (option::of(attributes()), vec(any_scope(), 0..3)).prop_map(|(resource, scopes)| {
        ResourceSpans {
            resource: resource.map(|attributes| Resource {
                attributes,
                ..Resource::default()
            }),
            scope_spans: scopes,
            schema_url: String::new(),
        }
    });
    vec(one, 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

fn any_id(bytes: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => Just(Vec::new()),
        2 => vec(any::<u8>(), bytes),
    ]
}

prop_compose! {
    fn any_resource()(attributes in attributes()) -> Resource {
        Resource { attributes, dropped_attributes_count: 2, ..Resource::default() }
    }
}

prop_compose! {
    fn any_library()(name in ".{0,4}", attributes in attributes()) -> InstrumentationScope {
        InstrumentationScope { name, attributes, ..InstrumentationScope::default() }
    }
}

prop_compose! {
    fn any_log_record()(
        (time_unix_nano, observed_time_unix_nano, flags) in any::<(u64, u64, u32)>(),
        severity_number in 0..25_i32,
        (severity_text, event_name) in (".{0,4}", "[a-z.]{0,6}"),
        body in any_value(),
        attributes in attributes(),
        dropped_attributes_count: u32,
        (trace_id, span_id) in (any_id(16), any_id(8)),
    ) -> LogRecord {
        LogRecord {
            time_unix_nano,
            observed_time_unix_nano,
            severity_number,
            severity_text,
            body,
            attributes,
            dropped_attributes_count,
            flags,
            trace_id,
            span_id,
            event_name,
        }
    }
}

pub(crate) fn any_logs() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let scope = (
        option::of(any_library()),
        vec(any_log_record(), 0..4),
        ".{0,3}",
    );
    let scope = scope.prop_map(|(scope, log_records, schema_url)| ScopeLogs {
        scope,
        log_records,
        schema_url,
    });
    let group = (option::of(any_resource()), vec(scope, 0..3));
    let group = group.prop_map(|(resource, scope_logs)| ResourceLogs {
        resource,
        scope_logs,
        schema_url: "https://example.org/logs".into(),
    });
    vec(group, 0..3).prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs })
}

/// Neither NaN nor infinite, which only some encoders of JSON have words for.
fn finite() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        Just(-0.0),
        any::<f64>().prop_filter("finite", |value| value.is_finite()),
    ]
}

fn times() -> impl Strategy<Value = (u64, u64)> {
    prop_oneof![Just((0, 0)), any::<(u64, u64)>()]
}

prop_compose! {
    fn any_exemplar()(
        filtered_attributes in attributes(),
        time_unix_nano: u64,
        (trace_id, span_id) in (any_id(16), any_id(8)),
        value in option::of(prop_oneof![
            finite().prop_map(exemplar::Value::AsDouble),
            any::<i64>().prop_map(exemplar::Value::AsInt),
        ]),
    ) -> Exemplar {
        Exemplar { filtered_attributes, time_unix_nano, span_id, trace_id, value }
    }
}

fn exemplars() -> impl Strategy<Value = Vec<Exemplar>> {
    vec(any_exemplar(), 0..2)
}

prop_compose! {
    fn any_number_point()(
        attributes in attributes(),
        (start_time_unix_nano, time_unix_nano) in times(),
        flags in 0..2_u32,
        exemplars in exemplars(),
        value in option::of(prop_oneof![
            finite().prop_map(number_data_point::Value::AsDouble),
            any::<i64>().prop_map(number_data_point::Value::AsInt),
        ]),
    ) -> NumberDataPoint {
        NumberDataPoint {
            attributes, start_time_unix_nano, time_unix_nano, exemplars, flags, value,
        }
    }
}

prop_compose! {
    fn any_histogram_point()(
        attributes in attributes(),
        (start_time_unix_nano, time_unix_nano) in times(),
        (count, flags) in (any::<u64>(), 0..2_u32),
        [sum, min, max] in [option::of(finite()), option::of(finite()), option::of(finite())],
        bucket_counts in vec(prop_oneof![Just(0), any::<u64>()], 0..40),
        explicit_bounds in vec(finite(), 0..4),
        exemplars in exemplars(),
    ) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes, start_time_unix_nano, time_unix_nano, count, sum, bucket_counts,
            explicit_bounds, exemplars, flags, min, max,
        }
    }
}

fn any_buckets() -> impl Strategy<Value = Option<Buckets>> {
    let buckets = (any::<i32>(), vec(any::<u64>(), 0..4));
    option::of(buckets.prop_map(|(offset, bucket_counts)| Buckets {
        offset,
        bucket_counts,
    }))
}

prop_compose! {
    fn any_exponential_point()(
        attributes in attributes(),
        (start_time_unix_nano, time_unix_nano) in times(),
        (count, zero_count, scale, flags) in (any::<u64>(), any::<u64>(), any::<i32>(), 0..2_u32),
        [sum, min, max] in [option::of(finite()), option::of(finite()), option::of(finite())],
        zero_threshold in finite(),
        (positive, negative) in (any_buckets(), any_buckets()),
        exemplars in exemplars(),
    ) -> ExponentialHistogramDataPoint {
        ExponentialHistogramDataPoint {
            attributes, start_time_unix_nano, time_unix_nano, count, sum, scale, zero_count,
            positive, negative, flags, exemplars, min, max, zero_threshold,
        }
    }
}

prop_compose! {
    fn any_summary_point()(
        attributes in attributes(),
        (start_time_unix_nano, time_unix_nano) in times(),
        (count, flags) in (any::<u64>(), 0..2_u32),
        sum in finite(),
        quantiles in vec((finite(), finite()), 0..3),
    ) -> SummaryDataPoint {
        let quantiles = quantiles.into_iter();
        let quantile_values = quantiles.map(|(quantile, value)| ValueAtQuantile { quantile, value });
        SummaryDataPoint {
            attributes, start_time_unix_nano, time_unix_nano, count, sum,
            quantile_values: quantile_values.collect(), flags,
        }
    }
}

fn any_data() -> impl Strategy<Value = metric::Data> {
    let temporality = || 0..3_i32;
    prop_oneof![
        vec(any_number_point(), 0..4)
            .prop_map(|data_points| metric::Data::Gauge(Gauge { data_points })),
        (vec(any_number_point(), 0..4), temporality(), any::<bool>()).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| metric::Data::Sum(Sum {
                data_points,
                aggregation_temporality,
                is_monotonic,
            })
        ),
        (vec(any_histogram_point(), 0..4), temporality()).prop_map(
            |(data_points, aggregation_temporality)| metric::Data::Histogram(Histogram {
                data_points,
                aggregation_temporality,
            })
        ),
        (vec(any_exponential_point(), 0..4), temporality()).prop_map(
            |(data_points, aggregation_temporality)| {
                metric::Data::ExponentialHistogram(ExponentialHistogram {
                    data_points,
                    aggregation_temporality,
                })
            }
        ),
        vec(any_summary_point(), 0..4)
            .prop_map(|data_points| metric::Data::Summary(Summary { data_points })),
    ]
}

prop_compose! {
    fn any_metric()(
        name in "[a-z.]{0,8}",
        (description, unit) in (".{0,5}", ".{0,3}"),
        metadata in attributes(),
        data in option::of(any_data()),
    ) -> Metric {
        Metric { name, description, unit, metadata, data }
    }
}

pub(crate) fn any_metrics() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let scope = (option::of(any_library()), vec(any_metric(), 0..4));
    let scope = scope.prop_map(|(scope, metrics)| ScopeMetrics {
        scope,
        metrics,
        schema_url: "https://example.org/scope".into(),
    });
    let group = (option::of(any_resource()), vec(scope, 0..3), ".{0,3}");
    let group = group.prop_map(|(resource, scope_metrics, schema_url)| ResourceMetrics {
        resource,
        scope_metrics,
        schema_url,
    });
    vec(group, 0..3).prop_map(|resource_metrics| ExportMetricsServiceRequest { resource_metrics })
}

/// Data points in a request.
pub(crate) fn data_points(request: &ExportMetricsServiceRequest) -> u64 {
    let scopes = request
        .resource_metrics
        .iter()
        .flat_map(|r| &r.scope_metrics);
    let metrics = scopes.flat_map(|scope| &scope.metrics);
    let points = metrics.map(|metric| match &metric.data {
        None => 0,
        Some(metric::Data::Gauge(data)) => data.data_points.len(),
        Some(metric::Data::Sum(data)) => data.data_points.len(),
        Some(metric::Data::Histogram(data)) => data.data_points.len(),
        Some(metric::Data::ExponentialHistogram(data)) => data.data_points.len(),
        Some(metric::Data::Summary(data)) => data.data_points.len(),
    });
    points.sum::<usize>() as u64
}
