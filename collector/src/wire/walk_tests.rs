//! The walk against prost: on requests of every shape both agree field by field; on any bytes the walk never
//! panics and takes nothing that prost refuses.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use serde_json::json;

use super::any_request::any_request;
use super::test_support::{attribute, encode, field, request, resource_spans, span};
use super::*;

/// What prost checks when it reads a request as deep as the walk does: the parts that the walk steps over
/// are plain bytes here.
mod shallow {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Request {
        #[prost(message, repeated, tag = "1")]
        pub(super) resource_spans: Vec<ResourceSpans>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ResourceSpans {
        #[prost(message, optional, tag = "1")]
        pub(super) resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        pub(super) scope_spans: Vec<ScopeSpans>,
        #[prost(string, tag = "3")]
        pub(super) schema_url: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Resource {
        #[prost(message, repeated, tag = "1")]
        pub(super) attributes: Vec<KeyValue>,
        #[prost(uint32, tag = "2")]
        pub(super) dropped: u32,
        #[prost(bytes = "vec", repeated, tag = "3")]
        pub(super) entity_refs: Vec<Vec<u8>>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct KeyValue {
        #[prost(string, tag = "1")]
        pub(super) key: String,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) value: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ScopeSpans {
        #[prost(message, optional, tag = "1")]
        pub(super) scope: Option<Scope>,
        #[prost(message, repeated, tag = "2")]
        pub(super) spans: Vec<Span>,
        #[prost(string, tag = "3")]
        pub(super) schema_url: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Scope {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) version: String,
        #[prost(bytes = "vec", repeated, tag = "3")]
        pub(super) attributes: Vec<Vec<u8>>,
        #[prost(uint32, tag = "4")]
        pub(super) dropped: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Span {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) trace_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) span_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "3")]
        pub(super) trace_state: Vec<u8>,
        #[prost(bytes = "vec", tag = "4")]
        pub(super) parent_span_id: Vec<u8>,
        #[prost(string, tag = "5")]
        pub(super) name: String,
        #[prost(int32, tag = "6")]
        pub(super) kind: i32,
        #[prost(fixed64, tag = "7")]
        pub(super) start: u64,
        #[prost(fixed64, tag = "8")]
        pub(super) end: u64,
        #[prost(bytes = "vec", repeated, tag = "9")]
        pub(super) attributes: Vec<Vec<u8>>,
        #[prost(uint32, tag = "10")]
        pub(super) dropped_attributes: u32,
        #[prost(bytes = "vec", repeated, tag = "11")]
        pub(super) events: Vec<Vec<u8>>,
        #[prost(uint32, tag = "12")]
        pub(super) dropped_events: u32,
        #[prost(bytes = "vec", repeated, tag = "13")]
        pub(super) links: Vec<Vec<u8>>,
        #[prost(uint32, tag = "14")]
        pub(super) dropped_links: u32,
        #[prost(message, optional, tag = "15")]
        pub(super) status: Option<Status>,
        #[prost(fixed32, tag = "16")]
        pub(super) flags: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Status {
        #[prost(string, tag = "2")]
        pub(super) message: String,
        #[prost(int32, tag = "3")]
        pub(super) code: i32,
    }
}

fn json_of(value: Option<&AnyValue>) -> serde_json::Value {
    match value.and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => json!(text),
        Some(Value::BoolValue(value)) => json!(value),
        Some(Value::IntValue(value)) => json!(value),
        Some(Value::DoubleValue(value)) => to_json(AnyValueRef::Double(*value)),
        Some(Value::BytesValue(bytes)) => to_json(AnyValueRef::Bytes(bytes)),
        Some(Value::ArrayValue(array)) => array
            .values
            .iter()
            .map(|value| json_of(Some(value)))
            .collect(),
        Some(Value::KvlistValue(list)) => json_object(&list.values),
        _ => serde_json::Value::Null,
    }
}

fn json_object(attributes: &[KeyValue]) -> serde_json::Value {
    let entries = attributes
        .iter()
        .map(|entry| (entry.key.clone(), json_of(entry.value.as_ref())));
    serde_json::Value::Object(entries.collect())
}

