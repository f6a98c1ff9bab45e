//! The `ecs` format: Elastic Common Schema, as the ECS logging specification wants it on stdout. Called through
//! `format`.
//!
//! Keys are dotted, which Elasticsearch reads as objects within each other. A user's field of the name of
//! one of the schema's field sets (`user`, `event`) would make the whole document clash with the mapping and
//! be refused, so such names are reserved as well.

use tracing::Level;

use super::clock::Clock;
use super::format::{Head, Ids};
use super::json::{MAX_NAME_BYTES, own_field, request_id, text};
use super::key::NameSet;
use super::request_line::RequestLine;
use super::service::{Service, WrittenService};
use super::value::Value;
use crate::http::Outcome;

/// What stands between the message and the target: the version of the schema whose fields these are.
const MESSAGE_TO_TARGET: &[u8] = b"\",\"ecs.version\":\"8.11.0\",\"log.logger\":\"";

/// The keys that lines have, then the field sets of the schema, which are objects.
const RESERVED: NameSet = NameSet::new(&[
    "@timestamp",
    "log.level",
    "message",
    "ecs.version",
    "log.logger",
    "log.origin",
    "log.origin.file",
    "log.origin.file.name",
    "log.origin.file.line",
    "service.name",
    "service.version",
    "service.environment",
    "service.node",
    "service.node.name",
    "event.dataset",
    "trace.id",
    "transaction.id",
    "span.id",
    "http.request.id",
    // Field sets; `error` alone is of use as a field, see `own_name`.
    "agent",
    "client",
    "cloud",
    "container",
    "data_stream",
    "destination",
    "device",
    "dll",
    "dns",
    "ecs",
    "email",
    "event",
    "faas",
    "file",
    "group",
    "host",
    "http",
    "labels",
    "log",
    "network",
    "observer",
    "orchestrator",
    "organization",
    "package",
    "process",
    "registry",
    "related",
    "rule",
    "server",
    "service",
    "source",
    "span",
    "threat",
    "tls",
    "trace",
    "transaction",
    "url",
    "user",
    "user_agent",
    "volume",
    "vulnerability",
]);

pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(name)
}

/// The schema's name for what OpenTelemetry, or the habit of `tracing`'s users, calls by another.
pub(super) fn own_name(name: &'static str) -> &'static str {
    match name {
        "error" | "exception.message" => "error.message",
        "exception.type" => "error.type",
        "exception.stacktrace" => "error.stack_trace",
        "http.request.body.size" => "http.request.body.bytes",
        "http.response.body.size" => "http.response.body.bytes",
        "thread.name" => "process.thread.name",
        _ => name,
    }
}

/// Durations are nanoseconds in `event.duration`.
pub(super) fn says_otherwise(name: &str) -> bool {
    name == "http.server.request.duration"
}

pub(super) fn service(service: &Service<'_>) -> WrittenService {
    let mut written = b"\"".to_vec();
    own_field(&mut written, "service.name", &Value::Text(service.name));
    for (name, attributes) in [
        ("service.version", &["service.version"][..]),
        // The second was the attribute's name before it became stable.
        (
            "service.environment",
            &["deployment.environment.name", "deployment.environment"],
        ),
        ("service.node.name", &["service.instance.id"]),
    ] {
        if let Some(value) = service.attribute(attributes) {
            own_field(&mut written, name, &Value::Text(value));
        }
    }
    let dataset = format_args!("{}.log", service.name);
    own_field(&mut written, "event.dataset", &Value::Debug(&dataset));
    WrittenService {
        service: written,
        before_trace: Vec::new(),
    }
}

pub(super) fn before_message(out: &mut Vec<u8>, clock: &mut Clock, head: &Head<'_>) {
    out.extend_from_slice(b"{\"@timestamp\":\"");
    clock.write_nanos(out, head.at);
    out.extend_from_slice(b"\",\"log.level\":\"");
    out.extend_from_slice(level(head.level));
    out.extend_from_slice(b"\",\"message\":\"");
}

pub(super) fn behind_message(out: &mut Vec<u8>, service: &WrittenService, head: &Head<'_>) {
    out.extend_from_slice(MESSAGE_TO_TARGET);
    text(out, &Value::Text(head.target), out.len() + MAX_NAME_BYTES);
    out.extend_from_slice(&service.service);
    if let Some(ids) = head.ids {
        push_ids(out, ids);
    }
    if let Some(location) = head.message.location() {
        own_field(out, "log.origin.file.name", &Value::Text(location.file));
        if let Some(line) = location.line {
            own_field(out, "log.origin.file.line", &Value::U64(line.into()));
        }
    }
}

fn level(level: Level) -> &'static [u8] {
    match level {
        Level::ERROR => b"error",
        Level::WARN => b"warn",
        Level::INFO => b"info",
        Level::DEBUG => b"debug",
        Level::TRACE => b"trace",
    }
}

/// A transaction is what Elastic calls the span of a request's server.
fn push_ids(out: &mut Vec<u8>, ids: Ids<'_>) {
    out.extend_from_slice(b",\"trace.id\":\"");
    out.extend_from_slice(&ids.context.trace_id.to_hex());
    out.extend_from_slice(b"\",\"transaction.id\":\"");
    out.extend_from_slice(&ids.context.span_id.to_hex());
    out.extend_from_slice(b"\",\"span.id\":\"");
    out.extend_from_slice(&ids.span_id.to_hex());
    out.extend_from_slice(b"\",\"http.request.id\":\"");
    request_id(out, &ids.context.request_id);
    out.push(b'"');
}

/// What the schema has for a request besides the fields that every format has.
pub(super) fn request(out: &mut Vec<u8>, line: &RequestLine<'_>) {
    let nanos = u64::try_from(line.duration.as_nanos()).unwrap_or(u64::MAX);
    own_field(out, "event.duration", &Value::U64(nanos));
    own_field(out, "event.outcome", &Value::Text(outcome(line.outcome)));
    if let Some(protocol) = line.protocol() {
        let version = protocol.trim_start_matches("HTTP/");
        own_field(out, "http.version", &Value::Text(version));
    }
    if let Some(address) = line.client_address {
        own_field(out, "client.ip", &Value::Address(address));
    }
    if let Some(error) = line.error_type {
        own_field(out, "error.type", &Value::Text(error));
    }
}

/// `event.outcome`: how it went for the service. Whether a caller that hung up got what it wanted, nobody knows.
fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok | Outcome::Upgraded => "success",
        Outcome::ClientGone => "unknown",
        Outcome::Error
        | Outcome::Timeout
        | Outcome::Panic
        | Outcome::BodyError
        | Outcome::Rejected => "failure",
    }
}
