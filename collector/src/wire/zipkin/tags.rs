//! The tags of a Zipkin span: its attributes, what else of it has no field in Zipkin's form, and its resource's attributes.
//! Called by `zipkin`.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use super::json::Json;
use super::origin::is_field;
use super::value::{put_object, put_text};
use super::{Rare, cut};
use crate::wire::{AnyValueRef, LinkRef, SpanRef, StatusCode};

/// Most tags of a span: what tells them apart needs memory beside their own bytes.
const MOST_TAGS: usize = 65_536;

/// Most bytes of tags that are a resource's: in Zipkin's form every span repeats them.
const MOST_RESOURCE_BYTES: usize = 32 * 1024;

/// How many of a resource's attributes were left out.
const DROPPED_RESOURCE_ATTRIBUTES: &str = "bellwether.dropped_resource_attributes_count";

/// Writes tags, each key once: Zipkin's tags are a map, and keys that come twice would hide each other.
#[derive(Default)]
pub(super) struct Tags<'a> {
    /// The first [`FEW_TAGS`] keys of the span under way.
    written: Vec<&'a str>,
    /// All of them, once there are more.
    many: HashSet<&'a str, RandomState>,
    /// The `Resource` message that `resource_tags` are of.
    resource: &'a [u8],
    /// Its attributes: keys, and whole members of an object.
    resource_tags: Vec<(&'a str, Vec<u8>)>,
    /// Attributes of it that are no tags, for they would be too many bytes.
    resource_dropped: u64,
}

/// For so many keys looking at each is faster than hashing.
const FEW_TAGS: usize = 32;

impl<'a> Tags<'a> {
    pub(super) fn put(&mut self, json: &mut Json, span: &SpanRef<'a>, rare: &Rare) {
        self.written.clear();
        if !self.many.is_empty() {
            self.many = HashSet::default();
        }
        json.key("tags").open_object();
        self.put_status(json, span);
        for attribute in span.attributes() {
            if json.is_full() {
                break;
            }
            if !is_field(attribute.key) && self.is_new(attribute.key) {
                put_tag(json, attribute.key, attribute.value);
            }
            if self.many.len() > MOST_TAGS {
                json.give_up();
            }
        }
        self.put_text(json, "otel.scope.name", cut(span.scope.name()));
        self.put_text(json, "otel.scope.version", cut(span.scope.version()));
        self.put_text(json, "w3c.tracestate", span.trace_state());
        if rare.links {
            for (number, link) in span.links().enumerate() {
                if json.is_full() {
                    break;
                }
                put_link(json.key(&format!("otlp.link.{number}")), &link);
            }
        }
        self.put_count(
            json,
            "otel.dropped_attributes_count",
            rare.dropped_attributes,
        );
        self.put_count(json, "otel.dropped_events_count", rare.dropped_events);
        self.put_count(json, "otel.dropped_links_count", rare.dropped_links);
        self.put_resource(json, span);
        json.close_object();
    }

    /// `error` means failure to Zipkin whatever its value, so it stands for span status ERROR alone.
    fn put_status(&mut self, json: &mut Json, span: &SpanRef<'a>) {
        match span.status {
            StatusCode::Unset => {}
            StatusCode::Ok => self.put_text(json, "otel.status_code", "OK"),
            StatusCode::Error => {
                self.put_text(json, "otel.status_code", "ERROR");
                json.key("error").string(span.status_message());
            }
        }
        self.written.push("error");
    }

    /// The resource's attributes give way to the span's own. Spans of one resource come in a row, so its tags
    /// are written out once and copied from then on.
    fn put_resource(&mut self, json: &mut Json, span: &SpanRef<'a>) {
        if !std::ptr::eq(self.resource, span.resource.raw) {
            self.read_resource(span);
        }
        let resource_tags = std::mem::take(&mut self.resource_tags);
        for (key, tag) in &resource_tags {
            if self.is_new(key) {
                json.member(tag);
            }
        }
        self.resource_tags = resource_tags;
        self.put_count(json, DROPPED_RESOURCE_ATTRIBUTES, self.resource_dropped);
    }

    fn read_resource(&mut self, span: &SpanRef<'a>) {
        self.resource = span.resource.raw;
        self.resource_tags.clear();
        self.resource_dropped = 0;
        let mut left = MOST_RESOURCE_BYTES;
        for attribute in span.resource.attributes() {
            // That one is the local endpoint's name.
            if attribute.key == "service.name" {
                continue;
            }
            let mut tag = Json::with_limit(left, 64);
            put_tag(&mut tag, attribute.key, attribute.value);
            if tag.is_full() {
                self.resource_dropped += 1;
            } else {
                left -= tag.len();
                self.resource_tags.push((attribute.key, tag.into_bytes()));
            }
        }
    }

    fn put_count(&mut self, json: &mut Json, key: &'static str, count: u64) {
        if count > 0 {
            self.put_text(json, key, itoa::Buffer::new().format(count));
        }
    }

    fn put_text(&mut self, json: &mut Json, key: &'static str, text: &str) {
        if !text.is_empty() && self.is_new(key) {
            json.key(key).string(text);
        }
    }

    fn is_new(&mut self, key: &'a str) -> bool {
        if self.written.len() < FEW_TAGS {
            let new = !self.written.contains(&key);
            if new {
                self.written.push(key);
            }
            return new;
        }
        if self.many.is_empty() {
            self.many.extend(&self.written);
        }
        self.many.insert(key)
    }
}

fn put_tag(json: &mut Json, key: &str, value: AnyValueRef<'_>) {
    put_text(json.key(key), value);
}

/// A link as the OpenTelemetry Collector writes and reads it back: trace, span, trace state, attributes, dropped
/// attributes.
fn put_link(json: &mut Json, link: &LinkRef<'_>) {
    let mut text = json.nested();
    text.hex_digits(&link.trace_id);
    text.raw("|");
    text.hex_digits(&link.span_id);
    text.raw("|");
    text.raw(link.trace_state);
    text.raw("|");
    put_object(&mut text, link.attributes.clone());
    text.raw("|");
    text.raw(itoa::Buffer::new().format(link.dropped_attributes));
    json.quoted(&text);
}
