//! Zipkin protobuf (zipkin-api, zipkin.proto): `ListOfSpans`.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::annotation::put_event;
use super::batch::Batch;
use super::endpoint::Endpoint;
use super::span::Draft;
use super::tags::{Tag, put_tag};
use crate::wire::WireError;
use crate::wire::reader::{Reader, fixed64_tag, len_tag, varint_tag};
use crate::wire::span::SpanKind;
use crate::wire::transcode::TranscodeError;
use crate::wire::transcode::proto_writer::ProtoWriter;

/// As [`zipkin_json`](super::zipkin_json), of Zipkin's protobuf; three times the body is enough for what senders send.
///
/// # Errors
/// The first fault, with its place.
pub fn zipkin_protobuf(body: &[u8], limit: usize) -> Result<Vec<u8>, TranscodeError> {
    let mut batch = Batch::new(body.len(), limit);
    match list_of_spans(body, &mut batch) {
        Ok(()) => batch.into_request(),
        Err(_) if batch.is_too_large() => Err(TranscodeError::TooLarge { limit }),
        Err(reason) => Err(TranscodeError::Protobuf {
            span: batch.len(),
            reason,
        }),
    }
}

fn list_of_spans<'a>(body: &'a [u8], batch: &mut Batch<'a>) -> Result<(), String> {
    const SPANS: u32 = len_tag(1);
    let text = |error: WireError| error.to_string();
    let mut reader = Reader::new(body);
    while let Some(tag) = reader.tag().map_err(text)? {
        if tag != SPANS {
            reader.skip_unknown(tag, 1).map_err(text)?;
            continue;
        }
        let message = reader.message().map_err(text)?;
        let start = batch.fields.len();
        let mut draft = Draft::default();
        span(message, &mut draft, &mut batch.fields)?;
        batch.push(start, draft)?;
        if batch.is_too_large() {
            return Err("too large".to_owned());
        }
    }
    Ok(())
}

/// `Span`.
fn span<'a>(
    mut reader: Reader<'a>,
    span: &mut Draft<'a>,
    out: &mut ProtoWriter,
) -> Result<(), String> {
    while let Some(tag) = next_tag(&mut reader)? {
        match tag {
            TRACE_ID => span.trace_id = id(&mut reader, "trace_id")?,
            PARENT_ID => span.parent_id = id(&mut reader, "parent_id")?,
            ID => span.id = id(&mut reader, "id")?,
            ANNOTATIONS => annotation(message(&mut reader)?, span, out).map_err(text)?,
            TAGS => entry(message(&mut reader)?, span, out).map_err(text)?,
            _ => plain_field(tag, &mut reader, span, out).map_err(text)?,
        }
    }
    Ok(())
}

const TRACE_ID: u32 = len_tag(1);
const PARENT_ID: u32 = len_tag(2);
const ID: u32 = len_tag(3);
const KIND: u32 = varint_tag(4);
const NAME: u32 = len_tag(5);
const TIMESTAMP: u32 = fixed64_tag(6);
const DURATION: u32 = varint_tag(7);
const LOCAL: u32 = len_tag(8);
const REMOTE: u32 = len_tag(9);
const ANNOTATIONS: u32 = len_tag(10);
const TAGS: u32 = len_tag(11);
const DEBUG: u32 = varint_tag(12);
const SHARED: u32 = varint_tag(13);

fn text(error: WireError) -> String {
    error.to_string()
}

fn next_tag(reader: &mut Reader<'_>) -> Result<Option<u32>, String> {
    reader.tag().map_err(text)
}

fn message<'a>(reader: &mut Reader<'a>) -> Result<Reader<'a>, String> {
    reader.message().map_err(text)
}

