//! The exporter against a collector in the same process, over real sockets.

use std::time::{Duration, Instant};

use ::http::{HeaderName, HeaderValue, StatusCode};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind as OtlpKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as OtlpStatus;
use prost::Message as _;
use tokio::net::{TcpListener, TcpSocket};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::Registry;

use super::super::counters::DropReason;
use super::super::record::{SharedText, SpanAttributes, SpanKind, SpanStatus, Value};
use super::super::testing::{Collector, Events, eventually, record};
use super::super::{Compression, Endpoint, ExportConfig, Protocol, SpanQueue};
use super::*;
use crate::context::{SpanId, TraceId, TraceParent};

const LONG: Duration = Duration::from_secs(20);

/// A collector, and an exporter that sends to it when told to flush.
struct Bench {
    collector: Collector,
    queue: SpanQueue,
    exporter: Exporter,
    events: Events,
    _subscriber: DefaultGuard,
}

impl Bench {
    async fn new(change: impl FnOnce(&mut ExportConfig)) -> Self {
        let collector = Collector::default();
        let url = collector.start().await;
        let mut config = patient(&url);
        change(&mut config);
        Self::with(collector, config)
    }

    fn with(collector: Collector, config: ExportConfig) -> Self {
        let events = Events::default();
        let subscriber = tracing::subscriber::set_default(Registry::default().with(events.clone()));
        let queue = SpanQueue::new(&config);
        let resource = [("service.name", "checkout"), ("process.pid", "42")];
        let resource = resource.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let resource = Vec::from(resource);
        Self {
            exporter: start(config, resource, &queue).unwrap(),
            collector,
            queue,
            events,
            _subscriber: subscriber,
        }
    }

    fn push(&self, spans: usize) {
        for _ in 0..spans {
            self.queue.push(record("GET /hello"));
        }
    }

    fn counts(&self) -> (u64, u64, u64, u64) {
        let counters = self.queue.counters();
        (
            counters.exported(),
            counters.dropped(DropReason::QueueFull),
            counters.dropped(DropReason::Shutdown),
            counters.failed(),
        )
    }
}

/// Only a full batch or a flush sends.
fn patient(url: &str) -> ExportConfig {
    ExportConfig {
        endpoint: Endpoint::Base(url.to_owned()),
        schedule_delay: Duration::from_secs(600),
        ..ExportConfig::default()
    }
}

/// The protocols that spans travel by as protobuf.
fn protobuf() -> Vec<Protocol> {
    let all = [Protocol::HttpProtobuf, Protocol::Grpc];
    let built = |protocol: &Protocol| cfg!(feature = "otlp-grpc") || *protocol != Protocol::Grpc;
    all.into_iter().filter(built).collect()
}

fn attributes(attributes: &[KeyValue]) -> Vec<(&str, Any)> {
    attributes
        .iter()
        .map(|KeyValue { key, value, .. }| {
            let Some(AnyValue { value: Some(value) }) = value else {
                panic!("{key} without value")
            };
            (key.as_str(), value.clone())
        })
        .collect()
}

fn text(text: &str) -> Any {
    Any::StringValue(text.to_owned())
}

