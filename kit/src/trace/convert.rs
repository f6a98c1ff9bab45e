//! A `SpanRecord` as the OpenTelemetry SDK's `SpanData`: done on the exporter's thread only.

use std::borrow::Cow;
use std::str::FromStr as _;

use opentelemetry::trace::{
    Link, SpanContext, SpanId as OtelSpanId, SpanKind as OtelKind, Status, TraceFlags,
    TraceId as OtelTraceId, TraceState as OtelTraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue, StringValue, Value as OtelValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::record::{SharedText, SpanKind, SpanRecord, SpanStatus, Value};
use crate::context::{SpanId, TraceId, TraceParent, TraceState};

/// The scope all our spans carry.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("bellwether")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}

/// The record stays whole: a batch that could not be sent is converted again.
pub(super) fn span_data(record: &SpanRecord, scope: &InstrumentationScope) -> SpanData {
    let context = &record.context;
    SpanData {
        span_context: SpanContext::new(
            trace_id(context.trace_id),
            span_id(record.span_id),
            TraceFlags::new(context.trace_flags()),
            false,
            trace_state(context.trace_state.as_ref()),
        ),
        parent_span_id: record.parent.map_or(OtelSpanId::INVALID, span_id),
        parent_span_is_remote: record.parent_is_remote,
        span_kind: match record.kind {
            SpanKind::Server => OtelKind::Server,
            SpanKind::Client => OtelKind::Client,
            SpanKind::Internal => OtelKind::Internal,
        },
        name: name(&record.name),
        start_time: record.start,
        end_time: record
            .start
            .checked_add(record.duration)
            .unwrap_or(record.start),
        attributes: record
            .attributes
            .iter()
            .map(|(key, attribute)| KeyValue::new(*key, value(attribute, record)))
            .collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: links(record.link.as_deref()),
        status: match &record.status {
            SpanStatus::Unset => Status::Unset,
            SpanStatus::Error(description) => Status::Error {
                description: description.clone(),
            },
        },
        instrumentation_scope: scope.clone(),
    }
}

/// Members that the library does not take (it knows level 1's keys alone) are left out.
fn trace_state(state: Option<&TraceState>) -> OtelTraceState {
    let Some(state) = state.map(TraceState::as_str) else {
        return OtelTraceState::NONE;
    };
    OtelTraceState::from_str(state).unwrap_or_else(|_| {
        let members = state
            .split(',')
            .filter_map(|member| member.trim().split_once('='))
            .filter(|member| OtelTraceState::from_key_value([*member]).is_ok());
        OtelTraceState::from_key_value(members).unwrap_or_default()
    })
}

fn links(to: Option<&TraceParent>) -> SpanLinks {
    let mut links = SpanLinks::default();
    links.links.extend(to.map(|span| {
        let context = SpanContext::new(
            trace_id(span.trace_id),
            span_id(span.span_id),
            TraceFlags::new(span.flags),
            true,
            OtelTraceState::NONE,
        );
        Link::with_context(context)
    }));
    links
}

fn trace_id(id: TraceId) -> OtelTraceId {
    OtelTraceId::from_bytes(id.to_bytes())
}

fn span_id(id: SpanId) -> OtelSpanId {
    OtelSpanId::from_bytes(id.to_bytes())
}

fn name(name: &SharedText) -> Cow<'static, str> {
    match name {
        SharedText::Static(name) => Cow::Borrowed(name),
        SharedText::Shared(name) => Cow::Owned(name.to_string()),
        SharedText::Owned(name) => Cow::Owned(name.clone()),
    }
}

fn text_value(text: String) -> OtelValue {
    OtelValue::String(StringValue::from(text))
}

fn value(value: &Value, record: &SpanRecord) -> OtelValue {
    match value {
        Value::Text(SharedText::Static(text)) => OtelValue::from(*text),
        Value::Text(SharedText::Shared(text)) => OtelValue::from(text.clone()),
        Value::Text(SharedText::Owned(text)) => OtelValue::from(text.clone()),
        Value::Bytes(text) => text_value(String::from_utf8_lossy(text).into_owned()),
        Value::Address(address) => text_value(address.to_string()),
        Value::RequestId => text_value(record.context.request_id.as_str().to_owned()),
        Value::Int(number) => OtelValue::I64(*number),
        Value::Float(number) => OtelValue::F64(*number),
        Value::Bool(flag) => OtelValue::Bool(*flag),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ::http::HeaderValue;

    use super::super::testing::{context, record};
    use super::*;
    use crate::context::RequestContext;

    #[test]
    fn the_trace_state_is_exported_member_by_member() {
        fn check(sent: &'static str, exported: &str) {
            let state = TraceState::parse([&HeaderValue::from_static(sent)].into_iter());
            let mut span = record("GET /");
            span.context = Arc::new(RequestContext {
                trace_state: state,
                flags: 0b11 | RequestContext::DEBUG,
                ..Arc::into_inner(context()).unwrap()
            });
            let context = span_data(&span, &scope()).span_context;
            assert_eq!(context.trace_state().header(), exported);
            assert_eq!(context.trace_flags().to_u8(), 0b11);
        }
        check("ot=th:0", "ot=th:0");
        check("ot=th:c , vendor=1", "ot=th:c,vendor=1");
        // A key of level 2 that level 1 does not allow.
        check("a@b@c=1, ot=th:8,vendor=1", "ot=th:8,vendor=1");
    }
}
