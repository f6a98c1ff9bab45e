//! The OpenTelemetry Collector as source and as sink, and telemetrygen: real peers in Go.

use std::path::Path;
use std::process::Command;

use bellwether_tests::http::post;
use bellwether_tests::otelcol::{self, Otelcol};
use bellwether_tests::peers;
use bellwether_tests::raw_sink::RawSinks;
use bellwether_tests::rich;
use bellwether_tests::system::Collector;
use bellwether_tests::wait::{wait_for, wait_telling};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
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

/// What Zipkin's format holds of spans, by id; the two that it cannot tell the kind of are told alike.
fn through_zipkin(groups: &[ResourceSpans]) -> Vec<String> {
    let told = |span: &Span| {
        let micros = |nanos: u64| nanos / 1_000;
        let status = span.status.as_ref().filter(|status| status.code != 0);
        let message = status
            .filter(|status| status.code == 2)
            .map(|status| &status.message);
        format!(
            "{:?}",
            (
                (
                    &span.span_id,
                    &span.parent_span_id,
                    &span.name,
                    span.kind.max(1)
                ),
                (micros(span.start_time_unix_nano), &span.trace_state),
                (status.map(|status| status.code), message),
                span.events
                    .iter()
                    .map(|event| &event.name)
                    .collect::<Vec<_>>(),
                span.links
                    .iter()
                    .map(|link| &link.span_id)
                    .collect::<Vec<_>>(),
            )
        )
    };
    let mut told: Vec<_> = spans_of(groups).map(told).collect();
    told.sort();
    told
}

/// A request that every format can hold, but for what the translation of Zipkin's loses by its nature.
fn request_for_zipkin(trace_id: u128) -> ExportTraceServiceRequest {
    let mut request = rich::request(trace_id);
    for scope in request
        .resource_spans
        .iter_mut()
        .flat_map(|of| &mut of.scope_spans)
    {
        scope
            .spans
            .retain(|span| span.start_time_unix_nano == rich::START);
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
    let sent = request_for_zipkin(1);
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
        let sent = request_for_zipkin(trace_id);
        send(port, &sent);
        let came = wait_for_trace(name, &sent, || sinks.grpc());
        if name == "zipkin" {
            assert_eq!(through_zipkin(&came), through_zipkin(&sent.resource_spans));
        } else {
            assert!(
                came == sent.resource_spans,
                "{name}: {came:#?}\ninstead of {sent:#?}"
            );
        }
    }
}

#[test]
fn telemetrygens_spans_are_taken() {
    let test = "telemetrygens_spans_are_taken";
    let Some(program) = peers::require(test, "telemetrygen", otelcol::telemetrygen()) else {
        return;
    };
    let sinks = RawSinks::start();
    let collector = Collector::start(&[&sinks.http_url]);
    let grpc = format!("127.0.0.1:{}", collector.otlp_grpc);
    let http = format!("127.0.0.1:{}", collector.otlp_http);
    generate(
        &program,
        &["--otlp-endpoint", &grpc, "--service", "over-grpc"],
    );
    generate(
        &program,
        &[
            "--otlp-endpoint",
            &http,
            "--otlp-http",
            "--service",
            "over-http",
        ],
    );
    // 50 traces of one parent and two children, each way.
    let services = || collector.api("/services");
    wait_telling(
        || format!("300 spans, of {}", services()),
        || {
            let decode =
                |body: bytes::Bytes| ExportTraceServiceRequest::decode(body).expect("OTLP");
            let requests: Vec<_> = sinks.http().into_iter().map(decode).collect();
            let count =
                |request: &ExportTraceServiceRequest| spans_of(&request.resource_spans).count();
            (requests.iter().map(count).sum::<usize>() == 300).then_some(())
        },
    );
    let listed = services();
    let listed = listed["items"].as_array().expect("services");
    for name in ["over-grpc", "over-http"] {
        assert!(
            listed.iter().any(|service| service["service"] == name),
            "{listed:?}"
        );
    }
}

fn generate(program: &Path, arguments: &[&str]) {
    let output = Command::new(program)
        .args([
            "traces",
            "--otlp-insecure",
            "--traces",
            "50",
            "--child-spans",
            "2",
            "--rate",
            "0",
        ])
        .args(arguments)
        .output()
        .expect("telemetrygen");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
