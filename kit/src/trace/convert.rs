//! A `SpanRecord` as the OpenTelemetry SDK's `SpanData`: done on the exporter's thread only. Every span that
//! leaves comes by here, so its secrets are taken out here, at no cost to any request.

use std::borrow::Cow;
use std::str::FromStr as _;

use opentelemetry::trace::{
    Link, SpanContext, SpanId as OtelSpanId, SpanKind as OtelKind, Status, TraceFlags,
    TraceId as OtelTraceId, TraceState as OtelTraceState,
};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value as OtelValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::record::{SharedText, SpanKind, SpanRecord, SpanStatus, Value};
use crate::context::{SpanId, TraceId, TraceParent, TraceState};
use crate::redact::{self, REDACTED};

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
            .all_attributes()
            .iter()
            .map(|(key, attribute)| KeyValue::new(*key, shown(key, attribute, record)))
            .collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: links(record.link.as_deref()),
        status: match &record.status {
            SpanStatus::Unset => Status::Unset,
            SpanStatus::Error(description) => Status::Error {
                description: match redact::in_text(description) {
                    Some(clean) => Cow::Owned(clean),
                    None => description.clone(),
                },
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

/// The value, unless its name is a secret's; a boolean (`has_password`) gives nothing away.
fn shown(key: &str, attribute: &Value, record: &SpanRecord) -> OtelValue {
    match attribute {
        Value::Bool(flag) => OtelValue::Bool(*flag),
        _ if redact::is_secret(key) => OtelValue::from(REDACTED),
        _ => value(attribute, record),
    }
}

fn text_value(text: String) -> OtelValue {
    OtelValue::String(clean(text))
}

fn clean(text: String) -> StringValue {
    StringValue::from(redact::in_text(&text).unwrap_or(text))
}

fn value(value: &Value, record: &SpanRecord) -> OtelValue {
    match value {
        Value::Text(SharedText::Static(text)) => OtelValue::from(*text),
        Value::Text(SharedText::Shared(text)) => text_value(text.as_ref().to_owned()),
        Value::Text(SharedText::Owned(text)) => text_value(text.clone()),
        Value::Texts(texts) => {
            let texts = texts.iter().cloned().map(clean);
            OtelValue::Array(Array::String(texts.collect()))
        }
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
    use std::time::{Duration, SystemTime};

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

    #[test]
    fn no_secret_leaves_in_a_span() {
        const URL: &str = "http://me:hunter2@h/x";
        let context = context();
        let owned = |text: &str| Value::Text(SharedText::Owned(text.to_owned()));
        let record = SpanRecord {
            span_id: context.span_id,
            context,
            parent: None,
            parent_is_remote: false,
            link: None,
            kind: SpanKind::Internal,
            name: SharedText::Static("call"),
            start: SystemTime::now(),
            duration: Duration::ZERO,
            attributes: vec![
                ("password", owned("hunter2")),
                ("user.api_key", Value::Bytes("hunter2".into())),
                (
                    "http.request.header.cookie",
                    Value::Texts(vec!["hunter2".to_owned()]),
                ),
                ("token", Value::Int(4_111_111_111_111_111)),
                ("has_password", Value::Bool(true)),
                ("owned", owned(URL)),
                ("shared", Value::Text(SharedText::Shared(Arc::from(URL)))),
                ("url.full", Value::Bytes(URL.into())),
                (
                    "texts",
                    Value::Texts(vec![URL.to_owned(), "Bearer hunter2".to_owned()]),
                ),
                ("plain", owned("ann@example.com")),
            ],
            fields: None,
            status: SpanStatus::Error(Cow::Owned(format!("cannot reach {URL}"))),
        };
        let span = span_data(&record, &scope());
        let shown = format!("{span:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("4111111111111111"),
            "{shown}"
        );
        assert!(
            shown.contains("cannot reach http://[redacted]@h/x"),
            "{shown}"
        );
        let value = |key: &str| {
            let mut all = span.attributes.iter();
            all.find(|attribute| attribute.key.as_str() == key)
                .map(|attribute| attribute.value.to_string())
        };
        assert_eq!(value("has_password").as_deref(), Some("true"));
        assert_eq!(value("plain").as_deref(), Some("ann@example.com"));
        assert_eq!(value("url.full").as_deref(), Some("http://[redacted]@h/x"));
        assert_eq!(value("user.api_key").as_deref(), Some("[redacted]"));
    }
}
