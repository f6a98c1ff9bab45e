//! What the readers of `gcp` and `ecs` lines document, as tables, and the check of a line against them.

use serde_json::Value as Json;

use crate::log::Format;

/// What a documented field must be.
type Check = fn(&Json) -> bool;

/// Special fields of Cloud Logging's structured form, with type and format.
///
/// Sources, all of the documentation of Google Cloud: "Cloud Logging: Structured logging" (/logging/docs/
/// structured-logging, special JSON fields), "LogEntry", "HttpRequest" and "LogEntrySourceLocation" of the Logging
/// API v2 reference, "Error Reporting: Format errors in logs" (/error-reporting/docs/formatting-error-messages).
const GCP: [(&str, Check); 12] = [
    ("severity", |value| {
        let severities = "DEFAULT DEBUG INFO NOTICE WARNING ERROR CRITICAL ALERT EMERGENCY";
        text(value).is_some_and(|text| severities.split(' ').any(|known| known == text))
    }),
    ("time", is_time),
    ("message", Json::is_string),
    ("httpRequest", |value| obeys(value, &HTTP_REQUEST)),
    ("logging.googleapis.com/trace", |value| {
        let id = text(value).and_then(|text| text.strip_prefix("projects/shop-prod/traces/"));
        id.is_some_and(|id| is_hex(id, 32))
    }),
    ("logging.googleapis.com/spanId", |value| {
        text(value).is_some_and(|id| is_hex(id, 16))
    }),
    ("logging.googleapis.com/trace_sampled", Json::is_boolean),
    ("logging.googleapis.com/sourceLocation", |value| {
        obeys(
            value,
            &[
                ("file", Json::is_string),
                ("line", is_int64),
                ("function", Json::is_string),
            ],
        )
    }),
    ("serviceContext", |value| {
        let members: [(&str, Check); 2] =
            [("service", Json::is_string), ("version", Json::is_string)];
        obeys(value, &members) && value["service"] == "checkout"
    }),
    ("@type", |value| {
        value
            == "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
    }),
    ("stack_trace", Json::is_string),
    // Not special: what every line of the kit has besides.
    ("target", Json::is_string),
];

const HTTP_REQUEST: [(&str, Check); 15] = [
    ("requestMethod", Json::is_string),
    ("requestUrl", Json::is_string),
    ("requestSize", is_int64),
    ("status", |value| {
        value
            .as_u64()
            .is_some_and(|status| (100..600).contains(&status))
    }),
    ("responseSize", is_int64),
    ("userAgent", Json::is_string),
    ("remoteIp", is_ip),
    ("serverIp", is_ip),
    ("referer", Json::is_string),
    // `google.protobuf.Duration`: seconds with none, three, six or nine digits behind the point, and an `s`.
    ("latency", |value| {
        let seconds = text(value).and_then(|text| text.strip_suffix('s'));
        let parts = seconds.and_then(|seconds| seconds.split_once('.'));
        parts.is_some_and(|(whole, nanos)| is_digits(whole) && is_digits(nanos) && nanos.len() == 9)
    }),
    ("cacheLookup", Json::is_boolean),
    ("cacheHit", Json::is_boolean),
    ("cacheValidatedWithOriginServer", Json::is_boolean),
    ("cacheFillBytes", is_int64),
    ("protocol", |value| {
        ["HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3"]
            .iter()
            .any(|known| value == known)
    }),
];

