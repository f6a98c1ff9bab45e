//! Counts the log records or data points of a request in one pass over its bytes, and checks what the walk of traces
//! checks: framing down to the fields of each item, wire types, the UTF-8 and the ids that stand there. What is inside an
//! item (attributes, bodies, exemplars) is stepped over whole. Called by `intake`.

use super::WireError;
use super::reader::{Reader, wire_type};

/// Log records in `request`, an `ExportLogsServiceRequest` (logs_service.proto, logs.proto).
///
/// # Errors
/// The first fault found.
pub fn count_log_records(request: &[u8]) -> Result<u64, WireError> {
    let mut records = 0;
    items(request, |mut record| {
        LOG_RECORD.walk(&mut record, |field, content| match field {
            9 => id_length(content, records, "trace_id", 16),
            10 => id_length(content, records, "span_id", 8),
            _ => Ok(()),
        })?;
        records += 1;
        Ok(())
    })?;
    Ok(records)
}

/// Data points in `request`, an `ExportMetricsServiceRequest` (metrics_service.proto, metrics.proto).
///
/// # Errors
/// The first fault found.
pub fn count_data_points(request: &[u8]) -> Result<u64, WireError> {
    let mut points = 0;
    items(request, |mut metric| {
        METRIC.walk(&mut metric, |field, mut data| {
            let Some((data_shape, point_shape)) = data_shapes(field) else {
                return Ok(());
            };
            data_shape.walk(&mut data, |_, mut point| {
                points += 1;
                point_shape.walk(&mut point, |_, _| Ok(()))
            })
        })
    })?;
    Ok(points)
}

/// Calls `visit` for each message in the scopes of `request`: all requests are lists of resources, each with a list of
/// scopes, each with a list of items.
fn items<'a>(
    request: &'a [u8],
    mut visit: impl FnMut(Reader<'a>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    REQUEST.walk(&mut Reader::new(request), |_, mut resource| {
        GROUP.walk(&mut resource, |field, mut scope| match field {
            2 => GROUP.walk(&mut scope, |field, item| match field {
                2 => visit(item),
                _ => Ok(()),
            }),
            _ => Ok(()),
        })
    })
}

fn id_length(
    id: Reader<'_>,
    record: u64,
    field: &'static str,
    expected: usize,
) -> Result<(), WireError> {
    match id.rest().len() {
        0 => Ok(()),
        length if length == expected => Ok(()),
        length => Err(WireError::RecordIdLength {
            record,
            field,
            length,
            expected,
        }),
    }
}

/// The fields of a message by what they are, as sets of their numbers; one in several may be any of them.
#[derive(Clone, Copy)]
struct Shape {
    varint: u32,
    fixed64: u32,
    fixed32: u32,
    /// Messages, lists of numbers without tags, and bytes.
    content: u32,
    text: u32,
    /// The name of the fields in `text`, for faults.
    text_is: &'static str,
}

/// The set of some fields.
const fn set(fields: &[u32]) -> u32 {
    match fields {
        [] => 0,
        [first, rest @ ..] => 1 << *first | set(rest),
    }
}

const NOTHING: Shape = Shape {
    varint: 0,
    fixed64: 0,
    fixed32: 0,
    content: 0,
    text: 0,
    text_is: "text",
};

const REQUEST: Shape = Shape {
    content: set(&[1]),
    ..NOTHING
};

/// `ResourceLogs`, `ScopeLogs`, `ResourceMetrics`, `ScopeMetrics`: resource or scope, list, schema URL.
const GROUP: Shape = Shape {
    content: set(&[1, 2]),
    text: set(&[3]),
    text_is: "schema_url",
    ..NOTHING
};

const LOG_RECORD: Shape = Shape {
    varint: set(&[2, 7]),
    fixed64: set(&[1, 11]),
    fixed32: set(&[8]),
    content: set(&[5, 6, 9, 10]),
    text: set(&[3, 12]),
    text_is: "a log record's severity_text or event_name",
};

