//! The second form, and what is found without writing it, against what a reader makes of the first.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Proto;
use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::*;
use crate::wire::any_request::any_request;
use crate::wire::test_support::{self, attribute, resource_spans};

/// Zipkin's `Span`; what is empty, zero or false is absent (zipkin2.Span, zipkin2.Endpoint).
#[derive(Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Taken {
    trace_id: String,
    #[serde(skip_serializing_if = "is_default")]
    parent_id: String,
    id: String,
    #[serde(skip_serializing_if = "is_default")]
    kind: String,
    #[serde(skip_serializing_if = "is_default")]
    name: String,
    #[serde(skip_serializing_if = "is_default")]
    timestamp: u64,
    #[serde(skip_serializing_if = "is_default")]
    duration: u64,
    #[serde(skip_serializing_if = "is_default")]
    local_endpoint: Endpoint,
    #[serde(skip_serializing_if = "is_default")]
    remote_endpoint: Endpoint,
    #[serde(skip_serializing_if = "is_default")]
    annotations: Vec<Annotation>,
    #[serde(skip_serializing_if = "is_default")]
    tags: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default")]
    debug: bool,
    #[serde(skip_serializing_if = "is_default")]
    shared: bool,
}

#[derive(Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Endpoint {
    #[serde(skip_serializing_if = "is_default")]
    service_name: String,
    #[serde(skip_serializing_if = "is_default")]
    ipv4: String,
    #[serde(skip_serializing_if = "is_default")]
    ipv6: String,
    #[serde(skip_serializing_if = "is_default")]
    port: u16,
}

#[derive(Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(default)]
struct Annotation {
    timestamp: u64,
    value: String,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Taken {
    /// What Zipkin makes of a span that it is sent.
    fn from_sent(span: Json) -> Self {
        let mut span: Self = serde_json::from_value(span).unwrap();
        let low = span.trace_id.strip_prefix("0000000000000000");
        if let Some(low) = low.filter(|low| low.len() == 16) {
            span.trace_id = low.to_owned();
        }
        if span.parent_id == span.id {
            span.parent_id.clear();
        }
        span.name = span.name.to_lowercase();
        span.local_endpoint.take_in();
        span.remote_endpoint.take_in();
        span.annotations.sort_unstable();
        span.annotations.dedup();
        span
    }
}

impl Endpoint {
    fn take_in(&mut self) {
        self.service_name = self.service_name.to_lowercase();
        let embedded = self
            .ipv6
            .rsplit_once(':')
            .filter(|(_, v4)| v4.contains('.'));
        if let Some((_, embedded)) = embedded {
            self.ipv4 = embedded.to_owned();
            self.ipv6.clear();
        } else if let Ok(address) = self.ipv6.parse::<Ipv6Addr>() {
            self.ipv6 = address.to_string();
        }
    }

