use opentelemetry_proto::tonic::common::v1::any_value::Value as Proto;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind as Kind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as Code;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value as Json, json};

use super::*;
use crate::wire::StatusCode;
use crate::wire::test_support::{self, attribute, resource_spans};

fn zipkin(span: Span) -> Json {
    let request = test_support::encode(vec![resource_spans("shop", vec![span])]);
    let bytes = encode(&[request.into()], usize::MAX, Vec::new()).unwrap();
    let mut spans: Vec<Json> = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(spans.len(), 1);
    spans.remove(0)
}

fn typed(key: &str, value: Proto) -> KeyValue {
    KeyValue {
        value: Some(AnyValue { value: Some(value) }),
        ..attribute(key, "")
    }
}

/// What `change` makes of a span, at JSON pointer `at`; null when absent.
fn check(change: impl FnOnce(&mut Span), at: &str, expected: impl Into<Json>) {
    let mut span = test_support::span(7, 2, 1);
    change(&mut span);
    let json = zipkin(span);
    let got = json.pointer(at).cloned().unwrap_or_default();
    assert_eq!(got, expected.into(), "{at} of {json}");
}

#[test]
fn a_plain_span() {
    assert_eq!(
        zipkin(test_support::span(7, 2, 1)),
        json!({
            "traceId": "00000000000000000000000000000007",
            "id": "0000000000000002",
            "parentId": "0000000000000001",
            "kind": "SERVER",
            "name": "GET /",
            "timestamp": 1_700_000_000_000_000_u64,
            "duration": 1000,
            "localEndpoint": {"serviceName": "shop"},
            "tags": {"otel.scope.name": "tests"},
        })
    );
}

#[test]
fn kinds_and_times() {
    let kind = |kind: Kind| move |span: &mut Span| span.kind = kind.into();
    check(kind(Kind::Unspecified), "/kind", json!(null));
    check(kind(Kind::Internal), "/kind", json!(null));
    check(kind(Kind::Client), "/kind", json!("CLIENT"));
    check(kind(Kind::Producer), "/kind", json!("PRODUCER"));
    check(kind(Kind::Consumer), "/kind", json!("CONSUMER"));
    check(|span| span.parent_span_id.clear(), "/parentId", json!(null));
    let lasting =
        |nanos| move |span: &mut Span| span.end_time_unix_nano = span.start_time_unix_nano + nanos;
    check(lasting(0), "/duration", json!(1));
    check(lasting(999), "/duration", json!(1));
    check(lasting(1_999), "/duration", json!(1));
    check(lasting(2_000), "/duration", json!(2));
    check(|span| span.end_time_unix_nano = 0, "/duration", json!(null));
    check(|span| span.end_time_unix_nano = 1, "/duration", json!(null));
    for absent in ["/timestamp", "/duration"] {
        check(|span| span.start_time_unix_nano = 0, absent, json!(null));
    }
}

#[test]
fn the_remote_endpoint_is_the_best_name() {
    let client = |attributes: Vec<KeyValue>| {
        move |span: &mut Span| {
            span.kind = Kind::Client.into();
            span.attributes = attributes;
        }
    };
    let at = "/remoteEndpoint";
    check(client(vec![attribute("http.route", "/")]), at, json!(null));
    check(
        client(vec![
            attribute("db.name", "orders"),
            attribute("server.address", "pg"),
            typed("server.port", Proto::IntValue(5432)),
        ]),
        at,
        json!({"serviceName": "pg", "port": 5432}),
    );
    check(
        client(vec![
            attribute("server.address", "pg"),
            attribute("peer.service", "db"),
        ]),
        at,
        json!({"serviceName": "db"}),
    );
    check(
        client(vec![
            attribute("network.peer.address", "::1"),
            attribute("network.peer.port", "70000"),
        ]),
        at,
        json!({"serviceName": "::1", "ipv6": "::1"}),
    );
    check(
        client(vec![attribute("db.name", "orders")]),
        at,
        json!({"serviceName": "orders"}),
    );
    // A server's own address is not somebody else's.
    check(
        |span| span.attributes = vec![attribute("server.address", "me")],
        at,
        json!(null),
    );
}

