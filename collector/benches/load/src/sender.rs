//! The senders: some requests under way at any time, or a steady rate, over a few kept connections. One thread on a
//! processor of its own. Called by `run`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::machine;
use crate::shop::{Bodies, Format};

/// Requests under way at once.
const UNDER_WAY: usize = 16;
/// Over HTTP/2; over HTTP/1.1 each request under way has its own.
const CONNECTIONS: usize = 4;
/// Before a refused request is sent again; Bellwether asks for ten times as much.
const PAUSE: Duration = Duration::from_millis(100);
/// A subject that refuses everything for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is to be sent.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) to: SocketAddr,
    pub(crate) format: Format,
    pub(crate) bodies: Arc<Bodies>,
    pub(crate) spans: u64,
    /// Spans a second; without one, as fast as they are taken.
    pub(crate) rate: Option<f64>,
}

/// What became of it.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) spans: u64,
    /// Requests that were refused, and sent again.
    pub(crate) refused: u64,
    pub(crate) seconds: f64,
    /// Of each accepted request, from when it was due; in milliseconds.
    pub(crate) latencies: Vec<f64>,
}

/// Sends a plan from a thread on `cpu`, and waits until all of it was accepted.
pub(crate) fn send(plan: Plan, cpu: usize) -> Sent {
    let thread = std::thread::spawn(move || {
        machine::pin(&[cpu]);
        machine::block_on(run(plan))
    });
    thread.join().expect("senders that do not panic")
}

async fn run(plan: Plan) -> Sent {
    let is_grpc = matches!(plan.format, Format::Grpc | Format::GrpcGzip);
    let connections = if is_grpc { CONNECTIONS } else { UNDER_WAY };
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(plan.to, is_grpc).await);
    }
    let left = Arc::new(AtomicU64::new(plan.spans));
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for worker in 0..UNDER_WAY {
        let connection = open[worker % connections].clone();
        workers.spawn(work(plan.clone(), connection, Arc::clone(&left), began));
    }
    let mut sent = Sent::default();
    while let Some(done) = workers.join_next().await {
        let one = done.expect("a sender that does not panic");
        sent.spans += one.spans;
        sent.refused += one.refused;
        sent.latencies.extend(one.latencies);
    }
    sent.seconds = began.elapsed().as_secs_f64();
    sent
}

async fn work(plan: Plan, connection: Connection, left: Arc<AtomicU64>, began: Instant) -> Sent {
    let mut sent = Sent::default();
    let take = |left: u64| {
        if left == 0 {
            None
        } else {
            Some(left.saturating_sub(plan.batch()))
        }
    };
    while let Ok(before) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
        let (body, spans) = plan.bodies.next();
        let mut due = Instant::now();
        if let Some(rate) = plan.rate {
            due = began + Duration::from_secs_f64((plan.spans - before) as f64 / rate);
            tokio::time::sleep_until(due.into()).await;
        }
        let first = Instant::now();
        while !connection.post(plan.format, body.clone()).await {
            assert!(first.elapsed() < PATIENCE, "the subject refuses everything");
            sent.refused += 1;
            tokio::time::sleep(PAUSE).await;
        }
        sent.latencies.push(due.elapsed().as_secs_f64() * 1e3);
        sent.spans += spans;
    }
    sent
}

impl Plan {
    fn batch(&self) -> u64 {
        self.bodies.batch()
    }
}

#[derive(Clone)]
enum Connection {
    Http2(http2::SendRequest<Full<Bytes>>, SocketAddr),
    Http1(Arc<Mutex<http1::SendRequest<Full<Bytes>>>>),
}

impl Connection {
    async fn open(to: SocketAddr, http2: bool) -> Self {
        let stream = TcpStream::connect(to)
            .await
            .expect("a subject that listens");
        stream
            .set_nodelay(true)
            .expect("a socket without Nagle's algorithm");
        let io = TokioIo::new(stream);
        if http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io)
                .await
                .expect("HTTP/2");
            tokio::spawn(connection);
            Self::Http2(sender, to)
        } else {
            let (sender, connection) = http1::handshake(io).await.expect("HTTP/1.1");
            tokio::spawn(connection);
            Self::Http1(Arc::new(Mutex::new(sender)))
        }
    }

    /// Whether it was accepted.
    async fn post(&self, format: Format, body: Bytes) -> bool {
        let request = self.request(format, Full::new(body));
        let response = match self {
            Self::Http2(sender, _) => {
                let mut sender = sender.clone();
                sender.ready().await.expect("a connection that stays");
                sender.send_request(request).await
            }
            Self::Http1(sender) => {
                let mut sender = sender.lock().await;
                sender.ready().await.expect("a connection that stays");
                sender.send_request(request).await
            }
        };
        let (head, body) = response.expect("an answer").into_parts();
        let rest = body.collect().await.expect("a whole answer");
        match self {
            Self::Http2(..) => {
                let none = HeaderMap::new();
                let status = rest
                    .trailers()
                    .unwrap_or(&none)
                    .get("grpc-status")
                    .or(head.headers.get("grpc-status"));
                status.is_some_and(|status| status == "0")
            }
            Self::Http1(_) => matches!(head.status, StatusCode::OK | StatusCode::ACCEPTED),
        }
    }

    fn request(&self, format: Format, body: Full<Bytes>) -> Request<Full<Bytes>> {
        let (path, content_type) = match format {
            Format::Grpc | Format::GrpcGzip => (
                "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                "application/grpc",
            ),
            Format::Http => ("/v1/traces", "application/x-protobuf"),
            Format::Json => ("/v1/traces", "application/json"),
            Format::Zipkin => ("/api/v2/spans", "application/json"),
        };
        let request = match self {
            Self::Http2(_, to) => {
                Request::post(format!("http://{to}{path}")).header(header::TE, "trailers")
            }
            Self::Http1(_) => Request::post(path).header(header::HOST, "127.0.0.1"),
        };
        let mut request = request.header(header::CONTENT_TYPE, content_type);
        if format == Format::GrpcGzip {
            request = request.header("grpc-encoding", "gzip");
        }
        request.body(body).expect("a request")
    }
}
