//! Workers against real peers on loopback sockets: a tonic server for gRPC, scripted ones for HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;

use super::fault_peers::Nobody;
use super::{Config, Target, Worker};
use crate::log::{BatchLog, ReaderConfig};
use crate::net::body::Answer;
use crate::net::server;
use crate::signal::Signal;
use crate::status::ExporterStatus;
use crate::wire::test_support::{self, encode, resource_spans, span};

const PATIENCE: Duration = Duration::from_secs(20);

/// A worker with its log, and the names of the services whose spans came, with how many.
pub(super) struct Fixture {
    pub(super) log: BatchLog,
    pub(super) status: Arc<ExporterStatus>,
    drain: watch::Sender<Option<Instant>>,
    pub(super) worker: JoinHandle<()>,
}

impl Fixture {
    /// A worker for `url` that finds `batches` waiting.
    pub(super) fn start(url: &str, batches: &[Vec<u8>]) -> Self {
        Self::start_with(Config::to(Target::parse(url).unwrap()), batches)
    }

    pub(super) fn start_with(config: Config, batches: &[Vec<u8>]) -> Self {
        let status = Arc::new(ExporterStatus::named(config.name.as_str()));
        let reader = ReaderConfig {
            status: Arc::clone(&status),
            on_full: config.on_full,
        };
        let (log, mut cursors) = BatchLog::in_memory(64 << 20, vec![reader]);
        let cursor = cursors.pop().unwrap();
        for batch in batches {
            let spans = ExportTraceServiceRequest::decode(&batch[..]).map_or(1, |r| count(&r));
            let appended = log.append(Signal::Traces, Bytes::from(batch.clone()), spans);
            appended.now_or_never().unwrap().unwrap();
        }
        let (drain, drained) = watch::channel(None);
        let worker = Worker::new(config, Arc::clone(&status), drained);
        Self {
            worker: tokio::spawn(worker.run(cursor)),
            log,
            status,
            drain,
        }
    }

    /// Closes the log and waits for the worker to have sent everything.
    pub(super) async fn finish(&mut self) {
        self.log.close();
        let worker = tokio::time::timeout(PATIENCE, &mut self.worker);
        worker.await.expect("the worker ends in time").unwrap();
    }

    pub(super) fn check(&self, sent: u64, set_aside: u64, dropped: u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counted = [
            read(&self.status.sent_spans),
            read(&self.status.set_aside_spans),
            read(&self.status.dropped_spans),
        ];
        let error = self.status.last_error.get();
        assert_eq!(counted, [sent, set_aside, dropped], "{error:?}");
    }

    pub(super) fn last_error(&self) -> String {
        self.status
            .last_error
            .get()
            .map_or(String::new(), |error| error.message)
    }
}

/// What a peer took: service names and how many of their spans.
pub(super) type Taken = Arc<Mutex<BTreeMap<String, u64>>>;

fn take(taken: &Taken, request: &ExportTraceServiceRequest) {
    for resource_spans in &request.resource_spans {
        let attributes = &resource_spans.resource.as_ref().unwrap().attributes;
        let name = format!("{:?}", attributes[0].value);
        let spans = resource_spans
            .scope_spans
            .iter()
            .map(|s| s.spans.len() as u64);
        *taken.lock().unwrap().entry(name).or_default() += spans.sum::<u64>();
    }
}

fn count(request: &ExportTraceServiceRequest) -> u64 {
    let scopes = request.resource_spans.iter().flat_map(|r| &r.scope_spans);
    scopes.map(|scope| scope.spans.len() as u64).sum()
}

pub(super) fn counts(taken: &Taken) -> Vec<u64> {
    taken.lock().unwrap().values().copied().collect()
}

pub(super) async fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "the condition did not come true in time"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(super) async fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An HTTP peer that answers the `n`-th request (from 0) and its body by `script`.
pub(super) struct HttpPeer {
    pub(super) address: SocketAddr,
    requests: Arc<AtomicU64>,
    server: AbortHandle,
}

impl HttpPeer {
    pub(super) async fn start(
        script: impl Fn(u64, Bytes) -> Response<Answer> + Send + Sync + 'static,
    ) -> Self {
        let (listener, _) = bind().await;
        Self::serve(listener, script)
    }

    pub(super) fn serve(
        listener: TcpListener,
        script: impl Fn(u64, Bytes) -> Response<Answer> + Send + Sync + 'static,
    ) -> Self {
        Self::serve_heads(listener, move |number, _, body| script(number, body))
    }

