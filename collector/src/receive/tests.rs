//! Both receivers over loopback sockets: what they take, and what everything else is answered.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use libdeflater::{CompressionLvl, Compressor};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::codec::CompressionEncoding;

use super::{Receiver, otlp_grpc, otlp_http};
use crate::budget::Budget;
use crate::intake::Intake;
use crate::log::{BatchLog, Cursor};
use crate::net::client::{Client, Pieces, Protocol, Reply};
use crate::net::grpc::prefix;
use crate::net::rpc_status::{Code, RpcStatus};
use crate::net::server;
use crate::status::{ExporterStatus, ReceiverStatus};
use crate::views::{Config, Views};
use crate::wire::test_support;

const PATIENCE: Duration = Duration::from_secs(20);
const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const GRPC: (&str, &str) = ("content-type", "application/grpc");

type Headers = &'static [(&'static str, &'static str)];

/// Both receivers, and a reader of what they took.
struct Fixture {
    grpc: String,
    http: String,
    grpc_status: Arc<ReceiverStatus>,
    http_status: Arc<ReceiverStatus>,
    budget: Budget,
    cursor: Cursor,
}

async fn start() -> Fixture {
    start_with(Budget::new(64 << 20)).await
}

async fn start_with(budget: Budget) -> Fixture {
    let log = BatchLog::in_memory(64 << 20);
    let cursor = log.reader(Arc::new(ExporterStatus::default()));
    let views = Arc::new(Views::new(Config {
        retention: Duration::from_secs(3_600),
        trace_bytes: 1 << 20,
        view_bytes: 1 << 20,
    }));
    let intake = Intake::new(log, views);
    let grpc_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let grpc = grpc_listener.local_addr().unwrap().to_string();
    let http = http_listener.local_addr().unwrap().to_string();
    let receiver = |protocol, address: &str, other: &str| Receiver {
        intake: intake.clone(),
        budget: budget.clone(),
        status: Arc::new(ReceiverStatus::listening(protocol, address.to_owned())),
        other: Some(other.into()),
    };
    let for_grpc = receiver("otlp-grpc", &grpc, &http);
    let for_http = receiver("otlp-http", &http, &grpc);
    let (grpc_status, http_status) = (Arc::clone(&for_grpc.status), Arc::clone(&for_http.status));
    let (config, never) = (server::Config::default(), std::future::pending::<()>);
    tokio::spawn(otlp_grpc::serve(grpc_listener, for_grpc, config, never()));
    tokio::spawn(otlp_http::serve(http_listener, for_http, config, never()));
    Fixture {
        grpc,
        http,
        grpc_status,
        http_status,
        budget,
        cursor,
    }
}

impl Fixture {
    /// Asserts that exactly this batch was taken.
    async fn took(&mut self, batch: &[u8]) {
        let next = tokio::time::timeout(PATIENCE, self.cursor.next(1));
        let records = next.await.expect("a batch in time").unwrap();
        assert_eq!(records.len(), 1);
        assert!(records[0].bytes == batch, "other bytes came");
        self.cursor.ack(records[0].sequence);
        self.took_nothing();
    }

    fn took_nothing(&self) {
        assert_eq!(self.cursor.unsent_spans(), 0);
        assert_eq!(self.budget.used(), 0);
    }
}

