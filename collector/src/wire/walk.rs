//! The walk: one pass over a request's bytes that checks framing, ids and the UTF-8 of what it reads.
//! Attributes, events and links are stepped over whole; `SpanRef` reads them when asked.

use super::reader::{MAX_DEPTH, Reader, fixed32_tag, fixed64_tag, len_tag, varint_tag};
use super::span::{ResourceRef, ScopeRef, SpanKind, SpanRef, StatusCode};

/// Why bytes are no acceptable request. Offsets count from the request's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes end inside a field, or a field inside a message reaches past that message's end.
    #[error("truncated protobuf: the field at byte {at} goes past the end of its message")]
    Truncated {
        /// Where the field's value starts.
        at: usize,
    },
    /// A varint that does not fit 64 bits.
    #[error("invalid protobuf: the varint at byte {at} does not fit 64 bits")]
    Varint {
        /// Where it starts.
        at: usize,
    },
    /// Field number 0, a field number beyond 2^29 − 1, an unknown wire type or a stray end of a group.
    #[error("invalid protobuf: the tag at or just before byte {at} starts no field")]
    Tag {
        /// Where it was found.
        at: usize,
    },
    /// A known field that was not encoded as its type demands.
    #[error("invalid protobuf: field {field} before byte {at} has the wrong wire type")]
    WireType {
        /// Its number.
        field: u32,
        /// Where its value starts.
        at: usize,
    },
    /// Groups nested deeper than 32.
    #[error("invalid protobuf: groups are nested deeper than 32 at byte {at}")]
    TooDeep {
        /// Where.
        at: usize,
    },
    /// A message that may stand once in its parent stands there twice; no encoder writes that.
    #[error("{field} at byte {at} occurs a second time in its message")]
    Repeated {
        /// `Resource` or `InstrumentationScope`.
        field: &'static str,
        /// Where the second one starts.
        at: usize,
    },
    /// Text that is not UTF-8.
    #[error("{field} at byte {at} is not valid UTF-8")]
    Utf8 {
        /// Which field.
        field: &'static str,
        /// Where its length and value start.
        at: usize,
    },
    /// An id of the wrong size.
    #[error("span {span} (counted from 0) has a {field} of {length} bytes instead of {expected}")]
    IdLength {
        /// Index of the span in the request.
        span: usize,
        /// `trace_id`, `span_id` or `parent_span_id`.
        field: &'static str,
        /// Its length in bytes.
        length: usize,
        /// What the specification demands.
        expected: usize,
    },
    /// A log record's id of the wrong size.
    #[error(
        "log record {record} (counted from 0) has a {field} of {length} bytes instead of {expected}"
    )]
    RecordIdLength {
        /// Index of the record in the request.
        record: u64,
        /// `trace_id` or `span_id`.
        field: &'static str,
        /// Its length in bytes.
        length: usize,
        /// What the specification demands; 0 is fine, too.
        expected: usize,
    },
    /// An id of zeros, which the specification declares invalid.
    #[error("span {span} (counted from 0) has a {field} of zeros")]
    ZeroId {
        /// Index of the span in the request.
        span: usize,
        /// `trace_id` or `span_id`.
        field: &'static str,
    },
}

/// What `service.name` is taken to be when a resource has none
/// (opentelemetry.io/docs/specs/semconv/resource, `service.name`).
pub(super) const UNKNOWN_SERVICE: &str = "unknown_service";

/// Calls `visit` for every span of `request`, in order; returns how many there were.
///
/// # Errors
/// The first fault found; `visit` may have been called for spans before it.
pub fn walk<'a>(request: &'a [u8], mut visit: impl FnMut(SpanRef<'a>)) -> Result<usize, WireError> {
    let mut reader = Reader::new(request);
    let mut spans = 0;
    while let Some(tag) = reader.tag()? {
        if tag == len_tag(1) {
            resource_spans(reader.message()?, &mut spans, &mut visit)?;
        } else {
            reader.skip_unknown(tag, 1)?;
        }
    }
    Ok(spans)
}

/// `ResourceSpans`: the resource is looked for first, because it may stand after the spans.
fn resource_spans<'a>(
    mut reader: Reader<'a>,
    spans: &mut usize,
    visit: &mut impl FnMut(SpanRef<'a>),
) -> Result<(), WireError> {
    const RESOURCE: u32 = len_tag(1);
    const SCOPE_SPANS: u32 = len_tag(2);
    const SCHEMA_URL: u32 = len_tag(3);
    let resource = match first_field(reader)? {
        Some(message) => resource(message)?,
        None => ResourceRef::default(),
    };
    let mut seen = false;
    while let Some(tag) = reader.tag()? {
        match tag {
            SCOPE_SPANS => scope_spans(reader.message()?, resource, spans, visit)?,
            RESOURCE => once(&mut reader, &mut seen, "Resource")?,
            SCHEMA_URL => drop(reader.text("schema_url")?),
            _ => reader.skip_unknown(tag, 3)?,
        }
    }
    Ok(())
}

