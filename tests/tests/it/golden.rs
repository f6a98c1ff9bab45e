//! Every format that spans come in by every exporter: what comes out is what went in, attribute by attribute, and what
//! a format cannot hold is what docs/formats.md says.

use std::collections::BTreeSet;

use bellwether_tests::http::post;
use bellwether_tests::raw_sink::RawSinks;
use bellwether_tests::rich::{self, START, attribute, resource_spans, text};
use bellwether_tests::system::Collector;
use bellwether_tests::wait::wait_for;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, Status};
use prost::Message;
use serde_json::{Value, json};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const PROTOBUF: [(&str, &str); 1] = [("content-type", "application/x-protobuf")];

fn start(sinks: &RawSinks) -> Collector {
    Collector::start(&[&sinks.grpc_url, &sinks.http_url, &sinks.zipkin_url])
}

fn send_grpc(collector: &Collector, request: ExportTraceServiceRequest) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let url = format!("http://127.0.0.1:{}", collector.otlp_grpc);
    runtime.expect("a runtime").block_on(async {
        let mut client = TraceServiceClient::connect(url)
            .await
            .expect("a connection");
        client.export(request).await.expect("a success");
    });
}

fn send(port: u16, path: &str, headers: &[(&str, &str)], body: &[u8]) {
    let answer = post(&format!("http://127.0.0.1:{port}{path}"), headers, body);
    let answer = answer.expect("an answer");
    assert!(answer.status < 300, "{}: {}", answer.status, answer.text());
}

/// The requests of both OTLP sinks with spans of the trace, once they have come: by gRPC, by HTTP as bytes.
fn wait_for_otlp(sinks: &RawSinks, trace_id: u128) -> (ExportTraceServiceRequest, Vec<u8>) {
    let is_of = |request: &ExportTraceServiceRequest| {
        let mut spans = spans_of(request);
        spans.any(|span| span.trace_id == trace_id.to_be_bytes())
    };
    wait_for("the spans by both ways of OTLP", || {
        let grpc = sinks.grpc().into_iter().find(is_of)?;
        let http = sinks
            .http()
            .into_iter()
            .find(|body| is_of(&decoded(body)))?;
        Some((grpc, http.to_vec()))
    })
}

fn decoded(body: &[u8]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(body).expect("OTLP")
}

fn spans_of(request: &ExportTraceServiceRequest) -> impl Iterator<Item = &Span> {
    let scopes = request.resource_spans.iter().flat_map(|of| &of.scope_spans);
    scopes.flat_map(|scope| &scope.spans)
}

fn wait_for_zipkin(sinks: &RawSinks, trace_id: u128, count: usize) -> Vec<Value> {
    let trace_id = format!("{trace_id:032x}");
    wait_for(&format!("{count} spans in Zipkin"), || {
        let mut spans = sinks.zipkin();
        spans.retain(|span| span["traceId"] == *trace_id);
        (spans.len() >= count).then_some(spans)
    })
}

