//! A finished span as the request path hands it over: plain data, no OpenTelemetry types.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::context::{SharedContext, SpanId, TraceParent};
use crate::log::{FieldValue, SpanValues};

/// One finished span.
#[derive(Debug)]
pub(crate) struct SpanRecord {
    /// Trace id, flags and trace state come from here.
    pub(crate) context: SharedContext,
    pub(crate) span_id: SpanId,
    pub(crate) parent: Option<SpanId>,
    /// True when the parent lives in another process.
    pub(crate) parent_is_remote: bool,
    /// The span of a caller that is not trusted: its trace is not continued. Boxed: rare, and records are
    /// moved about.
    pub(crate) link: Option<Box<TraceParent>>,
    pub(crate) kind: SpanKind,
    pub(crate) name: SpanName,
    pub(crate) start: SystemTime,
    pub(crate) duration: Duration,
    pub(crate) attributes: Vec<Attribute>,
    /// What a `tracing` span was recorded with; [`all_attributes`](Self::all_attributes) has it too.
    pub(crate) fields: Option<SpanValues>,
    pub(crate) status: SpanStatus,
}

impl SpanRecord {
    /// Everything said of the span. Attributes are made of its fields each time: for the exporter's thread.
    pub(crate) fn all_attributes(&self) -> Cow<'_, [Attribute]> {
        let Some(fields) = &self.fields else {
            return Cow::Borrowed(&self.attributes);
        };
        let mut all = self.attributes.clone();
        fields.each(|name, value| {
            let value = Value::of(value);
            // All fields of a span are its call site's, so one name is one address.
            match all.iter_mut().find(|(key, _)| std::ptr::eq(*key, name)) {
                Some((_, present)) => *present = value,
                None => all.push((name, value)),
            }
        });
        Cow::Owned(all)
    }
}

/// A span's name; route names are built once and shared.
pub(crate) type SpanName = SharedText;

/// Text that is static, shared or owned, whichever costs least.
#[derive(Clone, Debug)]
pub(crate) enum SharedText {
    Static(&'static str),
    Shared(Arc<str>),
    Owned(String),
}

/// Which side of a call a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpanKind {
    /// A request that this service answers.
    Server,
    /// A call that it makes.
    Client,
    /// Work within it: a `tracing` span.
    Internal,
}

/// Unset unless the request failed on this side (HTTP semantic conventions, "Status").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SpanStatus {
    Unset,
    Error(Cow<'static, str>),
}

/// A key with its value; keys of our own are static, users' field names are too (`tracing` metadata).
pub(crate) type Attribute = (&'static str, Value);

/// An attribute value, kept in the form it came in.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(SharedText),
    /// Text as received; exported with invalid UTF-8 replaced.
    Bytes(Bytes),
    /// An array of strings.
    Texts(Vec<String>),
    Address(IpAddr),
    /// The request id of the record's context.
    RequestId,
    Int(i64),
    Float(f64),
    Bool(bool),
}

impl Value {
    /// OpenTelemetry has no integers beyond 64 bits with a sign: those are texts.
    fn of(field: &FieldValue<'_>) -> Self {
        let integer = match *field {
            FieldValue::Bool(flag) => return Self::Bool(flag),
            FieldValue::F64(number) => return Self::Float(number),
            FieldValue::I64(number) => Some(number),
            FieldValue::U64(number) => i64::try_from(number).ok(),
            FieldValue::I128(number) => i64::try_from(number).ok(),
            FieldValue::U128(number) => i64::try_from(number).ok(),
            _ => None,
        };
        integer.map_or_else(
            || {
                let mut text = String::new();
                // Writing to memory does not fail.
                let _ = field.write(&mut text);
                Self::Text(SharedText::Owned(text))
            },
            Self::Int,
        )
    }
}
