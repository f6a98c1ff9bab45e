//! Our bytes beside those of the OpenTelemetry libraries, for any records.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderValue;
use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;
use tokio::net::TcpSocket;

use super::super::Otlp;
use super::*;
use crate::context::{RequestContext, SpanId, TraceId, TraceState};
use crate::trace::record::{
    Attributed, SpanAttributes, SpanStatus, TakeAttribute, Value, ValueRef,
};
use crate::trace::testing::{context, record};
use crate::trace::{Endpoint, ExportConfig};

fn encoder(resource: &[(&str, &str)]) -> Encoder {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let resource: Vec<_> = resource.iter().map(owned).collect();
    Encoder::new(&resource)
}

/// What the libraries make of the records.
fn of_libraries(records: &[SpanRecord], resource: Option<KeyValue>) -> Vec<u8> {
    let mut secret = SecretNames::default();
    let scope = convert::scope();
    let spans = records
        .iter()
        .map(|record| convert::span_data(record, &scope, &mut secret))
        .collect();
    let resource = Resource::builder_empty().with_attributes(resource).build();
    let resource = ResourceAttributesWithSchema::from(&resource);
    let resource_spans = group_spans_by_resource_and_scope(spans, &resource);
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        "[a-z ]{0,3}(http://me:hunter2@h/x|Bearer hunter2|B@:e)[a-z ]{0,3}",
        // Around the lengths of lengths.
        (100_usize..140).prop_map(|length| "x".repeat(length)),
        (16_300_usize..16_400).prop_map(|length| "x".repeat(length)),
    ]
}

fn shared_text() -> impl Strategy<Value = SharedText> {
    prop_oneof![
        prop::sample::select(&["", "GET /", "password"][..]).prop_map(SharedText::Static),
        text().prop_map(|text| SharedText::Shared(Arc::from(text))),
        text().prop_map(SharedText::Owned),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        shared_text().prop_map(Value::Text),
        vec(any::<u8>(), 0..40).prop_map(|bytes| Value::Bytes(bytes.into())),
        text().prop_map(|text| Value::Bytes(text.into())),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        any::<bool>().prop_map(Value::Bool),
    ]
}

fn name() -> impl Strategy<Value = &'static str> {
    let names = &["", "url.path", "user.password", "has_password", "número"][..];
    prop::sample::select(names)
}

/// Attributes made when they are asked for, of the kinds that no list has.
#[derive(Debug)]
struct Telling {
    word: &'static str,
    texts: (&'static str, Vec<String>),
    address: (&'static str, IpAddr),
}

impl Attributed for Telling {
    fn each(&self, put: &mut TakeAttribute<'_>) {
        put(self.word, ValueRef::Word("GET"));
        put(self.texts.0, ValueRef::Texts(&self.texts.1));
        put(self.address.0, ValueRef::Address(self.address.1));
    }
}

fn attributes() -> impl Strategy<Value = SpanAttributes> {
    let telling = (name(), name(), vec(text(), 0..4), name(), any::<IpAddr>());
    let telling = telling.prop_map(|(word, texts, all, address, ip)| Telling {
        word,
        texts: (texts, all),
        address: (address, ip),
    });
    prop_oneof![
        vec((name(), any_value()), 0..6).prop_map(SpanAttributes::Listed),
        telling.prop_map(|telling| SpanAttributes::Of(Box::new(telling))),
    ]
}

fn trace_state() -> impl Strategy<Value = Option<TraceState>> {
    let list = prop_oneof![
        Just("ot=th:0".to_owned()),
        "ot=[!-+.-<>-~ ]{1,9}",
        "([a-c][a-c@_]{0,3}=[0-9;: ]{1,3} ?,? ?){0,5}",
    ];
    option::of(list).prop_map(|list| {
        let value = HeaderValue::from_str(&list?).unwrap();
        TraceState::parse([&value].into_iter())
    })
}

fn shared_context() -> impl Strategy<Value = Arc<RequestContext>> {
    (any::<u8>(), trace_state()).prop_map(|(flags, trace_state)| {
        Arc::new(RequestContext {
            flags,
            trace_state,
            ..Arc::into_inner(context()).unwrap()
        })
    })
}

fn start() -> impl Strategy<Value = SystemTime> {
    prop_oneof![
        any::<u32>().prop_map(|millis| UNIX_EPOCH + Duration::from_millis(millis.into())),
        any::<u32>().prop_map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds.into())),
        any::<u32>().prop_map(|seconds| UNIX_EPOCH - Duration::from_secs(seconds.into())),
    ]
}

