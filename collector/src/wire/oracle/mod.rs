//! What prost reads in the same bytes, to hold `wire` against: by its tests, and by `fuzzing`. Here the walk; below the
//! counts of logs and metrics, and what `retain` leaves.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Link;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::json;

use super::*;

pub(crate) mod counts;
pub(crate) mod retained;
mod shallow;
pub(crate) mod zipkin;

/// Holds the walk against prost on any bytes.
///
/// # Panics
/// Where the two disagree: one takes what the other refuses, unless for a rule that only the walk has, or they read
/// something else.
pub(crate) fn check_any_bytes(bytes: &[u8]) {
    let mut seen = Vec::new();
    let walked = walk(bytes, |span| seen.push(span));
    seen.iter().for_each(read_all);
    match (walked, shallow::Request::decode(bytes)) {
        (Ok(count), Ok(request)) => {
            assert_eq!(count, seen.len());
            check_spans(&seen, &request);
            check_in_full(&seen, bytes);
        }
        (Ok(_), Err(error)) => panic!("the walk takes what prost does not: {error}"),
        (Err(error), Ok(_)) => assert!(is_of_the_walk_alone(&error), "prost takes it: {error}"),
        (Err(_), Err(_)) => {}
    }
}

/// Rules of OTLP, and what borrowed bytes cannot be: all else is protobuf's.
fn is_of_the_walk_alone(error: &WireError) -> bool {
    matches!(
        error,
        WireError::IdLength { .. }
            | WireError::RecordIdLength { .. }
            | WireError::ZeroId { .. }
            | WireError::Repeated { .. }
            | WireError::TooDeep { .. }
    )
}

