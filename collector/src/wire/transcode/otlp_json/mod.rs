//! OTLP/JSON to OTLP protobuf (opentelemetry.io, OTLP specification, "JSON Protobuf Encoding"): ProtoJSON with ids in hex
//! and enums as numbers. Unknown members are ignored, null is absence, names come in camel case or as in the .proto
//! files, and a member that stands twice is a fault, for one of the two would be lost.

mod common;
mod fields;
mod logs;
mod metrics;
mod traces;

use super::json_reader::{JsonReader, JsonResult};
use super::proto_writer::{Expected, ProtoWriter};
use super::{TranscodeError, utf8};
use fields::Seen;

/// Deepest nesting of lists and maps in an attribute. A map in a map is three messages, and readers of protobuf
/// commonly stop at 100: deeper ones could not be sent on.
pub(super) const MAX_NESTING: usize = 30;

/// The largest bytes that [`otlp_json`] and [`otlp_logs_json`] make of a body of `length` bytes.
///
/// No larger, as every member's name, quotes, colon and comma outweigh its tag and length, and no value is longer in
/// protobuf than in JSON: hex and base64 shrink, numbers take at most as many bytes as their shortest member has
/// characters. The exception is a list of texts alone (`idKeys`), where a text of 16 KiB or more takes one byte more.
pub fn most_otlp_json(length: usize) -> usize {
    length + length / 16_384
}

/// The largest bytes that [`otlp_metrics_json`] makes of a body of `length` bytes: a list of numbers may have one digit
/// and a comma for each, and has eight bytes in protobuf.
pub fn most_otlp_metrics_json(length: usize) -> usize {
    most_otlp_json(length).saturating_mul(4)
}

/// The bytes of the `ExportTraceServiceRequest` that `body` is.
///
/// # Errors
/// The first fault, with its place.
pub fn otlp_json(body: &[u8]) -> Result<Vec<u8>, TranscodeError> {
    transcode(body, &traces::LISTS, most_otlp_json(body.len()))
}

/// The bytes of the `ExportLogsServiceRequest` that `body` is.
///
/// # Errors
/// The first fault, with its place.
pub fn otlp_logs_json(body: &[u8]) -> Result<Vec<u8>, TranscodeError> {
    transcode(body, &logs::LISTS, most_otlp_json(body.len()))
}

/// The bytes of the `ExportMetricsServiceRequest` that `body` is, `limit` at most.
///
/// # Errors
/// The first fault, with its place; [`TranscodeError::TooLarge`] for more than `limit`.
pub fn otlp_metrics_json(body: &[u8], limit: usize) -> Result<Vec<u8>, TranscodeError> {
    transcode(body, &metrics::LISTS, limit)
}

fn transcode(body: &[u8], lists: &Lists, limit: usize) -> Result<Vec<u8>, TranscodeError> {
    let text = utf8(body, lists.item)?;
    let mut request = Request {
        out: ProtoWriter::new(limit, limit),
        items: 0,
    };
    let mut json = JsonReader::new(text);
    request
        .request(&mut json, lists)
        .and_then(|()| json.end())
        .map_err(|error| TranscodeError::json(text, (lists.item, request.items), error))?;
    if request.out.has_overflowed() {
        return Err(TranscodeError::TooLarge { limit });
    }
    Ok(request.out.into_bytes())
}

type Json<'a> = JsonReader<'a>;

/// A request under way. Each method reads one message, whose fields' numbers are those of the .proto files.
struct Request {
    out: ProtoWriter,
    /// Spans, log records or data points read so far.
    items: usize,
}

/// What the lists of a signal's request are called, in camel case and as in the .proto files; all are lists of
/// resources, each with a list of scopes, each with a list.
struct Lists {
    /// One of what is counted.
    item: &'static str,
    /// `resource_spans`.
    resources: [&'static str; 2],
    /// `scope_spans`.
    scopes: [&'static str; 2],
    /// `spans`.
    elements: [&'static str; 2],
    /// Reads one of them.
    element: fn(&mut Request, &mut Json<'_>) -> JsonResult<()>,
}

impl Request {
    /// `ExportTraceServiceRequest` and its like.
    fn request(&mut self, json: &mut Json<'_>, lists: &Lists) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| {
            if !lists.resources.contains(&&*name) {
                return json.skip();
            }
            seen.first(1, json)?;
            self.messages(json, 1, Expected::Large, |this, json| {
                this.of_resource(json, lists)
            })
        })
    }

    /// `ResourceSpans` and its like.
    fn of_resource(&mut self, json: &mut Json<'_>, lists: &Lists) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| match &*name {
            "resource" => {
                seen.first(1, json)?;
                self.message(json, 1, Expected::Medium, Self::resource)
            }
            "schemaUrl" | "schema_url" => {
                seen.first(3, json)?;
                self.text(json, 3)
            }
            name if lists.scopes.contains(&name) => {
                seen.first(2, json)?;
                self.messages(json, 2, Expected::Large, |this, json| {
                    this.of_scope(json, lists)
                })
            }
            _ => json.skip(),
        })
    }

    /// `ScopeSpans` and its like.
    fn of_scope(&mut self, json: &mut Json<'_>, lists: &Lists) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| match &*name {
            "scope" => {
                seen.first(1, json)?;
                self.message(json, 1, Expected::Small, Self::scope)
            }
            "schemaUrl" | "schema_url" => {
                seen.first(3, json)?;
                self.text(json, 3)
            }
            name if lists.elements.contains(&name) => {
                seen.first(2, json)?;
                self.messages(json, 2, Expected::Medium, lists.element)
            }
            _ => json.skip(),
        })
    }
}
