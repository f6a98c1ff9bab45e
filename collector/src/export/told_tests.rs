//! Workers that were told more than a URL, against peers that check it.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, USER_AGENT};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;

use super::headers::LiveHeaders;
use super::worker_tests::{
    Fixture, GrpcPeer, HttpPeer, Taken, answer, batches, bind, collect, counts, until,
};
use super::{Compression, Config, Headers, Retry, Target};
use crate::net::body::Answer;
use crate::net::server;
use crate::secret::Secret;
use crate::signal::Signal;
use crate::wire::test_support;

fn to(url: &str) -> Config {
    Config::to(Target::parse(url).unwrap())
}

fn compressed(compression: Compression, url: &str) -> Config {
    Config {
        compression,
        ..to(url)
    }
}

fn gzip(url: &str) -> Config {
    compressed(Compression::Gzip, url)
}

fn with_headers(config: Config) -> Config {
    let mut headers = Headers::default();
    for (name, value) in [(AUTHORIZATION, "Bearer s3cret"), (USER_AGENT, "mine")] {
        headers.push(name, Secret::resolve(value, &|_| None).unwrap());
    }
    Config { headers, ..config }
}

/// A body as it was before it was compressed as `encoding` says.
fn inflated(encoding: &str, body: &Bytes) -> Bytes {
    let mut out = vec![0; 1 << 20];
    let length = match encoding {
        "gzip" => libdeflater::Decompressor::new()
            .gzip_decompress(body, &mut out)
            .unwrap(),
        "zstd" => zstd_safe::decompress(&mut out[..], body).unwrap(),
        other => panic!("nobody asked for {other}"),
    };
    out.truncate(length);
    out.into()
}

/// What came in each request: the values of `names`, missing ones as `-`, and how many bytes.
type Seen = Arc<Mutex<Vec<String>>>;

/// A peer that writes down these headers, and takes spans compressed or plain unless it answers what is compressed
/// with a status of its own.
async fn peer(
    names: &'static [&'static str],
    to_compressed: Option<u16>,
    seen: &Seen,
) -> (HttpPeer, Taken) {
    let (listener, _) = bind().await;
    let (taken, seen) = (Taken::default(), Arc::clone(seen));
    let taking = Arc::clone(&taken);
    let peer = HttpPeer::serve_heads(listener, move |_, head, body| {
        let value = |name: &&str| {
            let value = head.headers.get(*name);
            value
                .map_or("-", |value| value.to_str().unwrap())
                .to_owned()
        };
        let values: Vec<_> = names.iter().map(value).collect();
        seen.lock().unwrap().push(values.join(" "));
        let encoding = head.headers.get("content-encoding");
        let body = match (encoding, to_compressed) {
            (Some(_), Some(status)) => return answer(status, &[]),
            (Some(encoding), None) => inflated(encoding.to_str().unwrap(), &body),
            (None, _) => body,
        };
        if head.uri.path() == "/api/v2/spans" {
            let spans: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
            assert_eq!(spans.len(), 3);
            return answer(202, &[]);
        }
        collect(&taking, &body)
    });
    (peer, taken)
}