async fn post(
    address: &str,
    protocol: Protocol,
    path: &str,
    headers: &[(&'static str, &str)],
    body: impl Into<Bytes>,
) -> Reply {
    let (host, port) = address.rsplit_once(':').unwrap();
    let mut client = Client::new(host.to_owned(), port.parse().unwrap(), protocol);
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    client
        .post(path, &map, Pieces::new([body.into()]))
        .await
        .unwrap()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut out = vec![0; compressor.gzip_compress_bound(data.len())];
    let length = compressor.gzip_compress(data, &mut out).unwrap();
    out.truncate(length);
    out
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut out = vec![0; compressor.zlib_compress_bound(data.len())];
    let length = compressor.zlib_compress(data, &mut out).unwrap();
    out.truncate(length);
    out
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut framed = prefix(message.len()).unwrap().to_vec();
    framed[0] = flag;
    framed.extend(message);
    framed
}

fn decoded(batch: &[u8]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(batch).unwrap()
}

async fn tonic_client(address: &str) -> TraceServiceClient<tonic::transport::Channel> {
    TraceServiceClient::connect(format!("http://{address}"))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_generated_grpc_client_is_served() {
    let mut fixture = start().await;
    let batch = test_support::request("shop", 500);
    let client = tonic_client(&fixture.grpc).await;
    let answer = client.clone().export(decoded(&batch)).await.unwrap();
    assert_eq!(answer.into_inner().partial_success, None);
    fixture.took(&batch).await;
    let mut compressing = client.clone().send_compressed(CompressionEncoding::Gzip);
    compressing.export(decoded(&batch)).await.unwrap();
    fixture.took(&batch).await;
    client
        .clone()
        .export(ExportTraceServiceRequest::default())
        .await
        .unwrap();
    fixture.took_nothing();
    assert_eq!(
        fixture.grpc_status.accepted_spans.load(Ordering::Relaxed),
        1000
    );
    assert_eq!(
        fixture.grpc_status.accepted_batches.load(Ordering::Relaxed),
        3
    );
}

#[tokio::test]
async fn a_generated_grpc_client_reads_its_errors() {
    let fixture = start().await;
    let mut large = test_support::span(1, 1, 0);
    large.name = "x".repeat(5 << 20);
    let large = test_support::encode(vec![test_support::resource_spans("shop", vec![large])]);
    let mut client = tonic_client(&fixture.grpc).await;
    let error = client.export(decoded(&large)).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::ResourceExhausted);
    assert_eq!(
        error.details(),
        b"",
        "a RetryInfo would make the client send it again"
    );
    assert!(
        error.message().contains("larger than the 4194304 bytes"),
        "{error}"
    );

    let mut wrong_port = tonic_client(&fixture.http).await;
    let error = wrong_port.export(decoded(b"")).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unimplemented);
    let hint = format!("OTLP over gRPC is taken at {}", fixture.grpc);
    assert!(error.message().contains(&hint), "{error}");
    fixture.took_nothing();
}

#[tokio::test]
async fn no_room_is_unavailable_with_a_retry_time() {
    let fixture = start_with(Budget::new(100_000)).await;
    let others = fixture.budget.reserve(100_000).unwrap();
    let batch = test_support::request("shop", 50);
    let mut client = tonic_client(&fixture.grpc).await;
    let error = client.export(decoded(&batch)).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unavailable);
    let details = RpcStatus::from_protobuf(error.details());
    assert_eq!(details.retry_after, Some(Duration::from_secs(1)));
    assert_eq!(details.code, Code::Unavailable);
    let reply = post(
        &fixture.http,
        Protocol::Http1,
        "/v1/traces",
        &[PROTOBUF],
        batch,
    )
    .await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.headers["retry-after"], "1");
    let status = RpcStatus::from_protobuf(&reply.body);
    assert!(status.message.contains("no room for"), "{}", status.message);
    drop(others);
    fixture.took_nothing();
    assert_eq!(
        fixture.grpc_status.refused_batches.load(Ordering::Relaxed),
        1
    );
    assert_eq!(
        fixture.http_status.refused_batches.load(Ordering::Relaxed),
        1
    );
}

#[tokio::test]
async fn what_will_never_have_room_is_too_large_and_not_to_be_sent_again() {
    let fixture = start_with(Budget::new(10_000)).await;
    let batch = test_support::request("shop", 500);
    let mut client = tonic_client(&fixture.grpc).await;
    let error = client.export(decoded(&batch)).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::ResourceExhausted);
    assert_eq!(error.details(), b"");
    let zipped = gzip(&batch);
    for (body, headers) in [
        (batch, &[PROTOBUF][..]),
        (zipped, &[PROTOBUF, ("content-encoding", "gzip")][..]),
    ] {
        let reply = post(&fixture.http, Protocol::Http1, "/v1/traces", headers, body).await;
        assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(!reply.headers.contains_key("retry-after"));
    }
    fixture.took_nothing();
}