const METRIC: Shape = Shape {
    content: set(&[5, 7, 9, 10, 11, 12]),
    text: set(&[1, 2, 3]),
    text_is: "a metric's name, description or unit",
    ..NOTHING
};

/// What is in a field of `Metric`, and what its data points are.
fn data_shapes(field: u32) -> Option<(&'static Shape, &'static Shape)> {
    Some(match field {
        5 => (&GAUGE, &NUMBER_POINT),
        7 => (&SUM, &NUMBER_POINT),
        9 => (&HISTOGRAM, &HISTOGRAM_POINT),
        10 => (&HISTOGRAM, &EXPONENTIAL_POINT),
        11 => (&GAUGE, &SUMMARY_POINT),
        _ => return None,
    })
}

/// `Gauge` and `Summary`.
const GAUGE: Shape = Shape {
    content: set(&[1]),
    ..NOTHING
};

const SUM: Shape = Shape {
    varint: set(&[2, 3]),
    ..GAUGE
};

/// `Histogram` and `ExponentialHistogram`.
const HISTOGRAM: Shape = Shape {
    varint: set(&[2]),
    ..GAUGE
};

const NUMBER_POINT: Shape = Shape {
    varint: set(&[8]),
    fixed64: set(&[2, 3, 4, 6]),
    content: set(&[5, 7]),
    ..NOTHING
};

const HISTOGRAM_POINT: Shape = Shape {
    varint: set(&[10]),
    fixed64: set(&[2, 3, 4, 5, 6, 7, 11, 12]),
    content: set(&[6, 7, 8, 9]),
    ..NOTHING
};

const EXPONENTIAL_POINT: Shape = Shape {
    varint: set(&[6, 10]),
    fixed64: set(&[2, 3, 4, 5, 7, 12, 13, 14]),
    content: set(&[1, 8, 9, 11]),
    ..NOTHING
};

const SUMMARY_POINT: Shape = Shape {
    varint: set(&[8]),
    fixed64: set(&[2, 3, 4, 5]),
    content: set(&[6, 7]),
    ..NOTHING
};

