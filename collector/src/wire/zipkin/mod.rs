//! Spans as Zipkin JSON v2, written straight from the received bytes (OpenTelemetry specification, trace/
//! sdk_exporters/zipkin.md; Zipkin API v2, `ListOfSpans`). Called by `export` to send them and by `web` to answer Zipkin's
//! queries, so that both say the same.

mod find;
mod form;
mod json;
mod origin;
mod tags;
#[cfg(test)]
mod taken_in_tests;
#[cfg(test)]
mod tests;
mod value;

use bytes::Bytes;

pub use self::find::{TagFinder, Told, duration, is_annotated, is_named, is_written};
use self::form::Form;
pub use self::form::lower_case;
use self::json::Json;
pub use self::origin::Ids;
use self::origin::Origin;
use self::tags::Tags;
use self::value::put_object;
use super::{Detail, EventRef, SpanKind, SpanRef, WireError, walk};

/// Longest name of a service or a scope: every span repeats it.
const MOST_NAME_BYTES: usize = 4 * 1024;

/// Why there is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The first fault in the bytes.
    #[error("not readable as OTLP: {0}")]
    Malformed(#[from] WireError),
    /// It would be too long, which only fewer spans can help.
    #[error("as Zipkin JSON it is larger than the {limit} bytes that are sent at once")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
        /// Spans that would fit.
        fits: u64,
    },
}

/// All spans of `batches` as one JSON array of at most `limit` bytes and its end, written to `memory` from its beginning on;
/// never more memory than that is used, twice as much while a list or a map becomes text. Each span repeats its resource, so a few bytes of OTLP may stand for
/// any number of them.
///
/// # Errors
/// [`EncodeError`].
pub fn encode(batches: &[Bytes], limit: usize, memory: Vec<u8>) -> Result<Vec<u8>, EncodeError> {
    let mut json = Json::in_memory(memory, limit, expected_bytes(batches));
    let mut tags = Tags::default();
    let mut fits = 0;
    json.open_array();
    for batch in batches {
        walk(batch, |span| {
            if !json.is_full() {
                json.element();
                put_span(&mut json, &mut tags, &span, Form::Sent);
                fits += u64::from(!json.is_full());
            }
        })?;
    }
    if json.is_full() {
        return Err(EncodeError::TooLarge { limit, fits });
    }
    let mut bytes = json.into_bytes();
    bytes.push(b']');
    Ok(bytes)
}

/// About as much JSON as `batches` become: attribute names and values come as they are; ids double and the framing is spelt
/// out.
pub fn expected_bytes(batches: &[Bytes]) -> usize {
    batches.iter().map(|batch| batch.len() * 2).sum()
}

/// Single spans as a Zipkin answers them that has taken them in. Give it spans of one resource in a row: their tags are
/// written once.
#[derive(Default)]
pub struct SpanEncoder<'a> {
    tags: Tags<'a>,
    memory: Vec<u8>,
}

impl<'a> SpanEncoder<'a> {
    /// A span as an object; `None` when that is more than `limit` bytes.
    pub fn encode(&mut self, span: &SpanRef<'a>, limit: usize) -> Option<&[u8]> {
        let memory = std::mem::take(&mut self.memory);
        let mut json = Json::in_memory(memory, limit, span.raw.len());
        put_span(&mut json, &mut self.tags, span, Form::TakenIn);
        let is_full = json.is_full();
        self.memory = json.into_bytes();
        (!is_full).then_some(self.memory.as_slice())
    }
}

/// A service's name as spans are sent with it.
pub fn service_name(name: &str) -> &str {
    cut(name)
}