#[tokio::test]
async fn headers_go_with_every_request_over_http() {
    let seen = Seen::default();
    let names = &[
        "authorization",
        "user-agent",
        "content-type",
        "content-encoding",
    ];
    let (peer, taken) = peer(names, None, &seen).await;
    let url = format!("otlp+http://{}", peer.address);
    let mut fixture = Fixture::start_with(with_headers(to(&url)), &batches(&["a"]));
    fixture.finish().await;
    fixture.check(3, 0, 0);
    assert_eq!(counts(&taken), [3]);
    let expected = ["Bearer s3cret mine application/x-protobuf -"];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_peer_that_repeats_a_secret_does_not_make_it_known() {
    let (listener, _) = bind().await;
    let peer = HttpPeer::serve_heads(listener, |_, head, _| {
        let mut refused = answer(400, &[]);
        let words = format!("who is {:?}?", head.headers[AUTHORIZATION]);
        *refused.body_mut() = Answer::data(words);
        refused
    });
    let url = format!("otlp+http://{}", peer.address);
    let mut fixture = Fixture::start_with(with_headers(to(&url)), &batches(&["a"]));
    fixture.finish().await;
    let told = fixture.last_error();
    assert!(told.contains("who is \"*************\"?"), "{told}");
}

#[tokio::test]
async fn bodies_leave_compressed_when_asked_for() {
    let seen = Seen::default();
    let (peer, taken) = peer(&["content-encoding"], None, &seen).await;
    for (compression, url) in [
        (Compression::Gzip, "otlp+http://PEER"),
        (Compression::Gzip, "zipkin+http://PEER"),
        (Compression::Zstd, "otlp+http://PEER"),
    ] {
        let url = url.replace("PEER", &peer.address.to_string());
        let mut fixture = Fixture::start_with(compressed(compression, &url), &batches(&["a"]));
        fixture.finish().await;
        fixture.check(3, 0, 0);
    }
    assert_eq!(counts(&taken), [6]);
    assert_eq!(*seen.lock().unwrap(), ["gzip", "gzip", "zstd"]);
}

#[tokio::test]
async fn a_peer_that_cannot_read_it_loses_nothing() {
    // Some say so, and some take it for a bad request.
    for (compression, status) in [(Compression::Gzip, 415), (Compression::Zstd, 400)] {
        let seen = Seen::default();
        let (peer, taken) = peer(&["content-encoding"], Some(status), &seen).await;
        let config = compressed(compression, &format!("otlp+http://{}", peer.address));
        let mut fixture = Fixture::start_with(config, &batches(&["a"]));
        until(|| !taken.lock().unwrap().is_empty()).await;
        let [more] = &batches(&["b"])[..] else {
            panic!("one batch expected");
        };
        fixture
            .log
            .append(Signal::Traces, Bytes::from(more.clone()), 3)
            .await
            .unwrap();
        fixture.finish().await;
        fixture.check(6, 0, 0);
        assert_eq!(counts(&taken), [3, 3]);
        // It is not asked again.
        let seen = seen.lock().unwrap();
        assert_eq!(seen[1..], ["-", "-"]);
        assert_ne!(seen[0], "-");
    }
}

#[tokio::test]
async fn what_a_peer_refuses_that_has_read_compressed_bodies_is_sent_once() {
    let (listener, _) = bind().await;
    let peer = HttpPeer::serve_heads(listener, |number, _, _| {
        answer(if number == 0 { 200 } else { 400 }, &[])
    });
    let config = compressed(Compression::Zstd, &format!("otlp+http://{}", peer.address));
    let mut fixture = Fixture::start_with(config, &batches(&["a"]));
    until(|| peer.requests() == 1).await;
    let more = test_support::request("b", 1).into();
    fixture.log.append(Signal::Traces, more, 1).await.unwrap();
    fixture.finish().await;
    fixture.check(3, 1, 0);
    assert_eq!(peer.requests(), 2);
}

/// What is compressed is first put into one piece: with both in hand, and the records, less goes at once.
#[tokio::test]
async fn less_is_merged_where_it_is_compressed() {
    let batch = test_support::request(&"s".repeat(1_000_000), 1);
    let waiting = vec![batch; 3];
    for (compression, requests) in [(Compression::None, 1), (Compression::Gzip, 2)] {
        let taken = Taken::default();
        let taking = Arc::clone(&taken);
        let (listener, _) = bind().await;
        let peer = HttpPeer::serve_heads(listener, move |_, head, body| {
            let encoding = head.headers.get("content-encoding");
            let length = match encoding {
                Some(_) => libdeflater::Decompressor::new()
                    .gzip_decompress(&body, &mut vec![0; 4 << 20])
                    .unwrap(),
                None => body.len(),
            };
            *taking.lock().unwrap().entry(String::new()).or_default() += length as u64;
            answer(200, &[])
        });
        let config = compressed(compression, &format!("otlp+http://{}", peer.address));
        let mut fixture = Fixture::start_with(config, &waiting);
        fixture.finish().await;
        fixture.check(3, 0, 0);
        assert_eq!(counts(&taken), [waiting.concat().len() as u64]);
        assert_eq!(peer.requests(), requests, "{compression:?}");
    }
}

#[tokio::test]
async fn a_refusal_that_is_not_of_gzip_leaves_it_on() {
    let (listener, _) = bind().await;
    let seen = Seen::default();
    let writing = Arc::clone(&seen);
    // It answers 415 to anything: a wrong URL, say.
    let peer = HttpPeer::serve_heads(listener, move |_, head, _| {
        let is_gzip = head.headers.contains_key("content-encoding");
        writing.lock().unwrap().push(is_gzip.to_string());
        answer(415, &[])
    });
    let url = format!("otlp+http://{}", peer.address);
    let mut fixture = Fixture::start_with(gzip(&url), &batches(&["a"]));
    until(|| peer.requests() >= 2).await;
    let [more] = &batches(&["b"])[..] else {
        panic!("one batch expected");
    };
    fixture
        .log
        .append(Signal::Traces, Bytes::from(more.clone()), 3)
        .await
        .unwrap();
    fixture.finish().await;
    fixture.check(0, 6, 0);
    let seen = seen.lock().unwrap();
    assert_eq!(*seen, ["true", "false", "true", "false"]);
}

/// A gRPC peer by tonic that wants the header, and notes how messages were encoded.
#[derive(Clone, Default)]
struct Strict {
    inner: GrpcPeer,
    encodings: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl TraceService for Strict {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let text = |name: &str| {
            let value = request.metadata().get(name);
            value
                .map_or("-", |value| value.to_str().unwrap())
                .to_owned()
        };
        if text("authorization") != "Bearer s3cret" {
            return Err(tonic::Status::unauthenticated("who are you?"));
        }
        self.encodings.lock().unwrap().push(text("grpc-encoding"));
        self.inner.export(request).await
    }
}

async fn strict_peer(takes: Option<CompressionEncoding>) -> (Strict, String) {
    let peer = Strict::default();
    let (listener, address) = bind().await;
    let mut service = TraceServiceServer::new(peer.clone());
    if let Some(encoding) = takes {
        service = service.accept_compressed(encoding);
    }
    let serving = tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    (peer, format!("otlp+grpc://{address}"))
}

#[tokio::test]
async fn metadata_and_compressed_spans_reach_a_grpc_peer() {
    for (compression, encoding, name) in [
        (Compression::Gzip, CompressionEncoding::Gzip, "gzip"),
        (Compression::Zstd, CompressionEncoding::Zstd, "zstd"),
    ] {
        let (peer, url) = strict_peer(Some(encoding)).await;
        let config = with_headers(compressed(compression, &url));
        let mut fixture = Fixture::start_with(config, &batches(&["a", "b"]));
        fixture.finish().await;
        fixture.check(6, 0, 0);
        assert_eq!(counts(&peer.inner.taken), [3, 3]);
        assert_eq!(*peer.encodings.lock().unwrap(), [name]);
    }
    let (_peer, url) = strict_peer(Some(CompressionEncoding::Gzip)).await;
    let fixture = Fixture::start_with(gzip(&url), &batches(&["a"]));
    until(|| fixture.status.retries.load(Ordering::Relaxed) > 1).await;
    fixture.check(0, 0, 0);
    assert!(fixture.last_error().contains("UNAUTHENTICATED"));
}

/// A header from a file, looked at so seldom that only a refusal can be why it is read again.
fn with_token_file(config: Config, file: &std::path::Path) -> Config {
    let template = format!("Bearer ${{file:{}}}", file.display());
    let mut headers = Headers::default();
    headers.push(
        AUTHORIZATION,
        Secret::resolve(&template, &|_| None).unwrap(),
    );
    Config {
        headers,
        reload_interval: Duration::from_secs(3_600),
        ..config
    }
}

#[tokio::test]
async fn a_rotated_token_is_read_again_and_nothing_is_refused_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "old\n").unwrap();
    for status in [401, 403] {
        let (listener, _) = bind().await;
        let taken = Taken::default();
        let taking = Arc::clone(&taken);
        let peer = HttpPeer::serve_heads(listener, move |_, head, body| {
            if head.headers["authorization"] == "Bearer new" {
                collect(&taking, &body)
            } else {
                answer(status, &[])
            }
        });
        std::fs::write(&file, "old\n").unwrap();
        let url = format!("otlp+http://{}", peer.address);
        let mut fixture =
            Fixture::start_with(with_token_file(to(&url), &file), &batches(&["a", "b"]));
        until(|| fixture.status.retries.load(Ordering::Relaxed) > 0).await;
        assert!(
            fixture
                .last_error()
                .contains("check the exporter's headers")
        );
        // Half of a rotation: the last good one goes on.
        std::fs::remove_file(&file).unwrap();
        let retries = fixture.status.retries.load(Ordering::Relaxed);
        until(|| fixture.status.retries.load(Ordering::Relaxed) > retries + 1).await;
        std::fs::write(&file, "new\n").unwrap();
        fixture.finish().await;
        fixture.check(6, 0, 0);
        assert_eq!(counts(&taken), [3, 3]);
    }
}