#[test]
fn otlp_comes_out_as_it_came_in() {
    let sinks = RawSinks::start();
    let collector = start(&sinks);
    let mut zipkin: Vec<Vec<Value>> = Vec::new();
    for (trace_id, format) in (1..).zip(["grpc", "protobuf", "json"]) {
        let sent = rich::request(trace_id);
        // A field of a later version of OTLP.
        let mut bytes = sent.encode_to_vec();
        match format {
            "grpc" => send_grpc(&collector, sent.clone()),
            "protobuf" => {
                prost::encoding::string::encode(100, &"what is to come".to_owned(), &mut bytes);
                send(collector.otlp_http, "/v1/traces", &PROTOBUF, &bytes);
            }
            _ => {
                // serde has no infinity.
                let body = serde_json::to_string(&sent).expect("JSON");
                let body = body.replace(r#""doubleValue":null"#, r#""doubleValue":"-Infinity""#);
                send(collector.otlp_http, "/v1/traces", &JSON, body.as_bytes());
            }
        }
        let (grpc, http) = wait_for_otlp(&sinks, trace_id);
        assert!(grpc == sent, "{format}: {grpc:#?}\ninstead of {sent:#?}");
        let is_same = match format {
            "protobuf" => http == bytes,
            // Encoders differ in the order of fields.
            _ => decoded(&http) == sent,
        };
        assert!(is_same, "{format}: {:#?}", decoded(&http));
        let spans = wait_for_zipkin(&sinks, trace_id, spans_of(&sent).count());
        let without_trace = spans.into_iter().map(|mut span| {
            span["traceId"].take();
            span
        });
        zipkin.push(without_trace.collect());
    }
    assert_eq!(zipkin[0], zipkin[1]);
    assert_eq!(zipkin[0], zipkin[2]);
    let full = zipkin[0].iter().find(|span| span["name"] == "everything");
    assert_eq!(full.cloned().unwrap_or_default(), full_in_zipkin());
}

/// What `rich::request` has, as text: each attribute of its every type.
fn tags() -> Value {
    json!({
        "text": "Größe ✓ \"quoted\" \\ \u{1}\n\u{1f600}",
        "text.empty": "",
        "": "an empty key",
        "bool.true": "true",
        "bool.false": "false",
        "int.zero": "0",
        "int.least": "-9223372036854775808",
        "int.most": "9223372036854775807",
        "double": "0.1",
        "double.zero": "-0.0",
        "double.most": "1.7976931348623157e+308",
        "double.infinite": "-Infinity",
        "bytes": "AP+A",
        "bytes.empty": "",
        "list": "[\"a\",-1,null]",
        "list.empty": "[]",
        "map": "{\"in\":\"side\",\"list\":[1,null],\"map\":{}}",
        "nothing": "",
    })
}

fn full_in_zipkin() -> Value {
    let in_json = concat!(
        r#"{"":"an empty key","bool.false":false,"bool.true":true,"bytes":"AP+A","bytes.empty":"","double":0.1,"#,
        r#""double.infinite":"-Infinity","double.most":1.7976931348623157e+308,"double.zero":-0.0,"#,
        r#""int.least":-9223372036854775808,"int.most":9223372036854775807,"int.zero":0,"list":["a",-1,null],"#,
        r#""list.empty":[],"map":{"in":"side","list":[1,null],"map":{}},"nothing":null,"#,
        r#""text":"Größe ✓ \"quoted\" \\ \u0001\n😀","text.empty":""}"#
    );
    let mut tags = tags();
    for (key, value) in [
        ("error", "boom ✗".to_owned()),
        ("otel.status_code", "ERROR".to_owned()),
        ("otel.scope.name", "scope".to_owned()),
        ("otel.scope.version", "1.2.3".to_owned()),
        ("w3c.tracestate", "vendor=a|b,ot=th:8".to_owned()),
        ("otel.dropped_attributes_count", "3".to_owned()),
        ("otel.dropped_events_count", "5".to_owned()),
        ("otel.dropped_links_count", u32::MAX.to_string()),
        (
            "otlp.link.0",
            format!(
                "{}|{}|linked=1|{in_json}|6",
                "07".repeat(16),
                "08".repeat(8)
            ),
        ),
    ] {
        tags[key] = value.into();
    }
    json!({
        "traceId": null,
        "id": "0000000000000001",
        "parentId": "fefefefefefefefe",
        "kind": "SERVER",
        "name": "everything",
        "timestamp": START / 1_000,
        "duration": 2_000,
        "localEndpoint": {"serviceName": "shop"},
        "annotations": [{"timestamp": START / 1_000 + 1, "value": format!("\"an event\": {in_json}")}],
        "tags": tags,
    })
}

/// Not-a-number equals nothing, itself neither, so it has a test of its own.
#[test]
fn not_a_number_comes_out_as_it_came_in() {
    let sinks = RawSinks::start();
    let collector = start(&sinks);
    let mut span = rich::span(1, 1, "odd");
    span.attributes = vec![attribute("double", Any::DoubleValue(f64::NAN))];
    let sent = ExportTraceServiceRequest {
        resource_spans: vec![resource_spans("shop", span)],
    };
    let id = |hex: &str, length: usize| format!("{hex:0>length$}");
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeSpans": [{"spans": [{
            "traceId": id("2", 32), "spanId": id("1", 16), "name": "odd", "kind": 2,
            "startTimeUnixNano": START.to_string(), "endTimeUnixNano": (START + 2_000_000).to_string(),
            "attributes": [{"key": "double", "value": {"doubleValue": "NaN"}}],
        }]}],
    }]});
    send_grpc(&collector, sent.clone());
    send(
        collector.otlp_http,
        "/v1/traces",
        &JSON,
        body.to_string().as_bytes(),
    );
    for trace_id in [1_u128, 2] {
        let mut expected = sent.clone();
        for scope in &mut expected.resource_spans[0].scope_spans {
            scope.spans[0].trace_id = trace_id.to_be_bytes().into();
        }
        let (grpc, http) = wait_for_otlp(&sinks, trace_id);
        assert_eq!(grpc.encode_to_vec(), expected.encode_to_vec());
        assert_eq!(decoded(&http).encode_to_vec(), expected.encode_to_vec());
        let zipkin = wait_for_zipkin(&sinks, trace_id, 1);
        assert_eq!(zipkin[0]["tags"]["double"], "NaN");
    }
}

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

