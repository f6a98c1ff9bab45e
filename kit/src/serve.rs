//! The server of `Kit::serve`, `run` and the admin address: accepts, drains, and cuts what outlives its time.
//!
//! On a shutdown the order is: unready (`shutdown`), the drain delay, no more accepting, requests in flight
//! finish, the deadline. Nothing that was accepted is refused.

mod connection;
mod cutoff;
mod live;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::health::Lifecycle;
use crate::metrics::Connections;
use crate::shutdown::Shutdown;
use connection::{Counted, Phase};
use live::Count;

/// How long an HTTP/1 connection may stay idle, or send a request head slowly: longer than the idle time of
/// the usual load balancers (up to 10 minutes), who would otherwise send into a connection being closed.
const KEEP_ALIVE: Duration = Duration::from_secs(620);
/// HTTP/2 pings find peers that vanished.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// The pause after an error that a retry will most likely see again, such as no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// The least time between two lines about it.
const ACCEPT_TOLD_EVERY: Duration = Duration::from_secs(10);
/// The most connections taken from the backlog once accepting ends; the kernel queues no more by default.
const MAX_BACKLOG: usize = 4_096;
/// How long connections may take to let go once they are cut.
const CUT_WAIT: Duration = Duration::from_millis(200);

/// Serves `app` on `listener` until `shutdown` is through, its connections counted in `gauge`; returns the
/// number of connections that were cut.
pub(crate) async fn run(
    listener: TcpListener,
    app: Router,
    shutdown: &Shutdown,
    gauge: Connections,
) -> usize {
    let server = Server::new(app, shutdown.lifecycle().clone(), gauge);
    let mut acceptor = Acceptor::new(listener);
    server.accept(&mut acceptor, shutdown).await;
    for (stream, peer) in backlog(acceptor.listener) {
        server.spawn(stream, peer);
    }
    server.finish(shutdown).await
}

/// Serves `app` on `listener` for as long as the returned future is polled.
pub(crate) async fn run_admin(listener: TcpListener, app: Router) {
    // Scrapes go on while the service drains: nobody balances them.
    // Nor are they the service's connections.
    let server = Server::new(app, Lifecycle::new(), Connections::default());
    let mut acceptor = Acceptor::new(listener);
    loop {
        let (stream, peer) = acceptor.next().await;
        server.spawn(stream, peer);
    }
}

/// What every connection needs.
struct Server {
    app: Router,
    builder: Arc<Builder<Executor>>,
    lifecycle: Lifecycle,
    connections: Count,
    /// The same, by protocol.
    gauge: Connections,
    /// The tasks that run connections and HTTP/2 streams: what they drop last are requests.
    tasks: Count,
    /// Dropped with the server: connections then end, too.
    phase: watch::Sender<Phase>,
}

impl Server {
    fn new(app: Router, lifecycle: Lifecycle, gauge: Connections) -> Self {
        let tasks = Count::default();
        let mut builder = Builder::new(Executor(tasks.clone()));
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(KEEP_ALIVE);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        Self {
            // Handlers become routes here, as with axum's own server, and not anew for each request.
            app: app.with_state(()),
            builder: Arc::new(builder),
            lifecycle,
            connections: Count::default(),
            gauge,
            tasks,
            phase: watch::Sender::new(Phase::Serving),
        }
    }

    /// Accepts until the shutdown's delay is over.
    async fn accept(&self, acceptor: &mut Acceptor, shutdown: &Shutdown) {
        let mut asked = std::pin::pin!(shutdown.asked());
        let mut stop = std::pin::pin!(shutdown.stop_accepting());
        loop {
            let draining = *self.phase.borrow() != Phase::Serving;
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = &mut asked, if !draining => {
                    self.phase.send_replace(Phase::Draining);
                }
                (stream, peer) = acceptor.next() => self.spawn(stream, peer),
            }
        }
    }

    fn spawn(&self, stream: TcpStream, peer: SocketAddr) {
        // Small responses must not wait for an acknowledgement; a socket that refuses is about to fail.
        let _ = stream.set_nodelay(true);
        let builder = Arc::clone(&self.builder);
        let (app, lifecycle) = (self.app.clone(), self.lifecycle.clone());
        let counted = Counted {
            live: self.connections.enter(),
            open: self.gauge.open(),
        };
        let phase = self.phase.subscribe();
        self.tasks.spawn(async move {
            connection::serve(&builder, stream, peer, app, lifecycle, counted, phase).await;
        });
    }

    /// Waits until the connections have finished, or their time is up.
    async fn finish(self, shutdown: &Shutdown) -> usize {
        self.phase.send_replace(Phase::Stopping);
        tokio::select! {
            () = self.connections.none() => return 0,
            () = shutdown.cut() => {}
        }
        let cut = self.connections.get();
        self.phase.send_replace(Phase::Cut);
        // Their requests settle while they are dropped, and the tasks of upgraded ones see their end: the
        // flush must not come before that.
        let let_go = async { tokio::join!(self.tasks.none(), self.connections.none()) };
        let _ = tokio::time::timeout(CUT_WAIT, let_go).await;
        cut
    }
}