fn plain_field<'a>(
    tag: u32,
    reader: &mut Reader<'a>,
    span: &mut Draft<'a>,
    out: &mut ProtoWriter,
) -> Result<(), WireError> {
    match tag {
        KIND => span.kind = kind(reader.varint()?),
        NAME => out.text(5, reader.text("a span's name")?),
        TIMESTAMP => span.timestamp_micros = reader.fixed64()?,
        DURATION => span.duration_micros = reader.varint()?,
        LOCAL => endpoint(reader.message()?, &mut span.local)?,
        REMOTE => endpoint(reader.message()?, &mut span.remote)?,
        DEBUG => span.debug = reader.varint()? != 0,
        SHARED => span.shared = reader.varint()? != 0,
        _ => reader.skip_unknown(tag, 13)?,
    }
    Ok(())
}

/// Fewer bytes are padded on the left.
fn id<const N: usize>(reader: &mut Reader<'_>, name: &str) -> Result<[u8; N], String> {
    let bytes = reader.len_bytes().map_err(text)?;
    if bytes.len() > N {
        return Err(format!(
            "its {name} has {} bytes; {N} are the most",
            bytes.len()
        ));
    }
    let mut id = [0; N];
    for (to, from) in id.iter_mut().rev().zip(bytes.iter().rev()) {
        *to = *from;
    }
    Ok(id)
}

/// `Span.Kind`; one that is not known is none.
fn kind(number: u64) -> SpanKind {
    match number {
        1 => SpanKind::Client,
        2 => SpanKind::Server,
        3 => SpanKind::Producer,
        4 => SpanKind::Consumer,
        _ => SpanKind::Unspecified,
    }
}

/// `Endpoint`.
fn endpoint<'a>(mut reader: Reader<'a>, endpoint: &mut Endpoint<'a>) -> Result<(), WireError> {
    const SERVICE: u32 = len_tag(1);
    const IPV4: u32 = len_tag(2);
    const IPV6: u32 = len_tag(3);
    const PORT: u32 = varint_tag(4);
    while let Some(tag) = reader.tag()? {
        match tag {
            SERVICE => endpoint.service = reader.text("a service's name")?.into(),
            IPV4 => {
                let address: Option<[u8; 4]> = reader.len_bytes()?.try_into().ok();
                let address = address.map(|bytes| Ipv4Addr::from(bytes).to_string());
                endpoint.ipv4 = address.unwrap_or_default().into();
            }
            IPV6 => {
                let address: Option<[u8; 16]> = reader.len_bytes()?.try_into().ok();
                let address = address.map(|bytes| Ipv6Addr::from(bytes).to_string());
                endpoint.ipv6 = address.unwrap_or_default().into();
            }
            PORT => endpoint.port = u16::try_from(reader.varint()?).unwrap_or_default(),
            _ => reader.skip_unknown(tag, 4)?,
        }
    }
    Ok(())
}

/// `Annotation`.
fn annotation(
    mut reader: Reader<'_>,
    span: &mut Draft<'_>,
    out: &mut ProtoWriter,
) -> Result<(), WireError> {
    const TIME: u32 = fixed64_tag(1);
    const VALUE: u32 = len_tag(2);
    let (mut micros, mut value) = (0, "");
    while let Some(tag) = reader.tag()? {
        match tag {
            TIME => micros = reader.fixed64()?,
            VALUE => value = reader.text("an annotation")?,
            _ => reader.skip_unknown(tag, 2)?,
        }
    }
    span.marks.note(value, micros);
    put_event(micros, value, out);
    Ok(())
}

/// One entry of the map of tags.
fn entry<'a>(
    mut reader: Reader<'a>,
    span: &mut Draft<'a>,
    out: &mut ProtoWriter,
) -> Result<(), WireError> {
    const KEY: u32 = len_tag(1);
    const VALUE: u32 = len_tag(2);
    let (mut key, mut value) = ("", "");
    while let Some(tag) = reader.tag()? {
        match tag {
            KEY => key = reader.text("a tag's key")?,
            VALUE => value = reader.text("a tag's value")?,
            _ => reader.skip_unknown(tag, 2)?,
        }
    }
    // An entry of nothing at all is two bytes, and would be many more as an attribute.
    if !(key.is_empty() && value.is_empty()) {
        put_tag(Tag::of(key), key, Cow::Borrowed(value), span, out);
    }
    Ok(())
}
