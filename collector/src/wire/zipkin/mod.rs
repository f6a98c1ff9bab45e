//! Spans as Zipkin JSON v2, written straight from the received bytes (OpenTelemetry specification, trace/
//! sdk_exporters/zipkin.md; Zipkin API v2, `ListOfSpans`). Called by `export` to send them and by `web` to answer Zipkin's
//! queries, so that both say the same.

mod json;
mod origin;
mod tags;
#[cfg(test)]
mod tests;
mod value;

use bytes::Bytes;

use self::json::Json;
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
                put_span(&mut json, &mut tags, &span);
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

/// Single spans as JSON, for who reads them again. Give it spans of one resource in a row: their tags are written once.
#[derive(Default)]
pub struct SpanEncoder<'a> {
    tags: Tags<'a>,
}

impl<'a> SpanEncoder<'a> {
    /// A span as an object, as [`encode`] writes it; `None` when that is more than `limit` bytes.
    pub fn encode(&mut self, span: &SpanRef<'a>, limit: usize) -> Option<Vec<u8>> {
        let mut json = Json::with_limit(limit, span.raw.len() * 2);
        put_span(&mut json, &mut self.tags, span);
        (!json.is_full()).then(|| json.into_bytes())
    }
}

/// The name of the service on the other side, if the span tells one.
pub fn remote_service<'a>(span: &SpanRef<'a>) -> Option<&'a str> {
    Origin::of(span).remote_service(span.kind)
}

/// A service's name as spans are sent with it.
pub fn service_name(name: &str) -> &str {
    cut(name)
}

/// Tags come before what attributes tell of, so that these are read once.
fn put_span<'a>(json: &mut Json, tags: &mut Tags<'a>, span: &SpanRef<'a>) {
    json.open_object();
    json.known("\"traceId\":").hex(&span.trace_id);
    if let Some(kind) = kind(span.kind) {
        json.known("\"kind\":").raw(kind);
    }
    json.known("\"name\":").string(span.name);
    // An absent time is no time at the epoch.
    let start_micros = span.start_unix_nano / 1_000;
    if start_micros > 0 {
        json.known("\"timestamp\":").number(start_micros);
    }
    let mut origin = Origin::default();
    let mut rare = Rare::default();
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
    put_ids(json, span, &origin);
    if let Some(micros) = duration_micros(span, &origin) {
        json.known("\"duration\":").number(micros);
    }
    origin.put_local_endpoint(json, cut(span.resource.service_name));
    origin.put_remote_endpoint(json, span.kind);
    if rare.events {
        put_annotations(json, span);
    }
    json.close_object();
}

/// Zipkin's smallest duration is 1. An end before the start is a clock that was set back, and a start of zero is none:
/// the duration is not known.
fn duration_micros(span: &SpanRef<'_>, origin: &Origin<'_>) -> Option<u64> {
    if span.end_unix_nano == 0 {
        return origin.duration_micros;
    }
    let is_known = span.start_unix_nano > 0 && span.end_unix_nano >= span.start_unix_nano;
    is_known.then(|| (span.duration_nanos() / 1_000).max(1))
}

/// The ids, as Zipkin had them where the span came from there.
fn put_ids(json: &mut Json, span: &SpanRef<'_>, origin: &Origin<'_>) {
    match origin.shared_id {
        Some(id) => {
            json.known("\"id\":").string(id);
            json.known("\"shared\":").raw("true");
        }
        None => json.known("\"id\":").hex(&span.span_id),
    }
    match (origin.parent_id, span.parent_span_id) {
        (Some(parent), _) => json.known("\"parentId\":").string(parent),
        // The parent of a server half is its client half, which is the same span to Zipkin.
        (None, Some(parent)) if origin.shared_id.is_none() => {
            json.known("\"parentId\":").hex(&parent);
        }
        _ => {}
    }
    if origin.debug {
        json.known("\"debug\":").raw("true");
    }
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

fn put_annotations(json: &mut Json, span: &SpanRef<'_>) {
    json.known("\"annotations\":").open_array();
    for event in span.events() {
        if json.is_full() {
            break;
        }
        // Zipkin refuses a whole request for one annotation without a time, so it takes its span's; an absent time is
        // no time at the epoch.
        let times = [event.time_unix_nano, span.start_unix_nano].map(|nanos| nanos / 1_000);
        let Some(micros) = times.into_iter().find(|&micros| micros > 0) else {
            continue;
        };
        json.element();
        json.open_object();
        json.known("\"timestamp\":").number(micros);
        put_event(json.known("\"value\":"), event);
        json.close_object();
    }
    json.close_array();
}

/// An event's name, with its attributes behind it when it has some, both as JSON.
fn put_event(json: &mut Json, event: EventRef<'_>) {
    if event.attributes.clone().next().is_none() {
        json.string(event.name);
        return;
    }
    let mut text = json.nested();
    text.string(event.name);
    text.raw(": ");
    put_object(&mut text, event.attributes);
    json.quoted(&text);
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
