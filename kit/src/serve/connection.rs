//! One accepted connection: its bytes watched, its requests told who calls, its end decided.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::future::RouteFuture;
use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use pin_project_lite::pin_project;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tower_service::Service as _;

use super::Executor;
use super::live::Live;
use crate::health::Lifecycle;
use crate::http::PeerAddr;
use crate::metrics::{OpenConnection, Protocol};

/// A connection that has not sent a whole request head by then is closed.
const FIRST_REQUEST: Duration = Duration::from_secs(30);
/// When the server stops, a connection is closed after this long without a byte: a client may be sending
/// a request on it that very moment, and would see its connection reset.
const QUIET: Duration = Duration::from_millis(500);

/// How far the server has got with stopping; moves forward only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Serving,
    /// Still accepting, while balancers look away.
    Draining,
    /// No longer accepting.
    Stopping,
    /// Out of time.
    Cut,
}

/// What a connection's task, its service and its bytes share.
#[derive(Debug, Default)]
struct Shared {
    /// Reads and writes so far: a change means that the connection is not quiet.
    transfers: AtomicU64,
    requested: AtomicBool,
    /// Told once, at the first HTTP/2 request.
    http2: Notify,
    /// Open for as long as the bytes are, after an upgrade, too.
    open: OpenConnection,
}

/// What counts a connection until it is closed.
pub(super) struct Counted {
    pub(super) live: Live,
    pub(super) open: OpenConnection,
}

/// Serves one connection to its end.
pub(super) async fn serve(
    builder: &Builder<Executor>,
    stream: TcpStream,
    peer: SocketAddr,
    app: Router,
    lifecycle: Lifecycle,
    Counted { live, open }: Counted,
    phase: watch::Receiver<Phase>,
) {
    let shared = Arc::new(Shared {
        open,
        ..Shared::default()
    });
    let io = Watched {
        io: TokioIo::new(stream),
        shared: Arc::clone(&shared),
        _live: live,
    };
    let service = Service {
        app,
        peer,
        lifecycle,
        shared: Arc::clone(&shared),
    };
    let connection = builder.serve_connection_with_upgrades(io, service);
    let mut connection = std::pin::pin!(connection);
    // Errors of a connection are its client's: the request they hit has settled with its own outcome.
    let verdict = tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        verdict = verdict(&shared, phase.clone()) => verdict,
    };
    if verdict == Verdict::Finish {
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            biased;
            _ = connection => {}
            _ = reached(phase, Phase::Cut) => {}
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Let what is under way finish, then close (HTTP/2: GOAWAY).
    Finish,
    Drop,
}

/// Resolves when the connection has to go, whatever its client does.
async fn verdict(shared: &Shared, phase: watch::Receiver<Phase>) -> Verdict {
    let draining = reached(phase.clone(), Phase::Draining);
    let mut draining = std::pin::pin!(draining);
    let alive = match timeout(FIRST_REQUEST, draining.as_mut()).await {
        Ok(alive) => alive,
        Err(_) if !shared.requested.load(Ordering::Relaxed) => return Verdict::Drop,
        Err(_) => draining.await,
    };
    if !alive {
        return Verdict::Drop;
    }
    tokio::select! {
        // GOAWAY loses nothing at any time, but a connection is worth one request at least.
        () = shared.http2.notified() => return Verdict::Finish,
        // HTTP/1 has no such word: each response carries `Connection: close` instead.
        alive = reached(phase.clone(), Phase::Stopping) => if !alive {
            return Verdict::Drop;
        }
    }
    loop {
        let before = shared.transfers.load(Ordering::Relaxed);
        match timeout(QUIET, reached(phase.clone(), Phase::Cut)).await {
            Ok(_) => return Verdict::Drop,
            Err(_) if shared.transfers.load(Ordering::Relaxed) == before => return Verdict::Finish,
            Err(_) => {}
        }
    }
}

/// False when the server is gone altogether.
async fn reached(mut phase: watch::Receiver<Phase>, wanted: Phase) -> bool {
    phase.wait_for(|phase| *phase >= wanted).await.is_ok()
}

/// The router as this connection's service.
struct Service {
    app: Router,
    peer: SocketAddr,
    lifecycle: Lifecycle,
    shared: Arc<Shared>,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, mut request: Request<Incoming>) -> Answer {
        let http1 = request.version() < Version::HTTP_2;
        if !self.shared.requested.swap(true, Ordering::Relaxed) {
            if http1 {
                self.shared.open.speaks(Protocol::Http1);
            } else {
                self.shared.open.speaks(Protocol::Http2);
                self.shared.http2.notify_one();
            }
        }
        let tunnel = request.method() == Method::CONNECT;
        let extensions = request.extensions_mut();
        extensions.insert(PeerAddr(self.peer));
        extensions.insert(ConnectInfo(self.peer));
        Answer {
            answer: self.app.clone().call(request),
            http1: http1.then(|| Http1 {
                lifecycle: self.lifecycle.clone(),
                shared: Arc::clone(&self.shared),
                tunnel,
            }),
        }
    }
}

