//! The server span of a settled exchange, by the stable HTTP semantic conventions. Only of sampled requests; its
//! attributes are made by the thread that exports them, of what was known of the request.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use ::http::Version;

use super::exchange::{Ended, Known};
use super::{Outcome, text};
use crate::trace::{
    Attributed, SpanAttributes, SpanKind, SpanName, SpanRecord, SpanStatus, TakeAttribute, ValueRef,
};

pub(super) fn record(mut known: Box<Known>, ended: Ended, duration: Duration) -> SpanRecord {
    let status = status(known.error.take(), ended.error_type);
    let name = name(&known, &ended);
    known.ended = Some(ended);
    SpanRecord {
        context: Arc::clone(&known.context),
        span_id: known.context.span_id,
        parent: known.parent,
        parent_is_remote: known.parent.is_some(),
        link: known.link.take(),
        kind: SpanKind::Server,
        name,
        start: known.started_at,
        duration,
        attributes: SpanAttributes::Of(known),
        status,
    }
}

fn name(known: &Known, ended: &Ended) -> SpanName {
    match (&ended.told, &known.route) {
        (Some(told), _) => told.span_name(),
        (None, Some(route)) => route.span_name(known.method),
        (None, None) => SpanName::Static(known.method.span_name()),
    }
}

/// An error only where this side failed (HTTP semantic conventions, "Status"); a plain 5xx says itself what
/// it is and gets no text.
fn status(error: Option<String>, error_type: Option<&'static str>) -> SpanStatus {
    if error_type.is_none() {
        return SpanStatus::Unset;
    }
    SpanStatus::Error(match error {
        Some(error) => Cow::Owned(text::clip(&error).to_owned()),
        None => Cow::Borrowed(""),
    })
}

impl Attributed for Known {
    fn each(&self, put: &mut TakeAttribute<'_>) {
        let texts = &self.texts;
        if let Some(version) = protocol_version(self.version) {
            put("network.protocol.version", ValueRef::Word(version));
        }
        let ended = self.ended.as_ref();
        match ended.and_then(|ended| ended.told.as_ref()) {
            Some(told) => told.put_attributes(texts.path(), self.status, put),
            None => self.put_http_attributes(put),
        }
        if let Some(agent) = texts.user_agent() {
            put("user_agent.original", ValueRef::Bytes(agent));
        }
        let request_id = self.context.request_id.as_str();
        put("bellwether.request_id", ValueRef::Text(request_id));
        if let Some(error_type) = ended.and_then(|ended| ended.error_type) {
            put("error.type", ValueRef::Word(error_type));
        }
        if let Some(ended) = ended.filter(|ended| ended.outcome != Outcome::Ok) {
            put("bellwether.outcome", ValueRef::Word(ended.outcome.as_str()));
        }
        if let Some(method) = texts.method_original() {
            put("http.request.method_original", ValueRef::Bytes(method));
        }
        if let Some((address, port)) = texts.server_address() {
            put("server.address", ValueRef::Bytes(address));
            if let Some(port) = port {
                put("server.port", ValueRef::Int(port.into()));
            }
        }
        if let Some(address) = self.caller.address {
            put("client.address", ValueRef::Address(address));
        }
        for shown in &self.shown {
            shown.put_attribute(put);
        }
    }
}

impl Known {
    fn put_http_attributes(&self, put: &mut TakeAttribute<'_>) {
        put("http.request.method", ValueRef::Word(self.method.as_str()));
        put("url.scheme", ValueRef::Word(self.scheme));
        put("url.path", ValueRef::Text(self.texts.path()));
        if let Some(route) = &self.route {
            put("http.route", ValueRef::Text(route.path()));
        }
        if let Some(status) = self.status {
            let status = status.as_u16().into();
            put("http.response.status_code", ValueRef::Int(status));
        }
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