fn service_of(resource: Option<&Resource>) -> &str {
    let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
    let names = attributes
        .iter()
        .filter(|attribute| attribute.key == "service.name");
    names
        .filter_map(
            |attribute| match attribute.value.as_ref()?.value.as_ref()? {
                Value::StringValue(name) if !name.is_empty() => Some(name.as_str()),
                _ => None,
            },
        )
        .next_back()
        .unwrap_or("unknown_service")
}

fn assert_same(seen: &SpanRef<'_>, sent: &Span, scope: &ScopeSpans, resource: &ResourceSpans) {
    assert_eq!(seen.trace_id[..], sent.trace_id);
    assert_eq!(seen.span_id[..], sent.span_id);
    let parent = Some(&sent.parent_span_id[..]).filter(|id| !id.iter().all(|&byte| byte == 0));
    assert_eq!(seen.parent_span_id.as_ref().map(|id| &id[..]), parent);
    assert_eq!(seen.name, sent.name);
    let kind = if (0..=5).contains(&sent.kind) {
        sent.kind
    } else {
        0
    };
    assert_eq!(seen.kind as i32, kind);
    assert_eq!(seen.start_unix_nano, sent.start_time_unix_nano);
    assert_eq!(seen.end_unix_nano, sent.end_time_unix_nano);
    let (message, code) = sent
        .status
        .as_ref()
        .map_or(("", 0), |status| (&status.message, status.code));
    assert_eq!(seen.status as i32, if code <= 2 { code } else { 0 });
    assert_eq!(seen.status_message(), message);
    assert_eq!(seen.trace_state(), sent.trace_state);
    assert_eq!(seen.raw, sent.encode_to_vec());
    assert_eq!(
        serde_json::Value::Object(attributes_to_json(seen.attributes())),
        json_object(&sent.attributes)
    );
    let events: Vec<_> = seen.events().collect();
    assert_eq!(events.len(), sent.events.len());
    for (seen, sent) in events.into_iter().zip(&sent.events) {
        assert_eq!(
            (seen.time_unix_nano, seen.name),
            (sent.time_unix_nano, &*sent.name)
        );
        assert_eq!(
            json!(attributes_to_json(seen.attributes)),
            json_object(&sent.attributes)
        );
    }
    let links: Vec<_> = seen.links().collect();
    assert_eq!(links.len(), sent.links.len());
    for (seen, sent) in links.into_iter().zip(&sent.links) {
        assert_eq!(seen.trace_id[..], sent.trace_id);
        assert_eq!(seen.span_id[..], sent.span_id);
        assert_eq!(
            json!(attributes_to_json(seen.attributes)),
            json_object(&sent.attributes)
        );
    }
    let sent_scope = scope.scope.clone().unwrap_or_default();
    assert_eq!(seen.scope.name(), sent_scope.name);
    assert_eq!(seen.scope.version(), sent_scope.version);
    assert_eq!(
        json!(attributes_to_json(seen.scope.attributes())),
        json_object(&sent_scope.attributes)
    );
    let sent_resource = resource.resource.clone().unwrap_or_default();
    assert_eq!(
        json!(attributes_to_json(seen.resource.attributes())),
        json_object(&sent_resource.attributes)
    );
    assert_eq!(
        seen.resource.service_name,
        service_of(resource.resource.as_ref())
    );
}

/// Reads everything that can be read of a span, for bytes that may be anything.
fn read_all(span: &SpanRef<'_>) -> usize {
    let texts = span.status_message().len() + span.trace_state().len() + span.scope.name().len();
    let mut attributes = attributes_to_json(span.attributes()).len()
        + attributes_to_json(span.resource.attributes()).len()
        + attributes_to_json(span.scope.attributes()).len();
    attributes += span
        .events()
        .map(|event| event.attributes.count())
        .sum::<usize>();
    attributes += span
        .links()
        .map(|link| link.attributes.count())
        .sum::<usize>();
    texts + attributes
}

