//! Single things that a span says in Zipkin's terms, read from its bytes without writing the rest: for searches and for
//! counts that look at every span there is. What is found is what `mod` writes, which a property test holds it to. Called
//! by `web`.

use std::borrow::Cow;
use std::net::IpAddr;

use super::form::{Form, lower_case};
use super::json::Json;
use super::origin::{Ids, Origin, is_field};
use super::tags::{DROPPED_RESOURCE_ATTRIBUTES, MOST_RESOURCE_BYTES, Tags, put_link};
use super::value::text;
use super::{EventRef, Rare, annotations, cut, put_event_with_attributes};
use crate::wire::{SpanRef, StatusCode};

/// Who took part in a call, and which one it is: what attributes tell of a span beside its tags.
pub struct Told<'a> {
    origin: Origin<'a>,
    span: SpanRef<'a>,
}

impl<'a> Told<'a> {
    /// Reads the attributes that tell it.
    pub fn by(span: &SpanRef<'a>) -> Self {
        Self {
            origin: Origin::of(span),
            span: *span,
        }
    }

    /// Which span it is, and below which other one.
    pub fn ids(&self) -> Ids {
        Form::TakenIn.ids(self.origin.ids(&self.span))
    }

    /// The address and the port that it was recorded at.
    pub fn place(&self) -> (Option<IpAddr>, Option<u16>) {
        self.origin.local()
    }

    /// The name of the service on the other side.
    pub fn remote_service(&self) -> Option<&'a str> {
        self.origin.remote_service(self.span.kind)
    }
}

/// How long a span took, in microseconds.
pub fn duration(span: &SpanRef<'_>) -> Option<u64> {
    // Only a span without an end is told by attributes how long it took.
    let origin = match span.end_unix_nano {
        0 => Origin::of(span),
        _ => Origin::default(),
    };
    Form::TakenIn.duration(origin.duration_micros(span))
}

/// Whether Zipkin has `name` as `lower`, which is in lower case.
pub fn is_named(name: &str, lower: &str) -> bool {
    name == lower || lower_case(name) == lower
}

/// Finds one tag in spans. What it found in the last resource it keeps: spans of one come in a row.
pub struct TagFinder<'k, 's> {
    key: &'k str,
    resource: &'s [u8],
    of_resource: Option<Cow<'s, str>>,
}

impl<'k, 's> TagFinder<'k, 's> {
    /// For the tag called `key`.
    pub fn new(key: &'k str) -> Self {
        Self {
            key,
            resource: &[],
            of_resource: None,
        }
    }

    /// The tag's text in this span.
    pub fn find(&mut self, span: &SpanRef<'s>) -> Option<Cow<'s, str>> {
        let key = self.key;
        match (key, span.status) {
            ("error", StatusCode::Error) => return Some(span.status_message().into()),
            ("error", _) => return None,
            ("otel.status_code", StatusCode::Error) => return Some("ERROR".into()),
            ("otel.status_code", StatusCode::Ok) => return Some("OK".into()),
            _ => {}
        }
        if let Some(link) = link(span, key) {
            return Some(link.into());
        }
        let mut attributes = span.attributes().select(|other| other == key.as_bytes());
        match attributes.next().filter(|_| !is_field(key)) {
            Some(attribute) => text(attribute.value),
            None => told_otherwise(span, key)
                .map(Cow::Owned)
                .or_else(|| self.find_in_resource(span)),
        }
    }

    fn find_in_resource(&mut self, span: &SpanRef<'s>) -> Option<Cow<'s, str>> {
        if !std::ptr::eq(self.resource, span.resource.raw) {
            self.resource = span.resource.raw;
            self.of_resource = of_resource(span, self.key);
        }
        self.of_resource.clone()
    }
}

/// Whether a tag or an annotation called so is only where its name is in the bytes of the span or of its resource. Others
/// are made of fields, or, beginning with a quotation mark, of events with attributes.
pub fn is_written(key: &str) -> bool {
    const MADE: [&str; 6] = ["\"", "error", "otel.", "otlp.", "w3c.", "bellwether."];
    !key.is_empty() && !MADE.iter().any(|made| key.starts_with(made))
}

/// Whether an annotation of a span is this text.
pub fn is_annotated(span: &SpanRef<'_>, text: &str) -> bool {
    annotations(span).any(|(_, event)| is_event(event, text))
}

fn is_event(event: EventRef<'_>, text: &str) -> bool {
    if event.attributes.clone().next().is_none() {
        return event.name == text;
    }
    // It is longer than the name in it, and no longer than what it is compared with.
    let mut json = Json::with_limit(text.len(), 0);
    put_event_with_attributes(&mut json, event);
    json.into_text().is_some_and(|event| event == text)
}

/// What has a tag and is no attribute.
fn told_otherwise(span: &SpanRef<'_>, key: &str) -> Option<String> {
    let rare = || {
        let mut rare = Rare::default();
        span.details().for_each(|detail| rare.note(detail));
        rare
    };
    let count = |count: u64| {
        Some(count)
            .filter(|&count| count > 0)
            .map(|n| n.to_string())
    };
    let name = |name: &str| Some(cut(name).to_owned()).filter(|name| !name.is_empty());
    match key {
        "otel.scope.name" => name(span.scope.name()),
        "otel.scope.version" => name(span.scope.version()),
        "w3c.tracestate" => Some(rare().trace_state.to_owned()).filter(|state| !state.is_empty()),
        "otel.dropped_attributes_count" => count(rare().dropped_attributes),
        "otel.dropped_events_count" => count(rare().dropped_events),
        "otel.dropped_links_count" => count(rare().dropped_links),
        _ => None,
    }
}

fn link(span: &SpanRef<'_>, key: &str) -> Option<String> {
    let digits = key.strip_prefix("otlp.link.")?;
    let number: usize = digits
        .parse()
        .ok()
        .filter(|n: &usize| n.to_string() == digits)?;
    let link = span.links().nth(number)?;
    let mut json = Json::with_limit(span.raw.len().saturating_mul(MOST_GROWTH), 0);
    put_link(&mut json, &link);
    json.into_text()
}

/// Bytes of JSON that a byte of OTLP may become: a control character in a list is `\\u0001`.
const MOST_GROWTH: usize = 8;

fn of_resource<'a>(span: &SpanRef<'a>, key: &str) -> Option<Cow<'a, str>> {
    if span.resource.raw.len() > MOST_RESOURCE_BYTES / MOST_GROWTH {
        return of_large_resource(span, key).map(Cow::Owned);
    }
    let attributes = span.resource.attributes();
    let mut found = attributes.select(|other| other == key.as_bytes());
    found
        .next()
        .filter(|_| key != "service.name")
        .and_then(|attribute| text(attribute.value))
}

/// Of one whose tags may be more bytes than are written of it.
fn of_large_resource(span: &SpanRef<'_>, key: &str) -> Option<String> {
    let mut tags = Tags::default();
    tags.read_resource(span);
    let dropped = || {
        let is_asked = key == DROPPED_RESOURCE_ATTRIBUTES && tags.resource_dropped > 0;
        is_asked.then(|| tags.resource_dropped.to_string())
    };
    tags.resource_tag(key).or_else(dropped)
}