/// `ScopeSpans`: again the scope first.
fn scope_spans<'a>(
    mut reader: Reader<'a>,
    resource: ResourceRef<'a>,
    spans: &mut usize,
    visit: &mut impl FnMut(SpanRef<'a>),
) -> Result<(), WireError> {
    const SCOPE: u32 = len_tag(1);
    const SPAN: u32 = len_tag(2);
    const SCHEMA_URL: u32 = len_tag(3);
    let scope = match first_field(reader)? {
        Some(message) => scope(message)?,
        None => ScopeRef::default(),
    };
    let mut seen = false;
    while let Some(tag) = reader.tag()? {
        match tag {
            SPAN => {
                visit(span(reader.message()?, *spans, resource, scope)?);
                *spans += 1;
            }
            SCOPE => once(&mut reader, &mut seen, "InstrumentationScope")?,
            SCHEMA_URL => drop(reader.text("schema_url")?),
            _ => reader.skip_unknown(tag, 3)?,
        }
    }
    Ok(())
}

/// Field 1 of a `ResourceSpans` or `ScopeSpans`. Encoders write it first, so the search ends at once.
pub(super) fn first_field(mut reader: Reader<'_>) -> Result<Option<Reader<'_>>, WireError> {
    while let Some(tag) = reader.tag()? {
        if tag == len_tag(1) {
            return reader.message().map(Some);
        }
        reader.skip(tag, MAX_DEPTH)?;
    }
    Ok(None)
}

/// Steps over the message that [`first_field`] found. A second one would have to be merged into the first,
/// which borrowed bytes cannot be.
fn once(reader: &mut Reader<'_>, seen: &mut bool, field: &'static str) -> Result<(), WireError> {
    if std::mem::replace(seen, true) {
        let at = reader.position();
        return Err(WireError::Repeated { field, at });
    }
    reader.skip_len()
}

pub(super) fn resource(mut reader: Reader<'_>) -> Result<ResourceRef<'_>, WireError> {
    const ATTRIBUTES: u32 = len_tag(1);
    const DROPPED: u32 = varint_tag(2);
    const ENTITY_REFS: u32 = len_tag(3);
    let mut resource = ResourceRef {
        raw: reader.rest(),
        ..ResourceRef::default()
    };
    while let Some(tag) = reader.tag()? {
        match tag {
            ATTRIBUTES => {
                if let Some(name) = service_name(reader.message()?)? {
                    resource.service_name = name;
                }
            }
            DROPPED => reader.skip_varint()?,
            ENTITY_REFS => reader.skip_len()?,
            _ => reader.skip_unknown(tag, 3)?,
        }
    }
    Ok(resource)
}

/// The value of a `KeyValue` whose key is `service.name` and whose value is text that is not empty.
fn service_name(mut reader: Reader<'_>) -> Result<Option<&str>, WireError> {
    const KEY: u32 = len_tag(1);
    const VALUE: u32 = len_tag(2);
    let mut key = "";
    let mut value = None;
    while let Some(tag) = reader.tag()? {
        match tag {
            KEY => key = reader.text("an attribute key of the resource")?,
            VALUE => value = string_value(reader.message()?, value)?,
            _ => reader.skip_unknown(tag, 2)?,
        }
    }
    Ok(value.filter(|value| key == "service.name" && !value.is_empty()))
}

/// The `string_value` of an `AnyValue`; the last member of the oneof wins, `before` if there is none.
fn string_value<'a>(
    mut reader: Reader<'a>,
    before: Option<&'a str>,
) -> Result<Option<&'a str>, WireError> {
    const STRING: u32 = len_tag(1);
    const LAST_MEMBER: u32 = 7;
    let mut text = before;
    while let Some(tag) = reader.tag()? {
        if tag == STRING {
            text = Some(reader.text("an attribute value of the resource")?);
        } else {
            reader.skip_unknown(tag, 1)?;
            text = text.filter(|_| tag >> 3 > LAST_MEMBER);
        }
    }
    Ok(text)
}