/// Never panics; what the walk takes prost takes too, with the same number of spans.
fn check_any_bytes(bytes: &[u8]) {
    let mut spans = 0;
    let walked = walk(bytes, |span| {
        spans += 1;
        read_all(&span);
    });
    if let Ok(count) = walked {
        assert_eq!(count, spans);
        let request = shallow::Request::decode(bytes).expect("the walk took it");
        let per_scope = request
            .resource_spans
            .iter()
            .flat_map(|resource| &resource.scope_spans)
            .map(|scope| scope.spans.len());
        assert_eq!(count, per_scope.sum::<usize>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn agrees_with_prost(request in any_request()) {
        let bytes = request.encode_to_vec();
        let mut seen = Vec::new();
        let count = walk(&bytes, |span| seen.push(span)).unwrap();
        prop_assert_eq!(count, seen.len());
        let mut seen = seen.iter();
        for resource in &request.resource_spans {
            for scope in &resource.scope_spans {
                for sent in &scope.spans {
                    assert_same(seen.next().unwrap(), sent, scope, resource);
                }
            }
        }
        prop_assert!(seen.next().is_none());
    }

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..200)) {
        check_any_bytes(&bytes);
    }

    #[test]
    fn mutated_and_truncated(
        request in any_request(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = request.encode_to_vec();
        if !bytes.is_empty() {
            for (index, byte) in changes {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            check_any_bytes(&bytes);
            check_any_bytes(&bytes[..cut.index(bytes.len())]);
        }
    }

    #[test]
    fn concatenated_requests_are_one(a in any_request(), b in any_request()) {
        let (a, b) = (a.encode_to_vec(), b.encode_to_vec());
        let count = |bytes: &[u8]| walk(bytes, |_| ()).unwrap();
        prop_assert_eq!(count(&[&a[..], &b[..]].concat()), count(&a) + count(&b));
    }
}

/// One span with more bytes at its end.
fn with_span_bytes(more: &[u8]) -> Vec<u8> {
    let mut bytes = span(1, 2, 3).encode_to_vec();
    bytes.extend_from_slice(more);
    field(1, &field(2, &field(2, &bytes)))
}

fn first_of(bytes: &[u8]) -> Result<SpanRef<'_>, WireError> {
    let mut first = None;
    walk(bytes, |span| first = first.or(Some(span)))?;
    Ok(first.expect("a span"))
}

#[test]
fn an_empty_request_is_valid() {
    assert_eq!(walk(&[], |_| ()), Ok(0));
}

#[test]
fn resource_and_scope_may_follow_their_spans() {
    let message = resource_spans("late", vec![span(1, 1, 0)]);
    let resource = field(1, &message.resource.clone().unwrap().encode_to_vec());
    let scope = &message.scope_spans[0];
    let spans = field(2, &scope.spans[0].encode_to_vec());
    let scope = field(1, &scope.scope.clone().unwrap().encode_to_vec());
    let bytes = field(1, &[field(2, &[spans, scope].concat()), resource].concat());
    let span = first_of(&bytes).unwrap();
    assert_eq!(span.resource.service_name, "late");
    assert_eq!(span.scope.name(), "tests");
}

#[test]
fn the_last_of_a_repeated_scalar_wins() {
    let bytes = with_span_bytes(&[field(5, b"first"), field(5, b"last"), vec![6 << 3, 3]].concat());
    let span = first_of(&bytes).unwrap();
    assert_eq!((span.name, span.kind), ("last", SpanKind::Client));
    // Two Status messages merge: the first one's code stays when the second has only a message.
    let status = [field(15, &[3 << 3, 2]), field(15, &field(2, b"why"))].concat();
    let bytes = with_span_bytes(&status);
    let span = first_of(&bytes).unwrap();
    assert_eq!(
        (span.status, span.status_message()),
        (StatusCode::Error, "why")
    );
}

#[test]
fn unknown_fields_are_skipped() {
    let unknown = [
        field(99, b"later version"),
        vec![0xf8, 0x0f, 1],                         // 255: varint
        vec![0xfd, 0x0f, 1, 2, 3, 4],                // 255: fixed32
        vec![0xf9, 0x0f, 1, 2, 3, 4, 5, 6, 7, 8],    // 255: fixed64
        vec![0xfb, 0x0f, 0xf8, 0x0f, 1, 0xfc, 0x0f], // 255: group holding a varint
    ];
    assert!(first_of(&with_span_bytes(&unknown.concat())).is_ok());
}

#[test]
fn tags_need_not_be_minimal() {
    let name = [0xaa, 0x80, 0x00, 2, b'o', b'k'];
    assert_eq!(first_of(&with_span_bytes(&name)).unwrap().name, "ok");
}

#[test]
fn faults_are_named() {
    fn check(bytes: &[u8], expected: &str) {
        let error = walk(bytes, |_| ()).unwrap_err().to_string();
        assert_eq!(error, expected);
        check_any_bytes(bytes);
    }
    let with = |change: fn(&mut Span)| {
        let mut second = span(1, 2, 0);
        change(&mut second);
        encode(vec![resource_spans("s", vec![span(1, 1, 0), second])])
    };
    check(
        &with(|span| span.trace_id = vec![1; 8]),
        "span 1 (counted from 0) has a trace_id of 8 bytes instead of 16",
    );
    check(
        &with(|span| span.span_id = Vec::new()),
        "span 1 (counted from 0) has a span_id of 0 bytes instead of 8",
    );
    check(
        &with(|span| span.parent_span_id = vec![1; 16]),
        "span 1 (counted from 0) has a parent_span_id of 16 bytes instead of 8",
    );
    check(
        &with(|span| span.trace_id = vec![0; 16]),
        "span 1 (counted from 0) has a trace_id of zeros",
    );
    check(
        &with(|span| span.span_id = vec![0; 8]),
        "span 1 (counted from 0) has a span_id of zeros",
    );
    check(
        &[0x0a, 0x05, 0x12],
        "truncated protobuf: the field at byte 1 goes past the end of its message",
    );
    check(
        &[0x0a, 0x03, 0x12, 0x03, 0x0a],
        "truncated protobuf: the field at byte 3 goes past the end of its message",
    );
    check(
        b"hello, I am no protobuf",
        "invalid protobuf: the tag at or just before byte 3 starts no field",
    );
}

#[test]
fn hostile_bytes_are_refused() {
    fn check(bytes: &[u8], expected: WireError) {
        assert_eq!(walk(bytes, |_| ()), Err(expected));
        check_any_bytes(bytes);
    }
    // A length near 2^64 must not wrap around.
    let mut huge = vec![0x0a];
    huge.extend_from_slice(&[0xff; 9]);
    huge.push(1);
    check(&huge, WireError::Truncated { at: 1 });
    check(
        &[[0x0a].as_slice(), &[0xff; 11]].concat(),
        WireError::Varint { at: 1 },
    );
    check(&[0x00], WireError::Tag { at: 0 });
    check(&[0x0e, 0x00], WireError::WireType { field: 1, at: 1 });
    check(&[0x0d, 1, 2, 3, 4], WireError::WireType { field: 1, at: 1 });
    check(&[0x14], WireError::Tag { at: 1 });
    check(&[0x13, 0x1c], WireError::Tag { at: 1 });
    check(&[0x13; 1000], WireError::TooDeep { at: 33 });
    check(&[0x13], WireError::Truncated { at: 1 });
    let resource = field(1, &field(1, &[]));
    let twice = field(1, &[&resource[2..], &resource[2..]].concat());
    check(
        &twice,
        WireError::Repeated {
            field: "Resource",
            at: 5,
        },
    );
}

#[test]
fn text_must_be_utf8() {
    let bytes = with_span_bytes(&field(5, &[0xff]));
    assert!(matches!(
        first_of(&bytes),
        Err(WireError::Utf8 {
            field: "a span's name",
            ..
        })
    ));
    let bytes = request("caf\u{e9}", 1);
    assert_eq!(first_of(&bytes).unwrap().resource.service_name, "café");
}

#[test]
fn a_resource_without_a_name_is_unknown_service() {
    for attributes in [vec![], vec![attribute("service.name", "")]] {
        let mut message = resource_spans("", vec![span(1, 1, 0)]);
        message.resource.as_mut().unwrap().attributes = attributes;
        let bytes = encode(vec![message]);
        let span = first_of(&bytes).unwrap();
        assert_eq!(span.resource.service_name, "unknown_service");
    }
}