    /// By a script that sees the head of each request, too.
    pub(super) fn serve_heads(
        listener: TcpListener,
        script: impl Fn(u64, &Parts, Bytes) -> Response<Answer> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&requests);
        let script = Arc::new(script);
        let handler = move |request: Request<Incoming>, _peer| {
            let (counter, script) = (Arc::clone(&counter), Arc::clone(&script));
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                script(counter.fetch_add(1, Ordering::Relaxed), &head, body)
            }
        };
        let serving = server::serve(
            listener,
            handler,
            server::Config::default(),
            std::future::pending(),
        );
        Self {
            address,
            requests,
            server: tokio::spawn(serving).abort_handle(),
        }
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for HttpPeer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(super) fn answer(status: u16, headers: &[(&'static str, &'static str)]) -> Response<Answer> {
    let mut response = Response::new(Answer::data("the peer's own words"));
    *response.status_mut() = status.try_into().unwrap();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

pub(super) fn collect(taken: &Taken, body: &Bytes) -> Response<Answer> {
    take(
        taken,
        &ExportTraceServiceRequest::decode(&body[..]).unwrap(),
    );
    Response::new(Answer::default())
}

/// A gRPC peer by tonic: refuses requests with a span of a service that is named here.
#[derive(Clone, Default)]
pub(super) struct GrpcPeer {
    pub(super) taken: Taken,
    requests: Arc<AtomicU64>,
    refuse: Option<&'static str>,
    reject_spans: i64,
    busy_at_first: bool,
}

#[tonic::async_trait]
impl TraceService for GrpcPeer {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        if self.busy_at_first && number == 0 {
            return Err(tonic::Status::unavailable("busy"));
        }
        let request = request.into_inner();
        if let Some(name) = self.refuse
            && format!("{request:?}").contains(name)
        {
            return Err(tonic::Status::invalid_argument("do not like it"));
        }
        take(&self.taken, &request);
        Ok(tonic::Response::new(ExportTraceServiceResponse {
            partial_success: (self.reject_spans > 0).then(|| ExportTracePartialSuccess {
                rejected_spans: self.reject_spans,
                error_message: "some were too old".to_owned(),
            }),
        }))
    }
}

