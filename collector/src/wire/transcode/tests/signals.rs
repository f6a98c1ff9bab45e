//! Logs and metrics in OTLP/JSON: any request comes back, in every spelling that the specification allows.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric, number_data_point};
use proptest::prelude::*;
use prost::Message;
use serde_json::{Map, Value, json};

use crate::wire::any_request::{any_logs, any_metrics, data_points};
use crate::wire::{
    TranscodeError, count_data_points, count_log_records, most_otlp_json, most_otlp_metrics_json,
    otlp_logs_json, otlp_metrics_json,
};

fn logs_of(body: &[u8]) -> Result<ExportLogsServiceRequest, TranscodeError> {
    let bytes = otlp_logs_json(body)?;
    assert!(bytes.len() <= most_otlp_json(body.len()));
    let request = ExportLogsServiceRequest::decode(&bytes[..]).unwrap();
    let scopes = request.resource_logs.iter().flat_map(|r| &r.scope_logs);
    let records: usize = scopes.map(|scope| scope.log_records.len()).sum();
    assert_eq!(count_log_records(&bytes), Ok(records as u64));
    Ok(request)
}

fn metrics_of(body: &[u8]) -> Result<ExportMetricsServiceRequest, TranscodeError> {
    let bytes = otlp_metrics_json(body, most_otlp_metrics_json(body.len()))?;
    let request = ExportMetricsServiceRequest::decode(&bytes[..]).unwrap();
    assert_eq!(count_data_points(&bytes), Ok(data_points(&request)));
    Ok(request)
}

/// What is in a log record that has these members.
fn record(members: &str) -> Result<LogRecord, TranscodeError> {
    let body = format!(
        "{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{}},{{\n{members}}}]}}]}}]}}"
    );
    let mut request = logs_of(body.as_bytes())?;
    Ok(request.resource_logs[0].scope_logs[0].log_records.remove(1))
}

/// A metric that has these members.
fn metric(members: &str) -> Result<Metric, TranscodeError> {
    let body = format!(
        "{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[{{\n{members}}}]}}]}}]}}"
    );
    let mut request = metrics_of(body.as_bytes())?;
    Ok(request.resource_metrics[0].scope_metrics[0]
        .metrics
        .remove(0))
}

/// The same request as another sender spells it: names as in the .proto files, numbers the other way round, upper-case
/// ids, members of a later version.
fn respelt(value: Value, name: &str) -> Value {
    match value {
        Value::Object(members) => {
            let mut object = Map::new();
            for (name, value) in members {
                let mut spelt = String::new();
                for letter in name.chars() {
                    if letter.is_ascii_uppercase() {
                        spelt.push('_');
                    }
                    spelt.push(letter.to_ascii_lowercase());
                }
                object.insert(spelt, respelt(value, &name));
            }
            object.insert("ofALaterVersion".to_owned(), json!([{"count": "x"}]));
            object.insert("absent".to_owned(), Value::Null);
            Value::Object(object)
        }
        Value::Array(values) => {
            let values = values.into_iter();
            values.map(|value| respelt(value, name)).collect()
        }
        Value::Number(number) if !ENUMS.contains(&name) => Value::String(number.to_string()),
        Value::String(text) if name == "traceId" || name == "spanId" => {
            Value::String(text.to_uppercase())
        }
        Value::String(text) => match text.parse::<u64>() {
            Ok(number) if NUMBERS.contains(&name) => json!(number),
            _ => Value::String(text),
        },
        other => other,
    }
}

