//! The server span of a settled exchange, by the stable HTTP semantic conventions. Built only for sampled
//! requests.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use ::http::Version;

use super::exchange::Exchange;
use super::host::split_host_port;
use super::text::{MAX_TEXT, TextPacker};
use super::{Outcome, text};
use crate::trace::{Attribute, SharedText, SpanKind, SpanName, SpanRecord, SpanStatus, Value};

pub(super) fn record(exchange: &Exchange, outcome: Outcome, duration: Duration) -> SpanRecord {
    let method = exchange.method;
    let name = match &exchange.route {
        Some(route) => route.span_name(method),
        None => SpanName::Static(method.span_name()),
    };
    SpanRecord {
        context: Arc::clone(&exchange.context),
        span_id: exchange.context.span_id,
        parent: exchange.parent,
        parent_is_remote: exchange.parent.is_some(),
        kind: SpanKind::Server,
        name,
        start: exchange.started_at,
        duration,
        attributes: attributes(exchange, outcome),
        status: status(exchange, outcome),
    }
}

/// As many as there can be.
const MAX_ATTRIBUTES: usize = 14;

fn attributes(exchange: &Exchange, outcome: Outcome) -> Vec<Attribute> {
    let mut attributes = Vec::with_capacity(MAX_ATTRIBUTES);
    let mut texts = TextPacker::with_capacity(text_bytes(exchange));
    let mut put = |key, value| attributes.push((key, value));
    let fixed = |text| Value::Text(SharedText::Static(text));

    put("http.request.method", fixed(exchange.method.as_str()));
    if let Some(original) = &exchange.method_original {
        put(
            "http.request.method_original",
            texts.text(original.as_str()),
        );
    }
    put("url.scheme", fixed(exchange.scheme));
    put("url.path", texts.text(exchange.uri.path()));
    if let Some(route) = &exchange.route {
        let route = Arc::clone(route.path());
        put("http.route", Value::Text(SharedText::Shared(route)));
    }
    if let Some(status) = exchange.status {
        let status = i64::from(status.as_u16());
        put("http.response.status_code", Value::Int(status));
    }
    if let Some((host, port)) = server(exchange) {
        put("server.address", texts.text(host));
        if let Some(port) = port {
            put("server.port", Value::Int(i64::from(port)));
        }
    }
    if let Some(version) = protocol_version(exchange.version) {
        put("network.protocol.version", fixed(version));
    }
    if let Some(address) = exchange.client_address {
        put("client.address", texts.display(address));
    }
    if let Some(agent) = &exchange.user_agent {
        put("user_agent.original", texts.header(agent));
    }
    let request_id = exchange.context.request_id.as_str();
    put("bellwether.request_id", texts.text(request_id));
    if let Some(error_type) = outcome.error_type(exchange.status) {
        put("error.type", fixed(error_type));
    }
    if outcome != Outcome::Ok {
        put("bellwether.outcome", fixed(outcome.as_str()));
    }
    attributes
}

/// Room for the texts above, so that their buffer never grows.
fn text_bytes(exchange: &Exchange) -> usize {
    const ADDRESS: usize = 48;
    let header = |value: &Option<::http::HeaderValue>| {
        value.as_ref().map_or(0, |value| value.len().min(MAX_TEXT))
    };
    let original = exchange.method_original.as_ref();
    let host = exchange
        .uri
        .host()
        .map_or(0, |host| host.len().min(MAX_TEXT));
    original.map_or(0, |method| method.as_str().len().min(MAX_TEXT))
        + exchange.uri.path().len().min(MAX_TEXT)
        + header(&exchange.host).max(host)
        + header(&exchange.user_agent)
        + exchange.context.request_id.as_str().len()
        + ADDRESS
}

/// `server.address` and `server.port`: what the caller asked for.
fn server(exchange: &Exchange) -> Option<(&str, Option<u16>)> {
    let authority = exchange.uri.authority().map(|authority| authority.as_str());
    let host = exchange.host.as_ref().and_then(|host| host.to_str().ok());
    let (host, port) = split_host_port(authority.or(host)?);
    (!host.is_empty()).then_some((host, port))
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
fn status(exchange: &Exchange, outcome: Outcome) -> SpanStatus {
    if outcome.error_type(exchange.status).is_none() {
        return SpanStatus::Unset;
    }
    SpanStatus::Error(match &exchange.error {
        Some(error) => Cow::Owned(text::clip(error).to_owned()),
        None => Cow::Borrowed(""),
    })
}
