//! Zipkin JSON and protobuf: what Zipkin's senders write, and everything they may get wrong.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Proto;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind as Kind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as Code;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, Status};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};

use super::decoded;
use crate::wire::oracle::zipkin as proto;
use crate::wire::test_support::{attribute, field};
use crate::wire::{MOST_MEMORY, TranscodeError, zipkin_json, zipkin_protobuf};

const ROOMY: usize = 1 << 24;

fn groups(spans: &Value) -> Vec<ResourceSpans> {
    decoded(zipkin_json(spans.to_string().as_bytes(), ROOMY)).resource_spans
}

/// The one span made of `members` and ids.
fn span(members: Value) -> Span {
    let mut span =
        json!({"traceId": "0000000000000007", "id": "2", "localEndpoint": {"serviceName": "shop"}});
    let Value::Object(members) = members else {
        panic!("an object is needed");
    };
    span.as_object_mut().unwrap().extend(members);
    let mut groups = groups(&json!([span]));
    assert_eq!(groups.len(), 1);
    groups[0].scope_spans[0].spans.remove(0)
}

fn fault(body: &str) -> String {
    zipkin_json(body.as_bytes(), ROOMY).unwrap_err().to_string()
}

fn typed(key: &str, value: Proto) -> KeyValue {
    KeyValue {
        value: Some(AnyValue { value: Some(value) }),
        ..attribute(key, "")
    }
}

fn id(id: u64) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

#[test]
fn a_span_as_brave_sends_it() {
    let body = r#"[{"traceId":"5982fe77008310cc80f1da5e10147517","parentId":"90394f6bcffb5d13","id":"67fae42571535f60",
      "kind":"SERVER","name":"get /m/n/2.6.1","timestamp":1516781775726000,"duration":26000,
      "localEndpoint":{"serviceName":"api","ipv4":"10.57.50.83","port":8080},
      "remoteEndpoint":{"serviceName":"front","ipv4":"10.57.50.84","port":5421},
      "annotations":[{"timestamp":1516781775727000,"value":"cache miss"}],
      "tags":{"http.path":"/m/n/2.6.1","http.status_code":"200"}}]"#;
    let groups = decoded(zipkin_json(body.as_bytes(), ROOMY)).resource_spans;
    let resource = groups[0].resource.as_ref().unwrap();
    assert_eq!(resource.attributes, [attribute("service.name", "api")]);
    let span = &groups[0].scope_spans[0].spans[0];
    assert_eq!(span.trace_id[..2], [0x59, 0x82]);
    assert_eq!(span.span_id, id(0x67fa_e425_7153_5f60));
    assert_eq!(span.parent_span_id, id(0x9039_4f6b_cffb_5d13));
    assert_eq!(span.kind(), Kind::Server);
    assert_eq!(span.start_time_unix_nano, 1_516_781_775_726_000_000);
    assert_eq!(span.end_time_unix_nano, 1_516_781_775_752_000_000);
    assert_eq!(span.events[0].name, "cache miss");
    assert_eq!(span.events[0].time_unix_nano, 1_516_781_775_727_000_000);
    assert_eq!(span.status, None);
    let expected = [
        attribute("http.path", "/m/n/2.6.1"),
        attribute("http.status_code", "200"),
        attribute("network.local.address", "10.57.50.83"),
        typed("network.local.port", Proto::IntValue(8080)),
        attribute("peer.service", "front"),
        attribute("network.peer.address", "10.57.50.84"),
        typed("network.peer.port", Proto::IntValue(5421)),
    ];
    assert_eq!(span.attributes, expected);
}

#[test]
fn short_ids_are_padded_on_the_left() {
    let check = |trace_id: &str, expected: u128| {
        let span = span(json!({ "traceId": trace_id, "id": "Ab1", "parentId": "3" }));
        assert_eq!(span.trace_id, expected.to_be_bytes());
        assert_eq!(span.span_id, id(0xab1));
        assert_eq!(span.parent_span_id, id(3));
    };
    check("463ac35c9f6413ad", 0x463a_c35c_9f64_13ad);
    check("1463ac35c9f6413ad", 0x1_463a_c35c_9f64_13ad);
    check("7", 7);
    for none in [
        json!(null),
        json!(""),
        json!("0000000000000000"),
        json!("0000000000000002"),
    ] {
        assert_eq!(span(json!({ "parentId": none })).parent_span_id, [0_u8; 0]);
    }
}