/// Fields of Elastic Common Schema 8.11 (field reference) that a line may have, with their types. `keyword`
/// and `text` are strings, `long` is a whole number of 64 bits, `ip` an address.
///
/// The first four, and their order, and the dotted key of the second are demanded by the ECS logging
/// specification, version 1 (elastic/ecs-logging, spec/spec.json).
const ECS: [(&str, Check); 31] = [
    ("@timestamp", is_time),
    ("log.level", |value| {
        ["error", "warn", "info", "debug", "trace"]
            .iter()
            .any(|known| value == known)
    }),
    ("message", Json::is_string),
    ("ecs.version", |value| value == "8.11.0"),
    ("log.logger", Json::is_string),
    ("log.origin.file.name", Json::is_string),
    ("log.origin.file.line", Json::is_u64),
    ("service.name", |value| value == "checkout"),
    ("service.version", |value| value == "1.2.3"),
    ("service.environment", |value| value == "production"),
    ("service.node.name", |value| value == "checkout-7"),
    ("event.dataset", |value| value == "checkout.log"),
    ("event.duration", Json::is_u64),
    ("event.outcome", |value| {
        ["success", "failure", "unknown"]
            .iter()
            .any(|known| value == known)
    }),
    ("trace.id", |value| {
        text(value).is_some_and(|id| is_hex(id, 32))
    }),
    ("transaction.id", |value| {
        text(value).is_some_and(|id| is_hex(id, 16))
    }),
    ("span.id", |value| {
        text(value).is_some_and(|id| is_hex(id, 16))
    }),
    ("http.request.id", Json::is_string),
    ("http.request.method", Json::is_string),
    ("http.response.status_code", Json::is_u64),
    ("http.response.body.bytes", Json::is_u64),
    ("http.version", |value| {
        text(value).is_some_and(|text| !text.starts_with("HTTP"))
    }),
    ("url.path", Json::is_string),
    ("client.address", Json::is_string),
    ("client.ip", is_ip),
    ("user_agent.original", Json::is_string),
    ("error.type", Json::is_string),
    ("error.message", Json::is_string),
    ("error.stack_trace", Json::is_string),
    ("process.thread.name", Json::is_string),
    ("process.thread.id", Json::is_u64),
];

/// What every event has, and every line within a request besides.
const GCP_ALWAYS: [&str; 5] = ["severity", "time", "message", "target", "serviceContext"];
const GCP_IN_REQUEST: [&str; 4] = [
    "logging.googleapis.com/trace",
    "logging.googleapis.com/spanId",
    "logging.googleapis.com/trace_sampled",
    "request_id",
];
const ECS_ALWAYS: [&str; 7] = [
    "@timestamp",
    "log.level",
    "message",
    "ecs.version",
    "log.logger",
    "service.name",
    "event.dataset",
];
const ECS_IN_REQUEST: [&str; 4] = ["trace.id", "transaction.id", "span.id", "http.request.id"];

fn text(value: &Json) -> Option<&str> {
    value.as_str()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `int64`, which JSON has as a string.
fn is_int64(value: &Json) -> bool {
    text(value).is_some_and(|text| text.parse::<i64>().is_ok())
}

fn is_ip(value: &Json) -> bool {
    text(value).is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok())
}

/// RFC 3339 in UTC, with nanoseconds.
fn is_time(value: &Json) -> bool {
    let like = "0000-00-00T00:00:00.000000000Z";
    text(value).is_some_and(|text| {
        let zeros = text.replace(|c: char| c.is_ascii_digit(), "0");
        zeros == like
    })
}

/// Every member is documented and is what it must be.
fn obeys(object: &Json, schema: &[(&str, Check)]) -> bool {
    let Some(object) = object.as_object() else {
        return false;
    };
    object.iter().all(|(name, value)| {
        let documented = schema.iter().find(|(known, _)| known == name);
        documented.is_some_and(|(_, check)| check(value))
    })
}

/// Checks a line against a schema; `free` are the fields that are the user's or the kit's and no schema's.
pub(super) fn check_line(format: Format, line: &str, in_request: bool, free: &[&str]) -> Json {
    let line: Json = serde_json::from_str(line).unwrap();
    let (schema, always, with_ids): (&[(&str, Check)], &[&str], _) = match format {
        Format::Gcp => (&GCP, &GCP_ALWAYS, GCP_IN_REQUEST),
        _ => (&ECS, &ECS_ALWAYS, ECS_IN_REQUEST),
    };
    for name in always {
        assert!(
            line.get(name).is_some(),
            "{format:?}: no {name} in {line:#}"
        );
    }
    for name in with_ids {
        assert_eq!(
            line.get(name).is_some(),
            in_request,
            "{format:?}: {name} in {line:#}"
        );
    }
    for (name, value) in line.as_object().unwrap() {
        let documented = schema.iter().find(|(known, _)| known == name);
        match documented {
            Some((_, check)) => assert!(check(value), "{format:?}: {name} in {line:#}"),
            None if name == "request_id" => assert!(value.is_string()),
            None => assert!(free.contains(&&**name), "{format:?}: {name} in {line:#}"),
        }
    }
    line
}
