//! The OpenTelemetry Collector as source and as sink, and telemetrygen: real peers in Go.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use bellwether_tests::bodies::Bodies;
use bellwether_tests::http::post;
use bellwether_tests::otelcol::{self, Otelcol};
use bellwether_tests::peers;
use bellwether_tests::raw_sink::RawSinks;
use bellwether_tests::rich;
use bellwether_tests::system::Collector;
use bellwether_tests::wait::{wait_for, wait_telling};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, Status};
use prost::Message;

fn send(port: u16, request: &ExportTraceServiceRequest) {
    let url = format!("http://127.0.0.1:{port}/v1/traces");
    let headers = [("content-type", "application/x-protobuf")];
    let answer = post(&url, &headers, &request.encode_to_vec()).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn spans_of(groups: &[ResourceSpans]) -> impl Iterator<Item = &Span> {
    let scopes = groups.iter().flat_map(|of| &of.scope_spans);
    scopes.flat_map(|scope| &scope.spans)
}

/// The groups of a trace among what came, once it has as many spans as were sent.
fn wait_for_trace(
    what: &str,
    sent: &ExportTraceServiceRequest,
    came: impl Fn() -> Vec<ExportTraceServiceRequest>,
) -> Vec<ResourceSpans> {
    let trace_id = &sent.resource_spans[0].scope_spans[0].spans[0].trace_id;
    let count = spans_of(&sent.resource_spans).count();
    wait_for(what, || {
        let requests = came().into_iter();
        let mut groups: Vec<_> = requests
            .flat_map(|request| request.resource_spans)
            .collect();
        groups
            .retain(|of| spans_of(std::slice::from_ref(of)).any(|span| span.trace_id == *trace_id));
        (spans_of(&groups).count() >= count).then_some(groups)
    })
}

/// What Zipkin's format and both translations hold of spans, by id; the two kinds without a name there are told alike.
fn through_zipkin(groups: &[ResourceSpans]) -> Vec<String> {
    let told = |span: &Span| {
        let links = span.links.iter();
        format!(
            "{:?}",
            (
                (
                    &span.span_id,
                    &span.parent_span_id,
                    &span.name,
                    span.kind.max(1)
                ),
                (
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    &span.trace_state
                ),
                span.status
                    .as_ref()
                    .is_some_and(|status| status.code() == StatusCode::Error),
                links
                    .map(|link| (&link.span_id, &link.trace_state))
                    .collect::<Vec<_>>(),
            )
        )
    };
    let mut told: Vec<_> = spans_of(groups).map(told).collect();
    told.sort();
    told
}

/// The span of `rich::request` that has everything.
fn full(groups: &[ResourceSpans]) -> &Span {
    let mut spans = spans_of(groups);
    spans.find(|span| span.name == "everything").expect("it")
}

/// Spans whose times every format can hold, with the empty messages that the peer writes where there are none.
fn request(trace_id: u128) -> ExportTraceServiceRequest {
    let mut request = rich::request(trace_id);
    for scope in request
        .resource_spans
        .iter_mut()
        .flat_map(|of| &mut of.scope_spans)
    {
        scope.scope.get_or_insert_default();
        scope
            .spans
            .retain(|span| span.start_time_unix_nano == rich::START);
        for span in &mut scope.spans {
            span.status.get_or_insert_default();
        }
    }
    request
}

#[test]
fn the_opentelemetry_collector_takes_what_is_sent_on() {
    let test = "the_opentelemetry_collector_takes_what_is_sent_on";
    let Some(program) = peers::require(test, "the OpenTelemetry Collector", otelcol::otelcol())
    else {
        return;
    };
    let sink = Otelcol::sink(&program);
    let collector = Collector::start(&[
        &format!("otlp+grpc://127.0.0.1:{}", sink.ports.grpc),
        &format!("otlp+http://127.0.0.1:{}", sink.ports.http),
        &format!("zipkin+http://127.0.0.1:{}", sink.ports.zipkin),
    ]);
    let sent = request(1);
    send(collector.otlp_http, &sent);
    for name in ["grpc", "http"] {
        let came = wait_for_trace(name, &sent, || sink.written(name));
        assert!(
            came == sent.resource_spans,
            "{name}: {came:#?}\ninstead of {sent:#?}"
        );
    }
    let came = wait_for_trace("zipkin", &sent, || sink.written("zipkin"));
    assert_eq!(through_zipkin(&came), through_zipkin(&sent.resource_spans));
    // It takes messages and events' attributes in a form of its own alone, and keeps them as they come.
    assert!(
        full(&came)
            .attributes
            .contains(&rich::text("error", "boom ✗"))
    );
    let event = &full(&came).events[0];
    assert_eq!(event.time_unix_nano, rich::START + 1_000);
    let attributes = event.name.strip_prefix("\"an event\": ");
    let attributes = attributes.unwrap_or_else(|| panic!("{}", event.name));
    let attributes: serde_json::Value = serde_json::from_str(attributes).expect("JSON");
    assert_eq!(attributes[""], "an empty key");
}

#[test]
fn what_the_opentelemetry_collector_sends_is_taken() {
    let test = "what_the_opentelemetry_collector_sends_is_taken";
    let Some(program) = peers::require(test, "the OpenTelemetry Collector", otelcol::otelcol())
    else {
        return;
    };
    let sinks = RawSinks::start();
    let collector = Collector::start(&[&sinks.grpc_url]);
    let source = Otelcol::source(&program, &collector);
    for (trace_id, name, port) in [
        (1, "grpc", source.ports.grpc),
        (2, "http", source.ports.http),
        (3, "zipkin", source.ports.zipkin),
    ] {
        let mut sent = request(trace_id);
        if name == "zipkin" {
            // Its exporter fails for one of these in an event or a link.
            without_infinities(&mut sent);
        }
        send(port, &sent);
        let came = wait_for_trace(name, &sent, || sinks.grpc());
        if name == "zipkin" {
            check_zipkin(&came, &sent.resource_spans);
        } else {
            assert!(
                came == sent.resource_spans,
                "{name}: {came:#?}\ninstead of {sent:#?}"
            );
        }
    }
}

fn without_infinities(request: &mut ExportTraceServiceRequest) {
    let scopes = request
        .resource_spans
        .iter_mut()
        .flat_map(|of| &mut of.scope_spans);
    for span in scopes.flat_map(|scope| &mut scope.spans) {
        let events = span.events.iter_mut().map(|event| &mut event.attributes);
        let links = span.links.iter_mut().map(|link| &mut link.attributes);
        for attributes in events.chain(links) {
            attributes.retain(|attribute| attribute.key != "double.infinite");
        }
    }
}

/// Of spans that have one, by id.
fn statuses(groups: &[ResourceSpans]) -> BTreeMap<Vec<u8>, Status> {
    let with_status = |span: &Span| {
        let status = span.status.clone().filter(|status| status.code != 0)?;
        Some((span.span_id.clone(), status))
    };
    spans_of(groups).filter_map(with_status).collect()
}

/// What its Zipkin exporter sends, and what only it tells in that way.
fn check_zipkin(came: &[ResourceSpans], sent: &[ResourceSpans]) {
    assert_eq!(through_zipkin(came), through_zipkin(sent));
    assert_eq!(statuses(came), statuses(sent));
    let service = |of: &ResourceSpans| of.resource.clone().unwrap_or_default().attributes;
    assert_eq!(service(&came[0]), [rich::text("service.name", "shop")]);
    let scope = came[0].scope_spans[0].scope.clone().unwrap_or_default();
    assert_eq!((&*scope.name, &*scope.version), ("scope", "1.2.3"));
    let (came, sent) = (full(came), full(sent));
    let (event, link) = (&came.events[0], &came.links[0]);
    assert_eq!(event.name, "an event");
    assert_eq!(event.time_unix_nano, rich::START + 1_000);
    assert_eq!(event.dropped_attributes_count, 4);
    assert_eq!(link.dropped_attributes_count, 6);
    for key in [
        "text",
        "bool.true",
        "int.zero",
        "double",
        "list.empty",
        "map",
    ] {
        let of = |attributes: &[KeyValue]| attributes.iter().find(|of| of.key == key).cloned();
        let expected = of(&sent.events[0].attributes);
        assert!(expected.is_some());
        assert_eq!(of(&event.attributes), expected);
        assert_eq!(of(&link.attributes), expected);
    }
}

#[test]
fn telemetrygens_signals_are_taken() {
    let test = "telemetrygens_signals_are_taken";
    let Some(program) = peers::require(test, "telemetrygen", otelcol::telemetrygen()) else {
        return;
    };
    let sink = Bodies::start();
    let collector = Collector::start(&[&sink.url]);
    let grpc = format!("127.0.0.1:{}", collector.otlp_grpc);
    let http = format!("127.0.0.1:{}", collector.otlp_http);
    for way in [
        &["--otlp-endpoint", &grpc][..],
        &["--otlp-endpoint", &http, "--otlp-http"],
    ] {
        let traces = ["traces", "--traces", "50", "--child-spans", "2"];
        generate(&program, &[&traces, way].concat());
        generate(&program, &[&["logs", "--logs", "40"], way].concat());
        generate(&program, &[&["metrics", "--metrics", "30"], way].concat());
    }
    // A parent and two children each; everything by both ways.
    let expected = [
        ("sent_spans", 300),
        ("sent_log_records", 80),
        ("sent_data_points", 60),
    ];
    let exporter = || collector.api("/status")["exporters"][0].clone();
    wait_telling(
        || format!("{expected:?} of {}", exporter()),
        || {
            let exporter = exporter();
            let has_all = |&(key, count): &(&str, u64)| exporter[key] == count;
            expected.iter().all(has_all).then_some(())
        },
    );
    let request = ExportTraceServiceRequest::decode(&sink.at("/v1/traces")[..]).expect("OTLP");
    let mut ids: Vec<_> = spans_of(&request.resource_spans)
        .map(|span| &span.span_id)
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 300, "each span once");
}

fn generate(program: &Path, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .args(["--otlp-insecure", "--rate", "0"])
        .output()
        .expect("telemetrygen");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