/// `ListOfSpans` of zipkin-api's zipkin.proto.
fn zipkin_protobuf(spans: &[Value]) -> Vec<u8> {
    let mut list = Vec::new();
    for span in spans {
        put_message(&mut list, 1, &zipkin_span(span));
    }
    list
}

fn put_message(out: &mut Vec<u8>, field: u32, message: &[u8]) {
    prost::encoding::bytes::encode(field, &message.to_vec(), out);
}

fn zipkin_span(span: &Value) -> Vec<u8> {
    use prost::encoding::{bool, fixed64, int32, string, uint64};
    let mut out = Vec::new();
    for (field, name) in [(1, "traceId"), (2, "parentId"), (3, "id")] {
        if let Some(id) = span[name].as_str() {
            let id = u64::from_str_radix(id, 16).expect("hex digits");
            put_message(&mut out, field, &id.to_be_bytes());
        }
    }
    let kinds = ["", "CLIENT", "SERVER", "PRODUCER", "CONSUMER"];
    let kind = kinds.iter().position(|kind| span["kind"] == **kind);
    int32::encode(4, &(kind.unwrap_or_default() as i32), &mut out);
    string::encode(
        5,
        &span["name"].as_str().unwrap_or_default().to_owned(),
        &mut out,
    );
    fixed64::encode(6, &span["timestamp"].as_u64().unwrap_or_default(), &mut out);
    uint64::encode(7, &span["duration"].as_u64().unwrap_or_default(), &mut out);
    for (field, name) in [(8, "localEndpoint"), (9, "remoteEndpoint")] {
        if span[name].is_object() {
            put_message(&mut out, field, &zipkin_endpoint(&span[name]));
        }
    }
    for annotation in span["annotations"].as_array().into_iter().flatten() {
        let mut message = Vec::new();
        fixed64::encode(
            1,
            &annotation["timestamp"].as_u64().expect("a time"),
            &mut message,
        );
        string::encode(
            2,
            &annotation["value"].as_str().expect("a text").to_owned(),
            &mut message,
        );
        put_message(&mut out, 10, &message);
    }
    for (key, value) in span["tags"].as_object().into_iter().flatten() {
        let mut entry = Vec::new();
        string::encode(1, key, &mut entry);
        string::encode(2, &value.as_str().expect("a text").to_owned(), &mut entry);
        put_message(&mut out, 11, &entry);
    }
    bool::encode(12, &(span["debug"] == true), &mut out);
    bool::encode(13, &(span["shared"] == true), &mut out);
    out
}

