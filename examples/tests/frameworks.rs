//! The kit in a service of each framework: every example runs as a process, is called, looked at from all
//! sides, and stopped.

use std::process::Command;
use std::time::Duration;

use bellwether_examples::calculator_v1::calculator_client::CalculatorClient;
use bellwether_examples::calculator_v1::{Operands, Sum};
use bellwether_tests::http::{Answer, get, get_with};
use bellwether_tests::process::Process;
use bellwether_tests::sink::{Sink, SinkSpan};
use bellwether_tests::system::free_port;
use bellwether_tests::wait::wait_for;
use opentelemetry_proto::tonic::common::v1::any_value::Value as SpanValue;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

const REQUEST_ID: &str = "x-request-id";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

/// A running example, and the peer that its spans go to.
struct Example {
    port: u16,
    admin: u16,
    process: Process,
    sink: Sink,
}

impl Example {
    fn start(name: &str, program: &str) -> Self {
        Self::start_with(name, program, &[])
    }

    fn start_with(name: &str, program: &str, env: &[(&str, &str)]) -> Self {
        let (sink, port, admin) = (Sink::start(), free_port(), free_port());
        let process = Process::start(
            name,
            Command::new(program)
                .env("PORT", port.to_string())
                .env("BELLWETHER_ADMIN_ADDR", format!("127.0.0.1:{admin}"))
                .env("BELLWETHER_LOG_FORMAT", "json")
                .env("BELLWETHER_DRAIN_DELAY", "0s")
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url.replace("otlp+", ""))
                .env("OTEL_BSP_SCHEDULE_DELAY", "100")
                .envs(env.iter().copied()),
        );
        Self {
            port,
            admin,
            process,
            sink,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Asks as a caller that has an id and a trace; the first one waits for the service to listen.
    fn get(&self, path: &str) -> Answer {
        let headers = [(REQUEST_ID, "order-7"), ("traceparent", TRACE)];
        wait_for(&format!("{path} of {:#?}", self.process.output()), || {
            get_with(&self.url(path), &headers)
        })
    }

    fn closing_line(&self, path: &str) -> Value {
        self.process.wait_for_line("a closing line", |line| {
            line["target"] == "bellwether::request" && line["url.path"] == path
        })
    }

    /// The service's own line belongs to the request it was written in.
    fn assert_own_line(&self, message: &str) {
        let line = self
            .process
            .wait_for_line(message, |line| line["message"] == message);
        assert_eq!(line["request_id"], "order-7");
        assert_eq!(line["trace_id"], TRACE_ID);
    }

    /// The server span of this name, a child of the caller's.
    fn span(&self, name: &str) -> SinkSpan {
        let span = wait_for(&format!("the span {name}"), || {
            let mut spans = self.sink.spans().into_iter();
            spans.find(|span| span.span.name == name)
        });
        assert_eq!(span.span.kind, i32::from(SpanKind::Server));
        assert_eq!(hex(&span.span.trace_id), TRACE_ID);
        assert_eq!(hex(&span.span.parent_span_id), "b7ad6b7169203331");
        span
    }

    /// Waits for a sample; nothing but its value follows it.
    fn assert_counted(&self, sample: &str, value: u64) {
        let metrics = get(&format!("http://127.0.0.1:{}/metrics", self.admin)).expect("metrics");
        let line = format!("{sample} {value}");
        assert!(
            metrics.text().lines().any(|shown| shown == line),
            "no {line} in {}",
            metrics.text()
        );
    }

    fn assert_stops(mut self) {
        self.process.terminate();
        let status = self.process.wait(Duration::from_secs(30));
        assert_eq!(status.code(), Some(0), "{:#?}", self.process.output());
        let stopped = |line: &Value| line["message"] == "stopped";
        assert_eq!(self.process.log().into_iter().filter(stopped).count(), 1);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(span: &SinkSpan, key: &str) -> Option<String> {
    let mut attributes = span.span.attributes.iter();
    let value = attributes
        .find(|attribute| attribute.key == key)?
        .value
        .clone()?;
    match value.value? {
        SpanValue::StringValue(text) => Some(text),
        other => panic!("{key} is {other:?}"),
    }
}

/// What every HTTP example shows of `path`, whose route is `route` and in which the service says `own`.
fn check(example: Example, path: &str, route: &str, own: &str) {
    let answer = example.get(path);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header(REQUEST_ID), Some("order-7"));
    assert!(
        answer.header("server-timing").is_some(),
        "the caller is trusted"
    );
    let line = example.closing_line(path);
    assert_eq!(line["http.route"], route);
    assert_eq!(line["outcome"], "ok");
    assert_eq!(line["client.address"], "127.0.0.1");
    assert_eq!(line["http.response.status_code"], 200);
    example.assert_own_line(own);
    let span = example.span(&format!("GET {route}"));
    assert_eq!(text(&span, "http.route").as_deref(), Some(route));
    example.assert_counted(
        &format!(
            "http_server_request_duration_seconds_count{{http_request_method=\"GET\",url_scheme=\"http\",\
             http_route=\"{route}\",http_response_status_code=\"200\"}}"
        ),
        1,
    );
    example.assert_stops();
}

#[test]
fn axum_with_nested_routers() {
    let example = Example::start("axum", env!("CARGO_BIN_EXE_framework-axum"));
    assert_eq!(example.get("/api/users/8").status, 404);
    assert_eq!(
        example.closing_line("/api/users/8")["http.route"],
        "/api/users/{id}"
    );
    assert_eq!(example.get("/nowhere").status, 404);
    assert_eq!(example.closing_line("/nowhere")["http.route"], Value::Null);
    assert_eq!(example.get("/livez").status, 200);
    check(
        example,
        "/api/users/7",
        "/api/users/{id}",
        "looking for a user",
    );
}

#[test]
fn hyper_with_an_accept_loop() {
    let example = Example::start("hyper", env!("CARGO_BIN_EXE_framework-hyper"));
    check(example, "/hello/ann", "/hello/{name}", "greeting");
}

#[test]
fn plain_tower() {
    let example = Example::start("tower", env!("CARGO_BIN_EXE_framework-tower"));
    assert_eq!(example.get("/livez").status, 200);
    assert_eq!(example.get("/nowhere").status, 404);
    assert_eq!(example.closing_line("/nowhere")["http.route"], Value::Null);
    check(example, "/hello/ann", "/hello/{name}", "greeting");
}

// On another thread than this one, which waits by blocking, the channel hears that the server goes away.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn tonic_on_its_own_server() {
    let example = Example::start("tonic", env!("CARGO_BIN_EXE_framework-tonic"));
    let endpoint = Endpoint::from_shared(example.url("")).unwrap();
    let channel = connected(&endpoint).await;

    let sum = add(&channel, 2.0, 3.0).await.unwrap();
    assert_eq!(sum.metadata().get(REQUEST_ID).unwrap(), "order-7");
    assert!(
        sum.metadata().get("server-timing").is_some(),
        "the caller is trusted"
    );
    assert_eq!(sum.into_inner().value, 5.0);
    let line = example.closing_line("/calculator.v1.Calculator/Add");
    assert_eq!(line["rpc.method"], "calculator.v1.Calculator/Add");
    assert_eq!(line["rpc.response.status_code"], "OK");
    assert_eq!(line["client.address"], "127.0.0.1");
    example.assert_own_line("added");
    let span = example.span("calculator.v1.Calculator/Add");
    assert_eq!(text(&span, "rpc.system.name").as_deref(), Some("grpc"));

    let refused = add(&channel, f64::MAX, f64::MAX).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    for status in ["OK", "OUT_OF_RANGE"] {
        example.assert_counted(
            &format!(
                "rpc_server_call_duration_seconds_count{{rpc_system_name=\"grpc\",\
                 rpc_method=\"calculator.v1.Calculator/Add\",rpc_response_status_code=\"{status}\"}}"
            ),
            1,
        );
    }
    assert_healthy(&channel, "").await;
    assert_healthy(&channel, "calculator.v1.Calculator").await;
    let closing = |line: &Value| line["target"] == "bellwether::request";
    let lines: Vec<_> = example.process.log().into_iter().filter(closing).collect();
    assert_eq!(lines.len(), 2, "health is no traffic: {lines:#?}");
    drop(channel);
    example.assert_stops();
}

/// A call whose request never ends keeps a server of one request busy, and would keep it from ever stopping.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn tonic_at_its_limit_is_healthy_and_stops_in_time() {
    let env = [
        ("BELLWETHER_CONCURRENCY_LIMIT", "1"),
        ("BELLWETHER_GRACE", "2s"),
    ];
    let example = Example::start_with("tonic", env!("CARGO_BIN_EXE_framework-tonic"), &env);
    let endpoint = Endpoint::from_shared(example.url("")).unwrap();
    let channel = connected(&endpoint).await;
    let mut hanging = tonic::client::Grpc::new(channel.clone());
    let hanging = tokio::spawn(async move {
        hanging.ready().await.unwrap();
        let never = tonic::codegen::tokio_stream::pending::<Operands>();
        let path = http::uri::PathAndQuery::from_static("/calculator.v1.Calculator/Add");
        let codec = tonic_prost::ProstCodec::<Operands, Sum>::default();
        hanging
            .client_streaming(Request::new(never), path, codec)
            .await
    });
    let active = "http_server_active_requests{http_request_method=\"POST\",url_scheme=\"http\"} 1";
    wait_for("the call that hangs", || {
        let metrics = get(&format!("http://127.0.0.1:{}/metrics", example.admin))?;
        metrics.text().lines().find(|line| *line == active)?;
        Some(())
    });
    let refused = add(&channel, 2.0, 3.0).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_healthy(&channel, "").await;
    let began = std::time::Instant::now();
    example.assert_stops();
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    assert!(hanging.await.unwrap().is_err());
}

/// A channel to a server that may still be starting.
async fn connected(endpoint: &Endpoint) -> Channel {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        match endpoint.connect().await {
            Ok(channel) => return channel,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

async fn add(channel: &Channel, left: f64, right: f64) -> Result<Response<Sum>, Status> {
    let mut request = Request::new(Operands { left, right });
    let metadata = request.metadata_mut();
    metadata.insert(REQUEST_ID, MetadataValue::from_static("order-7"));
    metadata.insert("traceparent", MetadataValue::from_static(TRACE));
    CalculatorClient::new(channel.clone()).add(request).await
}

/// Asks as Kubernetes does.
async fn assert_healthy(channel: &Channel, service: &str) {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::health_client::HealthClient;
    let question = tonic_health::pb::HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(channel.clone()).check(question).await;
    let status = answer.expect("an answer").into_inner().status();
    assert_eq!(status, ServingStatus::Serving, "{service:?}");
}
