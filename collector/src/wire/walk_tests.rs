//! The walk against prost: on requests of every shape both agree field by field; on any bytes the walk never
//! panics and takes nothing that prost refuses.

use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::any_request::any_request;
use super::oracle::{assert_same, check_any_bytes};
use super::test_support::{attribute, encode, field, request, resource_spans, span};
use super::*;

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

/// As protobuf reads what does not fit the 32 bits of an enum, and a text that is said again to be empty.
#[test]
fn odd_spellings_are_read_as_prost_reads_them() {
    let wide = [0x82, 0x80, 0x80, 0x80, 0x10];
    let kind = [&[6 << 3][..], &wide].concat();
    let code = field(15, &[&[3 << 3][..], &wide].concat());
    let bytes = with_span_bytes(&[kind, code].concat());
    let span = first_of(&bytes).unwrap();
    assert_eq!(
        (span.kind, span.status),
        (SpanKind::Server, StatusCode::Error)
    );
    check_any_bytes(&bytes);
    let message = |text: &[u8]| field(15, &field(2, text));
    let bytes = with_span_bytes(&[message(b"why"), message(b"")].concat());
    assert_eq!(first_of(&bytes).unwrap().status_message(), "");
    check_any_bytes(&bytes);
}

#[test]
fn a_resource_whose_text_is_a_number_is_refused() {
    let value = field(2, &[1 << 3, 7]);
    let attribute = field(1, &[field(1, b"service.name"), value].concat());
    let bytes = field(1, &field(1, &attribute));
    let refused = walk(&bytes, |_| ());
    assert!(matches!(refused, Err(WireError::WireType { field: 1, .. })));
    check_any_bytes(&bytes);
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