/// A certificate that was rotated is shown by a new connection only.
#[tokio::test]
async fn a_peer_that_refuses_the_credentials_is_connected_to_anew() {
    let (listener, address) = bind().await;
    let first = Mutex::new(None);
    let first = Arc::new(first);
    let handler = move |request: Request<Incoming>, peer: SocketAddr| {
        let is_first = *first.lock().unwrap().get_or_insert(peer) == peer;
        async move {
            // Read to its end, so that the connection could go on.
            let _ = request.into_body().collect().await;
            answer(if is_first { 401 } else { 200 }, &[])
        }
    };
    let config = server::Config::default();
    tokio::spawn(server::serve(
        listener,
        handler,
        config,
        std::future::pending(),
    ));
    let config = to(&format!("otlp+http://{address}"));
    let mut fixture = Fixture::start_with(config, &batches(&["a"]));
    fixture.finish().await;
    fixture.check(3, 0, 0);
    assert_eq!(fixture.status.retries.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn files_of_headers_are_looked_at_now_and_then() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "old").unwrap();
    let config = with_token_file(to("otlp+http://a"), &file);
    let mut live = LiveHeaders::new(config.headers, Duration::from_secs(5));
    let value = async |live: &mut LiveHeaders| {
        let read = live.refresh("a").await?;
        Some(read["authorization"].to_str().unwrap().to_owned())
    };
    assert_eq!(value(&mut live).await.as_deref(), Some("Bearer old"));
    std::fs::write(&file, "new").unwrap();
    assert_eq!(value(&mut live).await, None, "not yet");
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(value(&mut live).await.as_deref(), Some("Bearer new"));
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(value(&mut live).await, None, "nothing new");
}