impl Shape {
    /// Goes through the fields of a message and calls `visit` for those with content. Fields that are not of this shape
    /// are unknown and skipped, whatever they are.
    fn walk<'a>(
        &self,
        reader: &mut Reader<'a>,
        mut visit: impl FnMut(u32, Reader<'a>) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        while let Some(tag) = reader.tag()? {
            let field = tag >> 3;
            let is_in = |fields: u32| field < u32::BITS && fields >> field & 1 == 1;
            match tag & 7 {
                wire_type::LEN if is_in(self.content) => visit(field, reader.message()?)?,
                wire_type::LEN if is_in(self.text) => drop(reader.text(self.text_is)?),
                wire_type::VARINT if is_in(self.varint) => reader.skip_varint()?,
                wire_type::FIXED64 if is_in(self.fixed64) => drop(reader.fixed64()?),
                wire_type::FIXED32 if is_in(self.fixed32) => reader.skip_fixed32()?,
                _ if is_in(self.known()) => {
                    let at = reader.position();
                    return Err(WireError::WireType { field, at });
                }
                _ => reader.skip_unknown(tag, 0)?,
            }
        }
        Ok(())
    }

    fn known(&self) -> u32 {
        self.varint | self.fixed64 | self.fixed32 | self.content | self.text
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::wire::any_request::{any_logs, any_metrics, data_points};
    use crate::wire::oracle::counts;
    use crate::wire::test_support::field;

    fn log_records(request: &ExportLogsServiceRequest) -> u64 {
        let scopes = request.resource_logs.iter().flat_map(|r| &r.scope_logs);
        scopes.map(|scope| scope.log_records.len() as u64).sum()
    }

    proptest! {
        #[test]
        fn items_are_counted_as_prost_reads_them(logs in any_logs(), metrics in any_metrics()) {
            prop_assert_eq!(count_log_records(&logs.encode_to_vec()), Ok(log_records(&logs)));
            prop_assert_eq!(count_data_points(&metrics.encode_to_vec()), Ok(data_points(&metrics)));
        }

        /// A change is often in what is stepped over.
        #[test]
        fn a_changed_request_is_taken_and_counted_as_prost_does(
            logs in any_logs(),
            metrics in any_metrics(),
            at: prop::sample::Index,
            bit in 0..8_u32,
        ) {
            let changed = |mut bytes: Vec<u8>| {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] ^= 1 << bit;
                }
                bytes
            };
            counts::check_any_logs(&changed(logs.encode_to_vec()));
            counts::check_any_metrics(&changed(metrics.encode_to_vec()));
        }

        #[test]
        fn any_bytes_end(bytes in any::<Vec<u8>>()) {
            counts::check_any_logs(&bytes);
            counts::check_any_metrics(&bytes);
        }
    }

    /// A log record inside its groups.
    fn log(record: &[u8]) -> Vec<u8> {
        field(1, &field(2, &field(2, record)))
    }

    /// A data point of the kind that is `data` in its metric, inside its groups.
    fn point(data: u32, point: &[u8]) -> Vec<u8> {
        log(&field(data, &field(1, point)))
    }

    #[test]
    fn every_field_in_every_wire_type_is_taken_or_refused_as_prost_does() {
        let values: [(u8, &[u8]); 4] = [(0, &[0]), (1, &[0; 8]), (2, &[0]), (5, &[0; 4])];
        for number in 1..16_u8 {
            for (wire_type, value) in values {
                let one = [&[number << 3 | wire_type], value].concat();
                for request in [one.clone(), field(1, &one), field(1, &field(2, &one))] {
                    counts::check_any_logs(&request);
                    counts::check_any_metrics(&request);
                }
                counts::check_any_logs(&log(&one));
                counts::check_any_metrics(&log(&one));
                for data in [5, 7, 9, 10, 11] {
                    counts::check_any_metrics(&log(&field(data, &one)));
                    counts::check_any_metrics(&point(data, &one));
                }
            }
        }
    }

    #[test]
    fn faults_are_named() {
        let check = |counted: Result<u64, WireError>, part: &str| {
            let text = counted.unwrap_err().to_string();
            assert!(text.contains(part), "`{text}` lacks `{part}`");
        };
        let mut cut = log(&field(3, b"INFO"));
        cut.pop();
        check(count_log_records(&cut), "truncated");
        check(count_log_records(b"logs"), "invalid protobuf");
        check(count_log_records(&log(&field(3, b"\xff"))), "severity_text");
        check(
            count_log_records(&log(&[2 << 3 | 1])),
            "field 2 before byte",
        );
        let ids = [log(&field(9, &[1; 16])), log(&field(9, &[1; 15]))].concat();
        let text = "log record 1 (counted from 0) has a trace_id of 15 bytes instead of 16";
        check(count_log_records(&ids), text);
        check(
            count_log_records(&log(&field(10, &[1; 9]))),
            "span_id of 9 bytes",
        );
        check(
            count_data_points(&log(&field(1, b"\xff"))),
            "a metric's name",
        );
        check(
            count_data_points(&point(5, &[4 << 3, 7])),
            "field 4 before byte",
        );
        check(count_data_points(&log(&[5 << 3, 1])), "field 5 before byte");
    }

    #[test]
    fn every_kind_of_data_point_is_counted_and_what_is_unknown_is_not() {
        for data in [5, 7, 9, 10, 11] {
            assert_eq!(count_data_points(&point(data, &[])), Ok(1), "field {data}");
        }
        // Metadata, reserved numbers and those of a later version.
        for other in [4, 6, 8, 12, 13, 40, 2_000] {
            assert_eq!(
                count_data_points(&point(other, &[])),
                Ok(0),
                "field {other}"
            );
        }
        assert_eq!(count_log_records(&log(&[])), Ok(1));
        // Lists of numbers may come with a tag for each.
        let bounds = [7 << 3 | 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(count_data_points(&point(9, &bounds)), Ok(1));
        assert_eq!(count_data_points(&point(9, &field(7, &[0; 16]))), Ok(1));
    }
}