    fn address(&self) -> Option<IpAddr> {
        let text = [&self.ipv4, &self.ipv6]
            .into_iter()
            .find(|text| !text.is_empty());
        text.map(|text| text.parse().unwrap())
    }
}

/// Attributes that mean something here, with values that do.
fn telling() -> impl Strategy<Value = KeyValue> {
    const KEYS: [&str; 22] = [
        "peer.service",
        "server.address",
        "server.port",
        "network.peer.address",
        "network.peer.port",
        "network.local.address",
        "network.local.port",
        "db.namespace",
        "zipkin.id",
        "zipkin.parent_id",
        "zipkin.debug",
        "zipkin.duration",
        "error",
        "otel.status_code",
        "otel.scope.name",
        "otel.dropped_links_count",
        "w3c.tracestate",
        "bellwether.dropped_resource_attributes_count",
        "service.name",
        "http.method",
        "a",
        "",
    ];
    const TEXTS: [&str; 14] = [
        "",
        "Pricing",
        "ÄÖ ẞ",
        "10.0.0.1",
        "2001:DB8:0:0:0:0:0:1",
        "::FFFF:1.2.3.4",
        "::ffff:102:304",
        "64:ff9b::9.8.7.6",
        "80",
        "00000000000000aB",
        "00000000000000ab",
        "0000000000000000",
        "GET",
        "\u{1}\"\\",
    ];
    let value = prop_oneof![
        4 => prop::sample::select(&TEXTS[..]).prop_map(|text| Proto::StringValue(text.into())),
        1 => prop::sample::select(&[0_i64, 1, 80, 65_536, -7][..]).prop_map(Proto::IntValue),
        1 => any::<bool>().prop_map(Proto::BoolValue),
    ];
    (prop::sample::select(&KEYS[..]), value).prop_map(|(key, value)| {
        let mut attribute = attribute(key, "");
        attribute.value.as_mut().unwrap().value = Some(value);
        attribute
    })
}

/// Changes each span as chance has it: no end, a short id, its own parent, these attributes.
fn change(request: &mut ExportTraceServiceRequest, chance: u8, attributes: &[KeyValue]) {
    let groups = request.resource_spans.iter_mut();
    for group in groups {
        if let Some(resource) = group.resource.as_mut().filter(|_| chance & 1 > 0) {
            resource.attributes.extend_from_slice(attributes);
        }
        for span in group
            .scope_spans
            .iter_mut()
            .flat_map(|scope| &mut scope.spans)
        {
            span.attributes.extend_from_slice(attributes);
            if chance & 2 > 0 {
                span.end_time_unix_nano = 0;
            }
            if chance & 4 > 0 {
                span.trace_id[..8].fill(0);
                span.trace_id[15] = 1;
            }
            if chance & 8 > 0 {
                span.parent_span_id.clone_from(&span.span_id);
            }
        }
    }
}

fn tag<'s>(span: &SpanRef<'s>, key: &str) -> Option<std::borrow::Cow<'s, str>> {
    let mut finder = TagFinder::new(key);
    let found = finder.find(span);
    assert_eq!(finder.find(span), found, "the same again");
    found
}

