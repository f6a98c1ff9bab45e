//! Spans as the bytes of an `ExportTraceServiceRequest` (opentelemetry-proto, `trace.proto`), straight from their
//! records: no span is built twice to be written once.
//!
//! Fields stand in the order of their numbers and those that are empty are left out, so the bytes are those that
//! generated code would write.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::protobuf::{Expect, bytes_field, fixed32_field, fixed64_field, message, varint_field};
use crate::context::{TraceParent, TraceState};
use crate::digits::octet;
use crate::trace::convert;
use crate::trace::record::{SharedText, SpanKind, SpanRecord};
use crate::trace::shown::{self, SecretNames, Shown};

/// A buffer that grew beyond this is not kept for the next batch, in bytes: a batch of 512 ordinary spans has
/// a quarter of it.
const MAX_KEPT: usize = 1 << 20;

/// Writes batches for one resource, one after the other.
#[derive(Debug)]
pub(super) struct Encoder {
    /// `ResourceSpans.resource`, which every batch begins with.
    resource: Vec<u8>,
    /// `ScopeSpans.scope`.
    scope: Vec<u8>,
    secret: SecretNames,
    /// What the last batch was written into.
    spare: Vec<u8>,
}

impl Encoder {
    pub(super) fn new(resource: &[(String, String)]) -> Self {
        Self {
            resource: resource_field(resource),
            scope: scope_field(),
            secret: SecretNames::default(),
            spare: Vec::new(),
        }
    }

    /// One request of all the records; they stay whole, for a batch that could not be sent is written again.
    pub(super) fn request<'a>(&mut self, records: impl Iterator<Item = &'a SpanRecord>) -> Bytes {
        let mut out = std::mem::take(&mut self.spare);
        out.clear();
        message(&mut out, field::RESOURCE_SPANS, Expect::Long, |out| {
            out.extend_from_slice(&self.resource);
            message(out, field::SCOPE_SPANS, Expect::Long, |out| {
                out.extend_from_slice(&self.scope);
                for record in records {
                    message(out, field::SPANS, Expect::Medium, |out| {
                        span(out, record, &mut self.secret);
                    });
                }
            });
        });
        Bytes::from(out)
    }

    /// Takes a request back that was sent, for its memory.
    pub(super) fn recycle(&mut self, request: Bytes) {
        // The client may hold it still, when it did not answer in time.
        if request.is_unique() {
            let buffer = Vec::from(request);
            if buffer.capacity() <= MAX_KEPT {
                self.spare = buffer;
            }
        }
    }
}

/// Field numbers, by message.
mod field {
    // ExportTraceServiceRequest, ResourceSpans, ScopeSpans
    pub(super) const RESOURCE_SPANS: u32 = 1;
    pub(super) const RESOURCE: u32 = 1;
    pub(super) const SCOPE_SPANS: u32 = 2;
    pub(super) const SCOPE: u32 = 1;
    pub(super) const SPANS: u32 = 2;
    // Resource, InstrumentationScope
    pub(super) const RESOURCE_ATTRIBUTES: u32 = 1;
    pub(super) const SCOPE_NAME: u32 = 1;
    pub(super) const SCOPE_VERSION: u32 = 2;
    // Span
    pub(super) const TRACE_ID: u32 = 1;
    pub(super) const SPAN_ID: u32 = 2;
    pub(super) const TRACE_STATE: u32 = 3;
    pub(super) const PARENT_SPAN_ID: u32 = 4;
    pub(super) const NAME: u32 = 5;
    pub(super) const KIND: u32 = 6;
    pub(super) const START: u32 = 7;
    pub(super) const END: u32 = 8;
    pub(super) const ATTRIBUTES: u32 = 9;
    pub(super) const LINKS: u32 = 13;
    pub(super) const STATUS: u32 = 15;
    pub(super) const FLAGS: u32 = 16;
    // Span.Link, whose ids have the same numbers as the span's
    pub(super) const LINK_FLAGS: u32 = 6;
    // Status
    pub(super) const STATUS_MESSAGE: u32 = 2;
    pub(super) const STATUS_CODE: u32 = 3;
    // KeyValue
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
    // AnyValue, ArrayValue
    pub(super) const STRING: u32 = 1;
    pub(super) const BOOL: u32 = 2;
    pub(super) const INT: u32 = 3;
    pub(super) const DOUBLE: u32 = 4;
    pub(super) const ARRAY: u32 = 5;
    pub(super) const ARRAY_VALUES: u32 = 1;
}

/// `SpanFlags`: it is known whether a parent, or a linked span, is another process's.
const KNOWN_IF_REMOTE: u32 = 0x100;
const REMOTE: u32 = 0x200;

/// `Status.StatusCode`.
const STATUS_ERROR: u64 = 2;