#[tokio::test]
async fn a_span_arrives_as_it_was_recorded() {
    let bench = Bench::new(|config| {
        let header = HeaderName::from_static("x-api-key");
        config.headers = vec![(header, HeaderValue::from_static("a%20b"))];
    })
    .await;
    let mut span = record("GET /orders/{id}");
    let (parent, context) = (SpanId::random(), span.context.clone());
    (span.parent, span.parent_is_remote) = (Some(parent), true);
    let linked = TraceParent {
        trace_id: TraceId::random(),
        span_id: SpanId::random(),
        flags: 0b01,
    };
    span.link = Some(Box::new(linked));
    span.kind = SpanKind::Client;
    span.status = SpanStatus::Error("boom".into());
    span.attributes = SpanAttributes::Listed(vec![
        ("text", Value::Text(SharedText::Static("a"))),
        ("shared", Value::Text(SharedText::Shared("b".into()))),
        ("header", Value::Bytes(bytes::Bytes::from_static(b"c"))),
        ("int", Value::Int(-1)),
        ("float", Value::Float(0.5)),
        ("flag", Value::Bool(true)),
    ]);
    let (start, duration) = (span.start, span.duration);
    bench.queue.push(span);
    assert!(bench.exporter.flush(LONG).await);

    let [span] = &bench.collector.spans()[..] else {
        panic!("{:?}", bench.collector.spans())
    };
    assert_eq!(span.trace_id, context.trace_id.to_bytes());
    assert_eq!(span.span_id, context.span_id.to_bytes());
    assert_eq!(span.parent_span_id, parent.to_bytes());
    assert_eq!(span.trace_state, "");
    let [link] = &span.links[..] else {
        panic!("{:?}", span.links)
    };
    assert_eq!(link.trace_id, linked.trace_id.to_bytes());
    assert_eq!(link.span_id, linked.span_id.to_bytes());
    assert_eq!(link.flags & 0xff, 0b01);
    assert_eq!(span.name, "GET /orders/{id}");
    assert_eq!(span.kind, OtlpKind::Client as i32);
    // Sampled and random, and that the parent is known to be remote (OTLP, "SpanFlags").
    assert_eq!(span.flags & 0xff, 0b11);
    assert_eq!(span.flags >> 8, 0b11);
    let since_epoch = start.duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(
        u128::from(span.start_time_unix_nano),
        since_epoch.as_nanos()
    );
    assert_eq!(
        u128::from(span.end_time_unix_nano),
        (since_epoch + duration).as_nanos()
    );
    let status = span.status.as_ref().unwrap();
    assert_eq!(status.code, OtlpStatus::Error as i32);
    assert_eq!(status.message, "boom");
    assert_eq!(
        attributes(&span.attributes),
        [
            ("text", text("a")),
            ("shared", text("b")),
            ("header", text("c")),
            ("int", Any::IntValue(-1)),
            ("float", Any::DoubleValue(0.5)),
            ("flag", Any::BoolValue(true)),
        ]
    );

    let resource = bench.collector.first_resource();
    let scope = resource.scope_spans[0].scope.as_ref().unwrap();
    assert_eq!(scope.name, "bellwether");
    assert_eq!(scope.version, env!("CARGO_PKG_VERSION"));
    let resource = resource.resource.unwrap();
    let mut described = attributes(&resource.attributes);
    described.sort_by_key(|(key, _)| *key);
    assert_eq!(
        described,
        [
            ("process.pid", Any::IntValue(42)),
            ("service.name", text("checkout")),
        ]
    );
    let headers = bench.collector.headers();
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert_eq!(headers["x-api-key"], "a%20b");
    assert_eq!(bench.counts(), (1, 0, 0, 0));
    assert!(bench.queue.counters().last_success().is_some());
    assert_eq!(bench.queue.counters().waiting(), 0);
}

#[tokio::test]
async fn every_protocol_and_compression_delivers() {
    async fn check(protocol: Protocol, compression: Compression, content_type: &str) {
        let bench = Bench::new(|config| {
            (config.protocol, config.compression) = (protocol, compression);
            config.headers = vec![(
                HeaderName::from_static("x-api-key"),
                HeaderValue::from_static("k"),
            )];
        })
        .await;
        bench.push(3);
        assert!(
            bench.exporter.flush(LONG).await,
            "{protocol:?} {compression:?} {:?}",
            bench.queue.counters().last_error()
        );
        assert_eq!(bench.collector.batches(), [3], "{protocol:?}");
        let headers = bench.collector.headers();
        assert_eq!(headers["content-type"], content_type);
        assert_eq!(headers["x-api-key"], "k");
        let packed = headers
            .get("content-encoding")
            .or(headers.get("grpc-encoding"));
        assert_eq!(packed.is_some(), compression == Compression::Gzip);
    }
    for compression in [Compression::None, Compression::Gzip] {
        check(
            Protocol::HttpProtobuf,
            compression,
            "application/x-protobuf",
        )
        .await;
        check(Protocol::HttpJson, compression, "application/json").await;
        #[cfg(feature = "otlp-grpc")]
        check(Protocol::Grpc, compression, "application/grpc").await;
    }
}

#[tokio::test]
async fn a_full_batch_is_sent_without_waiting_for_the_schedule() {
    let bench = Bench::new(|config| config.max_export_batch_size = 10).await;
    bench.push(25);
    eventually("25 spans", || bench.collector.spans().len() == 25).await;
    assert!(bench.collector.batches().iter().all(|spans| *spans <= 10));
}

#[tokio::test]
async fn the_schedule_sends_what_fills_no_batch() {
    let bench = Bench::new(|config| config.schedule_delay = Duration::from_millis(5)).await;
    bench.push(1);
    eventually("the span", || bench.collector.spans().len() == 1).await;
}