/// The spans of a request as they are sent, as they are answered, and themselves.
fn each(bytes: &[u8], mut check: impl FnMut(Json, Json, &SpanRef<'_>)) {
    let sent = encode(&[bytes.to_vec().into()], usize::MAX, Vec::new()).unwrap();
    let mut sent = serde_json::from_slice::<Vec<Json>>(&sent)
        .unwrap()
        .into_iter();
    let mut encoder = SpanEncoder::default();
    let mut spans = Vec::new();
    walk(bytes, |span| spans.push(span)).unwrap();
    for span in &spans {
        let answered = encoder.encode(span, usize::MAX).unwrap();
        let answered = serde_json::from_slice(answered).unwrap();
        check(sent.next().unwrap(), answered, span);
    }
}

fn check_found(taken: &Taken, span: &SpanRef<'_>, keys: &[&str]) {
    let told = Told::by(span);
    let ids = told.ids();
    assert_eq!(format!("{:016x}", ids.id), taken.id);
    let parent = ids.parent.map(|parent| format!("{parent:016x}"));
    assert_eq!(parent.unwrap_or_default(), taken.parent_id);
    assert_eq!(ids.is_shared, taken.shared);
    let (address, port) = told.place();
    assert_eq!(address, taken.local_endpoint.address());
    assert_eq!(port.unwrap_or_default(), taken.local_endpoint.port);
    let remote = told.remote_service().unwrap_or_default();
    assert!(is_named(remote, &taken.remote_endpoint.service_name));
    assert!(is_named(span.name, &taken.name));
    assert!(!is_named(span.name, "Another"));
    assert_eq!(duration(span).unwrap_or_default(), taken.duration);
    for annotation in &taken.annotations {
        assert!(
            is_annotated(span, &annotation.value),
            "{}",
            annotation.value
        );
        let other = format!("{}?", annotation.value);
        let is_told = taken.annotations.iter().any(|told| told.value == other);
        assert!(is_told || !is_annotated(span, &other));
    }
    let told = taken.annotations.iter().map(|told| &told.value);
    for name in told
        .chain(taken.tags.keys())
        .filter(|name| is_written(name))
    {
        let is_in = |bytes: &[u8]| memchr::memmem::find(bytes, name.as_bytes()).is_some();
        assert!(is_in(span.raw) || is_in(span.resource.raw), "{name}");
    }
    for (key, value) in &taken.tags {
        assert_eq!(tag(span, key).as_deref(), Some(value.as_str()), "{key}");
    }
    for key in keys {
        assert_eq!(
            tag(span, key).as_deref(),
            taken.tags.get(*key).map(String::as_str),
            "{key}"
        );
    }
}

proptest! {
    #[test]
    fn what_is_answered_and_found_is_what_zipkin_makes_of_what_is_sent(
        mut request in any_request(),
        chance: u8,
        attributes in vec(telling(), 0..6),
    ) {
        change(&mut request, chance, &attributes);
        let mut keys: Vec<&str> = attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        keys.extend(["otlp.link.0", "otlp.link.1", "otlp.link.00", "otlp.link.", "otel.scope.version"]);
        keys.extend(["otel.dropped_attributes_count", "otel.dropped_events_count", "nobody.has.it"]);
        each(&request.encode_to_vec(), |sent, answered, span| {
            let taken = Taken::from_sent(sent);
            assert_eq!(serde_json::to_value(&taken).unwrap(), answered);
            check_found(&taken, span, &keys);
        });
    }

    /// Of a resource that is more bytes as JSON than a span is sent with, what is left out is not found either.
    #[test]
    fn attributes_of_large_resources_are_found_as_far_as_they_are_sent(
        sizes in vec(prop_oneof![0..40_usize, 2_000..6_000_usize], 1..20),
        text in prop::sample::select(&["x", "\u{1}", "\"", "ä"][..]),
    ) {
        let mut group = resource_spans("shop", vec![test_support::span(7, 2, 1)]);
        let keys: Vec<_> = (0..sizes.len()).map(|number| format!("key {number}")).collect();
        let attributes = keys.iter().zip(&sizes).map(|(key, &size)| attribute(key, &text.repeat(size)));
        group.resource.as_mut().unwrap().attributes.extend(attributes);
        let mut keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        keys.push("bellwether.dropped_resource_attributes_count");
        each(&test_support::encode(vec![group]), |sent, answered, span| {
            let taken = Taken::from_sent(sent);
            assert_eq!(serde_json::to_value(&taken).unwrap(), answered);
            check_found(&taken, span, &keys);
        });
    }
}

/// A short resource is not written to see what of it is: no byte of it may become more JSON than is reckoned with.
#[test]
fn no_short_resource_is_left_out_in_part() {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValueList};
    let any = |value: Option<Proto>| AnyValue { value };
    let texts = (0..100).map(|_| any(Some(Proto::StringValue("\u{1}".repeat(30)))));
    let nothing = (0..1_500).map(|_| KeyValue::default());
    let empty = (0..1_500).map(|_| any(None));
    for value in [
        Proto::ArrayValue(ArrayValue {
            values: texts.collect(),
        }),
        Proto::ArrayValue(ArrayValue {
            values: empty.collect(),
        }),
        Proto::KvlistValue(KeyValueList {
            values: nothing.collect(),
        }),
        Proto::StringValue("\u{1}".repeat(4_000)),
        Proto::BytesValue(vec![0; 4_000]),
    ] {
        let mut list = attribute("list", "");
        list.value = Some(any(Some(value)));
        let mut group = resource_spans("shop", vec![test_support::span(7, 2, 1)]);
        group.resource.as_mut().unwrap().attributes.push(list);
        let mut bytes = 0;
        each(&test_support::encode(vec![group]), |sent, _, span| {
            bytes = span.resource.raw.len();
            let taken = Taken::from_sent(sent);
            assert!(taken.tags.contains_key("list"));
            check_found(&taken, span, &[]);
        });
        assert!(bytes <= 4_096, "{bytes}");
    }
}

/// An annotation that is larger than what is left of a span's bytes, and many of them.
#[test]
fn annotations_in_order_stay_within_the_limit() {
    let event = |number: u64| opentelemetry_proto::tonic::trace::v1::span::Event {
        time_unix_nano: (100 - number) * 1_000,
        name: "x".repeat(1_000),
        ..Default::default()
    };
    let span = Span {
        events: (0..100).map(event).collect(),
        ..test_support::span(7, 2, 1)
    };
    let bytes = test_support::encode(vec![resource_spans("shop", vec![span])]);
    each(&bytes, |_, answered, span| {
        let whole = answered.to_string().len();
        let mut encoder = SpanEncoder::default();
        assert!(encoder.encode(span, whole).is_some());
        for limit in [whole - 1, whole / 2, 1_500, 100] {
            assert!(encoder.encode(span, limit).is_none(), "{limit}");
            assert!(encoder.memory.capacity() <= whole, "{limit}");
        }
        assert_eq!(answered["annotations"][0]["timestamp"], json!(1));
    });
}
