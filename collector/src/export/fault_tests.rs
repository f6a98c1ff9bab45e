//! Workers against peers that do wrong in every way: nothing is lost, nothing is tried again at once, and what is told is
//! what is the case.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Response;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::TraceServiceServer;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;

use super::fault_peers::{Fault, FaultPeer};
use super::worker_tests::{
    Fixture, GrpcPeer, HttpPeer, Taken, answer, batches, bind, collect, counts, until,
};
use super::{Compression, Config, Retry, Target, Worker};
use crate::log::disk::{DiskConfig, Durability};
use crate::log::{BatchLog, ReaderConfig};
use crate::net::body::Answer;
use crate::signal::Signal;
use crate::status::ExporterStatus;
use crate::wire::test_support::{self, attribute, encode, resource_spans, span};

const FIRST_WAIT: Duration = Duration::from_millis(40);

fn hasty(url: &str) -> Config {
    Config {
        timeout: Duration::from_millis(250),
        retry: Retry {
            first: FIRST_WAIT,
            longest: Duration::from_millis(160),
        },
        ..Config::to(Target::parse(url).unwrap())
    }
}

/// An exporter meets `fault`, tells `part` of it, waits between its attempts, and sends everything once the peer is well.
async fn check(scheme: &str, fault: Fault, part: &str) {
    let peer = FaultPeer::start(fault);
    let url = format!("{scheme}://{}", peer.address);
    let begun = Instant::now();
    let mut fixture = Fixture::start_with(hasty(&url), &batches(&["a", "b"]));
    let status = Arc::clone(&fixture.status);
    until(|| status.retries.load(Ordering::Relaxed) >= 3).await;
    let elapsed = begun.elapsed();
    assert!(
        fixture.last_error().contains(part),
        "{scheme} {fault:?}: {}",
        fixture.last_error()
    );
    // Half of a wait is chance.
    let most = 2 + elapsed.as_millis() / (FIRST_WAIT.as_millis() / 2);
    assert!(
        u128::from(peer.connections()) <= most,
        "{scheme} {fault:?}: {} connections in {elapsed:?}",
        peer.connections()
    );
    // What sockets buffer for each, and no more.
    let each = peer.said() / peer.connections();
    assert!(each < 16 << 20, "{each} bytes were read of an answer");
    assert_ne!(status.failing_unix_nano.load(Ordering::Relaxed), 0);
    fixture.check(0, 0, 0);
    let (taken, _peer) = mend(scheme, peer.stop());
    fixture.finish().await;
    fixture.check(6, 0, 0);
    assert_eq!(status.failing_unix_nano.load(Ordering::Relaxed), 0);
    assert_eq!(counts(&taken), [3, 3], "{scheme} {fault:?}");
}

/// A good peer where a bad one was; over HTTP it ends when dropped.
fn mend(scheme: &str, listener: std::net::TcpListener) -> (Taken, Option<HttpPeer>) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    if scheme == "otlp+grpc" {
        let peer = GrpcPeer::default();
        let serving = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(peer.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
        return (peer.taken, None);
    }
    let taken = Taken::default();
    let taking = Arc::clone(&taken);
    let peer = HttpPeer::serve(listener, move |_, body| collect(&taking, &body));
    (taken, Some(peer))
}

#[tokio::test]
async fn peers_that_break_off() {
    for scheme in ["otlp+http", "otlp+grpc"] {
        check(scheme, Fault::Reset, "failed").await;
        check(scheme, Fault::HalfClose, "failed").await;
    }
}

#[tokio::test]
async fn peers_that_never_answer() {
    for scheme in ["otlp+http", "otlp+grpc"] {
        check(scheme, Fault::Hang, "did not answer within 250ms").await;
        check(scheme, Fault::Deaf, "did not answer within 250ms").await;
    }
    check("otlp+http", Fault::Drip(b"HTTP/1.1 200 OK\r\nx: "), "").await;
}

