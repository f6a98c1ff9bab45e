//! Zipkin's spans, JSON and protobuf, whole and in pieces, by every exporter.

use bellwether_tests::raw_sink::RawSinks;
use bellwether_tests::rich::{START, attribute, text};
use bellwether_tests::zipkin::zipkin_protobuf;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Value, json};

use super::{JSON, PROTOBUF, decoded, send, start, wait_for_otlp, wait_for_zipkin};

/// Spans with everything that Zipkin can say: a call whose halves share an id of 64 bits, each with a child, and a
/// message.
fn zipkin_spans(trace_id: u128) -> Vec<Value> {
    let micros = START / 1_000;
    let shop = json!({"serviceName": "shop", "ipv4": "10.0.0.1", "port": 8080});
    let stock = json!({"serviceName": "stock", "ipv6": "fe80::1"});
    let span = |id: u64, members: Value| {
        let mut span = json!({
            "traceId": format!("{trace_id:016x}"), "id": format!("{id:016x}"), "timestamp": micros + id, "duration": 5,
        });
        let members = members.as_object().cloned().unwrap_or_default();
        span.as_object_mut().expect("an object").extend(members);
        span
    };
    let parent = |id: u64| format!("{id:016x}");
    vec![
        span(
            2,
            json!({"parentId": parent(1), "kind": "CLIENT", "name": "get /", "localEndpoint": shop,
            "remoteEndpoint": stock, "debug": true, "tags": {"http.path": "/", "": "Größe ✓ \"\n"},
            "annotations": [{"timestamp": micros + 3, "value": "wire send"},
                            {"timestamp": micros + 4, "value": "\"retry\": {\"attempt\":2}"}]}),
        ),
        span(
            2,
            json!({"parentId": parent(1), "kind": "SERVER", "name": "get /", "localEndpoint": stock,
            "shared": true, "tags": {"error": "shelf is empty"}}),
        ),
        span(
            3,
            json!({"parentId": parent(2), "name": "lookup", "localEndpoint": stock, "tags": {"error": ""}}),
        ),
        span(
            4,
            json!({"parentId": parent(2), "name": "retry", "localEndpoint": shop, "tags": {"error": "false"}}),
        ),
        span(
            5,
            json!({"kind": "PRODUCER", "name": "send", "localEndpoint": shop, "remoteEndpoint": {"port": 9092}}),
        ),
        span(
            6,
            json!({"parentId": parent(5), "kind": "CONSUMER", "name": "take", "localEndpoint": stock,
            "timestamp": null}),
        ),
    ]
}

#[test]
fn zipkins_spans_come_out_as_they_came_in() {
    let sinks = RawSinks::start();
    let collector = start(&sinks);
    for (trace_id, format) in [(0x71_u128, "json"), (0x72, "protobuf")] {
        let sent = zipkin_spans(trace_id);
        if format == "json" {
            let body = json!(sent).to_string();
            send(collector.zipkin, "/api/v2/spans", &JSON, body.as_bytes());
        } else {
            let body = zipkin_protobuf(&sent);
            send(collector.zipkin, "/api/v2/spans", &PROTOBUF, &body);
        }
        let (grpc, http) = wait_for_otlp(&sinks, trace_id);
        assert_eq!(grpc, decoded(&http), "{format}");
        check_zipkins_spans_as_otlp(&grpc);
        let came = wait_for_zipkin(&sinks, trace_id, sent.len());
        check_zipkins_spans_again(&sent, &came);
    }
}