/// Runs what hyper spawns, which are HTTP/2 streams, as counted tasks.
#[derive(Clone)]
struct Executor(Count);

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, future: F) {
        self.0.spawn(async move { drop(future.await) });
    }
}

/// Accepts for as long as it is asked to, whatever the operating system says.
struct Acceptor {
    listener: TcpListener,
    /// When an error was last told.
    told: Option<Instant>,
}

impl Acceptor {
    fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            told: None,
        }
    }

    /// The next connection. Errors of one connection are skipped; others, such as no file descriptors left,
    /// are told and waited out.
    async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    self.tell(&error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn tell(&mut self, error: &io::Error) {
        if self
            .told
            .is_none_or(|told| told.elapsed() >= ACCEPT_TOLD_EVERY)
        {
            self.told = Some(Instant::now());
            tracing::warn!(target: "bellwether::serve", %error, "cannot accept connections; trying again");
        }
    }
}

/// Takes what the kernel has accepted on our behalf, then closes the listener: those clients are connected
/// and would be reset.
fn backlog(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let mut waiting = Vec::new();
    // Past tokio, whose readiness may lag behind what the kernel already queued.
    let listener = match listener.into_std() {
        Ok(listener) => listener,
        Err(error) => {
            untaken(&error);
            return waiting;
        }
    };
    while waiting.len() < MAX_BACKLOG {
        match listener.accept() {
            Ok((stream, peer)) => match into_tokio(stream) {
                Ok(stream) => waiting.push((stream, peer)),
                Err(error) => untaken(&error),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                untaken(&error);
                break;
            }
        }
    }
    waiting
}

fn into_tokio(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

fn untaken(error: &io::Error) {
    tracing::warn!(target: "bellwether::serve", %error, "cannot take a waiting connection");
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::Body;
    use axum::routing::get;
    use http::Request;
    use tower::ServiceExt as _;
    use tower_layer::Layer;

    use super::*;

    /// Counts how often it is put on something.
    #[derive(Clone, Default)]
    struct Counted(Arc<AtomicUsize>);

    impl<S> Layer<S> for Counted {
        type Service = S;

        fn layer(&self, inner: S) -> S {
            self.0.fetch_add(1, Ordering::Relaxed);
            inner
        }
    }

    async fn check(serve: impl FnOnce(Router) -> Router) {
        let counted = Counted::default();
        let count = || counted.0.load(Ordering::Relaxed);
        let app = Router::new().route("/", get(|| async { "hello" }));
        let app = serve(app.layer(counted.clone()));
        let before = count();
        for _ in 0..2 {
            let request = Request::get("/").body(Body::empty()).unwrap();
            let answer = app.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), 200);
        }
        assert_eq!((count(), before > 0), (before, true));
    }

    #[tokio::test]
    async fn handlers_become_routes_before_the_first_request() {
        let told = crate::testing::capture("orders");
        check(|app| told.kit().wrap(app)).await;
        check(|app| Server::new(app, Lifecycle::new(), Connections::default()).app).await;
    }

    /// Their clients would be reset, though nothing was wrong with them.
    #[tokio::test]
    async fn who_waits_in_the_kernels_queue_when_accepting_ends_is_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clients = (0..20).map(|_| {
            let mut client = std::net::TcpStream::connect(address).unwrap();
            client
                .write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
                .unwrap();
            client
        });
        let clients: Vec<_> = clients.collect();
        let shutdown = Shutdown::new(Lifecycle::new(), Duration::from_secs(60), Duration::ZERO);
        shutdown.ask();
        shutdown.stop_accepting().await;
        let app = Router::new().route("/", get(|| async { "hello" }));
        assert_eq!(
            run(listener, app, &shutdown, Connections::default()).await,
            0
        );
        for mut client in clients {
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.ends_with("hello"), "{answer}");
        }
        assert!(std::net::TcpStream::connect(address).is_err());
    }
}
