//! One connection from its first byte to its last: opened, spoken over in HTTP, and ended by its peer, its age, its
//! idleness or the listener's end. Called by `serve`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::accept::Known;
use super::door::{Door, Opened, Version, wrong_door};
use super::{BoxError, Config, MAX_HEADER_BYTES};

/// Windows of streams that a connection's own has room for.
const CONNECTION_WINDOWS: u32 = 4;
/// Of an HTTP/2 frame; senders that do not ask use 16 KiB. A frame is read whole before any of it is handed on, and each
/// is a turn through everything above the socket.
const MAX_FRAME_BYTES: u32 = 64 * 1024;
/// Bytes of a body that HTTP/1.1 reads ahead of the handler. A connection keeps about twice as many while it is idle, and
/// there may be thousands, which no budget counts.
const READ_AHEAD_BYTES: usize = 32 * 1024;
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves one connection to its end.
pub(super) async fn serve<H, F, B>(
    stream: TcpStream,
    peer: SocketAddr,
    known: Known,
    door: &Door,
    handler: H,
    config: &Config,
    mut stopped: watch::Receiver<bool>,
) where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let opening = timeout(config.handshake_timeout, door.open(stream, peer));
    let opened = tokio::select! {
        opened = opening => opened,
        _ = stopped.wait_for(|stopped| *stopped) => return,
    };
    let opened = match opened {
        Ok(Some(opened)) => opened,
        Ok(None) => return,
        Err(_) => {
            door.too_slow(peer, config.handshake_timeout);
            return;
        }
    };
    if door.knows_peers() {
        known.set();
    }
    let handler = move |request| handler(request, peer);
    let life = Arc::new(Life::new(config, known));
    let served = match opened {
        Opened::Plain(stream, version) => speak(stream, version, handler, &life, stopped).await,
        Opened::Secure(stream, version) => speak(stream, version, handler, &life, stopped).await,
        Opened::WrongDoor(stream, version) => {
            life.retire();
            speak(stream, version, wrong_door, &life, stopped).await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn speak<T, H, F, B>(
    stream: T,
    version: Version,
    handler: H,
    life: &Arc<Life>,
    stopped: watch::Receiver<bool>,
) -> hyper::Result<()>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let its_life = Arc::clone(life);
    let service = service_fn(move |request| {
        let under_way = UnderWay::begin(&its_life);
        let response = handler(request);
        async move {
            let mut response = response.await;
            if version == Version::Http1 && under_way.is_retired() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok::<_, Infallible>(response.map(|body| Attended { body, under_way }))
        }
    });
    let io = TokioIo::new(stream);
    match version {
        Version::Http1 => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(life.idle_timeout)
                .max_header_size(MAX_HEADER_BYTES)
                .max_buf_size(READ_AHEAD_BYTES)
                .serve_connection(io, service);
            // With its answers it is told to go; one that is idle goes by its own time-out, for to close it under a request
            // on its way would lose that.
            let retire = |_: Pin<&mut http1::Connection<_, _>>| life.retire();
            let last_time = life.idle_timeout + life.grace;
            let go = http1::Connection::graceful_shutdown;
            drive(connection, retire, go, last_time, life, stopped).await
        }
        Version::Http2 => {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(life.stream_window_bytes)
                .initial_connection_window_size(
                    life.stream_window_bytes.saturating_mul(CONNECTION_WINDOWS),
                )
                .max_frame_size(MAX_FRAME_BYTES)
                .max_concurrent_streams(life.max_streams)
                .max_header_list_size(MAX_HEADER_BYTES as u32)
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT)
                .serve_connection(io, service);
            let go = http2::Connection::graceful_shutdown;
            drive(connection, go, go, life.grace, life, stopped).await
        }
    }
}

/// Runs a connection to its end: `retire` tells its peer to make another one in its own time, `go` to do it now; after
/// `last_time` it is cut.
async fn drive<C>(
    connection: C,
    retire: impl Fn(Pin<&mut C>),
    go: impl Fn(Pin<&mut C>),
    last_time: Duration,
    life: &Life,
    mut stopped: watch::Receiver<bool>,
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    let too_old = async {
        match life.too_old_at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    };
    let mut is_stopped = pin!(async { drop(stopped.wait_for(|stopped| *stopped).await) });
    tokio::select! {
        done = connection.as_mut() => return done,
        () = is_stopped.as_mut() => {
            go(connection.as_mut());
            return connection.await;
        }
        () = too_old => retire(connection.as_mut()),
        () = life.idle() => go(connection.as_mut()),
    }
    tokio::select! {
        done = timeout(last_time, connection.as_mut()) => done.unwrap_or(Ok(())),
        () = is_stopped => {
            go(connection.as_mut());
            connection.await
        }
    }
}

/// How long a connection has to live, and what it is doing.
struct Life {
    idle_timeout: Duration,
    stream_window_bytes: u32,
    max_streams: u32,
    too_old_at: Option<Instant>,
    grace: Duration,
    retired: AtomicBool,
    known: Known,
    work: Mutex<Work>,
}

struct Work {
    requests: u32,
    /// When the last request ended.
    idle_since: Instant,
}

impl Life {
    fn new(config: &Config, known: Known) -> Self {
        let now = Instant::now();
        // By chance, so that connections made together are not made anew together.
        let age = config
            .max_age
            .map(|age| age.mul_f64(rand::random_range(0.9..=1.1)));
        Self {
            idle_timeout: config.idle_timeout,
            stream_window_bytes: config.stream_window_bytes,
            max_streams: config.max_streams,
            too_old_at: age.map(|age| now + age),
            grace: config.max_age_grace,
            retired: AtomicBool::new(false),
            known,
            work: Mutex::new(Work {
                requests: 0,
                idle_since: now,
            }),
        }
    }

    fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Resolves when there was no request for as long as there may be none.
    async fn idle(&self) {
        loop {
            let until = {
                let work = self.work();
                let since = match work.requests {
                    0 => work.idle_since,
                    _ => Instant::now(),
                };
                since + self.idle_timeout
            };
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }

    fn work(&self) -> std::sync::MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way, until its answer has been sent.
struct UnderWay(Arc<Life>);

pin_project! {
    /// An answer's body whose request is under way as long as it is there.
    struct Attended<B> {
        #[pin]
        body: B,
        under_way: UnderWay,
    }
}

impl<B: Body> Body for Attended<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl UnderWay {
    fn begin(life: &Arc<Life>) -> Self {
        life.known.set();
        life.work().requests += 1;
        Self(Arc::clone(life))
    }

    fn is_retired(&self) -> bool {
        self.0.retired.load(Ordering::Relaxed)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut work = self.0.work();
        work.requests = work.requests.saturating_sub(1);
        work.idle_since = Instant::now();
    }
}