#[test]
fn errors_are_spans_with_status_error_only() {
    let status = |code: Code, message: &str| {
        let status = Status {
            code: code.into(),
            message: message.to_owned(),
        };
        move |span: &mut Span| {
            span.status = Some(status);
            span.attributes = vec![attribute("error", "false")];
        }
    };
    check(status(Code::Error, "boom"), "/tags/error", json!("boom"));
    check(status(Code::Error, ""), "/tags/error", json!(""));
    check(
        status(Code::Error, ""),
        "/tags/otel.status_code",
        json!("ERROR"),
    );
    check(status(Code::Ok, ""), "/tags/otel.status_code", json!("OK"));
    check(status(Code::Ok, ""), "/tags/error", json!(null));
    check(
        status(Code::Unset, ""),
        "/tags/otel.status_code",
        json!(null),
    );
    check(status(Code::Unset, ""), "/tags/error", json!(null));
}

#[test]
fn tags_are_texts_and_come_once() {
    let tagged = |value| move |span: &mut Span| span.attributes = vec![typed("k", value)];
    check(
        tagged(Proto::StringValue("v".into())),
        "/tags/k",
        json!("v"),
    );
    check(tagged(Proto::IntValue(-5)), "/tags/k", json!("-5"));
    check(tagged(Proto::BoolValue(true)), "/tags/k", json!("true"));
    check(tagged(Proto::DoubleValue(0.25)), "/tags/k", json!("0.25"));
    check(
        tagged(Proto::DoubleValue(f64::NAN)),
        "/tags/k",
        json!("NaN"),
    );
    check(
        tagged(Proto::BytesValue(vec![0xff])),
        "/tags/k",
        json!("/w=="),
    );
    let array = ArrayValue {
        values: vec![
            typed("", Proto::StringValue("a\"".into()))
                .value
                .unwrap_or_default(),
        ],
    };
    check(
        tagged(Proto::ArrayValue(array)),
        "/tags/k",
        json!("[\"a\\\"\"]"),
    );
    check(
        |span| span.attributes = vec![attribute("otel.scope.name", "mine")],
        "/tags/otel.scope.name",
        json!("mine"),
    );
    check(
        |span| span.trace_state = "a=b".into(),
        "/tags/w3c.tracestate",
        json!("a=b"),
    );
    check(
        |span| span.dropped_events_count = 3,
        "/tags/otel.dropped_events_count",
        json!("3"),
    );
    let link = Link {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        attributes: vec![attribute("k", "v")],
        ..Link::default()
    };
    let told = Link {
        trace_state: "a=b|c".into(),
        dropped_attributes_count: 5,
        ..link.clone()
    };
    check(
        |span| span.links = vec![link],
        "/tags/otlp.link.0",
        json!("01010101010101010101010101010101|0202020202020202||{\"k\":\"v\"}|0"),
    );
    check(
        |span| span.links = vec![told],
        "/tags/otlp.link.0",
        json!("01010101010101010101010101010101|0202020202020202|a=b|c|{\"k\":\"v\"}|5"),
    );
}

#[test]
fn a_resource_attribute_gives_way_to_the_spans_own() {
    let mut group = resource_spans("shop", vec![test_support::span(1, 1, 0)]);
    let resource = group.resource.as_mut().unwrap();
    resource.attributes.push(attribute("region", "eu"));
    resource.attributes.push(attribute("zone", "b"));
    group.scope_spans[0].spans[0].attributes = vec![attribute("region", "us")];
    let bytes = encode(
        &[test_support::encode(vec![group]).into()],
        usize::MAX,
        Vec::new(),
    )
    .unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.matches("\"region\"").count(), 1, "{text}");
    let spans: Json = serde_json::from_str(&text).unwrap();
    assert_eq!(
        spans[0]["tags"],
        json!({"region": "us", "zone": "b", "otel.scope.name": "tests"})
    );
}

#[test]
fn each_span_has_its_own_resources_and_scopes_tags() {
    let group = |zone: &str, spans| {
        let mut group = resource_spans("shop", spans);
        let scope = group.scope_spans[0].scope.get_or_insert_default();
        scope.name = format!("of {zone}");
        let resource = group.resource.as_mut().unwrap();
        resource.attributes.push(attribute("zone", zone));
        group
    };
    let mut own = test_support::span(1, 1, 0);
    own.attributes = vec![attribute("zone", "mine")];
    let plain = || test_support::span(1, 2, 0);
    let request = vec![
        group("a", vec![own, plain()]),
        group("b", vec![plain(), plain()]),
    ];
    let batch: Bytes = test_support::encode(request).into();
    let bytes = encode(&[batch.clone(), batch], usize::MAX, Vec::new()).unwrap();
    let spans: Vec<Json> = serde_json::from_slice(&bytes).unwrap();
    let zones: Vec<_> = spans
        .iter()
        .map(|span| span["tags"]["zone"].as_str())
        .collect();
    let once = ["mine", "a", "b", "b"].map(Some);
    assert_eq!(zones, [once, once].concat());
    let scopes = spans
        .iter()
        .map(|span| span["tags"]["otel.scope.name"].as_str());
    let once = ["of a", "of a", "of b", "of b"].map(Some);
    assert_eq!(scopes.collect::<Vec<_>>(), [once, once].concat());
}