#[test]
fn kinds_and_times_that_are_missing() {
    let kind = |members| span(members).kind();
    assert_eq!(kind(json!({})), Kind::Internal);
    assert_eq!(kind(json!({ "kind": null })), Kind::Internal);
    assert_eq!(kind(json!({ "kind": "PRODUCER" })), Kind::Producer);
    let times = |members| {
        let span = span(members);
        (span.start_time_unix_nano, span.end_time_unix_nano)
    };
    assert_eq!(times(json!({})), (0, 0));
    assert_eq!(times(json!({ "timestamp": 5 })), (5_000, 0));
    // Without a start there is no end to put: it would be one in 1970.
    let without_start = span(json!({ "timestamp": 0, "duration": 3 }));
    assert_eq!(
        without_start.attributes,
        [typed("zipkin.duration", Proto::IntValue(3))]
    );
    assert_eq!(times(json!({ "timestamp": 0, "duration": 3 })), (0, 0));
    assert_eq!(
        times(json!({ "timestamp": "9007199254740993.5", "duration": "0" })),
        (9_007_199_254_740_993_000, 0)
    );
    assert_eq!(
        times(json!({ "timestamp": "5", "duration": 1.5e3 })),
        (5_000, 1_505_000)
    );
    assert_eq!(times(json!({ "timestamp": 5, "duration": -1 })), (5_000, 0));
    assert_eq!(
        times(json!({ "timestamp": 5.9, "duration": 1 })),
        (5_000, 6_000)
    );
}

#[test]
fn annotations_of_the_first_format_tell_kind_and_times() {
    let check = |marks: &[(&str, u64)], members: Value, kind: Kind, times: (u64, u64)| {
        let annotations: Value = marks
            .iter()
            .map(|(value, at)| json!({"value": value, "timestamp": at, "endpoint": {"serviceName": "a"}}))
            .collect();
        let mut all = json!({ "annotations": annotations });
        all.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        let span = span(all);
        assert_eq!(span.kind(), kind, "{marks:?}");
        let got = (span.start_time_unix_nano, span.end_time_unix_nano);
        assert_eq!(got, times, "{marks:?}");
        assert_eq!(span.events.len(), marks.len(), "nothing is taken away");
    };
    check(
        &[("cr", 9), ("cs", 4)],
        json!({}),
        Kind::Client,
        (4_000, 9_000),
    );
    check(
        &[("sr", 4), ("ss", 9)],
        json!({}),
        Kind::Server,
        (4_000, 9_000),
    );
    check(
        &[("ss", 9)],
        json!({"kind": "SERVER", "timestamp": 4, "duration": 2}),
        Kind::Server,
        (4_000, 6_000),
    );
    check(&[("cs", 4)], json!({}), Kind::Client, (4_000, 0));
    check(&[("sr", 9), ("ss", 4)], json!({}), Kind::Server, (9_000, 0));
    check(&[("ms", 4)], json!({}), Kind::Producer, (4_000, 0));
    check(&[("mr", 4)], json!({}), Kind::Consumer, (4_000, 0));
    check(&[("retry", 4)], json!({}), Kind::Internal, (0, 0));
}

