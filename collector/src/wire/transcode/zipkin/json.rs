//! Zipkin JSON v2 (zipkin-api, zipkin2-api.yaml): a list of spans. Tolerant where senders are known to differ: nulls,
//! numbers and booleans as tags, annotations of the first format. What would be lost in silence is refused.

use std::borrow::Cow;

use super::annotation::{put_event, put_number};
use super::batch::Batch;
use super::endpoint::Endpoint;
use super::span::Draft;
use super::tags::{Tag, put_tag};
use crate::wire::span::SpanKind;
use crate::wire::transcode::ids::padded_id;
use crate::wire::transcode::json_number::exact;
use crate::wire::transcode::json_reader::{JsonError, JsonReader, JsonResult};
use crate::wire::transcode::json_text::shown;
use crate::wire::transcode::proto_writer::{Expected, ProtoWriter};
use crate::wire::transcode::{TranscodeError, copy_text, copy_value, utf8};

/// The bytes of the `ExportTraceServiceRequest` that says what `body` says, made within `limit` bytes of memory. Twice
/// the body is enough for what senders send, [`MOST_MEMORY`](super::MOST_MEMORY) times for anything.
///
/// # Errors
/// The first fault, with its place.
pub fn zipkin_json(body: &[u8], limit: usize) -> Result<Vec<u8>, TranscodeError> {
    let text = utf8(body, "span")?;
    let mut batch = Batch::new(body.len(), limit);
    let mut json = JsonReader::new(text);
    let read = json.array(|json| {
        span(json, &mut batch)?;
        if batch.is_too_large() {
            return Err(json.fault("too large"));
        }
        Ok(())
    });
    match read.and_then(|()| json.end()) {
        Ok(()) => batch.into_request(),
        Err(_) if batch.is_too_large() => Err(TranscodeError::TooLarge { limit }),
        Err(error) => Err(TranscodeError::json(text, ("span", batch.len()), error)),
    }
}

type Json<'a> = JsonReader<'a>;

fn span<'a>(json: &mut Json<'a>, batch: &mut Batch<'a>) -> JsonResult<()> {
    let at = json.position();
    let mut span = Draft::default();
    let out = &mut batch.fields;
    let start = out.len();
    json.object(|json, name| {
        match &*name {
            "traceId" => span.trace_id = id(json, &name)?,
            "id" => span.id = id(json, &name)?,
            "parentId" => span.parent_id = id(json, &name)?,
            "kind" => span.kind = kind(json)?,
            "name" => copy_text(json, out, 5)?,
            "timestamp" => span.timestamp_micros = micros(json)?,
            "duration" => span.duration_micros = micros(json)?,
            "debug" => span.debug = json.boolean()?,
            "shared" => span.shared = json.boolean()?,
            "localEndpoint" => endpoint(json, &mut span.local)?,
            "remoteEndpoint" => endpoint(json, &mut span.remote)?,
            "annotations" => json.array(|json| annotation(json, &mut span, out))?,
            "tags" => json.object(|json, key| tag(json, &key, &mut span, out))?,
            "binaryAnnotations" => {
                return Err(json.fault("`binaryAnnotations` are of Zipkin's format v1; send v2"));
            }
            _ => json.skip()?,
        }
        Ok(())
    })?;
    batch.push(start, span).map_err(|reason| JsonError {
        at,
        reason: reason.into(),
    })
}

/// Hex digits in any case, as many as there are; fewer are padded on the left.
fn id<const N: usize>(json: &mut Json<'_>, name: &str) -> JsonResult<[u8; N]> {
    let at = json.position();
    let text = json.string()?;
    padded_id(&text).ok_or_else(|| JsonError {
        at,
        reason: format!(
            "`{name}` is up to {} hex digits, not `{}`",
            N * 2,
            shown(&text)
        )
        .into(),
    })
}