#[test]
fn events_are_annotations() {
    let event = |attributes| {
        move |span: &mut Span| {
            span.events = vec![Event {
                time_unix_nano: 5_999,
                name: "retry".into(),
                attributes,
                ..Event::default()
            }];
        }
    };
    check(
        event(Vec::new()),
        "/annotations",
        json!([{"timestamp": 5, "value": "retry"}]),
    );
    check(
        |span| span.events = vec![Event::default()],
        "/annotations/0/timestamp",
        json!(1_700_000_000_000_000_u64),
    );
    check(
        |span| {
            span.start_time_unix_nano = 0;
            span.events = vec![Event::default()];
        },
        "/annotations",
        json!([]),
    );
    check(
        event(vec![typed("attempt", Proto::IntValue(2))]),
        "/annotations/0/value",
        json!("\"retry\": {\"attempt\":2}"),
    );
}

#[test]
fn no_spans_are_an_empty_array_and_bad_bytes_an_error() {
    assert_eq!(encode(&[], 2, Vec::new()).unwrap(), b"[]");
    assert!(encode(&[Bytes::from_static(b"\x0a\x05")], 2, Vec::new()).is_err());
}

#[test]
fn what_every_span_repeats_is_bounded() {
    let spans = (1..=1000).map(|id| test_support::span(7, id, 0)).collect();
    let mut group = resource_spans("shop", spans);
    let resource = group.resource.as_mut().unwrap();
    resource
        .attributes
        .push(attribute("note", &"x".repeat(10_000)));
    let batch = [Bytes::from(test_support::encode(vec![group]))];
    let limit = 1 << 20;
    let fits = 102;
    assert_eq!(
        encode(&batch, limit, Vec::new()),
        Err(EncodeError::TooLarge { limit, fits })
    );
    assert!(encode(&batch, 16 << 20, Vec::new()).is_ok());
}

#[test]
fn more_of_a_resource_than_every_span_can_repeat_is_left_out_and_counted() {
    let name = "ü".repeat(5_000);
    let mut group = resource_spans(&name, vec![test_support::span(7, 1, 0)]);
    group.scope_spans[0].scope.as_mut().unwrap().name = name;
    let resource = group.resource.as_mut().unwrap();
    resource.attributes.extend([
        attribute("first", "1"),
        attribute("large", &"x".repeat(40_000)),
        attribute("last", "3"),
    ]);
    let bytes = encode(
        &[test_support::encode(vec![group]).into()],
        1 << 20,
        Vec::new(),
    )
    .unwrap();
    let span: Json = serde_json::from_slice(&bytes).unwrap();
    let cut = "ü".repeat(2_048);
    assert_eq!(span[0]["localEndpoint"]["serviceName"], cut.as_str());
    assert_eq!(
        span[0]["tags"],
        json!({
            "otel.scope.name": cut, "first": "1", "last": "3",
            "bellwether.dropped_resource_attributes_count": "1",
        })
    );
}

type Change<'a> = Box<dyn Fn(&mut Span) + 'a>;

#[test]
fn no_span_takes_more_memory_than_a_request() {
    let many = |value: Proto| ArrayValue {
        values: vec![AnyValue { value: Some(value) }; 2 << 20],
    };
    let list = |value| typed("k", Proto::ArrayValue(many(value)));
    let long = || "x\n".repeat(8 << 20);
    let event = |name: String| Event {
        name,
        attributes: vec![list(Proto::BoolValue(true))],
        ..Event::default()
    };
    let link = || Link {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        attributes: vec![list(Proto::IntValue(1))],
        ..Link::default()
    };
    let changes: Vec<Change<'_>> = vec![
        Box::new(|span| span.name = long()),
        Box::new(|span| span.trace_state = long()),
        Box::new(|span| span.attributes = vec![attribute("k", &long())]),
        Box::new(|span| span.attributes = vec![list(Proto::IntValue(1))]),
        Box::new(|span| span.attributes = vec![typed("k", Proto::BytesValue(vec![1; 8 << 20]))]),
        Box::new(|span| {
            let key = |number| attribute(&format!("{number:x}"), "");
            span.attributes = (0..100_000).map(key).collect();
        }),
        Box::new(|span| span.events = vec![event(long())]),
        Box::new(|span| span.events = vec![event("e".into())]),
        Box::new(|span| span.links = vec![link()]),
    ];
    let limit = 4 << 20;
    for (number, change) in changes.iter().enumerate() {
        let mut large = test_support::span(7, 2, 0);
        change(&mut large);
        let spans = vec![test_support::span(7, 1, 0), large];
        let batch = test_support::encode(vec![resource_spans("shop", spans)]);
        let encoded = encode(&[batch.into()], limit, Vec::new());
        let expected = EncodeError::TooLarge { limit, fits: 1 };
        assert_eq!(encoded, Err(expected), "{number}");
    }
}