#[tokio::test]
async fn answers_that_are_none() {
    for scheme in ["otlp+http", "otlp+grpc"] {
        check(scheme, Fault::Say(b"SSH-2.0-OpenSSH_9.2\r\n"), "failed").await;
        check(scheme, Fault::Say(b""), "failed").await;
        check(scheme, Fault::SayAndFlood(b"", 1 << 30), "failed").await;
    }
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
    check("otlp+http", Fault::Say(half), "failed").await;
    let head = b"HTTP/1.1 200 OK\r\ncontent-length";
    check("otlp+http", Fault::Say(head), "failed").await;
}

#[tokio::test]
async fn an_answer_of_a_gigabyte_is_not_read() {
    let busy = b"HTTP/1.1 503 Busy\r\ncontent-length: 1073741824\r\n\r\n";
    check("otlp+http", Fault::SayAndFlood(busy, 1 << 30), "503").await;
}

#[tokio::test]
async fn redirects_are_told_and_not_followed() {
    let away = b"HTTP/1.1 308 Gone Away\r\nlocation: http://127.0.0.1:1/x?key=s\r\ncontent-length: 0\r\n\r\n";
    check(
        "otlp+http",
        Fault::Say(away),
        "sends us to http://127.0.0.1:1/x,",
    )
    .await;
}

#[tokio::test]
async fn a_storm_of_goaways() {
    // SETTINGS, then GOAWAY: no stream was processed, no error; and the same with ENHANCE_YOUR_CALM.
    let calm = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";
    check("otlp+grpc", Fault::Say(calm), "failed").await;
    let angry = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b";
    check("otlp+grpc", Fault::Say(angry), "failed").await;
}

#[tokio::test]
async fn a_tls_peer_that_is_gone_and_a_name_that_is() {
    let peer = FaultPeer::start(Fault::HalfClose);
    let url = format!("otlp+https://{}", peer.address);
    let fixture = Fixture::start_with(hasty(&url), &batches(&["a"]));
    until(|| fixture.last_error().contains("no TLS with")).await;
    let nowhere = hasty("otlp+http://no-such-host.invalid");
    let other = Fixture::start_with(nowhere, &batches(&["a"]));
    until(|| !other.last_error().is_empty()).await;
    let told = other.last_error();
    assert!(
        told.contains("cannot connect to no-such-host.invalid:4318"),
        "{told}"
    );
    for fixture in [fixture, other] {
        let status = Arc::clone(&fixture.status);
        until(|| status.retries.load(Ordering::Relaxed) >= 1).await;
        fixture.check(0, 0, 0);
    }
}

#[tokio::test]
async fn a_peer_that_refuses_everything_is_not_failing() {
    let peer = HttpPeer::start(|_, _| answer(404, &[])).await;
    let url = format!("otlp+http://{}", peer.address);
    let mut fixture = Fixture::start_with(hasty(&url), &batches(&["a", "b"]));
    fixture.finish().await;
    fixture.check(0, 6, 0);
    assert!(fixture.last_error().contains("404"));
    assert_eq!(fixture.status.failing_unix_nano.load(Ordering::Relaxed), 0);
}

/// A batch of so many spans of 1 KiB.
fn batch(service: &str, spans: u64) -> Vec<u8> {
    let large = |id| {
        let mut span = span(1, id, 0);
        span.attributes = vec![attribute("note", &"x".repeat(1_024))];
        span
    };
    encode(vec![resource_spans(
        service,
        (1..=spans).map(large).collect(),
    )])
}

/// What a peer took of 1,902 spans in three batches, when it refuses requests of more than `most` bytes.
async fn check_limit(url: &str, requests: impl Fn() -> u64) {
    let waiting = [batch("a", 1_000), batch("b", 2), batch("c", 900)];
    let mut fixture = Fixture::start(url, &waiting);
    fixture.finish().await;
    fixture.check(1_902, 0, 0);
    // It is learnt once, in halves.
    assert!(requests() < 40, "{} requests", requests());
}

const TAKES: usize = 300 * 1024;

#[tokio::test]
async fn a_peer_that_takes_less_over_http_loses_nothing() {
    let taken = Taken::default();
    let taking = Arc::clone(&taken);
    let peer = HttpPeer::start(move |_, body| match body.len() <= TAKES {
        true => collect(&taking, &body),
        false => answer(413, &[]),
    })
    .await;
    let url = format!("otlp+http://{}", peer.address);
    check_limit(&url, || peer.requests()).await;
    assert_eq!(counts(&taken), [1_000, 2, 900]);
}

