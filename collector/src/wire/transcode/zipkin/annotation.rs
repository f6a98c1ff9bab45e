//! Annotations and links that exporters wrote as text, read back into events and links with their attributes.

use super::span::event_nanos;
use crate::wire::transcode::ids::hex_id;
use crate::wire::transcode::json_reader::{JsonReader, JsonResult};
use crate::wire::transcode::otlp_json::MAX_NESTING;
use crate::wire::transcode::proto_writer::{Expected, ProtoWriter};
use crate::wire::transcode::{copy_text, copy_value};

/// Writes an annotation as `Span.Event`. Exporters put an event's attributes behind its name: `"name": {…}`, all of it in
/// braces, or `name|{…}|dropped attributes`. Any other text is the name.
pub(super) fn put_event(micros: u64, text: &str, out: &mut ProtoWriter) {
    let event = out.open(11, Expected::Small);
    let nanos = event_nanos(micros);
    if nanos != 0 {
        out.fixed64(1, nanos);
    }
    let before = out.len();
    let is_read = match text.as_bytes().first() {
        Some(b'"') => named_attributes(text, out).is_ok(),
        Some(b'{') => wrapped_attributes(text, out).is_ok(),
        _ => piped_attributes(text, out).is_some(),
    };
    if !is_read {
        out.truncate(before);
        out.text(2, text);
    }
    out.close(event);
}

/// `"name": {"key": value, …}`
fn named_attributes(text: &str, out: &mut ProtoWriter) -> JsonResult<()> {
    let mut json = JsonReader::new(text);
    copy_text(&mut json, out, 2)?;
    json.colon()?;
    attributes(&mut json, out, 3, 0)?;
    json.end()
}

/// `{"name": {"key": value, …}}`
fn wrapped_attributes(text: &str, out: &mut ProtoWriter) -> JsonResult<()> {
    let mut json = JsonReader::new(text);
    let mut members = 0;
    json.members(|json, name| {
        members += 1;
        out.text(2, &name);
        attributes(json, out, 3, 0)
    })?;
    if members != 1 {
        return Err(json.fault("not one name"));
    }
    json.end()
}

/// `name|{"key": value, …}|dropped attributes`, as the OpenTelemetry Collector writes it.
fn piped_attributes(text: &str, out: &mut ProtoWriter) -> Option<()> {
    let (name, rest) = text.split_once('|')?;
    let (object, dropped) = rest.rsplit_once('|')?;
    let dropped: u32 = dropped.parse().ok()?;
    out.text(2, name);
    let mut json = JsonReader::new(object);
    attributes(&mut json, out, 3, 0).ok()?;
    json.end().ok()?;
    out.number(4, u64::from(dropped));
    Some(())
}

/// Writes a link (`trace id|span id|trace state|attributes as JSON|dropped attributes`) as `Span.Link`; false, with
/// nothing written, when `text` is none.
pub(super) fn put_link(text: &str, out: &mut ProtoWriter) -> bool {
    let before = out.len();
    let link = out.open(13, Expected::Medium);
    let is_read = link_fields(text, out).is_some();
    if is_read {
        out.close(link);
    } else {
        out.truncate(before);
    }
    is_read
}

fn link_fields(text: &str, out: &mut ProtoWriter) -> Option<()> {
    let mut parts = text.splitn(3, '|');
    let trace_id = hex_id::<16>(parts.next()?)?;
    let span_id = hex_id::<8>(parts.next()?)?;
    // The trace state may have a `|`, the attributes may have any character, the count behind them only digits.
    let (state_and_object, dropped) = parts.next()?.rsplit_once('|')?;
    let (trace_state, object) = state_and_object.split_at(state_and_object.find("|{")?);
    let object = object.get(1..)?;
    let dropped: u32 = dropped.parse().ok()?;
    out.bytes(1, &trace_id);
    out.bytes(2, &span_id);
    out.text(3, trace_state);
    let mut json = JsonReader::new(object);
    attributes(&mut json, out, 4, 0).ok()?;
    json.end().ok()?;
    out.number(5, u64::from(dropped));
    Some(())
}

/// A JSON object as `KeyValue`s in `field`, inside `depth` lists and maps.
fn attributes(
    json: &mut JsonReader<'_>,
    out: &mut ProtoWriter,
    field: u32,
    depth: usize,
) -> JsonResult<()> {
    json.members(|json, name| {
        let attribute = out.open(field, Expected::Small);
        out.text(1, &name);
        any_value(json, out, 2, depth)?;
        out.close(attribute);
        Ok(())
    })
}

/// A JSON value as an `AnyValue` in `field`.
fn any_value(
    json: &mut JsonReader<'_>,
    out: &mut ProtoWriter,
    field: u32,
    depth: usize,
) -> JsonResult<()> {
    let value = out.open(field, Expected::Small);
    match json.peek() {
        Some(b'"') => copy_value(json, out, 1)?,
        Some(b't' | b'f') => out.varint(2, u64::from(json.boolean()?)),
        Some(b'n') => drop(json.null()?),
        Some(b'[' | b'{') if depth == MAX_NESTING => return Err(json.fault("nested too deep")),
        Some(b'[') => {
            let list = out.open(5, Expected::Small);
            json.array(|json| any_value(json, out, 1, depth + 1))?;
            out.close(list);
        }
        Some(b'{') => {
            let map = out.open(6, Expected::Small);
            attributes(json, out, 1, depth + 1)?;
            out.close(map);
        }
        _ => put_number(json, out)?,
    }
    out.close(value);
    Ok(())
}

/// A JSON number as `int_value` where it is a whole one, else as `double_value`.
pub(super) fn put_number(json: &mut JsonReader<'_>, out: &mut ProtoWriter) -> JsonResult<()> {
    let at = json.position();
    let text = json.number()?;
    if let Ok(whole) = text.parse::<i64>() {
        out.varint(3, whole.cast_unsigned());
        return Ok(());
    }
    let double = JsonReader::double_at(at, text)?;
    out.fixed64(4, double.to_bits());
    Ok(())
}
