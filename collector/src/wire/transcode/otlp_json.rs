//! OTLP/JSON to OTLP protobuf (opentelemetry.io, OTLP specification, "JSON Protobuf Encoding"): ProtoJSON with ids in hex
//! and enums as numbers. Unknown members are ignored, null is absence, names come in camel case or as in the .proto
//! files, and a member that stands twice is a fault, for one of the two would be lost.

use super::base64_value::bytes_value;
use super::ids::{hex_id, not_hex};
use super::json_reader::{JsonError, JsonReader, JsonResult};
use super::otlp_fields::{Seen, span_field, value_field};
use super::proto_writer::{Expected, ProtoWriter};
use super::{TranscodeError, copy_text, copy_value, utf8};

/// Deepest nesting of lists and maps in an attribute. A map in a map is three messages, and readers of protobuf
/// commonly stop at 100: deeper ones could not be sent on.
pub(super) const MAX_NESTING: usize = 30;

/// The largest bytes that [`otlp_json`] makes of a body of `length` bytes.
///
/// No larger, as every member's name, quotes, colon and comma outweigh its tag and length, and no value is longer in
/// protobuf than in JSON: hex and base64 shrink, numbers take at most as many bytes as their shortest member has
/// characters. The exception is a list of texts alone (`idKeys`), where a text of 16 KiB or more takes one byte more.
pub fn most_otlp_json(length: usize) -> usize {
    length + length / 16_384
}

/// The bytes of the `ExportTraceServiceRequest` that `body` is.
///
/// # Errors
/// The first fault, with its place.
pub fn otlp_json(body: &[u8]) -> Result<Vec<u8>, TranscodeError> {
    let text = utf8(body)?;
    let limit = most_otlp_json(body.len());
    let mut request = Request {
        out: ProtoWriter::new(limit, limit),
        spans: 0,
    };
    let mut json = JsonReader::new(text);
    request
        .request(&mut json)
        .and_then(|()| json.end())
        .map_err(|error| TranscodeError::json(text, request.spans, error))?;
    if request.out.has_overflowed() {
        return Err(TranscodeError::TooLarge { limit });
    }
    Ok(request.out.into_bytes())
}

type Json<'a> = JsonReader<'a>;

/// A request under way. Each method reads one message, whose fields' numbers are those of the .proto files.
struct Request {
    out: ProtoWriter,
    /// Spans read so far.
    spans: usize,
}

