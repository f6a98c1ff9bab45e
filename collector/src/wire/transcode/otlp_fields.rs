//! The names of OTLP's longer messages in JSON, as the numbers of their fields. Used by `otlp_json`.

use super::json_reader::{JsonReader, JsonResult};

/// The numbers of the fields that were read.
#[derive(Default)]
pub(super) struct Seen(u32);

impl Seen {
    /// # Errors
    /// When `field` was read before.
    #[inline]
    pub(super) fn first(&mut self, field: u32, json: &JsonReader<'_>) -> JsonResult<()> {
        let bit = 1 << (field & 31);
        if self.0 & bit != 0 {
            return Err(json.fault("a member that stands twice in its object"));
        }
        self.0 |= bit;
        Ok(())
    }

    /// Whether one was read.
    pub(super) fn any(&self) -> bool {
        self.0 != 0
    }
}

/// `Span` (trace.proto).
pub(super) fn span_field(name: &str) -> Option<u32> {
    Some(match name {
        "traceId" => 1,
        "spanId" => 2,
        "traceState" => 3,
        "parentSpanId" => 4,
        "name" => 5,
        "kind" => 6,
        "startTimeUnixNano" => 7,
        "endTimeUnixNano" => 8,
        "attributes" => 9,
        "droppedAttributesCount" => 10,
        "events" => 11,
        "droppedEventsCount" => 12,
        "links" => 13,
        "droppedLinksCount" => 14,
        "status" => 15,
        "flags" => 16,
        _ => return original_span_field(name),
    })
}

/// The names as in the .proto file, which ProtoJSON has readers accept.
#[cold]
fn original_span_field(name: &str) -> Option<u32> {
    Some(match name {
        "trace_id" => 1,
        "span_id" => 2,
        "trace_state" => 3,
        "parent_span_id" => 4,
        "start_time_unix_nano" => 7,
        "end_time_unix_nano" => 8,
        "dropped_attributes_count" => 10,
        "dropped_events_count" => 12,
        "dropped_links_count" => 14,
        _ => return None,
    })
}

/// `AnyValue` (common.proto).
#[inline]
pub(super) fn value_field(name: &str) -> Option<u32> {
    Some(match name {
        "stringValue" | "string_value" => 1,
        "boolValue" | "bool_value" => 2,
        "intValue" | "int_value" => 3,
        "doubleValue" | "double_value" => 4,
        "arrayValue" | "array_value" => 5,
        "kvlistValue" | "kvlist_value" => 6,
        "bytesValue" | "bytes_value" => 7,
        _ => return None,
    })
}
