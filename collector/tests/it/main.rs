//! The collector as a process: real sockets, real signals, what it prints and how it exits.

#![allow(clippy::unwrap_used, reason = "in a test a fault is a failure")]

mod certificates;
mod configuration;
mod data_dir;
#[cfg(target_os = "linux")]
mod durability;
#[path = "../../src/export/fault_peers.rs"]
mod fault_peers;
#[cfg(target_os = "linux")]
mod file_system;
#[cfg(target_os = "linux")]
mod flood;
#[cfg(target_os = "linux")]
mod heads;
mod imports;
#[cfg(target_os = "linux")]
mod isolation;
mod load;
#[cfg(target_os = "linux")]
mod overload;
mod process;
mod proofs;
mod sampling;
mod secure;
mod sender;
mod services;
mod signals;
mod sink;
#[cfg(target_os = "linux")]
mod soak;
mod surface;
mod traces;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use fault_peers::Nobody;
use process::{Collector, bellwether, get, post, post_as, wait_for};

/// A request with `spans` SERVER spans of one service and one trace.
fn batch(service: &str, spans: u64) -> Vec<u8> {
    batch_of(service, 1..spans + 1, 0)
}

/// The same with these span ids, and so many bytes in a span's attribute.
fn batch_of(service: &str, ids: std::ops::Range<u64>, bytes: usize) -> Vec<u8> {
    let text = |key: &str, value: String| KeyValue {
        key: key.into(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value)),
        }),
        ..KeyValue::default()
    };
    let resource = Resource {
        attributes: vec![text("service.name", service.to_owned())],
        ..Resource::default()
    };
    let span = |id: u64| Span {
        trace_id: 0xabc_u128.to_be_bytes().into(),
        span_id: id.to_be_bytes().into(),
        name: "GET /cart".into(),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_005_000_000,
        attributes: vec![text("note", "x".repeat(bytes))],
        ..Span::default()
    };
    let resource_spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![ScopeSpans {
            spans: ids.map(span).collect(),
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource_spans],
    }
    .encode_to_vec()
}

