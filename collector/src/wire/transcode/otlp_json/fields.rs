//! The names of OTLP's longer messages in JSON, as the numbers of their fields. Used by the files beside it.

use crate::wire::transcode::json_reader::{JsonReader, JsonResult};

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

/// `LogRecord` (logs.proto).
pub(super) fn log_record_field(name: &str) -> Option<u32> {
    Some(match name {
        "timeUnixNano" | "time_unix_nano" => 1,
        "severityNumber" | "severity_number" => 2,
        "severityText" | "severity_text" => 3,
        "body" => 5,
        "attributes" => 6,
        "droppedAttributesCount" | "dropped_attributes_count" => 7,
        "flags" => 8,
        "traceId" | "trace_id" => 9,
        "spanId" | "span_id" => 10,
        "observedTimeUnixNano" | "observed_time_unix_nano" => 11,
        "eventName" | "event_name" => 12,
        _ => return None,
    })
}

/// `Metric` (metrics.proto).
pub(super) fn metric_field(name: &str) -> Option<u32> {
    Some(match name {
        "name" => 1,
        "description" => 2,
        "unit" => 3,
        "gauge" => 5,
        "sum" => 7,
        "histogram" => 9,
        "exponentialHistogram" | "exponential_histogram" => 10,
        "summary" => 11,
        "metadata" => 12,
        _ => return None,
    })
}

/// `NumberDataPoint` (metrics.proto).
pub(super) fn number_point_field(name: &str) -> Option<u32> {
    Some(match name {
        "startTimeUnixNano" | "start_time_unix_nano" => 2,
        "timeUnixNano" | "time_unix_nano" => 3,
        "asDouble" | "as_double" => 4,
        "exemplars" => 5,
        "asInt" | "as_int" => 6,
        "attributes" => 7,
        "flags" => 8,
        _ => return None,
    })
}

/// `Exemplar` (metrics.proto).
pub(super) fn exemplar_field(name: &str) -> Option<u32> {
    Some(match name {
        "timeUnixNano" | "time_unix_nano" => 2,
        "asDouble" | "as_double" => 3,
        "spanId" | "span_id" => 4,
        "traceId" | "trace_id" => 5,
        "asInt" | "as_int" => 6,
        "filteredAttributes" | "filtered_attributes" => 7,
        _ => return None,
    })
}

/// `HistogramDataPoint` (metrics.proto).
pub(super) fn histogram_point_field(name: &str) -> Option<u32> {
    Some(match name {
        "startTimeUnixNano" | "start_time_unix_nano" => 2,
        "timeUnixNano" | "time_unix_nano" => 3,
        "count" => 4,
        "sum" => 5,
        "bucketCounts" | "bucket_counts" => 6,
        "explicitBounds" | "explicit_bounds" => 7,
        "exemplars" => 8,
        "attributes" => 9,
        "flags" => 10,
        "min" => 11,
        "max" => 12,
        _ => return None,
    })
}

/// `ExponentialHistogramDataPoint` (metrics.proto).
pub(super) fn exponential_point_field(name: &str) -> Option<u32> {
    Some(match name {
        "attributes" => 1,
        "startTimeUnixNano" | "start_time_unix_nano" => 2,
        "timeUnixNano" | "time_unix_nano" => 3,
        "count" => 4,
        "sum" => 5,
        "scale" => 6,
        "zeroCount" | "zero_count" => 7,
        "positive" => 8,
        "negative" => 9,
        "flags" => 10,
        "exemplars" => 11,
        "min" => 12,
        "max" => 13,
        "zeroThreshold" | "zero_threshold" => 14,
        _ => return None,
    })
}

/// `SummaryDataPoint` (metrics.proto).
pub(super) fn summary_point_field(name: &str) -> Option<u32> {
    Some(match name {
        "startTimeUnixNano" | "start_time_unix_nano" => 2,
        "timeUnixNano" | "time_unix_nano" => 3,
        "count" => 4,
        "sum" => 5,
        "quantileValues" | "quantile_values" => 6,
        "attributes" => 7,
        "flags" => 8,
        _ => return None,
    })
}
