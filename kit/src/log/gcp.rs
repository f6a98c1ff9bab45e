//! The `gcp` format: Cloud Logging's structured form, as its agents and serverless platforms read it from
//! stdout ("Structured logging", special fields of JSON payloads). Called through `format`.
//!
//! The special fields become parts of the log entry; what is left, a user's fields among it, is its
//! `jsonPayload`. A panic's line is one that Error Reporting takes up ("Format errors in logs").

use tracing::Level;

use super::clock::Clock;
use super::format::{Head, Ids, Location};
use super::json::{MAX_NAME_BYTES, own_field, own_object, request_id, text};
use super::key::NameSet;
use super::panic_line::PanicLine;
use super::request_line::{Received, RequestLine};
use super::service::{Service, WrittenService};
use super::value::Value;

/// The keys that lines have, and those that readers of this form take to mean something else than a field.
const RESERVED: NameSet = NameSet::new(&[
    "severity",
    "time",
    "message",
    "target",
    "serviceContext",
    "logging.googleapis.com/trace",
    "logging.googleapis.com/spanId",
    "logging.googleapis.com/trace_sampled",
    "request_id",
    "logging.googleapis.com/sourceLocation",
    "httpRequest",
    "@type",
    "stack_trace",
    // Other names of the time, and what would make entries one, or part of an operation.
    "timestamp",
    "timestampSeconds",
    "timestampNanos",
    "logging.googleapis.com/insertId",
    "logging.googleapis.com/labels",
    "logging.googleapis.com/operation",
]);

/// What `httpRequest` of a closing line says.
const IN_HTTP_REQUEST: NameSet = NameSet::new(&[
    "http.request.method",
    "url.path",
    "http.response.status_code",
    "http.server.request.duration",
    "http.response.body.size",
    "client.address",
    "user_agent.original",
]);

/// Makes Error Reporting take an entry up that has no stack trace in a form that it knows.
const REPORTED_ERROR: &str =
    "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent";

pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(name)
}

pub(super) fn says_otherwise(name: &str) -> bool {
    IN_HTTP_REQUEST.contains(name)
}

/// With the project, trace ids are the resource names by which Cloud Trace finds them; without it they are
/// the ids alone, which Cloud Logging keeps and finds but does not link.
pub(super) fn service(service: &Service<'_>) -> WrittenService {
    let mut written = WrittenService {
        service: b"\"".to_vec(),
        before_trace: b",\"logging.googleapis.com/trace\":\"".to_vec(),
    };
    let version = service.attribute(&["service.version"]).map(Value::Text);
    let members = [
        ("service", Some(Value::Text(service.name))),
        ("version", version),
    ];
    own_object(&mut written.service, "serviceContext", &members);
    if let Some(project) = service.project {
        let before = &mut written.before_trace;
        before.extend_from_slice(b"projects/");
        let end = before.len() + MAX_NAME_BYTES;
        text(before, &Value::Text(project), end);
        before.extend_from_slice(b"/traces/");
    }
    written
}

pub(super) fn before_message(out: &mut Vec<u8>, clock: &mut Clock, head: &Head<'_>) {
    out.extend_from_slice(b"{\"severity\":\"");
    out.extend_from_slice(severity(head));
    out.extend_from_slice(b"\",\"time\":\"");
    clock.write_nanos(out, head.at);
    out.extend_from_slice(b"\",\"message\":\"");
}

pub(super) fn behind_message(out: &mut Vec<u8>, service: &WrittenService, head: &Head<'_>) {
    out.extend_from_slice(b"\",\"target\":\"");
    text(out, &Value::Text(head.target), out.len() + MAX_NAME_BYTES);
    out.extend_from_slice(&service.service);
    if let Some(ids) = head.ids {
        push_ids(out, &service.before_trace, ids);
    }
    if let Some(location) = head.message.location() {
        push_location(out, &location);
    }
}

/// `LogSeverity`; a panic is graver than an error, of which a service logs many that it survives by design.
fn severity(head: &Head<'_>) -> &'static [u8] {
    match head.level {
        _ if head.message.is_panic() => b"CRITICAL",
        Level::ERROR => b"ERROR",
        Level::WARN => b"WARNING",
        Level::INFO => b"INFO",
        Level::DEBUG | Level::TRACE => b"DEBUG",
    }
}

fn push_ids(out: &mut Vec<u8>, before_trace: &[u8], ids: Ids<'_>) {
    out.extend_from_slice(before_trace);
    out.extend_from_slice(&ids.context.trace_id.to_hex());
    out.extend_from_slice(b"\",\"logging.googleapis.com/spanId\":\"");
    out.extend_from_slice(&ids.span_id.to_hex());
    out.push(b'"');
    let sampled = Value::Bool(ids.context.sampled());
    own_field(out, "logging.googleapis.com/trace_sampled", &sampled);
    out.extend_from_slice(b",\"request_id\":\"");
    request_id(out, &ids.context.request_id);
    out.push(b'"');
}

/// `LogEntrySourceLocation`, whose line is a string. The module stands for the function, which nobody knows.
fn push_location(out: &mut Vec<u8>, location: &Location<'_>) {
    let mut digits = itoa::Buffer::new();
    let line = location.line.map(|line| digits.format(line));
    own_object(
        out,
        "logging.googleapis.com/sourceLocation",
        &[
            ("file", Some(Value::Text(location.file))),
            ("line", line.map(Value::Text)),
            ("function", location.module.map(Value::Text)),
        ],
    );
}

/// `HttpRequest`. The URL is the path alone: whom the caller asked is not known to be true, and queries are
/// not told.
pub(super) fn request(out: &mut Vec<u8>, line: &RequestLine<'_>) {
    let mut digits = itoa::Buffer::new();
    // A string, as protobuf's JSON mapping has integers of 64 bits.
    let size = digits.format(line.response_body_size);
    let (seconds, nanos) = (line.duration.as_secs(), line.duration.subsec_nanos());
    own_object(
        out,
        "httpRequest",
        &[
            ("requestMethod", Some(Value::Text(line.method))),
            ("requestUrl", line.path.text().map(Value::Text)),
            (
                "status",
                line.status.map(|status| Value::U64(status.into())),
            ),
            ("responseSize", Some(Value::Text(size))),
            (
                "userAgent",
                line.user_agent.and_then(Received::text).map(Value::Text),
            ),
            ("remoteIp", line.client_address.map(Value::Address)),
            (
                "latency",
                Some(Value::Debug(&format_args!("{seconds}.{nanos:09}s"))),
            ),
            ("protocol", line.protocol().map(Value::Text)),
        ],
    );
}

/// `ReportedErrorEvent`; of the fields that Error Reporting reads `stack_trace` comes first.
pub(super) fn panic(out: &mut Vec<u8>, line: &PanicLine<'_>) {
    own_field(out, "@type", &Value::Text(REPORTED_ERROR));
    if let Some(trace) = line.stack_trace() {
        own_field(out, "stack_trace", &Value::Debug(&trace));
    }
}