pub(super) fn scope(mut reader: Reader<'_>) -> Result<ScopeRef<'_>, WireError> {
    const NAME: u32 = len_tag(1);
    const VERSION: u32 = len_tag(2);
    const ATTRIBUTES: u32 = len_tag(3);
    const DROPPED: u32 = varint_tag(4);
    let scope = ScopeRef { raw: reader.rest() };
    while let Some(tag) = reader.tag()? {
        match tag {
            NAME => drop(reader.text("the scope's name")?),
            VERSION => drop(reader.text("the scope's version")?),
            ATTRIBUTES => reader.skip_len()?,
            DROPPED => reader.skip_varint()?,
            _ => reader.skip_unknown(tag, 4)?,
        }
    }
    Ok(scope)
}

/// The numbers of `Span`'s fields (opentelemetry/proto/trace/v1/trace.proto), each as its whole tag.
pub(super) mod span_tag {
    use super::{fixed32_tag, fixed64_tag, len_tag, varint_tag};

    pub(in crate::wire) const TRACE_ID: u32 = len_tag(1);
    pub(in crate::wire) const SPAN_ID: u32 = len_tag(2);
    pub(in crate::wire) const TRACE_STATE: u32 = len_tag(3);
    pub(in crate::wire) const PARENT_SPAN_ID: u32 = len_tag(4);
    pub(in crate::wire) const NAME: u32 = len_tag(5);
    pub(in crate::wire) const KIND: u32 = varint_tag(6);
    pub(in crate::wire) const START: u32 = fixed64_tag(7);
    pub(in crate::wire) const END: u32 = fixed64_tag(8);
    pub(in crate::wire) const ATTRIBUTES: u32 = len_tag(9);
    pub(in crate::wire) const DROPPED_ATTRIBUTES: u32 = varint_tag(10);
    pub(in crate::wire) const EVENTS: u32 = len_tag(11);
    pub(in crate::wire) const DROPPED_EVENTS: u32 = varint_tag(12);
    pub(in crate::wire) const LINKS: u32 = len_tag(13);
    pub(in crate::wire) const DROPPED_LINKS: u32 = varint_tag(14);
    pub(in crate::wire) const STATUS: u32 = len_tag(15);
    pub(in crate::wire) const FLAGS: u32 = fixed32_tag(16);
}

/// The hot loop: whole tags, so that one jump finds field and wire type together.
#[inline]
pub(super) fn span<'a>(
    mut reader: Reader<'a>,
    index: usize,
    resource: ResourceRef<'a>,
    scope: ScopeRef<'a>,
) -> Result<SpanRef<'a>, WireError> {
    let raw = reader.rest();
    let (mut trace_id, mut span_id, mut parent): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
    let mut name = "";
    let (mut kind, mut start, mut end) = (0, 0, 0);
    let mut status = StatusCode::Unset;
    let mut has_trace_state = false;
    while let Some(tag) = reader.tag()? {
        match tag {
            span_tag::TRACE_ID => trace_id = reader.len_bytes()?,
            span_tag::SPAN_ID => span_id = reader.len_bytes()?,
            span_tag::PARENT_SPAN_ID => parent = reader.len_bytes()?,
            span_tag::NAME => name = reader.text("a span's name")?,
            span_tag::KIND => kind = reader.varint()?,
            span_tag::START => start = reader.fixed64()?,
            span_tag::END => end = reader.fixed64()?,
            span_tag::ATTRIBUTES | span_tag::EVENTS | span_tag::LINKS => reader.skip_len()?,
            span_tag::TRACE_STATE => has_trace_state |= !reader.len_bytes()?.is_empty(),
            span_tag::DROPPED_ATTRIBUTES | span_tag::DROPPED_EVENTS | span_tag::DROPPED_LINKS => {
                reader.skip_varint()?;
            }
            span_tag::STATUS => status = status_code(reader.message()?, status)?,
            span_tag::FLAGS => reader.skip_fixed32()?,
            _ => reader.skip_unknown(tag, 16)?,
        }
    }
    Ok(SpanRef {
        trace_id: id(trace_id, index, "trace_id")?,
        span_id: id(span_id, index, "span_id")?,
        parent_span_id: parent_id(parent, index)?,
        kind: SpanKind::from_wire(kind),
        start_unix_nano: start,
        end_unix_nano: end,
        status,
        has_trace_state,
        name,
        raw,
        resource,
        scope,
    })
}

/// `Status.code`; `before` stays when it is not in this message, for a second `Status` merges into the first.
fn status_code(mut reader: Reader<'_>, before: StatusCode) -> Result<StatusCode, WireError> {
    const MESSAGE: u32 = len_tag(2);
    const CODE: u32 = varint_tag(3);
    let mut code = before;
    while let Some(tag) = reader.tag()? {
        match tag {
            MESSAGE => drop(reader.text("a span's status message")?),
            CODE => code = StatusCode::from_wire(reader.varint()?),
            // Field 1 is reserved, so it is as unknown as those beyond 3.
            _ if tag >> 3 == 1 => reader.skip(tag, MAX_DEPTH)?,
            _ => reader.skip_unknown(tag, 3)?,
        }
    }
    Ok(code)
}

#[inline]
fn id<const N: usize>(
    bytes: &[u8],
    span: usize,
    field: &'static str,
) -> Result<[u8; N], WireError> {
    match <[u8; N]>::try_from(bytes) {
        Ok(id) if id != [0; N] => Ok(id),
        Ok(_) => Err(WireError::ZeroId { span, field }),
        Err(_) => Err(WireError::IdLength {
            span,
            field,
            length: bytes.len(),
            expected: N,
        }),
    }
}

/// Zeros or nothing mean a root span.
#[inline]
fn parent_id(bytes: &[u8], span: usize) -> Result<Option<[u8; 8]>, WireError> {
    if bytes.is_empty() || bytes == [0; 8] {
        return Ok(None);
    }
    id(bytes, span, "parent_span_id").map(Some)
}
