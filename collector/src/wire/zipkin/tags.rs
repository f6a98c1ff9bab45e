//! The tags of a Zipkin span: its attributes, what else of it has no field in Zipkin's form, and its resource's attributes.
//! Called by `zipkin`.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::json::Json;
use super::origin::is_field;
use super::value::{put_object, put_text};
use super::{Rare, cut};
use crate::wire::{KeyValueRef, LinkRef, SpanRef, StatusCode};

/// Most tags of a span: what tells them apart needs memory beside their own bytes.
const MOST_TAGS: usize = 65_536;

/// Most bytes of tags that are a resource's: in Zipkin's form every span repeats them.
pub(super) const MOST_RESOURCE_BYTES: usize = 32 * 1024;

/// How many of a resource's attributes were left out.
pub(super) const DROPPED_RESOURCE_ATTRIBUTES: &str = "bellwether.dropped_resource_attributes_count";

/// Writes tags, each key once: Zipkin's tags are a map, and keys that come twice would hide each other.
#[derive(Default)]
pub(super) struct Tags<'a> {
    /// The first [`FEW_TAGS`] keys of the span under way.
    written: Vec<&'a str>,
    /// All of them, once there are more.
    many: HashSet<&'a str, RandomState>,
    /// The `InstrumentationScope` message that `scope_tags` are of.
    scope: &'a [u8],
    scope_tags: Vec<WrittenTag<'a>>,
    /// The `Resource` message that `resource_tags` are of.
    resource: &'a [u8],
    resource_tags: Vec<WrittenTag<'a>>,
    /// Attributes of it that are no tags, for they would be too many bytes.
    pub(super) resource_dropped: u64,
}

/// A tag's key, and the tag as a whole member of an object.
type WrittenTag<'a> = (&'a str, Vec<u8>);

/// For so many keys looking at each is faster than hashing.
const FEW_TAGS: usize = 32;

impl<'a> Tags<'a> {
    /// Begins the tags of a span.
    pub(super) fn open(&mut self, json: &mut Json, span: &SpanRef<'a>) {
        self.written.clear();
        if !self.many.is_empty() {
            self.many = HashSet::default();
        }
        json.known("\"tags\":").open_object();
        self.put_status(json, span);
    }

    /// One of the span's attributes.
    pub(super) fn put(&mut self, json: &mut Json, attribute: KeyValueRef<'a>) {
        let KeyValueRef { key, value } = attribute;
        if !is_field(key) && self.is_new(key) {
            put_text(json.key(key), value);
        }
        if self.many.len() > MOST_TAGS {
            json.give_up();
        }
    }

    /// What else of the span is told by tags, and the end of them.
    pub(super) fn close(&mut self, json: &mut Json, span: &SpanRef<'a>, rare: &Rare<'a>) {
        self.put_scope(json, span);
        self.put_text(json, "w3c.tracestate", rare.trace_state);
        if rare.links {
            put_links(json, span);
        }
        for (key, count) in [
            ("otel.dropped_attributes_count", rare.dropped_attributes),
            ("otel.dropped_events_count", rare.dropped_events),
            ("otel.dropped_links_count", rare.dropped_links),
        ] {
            self.put_count(json, key, count);
        }
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

    /// Spans of one scope and of one resource come in a row, so their tags are written out once and copied from then on.
    fn put_scope(&mut self, json: &mut Json, span: &SpanRef<'a>) {
        if !std::ptr::eq(self.scope, span.scope.raw) {
            self.scope = span.scope.raw;
            self.scope_tags.clear();
            for (key, text) in [
                ("otel.scope.name", span.scope.name()),
                ("otel.scope.version", span.scope.version()),
            ] {
                if !text.is_empty() {
                    let mut tag = Json::with_limit(usize::MAX, 64);
                    tag.key(key).string(cut(text));
                    self.scope_tags.push((key, tag.into_bytes()));
                }
            }
        }
        let tags = std::mem::take(&mut self.scope_tags);
        self.put_written(json, &tags);
        self.scope_tags = tags;
    }

    /// The resource's attributes give way to the span's own.
    fn put_resource(&mut self, json: &mut Json, span: &SpanRef<'a>) {
        if !std::ptr::eq(self.resource, span.resource.raw) {
            self.read_resource(span);
        }
        let tags = std::mem::take(&mut self.resource_tags);
        self.put_written(json, &tags);
        self.resource_tags = tags;
        self.put_count(json, DROPPED_RESOURCE_ATTRIBUTES, self.resource_dropped);
    }

    fn put_written(&mut self, json: &mut Json, tags: &[WrittenTag<'a>]) {
        for (key, tag) in tags {
            if self.is_new(key) {
                json.member(tag);
            }
        }
    }

    pub(super) fn read_resource(&mut self, span: &SpanRef<'a>) {
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
            put_text(tag.key(attribute.key), attribute.value);
            if tag.is_full() {
                self.resource_dropped += 1;
            } else {
                left -= tag.len();
                self.resource_tags.push((attribute.key, tag.into_bytes()));
            }
        }
    }

    /// The text of one of the tags of the resource that was read last.
    pub(super) fn resource_tag(&self, key: &str) -> Option<String> {
        let mut tags = self.resource_tags.iter();
        let (_, member) = tags.find(|(other, _)| *other == key)?;
        let object = [b"{", member.as_slice(), b"}"].concat();
        let mut tags: HashMap<String, String> = serde_json::from_slice(&object).ok()?;
        tags.remove(key)
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

fn put_links(json: &mut Json, span: &SpanRef<'_>) {
    for (number, link) in span.links().enumerate() {
        if json.is_full() {
            break;
        }
        let mut text = json.nested();
        put_link(&mut text, &link);
        json.key(&format!("otlp.link.{number}")).quoted(&text);
    }
}

/// A link as the OpenTelemetry Collector writes and reads it back: trace, span, trace state, attributes, dropped
/// attributes.
pub(super) fn put_link(text: &mut Json, link: &LinkRef<'_>) {
    text.hex_digits(&link.trace_id);
    text.raw("|");
    text.hex_digits(&link.span_id);
    text.raw("|");
    text.raw(link.trace_state);
    text.raw("|");
    put_object(text, link.attributes.clone());
    text.raw("|");
    text.raw(itoa::Buffer::new().format(link.dropped_attributes));
}
