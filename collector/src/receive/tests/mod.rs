//! The receivers over loopback sockets: what they take, and what everything else is answered.

mod crowd;
mod disk;
mod grpc;
mod http;
mod json;
mod signals;
mod zipkin;

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, Uri};
use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use libdeflater::{CompressionLvl, Compressor};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Others, REQUEST_BYTES, Receiver, otlp_grpc, otlp_http};
use crate::budget::Budget;
use crate::intake::Intake;
use crate::log::{BatchLog, Cursor, OnFull, ReaderConfig};
use crate::net::client::{Client, Endpoint, Pieces, Protocol, Reply};
use crate::net::grpc::prefix;
use crate::net::server;
use crate::signal::Signals;
use crate::status::{ExporterStatus, ReceiverStatus};
use crate::views::{Config, Views};

const PATIENCE: Duration = Duration::from_secs(20);
/// Requests that there is room for at once.
const REQUESTS: usize = 8;
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

/// The receivers, and a reader of what they took.
struct Fixture {
    grpc: String,
    http: String,
    zipkin: String,
    grpc_status: Arc<ReceiverStatus>,
    http_status: Arc<ReceiverStatus>,
    zipkin_status: Arc<ReceiverStatus>,
    budget: Budget,
    requests: Budget,
    cursor: Cursor,
}

async fn start() -> Fixture {
    start_with(Budget::new(64 << 20)).await
}

async fn start_with(budget: Budget) -> Fixture {
    start_taking(Signals::ALL, budget).await
}

/// With an exporter that takes some signals only.
async fn start_taking(takes: Signals, budget: Budget) -> Fixture {
    let reader = ReaderConfig {
        status: Arc::new(ExporterStatus {
            signals: takes,
            ..ExporterStatus::default()
        }),
        on_full: OnFull::DropOldest,
    };
    let (log, mut cursors) = BatchLog::in_memory(64 << 20, vec![reader]);
    let cursor = cursors.pop().unwrap();
    let views = Arc::new(Views::new(Config {
        retention: Duration::from_secs(3_600),
        trace_bytes: 1 << 20,
        view_bytes: 1 << 20,
    }));
    let intake = Intake::new(log, views);
    let mut listeners = Vec::new();
    let mut addresses = Vec::new();
    for _ in 0..3 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap().to_string());
        listeners.push(listener);
    }
    let [grpc, http, zipkin] = addresses.try_into().unwrap();
    let requests = Budget::new(REQUESTS * REQUEST_BYTES);
    let others = Arc::new(Others {
        otlp_grpc: Some(grpc.clone()),
        otlp_http: Some(http.clone()),
        zipkin: Some(zipkin.clone()),
    });
    let receiver = |protocol, address: &str| Receiver {
        intake: intake.clone(),
        takes,
        budget: budget.clone(),
        requests: requests.clone(),
        status: Arc::new(ReceiverStatus::listening(protocol, address.to_owned())),
        access: Arc::default(),
        others: Arc::clone(&others),
    };
    let for_grpc = receiver("otlp-grpc", &grpc);
    let for_http = receiver("otlp-http", &http);
    let for_zipkin = receiver("zipkin", &zipkin);
    let (grpc_status, http_status) = (Arc::clone(&for_grpc.status), Arc::clone(&for_http.status));
    let zipkin_status = Arc::clone(&for_zipkin.status);
    let (config, never) = (server::Config::default(), std::future::pending::<()>);
    let [at_grpc, at_http, at_zipkin] = listeners.try_into().unwrap();
    tokio::spawn(otlp_grpc::serve(at_grpc, for_grpc, config.clone(), never()));
    tokio::spawn(otlp_http::serve(at_http, for_http, config.clone(), never()));
    let answers = Router::new().route("/api/v2/services", get(echo));
    tokio::spawn(super::zipkin::serve(
        at_zipkin,
        for_zipkin,
        answers,
        config,
        never(),
    ));
    Fixture {
        grpc,
        http,
        zipkin,
        grpc_status,
        http_status,
        zipkin_status,
        budget,
        requests,
        cursor,
    }
}

/// What was asked, and of which hosts.
async fn echo(uri: Uri, headers: HeaderMap) -> String {
    let hosts: Vec<_> = headers.get_all("host").iter().collect();
    format!("{uri} asked of {hosts:?}")
}

impl Fixture {
    /// Asserts that exactly this batch was taken.
    async fn took(&mut self, batch: &[u8]) {
        assert!(self.taken().await == batch, "other bytes came");
    }

    /// The one batch that was taken.
    async fn taken(&mut self) -> Bytes {
        let next = tokio::time::timeout(PATIENCE, self.cursor.next(1));
        let records = next.await.expect("a batch in time").unwrap();
        assert_eq!(records.len(), 1);
        self.cursor.ack(records[0].sequence);
        self.took_nothing();
        records[0].bytes.clone()
    }

    fn took_nothing(&self) {
        assert!(self.cursor.unsent().is_empty());
        assert_eq!(self.budget.used(), 0);
        assert_eq!(self.requests.used(), 0);
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
    let client = Client::new(Endpoint {
        host: host.to_owned(),
        port: port.parse().unwrap(),
        protocol,
        tls: None,
        timeout: Duration::from_secs(10),
    });
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
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

/// Deflate without zlib around it, as some clients send it.
fn bare_deflate(data: &[u8]) -> Vec<u8> {
    let zlib = zlib(data);
    zlib[2..zlib.len() - 4].to_vec()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0; zstd_safe::compress_bound(data.len())];
    let length = zstd_safe::compress(&mut out[..], data, 3).unwrap();
    out.truncate(length);
    out
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut framed = prefix(message.len(), false).unwrap().to_vec();
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