const ENUMS: [&str; 2] = ["severityNumber", "aggregationTemporality"];
const NUMBERS: [&str; 8] = [
    "timeUnixNano",
    "startTimeUnixNano",
    "observedTimeUnixNano",
    "count",
    "zeroCount",
    "bucketCounts",
    "intValue",
    "asInt",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_logs_in_any_spelling_come_back(request in any_logs()) {
        let json = serde_json::to_value(&request).unwrap();
        for body in [json.clone(), respelt(json, "")] {
            let read = logs_of(body.to_string().as_bytes()).unwrap();
            prop_assert_eq!(read.encode_to_vec(), request.encode_to_vec());
        }
    }

    #[test]
    fn any_metrics_in_any_spelling_come_back(request in any_metrics()) {
        let json = serde_json::to_value(&request).unwrap();
        for body in [json.clone(), respelt(json, "")] {
            let read = metrics_of(body.to_string().as_bytes()).unwrap();
            prop_assert_eq!(read.encode_to_vec(), request.encode_to_vec());
        }
    }

    #[test]
    fn damaged_bodies_are_refused_or_read(
        logs in any_logs(),
        metrics in any_metrics(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let damaged = |mut body: Vec<u8>| {
            for (at, byte) in &changes {
                *at.get_mut(&mut body) = *byte;
            }
            body.truncate(cut.index(body.len() + 1));
            body
        };
        // What is read is read alike by prost.
        let _ = logs_of(&damaged(serde_json::to_vec(&logs).unwrap()));
        let _ = metrics_of(&damaged(serde_json::to_vec(&metrics).unwrap()));
    }

    #[test]
    fn any_bytes_end(body in any::<Vec<u8>>()) {
        let _ = logs_of(&body);
        let _ = metrics_of(&body);
    }
}

#[test]
fn the_specifications_own_log() {
    // opentelemetry-proto, examples/logs.json, in part.
    let log = record(
        r#""timeUnixNano":"1544712660300000000","observedTimeUnixNano":"1544712660300000000","severityNumber":10,
        "severityText":"Information","traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174",
        "body":{"stringValue":"Example log record"},
        "attributes":[{"key":"map.attribute","value":{"kvlistValue":{"values":[
        {"key":"some.map.key","value":{"stringValue":"some value"}}]}}}]"#,
    )
    .unwrap();
    assert_eq!(log.time_unix_nano, 1_544_712_660_300_000_000);
    assert_eq!(log.severity_number, 10);
    assert_eq!(log.trace_id[..3], [0x5b, 0x8e, 0xff]);
    assert_eq!(log.span_id, 0xeee1_9b7e_c3c1_b174_u64.to_be_bytes());
    assert!(format!("{:?}", log.body).contains("Example log record"));
    assert_eq!(log.attributes[0].key, "map.attribute");
}

#[test]
fn enums_come_as_numbers_or_names() {
    for severity in ["17", "\"SEVERITY_NUMBER_ERROR\""] {
        let log = record(&format!("\"severityNumber\":{severity}")).unwrap();
        assert_eq!(log.severity_number, 17);
    }
    for temporality in ["2", "\"AGGREGATION_TEMPORALITY_CUMULATIVE\""] {
        let sum = metric(&format!(
            "\"sum\":{{\"aggregationTemporality\":{temporality}}}"
        ));
        let Some(metric::Data::Sum(sum)) = sum.unwrap().data else {
            panic!("no sum")
        };
        assert_eq!(sum.aggregation_temporality, 2);
    }
}

#[test]
fn numbers_of_every_kind() {
    let points = |point: &str| {
        let data = metric(&format!("\"gauge\":{{\"dataPoints\":[{point}]}}"));
        let Some(metric::Data::Gauge(gauge)) = data.unwrap().data else {
            panic!("no gauge")
        };
        gauge.data_points[0].value
    };
    let double = |value| Some(number_data_point::Value::AsDouble(value));
    let int = |value| Some(number_data_point::Value::AsInt(value));
    assert_eq!(points(r#"{"asInt":"-9223372036854775808"}"#), int(i64::MIN));
    assert_eq!(points(r#"{"asInt":0}"#), int(0));
    assert_eq!(points(r#"{"asDouble":0}"#), double(0.0));
    assert_eq!(
        points(r#"{"asDouble":"-Infinity"}"#),
        double(f64::NEG_INFINITY)
    );
    assert_eq!(points(r#"{"asDouble":null,"flags":1}"#), None);
    let Some(number_data_point::Value::AsDouble(nan)) = points(r#"{"asDouble":"NaN"}"#) else {
        panic!("no double")
    };
    assert!(nan.is_nan());

    let data = metric(
        r#""exponentialHistogram":{"dataPoints":[{"scale":-3,"sum":0,"zeroThreshold":1e-9,
        "positive":{"offset":-2147483648,"bucketCounts":["18446744073709551615",1,0]},"negative":{"bucketCounts":[]},
        "max":"Infinity"}]}"#,
    );
    let Some(metric::Data::ExponentialHistogram(data)) = data.unwrap().data else {
        panic!("no exponential histogram")
    };
    let point = &data.data_points[0];
    assert_eq!((point.scale, point.sum, point.min), (-3, Some(0.0), None));
    assert_eq!(point.max, Some(f64::INFINITY));
    let positive = Buckets {
        offset: i32::MIN,
        bucket_counts: vec![u64::MAX, 1, 0],
    };
    assert_eq!(point.positive, Some(positive));
    assert_eq!(point.negative, Some(Buckets::default()));
}

#[test]
fn faults_say_what_and_where() {
    let check = |text: String, expected: &str| {
        assert!(text.contains(expected), "`{text}` lacks `{expected}`");
    };
    let log = |members: &str| record(members).unwrap_err().to_string();
    check(
        log(r#""traceId":"abc""#),
        "line 2, column 11 (log record 1, counted from 0): ",
    );
    check(log(r#""spanId":"7uGbfsPBsXM=""#), "looks like base64");
    check(
        log(r#""severityNumber":"LOUD""#),
        "`severityNumber` is `LOUD`; no such name",
    );
    check(log(r#""severityNumber":-1"#), "no such number is defined");
    check(
        log(r#""body":{"intValue":1,"stringValue":"a"}"#),
        "a second value",
    );
    check(log(r#""flags":4294967296"#), "no whole number in the range");
    check(log(r#""body":{},"body":{}"#), "a member that stands twice");
    let points = |members: &str| metric(members).unwrap_err().to_string();
    check(points(r#""gauge":{},"sum":{}"#), "a second kind of data");
    let two = r#""gauge":{"dataPoints":[{},{"asInt":1,"asDouble":1}]}"#;
    check(
        points(two),
        "data point 1, counted from 0): a value that has a second value",
    );
    check(
        points(r#""histogram":{"dataPoints":[{"bucketCounts":[1,-1]}]}"#),
        "`-1` is no whole number",
    );
    check(
        points(r#""histogram":{"dataPoints":[{"explicitBounds":1}]}"#),
        "where an array is expected",
    );
    // What a kind of data has not is unknown there.
    let gauge = metric(r#""gauge":{"isMonotonic":"perhaps","aggregationTemporality":[]}"#);
    assert_eq!(
        gauge.unwrap().data,
        Some(metric::Data::Gauge(Default::default()))
    );
}

#[test]
fn lists_of_small_numbers_grow_within_the_bound() {
    let numbers = "1,".repeat(50_000);
    let list = format!("\"histogram\":{{\"dataPoints\":[{{\"explicitBounds\":[{numbers}2]}}]}}");
    let data = metric(&list).unwrap().data;
    let Some(metric::Data::Histogram(histogram)) = data else {
        panic!("no histogram")
    };
    assert_eq!(histogram.data_points[0].explicit_bounds.len(), 50_001);
    let body =
        format!("{{\"resourceMetrics\":[{{\"scopeMetrics\":[{{\"metrics\":[{{{list}}}]}}]}}]}}");
    let limit = body.len();
    let refused = otlp_metrics_json(body.as_bytes(), limit);
    assert_eq!(refused, Err(TranscodeError::TooLarge { limit }));
}