#[tokio::test]
async fn a_peer_that_takes_less_over_grpc_loses_nothing() {
    let (listener, address) = bind().await;
    let peer = GrpcPeer::default();
    let service = TraceServiceServer::new(peer.clone()).max_decoding_message_size(TAKES);
    let serving = tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    check_limit(&format!("otlp+grpc://{address}"), || 0).await;
    assert_eq!(counts(&peer.taken), [1_000, 2, 900]);
}

#[tokio::test]
async fn a_zipkin_that_takes_less_loses_nothing() {
    let ids = Arc::new(Mutex::new(BTreeSet::new()));
    let taking = Arc::clone(&ids);
    let peer = HttpPeer::start(move |_, body| {
        if body.len() > TAKES {
            return answer(413, &[]);
        }
        let spans: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
        let id = |span: serde_json::Value| format!("{} {}", span["localEndpoint"], span["id"]);
        taking.lock().unwrap().extend(spans.into_iter().map(id));
        answer(202, &[])
    })
    .await;
    let url = format!("zipkin+http://{}", peer.address);
    check_limit(&url, || peer.requests()).await;
    assert_eq!(ids.lock().unwrap().len(), 1_902);
}

#[tokio::test]
async fn a_zipkin_whose_storage_fails_loses_nothing() {
    let peer = HttpPeer::start(|number, body| match number {
        0 | 1 => answer(500, &[]),
        _ if String::from_utf8_lossy(&body).contains("poison") => {
            let mut refused = Response::new(Answer::data("Malformed reading List<Span>"));
            *refused.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            refused
        }
        _ => answer(202, &[]),
    })
    .await;
    let url = format!("zipkin+http://{}", peer.address);
    let mut fixture = Fixture::start_with(hasty(&url), &batches(&["a", "poison", "c"]));
    fixture.finish().await;
    fixture.check(6, 3, 0);
    assert_eq!(fixture.status.retries.load(Ordering::Relaxed), 2);
}

/// A Zipkin whose storage fails on spans of this service, and says nothing of why.
async fn zipkin_that_cannot_store(service: &'static str) -> HttpPeer {
    HttpPeer::start(move |_, body| {
        let fails = String::from_utf8_lossy(&body).contains(service);
        answer(if fails { 500 } else { 202 }, &[])
    })
    .await
}

#[tokio::test]
async fn a_span_that_zipkins_storage_cannot_take_is_found_and_set_aside() {
    let peer = zipkin_that_cannot_store("poison").await;
    let url = format!("zipkin+http://{}", peer.address);
    let mut spans: Vec<_> = (1..100).map(|id| span(1, id, 0)).collect();
    spans[42].name = "poison".into();
    let mut all = batches(&["a", "c"]);
    all.insert(1, encode(vec![resource_spans("b", spans)]));
    let mut fixture = Fixture::start_with(hasty(&url), &all);
    fixture.finish().await;
    fixture.check(104, 1, 0);
    let told = fixture.last_error();
    assert!(told.contains("took other spans meanwhile"), "{told}");
}

#[tokio::test]
async fn a_span_that_zipkins_storage_cannot_take_waits_until_another_shows_whose_fault_it_is() {
    let peer = zipkin_that_cannot_store("poison").await;
    let url = format!("zipkin+http://{}", peer.address);
    let alone = test_support::request("poison", 1);
    let mut fixture = Fixture::start_with(hasty(&url), &[alone]);
    until(|| peer.requests() > 12).await;
    fixture.check(0, 0, 0);
    let other = test_support::request("other", 1).into();
    fixture.log.append(Signal::Traces, other, 1).await.unwrap();
    fixture.finish().await;
    fixture.check(1, 1, 0);
}

#[tokio::test]
async fn a_zipkin_whose_storage_is_down_for_long_loses_nothing() {
    let peer = HttpPeer::start(|number, _| answer(if number < 40 { 500 } else { 202 }, &[])).await;
    let url = format!("zipkin+http://{}", peer.address);
    let mut fixture = Fixture::start_with(hasty(&url), &batches(&["a", "b", "c"]));
    fixture.finish().await;
    fixture.check(9, 0, 0);
}

