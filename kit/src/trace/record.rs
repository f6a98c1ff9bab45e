//! A finished span as the request path hands it over: plain data, no OpenTelemetry types.

use std::borrow::Cow;
use std::fmt;
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
    pub(crate) attributes: SpanAttributes,
    pub(crate) status: SpanStatus,
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

/// A key of our own with its value.
pub(crate) type Attribute = (&'static str, Value);

/// An attribute value, kept in the form it came in.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(SharedText),
    /// Text as received.
    Bytes(Bytes),
    Int(i64),
    Float(f64),
    /// For tests of what exports: only fields are booleans, and those are not listed.
    #[cfg(test)]
    Bool(bool),
}

/// An attribute value as it is told, to whoever exports it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ValueRef<'a> {
    /// A word of the code's own, which is no secret.
    Word(&'static str),
    Text(&'a str),
    /// Text as received; exported with invalid UTF-8 replaced.
    Bytes(&'a [u8]),
    /// An array of strings.
    Texts(&'a [String]),
    Address(IpAddr),
    Int(i64),
    Float(f64),
    Bool(bool),
}

/// The attributes of a span.
#[derive(Debug)]
pub(crate) enum SpanAttributes {
    Listed(Vec<Attribute>),
    /// The fields of a `tracing` span.
    Fields(SpanValues),
    /// What they are made of, when they are asked for: by the exporter's thread, not by the request.
    Of(Box<dyn Attributed>),
}

/// Takes an attribute.
pub(crate) type TakeAttribute<'a> = dyn FnMut(&'static str, ValueRef<'_>) + 'a;

/// What attributes can be made of.
pub(crate) trait Attributed: fmt::Debug + Send + Sync {
    /// Calls `put` with each of them, the same ones each time.
    fn each(&self, put: &mut TakeAttribute<'_>);
}

impl SpanAttributes {
    /// Calls `put` with each of them.
    pub(crate) fn each(&self, put: &mut TakeAttribute<'_>) {
        match self {
            Self::Listed(attributes) => {
                for (key, value) in attributes {
                    put(key, value.as_told());
                }
            }
            Self::Fields(values) => {
                values.last_of_each_name(|name, value| put_field(name, value, put));
            }
            Self::Of(source) => source.each(put),
        }
    }
}

impl Value {
    fn as_told(&self) -> ValueRef<'_> {
        match self {
            Self::Text(SharedText::Static(text)) => ValueRef::Word(text),
            Self::Text(SharedText::Shared(text)) => ValueRef::Text(text),
            Self::Text(SharedText::Owned(text)) => ValueRef::Text(text),
            Self::Bytes(text) => ValueRef::Bytes(text),
            Self::Int(number) => ValueRef::Int(*number),
            Self::Float(number) => ValueRef::Float(*number),
            #[cfg(test)]
            Self::Bool(flag) => ValueRef::Bool(*flag),
        }
    }
}

/// OpenTelemetry has no integers beyond 64 bits with a sign: those are texts.
fn put_field(name: &'static str, value: &FieldValue<'_>, put: &mut TakeAttribute<'_>) {
    let integer = match *value {
        FieldValue::Bool(flag) => return put(name, ValueRef::Bool(flag)),
        FieldValue::F64(number) => return put(name, ValueRef::Float(number)),
        FieldValue::Text(text) | FieldValue::Formatted(text) => {
            return put(name, ValueRef::Text(text));
        }
        FieldValue::I64(number) => Some(number),
        FieldValue::U64(number) => i64::try_from(number).ok(),
        FieldValue::I128(number) => i64::try_from(number).ok(),
        FieldValue::U128(number) => i64::try_from(number).ok(),
        _ => None,
    };
    if let Some(integer) = integer {
        return put(name, ValueRef::Int(integer));
    }
    let mut text = String::new();
    // Writing to memory does not fail.
    let _ = value.write(&mut text);
    put(name, ValueRef::Text(&text));
}
