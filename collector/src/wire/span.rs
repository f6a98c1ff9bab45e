//! `SpanRef`: one span of an `ExportTraceServiceRequest`, borrowed (opentelemetry/proto/trace/v1/trace.proto).

use super::attributes::Attributes;

/// What side of a call a span is (`Span.SpanKind`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SpanKind {
    /// Not said; treated as internal.
    #[default]
    Unspecified = 0,
    /// Work inside a service.
    Internal = 1,
    /// Answers a call.
    Server = 2,
    /// Makes a call.
    Client = 3,
    /// Hands a message on.
    Producer = 4,
    /// Takes a message.
    Consumer = 5,
}

/// `Status.StatusCode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum StatusCode {
    /// Not said.
    #[default]
    Unset = 0,
    /// Declared good by the developer.
    Ok = 1,
    /// Failed.
    Error = 2,
}

/// One span; every field borrows from the request's bytes.
#[derive(Clone, Copy, Debug)]
pub struct SpanRef<'a> {
    /// Never all zero.
    pub trace_id: [u8; 16],
    /// Never all zero.
    pub span_id: [u8; 8],
    /// `None` for a root: absent or all zero.
    pub parent_span_id: Option<[u8; 8]>,
    /// Which side of a call.
    pub kind: SpanKind,
    /// Sender's clock, Unix nanoseconds.
    pub start_unix_nano: u64,
    /// Sender's clock, Unix nanoseconds; may lie before the start.
    pub end_unix_nano: u64,
    /// Whether it failed.
    pub status: StatusCode,
    /// The operation.
    pub name: &'a str,
    /// The `Span` message's bytes.
    pub raw: &'a [u8],
    /// The resource it came with.
    pub resource: ResourceRef<'a>,
    /// The instrumentation scope it came with.
    pub scope: ScopeRef<'a>,
}

/// The `Resource` message a span came with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ResourceRef<'a> {
    /// The `Resource` message's bytes; empty when absent.
    pub raw: &'a [u8],
    /// `service.name`; `unknown_service` when absent or empty.
    pub service_name: &'a str,
}

/// The `InstrumentationScope` message a span came with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ScopeRef<'a> {
    /// The message's bytes; empty when absent.
    pub raw: &'a [u8],
}

/// A span event.
#[derive(Clone, Debug)]
pub struct EventRef<'a> {
    /// Unix nanoseconds.
    pub time_unix_nano: u64,
    /// Its name.
    pub name: &'a str,
    /// Its attributes.
    pub attributes: Attributes<'a>,
}

/// A span link.
#[derive(Clone, Debug)]
pub struct LinkRef<'a> {
    /// The linked trace.
    pub trace_id: [u8; 16],
    /// The linked span.
    pub span_id: [u8; 8],
    /// Its attributes.
    pub attributes: Attributes<'a>,
}

impl<'a> SpanRef<'a> {
    /// End − start; zero when the end lies before the start.
    pub fn duration_nanos(&self) -> u64 {
        self.end_unix_nano.saturating_sub(self.start_unix_nano)
    }

    /// The span's own attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        unimplemented!()
    }

    /// `Status.message`; empty when absent.
    pub fn status_message(&self) -> &'a str {
        unimplemented!()
    }

    /// `trace_state`; empty when absent.
    pub fn trace_state(&self) -> &'a str {
        unimplemented!()
    }

    /// The span's events.
    pub fn events(&self) -> impl Iterator<Item = EventRef<'a>> + use<'a> {
        std::iter::empty()
    }

    /// The span's links.
    pub fn links(&self) -> impl Iterator<Item = LinkRef<'a>> + use<'a> {
        std::iter::empty()
    }
}

impl<'a> ResourceRef<'a> {
    /// The resource's attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        unimplemented!()
    }
}