fn zipkin_endpoint(endpoint: &Value) -> Vec<u8> {
    use prost::encoding::{int32, string};
    let mut out = Vec::new();
    let text = |name: &str| endpoint[name].as_str();
    string::encode(
        1,
        &text("serviceName").unwrap_or_default().to_owned(),
        &mut out,
    );
    if let Some(address) = text("ipv4") {
        let address: std::net::Ipv4Addr = address.parse().expect("an address");
        put_message(&mut out, 2, &address.octets());
    }
    if let Some(address) = text("ipv6") {
        let address: std::net::Ipv6Addr = address.parse().expect("an address");
        put_message(&mut out, 3, &address.octets());
    }
    int32::encode(
        4,
        &(endpoint["port"].as_i64().unwrap_or_default() as i32),
        &mut out,
    );
    out
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

/// Something that a span may have, by OTLP to a Zipkin and from there by OTLP again.
struct Trait {
    name: &'static str,
    /// What Zipkin shows, as docs/formats.md has it.
    as_zipkin: &'static str,
    /// Whether it is the same afterwards.
    comes_back: bool,
    set: fn(&mut ResourceSpans),
}

impl Trait {
    const fn kept(
        name: &'static str,
        as_zipkin: &'static str,
        set: fn(&mut ResourceSpans),
    ) -> Self {
        Self {
            name,
            as_zipkin,
            comes_back: true,
            set,
        }
    }

    const fn changed(
        name: &'static str,
        as_zipkin: &'static str,
        set: fn(&mut ResourceSpans),
    ) -> Self {
        Self {
            comes_back: false,
            ..Self::kept(name, as_zipkin, set)
        }
    }
}

fn span_of(of: &mut ResourceSpans) -> &mut Span {
    &mut of.scope_spans[0].spans[0]
}

fn put(of: &mut ResourceSpans, value: impl Into<Option<Any>>) {
    span_of(of).attributes = vec![attribute("key", value)];
}

fn put_event(of: &mut ResourceSpans, event: Event) {
    span_of(of).events = vec![Event {
        time_unix_nano: START,
        name: "event".into(),
        ..event
    }];
}

fn put_link(of: &mut ResourceSpans, link: Link) {
    span_of(of).links = vec![Link {
        trace_id: vec![7; 16],
        span_id: vec![8; 8],
        ..link
    }];
}

fn put_status(of: &mut ResourceSpans, code: StatusCode, message: &str) {
    let message = message.to_owned();
    span_of(of).status = Some(Status {
        code: code.into(),
        message,
    });
}

const TRAITS: &[Trait] = &[
    Trait::kept(
        "trace id, span id, name, service, times in whole microseconds",
        "as they are",
        |_| (),
    ),
    Trait::kept("parent span id", "`parentId`", |of| {
        span_of(of).parent_span_id = vec![9; 8]
    }),
    Trait::kept("kind `CLIENT`, `PRODUCER`, `CONSUMER`", "`kind`", |of| {
        span_of(of).kind = SpanKind::Producer.into();
    }),
    Trait::kept("kind `INTERNAL`", "no kind", |of| {
        span_of(of).kind = SpanKind::Internal.into()
    }),
    Trait::changed("no kind", "no kind, read as `INTERNAL`", |of| {
        span_of(of).kind = 0
    }),
    Trait::changed("nanoseconds below a microsecond", "cut off", |of| {
        span_of(of).end_time_unix_nano += 1;
    }),
    Trait::changed("a duration below a microsecond", "1", |of| {
        span_of(of).end_time_unix_nano = START;
    }),
    Trait::kept("no end", "no `duration`", |of| {
        span_of(of).end_time_unix_nano = 0
    }),
    Trait::changed("an end before the start", "no `duration`", |of| {
        span_of(of).end_time_unix_nano = 1_000
    }),
    Trait::changed("an end without a start", "neither", |of| {
        span_of(of).start_time_unix_nano = 0
    }),
    Trait::kept("an attribute's text", "a tag", |of| {
        put(of, Any::StringValue("Größe ✓\n".into()))
    }),
    Trait::kept("an empty text", "an empty tag", |of| {
        put(of, Any::StringValue(String::new()))
    }),
    Trait::changed("a boolean or number", "its text", |of| {
        put(of, Any::IntValue(-7))
    }),
    Trait::changed("bytes", "base64", |of| put(of, Any::BytesValue(vec![1, 2]))),
    Trait::changed("a list or map", "JSON", |of| {
        put(of, rich::list(vec![Some(Any::IntValue(1))]))
    }),
    Trait::changed("an attribute without a value", "an empty tag", |of| {
        put(of, None)
    }),
    Trait::changed(
        "an attribute `error`",
        "left out: to Zipkin it is a failure",
        |of| {
            span_of(of).attributes = vec![text("error", "no")];
        },
    ),
    Trait::changed(
        "a resource's other attributes",
        "tags of each span that has none of that name",
        |of| {
            let resource = of.resource.as_mut().expect("a resource");
            resource.attributes.push(text("region", "eu"));
        },
    ),
    Trait::changed(
        "a resource's dropped attributes, schema URLs",
        "left out",
        |of| {
            of.schema_url = "https://example.org".to_owned();
        },
    ),
    Trait::kept(
        "scope name and version",
        "tags `otel.scope.name`, `otel.scope.version`",
        |of| {
            let scope = of.scope_spans[0].scope.insert(Default::default());
            scope.name = "tests".to_owned();
            scope.version = "1.2".to_owned();
        },
    ),
    Trait::changed("scope attributes", "left out", |of| {
        let scope = of.scope_spans[0].scope.insert(Default::default());
        scope.attributes = vec![text("key", "value")];
    }),
    Trait::kept("an event", "an annotation", |of| {
        put_event(of, Event::default())
    }),
    Trait::kept(
        "an event's texts, booleans, numbers, lists and maps",
        "JSON behind its name",
        |of| {
            let list = rich::list(vec![None, Some(Any::DoubleValue(0.5))]);
            let attributes = vec![attribute("list", list), attribute("zero", Any::IntValue(0))];
            put_event(
                of,
                Event {
                    attributes,
                    ..Event::default()
                },
            );
        },
    ),
    Trait::changed(
        "an event's bytes, NaN and infinities",
        "texts in that JSON",
        |of| {
            let attributes = vec![attribute("nan", Any::DoubleValue(f64::NAN))];
            put_event(
                of,
                Event {
                    attributes,
                    ..Event::default()
                },
            );
        },
    ),
    Trait::changed("an event without a time", "the span's start", |of| {
        span_of(of).events = vec![Event {
            name: "event".into(),
            ..Event::default()
        }];
    }),
    Trait::changed("an event's dropped attributes", "left out", |of| {
        put_event(
            of,
            Event {
                dropped_attributes_count: 1,
                ..Event::default()
            },
        );
    }),
    Trait::kept(
        "a link, its attributes as an event's, trace state and dropped attributes",
        "a tag `otlp.link.N`",
        |of| {
            let attributes = vec![text("key", "|{")];
            put_link(
                of,
                Link {
                    trace_state: "a=b|c".into(),
                    attributes,
                    dropped_attributes_count: 2,
                    ..Link::default()
                },
            );
        },
    ),
    Trait::changed("a link's flags", "left out", |of| {
        put_link(
            of,
            Link {
                flags: 1,
                ..Link::default()
            },
        )
    }),
    Trait::kept("trace state", "a tag `w3c.tracestate`", |of| {
        span_of(of).trace_state = "ot=th:8".into()
    }),
    Trait::changed("flags", "left out", |of| span_of(of).flags = 1),
    Trait::kept(
        "dropped attributes, events and links",
        "tags `otel.dropped_…_count`",
        |of| {
            let span = span_of(of);
            span.dropped_attributes_count = 1;
            span.dropped_events_count = 2;
            span.dropped_links_count = u32::MAX;
        },
    ),
    Trait::kept("status `OK`", "a tag `otel.status_code`", |of| {
        put_status(of, StatusCode::Ok, "")
    }),
    Trait::kept(
        "status `ERROR`, with or without a message",
        "tags `otel.status_code` and `error`",
        |of| {
            put_status(of, StatusCode::Error, "boom");
        },
    ),
    Trait::changed("a message of another status", "left out", |of| {
        put_status(of, StatusCode::Ok, "fine")
    }),
];

/// The rows of the table under a heading of docs/formats.md.
fn documented(heading: &str) -> BTreeSet<String> {
    let document = include_str!("../../../docs/formats.md");
    let (_, section) = document.split_once(heading).expect("the heading");
    let table = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = table.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(str::to_owned).collect()
}

#[test]
fn what_zipkins_format_cannot_hold_is_what_the_documentation_says() {
    let last = RawSinks::start();
    let behind = Collector::start(&[&last.http_url]);
    let zipkin = format!("zipkin+http://127.0.0.1:{}", behind.zipkin);
    let collector = Collector::start(&[&zipkin]);
    let mut rows = BTreeSet::new();
    for (trace_id, of) in (1..).zip(TRAITS) {
        let mut sent = resource_spans("shop", rich::span(trace_id, 1, of.name));
        (of.set)(&mut sent);
        let request = ExportTraceServiceRequest {
            resource_spans: vec![sent.clone()],
        };
        send(
            collector.otlp_http,
            "/v1/traces",
            &PROTOBUF,
            &request.encode_to_vec(),
        );
        let came = wait_for(of.name, || {
            let bodies = last.http().into_iter();
            let mut groups = bodies.flat_map(|body| decoded(&body).resource_spans);
            groups.find(|of| of.scope_spans[0].spans[0].trace_id == trace_id.to_be_bytes())
        });
        assert_eq!(
            came == sent,
            of.comes_back,
            "{}: {sent:#?}\ncame as {came:#?}",
            of.name
        );
        let comes_back = if of.comes_back { "yes" } else { "no" };
        rows.insert(format!("| {} | {} | {comes_back} |", of.name, of.as_zipkin));
    }
    assert_eq!(documented("## OTLP to Zipkin"), rows);
}