#[test]
fn failure_is_any_error_but_false() {
    let check = |tags: Value, expected: Option<(Code, &str)>| {
        let span = span(json!({ "tags": tags }));
        let expected = expected.map(|(code, message)| Status {
            code: code.into(),
            message: message.to_owned(),
        });
        assert_eq!(span.status, expected, "{tags}");
        assert_eq!(span.attributes, [], "{tags}");
    };
    check(json!({}), None);
    check(json!({"error": "boom"}), Some((Code::Error, "boom")));
    check(json!({"error": ""}), Some((Code::Error, "")));
    check(json!({"error": true}), Some((Code::Error, "true")));
    check(json!({"error": 500}), Some((Code::Error, "500")));
    check(json!({"error": "false"}), None);
    check(json!({"error": false}), None);
    check(json!({"error": null}), None);
    check(json!({"otel.status_code": "OK"}), Some((Code::Ok, "")));
    check(
        json!({"otel.status_code": "STATUS_CODE_OK"}),
        Some((Code::Ok, "")),
    );
    check(json!({"otel.status_code": "Ok"}), Some((Code::Ok, "")));
    check(
        json!({"otel.status_code": "Error"}),
        Some((Code::Error, "")),
    );
    check(json!({"otel.status_code": "UNSET"}), None);
    check(
        json!({"otel.status_code": "STATUS_CODE_ERROR", "error": "false"}),
        Some((Code::Error, "")),
    );
    check(
        json!({"otel.status_code": "OK", "error": "boom"}),
        Some((Code::Error, "boom")),
    );
    // As the OpenTelemetry Collector tells it.
    let described = |error: &str| json!({"error": error, "otel.status_code": "Error", "otel.status_description": "boom"});
    let message = |tags: Value| {
        let span = span(json!({ "tags": tags }));
        let other = |tag: &KeyValue| tag.key == "otel.status_description";
        (
            span.status.map(|status| status.message),
            span.attributes.iter().any(other),
        )
    };
    let boom = || Some("boom".to_owned());
    assert_eq!(message(described("true")), (boom(), false));
    assert_eq!(message(described("")), (boom(), false));
    assert_eq!(
        message(described("crash")),
        (Some("crash".to_owned()), true)
    );
    assert_eq!(
        message(json!({"otel.status_code": "OK", "otel.status_description": "boom"})),
        (boom(), false)
    );
    assert_eq!(
        message(json!({"otel.status_description": "boom"})),
        (None, true)
    );
    let odd = span(json!({"tags": {"otel.status_code": "MAYBE"}}));
    assert_eq!(odd.attributes, [attribute("otel.status_code", "MAYBE")]);
}

#[test]
fn tags_keep_their_type_and_some_are_fields() {
    let tagged = span(json!({"tags": {
        "a": 7, "b": true, "c": 0.5, "d": "x\n", "e": null, "f": 18_446_744_073_709_551_615_u64,
    }}));
    let expected = [
        typed("a", Proto::IntValue(7)),
        typed("b", Proto::BoolValue(true)),
        typed("c", Proto::DoubleValue(0.5)),
        attribute("d", "x\n"),
        typed("f", Proto::DoubleValue(18_446_744_073_709_551_615.0)),
    ];
    assert_eq!(tagged.attributes, expected);
    let fields = span(json!({"debug": true, "tags": {
        "w3c.tracestate": "a=b",
        "otel.dropped_attributes_count": "1",
        "otel.dropped_events_count": 2,
        "otel.dropped_links_count": "many",
        "otlp.link.0": "00000000000000000000000000000001|0000000000000002|c=d|{\"k\":[1,null,{\"x|y\":\"|\"}]}|3",
        "otlp.link.1": "no link",
    }}));
    assert_eq!(fields.trace_state, "a=b");
    assert_eq!(fields.dropped_attributes_count, 1);
    assert_eq!(fields.dropped_events_count, 2);
    let link = &fields.links[0];
    assert_eq!(
        (&link.trace_id, &link.span_id),
        (&1_u128.to_be_bytes().to_vec(), &id(2))
    );
    assert_eq!(
        (&*link.trace_state, link.dropped_attributes_count),
        ("c=d", 3)
    );
    assert_eq!(link.attributes.len(), 1);
    let expected = [
        attribute("otel.dropped_links_count", "many"),
        attribute("otlp.link.1", "no link"),
        typed("zipkin.debug", Proto::BoolValue(true)),
    ];
    assert_eq!(fields.attributes, expected);
}

#[test]
fn annotations_with_attributes_are_events_with_attributes() {
    let check = |value: &str, name: &str, attributes: Vec<KeyValue>| {
        let span = span(json!({"annotations": [{"timestamp": 5, "value": value}]}));
        assert_eq!(span.events.len(), 1);
        assert_eq!(span.events[0].time_unix_nano, 5_000);
        assert_eq!(span.events[0].name, name, "{value}");
        assert_eq!(span.events[0].attributes, attributes, "{value}");
    };
    let attempt = || vec![typed("attempt", Proto::IntValue(2))];
    check("retry", "retry", vec![]);
    check("\"retry\": {\"attempt\":2}", "retry", attempt());
    check("{\"retry\": {\"attempt\": 2}}", "retry", attempt());
    check("{\"retry\": {}}", "retry", vec![]);
    check("retry|{\"attempt\":2}|3", "retry", attempt());
    let piped = span(json!({"annotations": [{"timestamp": 5, "value": "a|{\"b\":\"|\"}|3"}]}));
    assert_eq!(piped.events[0].dropped_attributes_count, 3);
    assert_eq!(piped.events[0].attributes, [attribute("b", "|")]);
    check("\"a \\\"b\\\"\": {\"attempt\":2}", "a \"b\"", attempt());
    for text in [
        "{}",
        "\"quoted\"",
        "{\"a\":{},\"b\":{}}",
        "{\"a\":1}",
        "\"a\": {} and more",
        "a|b",
        "a|{}|many",
        "a|{]|1",
        "{",
        "\"",
    ] {
        check(text, text, vec![]);
    }
}