fn kind(json: &mut Json<'_>) -> JsonResult<SpanKind> {
    let at = json.position();
    let name = json.string()?;
    Ok(match &*name {
        "CLIENT" => SpanKind::Client,
        "SERVER" => SpanKind::Server,
        "PRODUCER" => SpanKind::Producer,
        "CONSUMER" => SpanKind::Consumer,
        "" | "INTERNAL" => SpanKind::Unspecified,
        other => {
            let reason = format!(
                "`kind` is CLIENT, SERVER, PRODUCER or CONSUMER, not `{}`",
                shown(other)
            );
            return Err(JsonError {
                at,
                reason: reason.into(),
            });
        }
    })
}

/// Microseconds, as number or text; what follows the point is dropped, and less than zero is not known.
fn micros(json: &mut Json<'_>) -> JsonResult<u64> {
    let (at, text) = json.number_text()?;
    let whole = || exact(&text).map(|(whole, _)| clamped(whole));
    text.parse().ok().or_else(whole).ok_or_else(|| JsonError {
        at,
        reason: format!("`{}` is no number of microseconds", shown(&text)).into(),
    })
}

fn clamped(number: i128) -> u64 {
    u64::try_from(number.max(0)).unwrap_or(u64::MAX)
}

fn endpoint<'a>(json: &mut Json<'a>, endpoint: &mut Endpoint<'a>) -> JsonResult<()> {
    json.object(|json, name| {
        match &*name {
            "serviceName" => endpoint.service = json.string()?,
            "ipv4" => endpoint.ipv4 = json.string()?,
            "ipv6" => endpoint.ipv6 = json.string()?,
            // One that no port can have says nothing, and is no reason to refuse a batch.
            "port" => endpoint.port = u16::try_from(json.integer::<i128>()?).unwrap_or_default(),
            _ => json.skip()?,
        }
        Ok(())
    })
}

fn annotation<'a>(
    json: &mut Json<'a>,
    span: &mut Draft<'a>,
    out: &mut ProtoWriter,
) -> JsonResult<()> {
    let (mut at, mut value) = (0, Cow::Borrowed(""));
    json.object(|json, name| {
        match &*name {
            "timestamp" => at = micros(json)?,
            "value" => value = json.string()?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    span.marks.note(&value, at);
    put_event(at, &value, out);
    Ok(())
}

fn tag<'a>(
    json: &mut Json<'a>,
    key: &str,
    span: &mut Draft<'a>,
    out: &mut ProtoWriter,
) -> JsonResult<()> {
    let is_text = json.peek() == Some(b'"');
    match Tag::of(key) {
        Tag::Attribute => attribute(json, key, out),
        tag if is_text => {
            let value = json.string()?;
            put_tag(tag, key, value, span, out);
            Ok(())
        }
        tag => {
            let value = bare_text(json, key)?;
            put_tag(tag, key, value, span, out);
            Ok(())
        }
    }
}

/// Numbers and booleans keep their type.
fn attribute(json: &mut Json<'_>, key: &str, out: &mut ProtoWriter) -> JsonResult<()> {
    let attribute = out.open(9, Expected::Small);
    out.text(1, key);
    let value = out.open(2, Expected::Small);
    match json.peek() {
        Some(b'"') => copy_value(json, out, 1)?,
        Some(b't' | b'f') => out.varint(2, u64::from(json.boolean()?)),
        Some(b'-' | b'0'..=b'9') => put_number(json, out)?,
        _ => return Err(not_a_tag(json, key)),
    }
    out.close(value);
    out.close(attribute);
    Ok(())
}

/// A number or boolean as its text.
fn bare_text<'a>(json: &mut Json<'a>, key: &str) -> JsonResult<Cow<'a, str>> {
    Ok(match json.peek() {
        Some(b't' | b'f') if json.boolean()? => Cow::Borrowed("true"),
        Some(b't' | b'f') => Cow::Borrowed("false"),
        Some(b'-' | b'0'..=b'9') => Cow::Borrowed(json.number()?),
        _ => return Err(not_a_tag(json, key)),
    })
}

fn not_a_tag(json: &Json<'_>, key: &str) -> JsonError {
    json.fault(format!("the tag `{}` is no text", shown(key)))
}