impl Request {
    /// `ExportTraceServiceRequest`.
    fn request(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| match &*name {
            "resourceSpans" | "resource_spans" => {
                seen.first(1, json)?;
                self.messages(json, 1, Expected::Large, Self::resource_spans)
            }
            _ => json.skip(),
        })
    }

    fn resource_spans(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| match &*name {
            "resource" => {
                seen.first(1, json)?;
                self.message(json, 1, Expected::Medium, Self::resource)
            }
            "scopeSpans" | "scope_spans" => {
                seen.first(2, json)?;
                self.messages(json, 2, Expected::Large, Self::scope_spans)
            }
            "schemaUrl" | "schema_url" => {
                seen.first(3, json)?;
                self.text(json, 3)
            }
            _ => json.skip(),
        })
    }

    fn resource(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| match &*name {
            "attributes" => {
                seen.first(1, json)?;
                self.attributes(json, 1, 0)
            }
            "droppedAttributesCount" | "dropped_attributes_count" => {
                seen.first(2, json)?;
                self.count(json, 2)
            }
            "entityRefs" | "entity_refs" => {
                seen.first(3, json)?;
                self.messages(json, 3, Expected::Small, Self::entity_ref)
            }
            _ => json.skip(),
        })
    }

    /// `EntityRef` (common.proto).
    fn entity_ref(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| {
            let number = match &*name {
                "schemaUrl" | "schema_url" => 1,
                "type" => 2,
                "idKeys" | "id_keys" => 3,
                "descriptionKeys" | "description_keys" => 4,
                _ => return json.skip(),
            };
            seen.first(number, json)?;
            if number <= 2 {
                return self.text(json, number);
            }
            json.array(|json| copy_value(json, &mut self.out, number))
        })
    }

    fn scope_spans(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| match &*name {
            "scope" => {
                seen.first(1, json)?;
                self.message(json, 1, Expected::Small, Self::scope)
            }
            "spans" => {
                seen.first(2, json)?;
                self.messages(json, 2, Expected::Medium, Self::span)
            }
            "schemaUrl" | "schema_url" => {
                seen.first(3, json)?;
                self.text(json, 3)
            }
            _ => json.skip(),
        })
    }

    /// `InstrumentationScope`.
    fn scope(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| {
            let number = match &*name {
                "name" => 1,
                "version" => 2,
                "attributes" => 3,
                "droppedAttributesCount" | "dropped_attributes_count" => 4,
                _ => return json.skip(),
            };
            seen.first(number, json)?;
            match number {
                1 | 2 => self.text(json, number),
                3 => self.attributes(json, 3, 0),
                _ => self.count(json, number),
            }
        })
    }

    fn span(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| {
            let Some(number) = span_field(&name) else {
                return json.skip();
            };
            seen.first(number, json)?;
            match number {
                1 => self.id::<16>(json, 1, "traceId"),
                2 => self.id::<8>(json, 2, "spanId"),
                3 | 5 => self.text(json, number),
                4 => self.id::<8>(json, 4, "parentSpanId"),
                6 => self.enumeration(json, 6, "kind"),
                7 | 8 => self.time(json, number),
                9 => self.attributes(json, 9, 0),
                11 => self.messages(json, 11, Expected::Small, Self::event),
                13 => self.messages(json, 13, Expected::Small, Self::link),
                15 => self.message(json, 15, Expected::Small, Self::status),
                16 => self.flags(json, 16),
                _ => self.count(json, number),
            }
        })?;
        self.spans += 1;
        Ok(())
    }

    /// `Span.Event`.
    fn event(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| {
            let number = match &*name {
                "timeUnixNano" | "time_unix_nano" => 1,
                "name" => 2,
                "attributes" => 3,
                "droppedAttributesCount" | "dropped_attributes_count" => 4,
                _ => return json.skip(),
            };
            seen.first(number, json)?;
            match number {
                1 => self.time(json, 1),
                2 => self.text(json, 2),
                3 => self.attributes(json, 3, 0),
                _ => self.count(json, number),
            }
        })
    }

    /// `Span.Link`.
    fn link(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| {
            let number = match &*name {
                "traceId" | "trace_id" => 1,
                "spanId" | "span_id" => 2,
                "traceState" | "trace_state" => 3,
                "attributes" => 4,
                "droppedAttributesCount" | "dropped_attributes_count" => 5,
                "flags" => 6,
                _ => return json.skip(),
            };
            seen.first(number, json)?;
            match number {
                1 => self.id::<16>(json, 1, "traceId"),
                2 => self.id::<8>(json, 2, "spanId"),
                3 => self.text(json, 3),
                4 => self.attributes(json, 4, 0),
                6 => self.flags(json, 6),
                _ => self.count(json, number),
            }
        })
    }

    fn status(&mut self, json: &mut Json<'_>) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| match &*name {
            "message" => {
                seen.first(2, json)?;
                self.text(json, 2)
            }
            "code" => {
                seen.first(3, json)?;
                self.enumeration(json, 3, "code")
            }
            _ => json.skip(),
        })
    }

    /// A list of `KeyValue`s, inside `depth` lists and maps.
    fn attributes(&mut self, json: &mut Json<'_>, field: u32, depth: usize) -> JsonResult<()> {
        self.messages(json, field, Expected::Small, |this, json| {
            this.key_value(json, depth)
        })
    }

    fn key_value(&mut self, json: &mut Json<'_>, depth: usize) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| match &*name {
            "key" => {
                seen.first(1, json)?;
                self.text(json, 1)
            }
            "value" => {
                seen.first(2, json)?;
                self.message(json, 2, Expected::Small, |this, json| {
                    this.any_value(json, depth)
                })
            }
            _ => json.skip(),
        })
    }

    /// `AnyValue`: one of its members, which is written even when it is empty.
    fn any_value(&mut self, json: &mut Json<'_>, depth: usize) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| {
            let Some(number) = value_field(&name) else {
                return json.skip();
            };
            if seen.any() {
                return Err(json.fault("a value that has a second value"));
            }
            seen.first(number, json)?;
            match number {
                1 => return copy_value(json, &mut self.out, 1),
                2 => {
                    let value = json.boolean()?;
                    self.out.varint(2, u64::from(value));
                }
                3 => {
                    let value: i64 = json.integer()?;
                    self.out.varint(3, value.cast_unsigned());
                }
                4 => {
                    let value = json.double()?;
                    self.out.fixed64(4, value.to_bits());
                }
                7 => return bytes_value(json, &mut self.out, 7),
                _ if depth == MAX_NESTING => {
                    let reason = format!("an attribute nested deeper than {MAX_NESTING}");
                    return Err(json.fault(reason));
                }
                _ => self.message(json, number, Expected::Small, |this, json| {
                    this.list(json, number == 6, depth + 1)
                })?,
            }
            Ok(())
        })
    }

    /// `ArrayValue`, or `KeyValueList` when it `is_map`: they differ in what their `values` are.
    fn list(&mut self, json: &mut Json<'_>, is_map: bool, depth: usize) -> JsonResult<()> {
        let mut seen = Seen::default();
        json.object(|json, name| match &*name {
            "values" => {
                seen.first(1, json)?;
                if is_map {
                    self.attributes(json, 1, depth)
                } else {
                    self.messages(json, 1, Expected::Small, |this, json| {
                        this.any_value(json, depth)
                    })
                }
            }
            _ => json.skip(),
        })
    }

    #[inline]
    fn message(
        &mut self,
        json: &mut Json<'_>,
        field: u32,
        expected: Expected,
        mut content: impl FnMut(&mut Self, &mut Json<'_>) -> JsonResult<()>,
    ) -> JsonResult<()> {
        let open = self.out.open(field, expected);
        content(self, json)?;
        self.out.close(open);
        Ok(())
    }

    #[inline]
    fn messages(
        &mut self,
        json: &mut Json<'_>,
        field: u32,
        expected: Expected,
        mut content: impl FnMut(&mut Self, &mut Json<'_>) -> JsonResult<()>,
    ) -> JsonResult<()> {
        json.array(|json| self.message(json, field, expected, &mut content))
    }

    #[inline]
    fn text(&mut self, json: &mut Json<'_>, field: u32) -> JsonResult<()> {
        copy_text(json, &mut self.out, field)
    }

    /// `uint32`.
    fn count(&mut self, json: &mut Json<'_>, field: u32) -> JsonResult<()> {
        let count: u32 = json.integer()?;
        self.out.number(field, u64::from(count));
        Ok(())
    }

    /// `fixed32`.
    fn flags(&mut self, json: &mut Json<'_>, field: u32) -> JsonResult<()> {
        let flags: u32 = json.integer()?;
        if flags != 0 {
            self.out.fixed32(field, flags);
        }
        Ok(())
    }

    /// `fixed64`.
    fn time(&mut self, json: &mut Json<'_>, field: u32) -> JsonResult<()> {
        let nanos: u64 = json.integer()?;
        if nanos != 0 {
            self.out.fixed64(field, nanos);
        }
        Ok(())
    }

    /// The specification allows numbers only, and no enum of OTLP has negative ones.
    fn enumeration(&mut self, json: &mut Json<'_>, field: u32, name: &str) -> JsonResult<()> {
        if json.peek() == Some(b'"') {
            let reason = format!("`{name}` is a text; OTLP/JSON has the enum's number there");
            return Err(json.fault(reason));
        }
        let number: i32 = json.integer()?;
        let number = u64::try_from(number)
            .map_err(|_| json.fault(format!("`{name}` is {number}; no such number is defined")))?;
        self.out.number(field, number);
        Ok(())
    }

    /// Hex digits in any case; an empty text is no id.
    fn id<const N: usize>(
        &mut self,
        json: &mut Json<'_>,
        field: u32,
        name: &str,
    ) -> JsonResult<()> {
        let at = json.position();
        let text = json.string()?;
        if text.is_empty() {
            return Ok(());
        }
        let Some(id) = hex_id::<N>(&text) else {
            let reason = not_hex(&text, name, N).into();
            return Err(JsonError { at, reason });
        };
        self.out.bytes(field, &id);
        Ok(())
    }
}