fn metric(collector: &Collector, name: &str) -> Option<f64> {
    let (_, text) = get(&collector.web("/metrics"));
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a_batch_is_taken_shown_and_counted() {
    let collector = Collector::start(&[]);
    assert_eq!(get(&collector.web("/readyz")).0, 200);
    assert_eq!(post(&collector.traces(), &batch("cart", 3)).0, 200);

    let (status, services) = get(&collector.web("/api/v1/services"));
    assert_eq!(status, 200, "{services}");
    let services: serde_json::Value = serde_json::from_str(&services).unwrap();
    assert_eq!(services["items"][0]["service"], "cart");
    assert_eq!(services["items"][0]["count"], 3);
    let trace = collector.web("/api/v1/traces/00000000000000000000000000000abc");
    let (status, trace) = get(&trace);
    assert_eq!(status, 200, "{trace}");

    let accepted = "bellwether_receiver_accepted_spans_total{protocol=\"otlp-http\"}";
    assert_eq!(metric(&collector, accepted), Some(3.0));
    assert!(
        bellwether(&["probe", "--web", collector.web_address()])
            .status
            .success()
    );
    collector.stop();
}

#[test]
fn spans_pass_from_one_collector_to_the_next() {
    let next = Collector::start(&[]);
    let urls = [
        format!("otlp+grpc://{}", next.grpc_address()),
        format!("otlp+http://{}", next.http_address()),
    ];
    let first = Collector::start(&["--export", &urls[0], "--export", &urls[1]]);
    assert_eq!(post(&first.traces(), &batch("cart", 5)).0, 200);
    wait_for("both exporters to send", || {
        let of = |protocol| {
            format!("bellwether_receiver_accepted_spans_total{{protocol=\"{protocol}\"}}")
        };
        metric(&next, &of("otlp-grpc")) == Some(5.0) && metric(&next, &of("otlp-http")) == Some(5.0)
    });
    wait_for("the answers to be counted", || {
        urls.iter().all(|url| {
            let sent = format!("bellwether_exporter_sent_spans_total{{exporter=\"{url}");
            metric(&first, &sent) == Some(5.0)
        })
    });
    first.stop();
    next.stop();
}

#[test]
fn live_pages_hear_of_the_last_spans_too() {
    let collector = Collector::start(&[]);
    let events = collector.events();
    wait_for("the first event", || !events.lock().unwrap().is_empty());
    // The second batch comes within the second in which nobody is told again.
    for service in ["cart", "checkout"] {
        assert_eq!(post(&collector.traces(), &batch(service, 1)).0, 200);
    }
    wait_for("an event for each", || {
        let heard = events.lock().unwrap();
        let mut versions = heard
            .split("data: ")
            .filter_map(|version| version.parse::<u64>().ok());
        let first = versions.next();
        let both = first.zip(versions.last());
        both.is_some_and(|(first, last)| last >= first + 2)
    });
    collector.stop();
}

#[test]
fn what_was_accepted_last_is_still_sent_while_draining() {
    let next = Collector::start(&[]);
    let url = format!("otlp+grpc://{}", next.grpc_address());
    let first = Collector::start_with(&["--export", &url], &[("BELLWETHER_DRAIN_DELAY", "1s")]);
    first.terminate();
    wait_for("readiness to go", || get(&first.web("/readyz")).0 == 503);
    // The delay is for this: who has not looked away yet is still served.
    assert_eq!(post(&first.traces(), &batch("late", 2)).0, 200);
    first.exits_with_success();
    let accepted = "bellwether_receiver_accepted_spans_total{protocol=\"otlp-grpc\"}";
    assert_eq!(metric(&next, accepted), Some(2.0));
    next.stop();
}

#[test]
fn a_dead_peer_does_not_outlast_the_grace() {
    let dead = Nobody::start();
    let url = format!("otlp+http://{}", dead.address);
    // Without a word about it, the grace is longer than the exit is waited for.
    let collector = Collector::start_with(&["--export", &url], &[("BELLWETHER_GRACE", "1s")]);
    assert_eq!(post(&collector.traces(), &batch("cart", 4)).0, 200);
    collector.terminate();
    let lines = collector.exits_with_success();
    let lost = lines.iter().find(|line| line["spans"] == 4).expect("told");
    assert_eq!(lost["level"], "WARN");
    assert_eq!(lost["exporter"], format!("{url}/v1/traces"));
}

#[test]
fn a_second_signal_ends_the_drain_at_once() {
    let dead = Nobody::start();
    let url = format!("otlp+grpc://{}", dead.address);
    let collector = Collector::start_with(&["--export", &url], &[("BELLWETHER_GRACE", "60s")]);
    assert_eq!(post(&collector.traces(), &batch("cart", 4)).0, 200);
    collector.terminate();
    wait_for("the drain to begin", || collector.logged("draining"));
    collector.terminate();
    let lines = collector.exits_with_success();
    let told = |line: &serde_json::Value| line["level"] == "WARN" && line["bytes"].is_u64();
    assert!(lines.iter().any(told), "{lines:?}");
}

#[test]
fn json_and_zipkin_go_the_way_of_every_batch() {
    const JSON: &str = "application/json";
    let next = Collector::start(&[]);
    let url = format!("otlp+grpc://{}", next.grpc_address());
    let first = Collector::start(&["--export", &url]);
    let otlp = br#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
        "scopeSpans":[{"spans":[{"traceId":"0000000000000000000000000000000a","spanId":"000000000000000a","kind":3,
        "name":"GET","startTimeUnixNano":"1","endTimeUnixNano":"3000001"}]}]}]}"#;
    let (status, text) = post_as(JSON, &first.traces(), otlp);
    assert_eq!((status, &*text), (200, "{}"));
    // Its other half, with the short id that it has in Zipkin.
    let zipkin = br#"[{"traceId":"a","id":"a","shared":true,"kind":"SERVER","name":"get","timestamp":1,"duration":1000,
        "localEndpoint":{"serviceName":"stock"}}]"#;
    let spans = format!("http://{}/api/v2/spans", first.zipkin_address());
    assert_eq!(post_as(JSON, &spans, zipkin).0, 202);
    for collector in [&first, &next] {
        wait_for("the call to be paired", || {
            get(&collector.web("/api/v1/map"))
                .1
                .contains("\"paired\":1")
        });
    }
    let (_, map) = get(&next.web("/api/v1/map"));
    assert!(
        map.contains("\"client\":\"shop\",\"server\":\"stock\""),
        "{map}"
    );
    let (status, text) = post_as(JSON, &spans, b"[{}]");
    assert_eq!(status, 400);
    assert!(text.contains("line 1, column 2"), "{text}");
    let of = |name: &str| format!("bellwether_receiver_{name}_total{{protocol=\"zipkin\"}}");
    assert_eq!(metric(&first, &of("accepted_spans")), Some(1.0));
    assert_eq!(metric(&first, &of("rejected_batches")), Some(1.0));
    let (_, status) = get(&first.web("/api/v1/status"));
    assert!(status.contains(first.zipkin_address()), "{status}");
    let (_, page) = get(&first.web("/status"));
    assert!(page.contains("Zipkin"), "{page}");
    first.stop();
    next.stop();
}

#[test]
fn malformed_bytes_get_a_reason_and_leave_the_collector_well() {
    let collector = Collector::start(&[]);
    let mut truncated = batch("cart", 3);
    truncated.truncate(truncated.len() - 1);
    for body in [&truncated[..], b"this is no protobuf at all"] {
        let (status, text) = post(&collector.traces(), body);
        assert_eq!(status, 400);
        assert!(text.contains("protobuf"), "{text}");
    }
    assert_eq!(post(&collector.traces(), &batch("cart", 1)).0, 200);
    let rejected = "bellwether_receiver_rejected_batches_total{protocol=\"otlp-http\"}";
    assert_eq!(metric(&collector, rejected), Some(2.0));
    collector.stop();
}