#[test]
fn many_keys_are_written_once_each_and_fast() {
    let mut attributes: Vec<_> = (0..60_000)
        .map(|key| attribute(&format!("{key:06}"), ""))
        .collect();
    attributes.push(attribute("000007", "again"));
    let mut span = test_support::span(7, 2, 1);
    span.attributes = attributes;
    let started = std::time::Instant::now();
    let tags = zipkin(span)["tags"].as_object().unwrap().clone();
    // Comparing each key with each would take minutes.
    assert!(started.elapsed() < std::time::Duration::from_secs(10));
    assert_eq!(tags.len(), 60_001, "with the scope's name");
    assert_eq!(tags["000007"], "");
}

/// A span as it came from Zipkin, and as it goes there again.
fn there_and_back(span: &Json) -> Json {
    let body = json!([span]).to_string();
    let request = crate::wire::zipkin_json(body.as_bytes(), 1 << 20).unwrap();
    let bytes = encode(&[request.into()], usize::MAX, Vec::new()).unwrap();
    let mut spans: Vec<Json> = serde_json::from_slice(&bytes).unwrap();
    spans.remove(0)
}

#[test]
fn what_came_from_zipkin_goes_there_as_it_came() {
    let span = json!({
        "traceId": "00000000000000000000000000000007", "id": "0000000000000002", "parentId": "0000000000000001",
        "kind": "SERVER", "shared": true, "debug": true, "name": "get /", "timestamp": 5, "duration": 3,
        "localEndpoint": {"serviceName": "back", "ipv4": "10.0.0.2", "port": 80},
        "remoteEndpoint": {"serviceName": "front", "ipv6": "::1", "port": 5421},
        "annotations": [{"timestamp": 6, "value": "cache miss"}],
        "tags": {"http.path": "/", "error": "boom", "otel.status_code": "ERROR"},
    });
    let mut expected = span.clone();
    // What the endpoints say is told in OpenTelemetry's terms as well.
    for (key, value) in [
        ("network.local.address", "10.0.0.2"),
        ("network.local.port", "80"),
        ("peer.service", "front"),
        ("network.peer.address", "::1"),
        ("network.peer.port", "5421"),
    ] {
        expected["tags"][key] = value.into();
    }
    assert_eq!(there_and_back(&span), expected);
    assert_eq!(there_and_back(&expected), expected);
    let mut root = expected.clone();
    for absent in ["parentId", "debug", "remoteEndpoint"] {
        root.as_object_mut().unwrap().remove(absent);
    }
    assert_eq!(there_and_back(&root)["shared"], json!(true));
    assert_eq!(there_and_back(&root)["parentId"], json!(null));
    let mut without_start = expected.clone();
    without_start.as_object_mut().unwrap().remove("timestamp");
    assert_eq!(there_and_back(&without_start), without_start);
    for kind in ["CLIENT", "PRODUCER", "CONSUMER"] {
        let mut span = expected.clone();
        span.as_object_mut().unwrap().remove("shared");
        span["kind"] = kind.into();
        assert_eq!(there_and_back(&span), span);
    }
}

#[test]
fn a_child_below_a_server_half_names_the_shared_id_again() {
    let span = |id: &str, service: &str, shared: bool| json!({"traceId": "7", "id": id, "parentId": "2", "shared": shared, "localEndpoint": {"serviceName": service}});
    let mut half = span("2", "back", true);
    half["kind"] = "SERVER".into();
    half["parentId"] = "1".into();
    let body = json!([half, span("3", "back", false)]).to_string();
    let request = crate::wire::zipkin_json(body.as_bytes(), 1 << 20).unwrap();
    let bytes = encode(&[request.into()], usize::MAX, Vec::new()).unwrap();
    let spans: Json = serde_json::from_slice(&bytes).unwrap();
    for (index, id, parent) in [(0, 2, 1), (1, 3, 2)] {
        assert_eq!(spans[index]["id"], json!(format!("{id:016x}")));
        assert_eq!(spans[index]["parentId"], json!(format!("{parent:016x}")));
    }
}