#[tokio::test]
async fn every_other_grpc_request_is_told_what_is_wrong() {
    let fixture = start().await;
    let check =
        async |path, headers: &[(&'static str, &str)], body: Vec<u8>, code: Code, part: &str| {
            let reply = post(&fixture.grpc, Protocol::Http2, path, headers, body).await;
            assert_eq!(reply.status, StatusCode::OK);
            assert_eq!(reply.headers["content-type"], "application/grpc");
            assert_eq!(reply.headers["grpc-accept-encoding"], "identity,gzip");
            let status = RpcStatus::from_trailers(&reply.headers).expect("a trailers-only answer");
            assert_eq!(status.code, code, "{}", status.message);
            assert!(
                status.message.contains(part),
                "`{}` lacks `{part}`",
                status.message
            );
            assert_eq!(status.retry_after, None);
        };
    let batch = test_support::request("shop", 2);
    let cut = framed(0, &batch[..batch.len() - 1]);
    check(TRACES, &[GRPC], cut, Code::InvalidArgument, "truncated").await;
    let text = framed(0, b"spans, please");
    check(TRACES, &[GRPC], text, Code::InvalidArgument, "malformed").await;
    let gzipped = [GRPC, ("grpc-encoding", "gzip")];
    let bomb = framed(1, &gzip(&vec![0; (4 << 20) + 1]));
    check(
        TRACES,
        &gzipped,
        bomb,
        Code::ResourceExhausted,
        "larger than the 4194304",
    )
    .await;
    let broken = framed(1, &gzip(&batch)[..30]);
    check(
        TRACES,
        &gzipped,
        broken,
        Code::InvalidArgument,
        "gzip body is corrupt",
    )
    .await;
    let zstd = [GRPC, ("grpc-encoding", "zstd")];
    check(
        TRACES,
        &zstd,
        framed(1, b"a"),
        Code::Unimplemented,
        "`zstd` is not taken",
    )
    .await;
    let logs = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    let log_batch = framed(0, &ExportLogsServiceRequest::default().encode_to_vec());
    check(
        logs,
        &[GRPC],
        log_batch,
        Code::Unimplemented,
        "no exporter of this collector takes logs",
    )
    .await;
    check(
        "/a.B/C",
        &[GRPC],
        framed(0, b""),
        Code::Unimplemented,
        "unknown method /a.B/C",
    )
    .await;
    fixture.took_nothing();
    assert_eq!(
        fixture.grpc_status.rejected_batches.load(Ordering::Relaxed),
        5
    );
    let last = fixture.grpc_status.last_error.get().unwrap().message;
    assert!(last.contains("zstd"), "{last}");
}

#[tokio::test]
async fn what_is_no_grpc_is_told_the_right_port() {
    let fixture = start().await;
    let batch = test_support::request("shop", 1);
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let headers = [PROTOBUF];
        let reply = post(
            &fixture.grpc,
            protocol,
            "/v1/traces",
            &headers,
            batch.clone(),
        )
        .await;
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let text = RpcStatus::from_protobuf(&reply.body).message;
        assert!(
            text.contains(&format!("OTLP over HTTP is taken at {}", fixture.http)),
            "{text}"
        );
    }
    let json = [("content-type", "application/grpc+json")];
    let reply = post(
        &fixture.grpc,
        Protocol::Http2,
        TRACES,
        &json,
        framed(0, b"{}"),
    )
    .await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let reply = post(
        &fixture.grpc,
        Protocol::Http1,
        TRACES,
        &[GRPC],
        framed(0, &batch),
    )
    .await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(String::from_utf8_lossy(&reply.body).contains("HTTP/2"));
    fixture.took_nothing();
    assert_eq!(
        fixture.grpc_status.rejected_batches.load(Ordering::Relaxed),
        4
    );
}

#[tokio::test]
async fn http_batches_are_taken_plain_and_compressed() {
    let mut fixture = start().await;
    let batch = test_support::request("shop", 300);
    const CHARSET: (&str, &str) = ("content-type", "application/x-protobuf; charset=utf-8");
    let members = [gzip(&batch[..100]), gzip(&batch[100..])].concat();
    let bodies: [(Headers, Vec<u8>); 5] = [
        (&[PROTOBUF], batch.clone()),
        (&[CHARSET, ("content-encoding", "identity")], batch.clone()),
        (&[PROTOBUF, ("content-encoding", "gzip")], gzip(&batch)),
        (&[PROTOBUF, ("content-encoding", "gzip")], members),
        (&[PROTOBUF, ("content-encoding", "deflate")], zlib(&batch)),
    ];
    for (headers, body) in bodies {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let reply = post(&fixture.http, protocol, "/v1/traces", headers, body.clone()).await;
            assert_eq!(reply.status, StatusCode::OK);
            assert_eq!(reply.headers["content-type"], "application/x-protobuf");
            assert!(reply.body.is_empty());
            fixture.took(&batch).await;
        }
    }
    assert_eq!(
        fixture.http_status.accepted_batches.load(Ordering::Relaxed),
        10
    );
}