fn check_zipkins_spans_as_otlp(request: &ExportTraceServiceRequest) {
    let find = |service: &str, name: &str| {
        let mut of = request.resource_spans.iter().filter(|of| {
            let resource = of.resource.as_ref().expect("a resource");
            resource.attributes == [text("service.name", service)]
        });
        let mut spans = of.by_ref().flat_map(|of| &of.scope_spans[0].spans);
        let span = spans.find(|span| span.name == name);
        span.unwrap_or_else(|| panic!("no {name} of {service} in {request:#?}"))
    };
    let id = |id: u64| id.to_be_bytes().to_vec();
    let (client, server) = (find("shop", "get /"), find("stock", "get /"));
    assert_eq!((&client.span_id, &client.parent_span_id), (&id(2), &id(1)));
    assert_eq!(client.kind(), SpanKind::Client);
    assert_eq!(client.start_time_unix_nano, START + 2_000);
    assert_eq!(client.end_time_unix_nano, START + 7_000);
    assert_eq!(client.events[0].name, "wire send");
    assert_eq!(client.events[1].name, "retry");
    assert_eq!(
        client.events[1].attributes,
        [attribute("attempt", Any::IntValue(2))]
    );
    for expected in [
        text("http.path", "/"),
        text("", "Größe ✓ \"\n"),
        text("network.local.address", "10.0.0.1"),
        attribute("network.local.port", Any::IntValue(8080)),
        text("peer.service", "stock"),
        text("network.peer.address", "fe80::1"),
        attribute("zipkin.debug", Any::BoolValue(true)),
    ] {
        assert!(
            client.attributes.contains(&expected),
            "{expected:?} in {client:#?}"
        );
    }
    assert_eq!(client.attributes.len(), 7);
    assert_ne!(server.span_id, id(2), "an id of its own");
    assert_eq!(server.parent_span_id, id(2));
    let failed = |message: &str| {
        Some(Status {
            code: StatusCode::Error.into(),
            message: message.to_owned(),
        })
    };
    assert_eq!(server.status, failed("shelf is empty"));
    let lookup = find("stock", "lookup");
    assert_eq!(lookup.parent_span_id, server.span_id);
    assert_eq!(lookup.kind(), SpanKind::Internal);
    assert_eq!(lookup.status, failed(""));
    let retry = find("shop", "retry");
    assert_eq!((&retry.parent_span_id, &retry.status), (&id(2), &None));
    assert_eq!(find("shop", "send").kind(), SpanKind::Producer);
    let take = find("stock", "take");
    assert_eq!(take.kind(), SpanKind::Consumer);
    assert_eq!((take.start_time_unix_nano, take.end_time_unix_nano), (0, 0));
}

/// As they were sent; what their endpoints say is told in OpenTelemetry's terms as well.
fn check_zipkins_spans_again(sent: &[Value], came: &[Value]) {
    for sent in sent {
        let same = |span: &&Value| span["id"] == sent["id"] && span["kind"] == sent["kind"];
        let mut expected = sent.clone();
        let came = came.iter().find(same).cloned().unwrap_or_default();
        let trace_id = sent["traceId"].as_str().expect("an id");
        expected["traceId"] = format!("{trace_id:0>32}").into();
        let mut tags = sent["tags"].as_object().cloned().unwrap_or_default();
        let mut tell = |key: &str, value: &Value| match value {
            Value::Null => {}
            Value::String(text) => drop(tags.insert(key.to_owned(), text.as_str().into())),
            other => drop(tags.insert(key.to_owned(), other.to_string().into())),
        };
        for (side, endpoint) in [("local", "localEndpoint"), ("peer", "remoteEndpoint")] {
            let endpoint = &sent[endpoint];
            for address in ["ipv4", "ipv6"] {
                tell(&format!("network.{side}.address"), &endpoint[address]);
            }
            tell(&format!("network.{side}.port"), &endpoint["port"]);
            if side == "peer" {
                tell("peer.service", &endpoint["serviceName"]);
            }
        }
        if tags.get("error").is_some_and(|error| error == "false") {
            tags.remove("error");
        } else if tags.contains_key("error") {
            tags.insert("otel.status_code".to_owned(), "ERROR".into());
        }
        expected["tags"] = Value::Object(tags);
        let members = expected.as_object_mut().expect("an object");
        members.retain(|_, value| !value.is_null());
        // A port without a name or an address names nobody.
        if members.get("remoteEndpoint") == Some(&json!({"port": 9092})) {
            members.remove("remoteEndpoint");
        }
        assert_eq!(came, expected);
    }
}

/// Zipkin's senders report when they please: the halves of a call and their children come one by one.
#[test]
fn a_shared_span_that_comes_in_pieces_is_one_tree() {
    let sinks = RawSinks::start();
    let collector = start(&sinks);
    let mut spans = zipkin_spans(0x73);
    spans.truncate(4);
    spans.reverse();
    for span in &spans {
        let body = json!([span]).to_string();
        send(collector.zipkin, "/api/v2/spans", &JSON, body.as_bytes());
    }
    let trace = collector.wait_for_trace(&format!("{:032x}", 0x73), 4);
    let find = |service: &str, operation: &str| {
        let spans = trace["spans"].as_array().expect("spans");
        let is_it = |span: &&Value| span["service"] == service && span["operation"] == operation;
        spans.iter().find(is_it).cloned().unwrap_or_default()
    };
    let (client, server) = (find("shop", "get /"), find("stock", "get /"));
    assert_eq!(server["parent_span_id"], client["span_id"]);
    assert_eq!(
        find("stock", "lookup")["parent_span_id"],
        server["span_id"],
        "{trace}"
    );
    assert_eq!(find("shop", "retry")["parent_span_id"], client["span_id"]);
    // And Zipkin gets what was sent.
    check_zipkins_spans_again(&spans, &wait_for_zipkin(&sinks, 0x73, 4));
}