/// A proxy that looks into bodies answers with the status that wrong credentials have.
#[tokio::test]
async fn a_batch_that_is_forbidden_by_its_content_holds_up_no_other() {
    let (listener, _) = bind().await;
    let taken = Taken::default();
    let taking = Arc::clone(&taken);
    let peer = HttpPeer::serve_heads(listener, move |_, _, body| {
        if memchr::memmem::find(&body, b"evil").is_some() {
            answer(403, &[])
        } else {
            collect(&taking, &body)
        }
    });
    let url = format!("otlp+http://{}", peer.address);
    let mut fixture = Fixture::start_with(to(&url), &batches(&["a", "evil", "b"]));
    fixture.finish().await;
    fixture.check(6, 3, 0);
    assert_eq!(counts(&taken), [3, 3]);
}

#[tokio::test]
async fn a_grpc_peer_that_cannot_read_it_loses_nothing() {
    for (compression, takes) in [
        (Compression::Gzip, None),
        (Compression::Zstd, Some(CompressionEncoding::Gzip)),
    ] {
        let (peer, url) = strict_peer(takes).await;
        let config = with_headers(compressed(compression, &url));
        let mut fixture = Fixture::start_with(config, &batches(&["a"]));
        fixture.finish().await;
        fixture.check(3, 0, 0);
        assert_eq!(*peer.encodings.lock().unwrap(), ["-"]);
    }
}

#[tokio::test]
async fn a_peer_has_as_long_as_it_was_given() {
    let (listener, address) = bind().await;
    let config = Config {
        timeout: Duration::from_millis(300),
        ..to(&format!("otlp+http://{address}"))
    };
    let mut fixture = Fixture::start_with(config, &batches(&["a"]));
    let begun = Instant::now();
    let (silent, _) = listener.accept().await.unwrap();
    until(|| !fixture.last_error().is_empty()).await;
    let expected = format!("{address} did not answer within 300ms");
    assert_eq!(fixture.last_error(), expected);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "the default is 10 s"
    );
    drop(silent);
    let taken = Taken::default();
    let taking = Arc::clone(&taken);
    let _peer = HttpPeer::serve_heads(listener, move |_, _, body| collect(&taking, &body));
    fixture.finish().await;
    fixture.check(3, 0, 0);
}

#[tokio::test]
async fn waits_between_attempts_are_as_told() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let writing = Arc::clone(&times);
    let (listener, _) = bind().await;
    let peer = HttpPeer::serve_heads(listener, move |number, _, _| {
        writing.lock().unwrap().push(Instant::now());
        answer(if number < 3 { 503 } else { 200 }, &[])
    });
    let config = Config {
        retry: Retry {
            first: Duration::from_millis(800),
            longest: Duration::from_millis(800),
        },
        ..to(&format!("otlp+http://{}", peer.address))
    };
    let mut fixture = Fixture::start_with(config, &batches(&["a"]));
    until(|| peer.requests() == 4).await;
    fixture.finish().await;
    let times = times.lock().unwrap();
    for pair in times.windows(2) {
        // By default the first wait would be a tenth of a second at most.
        assert!(pair[1] - pair[0] >= Duration::from_millis(400));
    }
}