fn by_id(json: &[u8]) -> Vec<Json> {
    let mut spans: Vec<Json> = serde_json::from_slice(json).unwrap();
    spans.sort_by_key(|span| format!("{}{}", span["traceId"], span["id"]));
    spans
}

/// What Zipkin's format can hold of the spans, by their ids.
fn as_told(request: &[u8]) -> Vec<String> {
    let mut told = Vec::new();
    let micros = |nanos: u64| nanos / 1_000;
    walk(request, |span| {
        let event = |event: EventRef<'_>| (micros(event.time_unix_nano), event.name.to_owned());
        let events = span.events().map(event).filter(|(time, _)| *time > 0);
        let links = span.links().map(|link| {
            let dropped = link.dropped_attributes;
            (link.trace_id, link.span_id, link.trace_state, dropped)
        });
        // A message is of failures alone.
        let failed = (span.status == StatusCode::Error).then(|| span.status_message());
        told.push(format!(
            "{:032x} {:?}",
            u128::from_be_bytes(span.trace_id),
            (
                (span.span_id, span.parent_span_id),
                (span.name, kind(span.kind)),
                span.resource.service_name,
                (span.scope.name(), span.scope.version()),
                (span.status, failed),
                micros(span.start_unix_nano),
                span.trace_state(),
                events.collect::<Vec<_>>(),
                links.collect::<Vec<_>>(),
            )
        ));
    })
    .unwrap();
    told.sort();
    told
}

/// Attributes that say more to Zipkin than a tag does.
fn telling_attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let name = prop::sample::select(vec![
        "peer.service",
        "server.address",
        "net.peer.name",
        "network.peer.address",
        "network.local.address",
        "db.name",
        "error",
    ]);
    let text = prop::sample::select(vec!["", "pg", "10.0.0.1", "::1", "80"]);
    let port = prop::sample::select(vec![
        "server.port",
        "network.peer.port",
        "network.local.port",
    ]);
    let number = prop::sample::select(vec![0, 80, 70_000]);
    let attribute = prop_oneof![
        (name, text).prop_map(|(key, text)| attribute(key, text)),
        (port, number).prop_map(|(key, port)| typed(key, Proto::IntValue(port))),
    ];
    // A key that comes twice is no valid OTLP.
    proptest::collection::vec(attribute, 0..6).prop_map(|mut attributes| {
        attributes.sort_by(|a, b| a.key.cmp(&b.key));
        attributes.dedup_by(|a, b| a.key == b.key);
        attributes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Zipkin has texts only, so values come back as texts; as Zipkin sees it, nothing has changed.
    #[test]
    fn our_own_output_read_back_is_the_same(
        mut request in crate::wire::any_request::any_request(),
        telling in telling_attributes(),
    ) {
        for group in &mut request.resource_spans {
            for span in group.scope_spans.iter_mut().flat_map(|scope| &mut scope.spans) {
                span.attributes.extend(telling.clone());
            }
        }
        let bytes = request.encode_to_vec();
        let sent = encode(&[bytes.clone().into()], usize::MAX, Vec::new()).unwrap();
        let read = crate::wire::zipkin_json(&sent, 1 << 20).unwrap();
        let again = encode(&[read.clone().into()], usize::MAX, Vec::new()).unwrap();
        prop_assert_eq!(by_id(&again), by_id(&sent));
        prop_assert_eq!(as_told(&read), as_told(&bytes));
    }

    #[test]
    fn hostile_texts_stay_inside_their_strings(
        name in any::<String>(),
        key in any::<String>(),
        value in any::<String>(),
        event in any::<String>(),
        message in any::<String>(),
    ) {
        let mut span = test_support::span(1, 1, 0);
        span.name = name.clone();
        span.attributes = vec![attribute(&key, &value)];
        span.trace_state = value.clone();
        span.status = Some(Status { code: Code::Error.into(), message: message.clone() });
        span.events = vec![Event { name: event.clone(), ..Event::default() }];
        let json = zipkin(span);
        prop_assert_eq!(&json["name"], &Json::from(name));
        prop_assert_eq!(&json["tags"]["error"], &Json::from(message));
        prop_assert_eq!(&json["annotations"][0]["value"], &Json::from(event));
        if !["error", "otel.status_code", "w3c.tracestate"].contains(&&key[..]) {
            prop_assert_eq!(&json["tags"][&key], &Json::from(value));
        }
    }
}
