//! A finished span as the request path hands it over: plain data, no OpenTelemetry types.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::context::{SharedContext, SpanId, TraceParent};

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