/// What the answer of an HTTP/1 request is looked at for: HTTP/2 has GOAWAY, and tunnels within the connection.
struct Http1 {
    lifecycle: Lifecycle,
    shared: Arc<Shared>,
    /// Asked for by `CONNECT`.
    tunnel: bool,
}

impl Http1 {
    fn answered(&self, response: &mut Response<Body>) {
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS || self.tunnel && status.is_success() {
            self.shared.open.speaks(Protocol::Upgraded);
        } else if self.lifecycle.is_draining() {
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

pin_project! {
    /// The response, with `Connection: close` on HTTP/1 while draining: also from routes outside the
    /// kit's layer.
    struct Answer {
        #[pin]
        answer: RouteFuture<Infallible>,
        http1: Option<Http1>,
    }
}

impl Future for Answer {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.answer.poll(cx))?;
        if let Some(http1) = this.http1 {
            http1.answered(&mut response);
        }
        Poll::Ready(Ok(response))
    }
}

/// A stream that counts its transfers, and counts as live until it is closed: after an upgrade, too.
struct Watched {
    io: TokioIo<TcpStream>,
    shared: Arc<Shared>,
    _live: Live,
}

impl Watched {
    fn io(&mut self) -> Pin<&mut TokioIo<TcpStream>> {
        Pin::new(&mut self.io)
    }

    fn count<T>(&self, transfer: Poll<T>) -> Poll<T> {
        if transfer.is_ready() {
            self.shared.transfers.fetch_add(1, Ordering::Relaxed);
        }
        transfer
    }
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.io().poll_read(cx, buf);
        self.count(read)
    }
}

impl Write for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.io().poll_write(cx, buf);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.io().poll_write_vectored(cx, bufs);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, sleep};

    /// The verdict for a connection after `before` has set it up, and how long it took to come.
    async fn check(
        before: impl AsyncFnOnce(&Shared, &watch::Sender<Phase>),
        expected: Verdict,
        after: Duration,
    ) {
        let (shared, phase) = (Shared::default(), watch::Sender::new(Phase::Serving));
        let began = Instant::now();
        let judged = async {
            let verdict = verdict(&shared, phase.subscribe()).await;
            (verdict, began.elapsed())
        };
        let ((verdict, took), ()) = tokio::join!(judged, before(&shared, &phase));
        assert_eq!(verdict, expected);
        let late = took.checked_sub(after);
        assert!(
            late.is_some_and(|late| late < Duration::from_millis(5)),
            "{took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_must_send_its_first_request_in_time() {
        check(async |_, _| {}, Verdict::Drop, FIRST_REQUEST).await;
        let hour = Duration::from_secs(3_600);
        let busy = async |shared: &Shared, phase: &watch::Sender<Phase>| {
            shared.requested.store(true, Ordering::Relaxed);
            sleep(hour).await;
            phase.send_replace(Phase::Stopping);
        };
        check(busy, Verdict::Finish, hour + QUIET).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_http1_connection_is_closed_once_it_is_quiet() {
        let draining = Duration::from_secs(5);
        let trickle = async |shared: &Shared, phase: &watch::Sender<Phase>| {
            phase.send_replace(Phase::Draining);
            sleep(draining).await;
            phase.send_replace(Phase::Stopping);
            sleep(QUIET / 2).await;
            shared.transfers.fetch_add(1, Ordering::Relaxed);
        };
        check(trickle, Verdict::Finish, draining + QUIET * 2).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_connection_goes_away_with_its_first_request() {
        let delay = Duration::from_secs(1);
        let new = async |shared: &Shared, phase: &watch::Sender<Phase>| {
            phase.send_replace(Phase::Draining);
            sleep(delay).await;
            shared.http2.notify_one();
        };
        check(new, Verdict::Finish, delay).await;
        let old = async |shared: &Shared, phase: &watch::Sender<Phase>| {
            shared.http2.notify_one();
            sleep(delay).await;
            phase.send_replace(Phase::Draining);
        };
        check(old, Verdict::Finish, delay).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_spares_nobody() {
        let cut = async |_: &Shared, phase: &watch::Sender<Phase>| {
            phase.send_replace(Phase::Stopping);
            sleep(QUIET / 2).await;
            phase.send_replace(Phase::Cut);
        };
        check(cut, Verdict::Drop, QUIET / 2).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_with_its_server() {
        let (shared, phase) = (Shared::default(), watch::Sender::new(Phase::Serving));
        let orphan = verdict(&shared, phase.subscribe());
        drop(phase);
        assert_eq!(orphan.await, Verdict::Drop);
    }
}
