//! Peers inside the test that keep what they are sent as it came: OTLP over gRPC, OTLP over HTTP, Zipkin.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;

/// What came, in order.
#[derive(Debug, Default)]
struct Received {
    grpc: Vec<ExportTraceServiceRequest>,
    http: Vec<Bytes>,
    zipkin: Vec<Value>,
}

type Shared = Arc<Mutex<Received>>;

fn lock(received: &Mutex<Received>) -> MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All three, running until dropped.
#[derive(Debug)]
pub struct RawSinks {
    /// For `--export`: OTLP over gRPC.
    pub grpc_url: String,
    /// For `--export`: OTLP over HTTP.
    pub http_url: String,
    /// For `--export`: Zipkin.
    pub zipkin_url: String,
    received: Shared,
    _stop: oneshot::Sender<()>,
}

impl RawSinks {
    /// Starts them on a thread of their own.
    ///
    /// # Panics
    /// When they cannot listen.
    pub fn start() -> Self {
        let listen = || TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
        let (grpc, http) = (listen(), listen());
        let address = |listener: &TcpListener| -> SocketAddr {
            listener.local_addr().expect("a bound address")
        };
        let (grpc_at, http_at) = (address(&grpc), address(&http));
        let received = Shared::default();
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&received);
        std::thread::spawn(move || serve(grpc, http, &shared, stopped));
        Self {
            grpc_url: format!("otlp+grpc://{grpc_at}"),
            http_url: format!("otlp+http://{http_at}"),
            zipkin_url: format!("zipkin+http://{http_at}"),
            received,
            _stop: stop,
        }
    }

    /// The requests that came by gRPC so far.
    pub fn grpc(&self) -> Vec<ExportTraceServiceRequest> {
        lock(&self.received).grpc.clone()
    }

    /// The bodies of OTLP that came by HTTP so far.
    pub fn http(&self) -> Vec<Bytes> {
        lock(&self.received).http.clone()
    }

    /// The spans that came to Zipkin so far.
    pub fn zipkin(&self) -> Vec<Value> {
        lock(&self.received).zipkin.clone()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn serve(
    grpc: TcpListener,
    http: TcpListener,
    received: &Shared,
    stopped: oneshot::Receiver<()>,
) {
    let listener = |listener: TcpListener| {
        listener
            .set_nonblocking(true)
            .expect("a non-blocking listener");
        tokio::net::TcpListener::from_std(listener).expect("a listener")
    };
    let app = Router::new()
        .route("/v1/traces", post(take_otlp))
        .route("/api/v2/spans", post(take_zipkin))
        .with_state(Arc::clone(received));
    let service = TraceServiceServer::new(Taker(Arc::clone(received)))
        .accept_compressed(CompressionEncoding::Gzip);
    let over_grpc = tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming(TcpListenerStream::new(listener(grpc)));
    let over_http = axum::serve(listener(http), app);
    tokio::select! {
        served = over_grpc => served.expect("a running sink"),
        served = async { over_http.await } => served.expect("a running sink"),
        // Resolves with an error when the sinks are dropped, which is the signal.
        _ = stopped => {}
    }
}

async fn take_otlp(State(received): State<Shared>, body: Bytes) {
    lock(&received).http.push(body);
}

async fn take_zipkin(State(received): State<Shared>, body: Bytes) -> StatusCode {
    let spans: Vec<Value> = serde_json::from_slice(&body).expect("a list of spans");
    lock(&received).zipkin.extend(spans);
    StatusCode::ACCEPTED
}

struct Taker(Shared);

#[tonic::async_trait]
impl TraceService for Taker {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        lock(&self.0).grpc.push(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}