#[test]
fn spans_are_grouped_by_service_and_scope() {
    let span = |service: Value, scope: Value| json!({"traceId": "7", "id": "2", "localEndpoint": service, "tags": {"otel.scope.name": scope}});
    let (a, b) = (json!({"serviceName": "a"}), json!({"serviceName": "b"}));
    let groups = groups(&json!([
        span(a.clone(), json!("x")),
        span(b, json!("x")),
        span(a.clone(), json!("x")),
        span(a, json!(null)),
        span(json!(null), json!(null)),
        span(json!({"serviceName": null}), json!(null)),
    ]));
    let old = json!({"traceId": "7", "id": "2", "tags": {"otel.library.name": "x", "otel.library.version": "1"}});
    let [of_old] = &self::groups(&json!([old]))[..] else {
        panic!("one group was sent");
    };
    let scope = of_old.scope_spans[0].scope.clone().unwrap_or_default();
    assert_eq!((&*scope.name, &*scope.version), ("x", "1"));
    let counts: Vec<_> = groups
        .iter()
        .map(|group| {
            let resource = group.resource.as_ref();
            let service = resource.map(|resource| resource.attributes.clone());
            let scope = group.scope_spans[0].scope.as_ref();
            let scope = scope.map(|scope| scope.name.as_str());
            (service, scope, group.scope_spans[0].spans.len())
        })
        .collect();
    let service = |name| Some(vec![attribute("service.name", name)]);
    let expected = [
        (service("a"), Some("x"), 2),
        (service("b"), Some("x"), 1),
        (service("a"), None, 1),
        (None, None, 2),
    ];
    assert_eq!(counts, expected);
}

fn half(service: &str, id: &str, parent: Option<&str>, kind: &str, shared: bool) -> Value {
    json!({"traceId": "7", "id": id, "parentId": parent, "kind": kind, "shared": shared, "name": service,
           "localEndpoint": {"serviceName": service}})
}

/// The spans by name, each with its id and its parent's.
fn ids(spans: &Value) -> impl Fn(&str) -> (Vec<u8>, Vec<u8>, Vec<KeyValue>) + use<> {
    let groups = groups(spans);
    move |name| {
        let mut spans = groups.iter().flat_map(|group| &group.scope_spans[0].spans);
        let span = spans.find(|span| span.name == name).unwrap();
        let own = span
            .attributes
            .iter()
            .filter(|tag| tag.key.starts_with("zipkin."));
        (
            span.span_id.clone(),
            span.parent_span_id.clone(),
            own.cloned().collect(),
        )
    }
}

#[test]
fn the_server_half_of_a_shared_span_is_a_span_of_its_own() {
    let two = |shared| {
        ids(&json!([
            half("back", "2", Some("1"), "SERVER", shared),
            half("front", "2", Some("1"), "CLIENT", false),
            half("other", "2", None, "SERVER", shared),
        ]))
    };
    // Without the flag, too, as both halves are here.
    for shared in [true, false] {
        let spans = two(shared);
        let (client, server, other) = (spans("front"), spans("back"), spans("other"));
        assert_eq!(client, (id(2), id(1), vec![]));
        assert_ne!(server.0, id(2));
        assert_ne!(server.0, other.0);
        let was = |name: &str, id| attribute(name, &format!("{id:016x}"));
        assert_eq!(server.1, id(2));
        assert_eq!(server.2, [was("zipkin.id", 2), was("zipkin.parent_id", 1)]);
        assert_eq!(other.1, id(2));
        assert_eq!(other.2, [was("zipkin.id", 2)]);
    }
    let alone = ids(&json!([half("back", "2", Some("1"), "SERVER", true)]));
    assert_eq!(
        alone("back"),
        two(true)("back"),
        "the same whatever else is there"
    );
    let plain = ids(&json!([half("back", "2", Some("1"), "SERVER", false)]));
    assert_eq!(plain("back"), (id(2), id(1), vec![]));
    let client = ids(&json!([half("front", "2", Some("1"), "CLIENT", true)]));
    assert_eq!(client("front"), (id(2), id(1), vec![]));
}

