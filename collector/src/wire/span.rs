//! `SpanRef`: one span of an `ExportTraceServiceRequest`, borrowed (opentelemetry/proto/trace/v1/trace.proto).

use super::attributes::{Attributes, Fields};
use super::reader::{MAX_DEPTH, Reader, fixed64_tag, len_tag, varint_tag};
use super::walk::{UNKNOWN_SERVICE, WireError, span_tag};

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
    /// Whether it came with a `trace_state`, so that nobody looks through its bytes for one in vain.
    pub has_trace_state: bool,
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
#[derive(Clone, Copy, Debug, PartialEq)]
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
    /// `trace_state`; empty when absent.
    pub trace_state: &'a str,
    /// Its attributes.
    pub attributes: Attributes<'a>,
    /// `dropped_attributes_count`.
    pub dropped_attributes: u64,
}

impl<'a> SpanRef<'a> {
    /// End − start; zero when the end lies before the start.
    pub fn duration_nanos(&self) -> u64 {
        self.end_unix_nano.saturating_sub(self.start_unix_nano)
    }

    /// The span's own attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.raw, span_tag::ATTRIBUTES >> 3)
    }

    /// `Status.message`; empty when absent.
    pub fn status_message(&self) -> &'a str {
        Fields::new(self.raw, span_tag::STATUS >> 3)
            .filter_map(|status| last_text(status, 2))
            .last()
            .unwrap_or_default()
    }

    /// `trace_state`; empty when absent.
    pub fn trace_state(&self) -> &'a str {
        if !self.has_trace_state {
            return "";
        }
        last_text(Reader::new(self.raw), span_tag::TRACE_STATE >> 3).unwrap_or_default()
    }

    /// The span's events; one that is no valid `Span.Event` is skipped.
    pub fn events(&self) -> impl Iterator<Item = EventRef<'a>> + use<'a> {
        Fields::new(self.raw, span_tag::EVENTS >> 3).filter_map(|event| event_ref(event).ok())
    }

    /// The span's links; one that is no valid `Span.Link`, or whose ids have the wrong size, is skipped.
    pub fn links(&self) -> impl Iterator<Item = LinkRef<'a>> + use<'a> {
        Fields::new(self.raw, span_tag::LINKS >> 3).filter_map(|link| link_ref(link).ok().flatten())
    }
}

impl<'a> ResourceRef<'a> {
    /// The resource's attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.raw, 1)
    }
}

impl Default for ResourceRef<'_> {
    fn default() -> Self {
        Self {
            raw: &[],
            service_name: UNKNOWN_SERVICE,
        }
    }
}

impl<'a> ScopeRef<'a> {
    /// The scope's name; empty when absent.
    pub fn name(&self) -> &'a str {
        last_text(Reader::new(self.raw), 1).unwrap_or_default()
    }

    /// The scope's version; empty when absent.
    pub fn version(&self) -> &'a str {
        last_text(Reader::new(self.raw), 2).unwrap_or_default()
    }

    /// The scope's attributes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.raw, 3)
    }
}

impl SpanKind {
    /// A kind this collector does not know is unspecified.
    pub(super) fn from_wire(value: u64) -> Self {
        // Of an enum's varint, protobuf reads 32 bits.
        match value as u32 {
            1 => Self::Internal,
            2 => Self::Server,
            3 => Self::Client,
            4 => Self::Producer,
            5 => Self::Consumer,
            _ => Self::Unspecified,
        }
    }
}

impl StatusCode {
    /// A code this collector does not know is unset.
    pub(super) fn from_wire(value: u64) -> Self {
        // Of an enum's varint, protobuf reads 32 bits.
        match value as u32 {
            1 => Self::Ok,
            2 => Self::Error,
            _ => Self::Unset,
        }
    }
}

/// The last occurrence of a text field; `None` when there is none or when it is not UTF-8.
fn last_text<'a>(message: Reader<'a>, field: u32) -> Option<&'a str> {
    let last = Fields::of(message, field).last()?;
    std::str::from_utf8(last.rest()).ok()
}

fn event_ref(mut reader: Reader<'_>) -> Result<EventRef<'_>, WireError> {
    const TIME: u32 = fixed64_tag(1);
    const NAME: u32 = len_tag(2);
    let mut event = EventRef {
        time_unix_nano: 0,
        name: "",
        attributes: Attributes::new(reader.rest(), 3),
    };
    while let Some(tag) = reader.tag()? {
        match tag {
            TIME => event.time_unix_nano = reader.fixed64()?,
            NAME => event.name = reader.text("an event's name")?,
            _ => reader.skip(tag, MAX_DEPTH)?,
        }
    }
    Ok(event)
}

fn link_ref(mut reader: Reader<'_>) -> Result<Option<LinkRef<'_>>, WireError> {
    const TRACE_ID: u32 = len_tag(1);
    const SPAN_ID: u32 = len_tag(2);
    const TRACE_STATE: u32 = len_tag(3);
    const DROPPED: u32 = varint_tag(5);
    let attributes = Attributes::new(reader.rest(), 4);
    let (mut trace_id, mut span_id): (&[u8], &[u8]) = (&[], &[]);
    let (mut trace_state, mut dropped_attributes) = ("", 0);
    while let Some(tag) = reader.tag()? {
        match tag {
            TRACE_ID => trace_id = reader.len_bytes()?,
            SPAN_ID => span_id = reader.len_bytes()?,
            TRACE_STATE => {
                trace_state = std::str::from_utf8(reader.len_bytes()?).unwrap_or_default();
            }
            DROPPED => dropped_attributes = reader.varint()?,
            _ => reader.skip(tag, MAX_DEPTH)?,
        }
    }
    Ok(match (trace_id.try_into(), span_id.try_into()) {
        (Ok(trace_id), Ok(span_id)) => Some(LinkRef {
            trace_id,
            span_id,
            trace_state,
            attributes,
            dropped_attributes,
        }),
        _ => None,
    })
}
