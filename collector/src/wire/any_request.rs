//! Requests of every shape, for property tests.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
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