#[test]
fn children_of_a_shared_span_are_those_of_the_half_of_their_service() {
    let spans = ids(&json!([
        half("back", "2", Some("1"), "SERVER", true),
        half("front", "2", Some("1"), "CLIENT", false),
        json!({"traceId": "7", "id": "3", "parentId": "2", "name": "in back", "localEndpoint": {"serviceName": "back"}}),
        json!({"traceId": "7", "id": "4", "parentId": "2", "name": "in front", "localEndpoint": {"serviceName": "front"}}),
        json!({"traceId": "8", "id": "3", "parentId": "2", "name": "elsewhere", "localEndpoint": {"serviceName": "back"}}),
    ]));
    let server = spans("back").0;
    assert_eq!(
        spans("in back"),
        (
            id(3),
            server,
            vec![attribute("zipkin.parent_id", "0000000000000002")]
        )
    );
    assert_eq!(spans("in front"), (id(4), id(2), vec![]));
    assert_eq!(spans("elsewhere"), (id(3), id(2), vec![]));
}

#[test]
fn endpoints_that_the_tags_tell_already_are_not_told_again() {
    let attributes = |remote: Value, tags: Value| {
        let span = span(json!({"kind": "CLIENT", "remoteEndpoint": remote, "tags": tags}));
        let keys = span.attributes.into_iter().map(|attribute| attribute.key);
        keys.collect::<Vec<_>>()
    };
    let pg = json!({"serviceName": "pg", "port": 5432});
    assert_eq!(
        attributes(pg.clone(), json!({})),
        ["peer.service", "network.peer.port"]
    );
    assert_eq!(
        attributes(
            pg.clone(),
            json!({"server.address": "pg", "server.port": "5432"})
        ),
        ["server.address", "server.port"]
    );
    assert_eq!(
        attributes(pg, json!({"peer.service": "x", "server.port": 5432})),
        ["peer.service", "server.port"]
    );
    let address = json!({"serviceName": "10.0.0.1", "ipv4": "10.0.0.1"});
    assert_eq!(
        attributes(address.clone(), json!({"server.address": "10.0.0.1"})),
        ["server.address"]
    );
    assert_eq!(
        attributes(address, json!({})),
        ["peer.service", "network.peer.address"]
    );
    assert_eq!(
        attributes(json!({"ipv6": "::1"}), json!({})),
        ["network.peer.address"]
    );
    assert_eq!(
        attributes(json!({"ipv4": null, "port": null}), json!({})),
        [""; 0]
    );
    for no_port in [json!(-1), json!(0), json!(65_536), json!("1e30")] {
        assert_eq!(
            attributes(json!({"serviceName": "pg", "port": no_port}), json!({})),
            ["peer.service"]
        );
    }
}