fn span(out: &mut Vec<u8>, record: &SpanRecord, secret: &mut SecretNames) {
    let context = &record.context;
    bytes_field(out, field::TRACE_ID, &context.trace_id.to_bytes());
    bytes_field(out, field::SPAN_ID, &record.span_id.to_bytes());
    if let Some(state) = &context.trace_state {
        trace_state(out, state);
    }
    if let Some(parent) = record.parent {
        bytes_field(out, field::PARENT_SPAN_ID, &parent.to_bytes());
    }
    text_field(out, field::NAME, name(&record.name));
    varint_field(out, field::KIND, kind(record.kind));
    let end = record.start.checked_add(record.duration);
    time(out, field::START, record.start);
    time(out, field::END, end.unwrap_or(record.start));
    shown::attributes(record, secret, &mut |name, shown| {
        message(out, field::ATTRIBUTES, Expect::Short, |out| {
            attribute(out, name, shown);
        });
    });
    if let Some(linked) = &record.link {
        message(out, field::LINKS, Expect::Short, |out| link(out, linked));
    }
    message(out, field::STATUS, Expect::Short, |out| {
        if let Some(description) = shown::error(record) {
            text_field(out, field::STATUS_MESSAGE, &description);
            varint_field(out, field::STATUS_CODE, STATUS_ERROR);
        }
    });
    let flags = u32::from(context.trace_flags()) | remote(record.parent_is_remote);
    fixed32_field(out, field::FLAGS, flags);
}

fn link(out: &mut Vec<u8>, to: &TraceParent) {
    bytes_field(out, field::TRACE_ID, &to.trace_id.to_bytes());
    bytes_field(out, field::SPAN_ID, &to.span_id.to_bytes());
    let flags = u32::from(to.flags) | remote(true);
    fixed32_field(out, field::LINK_FLAGS, flags);
}

fn remote(remote: bool) -> u32 {
    KNOWN_IF_REMOTE | if remote { REMOTE } else { 0 }
}

fn trace_state(out: &mut Vec<u8>, state: &TraceState) {
    text_field(out, field::TRACE_STATE, &convert::exported_state(state));
}

fn name(name: &SharedText) -> &str {
    match name {
        SharedText::Static(name) => name,
        SharedText::Shared(name) => name,
        SharedText::Owned(name) => name,
    }
}

/// `Span.SpanKind`.
fn kind(kind: SpanKind) -> u64 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
    }
}

/// In nanoseconds since 1970, which they are until 2554; before it, 0.
fn time(out: &mut Vec<u8>, field: u32, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let whole = since.as_secs().wrapping_mul(1_000_000_000);
    let nanos = whole.wrapping_add(u64::from(since.subsec_nanos()));
    if nanos != 0 {
        fixed64_field(out, field, nanos);
    }
}

fn attribute(out: &mut Vec<u8>, name: &str, shown: Shown<'_>) {
    text_field(out, field::KEY, name);
    message(out, field::VALUE, Expect::Short, |out| value(out, shown));
}

/// One of `AnyValue`'s kinds: written also when it is empty, for that tells which it is.
fn value(out: &mut Vec<u8>, shown: Shown<'_>) {
    match shown {
        Shown::Text(text) => bytes_field(out, field::STRING, text.as_bytes()),
        Shown::Texts(texts) => message(out, field::ARRAY, Expect::Short, |out| {
            for text in texts {
                message(out, field::ARRAY_VALUES, Expect::Short, |out| {
                    bytes_field(out, field::STRING, text.as_bytes());
                });
            }
        }),
        Shown::Address(address) => message(out, field::STRING, Expect::Short, |out| {
            push_address(out, address);
        }),
        Shown::Int(number) => varint_field(out, field::INT, number.cast_unsigned()),
        Shown::Float(number) => fixed64_field(out, field::DOUBLE, number.to_bits()),
        Shown::Bool(flag) => varint_field(out, field::BOOL, u64::from(flag)),
    }
}

fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for number in address.octets() {
                let (text, len) = octet(number);
                // All four bytes, and back again: cheaper than a copy whose length is not known.
                out.extend_from_slice(&text);
                out.truncate(out.len() - text.len() + len + 1);
            }
            out.pop();
        }
        IpAddr::V6(address) => out.extend_from_slice(address.to_string().as_bytes()),
    }
}

/// A text of its own, which is left out when it is empty.
fn text_field(out: &mut Vec<u8>, field: u32, text: &str) {
    if !text.is_empty() {
        bytes_field(out, field, text.as_bytes());
    }
}

fn resource_field(attributes: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, field::RESOURCE, Expect::Medium, |out| {
        for (at, (name, text)) in attributes.iter().enumerate() {
            // Attributes have one value each; of several that an operator gave, the last one counts.
            if attributes.iter().skip(at + 1).any(|later| later.0 == *name) {
                continue;
            }
            message(out, field::RESOURCE_ATTRIBUTES, Expect::Short, |out| {
                attribute(out, name, resource_value(name, text));
            });
        }
    });
    out
}

/// All values are text but for the one that the conventions have as a number.
pub(in crate::trace) fn resource_value<'a>(name: &str, text: &'a str) -> Shown<'a> {
    match text.parse() {
        Ok(number) if name == "process.pid" => Shown::Int(number),
        _ => Shown::Text(text.into()),
    }
}

fn scope_field() -> Vec<u8> {
    let scope = convert::scope();
    let mut out = Vec::new();
    message(&mut out, field::SCOPE, Expect::Short, |out| {
        text_field(out, field::SCOPE_NAME, scope.name());
        let version = scope.version().unwrap_or_default();
        text_field(out, field::SCOPE_VERSION, version);
    });
    out
}

#[cfg(test)]
mod tests;
