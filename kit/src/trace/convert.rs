//! A `SpanRecord` as the OpenTelemetry SDK's `SpanData`: for whatever goes out through its libraries, and to compare
//! our own encoding with. Done on the exporter's thread only.

use std::borrow::Cow;
use std::str::FromStr as _;

use opentelemetry::trace::{
    Link, SpanContext, SpanId as OtelSpanId, SpanKind as OtelKind, Status, TraceFlags,
    TraceId as OtelTraceId, TraceState as OtelTraceState,
};
use opentelemetry::{Array, InstrumentationScope, KeyValue, Value as OtelValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::record::{SharedText, SpanKind, SpanRecord};
use super::shown::{self, SecretNames, Shown};
use crate::context::{SpanId, TraceId, TraceParent, TraceState};

/// The scope all our spans carry.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("bellwether")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}

/// The record stays whole: a batch that could not be sent is converted again.
pub(super) fn span_data(
    record: &SpanRecord,
    scope: &InstrumentationScope,
    secret: &mut SecretNames,
) -> SpanData {
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
        attributes: attributes(record, secret),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: links(record.link.as_deref()),
        status: match shown::error(record) {
            None => Status::Unset,
            Some(description) => Status::error(description.into_owned()),
        },
        instrumentation_scope: scope.clone(),
    }
}

fn trace_state(state: Option<&TraceState>) -> OtelTraceState {
    state.map_or(OtelTraceState::NONE, |state| allowed_state(state.as_str()))
}

/// Members that the library does not take (it knows level 1's keys alone) are left out.
fn allowed_state(state: &str) -> OtelTraceState {
    OtelTraceState::from_str(state).unwrap_or_else(|_| {
        let members = state
            .split(',')
            .filter_map(|member| member.trim().split_once('='))
            .filter(|member| OtelTraceState::from_key_value([*member]).is_ok());
        OtelTraceState::from_key_value(members).unwrap_or_default()
    })
}

/// The state as it is exported, member by member.
pub(super) fn exported_state(state: &TraceState) -> Cow<'_, str> {
    let state = state.as_str();
    // What our own sampler leaves of a trace that begins here is one member: as good as every state.
    if state.starts_with("ot=") && !state.contains([',', ' ', '\t']) {
        return Cow::Borrowed(state);
    }
    Cow::Owned(allowed_state(state).header())
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

fn attributes(record: &SpanRecord, secret: &mut SecretNames) -> Vec<KeyValue> {
    let mut all = Vec::new();
    shown::attributes(record, secret, &mut |key, shown| {
        all.push(KeyValue::new(key, value(shown)));
    });
    all
}

pub(super) fn value(shown: Shown<'_>) -> OtelValue {
    match shown {
        Shown::Text(text) => OtelValue::from(text.into_owned()),
        Shown::Texts(texts) => {
            let texts = texts.into_iter().map(|text| text.into_owned().into());
            OtelValue::Array(Array::String(texts.collect()))
        }
        Shown::Address(address) => OtelValue::from(address.to_string()),
        Shown::Int(number) => OtelValue::I64(number),
        Shown::Float(number) => OtelValue::F64(number),
        Shown::Bool(flag) => OtelValue::Bool(flag),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use ::http::HeaderValue;

    use super::super::record::{
        Attributed, SpanAttributes, SpanStatus, TakeAttribute, Value, ValueRef,
    };
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
            let context = span_data(&span, &scope(), &mut SecretNames::default()).span_context;
            assert_eq!(context.trace_state().header(), exported);
            let state = span.context.trace_state.as_ref();
            assert_eq!(state.map(exported_state).unwrap_or_default(), exported);
            assert_eq!(context.trace_flags().to_u8(), 0b11);
        }
        check("ot=th:0", "ot=th:0");
        check("ot=th:0 ", "ot=th:0");
        check("ot=th:0\t", "ot=th:0");
        check("ot=th:0,", "ot=th:0");
        check("ot=th:0 ;rv:1", "ot=th:0 ;rv:1");
        check("ot=th:c , vendor=1", "ot=th:c,vendor=1");
        // A key of level 2 that level 1 does not allow.
        check("a@b@c=1, ot=th:8,vendor=1", "ot=th:8,vendor=1");
    }

    const URL: &str = "http://me:hunter2@h/x";

    /// A span that says more than one can list.
    #[derive(Debug)]
    struct Telling(SpanAttributes);

    impl Attributed for Telling {
        fn each(&self, put: &mut TakeAttribute<'_>) {
            self.0.each(put);
            let cookie = ["hunter2".to_owned()];
            put("http.request.header.cookie", ValueRef::Texts(&cookie));
            let texts = [URL.to_owned(), "Bearer hunter2".to_owned()];
            put("texts", ValueRef::Texts(&texts));
        }
    }

    #[test]
    fn no_secret_leaves_in_a_span() {
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
            attributes: SpanAttributes::Of(Box::new(Telling(SpanAttributes::Listed(vec![
                ("password", owned("hunter2")),
                ("user.api_key", Value::Bytes("hunter2".into())),
                ("token", Value::Int(4_111_111_111_111_111)),
                ("has_password", Value::Bool(true)),
                ("owned", owned(URL)),
                ("shared", Value::Text(SharedText::Shared(Arc::from(URL)))),
                ("url.full", Value::Bytes(URL.into())),
                ("plain", owned("ann@example.com")),
            ])))),
            status: SpanStatus::Error(Cow::Owned(format!("cannot reach {URL}"))),
        };
        let span = span_data(&record, &scope(), &mut SecretNames::default());
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
        let texts = r#"["http://[redacted]@h/x","Bearer [redacted]"]"#;
        assert_eq!(value("texts").as_deref(), Some(texts));
    }
}