/// Tags come before what attributes tell of, so that these are read once.
fn put_span<'a>(json: &mut Json, tags: &mut Tags<'a>, span: &SpanRef<'a>, form: Form) {
    json.open_object();
    form.put_trace_id(json, &span.trace_id);
    if let Some(kind) = kind(span.kind) {
        json.known("\"kind\":").raw(kind);
    }
    form.put_name(json, "\"name\":", span.name);
    let start_micros = micros(span.start_unix_nano);
    if let Some(micros) = start_micros {
        json.known("\"timestamp\":").number(micros);
    }
    let mut origin = Origin::default();
    let mut rare = Rare::default();
    let before_tags = json.len();
    tags.open(json, span);
    for detail in span.details() {
        if json.is_full() {
            break;
        }
        match detail {
            Detail::Attribute(attribute) => {
                origin.note(attribute);
                tags.put(json, attribute);
            }
            _ => rare.note(detail),
        }
    }
    tags.close(json, span, &rare);
    form.settle(json, before_tags);
    put_ids(json, form.ids(origin.ids(span)));
    if origin.debug {
        json.known("\"debug\":").raw("true");
    }
    if let Some(micros) = form.duration(origin.duration_micros(span)) {
        json.known("\"duration\":").number(micros);
    }
    origin.put_local_endpoint(json, cut(span.resource.service_name), form);
    origin.put_remote_endpoint(json, span.kind, form);
    if rare.events {
        form.put_annotations(json, span);
    }
    json.close_object();
}

fn put_ids(json: &mut Json, ids: Ids) {
    json.known("\"id\":").hex(&ids.id.to_be_bytes());
    if ids.is_shared {
        json.known("\"shared\":").raw("true");
    }
    if let Some(parent) = ids.parent {
        json.known("\"parentId\":").hex(&parent.to_be_bytes());
    }
}

/// Unix microseconds; an absent time is no time at the epoch.
fn micros(unix_nano: u64) -> Option<u64> {
    Some(unix_nano / 1_000).filter(|&micros| micros > 0)
}

/// What most spans do not have.
#[derive(Default)]
struct Rare<'a> {
    trace_state: &'a str,
    events: bool,
    links: bool,
    dropped_attributes: u64,
    dropped_events: u64,
    dropped_links: u64,
}

impl<'a> Rare<'a> {
    fn note(&mut self, detail: Detail<'a>) {
        match detail {
            Detail::Attribute(_) => {}
            Detail::TraceState(text) => self.trace_state = text,
            Detail::Event => self.events = true,
            Detail::Link => self.links = true,
            Detail::DroppedAttributes(count) => self.dropped_attributes = count,
            Detail::DroppedEvents(count) => self.dropped_events = count,
            Detail::DroppedLinks(count) => self.dropped_links = count,
        }
    }
}

/// As JSON. Zipkin has no kind for work inside a service.
fn kind(kind: SpanKind) -> Option<&'static str> {
    match kind {
        SpanKind::Unspecified | SpanKind::Internal => None,
        SpanKind::Server => Some("\"SERVER\""),
        SpanKind::Client => Some("\"CLIENT\""),
        SpanKind::Producer => Some("\"PRODUCER\""),
        SpanKind::Consumer => Some("\"CONSUMER\""),
    }
}

/// Events with their times in Unix microseconds. Zipkin refuses a whole request for one annotation without a time, so it
/// takes its span's; without that, too, it is none.
fn annotations<'a>(span: &SpanRef<'a>) -> impl Iterator<Item = (u64, EventRef<'a>)> + use<'a> {
    let of_span = micros(span.start_unix_nano);
    span.events().filter_map(move |event| {
        let at = micros(event.time_unix_nano).or(of_span)?;
        Some((at, event))
    })
}

fn put_annotation(json: &mut Json, micros: u64, put_value: impl FnOnce(&mut Json)) {
    json.element();
    json.open_object();
    json.known("\"timestamp\":").number(micros);
    put_value(json.known("\"value\":"));
    json.close_object();
}

/// An event's name, with its attributes behind it when it has some, both as JSON.
fn put_event(json: &mut Json, event: EventRef<'_>) {
    if event.attributes.clone().next().is_none() {
        json.string(event.name);
        return;
    }
    let mut text = json.nested();
    put_event_with_attributes(&mut text, event);
    json.quoted(&text);
}

fn put_event_with_attributes(json: &mut Json, event: EventRef<'_>) {
    json.string(event.name);
    json.raw(": ");
    put_object(json, event.attributes);
}

/// A name no longer than [`MOST_NAME_BYTES`].
fn cut(name: &str) -> &str {
    if name.len() <= MOST_NAME_BYTES {
        return name;
    }
    // A character is at most four bytes, so one of these is its start.
    (0..4)
        .find_map(|back| name.get(..MOST_NAME_BYTES - back))
        .unwrap_or_default()
}