#[test]
fn faults_say_what_and_where() {
    let check = |body: &str, expected: &str| {
        let text = fault(body);
        assert!(text.contains(expected), "{body}: {text}");
    };
    check(
        "{}",
        "line 1, column 1 (span 0, counted from 0): there is an object where an array is expected",
    );
    check("", "the text ends where an array is expected");
    check(
        "[{\"traceId\":\"7\",\"id\":\"1\"},\n {\"traceId\":\"7\"}]",
        "line 2, column 2 (span 1, counted from 0): it has no `id`",
    );
    check(r#"[{"id":"1"}]"#, "it has no `traceId`");
    check(
        r#"[{"traceId":"0","id":"1"}]"#,
        "no `traceId`, or one of zeros",
    );
    check(
        r#"[{"traceId":"x"}]"#,
        "`traceId` is up to 32 hex digits, not `x`",
    );
    check(
        r#"[{"id":"12345678901234567"}]"#,
        "`id` is up to 16 hex digits",
    );
    check(
        r#"[{"id":7}]"#,
        "there is `7` where a text in quotes is expected",
    );
    check(r#"[{"kind":"client"}]"#, "not `client`");
    check(
        r#"[{"timestamp":"noon"}]"#,
        "`noon` is no number of microseconds",
    );
    check(
        r#"[{"traceId":"7","id":"1","timestamp":18446744073709552}]"#,
        "beyond the year 2554",
    );
    check(
        r#"[{"traceId":"7","id":"1","timestamp":1,"duration":18446744073709551615}]"#,
        "beyond the year 2554",
    );
    check(r#"[{"tags":{"k":[]}}]"#, "the tag `k` is no text");
    check(r#"[{"tags":{"error":{}}}]"#, "the tag `error` is no text");
    check(
        r#"[{"tags":[]}]"#,
        "there is an array where an object is expected",
    );
    check(
        r#"[{"localEndpoint":{"port":80.5}}]"#,
        "`80.5` is no whole number in the range",
    );
    check(
        r#"[{"binaryAnnotations":[]}]"#,
        "Zipkin's format v1; send v2",
    );
    check("[] []", "something follows");
    let cut = zipkin_protobuf(b"\x0a\x05\x0a\x10", ROOMY).unwrap_err();
    assert!(
        cut.to_string()
            .contains("span 0 (counted from 0): truncated protobuf"),
        "{cut}"
    );
}

#[test]
fn protobuf_says_the_same_as_json() {
    let endpoint = |name: &str| {
        Some(proto::Endpoint {
            service_name: name.to_owned(),
            ipv4: vec![10, 0, 0, 1],
            ipv6: Vec::new(),
            port: 80,
        })
    };
    let mut span = proto::Span {
        trace_id: id(7),
        parent_id: id(1),
        id: id(2),
        kind: 2,
        name: "get".to_owned(),
        timestamp: 5,
        duration: 3,
        local_endpoint: endpoint("back"),
        remote_endpoint: endpoint("front"),
        annotations: vec![proto::Annotation {
            timestamp: 6,
            value: "\"retry\": {\"attempt\":2}".to_owned(),
        }],
        tags: [("error".to_owned(), "boom".to_owned())].into(),
        debug: true,
        shared: true,
    };
    let mut json = json!({
        "traceId": "7", "parentId": "1", "id": "2", "kind": "SERVER", "name": "get", "timestamp": 5, "duration": 3,
        "localEndpoint": {"serviceName": "back", "ipv4": "10.0.0.1", "port": 80},
        "remoteEndpoint": {"serviceName": "front", "ipv4": "10.0.0.1", "port": 80},
        "annotations": [{"timestamp": 6, "value": "\"retry\": {\"attempt\":2}"}],
        "tags": {"error": "boom"}, "debug": true, "shared": true,
    });
    let check = |span: &proto::Span, json: &Value| {
        let list = proto::ListOfSpans {
            spans: vec![span.clone()],
        };
        let ours = decoded(zipkin_protobuf(&list.encode_to_vec(), ROOMY));
        assert_eq!(ours.resource_spans, groups(&json!([json])));
    };
    check(&span, &json);
    for (kind, name) in [
        (0, Value::Null),
        (1, "CLIENT".into()),
        (3, "PRODUCER".into()),
        (4, "CONSUMER".into()),
    ] {
        span.kind = kind;
        json["kind"] = name;
        check(&span, &json);
    }
    span.remote_endpoint.as_mut().unwrap().ipv4 = Vec::new();
    span.remote_endpoint.as_mut().unwrap().ipv6 = vec![0xfe; 16];
    json["remoteEndpoint"] = json!({"serviceName": "front", "ipv6": "fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe", "port": 80});
    check(&span, &json);
    span.trace_id = vec![1; 17];
    let list = proto::ListOfSpans { spans: vec![span] };
    let error = zipkin_protobuf(&list.encode_to_vec(), ROOMY).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("its trace_id has 17 bytes; 16 are the most"),
        "{error}"
    );
}

#[test]
fn what_would_take_too_much_memory_is_refused() {
    let body = format!(
        "[{}]",
        vec![r#"{"traceId":"1","id":"1"}"#; 10_000].join(",")
    );
    let limit = body.len() * 2;
    let refused = zipkin_json(body.as_bytes(), limit);
    assert_eq!(refused, Err(TranscodeError::TooLarge { limit }));
    let taken = zipkin_json(body.as_bytes(), body.len() * MOST_MEMORY);
    assert_eq!(
        decoded(taken).resource_spans[0].scope_spans[0].spans.len(),
        10_000
    );
}

#[test]
fn memory_for_places_and_copied_names_counts() {
    let service = |n: usize| format!("\\u0041{}{n}", "a".repeat(2_000));
    let span = |n: usize| {
        let service = service(n);
        format!(r#"{{"traceId":"1","id":"1","localEndpoint":{{"serviceName":"{service}"}}}}"#)
    };
    let spans: Vec<_> = (0..100).map(span).collect();
    let body = format!("[{}]", spans.join(","));
    // Once where they are gathered, and once as they are written.
    let least = 2 * 100 * 2_000;
    let refused = zipkin_json(body.as_bytes(), least);
    assert_eq!(refused, Err(TranscodeError::TooLarge { limit: least }));
    let taken = decoded(zipkin_json(body.as_bytes(), least * 3 / 2));
    assert_eq!(taken.resource_spans.len(), 100);
    // Ten bytes a span are written, their places and ids take more.
    // And they are told as they come: what follows is not looked at any more.
    let spans = vec![r#"{"traceId":"1","id":"1"}"#; 1_000].join(",");
    let tiny = format!("[{spans},no JSON");
    let limit = 40 * 1_000;
    let refused = zipkin_json(tiny.as_bytes(), limit);
    assert_eq!(refused, Err(TranscodeError::TooLarge { limit }));
}

#[test]
fn spans_of_a_service_stay_in_their_order() {
    let span = |n: u64| {
        let service = if n.is_multiple_of(3) { "a" } else { "b" };
        half(
            service,
            &format!("{:x}", 1_000 - n),
            None,
            "SERVER",
            n == 50,
        )
    };
    let spans: Vec<_> = (0..100).map(span).collect();
    let groups = groups(&json!(spans));
    let [a, b] = &groups[..] else {
        panic!("two services were sent");
    };
    for group in [a, b] {
        let sent = |span: &Span| {
            let shared = span.attributes.iter().find(|tag| tag.key == "zipkin.id");
            match shared {
                Some(_) => 950,
                None => u64::from_be_bytes(span.span_id[..].try_into().unwrap()),
            }
        };
        let ids: Vec<_> = group.scope_spans[0].spans.iter().map(sent).collect();
        assert!(ids.is_sorted_by(|a, b| a > b), "{ids:?}");
    }
}

/// Many spans that are as small as can be and still make as much of it as can be.
#[test]
fn the_most_memory_is_enough_for_the_worst() {
    let json: Vec<_> = (0..5_000)
        .map(|n| {
            format!(
                r#"{{"traceId":"1","id":"1","parentId":"2","kind":"SERVER","shared":true,"debug":true,"localEndpoint":{{"serviceName":"{n}","ipv6":"::1","port":1}},"remoteEndpoint":{{"serviceName":"a","ipv4":"1.1.1.1","port":1}},"tags":{{"":1,"a":2}},"annotations":[{{}}]}}"#
            )
        })
        .collect();
    let body = format!("[{}]", json.join(","));
    decoded(zipkin_json(body.as_bytes(), body.len() * MOST_MEMORY));
    let spans = (0..5_000_u32)
        .map(|n| proto::Span {
            trace_id: vec![1],
            parent_id: vec![2],
            id: vec![1],
            kind: 2,
            debug: true,
            shared: true,
            local_endpoint: Some(proto::Endpoint {
                service_name: n.to_string(),
                ipv4: vec![255; 4],
                port: 65_535,
                ..Default::default()
            }),
            remote_endpoint: Some(proto::Endpoint {
                service_name: "a".to_owned(),
                ipv4: vec![255; 4],
                port: 65_535,
                ..Default::default()
            }),
            annotations: vec![proto::Annotation::default(); 3],
            tags: [
                ("a".to_owned(), String::new()),
                (String::new(), String::new()),
            ]
            .into(),
            ..Default::default()
        })
        .collect();
    let body = proto::ListOfSpans { spans }.encode_to_vec();
    decoded(zipkin_protobuf(&body, body.len() * MOST_MEMORY));
}

/// One span as `ListOfSpans` has it, of the fields that grow most.
fn tiny_span(
    service: Option<u8>,
    ports: (bool, bool),
    (parent, shared, debug): (bool, bool, bool),
    duration: bool,
    remote: bool,
    tag: bool,
) -> Vec<u8> {
    let mut span = [field(1, &[1]), field(3, &[1])].concat();
    let port = |present: bool| if present { vec![0x20, 1] } else { vec![] };
    let name = service.map(|name| field(1, &[name])).unwrap_or_default();
    span.extend(field(8, &[name, port(ports.0)].concat()));
    if remote {
        span.extend(field(9, &[field(1, b"a"), port(ports.1)].concat()));
    }
    if parent {
        span.extend(field(2, &[2]));
    }
    for (number, set) in [(13, shared), (12, debug), (7, duration)] {
        if set {
            span.extend([number << 3, 1]);
        }
    }
    if tag {
        span.extend(field(11, &field(1, b"a")));
    }
    field(1, &span)
}

/// Texts that the reader of spans looks at, and others.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[0-9a-f]{0,20}",
        "[\\[\\]{}\":, a1|]{0,12}",
        prop::sample::select(vec![
            "CLIENT", "SERVER", "cs", "sr", "ss", "false", "OK", "10.0.0.1"
        ])
        .prop_map(str::to_owned),
    ]
}

fn any_member() -> impl Strategy<Value = (String, Value)> {
    let name = prop::sample::select(vec![
        "traceId",
        "id",
        "parentId",
        "kind",
        "name",
        "timestamp",
        "duration",
        "debug",
        "shared",
        "localEndpoint",
        "remoteEndpoint",
        "annotations",
        "tags",
        "unknown",
    ]);
    let key = prop::sample::select(vec![
        "serviceName",
        "ipv4",
        "ipv6",
        "port",
        "error",
        "otel.status_code",
        "otlp.link.0",
        "w3c.tracestate",
        "value",
        "timestamp",
        "peer.service",
        "zipkin.id",
        "",
    ]);
    let leaf = prop_oneof![
        any_text().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    let object = vec((key.prop_map(str::to_owned), leaf.clone()), 0..4)
        .prop_map(|members| Value::Object(members.into_iter().collect()));
    let value = prop_oneof![
        leaf,
        object.clone(),
        vec(object, 0..3).prop_map(Value::from)
    ];
    (name.prop_map(str::to_owned), value)
}

fn any_spans() -> impl Strategy<Value = Value> {
    let ids = (1..4_u8, 1..4_u8)
        .prop_map(|(trace, id)| json!({"traceId": trace.to_string(), "id": id.to_string()}));
    let span = (ids, vec(any_member(), 0..6)).prop_map(|(mut span, members)| {
        if let Some(object) = span.as_object_mut() {
            object.extend(members);
        }
        span
    });
    vec(span, 0..6).prop_map(Value::from)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_spans_are_read_or_refused(spans in any_spans(), cut in any::<prop::sample::Index>()) {
        let body = spans.to_string();
        let limit = body.len() * MOST_MEMORY + 1024;
        match zipkin_json(body.as_bytes(), limit) {
            Err(TranscodeError::TooLarge { .. }) => prop_assert!(false, "too large: {}", body),
            made @ Ok(_) => {
                let count: usize = decoded(made).resource_spans.iter().map(|group| group.scope_spans[0].spans.len()).sum();
                prop_assert_eq!(Some(count), spans.as_array().map(Vec::len));
            }
            Err(_) => {}
        }
        let cut = cut.index(body.len());
        prop_assert!(zipkin_json(&body.as_bytes()[..cut], limit).is_err());
    }

    /// Each body is many spans alike, of as many services as there are short names, which hide each other.
    #[test]
    fn the_most_memory_is_enough_for_any_small_spans(
        services in prop::option::of(1..128_u8),
        ports: (bool, bool),
        flags: (bool, bool, bool),
        (duration, remote, tag) in any::<(bool, bool, bool)>(),
        count in prop::sample::select(vec![1, 2, 17, 1_000]),
    ) {
        let spans = (0..count).map(|n| {
            let service = services.map(|services| (n % usize::from(services)) as u8);
            tiny_span(service, ports, flags, duration, remote, tag)
        });
        let body = spans.collect::<Vec<_>>().concat();
        let made = zipkin_protobuf(&body, body.len() * MOST_MEMORY + 1024);
        let taken: usize = decoded(made).resource_spans.iter().map(|group| group.scope_spans[0].spans.len()).sum();
        prop_assert_eq!(taken, count);
    }

    #[test]
    fn any_bytes_end(body in any::<Vec<u8>>(), limit in 0..10_000_usize) {
        let _ = zipkin_json(&body, limit);
        let _ = zipkin_protobuf(&body, limit);
    }

    #[test]
    fn any_protobuf_ends(fields in vec((1..16_u32, any::<Vec<u8>>()), 0..8), limit in 0..10_000_usize) {
        let parts = fields.iter().map(|(number, content)| field(*number, content));
        let span: Vec<u8> = parts.flatten().collect();
        let body = field(1, &span);
        let _ = zipkin_protobuf(&body, limit);
    }
}