/// Thousands of senders may keep a connection each, and no limit counts what those hold.
#[cfg(target_os = "linux")]
#[test]
fn idle_connections_keep_little_memory() {
    let collector = Collector::start(&[]);
    let body = vec![0; 512 * 1024];
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-protobuf\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let before = collector.resident_bytes();
    let idle: Vec<_> = (0..200)
        .map(|_| {
            let mut sender = TcpStream::connect(collector.http_address()).unwrap();
            sender.write_all(head.as_bytes()).unwrap();
            sender.write_all(&body).unwrap();
            let mut answer = [0; 12];
            sender.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 400");
            sender
        })
        .collect();
    let each = (collector.resident_bytes() - before) / idle.len() as u64;
    assert!(each < 128 * 1024, "{each} bytes for each idle connection");
    collector.stop();
}

/// The same of connections over HTTP/2, whose frames may be larger than what is usual.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn idle_http2_connections_keep_little_memory() {
    let collector = Collector::start(&[]);
    let to = collector.grpc_address();
    let before = collector.resident_bytes();
    let mut idle = Vec::new();
    for _ in 0..100 {
        let stream = tokio::net::TcpStream::connect(to).await.unwrap();
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.unwrap();
        tokio::spawn(connection);
        let mut message = vec![0xff; 512 * 1024];
        let length = message.len() as u32 - 5;
        message[0] = 0;
        message[1..5].copy_from_slice(&length.to_be_bytes());
        let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        let request = hyper::Request::post(format!("http://{to}{path}"))
            .header("content-type", "application/grpc")
            .body(Full::new(Bytes::from(message)))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.headers()["grpc-status"], "3");
        drop(answer);
        idle.push(sender);
    }
    let each = (collector.resident_bytes() - before) / idle.len() as u64;
    assert!(each < 128 * 1024, "{each} bytes for each idle connection");
    collector.stop();
}

/// So that the system, not the order in which tasks come up, shares processors out between taking and sending.
#[cfg(target_os = "linux")]
#[test]
fn taking_and_sending_have_threads_of_their_own() {
    let sink = sink::Sink::start();
    let collector = Collector::start(&["--export", &sink.url()]);
    let [serving, exporting] = ["serve", "export"].map(|name| collector.turns(name));
    assert_eq!(post(&collector.traces(), &batch("cart", 4)).0, 200);
    wait_for("the spans to arrive", || sink.taken().len() == 4);
    assert!(collector.turns("serve") > serving);
    assert!(collector.turns("export") > exporting);
    collector.stop();
}

#[test]
fn connections_beyond_what_the_memory_limit_allows_wait() {
    let collector = Collector::start(&["--memory-limit", "64MiB"]);
    let ask = || {
        let mut stream = TcpStream::connect(collector.http_address()).unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .unwrap();
        stream
    };
    let answer = |stream: &mut TcpStream| stream.read_exact(&mut [0; 12]);
    let open: Vec<_> = (0..128)
        .map(|_| {
            let mut stream = ask();
            answer(&mut stream).unwrap();
            stream
        })
        .collect();
    let mut late = ask();
    wait_for("the warning", || {
        collector.logged(
            "as many connections are open as the memory limit allows: further ones wait; raise --memory-limit",
        )
    });
    late.set_nonblocking(true).unwrap();
    assert!(answer(&mut late).is_err(), "answered beyond the limit");
    late.set_nonblocking(false).unwrap();
    drop(open);
    answer(&mut late).unwrap();
    collector.stop();
}

#[test]
fn a_command_line_that_cannot_run_says_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let nobody = Nobody::start();
    let free = nobody.address.to_string();
    let check = |args: &[&str], code: i32, expected: &[&str]| {
        let output = bellwether(args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        for expected in expected {
            assert!(text.contains(expected), "{args:?}: {text}");
        }
        assert!(
            output.stdout.is_empty(),
            "{args:?}: logged before it failed"
        );
    };
    check(
        &["--web", "http", "--export", "http://a"],
        2,
        &[
            "--web: \"http\" is not allowed",
            "--export: \"http://a\" is not allowed",
        ],
    );
    check(&["--wep", "1"], 2, &["--wep", "similar", "'--web'"]);
    check(
        &["--otlp-grpc", "0", "--otlp-http", "0", "--web", &taken],
        1,
        &["--web", &taken, "address in use"],
    );
    check(
        &[
            "--otlp-grpc",
            "0",
            "--otlp-http",
            "0",
            "--web",
            "0",
            "--zipkin",
            &taken,
        ],
        1,
        &["--zipkin", &taken, "address in use"],
    );
    let own = format!("otlp+http://{free}");
    check(
        &[
            "--otlp-grpc",
            "0",
            "--otlp-http",
            &free,
            "--web",
            "0",
            "--export",
            &own,
        ],
        1,
        &["--export", &own, "itself"],
    );
    check(&["probe", "--web", "1"], 1, &["127.0.0.1:1"]);
}