#[tokio::test]
async fn spans_flow_when_a_collector_comes_up_late() {
    // Bound and not listening: refuses, and nobody else can take the port.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    let mut config = patient(&format!("http://{address}"));
    config.max_queue_size = 4;
    config.max_export_batch_size = 2;
    let bench = Bench::with(Collector::default(), config);
    bench.push(3);
    assert!(!bench.exporter.flush(LONG).await);
    let warning = bench.events.with("WARN");
    assert_eq!(warning.len(), 1, "{warning:?}");
    assert!(warning[0].contains(&address.to_string()), "{warning:?}");
    assert!(warning[0].contains("refused"), "{warning:?}");

    // Room for one more: what comes beyond is dropped, what waits stays.
    bench.push(6);
    assert_eq!(bench.counts(), (0, 5, 0, 0));
    assert_eq!(bench.queue.counters().waiting(), 4);
    assert!(!bench.exporter.flush(LONG).await);

    bench.collector.serve(socket.listen(16).unwrap());
    eventually("what waited", || bench.collector.spans().len() == 4).await;
    eventually("the counts", || bench.counts() == (4, 5, 0, 0)).await;
    assert_eq!(bench.events.with("WARN").len(), 1);
    let again = bench.events.with("spans flow again");
    assert_eq!(again.len(), 1);
    assert!(again[0].contains("lost_meanwhile=5"), "{again:?}");
    let fault = bench.queue.counters().last_error().unwrap();
    assert!(fault.cause.contains("refused"), "{fault:?}");
}

#[tokio::test]
async fn a_refused_batch_is_counted_and_the_next_one_tried() {
    let bench = Bench::new(|_| {}).await;
    bench
        .collector
        .answer_with(StatusCode::BAD_REQUEST, Vec::new());
    bench.push(2);
    assert!(!bench.exporter.flush(LONG).await);
    assert_eq!(bench.counts(), (0, 0, 0, 2));
    let warnings = bench.events.with("WARN");
    let [warning] = warnings.as_slice() else {
        panic!("{warnings:?}");
    };
    for part in ["400 Bad Request", "spans=2", "refused for good", "failed"] {
        assert!(warning.contains(part), "{part}: {warning}");
    }
    assert!(!warning.contains("wait"), "{warning}");
    bench.collector.answer_with(StatusCode::OK, Vec::new());
    bench.push(1);
    assert!(bench.exporter.flush(LONG).await);
    assert_eq!(bench.counts(), (1, 0, 0, 2));
    assert_eq!(bench.events.with("lost_meanwhile=2").len(), 1);
}

#[tokio::test]
async fn an_overloaded_collector_gets_the_batch_again() {
    let bench = Bench::new(|config| config.timeout = Duration::from_millis(50)).await;
    bench
        .collector
        .answer_with(StatusCode::SERVICE_UNAVAILABLE, Vec::new());
    bench.push(2);
    assert!(!bench.exporter.flush(LONG).await);
    assert_eq!(bench.counts(), (0, 0, 0, 0));
    assert!(bench.events.with("WARN")[0].contains("up to 2048 wait"));
    bench.collector.answer_with(StatusCode::OK, Vec::new());
    assert!(bench.exporter.flush(LONG).await);
    assert_eq!(bench.counts(), (2, 0, 0, 0));
}

#[tokio::test]
async fn a_collector_overloaded_for_a_moment_gets_the_batch_within_the_same_export() {
    for protocol in protobuf() {
        let bench = Bench::new(|config| config.protocol = protocol).await;
        bench
            .collector
            .answer_with(StatusCode::SERVICE_UNAVAILABLE, Vec::new());
        bench.push(2);
        let turned_away = async {
            eventually("a request", || bench.collector.requests() > 0).await;
            bench.collector.answer_with(StatusCode::OK, Vec::new());
        };
        let (accepted, ()) = tokio::join!(bench.exporter.flush(LONG), turned_away);
        assert!(accepted, "{protocol:?}");
        assert_eq!(bench.collector.batches(), [2], "{protocol:?}");
        assert_eq!(bench.counts(), (2, 0, 0, 0), "{protocol:?}");
        assert_eq!(bench.events.with("WARN").len(), 0, "{protocol:?}");
    }
}

#[tokio::test]
async fn spans_the_collector_rejects_are_counted_and_told_of_once() {
    for protocol in protobuf() {
        let bench = Bench::new(|config| config.protocol = protocol).await;
        let partial = ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess {
                rejected_spans: 2,
                error_message: "too old".to_owned(),
            }),
        };
        bench
            .collector
            .answer_with(StatusCode::OK, partial.encode_to_vec());
        for _ in 0..2 {
            bench.push(5);
            assert!(!bench.exporter.flush(LONG).await, "{protocol:?}");
        }
        assert_eq!(bench.counts(), (6, 0, 0, 4), "{protocol:?}");
        assert_eq!(bench.events.with("too old").len(), 1, "{protocol:?}");
    }
}