prop_compose! {
    fn any_record()(
        context in shared_context(),
        parent in any::<bool>(),
        parent_is_remote in any::<bool>(),
        link in option::of(any::<u8>()),
        kind in prop::sample::select(&[SpanKind::Server, SpanKind::Client, SpanKind::Internal][..]),
        name in shared_text(),
        start in start(),
        duration in prop_oneof![any::<u32>().prop_map(|nanos| Duration::from_nanos(nanos.into())), Just(Duration::MAX)],
        attributes in attributes(),
        error in option::of(text()),
    ) -> SpanRecord {
        SpanRecord {
            span_id: context.span_id,
            context,
            parent: parent.then(SpanId::random),
            parent_is_remote,
            link: link.map(|flags| Box::new(TraceParent {
                trace_id: TraceId::random(),
                span_id: SpanId::random(),
                flags,
            })),
            kind,
            name,
            start,
            duration,
            attributes,
            status: error.map_or(SpanStatus::Unset, |error| SpanStatus::Error(Cow::Owned(error))),
        }
    }
}

proptest! {
    #[test]
    fn any_records_are_written_as_the_libraries_write_them(records in vec(any_record(), 1..6)) {
        let mut encoder = encoder(&[("process.pid", "42")]);
        let expected = of_libraries(&records, Some(KeyValue::new("process.pid", 42)));
        for again in [false, true] {
            let request = encoder.request(records.iter());
            prop_assert!(request == expected, "again: {again}\n{:?}\n{:?}",
                ExportTraceServiceRequest::decode(request.as_ref()),
                ExportTraceServiceRequest::decode(expected.as_slice()));
            encoder.recycle(request);
        }
    }
}

/// One attribute, a text of so many bytes.
fn text_of(bytes: usize) -> SpanAttributes {
    SpanAttributes::Listed(vec![("text", Value::Bytes(vec![b'x'; bytes].into()))])
}

#[test]
fn a_large_batch_is_written_as_the_libraries_write_it() {
    // Beyond what the lengths of the outer messages leave room for.
    let mut records = Vec::new();
    for _ in 0..8 {
        let mut record = record("GET /");
        record.attributes = text_of(400_000);
        records.push(record);
    }
    let mut encoder = encoder(&[]);
    assert!(encoder.request(records.iter()) == of_libraries(&records, None));
}

#[test]
fn the_last_of_several_values_describes_the_resource() {
    let mut encoder = encoder(&[("a", "1"), ("process.pid", "x"), ("b", "2"), ("a", "3")]);
    let request = encoder.request([&record("GET /")].into_iter());
    let request = ExportTraceServiceRequest::decode(request).unwrap();
    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    let attributes: Vec<_> = resource
        .attributes
        .iter()
        .map(|attribute| (attribute.key.as_str(), format!("{:?}", attribute.value)))
        .collect();
    let [(pid, x), (b, two), (a, three)] = &attributes[..] else {
        panic!("{attributes:?}");
    };
    assert_eq!((*pid, *b, *a), ("process.pid", "b", "a"));
    assert!(x.contains(r#"StringValue("x")"#), "{x}");
    assert!(two.contains('2') && three.contains('3'), "{attributes:?}");
}

#[test]
fn the_memory_of_a_batch_is_used_again_unless_it_is_large() {
    fn spans_of(text: usize) -> SpanRecord {
        let mut record = record("GET /");
        record.attributes = text_of(text);
        record
    }
    let mut encoder = encoder(&[]);
    let request = encoder.request([&spans_of(1_000)].into_iter());
    let place = request.as_ptr();
    encoder.recycle(request);
    let request = encoder.request([&spans_of(10)].into_iter());
    assert_eq!(request.as_ptr(), place);

    // Somebody reads it still.
    let reader = request.clone();
    encoder.recycle(request);
    assert_eq!(encoder.spare.capacity(), 0);
    drop(reader);

    let request = encoder.request([&spans_of(MAX_KEPT)].into_iter());
    encoder.recycle(request);
    assert_eq!(encoder.spare.capacity(), 0);
}

#[tokio::test]
async fn a_batch_gives_its_memory_back_whatever_became_of_it() {
    // Bound and not listening: refuses.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let config = ExportConfig {
        endpoint: Endpoint::Base(url),
        timeout: Duration::from_millis(1),
        ..ExportConfig::default()
    };
    let mut otlp = Otlp::new(&config, &[]).unwrap();
    assert!(otlp.export([&record("GET /")].into_iter()).await.is_err());
    assert!(otlp.encoder.spare.capacity() > 0);
}
