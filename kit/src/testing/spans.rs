//! A captured span in plain terms.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::redact::{self, REDACTED};
use crate::trace::{SharedText, SpanKind, SpanRecord, SpanStatus, ValueRef};

/// A span as it would have been exported.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CapturedSpan {
    /// `GET /orders/{id}`, or the `tracing` span's.
    pub name: String,
    /// Which side of a call it is.
    pub kind: SpanKind,
    /// 32 lower-case hexadecimal digits.
    pub trace_id: String,
    /// 16 lower-case hexadecimal digits.
    pub span_id: String,
    /// As `span_id`; `None` for the root of a trace.
    pub parent_span_id: Option<String>,
    /// When it began, by the system's clock.
    pub start: SystemTime,
    /// How long it took, by the monotonic clock.
    pub duration: Duration,
    /// By their semantic-convention names; numbers and booleans are typed.
    pub attributes: BTreeMap<String, Value>,
    /// The description of a span whose status is error, which may be empty.
    pub error: Option<String>,
}

impl CapturedSpan {
    pub(super) fn of(record: &SpanRecord) -> Self {
        let mut attributes = BTreeMap::new();
        record.attributes.each(&mut |key, value| {
            attributes.insert(key.to_owned(), json(key, value));
        });
        Self {
            name: text(&record.name).into_owned(),
            kind: record.kind,
            trace_id: record.context.trace_id.to_string(),
            span_id: record.span_id.to_string(),
            parent_span_id: record.parent.map(|parent| parent.to_string()),
            start: record.start,
            duration: record.duration,
            attributes,
            error: match &record.status {
                SpanStatus::Unset => None,
                SpanStatus::Error(text) => Some(clean(text)),
            },
        }
    }
}

/// Secrets are hidden as in an exported span.
fn json(key: &str, value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Bool(flag) => flag.into(),
        _ if redact::is_secret(key) => REDACTED.into(),
        ValueRef::Word(word) => word.into(),
        ValueRef::Text(text) => clean(text).into(),
        ValueRef::Bytes(bytes) => clean(&String::from_utf8_lossy(bytes)).into(),
        ValueRef::Texts(texts) => texts.iter().map(|text| clean(text)).collect(),
        ValueRef::Address(address) => address.to_string().into(),
        ValueRef::Int(number) => number.into(),
        ValueRef::Float(number) => number.into(),
    }
}

fn clean(text: &str) -> String {
    redact::in_text(text).unwrap_or_else(|| text.to_owned())
}

fn text(shared: &SharedText) -> Cow<'_, str> {
    match shared {
        SharedText::Static(text) => Cow::Borrowed(text),
        SharedText::Shared(text) => Cow::Borrowed(text),
        SharedText::Owned(text) => Cow::Borrowed(text),
    }
}