#[tokio::test]
async fn every_other_http_request_is_told_what_is_wrong() {
    let fixture = start().await;
    let check =
        async |path, headers: &[(&'static str, &str)], body: Vec<u8>, status: u16, part: &str| {
            let reply = post(&fixture.http, Protocol::Http1, path, headers, body).await;
            assert_eq!(reply.status.as_u16(), status);
            let text = match reply.headers["content-type"].to_str().unwrap() {
                "application/x-protobuf" => {
                    RpcStatus::from_protobuf(&reply.body).message.into_owned()
                }
                _ => String::from_utf8(reply.body.to_vec()).unwrap(),
            };
            assert!(text.contains(part), "`{text}` lacks `{part}`");
            assert!(!reply.headers.contains_key("retry-after"));
            reply
        };
    let batch = test_support::request("shop", 2);
    let cut = batch[..batch.len() - 1].to_vec();
    check("/v1/traces", &[PROTOBUF], cut, 400, "truncated").await;
    check(
        "/v1/traces",
        &[PROTOBUF],
        b"spans, please".to_vec(),
        400,
        "malformed",
    )
    .await;
    let gzipped = [PROTOBUF, ("content-encoding", "gzip")];
    let bomb = gzip(&vec![0; (20 << 20) + 1]);
    check(
        "/v1/traces",
        &gzipped,
        bomb,
        413,
        "larger than the 20971520",
    )
    .await;
    check(
        "/v1/traces",
        &gzipped,
        batch.clone(),
        400,
        "gzip body is corrupt",
    )
    .await;
    let large = vec![0; (20 << 20) + 1];
    check(
        "/v1/traces",
        &[PROTOBUF],
        large,
        413,
        "larger than the 20971520",
    )
    .await;
    let zstd = [PROTOBUF, ("content-encoding", "zstd")];
    let reply = check(
        "/v1/traces",
        &zstd,
        batch.clone(),
        415,
        "`zstd` is not accepted",
    )
    .await;
    assert_eq!(reply.headers["accept-encoding"], "gzip, deflate");
    let text = [("content-type", "text/plain")];
    let reply = check(
        "/v1/traces",
        &text,
        batch.clone(),
        415,
        "send application/x-protobuf",
    )
    .await;
    assert_eq!(reply.headers["accept"], "application/x-protobuf");
    check("/v1/traces", &[], batch.clone(), 415, "content type none").await;
    let json = [("content-type", "application/json")];
    let reply = check(
        "/v1/traces",
        &json,
        b"{}".to_vec(),
        415,
        "JSON is not accepted yet",
    )
    .await;
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body["code"], Code::InvalidArgument as u8);
    assert_eq!(
        fixture.http_status.rejected_batches.load(Ordering::Relaxed),
        9
    );

    check(
        "/v1/logs",
        &[PROTOBUF],
        vec![],
        404,
        "no exporter of this collector takes logs",
    )
    .await;
    check("/v1/metrics", &[PROTOBUF], vec![], 404, "takes metrics").await;
    check("/", &[], vec![], 404, "this port takes POST /v1/traces").await;
    fixture.took_nothing();
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let fixture = start().await;
    let answer = raw(
        &fixture.http,
        b"GET /v1/traces HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    assert!(answer.contains("allow: POST"), "{answer}");
    assert!(answer.contains("GET is not taken"), "{answer}");
}

#[tokio::test]
async fn a_chunked_body_beyond_the_limit_is_refused_while_it_comes() {
    let fixture = start().await;
    let mut request = b"POST /v1/traces HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
        content-type: application/x-protobuf\r\ntransfer-encoding: chunked\r\n\r\n"
        .to_vec();
    let chunk = vec![0; 1 << 20];
    for _ in 0..22 {
        write!(request, "{:x}\r\n", chunk.len()).unwrap();
        request.extend(&chunk);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    let answer = raw(&fixture.http, &request).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    fixture.took_nothing();
}

#[tokio::test]
async fn a_body_that_is_cut_off_leaves_nothing_behind() {
    let fixture = start().await;
    let mut stream = TcpStream::connect(&fixture.http).await.unwrap();
    let head = b"POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\
        content-type: application/x-protobuf\r\n\r\nabc";
    stream.write_all(head).await.unwrap();
    let held = || fixture.budget.used() == 1000;
    until(held).await;
    drop(stream);
    until(|| fixture.budget.used() == 0).await;
    fixture.took_nothing();
}

async fn until(mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "not in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Sends bytes as they are, reading meanwhile; the whole answer.
async fn raw(address: &str, request: &[u8]) -> String {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let mut answer = Vec::new();
    let exchange = async {
        let (written, received) =
            tokio::join!(write.write_all(request), read.read_to_end(&mut answer));
        written.unwrap();
        received.unwrap();
    };
    tokio::time::timeout(PATIENCE, exchange).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
