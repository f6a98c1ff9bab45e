//! One accept loop for every listener: HTTP/1.1 and HTTP/2 with prior knowledge on one port, bounded and
//! drained. Called by `receive`, and by `pipeline` for the web address.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Connections open at once; more wait in the kernel's backlog.
    pub max_connections: usize,
    /// How long a new connection may stay silent.
    pub first_byte_timeout: Duration,
    /// How long an HTTP/1.1 connection may take for one request head, the idle time before it included.
    pub head_timeout: Duration,
    /// Bytes of a request that HTTP/2 reads ahead of the handler, and a quarter of those of a connection: they are counted
    /// only when the handler takes them.
    pub stream_window_bytes: u32,
    /// How long requests under way may take to finish once the listener is shut down.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            first_byte_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(75),
            stream_window_bytes: 1024 * 1024,
            drain: Duration::from_secs(10),
        }
    }
}

/// Of a request's head, HTTP/1.1 and HTTP/2 alike.
const MAX_HEADER_BYTES: usize = 16 * 1024;
const MAX_STREAMS: u32 = 256;
/// Windows of streams that a connection's own has room for.
const CONNECTION_WINDOWS: u32 = 4;
/// Bytes of a body that HTTP/1.1 reads ahead of the handler. A connection keeps about twice as many while it is idle, and
/// there may be thousands, which no budget counts.
const READ_AHEAD_BYTES: usize = 32 * 1024;
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

type BoxError = Box<dyn Error + Send + Sync>;

/// Serves `handler`, which is told each request's peer, until `shutdown`. Then it stops accepting, tells peers to
/// go (GOAWAY, `Connection: close`) and lets requests under way finish. Returns how many connections the drain
/// deadline cut off.
pub async fn serve<H, F, B>(
    listener: TcpListener,
    handler: H,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> usize
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::select! {
        biased;
        () = shutdown => {}
        () = accept(&listener, &mut connections, config, |stream, peer| {
            connection(stream, peer, handler.clone(), config, stopped.clone())
        }) => {}
    }
    drop(listener);
    stop.send_replace(true);
    let all_done = async {
        while let Some(done) = connections.join_next().await {
            tell_panic(done);
        }
    };
    if tokio::time::timeout(config.drain, all_done).await.is_ok() {
        return 0;
    }
    let cut = connections.len();
    connections.shutdown().await;
    tracing::warn!(
        connections = cut,
        "drain deadline passed: connections with requests under way were cut"
    );
    cut
}

async fn accept<F>(
    listener: &TcpListener,
    connections: &mut JoinSet<()>,
    config: Config,
    serve_one: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(config.max_connections));
    let mut trouble = Trouble::default();
    let mut told_full = false;
    loop {
        if slots.available_permits() == 0 && !std::mem::replace(&mut told_full, true) {
            tracing::warn!(
                connections = config.max_connections,
                "as many connections are open as the memory limit allows: further ones wait; raise --memory-limit"
            );
        }
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                trouble.over();
                let served = serve_one(stream, peer);
                connections.spawn(async move {
                    served.await;
                    drop(slot);
                });
            }
            Err(error) => trouble.pause(&error).await,
        }
        while let Some(done) = connections.try_join_next() {
            tell_panic(done);
        }
    }
}

/// A run of failing accepts, such as when the process has no file descriptor left: told once, waited out.
#[derive(Default)]
struct Trouble {
    failures: u32,
}

impl Trouble {
    async fn pause(&mut self, error: &io::Error) {
        // These concern one peer that is already gone.
        let gone = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset
        );
        if gone {
            return;
        }
        if self.failures == 0 {
            tracing::warn!(%error, "cannot accept connections, trying again");
        }
        self.failures = self.failures.saturating_add(1);
        let wait = Duration::from_millis(10) * 2u32.saturating_pow(self.failures.min(7));
        tokio::time::sleep(wait.min(Duration::from_secs(1))).await;
    }

    fn over(&mut self) {
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "accepting connections again");
            self.failures = 0;
        }
    }
}