#[tokio::test]
async fn shutdown_sends_what_is_queued_and_counts_what_comes_later() {
    let bench = Bench::new(|config| config.max_export_batch_size = 10).await;
    bench.push(35);
    assert!(bench.exporter.shutdown(LONG).await);
    assert_eq!(bench.collector.spans().len(), 35);
    bench.push(2);
    assert_eq!(bench.counts(), (35, 0, 2, 0));
    assert!(!bench.exporter.flush(LONG).await, "the thread is gone");
}

#[tokio::test]
async fn shutdown_keeps_its_deadline_when_the_collector_hangs() {
    let bench = Bench::new(|config| config.max_export_batch_size = 2).await;
    bench.collector.hang();
    bench.push(5);
    // The first two are under way, without a deadline of their own, when the shutdown comes.
    eventually("a request", || bench.collector.requests() > 0).await;
    let begun = Instant::now();
    assert!(!bench.exporter.shutdown(Duration::from_millis(100)).await);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(bench.counts(), (0, 0, 5, 0));
    assert_eq!(bench.events.with("unsent=5").len(), 1);
}

#[tokio::test]
async fn a_dropped_handle_counts_what_it_leaves() {
    let Bench {
        queue,
        exporter,
        collector,
        ..
    } = Bench::new(|_| {}).await;
    collector.hang();
    queue.push(record("GET /hello"));
    drop(exporter);
    eventually("the count", || {
        queue.counters().dropped(DropReason::Shutdown) == 1
    })
    .await;
}

#[tokio::test]
async fn http_sent_to_a_grpc_port_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let service = hyper::service::service_fn(|_| async {
                    Ok::<_, std::convert::Infallible>(::http::Response::new(String::new()))
                });
                let _ =
                    hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
            });
        }
    });
    let bench = Bench::with(Collector::default(), patient(&url));
    bench.push(1);
    assert!(!bench.exporter.flush(LONG).await);
    let warning = bench.events.with("WARN");
    assert!(warning[0].contains("PROTOCOL=grpc"), "{warning:?}");
}

#[cfg(feature = "otlp-grpc")]
#[tokio::test]
async fn grpc_sent_to_an_http_port_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let service = hyper::service::service_fn(|_| async {
                    Ok::<_, std::convert::Infallible>(::http::Response::new(String::new()))
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    let mut config = patient(&url);
    config.protocol = Protocol::Grpc;
    let bench = Bench::with(Collector::default(), config);
    bench.push(1);
    assert!(!bench.exporter.flush(LONG).await);
    let warning = bench.events.with("WARN");
    assert!(warning[0].contains("PROTOCOL=http/protobuf"), "{warning:?}");
}

#[cfg(all(feature = "otlp-grpc", feature = "tls"))]
#[tokio::test]
async fn tls_to_a_plain_port_fails_with_one_warning() {
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let bench = Bench::new(|config| {
            let url = config.url().replace("http://", "https://");
            (config.protocol, config.endpoint) = (protocol, Endpoint::Traces(url));
        })
        .await;
        bench.push(1);
        assert!(!bench.exporter.flush(LONG).await);
        let warning = bench.events.with("WARN");
        assert_eq!(warning.len(), 1, "{warning:?}");
        assert!(warning[0].contains("speaks no TLS"), "{warning:?}");
        assert!(bench.collector.spans().is_empty());
    }
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_told_and_switches_traces_off() {
    async fn check(endpoint: &str, part: &str) {
        let mut config = patient("");
        config.endpoint = Endpoint::Traces(endpoint.to_owned());
        let bench = Bench::with(Collector::default(), config);
        let warning = bench.events.with("traces are off");
        assert_eq!(warning.len(), 1);
        assert!(warning[0].contains(part), "{warning:?}");
        assert!(!bench.queue.is_enabled());
        assert!(bench.exporter.flush(LONG).await);
        let fault = bench.queue.counters().last_error().unwrap();
        assert!(fault.cause.contains(part), "{fault:?}");
    }
    check("ftp://c:1", "http:// nor https://").await;
    check("c:1", "http://HOST:PORT").await;
    check("not a url", "not a URL").await;
    if !cfg!(feature = "tls") {
        check("https://c:1", "feature `tls`").await;
    }
}