fn check_spans(seen: &[SpanRef<'_>], request: &shallow::Request) {
    let scopes = request
        .resource_spans
        .iter()
        .flat_map(|resource| &resource.scope_spans);
    let sent: Vec<_> = scopes.flat_map(|scope| &scope.spans).collect();
    assert_eq!(seen.len(), sent.len());
    for (seen, sent) in seen.iter().zip(sent) {
        assert_eq!(seen.trace_id[..], sent.trace_id);
        assert_eq!(seen.span_id[..], sent.span_id);
        assert_same_parent(seen, &sent.parent_span_id);
        assert_eq!(seen.name, sent.name);
        assert_eq!(seen.kind as i32, known(sent.kind, 5));
        assert_eq!(
            (seen.start_unix_nano, seen.end_unix_nano),
            (sent.start, sent.end)
        );
        let status = sent.status.clone().unwrap_or_default();
        assert_eq!(seen.status as i32, known(status.code, 2));
        assert_eq!(seen.status_message(), status.message);
    }
}

/// What the walk steps over agrees, too, where it is as encoders write it.
fn check_in_full(seen: &[SpanRef<'_>], bytes: &[u8]) {
    let Ok(request) = ExportTraceServiceRequest::decode(bytes) else {
        return;
    };
    let is_canonical = request.encode_to_vec() == bytes;
    let mut seen = seen.iter();
    for resource in &request.resource_spans {
        let service = service_of(resource.resource.as_ref());
        for scope in &resource.scope_spans {
            for (sent, seen) in scope.spans.iter().zip(&mut seen) {
                assert_eq!(seen.resource.service_name, service);
                if is_canonical {
                    assert_same(seen, sent, scope, resource);
                }
            }
        }
    }
}

/// An enum's number, 0 for one that is none of its own.
fn known(number: i32, last: i32) -> i32 {
    if (0..=last).contains(&number) {
        number
    } else {
        0
    }
}

fn assert_same_parent(seen: &SpanRef<'_>, sent: &[u8]) {
    let parent = Some(sent).filter(|id| !id.iter().all(|&byte| byte == 0));
    assert_eq!(seen.parent_span_id.as_ref().map(|id| &id[..]), parent);
}

/// Reads everything that can be read of a span, for bytes that may be anything.
fn read_all(span: &SpanRef<'_>) {
    let texts = [span.status_message(), span.trace_state(), span.scope.name()];
    assert!(texts.iter().all(|text| text.len() < isize::MAX as usize));
    for attributes in [
        span.attributes(),
        span.resource.attributes(),
        span.scope.attributes(),
    ] {
        attributes_to_json(attributes);
    }
    for event in span.events() {
        event.attributes.count();
    }
    for link in span.links() {
        link.attributes.count();
    }
}

fn json_of(value: Option<&AnyValue>) -> serde_json::Value {
    match value.and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => json!(text),
        Some(Value::BoolValue(value)) => json!(value),
        Some(Value::IntValue(value)) => json!(value),
        Some(Value::DoubleValue(value)) => to_json(AnyValueRef::Double(*value)),
        Some(Value::BytesValue(bytes)) => to_json(AnyValueRef::Bytes(bytes)),
        Some(Value::ArrayValue(array)) => array
            .values
            .iter()
            .map(|value| json_of(Some(value)))
            .collect(),
        Some(Value::KvlistValue(list)) => json_object(&list.values),
        _ => serde_json::Value::Null,
    }
}

fn json_object(attributes: &[KeyValue]) -> serde_json::Value {
    let entries = attributes
        .iter()
        .map(|entry| (entry.key.clone(), json_of(entry.value.as_ref())));
    serde_json::Value::Object(entries.collect())
}

fn service_of(resource: Option<&Resource>) -> &str {
    let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
    let names = attributes
        .iter()
        .filter(|attribute| attribute.key == "service.name");
    names
        .filter_map(
            |attribute| match attribute.value.as_ref()?.value.as_ref()? {
                Value::StringValue(name) if !name.is_empty() => Some(name.as_str()),
                _ => None,
            },
        )
        .next_back()
        .unwrap_or("unknown_service")
}

pub(super) fn assert_same(
    seen: &SpanRef<'_>,
    sent: &Span,
    scope: &ScopeSpans,
    resource: &ResourceSpans,
) {
    assert_eq!(seen.trace_id[..], sent.trace_id);
    assert_eq!(seen.span_id[..], sent.span_id);
    assert_same_parent(seen, &sent.parent_span_id);
    assert_eq!(seen.name, sent.name);
    assert_eq!(seen.kind as i32, known(sent.kind, 5));
    assert_eq!(seen.start_unix_nano, sent.start_time_unix_nano);
    assert_eq!(seen.end_unix_nano, sent.end_time_unix_nano);
    let (message, code) = sent
        .status
        .as_ref()
        .map_or(("", 0), |status| (&status.message, status.code));
    assert_eq!(seen.status as i32, known(code, 2));
    assert_eq!(seen.status_message(), message);
    assert_eq!(seen.trace_state(), sent.trace_state);
    assert_eq!(seen.raw, sent.encode_to_vec());
    assert_eq!(
        serde_json::Value::Object(attributes_to_json(seen.attributes())),
        json_object(&sent.attributes)
    );
    let events: Vec<_> = seen.events().collect();
    assert_eq!(events.len(), sent.events.len());
    for (seen, sent) in events.into_iter().zip(&sent.events) {
        assert_eq!(
            (seen.time_unix_nano, seen.name),
            (sent.time_unix_nano, &*sent.name)
        );
        assert_eq!(
            json!(attributes_to_json(seen.attributes)),
            json_object(&sent.attributes)
        );
    }
    let links: Vec<_> = seen.links().collect();
    let whole = |link: &&Link| link.trace_id.len() == 16 && link.span_id.len() == 8;
    let sent_links: Vec<_> = sent.links.iter().filter(whole).collect();
    assert_eq!(links.len(), sent_links.len());
    for (seen, sent) in links.into_iter().zip(sent_links) {
        assert_eq!(seen.trace_id[..], sent.trace_id);
        assert_eq!(seen.span_id[..], sent.span_id);
        assert_eq!(
            json!(attributes_to_json(seen.attributes)),
            json_object(&sent.attributes)
        );
    }
    let sent_scope = scope.scope.clone().unwrap_or_default();
    assert_eq!(seen.scope.name(), sent_scope.name);
    assert_eq!(seen.scope.version(), sent_scope.version);
    assert_eq!(
        json!(attributes_to_json(seen.scope.attributes())),
        json_object(&sent_scope.attributes)
    );
    let sent_resource = resource.resource.clone().unwrap_or_default();
    assert_eq!(
        json!(attributes_to_json(seen.resource.attributes())),
        json_object(&sent_resource.attributes)
    );
    assert_eq!(
        seen.resource.service_name,
        service_of(resource.resource.as_ref())
    );
}