#[tokio::test]
async fn one_span_that_is_huge_as_json_costs_nobody_else() {
    let peer = HttpPeer::start(|_, _| answer(202, &[])).await;
    let mut huge = span(1, 7, 0);
    huge.attributes = vec![attribute("note", &"\n".repeat(3 << 20))];
    let spans = vec![span(1, 6, 0), huge, span(1, 8, 0)];
    let batches = [
        test_support::request("before", 3),
        encode(vec![resource_spans("huge", spans)]),
        test_support::request("after", 3),
    ];
    let url = format!("zipkin+http://{}", peer.address);
    let mut fixture = Fixture::start(&url, &batches);
    fixture.finish().await;
    fixture.check(8, 1, 0);
    let told = fixture.last_error();
    assert!(told.contains("as Zipkin JSON it is larger than"), "{told}");
}

/// A large batch that is read back from disk takes memory of which there is enough for one.
#[tokio::test]
async fn an_exporter_that_waits_leaves_the_memory_for_large_batches_to_others() {
    let directory = tempfile::TempDir::new().unwrap();
    let config = DiskConfig {
        directory: directory.path().to_owned(),
        durability: Durability::Received,
        limit: 256 << 20,
        retention: Duration::from_secs(3_600),
    };
    let taken = Taken::default();
    let taking = Arc::clone(&taken);
    let good = HttpPeer::start(move |_, body| collect(&taking, &body)).await;
    let bad = HttpPeer::start(|_, _| answer(503, &[("retry-after", "3600")])).await;
    let exporters = [&bad, &good].map(|peer| {
        let config = Config::to(Target::parse(&format!("otlp+http://{}", peer.address)).unwrap());
        let status = Arc::new(ExporterStatus::named(config.name.as_str()));
        (config, status)
    });
    let open = || {
        let readers = exporters.each_ref().map(|(config, status)| ReaderConfig {
            status: Arc::clone(status),
            on_full: config.on_full,
        });
        let opened = BatchLog::on_disk(&config, 32 << 20, readers.to_vec(), Arc::default());
        let (log, cursors, _) = opened.unwrap();
        (log, cursors)
    };
    let (log, cursors) = open();
    for service in ["a", "b", "c"] {
        log.append(Signal::Traces, batch(service, 5_000).into(), 5_000)
            .await
            .unwrap();
    }
    drop(cursors);
    log.finish().await;
    drop(log);
    let (log, cursors) = open();
    let (_drain, drained) = watch::channel(None);
    let mut workers = JoinSet::new();
    for ((config, status), cursor) in exporters.iter().zip(cursors) {
        let worker = Worker::new(config.clone(), Arc::clone(status), drained.clone());
        workers.spawn(worker.run(cursor));
        // The bad one has the memory first.
        until(|| bad.requests() > 0).await;
    }
    until(|| counts(&taken) == [5_000; 3]).await;
    assert_eq!(exporters[0].1.sent_spans.load(Ordering::Relaxed), 0);
    workers.shutdown().await;
    log.finish().await;
}

/// There is memory for the compressed form of a request of the usual size only.
#[tokio::test]
async fn a_span_larger_than_a_request_leaves_uncompressed() {
    let encodings = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&encodings);
    let (listener, address) = bind().await;
    let _peer = HttpPeer::serve_heads(listener, move |_, head, _| {
        let encoding = head.headers.get("content-encoding");
        let encoding = encoding.map(|value| value.to_str().unwrap().to_owned());
        noting.lock().unwrap().push(encoding.unwrap_or_default());
        answer(200, &[])
    });
    let mut huge = span(1, 1, 0);
    huge.attributes = vec![attribute("note", &"x".repeat(5 << 20))];
    let waiting = [
        test_support::request("small", 3),
        encode(vec![resource_spans("huge", vec![huge])]),
    ];
    let config = Config {
        compression: Compression::Gzip,
        ..Config::to(Target::parse(&format!("otlp+http://{address}")).unwrap())
    };
    let mut fixture = Fixture::start_with(config, &waiting);
    fixture.finish().await;
    fixture.check(4, 0, 0);
    assert_eq!(*encodings.lock().unwrap(), ["gzip", ""]);
}