async fn connection<H, F, B>(
    stream: TcpStream,
    peer: SocketAddr,
    handler: H,
    config: Config,
    mut stopped: watch::Receiver<bool>,
) where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let first_bytes = tokio::time::timeout(config.first_byte_timeout, Version::detect(&stream));
    let version = tokio::select! {
        detected = first_bytes => detected,
        _ = stopped.wait_for(|stopped| *stopped) => return,
    };
    let Ok(Ok(Some(version))) = version else {
        tracing::debug!("a peer connected and sent nothing");
        return;
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot turn off Nagle's algorithm");
    }
    let service = service_fn(move |request| {
        let response = handler(request, peer);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let io = TokioIo::new(stream);
    let served = match version {
        Version::Http1 => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(config.head_timeout)
                .max_header_size(MAX_HEADER_BYTES)
                .max_buf_size(READ_AHEAD_BYTES)
                .serve_connection(io, service);
            drive(connection, http1::Connection::graceful_shutdown, stopped).await
        }
        Version::Http2 => {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(config.stream_window_bytes)
                .initial_connection_window_size(
                    config
                        .stream_window_bytes
                        .saturating_mul(CONNECTION_WINDOWS),
                )
                .max_concurrent_streams(MAX_STREAMS)
                .max_header_list_size(MAX_HEADER_BYTES as u32)
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT)
                .serve_connection(io, service);
            drive(connection, http2::Connection::graceful_shutdown, stopped).await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn drive<C>(
    connection: C,
    graceful_shutdown: fn(Pin<&mut C>),
    mut stopped: watch::Receiver<bool>,
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    tokio::select! {
        done = connection.as_mut() => return done,
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    graceful_shutdown(connection.as_mut());
    connection.await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

impl Version {
    /// No HTTP/1 method starts like HTTP/2's connection preface (RFC 9113, section 3.4).
    const PREFACE: &'static [u8; 4] = b"PRI ";

    /// Looks at a connection's first bytes without taking them; `None` when it was closed before any.
    async fn detect(stream: &TcpStream) -> io::Result<Option<Self>> {
        let mut first = [0; Self::PREFACE.len()];
        loop {
            let seen = stream.peek(&mut first).await?;
            let seen = first.get(..seen).unwrap_or_default();
            if seen.is_empty() {
                return Ok(None);
            }
            if seen == Self::PREFACE {
                return Ok(Some(Self::Http2));
            }
            if !Self::PREFACE.starts_with(seen) {
                return Ok(Some(Self::Http1));
            }
            // The socket stays readable with these few bytes, so only time can bring more.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn tell_panic(done: Result<(), JoinError>) {
    if let Err(error) = done
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's handler panicked");
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{Notify, oneshot};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::net::body::Answer;

    const PATIENCE: Duration = Duration::from_secs(10);

    struct Fixture {
        address: SocketAddr,
        arrived: Arc<Notify>,
        release: Arc<Notify>,
        stop: Option<oneshot::Sender<()>>,
        served: JoinHandle<usize>,
    }

    /// A server whose `POST` waits to be released, and whose other requests are answered at once.
    async fn start(config: Config) -> Fixture {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (arrived, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (arrive, wait) = (Arc::clone(&arrived), Arc::clone(&release));
        let handler = move |request: Request<Incoming>, _peer| {
            let (arrive, wait) = (Arc::clone(&arrive), Arc::clone(&wait));
            async move {
                if request.method() == http::Method::POST {
                    arrive.notify_one();
                    wait.notified().await;
                }
                let _ = request.into_body().collect().await;
                Response::new(Answer::data("done"))
            }
        };
        let shutdown = async {
            let _ = stopped.await;
        };
        let served = tokio::spawn(serve(listener, handler, config, shutdown));
        Fixture {
            address,
            arrived,
            release,
            stop: Some(stop),
            served,
        }
    }

    impl Fixture {
        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        fn stop(&mut self) {
            self.stop.take().unwrap().send(()).unwrap();
        }

        async fn cut(self) -> usize {
            tokio::time::timeout(PATIENCE, self.served)
                .await
                .unwrap()
                .unwrap()
        }
    }

    async fn send(stream: &mut TcpStream, method: &str) {
        let head = format!("{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
    }

    /// Reads until the answer's last word, or the end.
    async fn read(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        while !text.ends_with("done") {
            let mut bytes = [0; 1024];
            let read = tokio::time::timeout(PATIENCE, stream.read(&mut bytes));
            match read.await.unwrap() {
                Ok(0) | Err(_) => break,
                Ok(count) => text.push_str(&String::from_utf8_lossy(&bytes[..count])),
            }
        }
        text
    }

    #[tokio::test]
    async fn requests_under_way_are_finished_and_idle_connections_closed() {
        let mut fixture = start(Config::default()).await;
        let mut idle = fixture.connect().await;
        send(&mut idle, "GET").await;
        assert!(read(&mut idle).await.ends_with("done"));
        let mut silent = fixture.connect().await;
        let mut busy = fixture.connect().await;
        send(&mut busy, "POST").await;
        fixture.arrived.notified().await;
        fixture.stop();
        assert_eq!(read(&mut idle).await, "");
        assert_eq!(read(&mut silent).await, "");
        assert!(TcpStream::connect(fixture.address).await.is_err());
        fixture.release.notify_one();
        let answer = read(&mut busy).await;
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(answer.ends_with("done"), "{answer}");
        assert_eq!(fixture.cut().await, 0);
    }

    #[tokio::test]
    async fn the_drain_deadline_cuts_what_does_not_finish() {
        let config = Config {
            drain: Duration::from_millis(20),
            ..Config::default()
        };
        let mut fixture = start(config).await;
        let mut busy = fixture.connect().await;
        send(&mut busy, "POST").await;
        fixture.arrived.notified().await;
        fixture.stop();
        assert_eq!(fixture.cut().await, 1);
        assert_eq!(read(&mut busy).await, "");
    }

    #[tokio::test]
    async fn silence_and_slow_heads_end_a_connection() {
        let config = Config {
            first_byte_timeout: Duration::from_millis(20),
            head_timeout: Duration::from_millis(20),
            ..Config::default()
        };
        let fixture = start(config).await;
        for start in [
            "",
            "P",
            "PRI",
            "GET / HT",
            "GET / HTTP/1.1\r\nhost: a\r\nx: ",
        ] {
            let mut slow = fixture.connect().await;
            slow.write_all(start.as_bytes()).await.unwrap();
            assert!(!read(&mut slow).await.contains("200 OK"), "{start}");
        }
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait_for_their_turn() {
        let config = Config {
            max_connections: 1,
            ..Config::default()
        };
        let fixture = start(config).await;
        let mut first = fixture.connect().await;
        send(&mut first, "POST").await;
        fixture.arrived.notified().await;
        let mut second = fixture.connect().await;
        send(&mut second, "GET").await;
        let early = tokio::time::timeout(Duration::from_millis(50), second.readable()).await;
        assert!(
            early.is_err(),
            "the second connection was served beside the first"
        );
        fixture.release.notify_one();
        assert!(read(&mut first).await.ends_with("done"));
        drop(first);
        assert!(read(&mut second).await.ends_with("done"));
    }

    #[tokio::test]
    async fn a_head_beyond_the_limit_is_refused() {
        let fixture = start(Config::default()).await;
        let mut stream = fixture.connect().await;
        let head = format!(
            "GET / HTTP/1.1\r\nx: {}\r\n\r\n",
            "y".repeat(MAX_HEADER_BYTES)
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = read(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}