pub(super) async fn grpc_peer(peer: &GrpcPeer) -> String {
    let (listener, address) = bind().await;
    let serving = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(peer.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    format!("otlp+grpc://{address}")
}

pub(super) fn batches(services: &[&str]) -> Vec<Vec<u8>> {
    services
        .iter()
        .map(|name| test_support::request(name, 3))
        .collect()
}

#[tokio::test]
async fn waiting_batches_go_out_as_one_grpc_request() {
    let peer = GrpcPeer::default();
    let url = grpc_peer(&peer).await;
    let mut fixture = Fixture::start(&url, &batches(&["a", "b", "c"]));
    fixture.finish().await;
    fixture.check(9, 0, 0);
    assert_eq!(counts(&peer.taken), [3, 3, 3]);
    assert_eq!(peer.requests.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_busy_grpc_peer_is_tried_again() {
    let peer = GrpcPeer {
        busy_at_first: true,
        ..GrpcPeer::default()
    };
    let url = grpc_peer(&peer).await;
    let mut fixture = Fixture::start(&url, &batches(&["a"]));
    fixture.finish().await;
    fixture.check(3, 0, 0);
    assert_eq!(fixture.status.retries.load(Ordering::Relaxed), 1);
    assert!(fixture.last_error().contains("UNAVAILABLE: busy"));
}

#[tokio::test]
async fn the_one_record_that_is_refused_is_found_and_set_aside() {
    let peer = GrpcPeer {
        refuse: Some("poison"),
        ..GrpcPeer::default()
    };
    let url = grpc_peer(&peer).await;
    let mut fixture = Fixture::start(&url, &batches(&["a", "b", "c", "d", "poison", "f", "g"]));
    fixture.finish().await;
    fixture.check(18, 3, 0);
    assert_eq!(counts(&peer.taken), [3; 6]);
    assert!(
        fixture
            .last_error()
            .contains("INVALID_ARGUMENT: do not like it")
    );
}

#[tokio::test]
async fn the_one_span_that_is_refused_is_found_in_its_batch() {
    for (spans, poison) in [(2, 0), (3, 2), (2_000, 0), (2_000, 1_234), (2_000, 1_999)] {
        let peer = GrpcPeer {
            refuse: Some("poison"),
            ..GrpcPeer::default()
        };
        let url = grpc_peer(&peer).await;
        let mut all: Vec<_> = (0..spans).map(|id| span(1, id + 1, 0)).collect();
        all[poison].name = "poison".into();
        let batch = encode(vec![resource_spans("b", all)]);
        let around = batches(&["a", "c"]);
        let batches = [around[0].clone(), batch, around[1].clone()];
        let mut fixture = Fixture::start(&url, &batches);
        fixture.finish().await;
        fixture.check(spans + 5, 1, 0);
        assert_eq!(counts(&peer.taken), [3, spans - 1, 3]);
        let requests = peer.requests.load(Ordering::Relaxed);
        assert!(requests <= 32, "{requests} requests for {spans}");
    }
}

#[tokio::test]
async fn a_batch_that_is_refused_all_over_costs_few_requests() {
    let peer = GrpcPeer {
        refuse: Some("poison"),
        ..GrpcPeer::default()
    };
    let url = grpc_peer(&peer).await;
    let batches = [
        test_support::request("poison", 5_000),
        test_support::request("a", 3),
    ];
    let mut fixture = Fixture::start(&url, &batches);
    fixture.finish().await;
    fixture.check(3, 5_000, 0);
    let requests = peer.requests.load(Ordering::Relaxed);
    assert!(requests < 60, "{requests}");
}

#[tokio::test]
async fn spans_refused_in_part_are_set_aside() {
    let peer = GrpcPeer {
        reject_spans: 2,
        ..GrpcPeer::default()
    };
    let url = grpc_peer(&peer).await;
    let mut fixture = Fixture::start(&url, &batches(&["a"]));
    fixture.finish().await;
    fixture.check(1, 2, 0);
    assert!(fixture.last_error().contains("some were too old"));
}

#[tokio::test]
async fn a_batch_beyond_the_peers_limit_goes_out_in_parts() {
    let peer = GrpcPeer::default();
    let url = grpc_peer(&peer).await;
    let spans = (1..=900).map(|id| {
        let mut span = span(1, id, 0);
        span.attributes = vec![test_support::attribute("long", &"x".repeat(10_000))];
        span
    });
    let large = encode(vec![resource_spans("large", spans.collect())]);
    assert!(large.len() > 8 << 20);
    let mut fixture = Fixture::start(&url, &[large, test_support::request("small", 3)]);
    fixture.finish().await;
    fixture.check(903, 0, 0);
    assert_eq!(counts(&peer.taken), [900, 3]);
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let taken = Taken::default();
    let taking = Arc::clone(&taken);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let times = Arc::clone(&asked);
    let peer = HttpPeer::start(move |number, body| {
        times.lock().unwrap().push(Instant::now());
        match number {
            0 => answer(503, &[("retry-after", "1")]),
            _ => collect(&taking, &body),
        }
    })
    .await;
    let url = format!("otlp+http://{}", peer.address);
    let mut fixture = Fixture::start(&url, &batches(&["a"]));
    fixture.finish().await;
    fixture.check(3, 0, 0);
    let asked = asked.lock().unwrap();
    assert!(asked[1] - asked[0] >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_peer_that_comes_up_later_gets_everything() {
    let nobody = Nobody::start();
    let url = format!("otlp+http://{}", nobody.address);
    let mut fixture = Fixture::start(&url, &batches(&["a", "b"]));
    let status = Arc::clone(&fixture.status);
    until(|| status.retries.load(Ordering::Relaxed) >= 1).await;
    assert!(fixture.last_error().contains("cannot connect to 127.0.0.1"));
    let taken = Taken::default();
    let taking = Arc::clone(&taken);
    let listener = TcpListener::bind(nobody.address).await.unwrap();
    let _peer = HttpPeer::serve(listener, move |_, body| collect(&taking, &body));
    fixture.finish().await;
    fixture.check(6, 0, 0);
    assert_eq!(counts(&taken), [3, 3]);
}

#[tokio::test]
async fn a_peer_that_closes_midway_is_tried_again() {
    let (listener, address) = bind().await;
    let taken = Taken::default();
    let taking = Arc::clone(&taken);
    let mut fixture = Fixture::start(&format!("otlp+http://{address}"), &batches(&["a"]));
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.read_exact(&mut [0; 20]).await.unwrap();
    drop(stream);
    let _peer = HttpPeer::serve(listener, move |_, body| collect(&taking, &body));
    fixture.finish().await;
    fixture.check(3, 0, 0);
    assert!(
        fixture.last_error().contains("failed"),
        "{}",
        fixture.last_error()
    );
}

#[tokio::test]
async fn a_wrong_path_is_no_reason_to_search_for_an_offender() {
    let peer = HttpPeer::start(|_, _| answer(404, &[])).await;
    let url = format!("otlp+http://{}/wrong", peer.address);
    let mut fixture = Fixture::start(&url, &batches(&["a", "b", "c", "d"]));
    fixture.finish().await;
    fixture.check(0, 12, 0);
    assert_eq!(peer.requests(), 1);
    assert_eq!(
        fixture.last_error(),
        "the peer answered 404 Not Found: the peer's own words; check host, port and path of the export URL"
    );
}

#[tokio::test]
async fn the_drain_deadline_ends_a_hopeless_wait() {
    let peer = HttpPeer::start(|_, _| answer(503, &[])).await;
    let url = format!("otlp+http://{}", peer.address);
    let mut fixture = Fixture::start(&url, &batches(&["a"]));
    until(|| peer.requests() > 0).await;
    fixture.drain.send_replace(Some(Instant::now()));
    fixture.finish().await;
    fixture.check(0, 0, 3);
}

#[tokio::test]
async fn a_drain_cuts_a_long_wait_short() {
    let taken = Taken::default();
    let taking = Arc::clone(&taken);
    let peer = HttpPeer::start(move |number, body| match number {
        0 => answer(503, &[("retry-after", "3600")]),
        _ => collect(&taking, &body),
    })
    .await;
    let mut fixture = Fixture::start(&format!("otlp+http://{}", peer.address), &batches(&["a"]));
    let status = Arc::clone(&fixture.status);
    until(|| status.last_error.get().is_some()).await;
    fixture.drain.send_replace(Some(Instant::now() + PATIENCE));
    fixture.finish().await;
    fixture.check(3, 0, 0);
}

#[tokio::test]
async fn the_wrong_protocol_is_named() {
    let peer = HttpPeer::start(|_, _| answer(200, &[])).await;
    // The peer takes HTTP/2 as well, but what it answers is no gRPC.
    let url = format!("otlp+grpc://{}", peer.address);
    let fixture = Fixture::start(&url, &batches(&["a"]));
    until(|| fixture.last_error().contains("no grpc-status")).await;
    fixture.check(0, 0, 0);
    fixture.worker.abort();

    let grpc = grpc_peer(&GrpcPeer::default()).await;
    let url = grpc.replace("grpc", "http");
    let fixture = Fixture::start(&url, &batches(&["a"]));
    until(|| fixture.last_error().contains("usually port 4317")).await;
    fixture.worker.abort();
}

#[tokio::test]
async fn zipkin_gets_what_would_be_huge_as_json_in_pieces() {
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&sizes);
    let peer = HttpPeer::start(move |_, body| {
        into.lock().unwrap().push(body.len());
        answer(202, &[])
    })
    .await;
    let mut group = resource_spans("large", (1..=100).map(|id| span(7, id, 0)).collect());
    let resource = group.resource.as_mut().unwrap();
    let note = test_support::attribute("note", &"x".repeat(300_000));
    resource.attributes.push(note);
    let mut waiting = batches(&["before", "after"]);
    waiting.insert(1, encode(vec![group]));
    let mut huge = span(8, 1, 0);
    huge.attributes = vec![test_support::attribute("note", &"x".repeat(5 << 20))];
    waiting.insert(2, encode(vec![resource_spans("huge", vec![huge])]));
    let url = format!("zipkin+http://{}", peer.address);
    let mut fixture = Fixture::start(&url, &waiting);
    fixture.finish().await;
    fixture.check(106, 1, 0);
    let sizes = sizes.lock().unwrap();
    assert!(sizes.iter().all(|&size| size < 5 << 20), "{sizes:?}");
    assert!(sizes.len() < 20, "{sizes:?}");
}

#[tokio::test]
async fn zipkin_gets_json() {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let got = Arc::clone(&bodies);
    let peer = HttpPeer::start(move |_, body| {
        got.lock().unwrap().push(body);
        answer(202, &[])
    })
    .await;
    let url = format!("zipkin+http://{}", peer.address);
    let mut fixture = Fixture::start(&url, &batches(&["a", "b"]));
    fixture.finish().await;
    fixture.check(6, 0, 0);
    let bodies = bodies.lock().unwrap();
    let spans: serde_json::Value = serde_json::from_slice(&bodies[0]).unwrap();
    assert_eq!(spans.as_array().unwrap().len(), 6);
    assert_eq!(spans[5]["localEndpoint"]["serviceName"], "b");
}
