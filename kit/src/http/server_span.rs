//! The server span of a settled exchange, by the stable HTTP semantic conventions. Built only for sampled
//! requests.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use ::http::Version;
use bytes::Bytes;

use super::allowed::Shown;
use super::exchange::Exchange;
use super::grpc::Told;
use super::{Outcome, text};
use crate::trace::{Attribute, SharedText, SpanKind, SpanName, SpanRecord, SpanStatus, Value};

/// `rpc` when the request was a gRPC call.
pub(super) fn record(
    exchange: &Exchange,
    outcome: Outcome,
    duration: Duration,
    rpc: Option<&Told>,
) -> SpanRecord {
    let method = exchange.method;
    let name = match (rpc, &exchange.route) {
        (Some(rpc), _) => rpc.span_name(),
        (None, Some(route)) => route.span_name(method),
        (None, None) => SpanName::Static(method.span_name()),
    };
    let error_type = exchange.error_type(outcome, rpc);
    SpanRecord {
        context: Arc::clone(&exchange.context),
        span_id: exchange.context.span_id,
        parent: exchange.parent,
        parent_is_remote: exchange.parent.is_some(),
        link: exchange.link.clone(),
        kind: SpanKind::Server,
        name,
        start: exchange.started_at,
        duration,
        attributes: attributes(exchange, outcome, error_type, rpc),
        fields: None,
        status: status(exchange, error_type),
    }
}

/// As many as there can be, but for what operators allow beyond.
const MAX_ATTRIBUTES: usize = 14;

fn attributes(
    exchange: &Exchange,
    outcome: Outcome,
    error_type: Option<&'static str>,
    rpc: Option<&Told>,
) -> Vec<Attribute> {
    let mut attributes = Vec::with_capacity(MAX_ATTRIBUTES);
    let mut put = |key, value| attributes.push((key, value));
    let fixed = |text| Value::Text(SharedText::Static(text));
    let texts = exchange.texts.share();

    if let Some(version) = protocol_version(exchange.version) {
        put("network.protocol.version", fixed(version));
    }
    match rpc {
        Some(rpc) => rpc.put_attributes(exchange, &texts.path, &mut put),
        None => put_http_attributes(exchange, texts.path, &mut put),
    }
    if let Some(agent) = texts.user_agent {
        put("user_agent.original", Value::Bytes(agent));
    }
    put("bellwether.request_id", Value::RequestId);
    if let Some(error_type) = error_type {
        put("error.type", fixed(error_type));
    }
    if outcome != Outcome::Ok {
        put("bellwether.outcome", fixed(outcome.as_str()));
    }
    if let Some(method) = texts.method_original {
        put("http.request.method_original", Value::Bytes(method));
    }
    if let Some(address) = texts.server_address {
        put("server.address", Value::Bytes(address));
        if let Some(port) = texts.server_port {
            put("server.port", Value::Int(i64::from(port)));
        }
    }
    if let Some(address) = exchange.client_address() {
        put("client.address", Value::Address(address));
    }
    attributes.extend(exchange.shown.iter().map(Shown::attribute));
    attributes
}

#[inline]
fn put_http_attributes(exchange: &Exchange, path: Bytes, mut put: impl FnMut(&'static str, Value)) {
    let fixed = |text| Value::Text(SharedText::Static(text));
    put("http.request.method", fixed(exchange.method.as_str()));
    put("url.scheme", fixed(exchange.scheme));
    put("url.path", Value::Bytes(path));
    if let Some(route) = &exchange.route {
        let route = Arc::clone(route.path());
        put("http.route", Value::Text(SharedText::Shared(route)));
    }
    if let Some(status) = exchange.status {
        let status = i64::from(status.as_u16());
        put("http.response.status_code", Value::Int(status));
    }
}

fn protocol_version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_09 => Some("0.9"),
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        Version::HTTP_3 => Some("3"),
        _ => None,
    }
}

/// An error only where this side failed (HTTP semantic conventions, "Status"); a plain 5xx says itself what
/// it is and gets no text.
fn status(exchange: &Exchange, error_type: Option<&'static str>) -> SpanStatus {
    if error_type.is_none() {
        return SpanStatus::Unset;
    }
    SpanStatus::Error(match &exchange.error {
        Some(error) => Cow::Owned(text::clip(error).to_owned()),
        None => Cow::Borrowed(""),
    })
}
